# SPDX-License-Identifier: MIT
"""A kernel outside the project takes Tesela as a subproject, with either profile, on either
architecture: it configures, builds, boots and works; its own choices win; nothing is installed.
And programs that take single components work.

Owns:  copies of examples/minimal and examples/parts. Needs: trial.py of tests/build, QEMU for the boots.
Callers: tests/consumer/meson.build.
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "build"))
import trial  # noqa: E402  (its folder is known only now)

ARCHES = {"x86_32": "qemu-system-i386", "x86_64": "qemu-system-x86_64"}
WORKS = "minimal kernel: Tesela works"
PASSED = 0x21  # isa-debug-exit: 0x10 << 1 | 1


def copy_example(source, example, place):
    """The example as a stranger has it: no link into our tree but subprojects/tesela."""
    shutil.copytree(os.path.join(source, "examples", example), place,
                    ignore=shutil.ignore_patterns("subprojects", "build*"))
    os.mkdir(os.path.join(place, "subprojects"))
    os.symlink(source, os.path.join(place, "subprojects", "tesela"))
    return place


def boot(arch, kernel):
    command = [ARCHES[arch], "-nodefaults", "-no-user-config", "-accel", "tcg", "-cpu", "max",
               "-m", "16", "-display", "none", "-serial", "stdio", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no end within 60 s"
    text = done.stdout.decode("utf-8", "replace")
    return "" if done.returncode == PASSED and WORKS in text else text + "\nQEMU ended with %d" % done.returncode


def value(build, name):
    header = os.path.join(build, "subprojects", "tesela", "configs", "tesela", "config.h")
    with open(header, encoding="utf-8") as file:
        found = re.search(r"^#define TSL_%s (.*)$" % name, file.read(), re.M)
    return found.group(1) if found else None


def build_and_boot(tap, name, arch, build):
    result = trial.ninja(build)
    if not tap.check(result.status == 0, name + ": builds", result.diagnosis()):
        return
    if shutil.which(ARCHES[arch]) is None:
        tap.skip(name + ": boots and works", ARCHES[arch] + " is not installed")
        return
    problem = boot(arch, os.path.join(build, "minimal.elf"))
    tap.check(not problem, name + ": boots and works", problem)


def one_architecture(tap, source, work, arch):
    place = copy_example(source, "minimal", os.path.join(work, "kernel-" + arch))
    build = os.path.join(place, "build")
    result = trial.meson("setup", "--cross-file", os.path.join(source, "cross", arch + "-gcc.ini"),
                         build, place)
    if not tap.check(result.status == 0, arch + ": configures", result.diagnosis()):
        return
    tap.equal(value(build, "HEAP_MIB"), "4", arch + ": has the profile that the kernel asked for")
    build_and_boot(tap, arch + " embedded", arch, build)
    result = trial.meson("configure", build, "-Dtesela:profile=desktop")
    tap.check(result.status == 0, arch + ": a person chooses another profile", result.diagnosis())
    build_and_boot(tap, arch + " desktop", arch, build)
    tap.equal(value(build, "HEAP_MIB"), "256", arch + ": has that profile now")
    root = os.path.join(work, "root-" + arch)
    result = trial.run(["env", "DESTDIR=" + root, sys.executable, "-m", "mesonbuild.mesonmain",
                        "install", "-C", build, "--no-rebuild"])
    files = [name for _, _, names in os.walk(root) for name in names]
    tap.equal((result.status, files), (0, []), arch + ": nothing of Tesela is installed with it")


def single_components(tap, source, work):
    place = copy_example(source, "parts", os.path.join(work, "parts"))
    build = os.path.join(place, "build")
    result = trial.meson("setup", build, place)
    if not tap.check(result.status == 0, "parts: configures", result.diagnosis()):
        return
    result = trial.ninja(build)
    if not tap.check(result.status == 0, "parts: builds", result.diagnosis()):
        return
    for program in ("frames", "heap"):
        result = trial.run([os.path.join(build, program)])
        tap.check(result.status == 0, "parts: %s works" % program, result.diagnosis())


def test(tap, source, _build, work):
    single_components(tap, source, work)
    for arch in ARCHES:
        one_architecture(tap, source, work, arch)


if __name__ == "__main__":
    sys.exit(trial.main(test))
