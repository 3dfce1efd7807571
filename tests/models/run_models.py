#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the models in this folder exhaustively, and that each finds the bugs that can be put in.

Owns: which model is checked in which variants. Prints TAP.
Needs: spin and a C compiler; without spin it says so and checks nothing.
Callers: tests/models/meson.build; people: run_models.py --all.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = 600

# Model, what it is, definitions, whether spin must find an error. First those of ./check quick.
QUICK = [
    ("claim", "two CPUs", "CPUS=2 ROUNDS=3", False),
    ("claim", "two CPUs, few frames, CPUs leave", "CPUS=2 ROUNDS=3 LEAVING START_0=3 START_1=0", False),
    ("area", "two CPUs, two areas", "CPUS=2 ROUNDS=2", False),
    ("area", "seed: a free tries the two huge states one after the other",
     "CPUS=2 ROUNDS=3 AREAS=1 SEED_TWO_TRIES", True),
    ("call", "two CPUs", "CPUS=2 ROUNDS=3", False),
    ("call", "seed: who calls does not answer", "CPUS=2 ROUNDS=3 SEED_DEAF", True),
    ("shootdown", "two CPUs", "CPUS=2 ROUNDS=2", False),
    ("shootdown", "two CPUs with tags", "CPUS=2 ROUNDS=2 TAGS", False),
    ("shootdown", "seed: a CPU is in the set after it has the root", "CPUS=3 ROUNDS=1 SEED_ROOT_FIRST", True),
    ("shootdown", "seed: the count is raised after the flush", "CPUS=2 ROUNDS=2 TAGS SEED_COUNT_LATE", True),
    ("claim", "seed: a claim that is two accesses", "CPUS=2 ROUNDS=3 SEED_PLAIN_CLAIM", True),
    ("claim", "seed: one try after a revocation", "CPUS=3 ROUNDS=2 START_0=3 START_1=0 SEED_ONE_TRY",
     True),
]
REST = [
    ("claim", "two CPUs, huge blocks, CPUs leave", "CPUS=2 ROUNDS=3 HUGE_BLOCKS LEAVING", False),
    ("claim", "two CPUs, double frees", "CPUS=2 ROUNDS=4 DOUBLE_FREE LEAVING", False),
    ("claim", "three CPUs, two frames", "CPUS=3 ROUNDS=2 START_0=3 START_1=0", False),
    ("claim", "three CPUs, double frees", "CPUS=3 ROUNDS=2 DOUBLE_FREE", False),
    ("claim", "two CPUs, owners move on between two areas",
     "CPUS=2 ROUNDS=3 AREAS=2 START_0=1 START_1=3", False),
    ("claim", "two CPUs, two areas, CPUs leave", "CPUS=2 ROUNDS=3 AREAS=2 START_0=1 START_1=3 LEAVING",
     False),
    ("claim", "two CPUs, two areas, huge blocks", "CPUS=2 ROUNDS=3 AREAS=2 HUGE_BLOCKS", False),
    ("claim", "seed: no area is shown while moving on",
     "CPUS=2 ROUNDS=2 AREAS=2 START_0=1 START_1=3 SEED_MOVE_UNSHOWN", True),
    ("claim", "seed: what is given back overwrites frees", "CPUS=2 ROUNDS=3 LEAVING SEED_LOSE", True),
    ("claim", "seed: one CPU is not asked", "CPUS=3 ROUNDS=2 START_0=3 START_1=0 SEED_FORGET_ONE", True),
    ("claim", "seed: what came back meanwhile is not noticed",
     "CPUS=3 ROUNDS=2 START_0=3 START_1=0 SEED_UNCOUNTED", True),
    ("claim", "seed: no look at the state after a take", "CPUS=2 ROUNDS=3 HUGE_BLOCKS SEED_NO_LOOK",
     True),
    ("claim", "seed: a look into a changing claim", "CPUS=2 ROUNDS=4 DOUBLE_FREE LEAVING SEED_NO_WAIT",
     True),
    ("claim", "seed: no look into a claim", "CPUS=2 ROUNDS=4 DOUBLE_FREE LEAVING SEED_NO_PEEK", True),
    ("claim", "seed: the owner looks at its copy only",
     "CPUS=2 ROUNDS=4 DOUBLE_FREE LEAVING SEED_OWN_ONLY", True),
    ("area", "two CPUs, two areas, longer", "CPUS=2 ROUNDS=3", False),
    ("area", "two CPUs, one area", "CPUS=2 ROUNDS=3 AREAS=1", False),
    ("area", "three CPUs, two areas", "CPUS=3 ROUNDS=1", False),
    ("area", "seed: who withdraws is believed", "CPUS=2 ROUNDS=3 AREAS=1 SEED_BELIEVED", True),
    ("area", "seed: who puts in is believed between two levels",
     "CPUS=2 ROUNDS=3 AREAS=1 SEED_UNCOUNTED_ADD", True),
    ("area", "seed: no look after the withdrawal", "CPUS=2 ROUNDS=3 AREAS=1 SEED_NO_LOOK", True),
    ("area", "seed: listed stays listed outside of the trees",
     "CPUS=2 ROUNDS=3 AREAS=1 SEED_LISTED_STAYS", True),
    ("area", "seed: whole stays whole after a take", "CPUS=2 ROUNDS=3 AREAS=1 SEED_STAYS_WHOLE", True),
    ("area", "seed: a split does not wait for who steps back",
     "CPUS=2 ROUNDS=3 AREAS=1 SEED_SPLIT_STORE", True),
    ("area", "seed: the level above is not looked at again",
     "CPUS=2 ROUNDS=3 AREAS=1 SEED_TOP_STAYS_DOWN", True),
    ("call", "three CPUs", "CPUS=3 ROUNDS=1", False),
    ("call", "seed: waiting for one that has left", "CPUS=2 ROUNDS=3 SEED_WAIT_FOR_GONE", True),
    ("call", "seed: withdrawn without asking", "CPUS=2 ROUNDS=3 SEED_NO_WITHDRAWAL", True),
    ("call", "seed: off-line first, hooks later", "CPUS=2 ROUNDS=3 SEED_LEAVE_FIRST", True),
    ("shootdown", "three CPUs", "CPUS=3 ROUNDS=1", False),
    ("shootdown", "three CPUs with tags", "CPUS=3 ROUNDS=1 TAGS", False),
    ("shootdown", "seed: freed before the flush", "CPUS=2 ROUNDS=2 SEED_FREE_FIRST", True),
    ("shootdown", "seed: who waits for a lock does not answer", "CPUS=2 ROUNDS=2 SEED_DEAF", True),
    ("shootdown", "seed: answered before it is done", "CPUS=3 ROUNDS=1 SEED_EARLY_ACK", True),
    ("shootdown", "seed: what comes during a flush is answered with it",
     "CPUS=3 ROUNDS=2 SEED_LATE_NUMBER", True),
    ("shootdown", "seed: a kernel address is used again too early", "CPUS=2 ROUNDS=2 SEED_REUSE", True),
    ("shootdown", "seed: only who runs the space is asked for the kernel's page",
     "CPUS=2 ROUNDS=3 SEED_RUNNING_ONLY", True),
    ("shootdown", "seed: a flush under way counts as run", "CPUS=2 ROUNDS=2 TAGS SEED_LEAVE_ANYWAY", True),
    ("shootdown", "seed: tags are kept whatever has changed", "CPUS=2 ROUNDS=2 TAGS SEED_KEEP", True),
]


def check(model, definitions, folder, compiler):
    """(errors, states, what was said): spin makes a checker of the model, which runs to the end."""
    words = [f"-D{word}" for word in definitions.split()]
    said = ""
    for command in (["spin", "-a", *words, HERE / f"{model}.pml"],
                    [compiler, "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", "-o", "pan",
                     "pan.c"],
                    ["./pan", "-m1000000"]):
        run = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True,
                             text=True, timeout=SECONDS, check=False)
        said = run.stdout + run.stderr
        if run.returncode and command[0] != "./pan":
            return None, 0, said
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d+) states, stored", said)
    if not errors or not states or "max search depth too small" in said or "out of memory" in said:
        return None, 0, said
    return int(errors[1]), int(states[1]), said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="also those that take longer")
    parser.add_argument("--compiler", default="cc")
    arguments = parser.parse_args()
    if not shutil.which("spin"):
        print("1..0 # SKIP spin is not installed (Debian: apt install spin)")
        return
    models = QUICK + (REST if arguments.all else [])
    print(f"1..{len(models)}")
    for number, (model, what, definitions, has_bug) in enumerate(models, 1):
        with tempfile.TemporaryDirectory(prefix="models.") as folder:
            try:
                errors, states, said = check(model, definitions, folder, arguments.compiler)
            except subprocess.TimeoutExpired:
                errors, states, said = None, 0, f"not at the end after {SECONDS} s"
        good = errors is not None and (errors > 0) == has_bug
        if not good:
            print("\n".join(f"# {line}" for line in said.splitlines()[:30]))
        print(f"{'ok' if good else 'not ok'} {number} - {model}: {what} ({states} states"
              f"{', error found' if errors else ''})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
