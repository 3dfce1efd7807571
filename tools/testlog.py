# SPDX-License-Identifier: MIT
"""Reads what tests wrote: TAP, and Meson's testlog.json, down to the single test.

Owns: struct-like Result and the rules by which a program's output becomes results. A program that
Meson calls failed although all its tests passed (wrong plan, crash at the end, time limit) counts
as one failed test, so nothing is lost between the two.
Needs: nothing of ours.
Called by: check.py; tests/build/test_scripts.py.
"""

import json
import re
from dataclasses import dataclass, field

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

_BAD = {"FAIL", "TIMEOUT", "ERROR", "UNEXPECTEDPASS", "INTERRUPT"}
_WHY = {
    "TIMEOUT": "it did not end within its time limit",
    "ERROR": "it ended in disorder (crash, wrong plan, or an exit status that its tests do not explain)",
    "FAIL": "it ended with a failure status",
    "UNEXPECTEDPASS": "it passed although it is declared to fail",
    "INTERRUPT": "it was interrupted",
}
_COLOURS = re.compile(r"\x1b\[[0-9;]*[mK]")
_RESULT_LINE = re.compile(r"\s*(not )?ok\b\s*(\d+)?\s*(?:- )?([^#]*?)\s*(?:#\s*(\w+)\S*\s*(.*))?$")


@dataclass
class Result:
    """One test: where it belongs, its name, what became of it, and what it said about it."""
    suite: str
    program: str
    name: str
    outcome: str
    said: list = field(default_factory=list)

    @property
    def title(self):
        return f"{self.suite}/{self.program}" + (f": {self.name}" if self.name else "")


def parse_tap(text, suite, program):
    """The results in TAP text. Notes before a failed line belong to it, else those after it."""
    results, notes, unexplained = [], [], None
    for line in text.splitlines():
        found = _RESULT_LINE.match(line)
        if found:
            results.append(_one_result(found, suite, program, notes))
            unexplained = results[-1] if results[-1].outcome == FAILED and not notes else None
            notes = []
        elif line.startswith("Bail out!"):
            results.append(Result(suite, program, "", FAILED, [*notes, line]))
            notes, unexplained = [], None
        elif line.startswith("1..0"):
            reason = line.partition("#")[2].strip()
            results.append(Result(suite, program, "", SKIPPED, [reason]))
        elif line.strip() and not re.match(r"TAP version|1\.\.\d+", line):
            (unexplained.said if unexplained else notes).append(line)
    return results


def _one_result(found, suite, program, notes):
    negative, _, name, directive, reason = found.groups()
    if directive and directive.upper().startswith("SKIP"):
        return Result(suite, program, name, SKIPPED, [reason])
    return Result(suite, program, name, FAILED if negative else PASSED, notes if negative else [])


def parse_entry(entry, suite):
    """Results of one program of testlog.json."""
    program = program_of(entry)
    output = _COLOURS.sub("", entry.get("stdout") or "")
    errors = _COLOURS.sub("", entry.get("stderr") or "")
    results = parse_tap(output, suite, program) if _is_tap(output) else []
    if entry["result"] in _BAD:
        if not any(result.outcome == FAILED for result in results):
            tail = (output + errors).splitlines()[-40:]
            results.append(Result(suite, program, "", FAILED, [_WHY[entry["result"]], *tail]))
        elif errors.strip():
            last = [result for result in results if result.outcome == FAILED][-1]
            last.said = last.said + errors.splitlines()[-40:]
    elif not results:
        outcome = SKIPPED if entry["result"] == "SKIP" else PASSED
        results.append(Result(suite, program, "", outcome, [errors.strip()]))
    return results


def program_of(entry):
    """The test's name, before which Meson writes its suites when a run has tests of several."""
    return entry["name"].rpartition(" / ")[2]


def _is_tap(output):
    return re.search(r"^(not )?ok\b|^1\.\.\d|^Bail out!", output, re.MULTILINE) is not None


def parse_testlog(path, suites):
    """Results of all programs of a Meson testlog.json; suites: program -> suite, which Meson 1.0
    does not write into the log."""
    results = []
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            entry = json.loads(line)
            results += parse_entry(entry, suites[program_of(entry)])
    return results
