# SPDX-License-Identifier: MIT
"""The rows of ./bench heap that are not printed by one program: whole processes under several
mallocs, and the embedded heap.

Owns: the list of real programs; how CPU time and peak memory become ratios to the C library's malloc.
Needs: builds.py; the programs bench-heap-fill, peer-malloc-workload and peer-malloc-measure
(tests/bench), the library tesela-malloc (examples/malloc), examples/minimal.
Called by: bench.py.

Every workload runs in a process of its own, under each malloc in turn and RUNS times, so that what
disturbs the machine disturbs all alike; a figure is the median. CPU time and peak memory (resident)
are the kernel's account of the process and its children.
"""

import os
import re
import shutil
import subprocess
from math import exp, log
from statistics import median

import builds
from builds import FAILED, MESON, ROOT, Build, Problem

RUNS = 3
OURS, BASE = "tesela", "glibc"

PYTHON = """
import json
rows = [{"number": i, "text": str(i) * 3, "list": list(range(i % 20))} for i in range(40000)]
print(len(json.loads(json.dumps(rows))), len(sorted(rows, key=lambda row: row["text"])))
"""
PERL = r"""my %h; $h{$_ * 7919 % 100003} .= "x$_" x 3 for 1 .. 250000;
my $s = join ",", sort values %h; $s =~ s/x(\d)/y$1/g; print length $s;"""
SQL = """create table t(a integer, b text);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 150000)
insert into t select x, hex(x * 7919) from c;
create index i on t(b); select count(*), max(b) from t where b > '5';
select length(group_concat(b)) from (select b from t order by b desc);"""


def real_programs():
    """Name of the row -> (words, standard input), of programs that are installed."""
    unit = ROOT / "tests" / "bench" / "workload_single.c"
    known = {
        "python": (["/usr/bin/python3", "-S", "-c", PYTHON], ""),
        "perl": (["perl", "-e", PERL], ""),
        "sqlite": (["sqlite3", ":memory:"], SQL),
        "gcc": (["gcc", "-std=c11", "-O2", "-S", "-o", os.devnull, str(unit)], ""),
        "git": (["git", "-C", str(ROOT), "log", "--stat", "-n", "150"], ""),
    }
    return {name: (words, text) for name, (words, text) in known.items() if shutil.which(words[0])}


def run_process(measure, words, library, text=""):
    """(CPU seconds, peak KiB, standard output) of a process and its children."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run([measure, library or "-", *words], input=text, text=True,
                          capture_output=True, check=False, env=environment)
    found = re.search(r"^cost (\d+) (\d+)$", done.stderr, re.M)
    if done.returncode or not found:
        raise Problem(FAILED, f"{words[0]} under {library or BASE} ended with status "
                              f"{done.returncode}:\n{done.stderr[-2000:]}")
    return int(found[1]) / 1e6, int(found[2]), done.stdout


def workload_names(program):
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return [line.partition(":")[0] for line in text.splitlines()]


def geometric_mean(values):
    return exp(sum(map(log, values)) / len(values))


class Suite:
    """Figures by row and malloc; `libraries` maps the name of a malloc to its file, '' for none."""

    def __init__(self, programs, libraries, say):
        self.program, self.measure = programs["peer-malloc-workload"], programs["peer-malloc-measure"]
        self.libraries, self.say = libraries, say
        self.seconds, self.peaks, self.walls = {}, {}, {}

    def run(self):
        for name in workload_names(self.program):
            self._run(name, [self.program, name], "")
        for name, (words, text) in real_programs().items():
            self._run(name, words, text)

    def _run(self, name, words, text):
        costs = {malloc: [] for malloc in self.libraries}
        for turn in range(RUNS):
            for malloc, library in self.libraries.items():
                self.say(f"measuring {name} on {malloc}, {turn + 1} of {RUNS}")
                costs[malloc].append(run_process(self.measure, words, library, text))
        for malloc, runs in costs.items():
            self.seconds.setdefault(name, {})[malloc] = median(run[0] for run in runs)
            self.peaks.setdefault(name, {})[malloc] = median(run[1] for run in runs)
            wall = [re.search(r"^wall (\d+)$", run[2], re.M) for run in runs]
            if all(wall):
                self.walls.setdefault(name, {})[malloc] = min(int(found[1]) for found in wall)

    def rows(self):
        """(name, unit, {malloc: figure})."""
        yield "heap.remote", "times", self._to_base(self.walls["remote"], inverse=True)
        for kind, table in (("suite", self.seconds), ("peak", self.peaks)):
            ratios = {name: self._to_base(figures) for name, figures in table.items()}
            yield f"heap.{kind}", "x glibc", {
                malloc: geometric_mean([row[malloc] for row in ratios.values()])
                for malloc in self.libraries}
            for name, row in ratios.items():
                yield f"heap.{kind}.{name}", "x glibc", row

    @staticmethod
    def _to_base(figures, inverse=False):
        base = figures[BASE]
        return {malloc: (base / figure if inverse else figure / base)
                for malloc, figure in figures.items()}


def embedded_fill(say):
    """What bench-heap-fill prints for 4 MiB in the embedded profile, as a 32-bit program."""
    build = Build("bench-embedded", ["--buildtype=release", "-Dprofile=embedded",
                                     "-Dconfig_fragments=tests/bench/host.config",
                                     "-Dport_inline=tests/bench/port_inline",
                                     "--native-file", str(ROOT / "cross" / "host32-gcc.ini")])
    with build.locked(say):
        build.configure(say)
        program = build.file_of("bench-heap-fill")
        build.compile(say, [os.path.relpath(program, build.directory)])
        say("filling an embedded heap")
        return subprocess.run([program, "4", "_embedded"], capture_output=True, text=True,
                              check=True).stdout


def embedded_text(say):
    """Bytes of code and constants that examples/minimal takes of heap and frames; x86-32, -Os."""
    folder = ROOT / "build" / "bench-minimal"
    listing = folder / "minimal.map"
    shutil.rmtree(folder, ignore_errors=True)
    say("linking the smallest kernel")
    for command in ([MESON, "setup", "--cross-file", ROOT / "cross" / "x86_32-gcc.ini", folder,
                     ROOT / "examples" / "minimal",
                     f"-Dc_link_args=-m32 -march=i686 -Wl,-Map={listing}"],
                    ["ninja", "-C", folder, "minimal.elf"]):
        child = builds.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        said = child.stdout.read()
        if builds.finish(child):
            raise Problem(FAILED, f"examples/minimal does not build:\n{said[-3000:]}")
    return text_of(listing.read_text(), ("heap_allocator", "physical_allocator"))


def text_of(listing, components):
    """Sum of the code and constant sections of some of our archives in a linker's map."""
    kept = listing.partition("Linker script and memory map")[2]
    archives = "|".join(f"libtesela-{name}" for name in components)
    found = re.findall(rf"^ \.(?:text|rodata)\S*\s+0x\w+\s+0x(\w+) \S*(?:{archives})\.a", kept, re.M)
    return sum(int(size, 16) for size in found)
