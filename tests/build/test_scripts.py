#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests the Python behind ./run, ./check and ./bench without booting anything, and building no more
than a function of one line.

Owns: the expectations below, one TAP line each. Needs: tools/*.py. Reads only.
Called by: Meson (suite `build`), or by hand.
"""

import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools"))

import bench  # noqa: E402
import builds  # noqa: E402
import check  # noqa: E402
import matrix  # noqa: E402
import qemu_run  # noqa: E402
import run  # noqa: E402
import screen  # noqa: E402
import testlog  # noqa: E402


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def refused(function, *arguments):
    """The sentence with which the call ends the script; it must be a matter of usage."""
    try:
        function(*arguments)
    except builds.Problem as problem:
        equal(problem.status, builds.USAGE)
        return str(problem)
    raise AssertionError(f"{arguments} was not refused")


def outcomes(results):
    return [(result.name, result.outcome) for result in results]


def tap_counts_single_tests():
    text = "TAP version 13\n1..3\nok 1 - a\n# a.c:7: 1 != 2\nnot ok 2 - b\nok 3 - c # SKIP no NX\n"
    results = testlog.parse_tap(text, "unit", "x")
    equal(outcomes(results), [("a", "passed"), ("b", "failed"), ("c", "skipped")])
    equal(results[1].said, ["# a.c:7: 1 != 2"])


def tap_notes_after_a_failure_belong_to_it():
    results = testlog.parse_tap("not ok 1 - a\n# one\n# two\nok 2 - b\n1..2\n", "unit", "x")
    equal(results[0].said, ["# one", "# two"])
    equal(results[1].said, [])


def tap_bail_out_is_a_failure():
    results = testlog.parse_tap("ok 1 - a\nBail out! machine reset\n", "unit", "x")
    equal([result.outcome for result in results], ["passed", "failed"])


def tap_program_that_skips_everything():
    equal(outcomes(testlog.parse_tap("1..0 # SKIP no QEMU\n", "unit", "x")), [("", "skipped")])


def entry(result, stdout, stderr=""):
    return {"name": "tesela:unit+base / bits", "result": result, "stdout": stdout, "stderr": stderr}


def a_crash_after_good_tests_is_a_failure():
    log = entry("ERROR", "ok 1 - a\n1..1\n", "AddressSanitizer: leak\n")
    results = testlog.parse_entry(log, "unit")
    equal([result.outcome for result in results], ["passed", "failed"])
    equal("AddressSanitizer: leak" in results[1].said, True)
    equal(results[1].title, "unit/bits")


def a_failed_test_is_not_counted_twice():
    results = testlog.parse_entry(entry("FAIL", "not ok 1 - a\nok 2 - b\n1..2\n"), "unit")
    equal(outcomes(results), [("a", "failed"), ("b", "passed")])


def a_program_without_tap_is_one_test():
    equal(outcomes(testlog.parse_entry(entry("OK", ""), "unit")), [("", "passed")])
    equal(outcomes(testlog.parse_entry(entry("TIMEOUT", "ok 1 - a\n"), "unit"))[1][1], "failed")


def run_has_defaults_by_profile():
    options = run.parse_arguments([])
    equal((options.profile, options.arch, options.mem), ("desktop", "x86_64", "512M"))
    options = run.parse_arguments(["x86_32", "--mem", "6g", "embedded"])
    equal((options.profile, options.arch, options.mem), ("embedded", "x86_32", "6G"))


def run_refuses_with_the_choices():
    equal("profiles: desktop server iot embedded" in refused(run.parse_arguments, ["laptop"]), True)
    equal("0001" in refused(run.parse_arguments, ["server", "x86_32"]), True)
    equal("4level 5level" in refused(run.parse_arguments, ["--paging", "pae"]), True)
    for words in (["--mem", "3"], ["--mem", "0M"], ["--smp", "0"], ["--smp", "256"],
                  ["desktop", "iot"], ["--bogus"], ["--mem"]):
        refused(run.parse_arguments, words)


def check_knows_levels_and_patterns():
    arguments = check.parse_arguments(["full", "unit/*"])
    equal((arguments.level, arguments.pattern), ("full", "unit/*"))
    equal(check.parse_arguments(["bits"]).level, "quick")
    equal("quick full deep" in refused(check.parse_arguments, ["ful"]), True)
    for words in (["a", "b"], ["--minutes", "3"], ["--jobs", "0"], ["deep", "--minutes", "0"]):
        refused(check.parse_arguments, words)


def a_pattern_takes_suite_slash_test():
    takes = lambda text: check.Pattern(text).takes(["unit", "base"], "bits")  # noqa: E731
    equal([takes(text) for text in (None, "unit/*", "base/bits", "bits", "unit", "b?ts")],
          [True] * 6)
    equal([takes(text) for text in ("boot/*", "bit", "qemu", "unit/tree")], [False] * 4)


def groups_do_not_share_build_directories():
    for level in matrix.LEVELS.values():
        groups = level()
        for names in ([group.name for group in groups], [group.build.name for group in groups]):
            equal(sorted(set(names)), sorted(names))


def every_boot_is_one_that_run_accepts():
    for level in matrix.LEVELS.values():
        for group in level():
            for boot in group.boots:
                run.parse_arguments(boot.words())
                equal(f"{boot.arch}-{boot.profile}" in group.build.name, True)


def bench_refuses_with_the_choices():
    equal("frames" in refused(bench.parse_arguments, ["nothing"]), True)
    equal("NAME=PATH" in refused(bench.parse_arguments, ["--peer", "x"]), True)
    equal("no such file" in refused(bench.parse_arguments, ["--peer", "x=/does/not/exist"]), True)


def bench_reads_rows_and_nothing_else():
    text = "boot\nrow frames.pair0 instructions 61 9\nrow broken\nrow frames.hot50 ns 4.25 11\n"
    equal(bench.parse_rows(text, "qemu", "x86_32"),
          [bench.Row("frames.pair0", "qemu", "x86_32", "instructions", 61, 9),
           bench.Row("frames.hot50", "qemu", "x86_32", "ns", 4.25, 11)])


def configuration_errors_are_told_from_others():
    text = ("Version: 1.0.1\nmeson.build:28:2: ERROR: Problem encountered: bad configuration:\n"
            "  configs/x.config:1: outside\n\nA full log can be found at /x/y.txt\n")
    equal(builds._explain_setup(text),
          ("bad configuration:\n  configs/x.config:1: outside", True))
    equal(builds._explain_setup("x/meson.build:7:0: ERROR: File a.c does not exist.\n"),
          ("x/meson.build:7:0: ERROR: File a.c does not exist.", False))


def only_the_first_failure_of_a_build_is_shown():
    text = "[1/9] CC a.o\nFAILED: a.o\ncc a.c\na.c:1: error\n[2/9] CC b.o\nFAILED: b.o\n"
    equal(builds._first_failure(text), "FAILED: a.o\ncc a.c\na.c:1: error")


def a_panic_is_told_where_it_happened():
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "k.c")
        source.write_text("int first(void) { return 1; }\n\nint last(void) { return 2; }\n")
        elf = Path(folder, "k.elf")
        subprocess.run(["gcc", "-g", "-nostdlib", "-no-pie", "-static", "-Wl,-e,first",
                        "-o", elf, source], check=True)
        symbols = subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout
        address = {line.split()[-1]: int(line.split()[0], 16) for line in symbols.splitlines()}
        found = qemu_run.places(str(Path(folder, "k-x86_64.multiboot")), [
            "# panic: on purpose at 0x1", "# ip %#x flags 0x1 cs 0x8" % address["first"],
            "# called from: %#x" % address["last"]])  # returns to `last`: `first` was left
        equal([line.split()[1:4] for line in found[1:]], [["first", "at", "k.c:1"]] * 2)
        equal(qemu_run.places(str(Path(folder, "gone.multiboot")), ["# ip 0x1000"]), [])
        equal(qemu_run.places(str(Path(folder, "k.multiboot")), ["nothing", "# panic: 0x1"]), [])


def tables_are_aligned():
    equal(screen.table([["a", "1"], ["bcd", "23"]], right={1}), "a     1\nbcd  23")
    equal([screen.duration(value) for value in (7.41, 48, 185)], ["7.4 s", "48 s", "3 min 05 s"])


def scripts_end_with_status_2_on_bad_usage():
    for words in (["run", "server", "x86_32", "--once"], ["check", "--bogus"], ["bench", "nothing"]):
        done = subprocess.run([str(ROOT / words[0]), *words[1:]], capture_output=True, text=True,
                              check=False, cwd="/")
        equal((words, done.returncode, done.stdout), (words, 2, ""))
        equal(done.stderr.startswith(f"{words[0]}: "), True)


def scripts_explain_themselves():
    for script in ("run", "check", "bench"):
        done = subprocess.run([str(ROOT / script), "--help"], capture_output=True, text=True,
                              check=False, cwd="/")
        equal((done.returncode, done.stdout.startswith(f"Usage: ./{script} ")), (0, True))


TESTS = [value for value in list(globals().values())
         if callable(value) and getattr(value, "__module__", "") == __name__
         and value.__code__.co_argcount == 0]


def run_tests():
    print(f"1..{len(TESTS)}")
    for number, test in enumerate(TESTS, 1):
        try:
            test()
        except Exception:
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
            print(f"not ok {number} - {test.__name__}", flush=True)
        else:
            print(f"ok {number} - {test.__name__}", flush=True)


if __name__ == "__main__":
    run_tests()
