#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints how large each component is: sizes.py SIZE-PROGRAM [--stamp FILE] ARCHIVE...

Owns:  nothing. Needs: `size` (binutils or llvm) in Berkeley format.
Callers: meson.build, after the libraries are made and as the target `sizes`.
Figures are of all objects of an archive; what a linked kernel takes of them can be less.
"""
import os
import subprocess
import sys


def component_of(archive):
    return os.path.basename(archive)[len("libtesela-"):-len(".a")]


def measure(program, archive):
    """(text, data, bss) in bytes, summed over the archive's objects."""
    output = subprocess.run([program, archive], check=True, capture_output=True, text=True).stdout
    rows = [line.split()[:3] for line in output.splitlines()[1:] if line.split()]
    return [sum(int(row[column]) for row in rows) for column in range(3)]


def main():
    program, archives = sys.argv[1], sys.argv[2:]
    stamp = None
    if archives[:1] == ["--stamp"]:
        stamp, archives = archives[1], archives[2:]
    total = [0, 0, 0]
    lines = ["%-20s %8s %8s %8s" % ("component", "text", "data", "bss")]
    for archive in archives:
        figures = measure(program, archive)
        total = [a + b for a, b in zip(total, figures)]
        lines.append("%-20s %8d %8d %8d" % (component_of(archive), *figures))
    lines.append("%-20s %8d %8d %8d" % ("all", *total))
    print("\n".join(lines))
    if stamp:
        with open(stamp, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
