# SPDX-License-Identifier: MIT
"""What the build tests share: trial build directories and TAP output.

Owns:  the work folder it is given (emptied at the start, removed at the end when all went well).
Needs: the Meson that runs the tests (the same Python), ninja, compilers.
Callers: test_*.py in this folder; each is run by meson.build with --source, --build and --work.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys


def make_environment():
    """Compiler flags of the caller must not reach the trials."""
    kept = {name: value for name, value in os.environ.items()
            if name not in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "DESTDIR")
            and not name.startswith("MESON")}
    kept["LC_ALL"] = "C"
    return kept


class Result:
    """Exit status and everything that a command printed."""

    def __init__(self, command, status, output):
        self.command, self.status, self.output = command, status, output

    def diagnosis(self):
        return "%s\nended with %d\n%s" % (" ".join(self.command), self.status,
                                          self.output[-3000:])


def run(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, env=make_environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return Result(command, done.returncode, done.stdout.decode("utf-8", "replace"))


def meson(*arguments, cwd=None):
    return run([sys.executable, "-m", "mesonbuild.mesonmain", *arguments], cwd)


def setup(source, build, *options):
    return meson("setup", *options, build, source, cwd=source)


def ninja(build, *targets):
    return run(["ninja", "-j2", "-C", build, *targets])


class Tap:
    """Checks are numbered as they come; the plan is printed last."""

    def __init__(self):
        self.count, self.failures = 0, 0

    def check(self, good, name, detail=""):
        self.count += 1
        self.failures += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.count, name), flush=True)
        if not good:
            for line in str(detail).splitlines():
                print("# " + line)
        return good

    def equal(self, actual, expected, name):
        return self.check(actual == expected, name,
                          "expected %r\ngot      %r" % (expected, actual))

    def skip(self, name, reason):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, reason), flush=True)

    def end(self):
        print("1..%d" % self.count)


def tree_files(source):
    """Relative paths of all files that belong to the project, whether it is a clone or not."""
    left_out = {".git", "build", "__pycache__"}
    found = []
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in left_out
                            and not os.path.exists(os.path.join(folder, name, "build.ninja"))
                            and not os.path.exists(os.path.join(folder, name, ".work")))
        found += [os.path.relpath(os.path.join(folder, name), source) for name in sorted(files)
                  if name not in left_out]
    return found


def copy_tree(source, target):
    for path in tree_files(source):
        os.makedirs(os.path.dirname(os.path.join(target, path)), exist_ok=True)
        shutil.copy2(os.path.join(source, path), os.path.join(target, path))


def main(test):
    """Runs `test(tap, source, build, work)`; the folder stays for inspection when a check fails."""
    parser = argparse.ArgumentParser()
    for name in ("--source", "--build", "--work"):
        parser.add_argument(name, required=True)
    parser.add_argument("--more", action="store_true", help="what a quick run leaves out")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    os.makedirs(arguments.work)
    open(os.path.join(arguments.work, ".work"), "w", encoding="utf-8").close()
    # So that `finally` clauses run, and nothing is left behind, when Meson's time limit strikes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tap = Tap()
    test(tap, arguments.source, arguments.build, arguments.work,
         **({"more": True} if arguments.more else {}))
    tap.end()
    if tap.failures == 0:
        shutil.rmtree(arguments.work)
    return 0
