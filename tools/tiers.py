# SPDX-License-Identifier: MIT
"""`./bench tiers`: what each tier of HEAP_HARDENING catches out of the corpus of misuse, and what it
costs.

Owns: the table of tiers.
Needs: builds.py, screen.py, the programs tests/heap_allocator-misuse_<tier>; for the cost the bench
kernel with each tier, in QEMU, which counts instructions: the same in every run.
Called by: bench.py.
"""

import os
import re
import subprocess

import builds
from builds import ROOT, Build, Problem, kernel_build
from screen import table

TIERS = ("none", "basic", "moderate", "full", "debug")
COSTS = ("kmalloc.pair64", "kmalloc.pair1k", "kmalloc.pair4k", "kmalloc.batch64", "kfree.random64")


def _output(command, say, what, environment=None):
    say(f"measuring {what}")
    child = builds.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace",
                         env={**os.environ, **(environment or {})})
    text = child.stdout.read()
    if builds.finish(child):
        raise Problem(builds.FAILED, f"{what} failed:\n{text[-1000:]}")
    return text


def _instructions(tier, say):
    """Instructions of each row in COSTS: the desktop kernel with this tier, as ./bench measures it."""
    fragment = None if tier == "basic" else f"tests/kernel/heap_{tier}.config"
    build = kernel_build("desktop", "x86_64", fragment=fragment)
    with build.locked(say):
        build.configure(say)
        kernel = build.file_of("bench.multiboot")
        build.compile(say, [os.path.relpath(kernel, build.directory)])
        text = _output(["/usr/bin/python3", "-B", ROOT / "tools" / "qemu_run.py", "--arch", "x86_64",
                        "--icount", "--no-log", "--smp", "1", "--cpu", "qemu64", "--mem", "512M",
                        "--timeout", "300", "--append", "paging=4level heap-only=1", kernel], say,
                       f"instructions of tier {tier}")
    rows = dict(re.findall(r"^row (\S+) instructions (\d+)", text, re.MULTILINE))
    missing = [name for name in COSTS if name not in rows]
    if missing:
        raise Problem(builds.FAILED, f"no row {missing[0]} on tier {tier}:\n{text[-1000:]}")
    return [f"{int(rows[name]):,}" for name in COSTS]


def _row(tier, program, say):
    text = _output([program, "misuse"], say, f"the corpus on tier {tier}")
    found = re.search(r"(\d+) programs, (\d+) reported, (\d+) refused, (\d+) crashed, (\d+) silent: "
                      r"(\d+) % caught", text)
    if not found:
        raise Problem(builds.FAILED, f"no count from the corpus on tier {tier}:\n{text[-1000:]}")
    return [tier, *found.groups()[:5], found[6] + " %", *_instructions(tier, say)]


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
             *COSTS]
    screen.line(table([heads, *rows], right=set(range(1, len(heads)))))
