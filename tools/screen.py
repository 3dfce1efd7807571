# SPDX-License-Identifier: MIT
"""What run, check and bench write to the person in front of them.

Owns: colours, the one-line progress display, and the rule when neither is used: only a terminal
gets them, never a pipe, a file, a dumb terminal or CI; NO_COLOR takes the colours away.
Needs: nothing of ours.
Called by: builds.py, run.py, check.py, bench.py.
"""

import os
import shutil
import sys
import threading
import time

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def is_live(stream):
    """True when the stream is a terminal that understands a carriage return."""
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb") \
        and "CI" not in os.environ


class Screen:
    """Lines that stay and, on a terminal, one last line that is rewritten in place."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.live = is_live(self.stream)
        self.coloured = self.live and "NO_COLOR" not in os.environ
        self._lock = threading.RLock()
        self._shown = ""
        self._drawn_at = 0.0

    def paint(self, colour, text):
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self.coloured else text

    def line(self, text=""):
        """Writes text as lines that stay, above the progress line."""
        with self._lock:
            self._erase()
            self.stream.write(text + "\n")
            self.stream.flush()

    def progress(self, text):
        """Rewrites the progress line, at most ten times a second; nothing without a terminal."""
        if not self.live:
            return
        with self._lock:
            now = time.monotonic()
            if text == self._shown or now - self._drawn_at < 0.1:
                return
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\033[K" + text[:width])
            self.stream.flush()
            self._shown, self._drawn_at = text, now

    def clear(self):
        """Takes the progress line away."""
        with self._lock:
            self._erase()
            self.stream.flush()

    def _erase(self):
        if self._shown:
            self.stream.write("\r\033[K")
            self._shown, self._drawn_at = "", 0.0


def duration(seconds):
    """'7.4 s', '48 s' or '3 min 05 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def table(rows, right=()):
    """Text of rows in aligned columns; the columns whose index is in `right` are set flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if column in right else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
