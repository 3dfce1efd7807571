#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a kernel in QEMU, passes its serial line through and says how it ended.

Owns:  the QEMU command line, and the judgement: pass, fail, reset, hang, panic or broken.
Needs: qemu-system-i386/-x86_64 7.2. Nothing outside Python's own library.
Callers: tests (meson.build), ./run, people.

The kernel ends by writing one byte to port 0xf4 (isa-debug-exit): 0x10 all good, 0x11 finished but
something failed, 0x12 panic. A machine that resets (triple fault) or never ends says nothing: both
are told apart from the outside, and then the last exceptions or the registers are shown.

Exit status: 0 pass, 1 fail, 3 reset, 4 hang, 5 panic, 6 QEMU itself failed; 2 usage.
With --tap a failure that the TAP stream tells by itself ends with 0 (Meson wants it so), and
everything else adds a `Bail out!` line. With --expect the runner itself is under test.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

STATUS = {"pass": 0, "fail": 1, "reset": 3, "hang": 4, "panic": 5, "broken": 6}
# QEMU's exit status is (value << 1) | 1.
ENDINGS = {0x21: "pass", 0x23: "fail", 0x25: "panic", 0: "reset"}
SAID = {"pass": "the kernel ended well", "fail": "the kernel reports failures",
        "reset": "the machine reset (triple fault) before the kernel ended",
        "hang": "no end within the time limit", "panic": "the kernel panicked",
        "broken": "QEMU itself failed"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[c()][0-9A-Z]?|\r")


class TapReader:
    """Counts what a TAP stream says, to compare it with how the kernel ended."""

    def __init__(self):
        self.planned, self.seen, self.failed, self.bailed = None, 0, 0, False

    def line(self, text):
        plan = re.match(r"1\.\.(\d+)", text)
        if plan:
            self.planned = int(plan.group(1))
        elif re.match(r"(not )?ok\b", text):
            self.seen += 1
            self.failed += text.startswith("not ") and "# TODO" not in text
        elif text.startswith("Bail out!"):
            self.bailed = True

    def problem(self):
        if self.bailed:
            return "the kernel bailed out"
        if self.planned is None:
            return "no test plan (1..N)"
        if self.planned != self.seen:
            return "%d tests planned, %d ran" % (self.planned, self.seen)
        return None


def guess_arch(kernel):
    """Both kernels are 32-bit ELF files for Multiboot, so the name has to tell."""
    return "x86_32" if re.search(r"x86_32|i[36]86", os.path.abspath(kernel)) else "x86_64"


def command_line(arguments, log, monitor):
    program = {"x86_32": "qemu-system-i386", "x86_64": "qemu-system-x86_64"}[arguments.arch]
    command = [os.environ.get("QEMU", program), "-nodefaults", "-no-user-config", "-accel", "tcg",
               "-cpu", arguments.cpu, "-m", arguments.mem, "-smp", str(arguments.smp),
               "-display", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", arguments.kernel,
               "-qmp", "unix:%s,server=on,wait=off" % monitor]
    if not arguments.interactive:
        command += ["-serial", "stdio"]
        if not arguments.no_log:
            command += ["-d", "int,cpu_reset,guest_errors", "-D", log]
    else:
        command += ["-chardev", "stdio,id=line,signal=on", "-serial", "chardev:line"]
    if arguments.append:
        command += ["-append", arguments.append]
    if arguments.icount:
        command += ["-icount", "shift=0"]
    return command + shlex.split(os.environ.get("TSL_QEMU_ARGS", "")) + arguments.extra


def ask_monitor(path, question):
    """One human monitor command over QMP; an empty answer when the machine does not talk."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(path)
            stream = line.makefile("rw", encoding="utf-8")
            stream.readline()
            for order in ({"execute": "qmp_capabilities"},
                          {"execute": "human-monitor-command",
                           "arguments": {"command-line": question}}):
                stream.write(json.dumps(order) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
            return answer.get("return", "").replace("\r", "")
    except (OSError, ValueError):
        return ""


def without_noise(text):
    """Registers without those that rarely tell anything: segments, debug, floating point."""
    return "\n".join(line for line in text.splitlines()
                     if not re.match(r"([CDEFGS]S|LDT|TR|[GI]DT|DR\d|CC|[FX]MM|F[CP]|YMM|MXCSR|Opmask"
                                     r"|check_exc|TSC)", line.lstrip()))


def last_exceptions(log, count=3):
    """The end of QEMU's own account of exceptions: usually first fault, second fault, triple."""
    if not os.path.exists(log):
        return ""
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(max(0, os.path.getsize(log) - 65536))
        text = file.read()
    blocks = re.split(r"(?m)^(?=\s*\d+: v=)", text)
    exceptions = [block for block in blocks if re.match(r"\s*\d+: v=(0[0-9a-f]|1[0-9a-f])\b", block)]
    return without_noise("".join(exceptions[-count:])) if exceptions else "none"


def places(kernel, lines):
    """The functions and source lines of the code addresses in a kernel's last words."""
    elf = re.sub(r"(-x86_\d\d)?\.multiboot$", ".elf", kernel)
    addresses = []
    for line in lines:
        if re.match(r"# ip 0x", line):
            addresses += re.findall(r"0x[0-9a-f]+", line)[:1]
        elif re.match(r"# called from: ", line) or " at code address 0x" in line:
            # What is returned to lies behind the call, perhaps in the next function.
            addresses += [hex(int(word, 16) - 1) for word in re.findall(r"0x[0-9a-f]+", line)]
    if not addresses or not os.path.exists(elf) or not shutil.which("addr2line"):
        return []
    told = subprocess.run(["addr2line", "-fspe", elf, *addresses], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False).stdout.splitlines()
    return ["where (addr2line -fspe %s):" % os.path.relpath(elf)] + \
        ["  %s %s" % pair for pair in zip(addresses, told)]


class Machine:
    """One run of QEMU."""

    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.log = os.path.join(folder, "int.log")
        self.monitor = os.path.join(folder, "qmp")
        self.command = command_line(arguments, self.log, self.monitor)
        self.registers = ""
        self.late = threading.Event()
        self.tap = TapReader()
        self.output_tail = []
        self.process = None
        self.input = subprocess.DEVNULL  # a script that answers the kernel makes it a pipe

    def stop_late(self):
        self.late.set()
        self.registers = ask_monitor(self.monitor, "info registers -a")
        self.process.kill()

    def run(self):
        if self.arguments.interactive:
            self.process = subprocess.Popen(self.command)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends QEMU; then we judge
            return self.judge(self.process.wait())
        self.process = subprocess.Popen(self.command, stdin=self.input,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        signal.signal(signal.SIGTERM, lambda *_: self.abandon())
        timer = threading.Timer(self.arguments.timeout, self.stop_late)
        timer.start()
        try:
            for raw in self.process.stdout:
                self.take_line(ESCAPES.sub("", raw.decode("utf-8", "replace")))
            status = self.process.wait()
        finally:
            timer.cancel()
            self.process.kill()
        return self.judge(status)

    def abandon(self):
        self.process.kill()
        sys.exit(STATUS["broken"])

    def take_line(self, line):
        self.tap.line(line)
        self.output_tail = self.output_tail[-19:] + [line]
        if not self.arguments.expect:
            sys.stdout.write(line if line.endswith("\n") else line + "\n")
            sys.stdout.flush()

    def judge(self, status):
        """How it ended, and a sentence about it."""
        if self.late.is_set():
            return "hang", "no end within %g seconds" % self.arguments.timeout
        ending = ENDINGS.get(status, "broken")
        if ending == "broken":
            return ending, "QEMU ended with status %d" % status
        if self.arguments.tap and ending in ("pass", "fail"):
            problem = self.tap.problem()
            if problem:
                return "broken", problem
            if (self.tap.failed > 0) != (ending == "fail"):
                return "broken", "the kernel's exit and its TAP lines contradict each other"
        return ending, SAID[ending]

    def explain(self, ending, sentence):
        """What a person needs to find the cause."""
        lines = ["%s: %s" % (ending, sentence), "command: " + shlex.join(self.command)]
        if ending == "panic":
            lines += places(self.arguments.kernel, self.output_tail)
        if ending in ("reset", "panic", "hang"):
            lines += ["last exceptions:", last_exceptions(self.log).rstrip()]
        if self.registers:
            lines += ["registers:", without_noise(self.registers)]
        sys.stderr.write("\n".join(lines) + "\n")


def report_expectation(machine, expected, ending, sentence):
    """The runner under test: one TAP line of its own, the kernel's lines as comments."""
    good = ending == expected
    for line in machine.output_tail if not good else []:
        print("# " + line.rstrip())
    print("1..1\n%s 1 - the end is told as %s" % ("ok" if good else "not ok", expected))
    if not good:
        print("# but it was told as %s: %s" % (ending, sentence))
    return 0


def take_terminal(arguments):
    """`meson compile` hands its children /dev/null as input. Take the terminal itself; where there
    is none nobody can type, and the kernel is asked to end by itself."""
    if not arguments.interactive or sys.stdin.isatty():
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
        os.dup2(terminal, 0)
    except OSError:
        arguments.interactive = False
        arguments.append = (arguments.append + " mode=once").strip()


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     usage="%(prog)s [options] KERNEL [-- QEMU-ARGUMENTS]")
    parser.add_argument("--arch", choices=["x86_32", "x86_64"])
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--mem", default="128M")
    parser.add_argument("--cpu", default="max")
    parser.add_argument("--append", default="", help="the kernel's command line")
    parser.add_argument("--icount", action="store_true", help="the time-stamp counter counts "
                        "instructions, the same in every run")
    parser.add_argument("--no-log", action="store_true", help="no account of exceptions: for kernels "
                        "that take millions of them")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--interactive", action="store_true", help="the terminal is the serial line")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--expect", choices=sorted(STATUS))
    parser.add_argument("kernel")
    parser.add_argument("extra", nargs="*")
    arguments = parser.parse_args(words)
    arguments.arch = arguments.arch or guess_arch(arguments.kernel)
    take_terminal(arguments)
    return arguments


def main():
    arguments = parse_arguments()
    if not os.path.exists(arguments.kernel):
        sys.stderr.write("%s: no such kernel\n" % arguments.kernel)
        return 2
    with tempfile.TemporaryDirectory(prefix="qemu_run.") as folder:
        machine = Machine(arguments, folder)
        try:
            ending, sentence = machine.run()
        except FileNotFoundError:
            sys.stderr.write("%s is not installed\n" % machine.command[0])
            return STATUS["broken"]
        if arguments.expect:
            return report_expectation(machine, arguments.expect, ending, sentence)
        if ending == "fail" and arguments.tap:
            return 0
        if ending not in ("pass", "fail"):
            if arguments.tap:
                print("Bail out! %s" % sentence, flush=True)
            machine.explain(ending, sentence)
        return STATUS[ending]


if __name__ == "__main__":
    sys.exit(main())
