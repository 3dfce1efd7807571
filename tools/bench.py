# SPDX-License-Identifier: MIT
"""`./bench`: runs the benchmark programs, sets their figures beside those of others.

Owns: the arguments of ./bench, the table, the JSON form.
Needs: builds.py, screen.py, anchors.py (cited figures, goals), tools/qemu_run.py; the programs
behind the rows: host programs named bench-<group> and the kernel image `bench` (tests/bench).
Called by: ./bench.

A program prints one line for each figure, `row NAME UNIT MEDIAN SAMPLES`, and may print
`note NAME TEXT`; everything else it prints is ignored.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import bench_heap
import builds
from anchors import ANCHORS
from builds import ROOT, Build, Problem, kernel_build
from screen import Screen, table
from tiers import print_tiers

# Group -> the first parts of the names of its rows.
GROUPS = {"frames": ("frames",), "heap": ("heap", "kmalloc", "kfree"),
          "vm": ("map", "protect", "valloc", "unmap", "populate"), "paging": ("fault",),
          "process": ("syscall", "cow")}

# Name in the figures -> architecture, table format, CPU model as Linux was measured.
MACHINES = {
    "x86_64": ("x86_64", "4level", "qemu64"),
    "x86_64_la57": ("x86_64", "5level", "qemu64,+la57"),
    "x86_32": ("x86_32", "2level", "qemu32"),
    "x86_32_pae": ("x86_32", "pae", "qemu32"),
}

# Debian's packages with a malloc of their own, measured when they are installed.
PRELOADS = {
    "mimalloc": "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2",
    "jemalloc": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    "tcmalloc": "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
}


CITED = " (cited)"  # behind the name of a peer that was not measured in this run
MORE_IS_BETTER = ("blocks", "percent", "times")  # units; of all others less is better


@dataclass
class Row:
    """One figure of ours."""
    name: str
    where: str
    arch: str
    unit: str
    value: float
    samples: int
    peers: dict = field(default_factory=dict)

    def group(self):
        return group_of(self.name)


def group_of(name):
    family = name.partition(".")[0]
    return next((group for group, families in GROUPS.items() if family in families), None)


def usage(sentence):
    raise Problem(builds.USAGE, f"{sentence}\nTry './bench --help'.")


def parse_arguments(argv):
    parser = argparse.ArgumentParser(prog="./bench", add_help=False, usage=argparse.SUPPRESS)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--json")
    parser.add_argument("--peer", action="append", default=[])
    parser.error = usage
    arguments = parser.parse_intermixed_args(argv)
    if "tiers" in arguments.groups and len(arguments.groups) > 1:
        usage("'tiers' builds heaps of its own: it stands alone")
    for group in arguments.groups:
        if group not in GROUPS and arguments.groups != ["tiers"]:
            usage(f"there are no rows in a group '{group}' (groups: {' '.join(GROUPS)})")
    arguments.groups = arguments.groups or list(GROUPS)
    arguments.peer = dict(_peer(text) for text in arguments.peer)
    if arguments.json and not os.path.isdir(os.path.dirname(os.path.abspath(arguments.json))):
        usage(f"--json {arguments.json}: there is no such folder")
    return arguments


def _peer(text):
    name, equals, path = text.partition("=")
    if not equals or not re.fullmatch(r"[\w.+-]+", name) or not path:
        usage(f"--peer wants NAME=PATH, not '{text}'")
    if not os.path.isfile(path):
        usage(f"--peer {name}: {path}: no such file")
    if not _is_library(path) and not os.access(path, os.X_OK):
        usage(f"--peer {name}: {path} is neither a program nor a shared library")
    return name, os.path.abspath(path)


def _is_library(path):
    return re.search(r"\.so(\.\d+)*$", path) is not None


def _has_frames(path):
    """Whether a shared library is a frame allocator (tests/bench/README.md), else it is a malloc."""
    return _is_library(path) and b"frames_peer_create" in Path(path).read_bytes()


def parse_rows(text, where, arch):
    """The figures in a program's output."""
    rows = []
    for line in text.splitlines():
        found = re.fullmatch(r"row (\S+) (\S+) (\d+(?:\.\d+)?) (\d+)\s*", line)
        if found:
            name, unit, value, samples = found.groups()
            number = float(value) if "." in value else int(value)
            rows.append(Row(name, where, arch, unit, number, int(samples)))
    return rows


def output_of(command, say, what, environment=None):
    """What a program printed; Problem with its last lines when it failed."""
    say(f"measuring {what}")
    child = builds.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace",
                         env={**os.environ, **(environment or {})})
    text = child.stdout.read()
    status = builds.finish(child)
    if status:
        tail = "\n".join(text.splitlines()[-15:])
        raise Problem(builds.FAILED, f"{what} ended with status {status}:\n{tail}")
    return text


class Bench:
    """One run: builds, measures, keeps rows and notes."""

    def __init__(self, arguments, say):
        self.arguments, self.say = arguments, say
        self.rows, self.notes = [], []

    def run(self):
        self._run_host()
        for name, (arch, paging, cpu) in MACHINES.items():
            self._run_kernel(name, arch, paging, cpu)
        missing = [group for group in self.arguments.groups
                   if group not in {row.group() for row in self.rows}]
        if missing:
            raise Problem(builds.FAILED, f"no figure came for: {' '.join(missing)}")

    def _run_host(self):
        build = Build("bench-host", ["--buildtype=release", "-Dprofile=desktop",
                                     "-Dconfig_fragments=tests/bench/host.config",
                                     "-Dport_inline=tests/bench/port_inline",
                                     "--native-file", str(ROOT / "cross" / "host64-gcc.ini")])
        with build.locked(self.say):
            build.configure(self.say)
            programs = {entry["name"]: entry["filename"][0]
                        for entry in build.introspect("targets")
                        if entry["name"].startswith(("bench-", "peer-"))}
            if not programs:
                return
            build.compile(self.say, [os.path.relpath(path, build.directory)
                                     for path in programs.values()])
            for group in self.arguments.groups:
                for name, program in programs.items():
                    if name == f"bench-{group}" or name.startswith(f"bench-{group}-"):
                        self._take(output_of([program], self.say, name), "host", "x86_64")
            if "frames" in self.arguments.groups:
                self._run_frame_allocators(programs)
            if "heap" in self.arguments.groups and "bench-malloc" in programs:
                self._run_mallocs(programs, self._malloc_library(build))
        self._run_peers()

    def _take(self, text, where, arch):
        self.rows += [row for row in parse_rows(text, where, arch)
                      if row.group() in self.arguments.groups]
        for line in text.splitlines():
            found = re.fullmatch(r"note (\S+) (.*)", line)
            if found and group_of(found[1]) in self.arguments.groups:
                self.notes.append((found[1], arch, found[2]))

    def _run_frame_allocators(self, programs):
        """The rows frames.* over allocators written for this, and over libraries given."""
        for name, program in programs.items():
            peer = name.removeprefix("peer-frames-")
            if peer not in (name, "library"):
                self._add_peer(peer, output_of([program], self.say, f"frames of {peer}"))
        for name, path in self.arguments.peer.items():
            if _has_frames(path):
                self._add_peer(name, output_of([programs["peer-frames-library"], path], self.say,
                                               f"frames of {name}"))

    def _malloc_library(self, build):
        """Our heap as a library to preload."""
        library = build.file_of("tesela-malloc")
        build.compile(self.say, [os.path.relpath(library, build.directory)])
        return library

    def _run_mallocs(self, programs, ours):
        """Heap workloads over malloc: glibc's, ours, and every other that can be preloaded."""
        libraries = {bench_heap.BASE: "", bench_heap.OURS: ours}
        libraries.update((name, path) for name, path in PRELOADS.items() if os.path.exists(path))
        libraries.update((name, path) for name, path in self.arguments.peer.items()
                         if _is_library(path) and not _has_frames(path))
        for name, path in libraries.items():
            text = output_of([programs["bench-malloc"]], self.say, f"heap of {name}",
                             {"LD_PRELOAD": path})
            if name == bench_heap.OURS:
                self.notes += [(row.name, "host", f"{row.value} ns when preloaded as malloc, like "
                                "those beside it") for row in parse_rows(text, "host", "x86_64")]
            else:
                self._add_peer(name, text)
        suite = bench_heap.Suite(programs, libraries, self.say)
        suite.run()
        for name, unit, figures in suite.rows():
            row = Row(name, "host", "x86_64", unit, round(figures.pop(bench_heap.OURS), 3),
                      bench_heap.RUNS)
            row.peers = {peer: round(value, 3) for peer, value in figures.items()}
            self.rows.append(row)
        self._run_embedded()

    def _run_embedded(self):
        """The heap of the embedded profile: how full it gets, and how large its code is."""
        self.rows += parse_rows(bench_heap.embedded_fill(self.say), "host", "x86_32")
        self.rows.append(Row("heap.text_embedded", "host", "x86_32", "bytes",
                             bench_heap.embedded_text(self.say), 1))

    def _run_peers(self):
        for name, path in self.arguments.peer.items():
            if not _is_library(path):
                self._add_peer(name, output_of([path], self.say, name))

    def _add_peer(self, peer, text):
        figures = {row.name: row.value for row in parse_rows(text, "host", "x86_64")}
        taken = [row for row in self.rows if row.where == "host" and row.name in figures]
        for row in taken:
            row.peers[peer] = figures[row.name]
        if not taken:
            raise Problem(builds.FAILED, f"the peer {peer} printed no row that we have too")

    def _run_kernel(self, name, arch, paging, cpu):
        build = kernel_build("desktop", arch)
        with build.locked(self.say):
            build.configure(self.say)
            kernel = build.file_of("bench.multiboot")
            build.compile(self.say, [os.path.relpath(kernel, build.directory)])
            regions = " regions=million" if "vm" in self.arguments.groups else ""
            command = ["/usr/bin/python3", "-B", ROOT / "tools" / "qemu_run.py", "--arch", arch,
                       "--icount", "--no-log", "--smp", 1, "--cpu", cpu, "--mem", "512M",
                       "--timeout", 600, "--append", f"paging={paging}{regions}", kernel]
            self._take(output_of(command, self.say, f"instructions on {name}"), "qemu", name)


def cite(rows):
    """Adds the cited figures of peers that were not measured in this run."""
    for row in rows:
        anchor = ANCHORS.get(row.name)
        for peer, value in (anchor.cited.get("" if row.where == "host" else row.arch, {})
                            if anchor else {}).items():
            if peer not in row.peers:
                row.peers[peer + CITED] = value


def number(value):
    """Three digits are enough: 4.25, 71, 113,803."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def comparison(row, cited):
    """The peers of one kind (cited, or measured in this run), the best first, and our figure divided
    by its (where more is better, its by ours)."""
    more = row.unit in MORE_IS_BETTER
    peers = sorted(((value, name.removesuffix(CITED)) for name, value in row.peers.items()
                    if name.endswith(CITED) == cited), reverse=more)
    if not peers:
        return "", ""
    above, below = (peers[0][0], row.value) if more else (row.value, peers[0][0])
    ratio = above / below if below else float("inf")
    return ", ".join(f"{name} {number(value)}" for value, name in peers), f"{ratio:.2f}x"


def print_table(rows, notes, screen):
    heads = ["name", "machine", "unit", "Tesela", "goal", "beside", "ratio", "cited", "ratio"]
    body = []
    for row in rows:
        anchor = ANCHORS.get(row.name)
        machine = "host" if row.where == "host" else f"qemu {row.arch}"
        has_goal = anchor and anchor.goal is not None and \
            (row.where == "host" or row.arch in ("x86_64", "x86_64_la57"))
        body.append([row.name, machine, row.unit, number(row.value),
                     number(anchor.goal) if has_goal else "",
                     *comparison(row, cited=False), *comparison(row, cited=True)])
    used = [column for column in range(len(heads)) if any(cells[column] for cells in body)]
    screen.line(table([[cells[column] for column in used] for cells in [heads, *body]],
                      right={used.index(column) for column in (3, 4, 6, 8) if column in used}))
    if notes:
        screen.line()
        for name, arch, text in notes:
            screen.line(f"{name} on {arch}: {text}")


def write_json(path, rows):
    entries = [{"name": row.name, "where": row.where, "arch": row.arch, "unit": row.unit,
                "value": row.value, "samples": row.samples, "peers": row.peers} for row in rows]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
        file.write("\n")


def main():
    arguments = parse_arguments(sys.argv[1:])
    builds.require_packages("build", "host32", "qemu",
                            *(["mallocs"] if "heap" in arguments.groups else []))
    screen = Screen()
    steps = sys.stderr.isatty() and Screen(sys.stderr)
    say = steps.progress if steps else lambda text: None
    if arguments.groups == ["tiers"]:
        print_tiers(screen, say)
        return builds.OK
    bench = Bench(arguments, say)
    bench.run()
    if steps:
        steps.clear()
    cite(bench.rows)
    print_table(bench.rows, bench.notes, screen)
    if arguments.json:
        write_json(arguments.json, bench.rows)
    return builds.OK


if __name__ == "__main__":
    builds.main(main)
