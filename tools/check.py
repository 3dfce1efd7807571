# SPDX-License-Identifier: MIT
"""`./check`: runs the groups of a level side by side, counts single tests, shows what failed.

Owns: the scheduler (one group a worker), the report on the terminal and build/.check-times.json,
from which the longest groups are started first.
Needs: builds.py (build directories), matrix.py (what a level consists of), testlog.py (results),
run.py (how a monitor is booted), screen.py.
Called by: ./check.
"""

import argparse
import fnmatch
import json
import os
import queue
import random
import re
import shlex
import subprocess
import sys
import threading
import time

import builds
import matrix
import run
import testlog
from builds import MESON, ROOT, Problem
from screen import Screen, duration
from testlog import FAILED, PASSED, SKIPPED, Result

TIMES = ROOT / "build" / ".check-times.json"


def parse_arguments(argv):
    parser = argparse.ArgumentParser(prog="./check", add_help=False, usage=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float)
    parser.error = usage
    arguments = parser.parse_intermixed_args(argv)
    words = arguments.words
    arguments.level = words.pop(0) if words and words[0] in matrix.LEVELS else "quick"
    if len(words) > 1:
        usage(f"one pattern at a time, not {' and '.join(words)}")
    arguments.pattern = words[0] if words else None
    if arguments.pattern and re.fullmatch(r"\w+", arguments.pattern) \
            and fnmatch.filter(matrix.LEVELS, arguments.pattern[:3] + "*"):
        usage(f"unknown level '{arguments.pattern}' (one of: {' '.join(matrix.LEVELS)})")
    if arguments.minutes is not None and arguments.level != "deep":
        usage("--minutes bounds the level deep only")
    if arguments.jobs < 1 or (arguments.minutes is not None and arguments.minutes <= 0):
        usage("--jobs and --minutes must be above 0")
    return arguments


def usage(sentence):
    raise Problem(builds.USAGE, f"{sentence}\nTry './check --help'.")


class Pattern:
    """Which tests were asked for: a glob on suite/test, or on one of the two."""

    def __init__(self, text):
        self.text = text

    def takes(self, suites, name):
        if self.text is None:
            return True
        titles = [f"{suite}/{name}" for suite in suites] + [name, *suites]
        return any(fnmatch.fnmatchcase(title, self.text) for title in titles)


class Worker:
    """Runs one group; `say` shows what it is doing, results go to `found`."""

    def __init__(self, group, pattern, jobs, say, found):
        self.group, self.pattern, self.jobs = group, pattern, jobs
        self.say, self.found = say, found

    def run(self):
        """False when the pattern takes nothing of this group."""
        group = self.group
        boots = [boot for boot in group.boots if self.pattern.takes(["boot"], boot.name)]
        try:
            with group.build.locked(self.say):
                group.build.configure(self.say)
                programs = self._programs()
                fuzzers = self._fuzzers()
                if not programs and not boots and not fuzzers:
                    return False
                group.build.compile(self.say, jobs=self.jobs)
                if programs:
                    self._run_programs(programs)
                for name, path in fuzzers.items():
                    self._fuzz(name, path)
                for boot in boots:
                    self._boot(boot)
        except Problem as problem:
            again = f"ninja -C build/{group.build.name}"
            if not (group.build.directory / "build.ninja").exists():
                again = setup_command(group.build)
            self.found(Result("build", group.name, "", FAILED, str(problem).splitlines()), again)
        return True

    def _programs(self):
        """The Meson tests of the group that the pattern takes: {name: suite}."""
        names, there = {}, set()
        for test in self.group.build.introspect("tests"):
            suites = [suite.partition(":")[2] for suite in test["suite"]]
            there.update(suites)
            wanted = [suite for suite in suites if suite in self.group.suites]
            left_out = any(suite in self.group.without for suite in suites)
            if wanted and not left_out and self.pattern.takes(suites, test["name"]):
                names[test["name"]] = wanted[0]
        if self.pattern.text is None:
            for suite in set(self.group.suites) - there:
                self.found(Result("build", self.group.name, "", FAILED,
                                  [f"there is no test of the suite {suite} in this build"]),
                           f"{MESON} test -C build/{self.group.build.name} --list")
        return names

    def _run_programs(self, names):
        group = self.group
        log = group.build.directory / "meson-logs" / "testlog.json"
        log.unlink(missing_ok=True)
        # Around Meson, not handed to it: with --wrapper it would give its log another name.
        command = [*group.wrapper, MESON, "test", "-C", group.build.directory, "--no-rebuild",
                   "--num-processes", self.jobs, "--timeout-multiplier", group.patience]
        for suite in group.suites:
            command += ["--suite", suite]
        for suite in group.without:
            command += ["--no-suite", suite]
        child = builds.start([*command, *names], env={**os.environ, **group.env},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        said = []
        for line in child.stdout:
            said.append(line)
            step = re.match(r"\s*(\d+)/(\d+)\s+(.*?)\s{2,}", line)
            if step:
                self.say(f"{step[3]} ({step[1]} of {step[2]})")
        status = builds.finish(child)
        results = testlog.parse_testlog(log, names) if log.exists() else []
        for result in results:
            self.found(result, self._again(result))
        if len({result.program for result in results}) < len(names):
            self.found(Result("build", group.name, "", FAILED,
                              [f"meson test ended with status {status} before all programs ran",
                               *"".join(said).splitlines()[-20:]]), relative_command(command))

    def _fuzzers(self):
        """The fuzz targets that the pattern takes: {name: program}."""
        if not self.group.fuzz_seconds:
            return {}
        targets = {entry["name"].removeprefix("fuzz-"): entry["filename"][0]
                   for entry in self.group.build.introspect("targets")
                   if entry["name"].startswith("fuzz-")}
        return {name: path for name, path in targets.items()
                if self.pattern.takes(["fuzz"], name)}

    def _fuzz(self, name, program):
        """Feeds one target; what it learnt stays in build/fuzz/<name> for the next time."""
        corpus = ROOT / "build" / "fuzz" / name
        corpus.mkdir(parents=True, exist_ok=True)
        self.say(f"fuzz/{name} for {self.group.fuzz_seconds} s")
        command = [program, f"-max_total_time={self.group.fuzz_seconds}",
                   f"-artifact_prefix={corpus}-", corpus]
        child = builds.start(command, env={**os.environ, **self.group.env},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        output = child.stdout.read()
        status = builds.finish(child)
        said = output.splitlines()[-60:] if status else []
        found = re.search(r"Test unit written to (\S+)", output)
        again = [program, found[1]] if found else command
        self.found(Result("fuzz", name, "", FAILED if status else PASSED, said),
                   relative_command(again))

    def _again(self, result):
        words = [f"{name}={value}" for name, value in self.group.env.items()]
        words += [*self.group.wrapper, MESON, "test", "-C", f"build/{self.group.build.name}",
                  "--verbose"]
        return " ".join([*words, result.program])

    def _boot(self, boot):
        self.say(f"boot/{boot.name}")
        options = run.parse_arguments(boot.words())
        try:
            status, output = run.boot_quietly(self.group.build, options, self.group.patience)
        except Problem as problem:
            again = "./run " + shlex.join(boot.words())
            self.found(Result("boot", boot.name, "", FAILED, str(problem).splitlines()), again)
            return
        said = [] if status == 0 else [f"exit status {status}", *output.splitlines()[-40:]]
        outcome = FAILED if status else PASSED
        command = run.qemu_command(options, self.group.build.file_of("monitor.multiboot"),
                                   patience=self.group.patience)
        self.found(Result("boot", boot.name, "", outcome, said), relative_command(command))


def setup_command(build):
    return relative_command([MESON, "setup", *build.options, f"build/{build.name}", "."])


def relative_command(words):
    """A command as it is typed at the root of the repository."""
    return shlex.join(str(word) for word in words).replace(f"{ROOT}/", "")


class Report:
    """Counts, the progress line, one line for each finished group, failures in full."""

    def __init__(self, screen, total):
        self.screen, self.total = screen, total
        self.counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.failures, self.doing = [], {}
        self.finished, self.began = 0, time.monotonic()
        self.lock = threading.RLock()

    def say(self, group, text):
        with self.lock:
            self.doing[group.name] = text
            self._draw()

    def found(self, group, counts, result, again):
        with self.lock:
            self.counts[result.outcome] += 1
            counts[result.outcome] += 1
            if result.outcome == FAILED:
                self.failures.append((group.name, result.title))
                self._show_failure(group, result, again)
            self._draw()

    def _show_failure(self, group, result, again):
        paint, line = self.screen.paint, self.screen.line
        line(paint("red", f"FAILED  {group.name}  {result.title}"))
        for text in result.said[:60]:
            line("        " + (text if len(text) <= 300 else text[:300] + " ..."))
        line(f"        again: {again}")

    def close(self, group, counts, seconds):
        with self.lock:
            self.finished += 1
            self.doing.pop(group.name, None)
            word = self.screen.paint("red", "FAIL") if counts[FAILED] \
                else self.screen.paint("green", "ok  ")
            self.screen.line(f"{word}  {group.name:<22} {counts[PASSED]:>6} passed "
                             f"{counts[FAILED]:>4} failed {counts[SKIPPED]:>4} skipped   "
                             f"{duration(seconds):>12}")
            self._draw()

    def drop(self, group):
        with self.lock:
            self.total -= 1
            self.doing.pop(group.name, None)

    def _draw(self):
        counts = self.counts
        doing = "; ".join(f"{name}: {text}" for name, text in self.doing.items())
        self.screen.progress(f"{self.finished} of {self.total} groups, {counts[PASSED]} passed, "
                             f"{counts[FAILED]} failed, {duration(self.elapsed())} | {doing}")

    def elapsed(self):
        return time.monotonic() - self.began


def load_times():
    try:
        return json.loads(TIMES.read_text())
    except (OSError, ValueError):
        return {}


def run_groups(groups, pattern, workers, report):
    """Runs all groups, `workers` at a time, those that took longest last time first."""
    times = load_times()
    waiting = queue.SimpleQueue()
    for group in sorted(groups, key=lambda one: -times.get(one.name, 1000)):
        waiting.put(group)
    jobs = max(1, (os.cpu_count() or 1) // workers)

    def work():
        while True:
            try:
                group = waiting.get_nowait()
            except queue.Empty:
                return
            seconds = run_group(group, pattern, jobs, report)
            if seconds is not None and pattern.text is None:
                times[group.name] = seconds

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
    TIMES.parent.mkdir(exist_ok=True)
    TIMES.write_text(json.dumps(times, indent=1, sort_keys=True))


def run_group(group, pattern, jobs, report):
    """Seconds that the group took; None when the pattern takes nothing of it."""
    counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    began = time.monotonic()
    worker = Worker(group, pattern, jobs, lambda text: report.say(group, text),
                    lambda result, again: report.found(group, counts, result, again))
    try:
        if not worker.run():
            report.drop(group)
            return None
    except Exception as error:  # a fault of this script must turn the run red, not end a thread
        report.found(group, counts, Result("check", group.name, "", FAILED,
                                           [f"{type(error).__name__}: {error}"]), "./check")
    seconds = time.monotonic() - began
    report.close(group, counts, seconds)
    return seconds


def run_deep(arguments, pattern, report):
    """Rounds with new seeds until the time is up."""
    minutes = arguments.minutes or 120
    rounds = 0
    while rounds == 0 or report.elapsed() < minutes * 60:
        rounds += 1
        seed = random.SystemRandom().randrange(1, 2**31)
        groups = matrix.deep()
        for group in groups:
            group.env.update({"TSL_SEED": str(seed), **matrix.LONG_RUNS})
        report.total = rounds * len(groups)
        report.screen.line(f"round {rounds}, seed {seed}")
        run_groups(groups, pattern, arguments.jobs, report)


def main():
    arguments = parse_arguments(sys.argv[1:])
    pattern = Pattern(arguments.pattern)
    builds.require_packages("build", "host32", "qemu", "clang")
    screen = Screen()
    groups = matrix.LEVELS[arguments.level]()
    report = Report(screen, len(groups))
    if arguments.level == "deep":
        run_deep(arguments, pattern, report)
    else:
        run_groups(groups, pattern, arguments.jobs, report)
    screen.clear()
    counts = report.counts
    if sum(counts.values()) == 0:
        raise Problem(builds.USAGE, f"no test of ./check {arguments.level} matches "
                                    f"'{arguments.pattern}'; suites: unit build consumer model qemu boot fuzz")
    return conclude(screen, report, counts)


def conclude(screen, report, counts):
    """The last lines; the exit status."""
    screen.line()
    if report.failures:
        screen.line(screen.paint("red", "Failed:"))
        for group, title in report.failures:
            screen.line(f"  {group}  {title}")
    screen.line(f"Took {duration(report.elapsed())}.")
    screen.line(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped")
    return builds.FAILED if counts[FAILED] else builds.OK


if __name__ == "__main__":
    builds.main(main)
