# SPDX-License-Identifier: MIT
"""`./run`: builds the monitor of one profile and architecture and boots it in QEMU.

Owns: the arguments of ./run, memory and CPUs by profile, and how its end becomes an exit status.
Needs: builds.py (build directories), screen.py, tools/qemu_run.py (one start of QEMU).
Called by: ./run; check.py, which boots through the same functions.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import termios

import builds
from builds import ARCHES, PROFILES, ROOT, SERVER_NEEDS_64_BITS, Problem
from screen import Screen

MEMORY = {"desktop": "512M", "server": "2G", "iot": "64M", "embedded": "16M"}
CPUS = {"desktop": 2, "server": 4, "iot": 1, "embedded": 1}
FORMATS = {"x86_64": ("4level", "5level"), "x86_32": ("2level", "pae")}
TOUR_SECONDS = 60


def usage(sentence):
    raise Problem(builds.USAGE, f"{sentence}\nTry './run --help'.")


def parse_arguments(argv):
    """The options of one run, checked; Problem names the choices when something is wrong."""
    parser = argparse.ArgumentParser(prog="./run", add_help=False, usage=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--smp", type=_cpu_count)
    parser.add_argument("--mem", type=_memory_size)
    parser.add_argument("--paging")
    parser.add_argument("--cpu", default="max")
    parser.error = usage
    options = parser.parse_intermixed_args(argv)
    options.profile = options.arch = None
    for word in options.words:
        _take_word(options, word)
    options.profile = options.profile or "desktop"
    options.arch = options.arch or "x86_64"
    if (options.profile, options.arch) == ("server", "x86_32"):
        raise Problem(builds.USAGE, SERVER_NEEDS_64_BITS)
    if options.paging not in (None, *FORMATS[options.arch]):
        usage(f"--paging on {options.arch} is one of: {' '.join(FORMATS[options.arch])}")
    options.mem = options.mem or MEMORY[options.profile]
    options.smp = options.smp or CPUS[options.profile]
    return options


def _take_word(options, word):
    if word in PROFILES and options.profile is None:
        options.profile = word
    elif word in ARCHES and options.arch is None:
        options.arch = word
    elif word in PROFILES or word in ARCHES:
        usage(f"'{word}' comes after '{options.profile if word in PROFILES else options.arch}': "
              "one profile and one architecture at a time")
    else:
        usage(f"unknown profile or architecture '{word}'\n"
              f"profiles: {' '.join(PROFILES)}; architectures: {' '.join(ARCHES)}")


def _cpu_count(text):
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 255:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of CPUs from 1 to 255")
    return int(text)


def _memory_size(text):
    found = re.fullmatch(r"([1-9][0-9]{0,6})([MGmg])i?[bB]?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 32M or 4G")
    return found[1] + found[2].upper()


def require_format(build, options):
    """Refuses a page-table format that the configuration of the build leaves out."""
    if options.paging is None:
        return
    config = build.config()
    if f"TSL_TABLE_{options.paging.upper()}" not in config:
        there = [name for name in FORMATS[options.arch] if f"TSL_TABLE_{name.upper()}" in config]
        raise Problem(builds.USAGE,
                      f"build/{build.name} is configured without the format {options.paging}; "
                      f"it has: {' '.join(there)}\n(to add it: meson compile -C "
                      f"build/{build.name} menuconfig)")


def note_edited(build, options, say):
    """A build directory keeps what menuconfig chose: say so when it is another profile."""
    if f"TSL_PROFILE_{options.profile.upper()}" not in build.config():
        say("note: its .config was edited and holds another profile")


def prepare(build, options, say):
    """Configures and compiles; the path of the kernel."""
    with build.locked(say):
        build.configure(say)
        note_edited(build, options, say)
        require_format(build, options)
        kernel = build.file_of("monitor.multiboot")
        build.compile(say, [os.path.relpath(kernel, build.directory)])
        return kernel


def qemu_command(options, kernel, interactive=False, patience=1):
    """The call of qemu_run.py; the words after --append reach the kernel. patience: how many times as
    long as usual the tour may take."""
    words = [f"paging={options.paging}"] if options.paging else []
    words += [] if interactive else ["mode=once"]
    return ["/usr/bin/python3", "-B", ROOT / "tools" / "qemu_run.py", "--arch", options.arch,
            "--timeout", TOUR_SECONDS * patience, "--smp", options.smp, "--mem", options.mem,
            "--cpu", options.cpu, *(["--interactive"] if interactive else []),
            "--append", " ".join(words), kernel]


def boot_quietly(build, options, patience=1):
    """Boots a built monitor once: exit status and everything it wrote. Used by check.py."""
    require_format(build, options)
    command = qemu_command(options, build.file_of("monitor.multiboot"), patience=patience)
    child = builds.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace")
    output = child.stdout.read()
    status = builds.finish(child)
    if status == 0 and not re.search(r"^tour: PASS (\d+)/\1$", output, re.MULTILINE):
        return builds.FAILED, output + "\nthe kernel ended well, but there is no `tour: PASS`"
    return status, output


def boot_once(options, kernel):
    """Boots and passes the serial line through; the exit status of ./run."""
    child = builds.start(qemu_command(options, kernel), stdin=subprocess.DEVNULL)
    return builds.OK if builds.finish(child) == 0 else builds.FAILED


class Session:
    """A boot with a person at the terminal, who may end it with Ctrl-C."""

    def __init__(self, options, kernel):
        self.command = [str(word) for word in qemu_command(options, kernel, interactive=True)]
        self.interrupted = False
        self.tail = b""

    def run(self):
        settings = termios.tcgetattr(sys.stdin)
        former = signal.signal(signal.SIGINT, self._note_interrupt)
        try:
            return self._run()
        finally:
            signal.signal(signal.SIGINT, former)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)

    def _note_interrupt(self, *_):
        self.interrupted = True

    def _run(self):
        # Ctrl-C reaches QEMU, which ends; the runner between us and QEMU has to outlive that.
        child = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        while True:
            data = os.read(child.stdout.fileno(), 4096)
            if not data:
                break
            os.write(sys.stdout.fileno(), data)
            self.tail = (self.tail + data)[-65536:]
        complaints = child.stderr.read().decode("utf-8", "replace")
        status = child.wait()
        if self.interrupted:
            passed = re.search(rb"^tour: PASS", self.tail, re.MULTILINE)
            print("\nended by Ctrl-C" + ("" if passed else " before the tour was over"))
            return builds.OK if passed else builds.FAILED
        sys.stderr.write(complaints)
        return builds.OK if status == 0 else builds.FAILED


def main():
    options = parse_arguments(sys.argv[1:])
    # gcc's own <limits.h> leads to the C library's, also in a freestanding build.
    builds.require_packages("build", "qemu", *(["host32"] if options.arch == "x86_32" else []))
    screen = Screen()
    build = builds.kernel_build(options.profile, options.arch)
    kernel = prepare(build, options, Steps(screen, build).say)
    screen.clear()
    interactive = not options.once and sys.stdin.isatty() and sys.stdout.isatty()
    return Session(options, kernel).run() if interactive else boot_once(options, kernel)


class Steps:
    """Shows steps of the build: in place on a terminal, else a line for each new kind of step."""

    def __init__(self, screen, build):
        self.screen, self.build, self.last = screen, build, None

    def say(self, text):
        kind = text.partition(":")[0]
        line = f"build/{self.build.name}: {text}"
        if self.screen.live and kind != "note":
            self.screen.progress(line)
        elif kind != self.last:
            self.screen.line(f"build/{self.build.name}: {text if kind == 'note' else kind}")
        self.last = kind


if __name__ == "__main__":
    builds.main(main)
