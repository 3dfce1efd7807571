# SPDX-License-Identifier: MIT
"""`./bench tiers`: what each tier of HEAP_HARDENING catches out of the corpus of misuse, and what it
costs.

Owns: the table of tiers.
Needs: builds.py, screen.py, the programs tests/heap_allocator-misuse_<tier>, valgrind (callgrind
counts instructions, the same in every run).
Called by: bench.py.
"""

import os
import re
import subprocess
import tempfile

import builds
from builds import ROOT, Build, Problem
from screen import table

TIERS = ("none", "basic", "moderate", "full", "debug")
COSTS = ("pair64", "pair1k")
PAIRS, MANY = 100, 51  # of one round in cost.c; rounds


def _output(command, say, what, environment=None):
    say(f"measuring {what}")
    child = builds.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace",
                         env={**os.environ, **(environment or {})})
    text = child.stdout.read()
    if builds.finish(child):
        raise Problem(builds.FAILED, f"{what} failed:\n{text[-1000:]}")
    return text


def _instructions(program, pattern, rounds, say):
    with tempfile.TemporaryDirectory() as folder:
        text = _output(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                        program, pattern], say, f"{os.path.basename(program)} {pattern}",
                       {"TSL_ROUNDS": str(rounds)})
    found = re.search(r"Collected : (\d+)", text)
    if not found:
        raise Problem(builds.FAILED, f"callgrind counted nothing:\n{text[-1000:]}")
    return int(found[1])


def _row(tier, program, say):
    text = _output([program, "misuse"], say, f"the corpus on tier {tier}")
    found = re.search(r"(\d+) programs, (\d+) reported, (\d+) refused, (\d+) crashed, (\d+) silent: "
                      r"(\d+) % caught", text)
    if not found:
        raise Problem(builds.FAILED, f"no count from the corpus on tier {tier}:\n{text[-1000:]}")
    costs = []
    for name in COSTS:
        few, many = (_instructions(program, f"cost.{name}", rounds, say) for rounds in (1, MANY))
        costs.append(f"{(many - few) / (PAIRS * (MANY - 1)):.0f}")
    return [tier, *found.groups()[:5], found[6] + " %", *costs]


def print_tiers(screen, say):
    """Builds the corpus for each tier, runs and counts it, prints the table."""
    build = Build("bench-tiers", ["--buildtype=release", "-Dprofile=desktop",
                                  "--native-file", str(ROOT / "cross" / "host64-gcc.ini")])
    with build.locked(say):
        build.configure(say)
        programs = {tier: build.directory / "tests" / f"heap_allocator-misuse_{tier}"
                    for tier in TIERS}
        build.compile(say, [os.path.relpath(path, build.directory)
                            for path in programs.values()])
        rows = [_row(tier, str(program), say) for tier, program in programs.items()]
    heads = ["tier", "programs", "reported", "refused", "crashed", "silent", "caught",
             *(f"{name}, instructions" for name in COSTS)]
    screen.line(table([heads, *rows], right=set(range(1, len(heads)))))
