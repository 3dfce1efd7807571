# SPDX-License-Identifier: MIT
"""menuconfig in a real terminal, through `meson compile`: from desktop to embedded with the keys a
person would press, then the build follows.

Owns:  a tmux server of its own. Needs: trial.py, tmux (else skipped).
Callers: tests/build/meson.build.
"""
import os
import shlex
import shutil
import subprocess
import sys
import time

import trial
from test_reconfigure import Directory, SMALL_POOL


class Terminal:
    """A detached tmux session."""

    def __init__(self, work):
        self.socket = os.path.join(work, "tmux")
        self.tmux("new-session", "-d", "-x", "100", "-y", "40", "sh")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True,
                              env=trial.make_environment() | {"TERM": "xterm"},
                              capture_output=True, text=True).stdout

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def wait_for(self, text, seconds=30):
        for _ in range(seconds * 10):
            if text in self.screen():
                return True
            time.sleep(0.1)
        return False

    def close(self):
        self.tmux("kill-server")


def choose_embedded(tap, terminal, build):
    command = [sys.executable, "-m", "mesonbuild.mesonmain", "compile", "-C", build, "menuconfig"]
    terminal.press(shlex.join(command) + "; echo ended:$?", "Enter")
    steps = [("Profile (desktop", ["Enter"], "menuconfig draws its first screen"),
             ("( ) embedded", ["Down", "Down", "Down", "Enter"], "the profiles are offered"),
             ("Profile (embedded", [], "another profile is chosen"),
             ("(4) Heap ceiling", ["q"], "the heap ceiling follows at once"),
             ("Save configuration", ["y"], "it asks before it saves"),
             ("ended:0", [], "it ends well")]
    for text, keys, name in steps:
        if not tap.check(terminal.wait_for(text), name, terminal.screen()):
            return
        terminal.press(*keys)


def look_again(tap, terminal, build, source):
    """Without ninja, changing nothing: it must not ask to save."""
    tool = os.path.join(source, "tools", "kconf.py")
    terminal.press("clear; " + shlex.join([sys.executable, tool, "menuconfig", "--build", build])
                   + "; echo again:$?", "Enter")
    if tap.check(terminal.wait_for("Profile (embedded"), "kconf.py shows what was saved",
                 terminal.screen()):
        terminal.press("q")
        tap.check(terminal.wait_for("again:0"), "nothing changed, nothing asked",
                  terminal.screen())


def test(tap, source, _build, work):
    if not shutil.which("tmux"):
        tap.skip("menuconfig in a terminal", "tmux is not installed")
        return
    place = Directory(source, os.path.join(work, "b"))
    result = trial.setup(source, place.build, "-Dtests=disabled", "--cross-file",
                         os.path.join(source, "cross", "x86_64-gcc.ini"))
    if not tap.check(result.status == 0, "configures", result.diagnosis()):
        return
    before = place.libraries()
    terminal = Terminal(work)
    try:
        choose_embedded(tap, terminal, place.build)
        result = place.update()
        tap.equal((result.status, place.pool()), (0, SMALL_POOL),
                  "the build has the new heap ceiling and pool classes")
        tap.check("tesela-report" in before and "tesela-report" not in place.libraries(),
                  "the build has another list of libraries", "%s" % before)
        look_again(tap, terminal, place.build, source)
    finally:
        terminal.close()


if __name__ == "__main__":
    sys.exit(trial.main(test))
