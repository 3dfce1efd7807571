#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares what the kernel `tables` says of its page tables with what QEMU reads in them.

Owns:  the comparison, page by page: addresses, sizes, rights, cache bits; and the TAP lines.
Needs: tools/qemu_run.py; the kernel's `# tables`, `# map` and `# marker` lines (tables.c). `info mem` of QEMU 7.2
does not know five levels, and is left out there.
Callers: meson.build, people, with the arguments of qemu_run.py.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import qemu_run  # noqa: E402 (the path comes first)

# components/base/include/tesela/types.h
WRITE, EXEC, USER, GLOBAL = 1 << 1, 1 << 2, 1 << 3, 1 << 4
CACHE_SHIFT = 8
WRITE_THROUGH, UNCACHED, WRITE_COMBINING = 1, 2, 3
PAGE = 4096


class Comparison:
    """One picture of the tables: the kernel's words, then QEMU's."""

    def __init__(self, has_nx, has_pat):
        self.has_nx, self.has_pat = has_nx, has_pat
        self.pages = {}

    def take(self, line):
        start, target, size, count, attributes = (int(word, 16) for word in line.split()[2:7])
        for i in range(count):
            self.pages[start + i * size] = (target + i * size, size, attributes)

    def flags(self, size, attributes):
        """As QEMU prints them, but for what the CPU marks. It never shows the PAT bit, so that write
        combining looks like write-back."""
        cache = attributes >> CACHE_SHIFT & 3
        uncached = cache == UNCACHED or (cache == WRITE_COMBINING and not self.has_pat)
        return "".join([
            "X" if self.has_nx and not attributes & EXEC else "-",
            "G" if attributes & GLOBAL else "-",
            "P" if size > PAGE else "-",
            "C" if uncached else "-",
            "T" if uncached or cache == WRITE_THROUGH else "-",
            "U" if attributes & USER else "-",
            "W" if attributes & WRITE else "-"])

    def differences_in_tlb(self, text):
        seen = {}
        for line in text.splitlines():
            match = re.match(r"([0-9a-f]+): ([0-9a-f]+) ([-XGPDACTUW]{9})$", line.strip())
            if match:
                flags = match[3][:3] + match[3][5:]
                # With PAE the no-execute bit is left in the address.
                seen[int(match[1], 16)] = (int(match[2], 16) & ~(1 << 63), flags)
        expected = {start: (target, self.flags(size, attributes))
                    for start, (target, size, attributes) in self.pages.items()}
        return differences(expected, seen), len(seen)

    def differences_in_mem(self, text):
        seen = {}
        for line in text.splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) [0-9a-f]+ ([u-]r[w-])$", line.strip())
            if match:
                seen[int(match[1], 16)] = (int(match[2], 16), match[3])
        expected, begin, end, last = {}, None, None, None
        for start, (_, size, attributes) in sorted(self.pages.items()):
            rights = ("u" if attributes & USER else "-") + "r" + ("w" if attributes & WRITE else "-")
            if start != end or rights != last:
                begin = start
            end, last = start + size, rights
            expected[begin] = (end, rights)
        return differences(expected, seen), len(seen)


def differences(expected, seen):
    """Lines about addresses at which the two do not say the same."""
    return [f"{at:#x}: the kernel says {shown(expected.get(at))}, QEMU {shown(seen.get(at))}"
            for at in sorted(expected.keys() | seen.keys()) if expected.get(at) != seen.get(at)]


def shown(entry):
    return "nothing" if entry is None else f"{entry[0]:#x} {entry[1]}"


class Machine(qemu_run.Machine):
    """A run that answers each marker."""

    def __init__(self, arguments, folder):
        super().__init__(arguments, folder)
        self.input = subprocess.PIPE
        self.results = []
        self.format, self.now = "", None

    def take_line(self, line):
        line = line.rstrip()
        if line.startswith("# tables "):
            _, _, self.format, has_nx, has_pat = line.split()
            self.now = Comparison(has_nx == "1", has_pat == "1")
        elif line.startswith("# map "):
            self.now.take(line)
        elif line.startswith("# marker "):
            self.compare(line.split()[2])
        elif line:
            print(line if line.startswith("#") else "# " + line, flush=True)

    def compare(self, name):
        questions = {"info tlb": self.now.differences_in_tlb}
        if self.format != "5level":
            questions["info mem"] = self.now.differences_in_mem
        for question, compare in questions.items():
            found, count = compare(qemu_run.ask_monitor(self.monitor, question))
            self.results.append((not found and count > 0,
                                 f"{question} of {name}: {count} lines agree"))
            for difference in found[:20]:
                print("# " + difference)
            if found:
                print(f"# {len(found)} differences in all")
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


def main():
    arguments = qemu_run.parse_arguments()
    with tempfile.TemporaryDirectory(prefix="compare_tables.") as folder:
        machine = Machine(arguments, folder)
        ending, sentence = machine.run()
        machine.results.append((ending == "pass", "the kernel ends well: " + sentence))
    print(f"1..{len(machine.results)}")
    for number, (good, text) in enumerate(machine.results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
