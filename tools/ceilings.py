#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the kernel behind ./bench and fails when an operation takes more instructions than before.

Owns: the comparison. The ceilings are in a file: one line for each row, one column for each machine,
the names of the machines in the line before; a first line says which compiler they are for.
Needs: qemu_run.py beside it. Callers: the tests ceilings-* (tests/bench/meson.build), people.

Instructions are counted by QEMU, the same in every run, so there is no tolerance; only rows that
depend on where earlier ones left things have some room, in the file. Whoever makes an
operation dearer with good reason raises its ceiling in the same change; whoever makes it cheaper
lowers it:

    ./bench --json rows.json && tools/ceilings.py --from rows.json > tests/bench/ceilings.txt
"""

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path


# Rows whose count depends a little on where earlier rows left things: their ceilings get room.
DEPENDS_ON_LAYOUT = ("valloc.", "kmalloc.batch", "kfree.random", "fault.", "populate.", "unmap.",
                     "map.", "protect.", "cow.")
ROOM = 1.08

MACHINES = ("x86_64", "x86_64_la57", "x86_32", "x86_32_pae")


def print_ceilings(path, compiler):
    """The file of ceilings, out of what ./bench measured."""
    rows = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        if row["unit"] == "instructions":
            room = ROOM if row["name"].startswith(DEPENDS_ON_LAYOUT) else 1
            rows.setdefault(row["name"], {})[row["arch"]] = math.ceil(row["value"] * room)
    print("# SPDX-License-Identifier: MIT\n# Instructions that each row of the kernel `bench` may "
          "take at most; tools/ceilings.py compares and makes this file.")
    print(f"compiler {compiler}\n\nmachine              " +
          " ".join(f"{machine:>11}" for machine in MACHINES))
    for name, values in rows.items():
        if len(values) < len(MACHINES):
            continue  # a row that takes a boot of its own, on some machines
        print(f"{name:<20} " + " ".join(f"{values[machine]:>11}" for machine in MACHINES))


def read_ceilings(path, machine):
    """(compiler, {row: ceiling}) of one machine."""
    compiler, columns, ceilings = "", [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "compiler":
            compiler = " ".join(words[1:])
        elif words[0] == "machine":
            columns = words[1:]
        else:
            ceilings[words[0]] = int(dict(zip(columns, words[1:]))[machine])
    return compiler, ceilings


def measure(arguments):
    """{row: instructions} as the kernel prints them."""
    command = [sys.executable, "-B", Path(__file__).with_name("qemu_run.py"), "--arch",
               arguments.arch, "--icount", "--no-log", "--smp", "1", "--cpu", arguments.cpu, "--mem",
               "512M", "--timeout", arguments.timeout, "--append",
               f"paging={arguments.paging}", arguments.kernel]
    run = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, errors="replace", check=False)
    rows = re.findall(r"^row (\S+) instructions (\d+) \d+\s*$", run.stdout, re.MULTILINE)
    if run.returncode:
        print("\n".join(f"# {line}" for line in (run.stdout + run.stderr).splitlines()[-20:]))
        print(f"Bail out! the kernel ended with status {run.returncode}")
        sys.exit(1)
    return {name: int(value) for name, value in rows}


def judge(name, value, ceiling):
    """One TAP line without its number."""
    if value is None:
        return f"not ok - {name}: the kernel printed no such row"
    if ceiling is None:
        return f"ok - {name}: {value} # SKIP it has no ceiling"
    if value > ceiling:
        return f"not ok - {name}: {value} instructions, ceiling {ceiling}"
    lower = f" (the ceiling is {ceiling}: lower it)" if value * ROOM < ceiling else ""
    return f"ok - {name}: {value}{lower}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=["x86_32", "x86_64"])
    parser.add_argument("--timeout", default="60")
    parser.add_argument("--machine", choices=MACHINES, help="the column of the file")
    parser.add_argument("--cpu")
    parser.add_argument("--paging")
    parser.add_argument("--compiler", default="gcc 12", help="what built the kernel")
    parser.add_argument("--from", type=Path, dest="rows", help="what ./bench --json wrote")
    parser.add_argument("ceilings", type=Path, nargs="?")
    parser.add_argument("kernel", nargs="?")
    arguments = parser.parse_args()
    if arguments.rows:
        print_ceilings(arguments.rows, arguments.compiler)
        return
    compiler, ceilings = read_ceilings(arguments.ceilings, arguments.machine)
    if compiler != arguments.compiler:
        print(f"1..0 # SKIP the ceilings are for {compiler}, this kernel was built by "
              f"{arguments.compiler}")
        return
    values = measure(arguments)
    names = list(ceilings) + [name for name in values if name not in ceilings]
    print(f"1..{len(names)}")
    for name in names:
        print(judge(name, values.get(name), ceilings.get(name)))


if __name__ == "__main__":
    main()
