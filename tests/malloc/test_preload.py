# SPDX-License-Identifier: MIT
"""Programs on libtesela-malloc.so: what they print must be what they print without it.

Owns: the list of programs; the files that they read and write, in --work. A program that is not
installed is skipped, by name.
Needs: the library, tests/malloc/malloc_stress (program); whatever is installed.
Callers: tests/malloc/meson.build; by hand:
    test_preload.py --library LIB --stress PROGRAM --bits 64 --work FOLDER --source ROOT
"""
import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys

SQL = """create table t(a integer, b text);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000)
insert into t select x, hex(x * 7919) from c;
create index i on t(b);
select count(*), sum(a), max(b) from t where b > '5';
update t set b = b || b where a % 3 = 0; delete from t where a % 7 = 0; vacuum;
select a, b from t order by b desc limit 20;
"""

PYTHON = """
import json, multiprocessing, subprocess, threading
made = []
def work(number):
    made.append(sum(len(str(i) * 3) for i in range(20000)) + number)
threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(made)[-1], subprocess.run(['echo', 'child'], capture_output=True).stdout)
print(len(json.dumps([{'a': [i] * 10, 'b': str(i)} for i in range(5000)])))
with multiprocessing.Pool(3) as pool:
    print(sum(pool.map(len, ['a' * i for i in range(500)])))
"""

PERL = r"""my %h; $h{$_ * 7919 % 10007} .= "x$_" for 1 .. 50000; my $s = join ",", sort values %h;
$s =~ s/x(\d)/y$1/g; print length $s, " ", substr($s, 0, 60), "\n"; print `echo child`;"""

SHELL = """for i in 1 2 3; do (echo "$i" | cat; x=$(printf '%s' "$i$i"); echo "$x"); done
a=(); for ((i = 0; i < 3000; i++)); do a+=("word$i"); done; echo "${#a[@]} ${a[2999]}" """


def programs(source, work):
    """(name, the program it needs, its words, what it reads)."""
    compiled = os.path.join(work, "kept.o")
    unit = os.path.join(source, "tests/malloc/malloc_stress.c")
    gcc = f"gcc -std=c11 -O2 -c -o {compiled} {unit} && objdump -d {compiled} | tail -n +4"
    return [
        ("python3: threads, processes, JSON", "/usr/bin/python3", ["/usr/bin/python3", "-c", PYTHON], ""),
        ("gcc compiles a file", "gcc", ["sh", "-c", gcc], ""),
        ("git log", "git", ["git", "-C", source, "log", "--stat", "-n", "20"], ""),
        ("git status", "git", ["git", "--no-optional-locks", "-C", source, "status", "--short"], ""),
        ("sqlite3: a table, an index, a vacuum", "sqlite3", ["sqlite3", ":memory:"], SQL),
        ("perl: hashes and strings", "perl", ["perl", "-e", PERL], ""),
        ("bash: subshells and arrays", "bash", ["bash", "-c", SHELL], ""),
        ("sort in several threads", "sort", ["sort", "--parallel=4", "-S", "1M", "-k2", unit], ""),
    ]


# Their output has times in it: only how they end counts.
CHECKERS = [
    ("stress-ng --malloc --verify", "stress-ng",
     ["stress-ng", "--malloc", "2", "--malloc-ops", "20000", "--malloc-bytes", "32M",
      "--malloc-thresh", "1M", "--verify"]),
    ("memtester, one round", "memtester", ["memtester", "1M", "1"]),
]


class Tap:
    def __init__(self):
        self.count = 0

    def check(self, good, name, said=""):
        self.count += 1
        for line in "" if good else said.splitlines()[-40:]:
            print(f"# {line}")
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}", flush=True)


def run(words, library="", text="", seconds=120, room=resource.RLIM_INFINITY, **more):
    """(exit status, standard output, standard error). room: bytes of address space."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (room, room))

    environment = {**os.environ, "LC_ALL": "C", **more}
    environment.pop("LD_PRELOAD", None)
    if library:
        environment["LD_PRELOAD"] = library
    try:
        done = subprocess.run(words, input=text, text=True, capture_output=True, check=False,
                              env=environment, timeout=seconds, errors="replace",
                              preexec_fn=limit if room != resource.RLIM_INFINITY else None)
    except subprocess.TimeoutExpired:
        return "timeout", "", ""
    return done.returncode, done.stdout, done.stderr


def compare(tap, library, name, words, text, **more):
    plain = run(words, text=text, **more)
    ours = run(words, library, text, **more)
    tap.check(plain == ours and plain[0] == 0, f"{name}: the same as without",
              f"without: {plain}\nwith: {ours}")


def test_programs(tap, library, source, work):
    for name, needs, words, text in programs(source, work):
        if shutil.which(needs):
            compare(tap, library, name, words, text)
        else:
            tap.skip(name, f"{needs} is not installed")
    for name, needs, words in CHECKERS:
        if shutil.which(needs):
            status, out, error = run(words, library)
            tap.check(status == 0, f"{name} finds nothing wrong", f"{status}\n{out}\n{error}")
        else:
            tap.skip(name, f"{needs} is not installed")


def test_stress(tap, library, stress):
    """Rules of the C library; threads and forks; more threads than CPUs; misuse. The window of the
    many rounds has 2 GiB: the core for small heaps looks through all of one."""
    room = 4 << 30
    compare(tap, library, "errno, sizes of 0, alignments", [stress, "rules"], "")
    compare(tap, library, "calloc of pages used before", [stress, "zero"], "")
    compare(tap, library, "calloc in locked memory", [stress, "locked"], "")
    compare(tap, library, "threads that are cancelled", [stress, "cancel"], "")
    compare(tap, library, "4 threads with forks", [stress, "20000", "4"], "", room=room)
    compare(tap, library, "80 threads, more than CPUs", [stress, "1000", "80"], "", room=room)
    for kind, words in [("double", "double free"), ("inside", "invalid"), ("size", "free_sized"),
                        ("stray", "foreign")]:
        status, out, error = run([stress, kind], library)
        tap.check(status == -signal.SIGABRT and words in error and "not stopped" not in out,
                  f"misuse '{kind}' ends the program with a report", f"{status} {out} {error}")
        status, out, error = run([stress, kind], library, TESELA_MALLOC="report")
        tap.check(status == 0 and words in error and "not stopped" in out,
                  f"misuse '{kind}' is only reported on request", f"{status} {out} {error}")
    status, _, error = run([stress, "rules"], library, TESELA_MALLOC="report,dump")
    tap.check(status == 0 and "live" in error, "the heap is shown at the end on request", error)


def test_symbols(tap, library):
    """Nothing but the malloc family is seen from outside."""
    _, out, _ = run(["nm", "-D", "--defined-only", library])
    names = {line.split()[-1] for line in out.splitlines() if line}
    family = {"malloc", "free", "calloc", "realloc", "reallocarray", "posix_memalign",
              "aligned_alloc", "memalign", "valloc", "pvalloc", "malloc_usable_size", "malloc_trim",
              "cfree", "free_sized", "free_aligned_sized"}
    tap.check(names == family, "the library shows the malloc family and nothing else",
              f"too many: {names - family}\nmissing: {family - names}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("library", "stress", "bits", "work", "source"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    tap = Tap()
    test_symbols(tap, arguments.library)
    test_stress(tap, arguments.library, arguments.stress)
    if arguments.bits == "64":
        test_programs(tap, arguments.library, arguments.source, arguments.work)
    else:
        tap.skip("programs of this machine", "they have 64 bits, this library 32")
    print(f"1..{tap.count}")


if __name__ == "__main__":
    sys.exit(main())
