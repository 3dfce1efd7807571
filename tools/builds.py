# SPDX-License-Identifier: MIT
"""Build directories: makes them, repairs them, compiles in them, one user at a time.

Owns: build/<name>/ below the root of the repository and build/<name>.lock beside each.
Needs: /usr/bin/meson and ninja (Debian's Meson, since only its Python has Kconfiglib there).
Called by: run.py, check.py, bench.py.

A directory that an interrupted run left half made is made afresh once, and so is one whose Meson
options differ from those asked for; what somebody chose in menuconfig (.config) is carried over.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MESON = "/usr/bin/meson"
PROFILES = ("desktop", "server", "iot", "embedded")
ARCHES = ("x86_64", "x86_32")
OK, FAILED, USAGE, PACKAGES = 0, 1, 2, 3

SERVER_NEEDS_64_BITS = (
    "the server profile needs x86_64: its 1 GiB heap would fill the whole gigabyte that an x86-32\n"
    "kernel has for itself (docs/decisions/0001-server-needs-64-bits.md)")

_KEPT = (".config", ".tesela.json")


class Problem(Exception):
    """Something that ends the script: a sentence for the person and an exit status."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


_children = set()
_children_lock = threading.Lock()


def start(command, **more):
    """Popen in a process group of its own, so that stop_children() reaches all of it."""
    child = subprocess.Popen([str(word) for word in command], start_new_session=True, **more)
    with _children_lock:
        _children.add(child)
    return child


def finish(child):
    """Waits for a child of start(); its exit status."""
    status = child.wait()
    with _children_lock:
        _children.discard(child)
    return status


def stop_children():
    """Ends everything that start() began and finish() has not seen end."""
    with _children_lock:
        running = [child for child in _children if child.poll() is None]
    for child in running:
        try:
            os.killpg(child.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def require_packages(*needs):
    """Installs what is missing or ends the script with status 3; packages.sh says what to type."""
    status = subprocess.call([str(ROOT / "tools" / "packages.sh"), *needs])
    if status:
        sys.exit(PACKAGES)


def main(function):
    """Runs a script's main function: a Problem becomes a sentence, Ctrl-C ends the children."""
    try:
        sys.exit(function())
    except Problem as problem:
        sys.stdout.flush()
        print(f"{Path(sys.argv[0]).stem}: {problem}", file=sys.stderr)
        sys.exit(problem.status)
    except KeyboardInterrupt:
        stop_children()
        print("\ninterrupted", file=sys.stderr)
        sys.exit(FAILED)
    except BrokenPipeError:
        stop_children()
        sys.exit(FAILED)
    except OSError as error:  # a folder that is read-only or a file, a full disk
        stop_children()
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(FAILED)


def cross_options(arch, compiler="gcc"):
    """Meson options of a kernel build for arch."""
    return ["--cross-file", str(ROOT / "cross" / f"{arch}-{compiler}.ini"),
            "-Dport_inline=platform/pc/port_inline"]


def kernel_build(profile, arch, compiler="gcc", fragment=None):
    """The build directory in which ./run builds; ./check uses the same ones, and others with the
    configuration of a file laid over the profile."""
    name = f"{arch}-{profile}" + ("" if compiler == "gcc" else f"-{compiler}")
    options = [*cross_options(arch, compiler), f"-Dprofile={profile}"]
    if fragment is None:
        return Build(name, options)
    return Build(f"{name}-{Path(fragment).stem}", [*options, f"-Dconfig_fragments={fragment}"])


class Build:
    """One build directory. Use it inside `with build.locked(say):`."""

    def __init__(self, name, options):
        self.name = name
        self.options = list(options)
        self.directory = ROOT / "build" / name

    def locked(self, say):
        return _Lock(self, say)

    @property
    def _asked(self):
        return json.dumps([str(ROOT), self.options])

    def is_usable(self):
        """Complete, and made with the options asked for."""
        made_with = self.directory / ".options"
        return (self.directory / "build.ninja").exists() and made_with.exists() \
            and made_with.read_text() == self._asked

    def configure(self, say):
        """Makes the directory ready for compile(). Problem when the configuration is refused."""
        say("configuring")
        if not self.is_usable() or self._run(["ninja", "-C", self.directory, "build.ninja"])[0]:
            self._setup()

    def _setup(self):
        kept = self._wipe()
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, text in kept.items():
            (self.directory / name).write_text(text)
        status, text = self._run([MESON, "setup", *self.options, self.directory, ROOT])
        if status:
            sentence, is_configuration = _explain_setup(text)
            raise Problem(USAGE if is_configuration else FAILED, sentence)
        (self.directory / ".options").write_text(self._asked)

    def _wipe(self):
        """Empties the directory; the text of the files worth keeping."""
        same_options = (self.directory / ".options").exists() and \
            (self.directory / ".options").read_text() == self._asked
        kept = {}
        for name in _KEPT:
            path = self.directory / name
            if same_options and path.exists():
                kept[name] = path.read_text()
        shutil.rmtree(self.directory, ignore_errors=True)
        return kept

    def compile(self, say, targets=(), jobs=None):
        """Builds targets (all by default). Problem with the compiler's own words on failure."""
        status, text = self._ninja(say, targets, jobs)
        if status and "FAILED:" not in text:
            say("damaged or out of date, so made afresh")
            self._setup()
            status, text = self._ninja(say, targets, jobs)
        if status:
            raise Problem(FAILED, f"build/{self.name} does not compile:\n{_first_failure(text)}")

    def _ninja(self, say, targets, jobs):
        command = ["ninja", "-C", self.directory, *(["-j", jobs] if jobs else []), *targets]
        child = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT, text=True, errors="replace")
        lines = []
        for line in child.stdout:
            lines.append(line)
            step = re.match(r"\[(\d+)/(\d+)\]", line)
            if step:
                say(f"compiling: {step[1]} of {step[2]}")
        return finish(child), "".join(lines)

    def _run(self, command):
        child = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT, text=True, errors="replace")
        text = child.stdout.read()
        return finish(child), text

    def introspect(self, what):
        """Meson's own record: 'tests', 'targets', ..."""
        return json.loads((self.directory / "meson-info" / f"intro-{what}.json").read_text())

    def file_of(self, target):
        """The file that a Meson target makes."""
        for entry in self.introspect("targets"):
            if entry["name"] == target:
                return entry["filename"][0]
        raise Problem(FAILED, f"build/{self.name} has no target named {target}")

    def config(self):
        """The directory's configuration: {'TSL_TABLE_PAE': 'y', 'TSL_HEAP_MB': '256', ...}."""
        values = {}
        for line in (self.directory / ".config").read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and name.startswith("TSL_"):
                values[name] = value.strip('"')
        return values


class _Lock:
    """The directory's lock; says so when it has to wait for another run."""

    def __init__(self, build, say):
        self.build, self.say, self.file = build, say, None

    def __enter__(self):
        self.build.directory.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(f"{self.build.directory}.lock", "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.say("waiting for another run that uses it")
            fcntl.flock(self.file, fcntl.LOCK_EX)
        return self.build

    def __exit__(self, *_):
        self.file.close()


def _explain_setup(text):
    """What a person needs of a failed `meson setup`, and whether the configuration is to blame."""
    refused = re.search(r"ERROR: Problem encountered: (.*)", text, re.DOTALL)
    if refused:
        sentence = re.sub(r"\n\s*A full log can be found at.*", "", refused[1], flags=re.DOTALL)
        return sentence.strip(), "configuration" in sentence
    errors = [line for line in text.splitlines() if "ERROR" in line]
    return "\n".join(errors[:5]) or text[-2000:].strip(), False


def _first_failure(text):
    """The first failed step of ninja's output with what it printed, at most 60 lines."""
    start_at = text.find("FAILED:")
    part = text[start_at:] if start_at >= 0 else text
    lines = part.splitlines()
    for index, line in enumerate(lines[1:], 1):
        if re.match(r"\[\d+/\d+\]|ninja: ", line):
            lines = lines[:index]
            break
    lines = [line if len(line) < 400 else line[:400] + "..." for line in lines]
    return "\n".join(lines[:60])
