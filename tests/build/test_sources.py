# SPDX-License-Identifier: MIT
"""Rules that every file keeps: licence line, no preprocessor conditionals where the build or a
plain `if` decides, public headers that compile by themselves.

Owns:  nothing. Needs: trial.py, config.h of the build; clang when it is installed.
Callers: tests/build/meson.build.
"""
import os
import re
import shutil
import subprocess
import sys

import trial

# Where #if is allowed beyond include guards.
CONDITIONALS = {"components/base/include/tesela/compiler.h"}
NO_COMMENTS = {".json", ".ref", ".bin", ".lz4", ".trace", ".map"}


def licence(tap, source):
    missing = []
    for path in trial.tree_files(source):
        if os.path.splitext(path)[1] in NO_COMMENTS or path == "LICENSE":
            continue
        with open(os.path.join(source, path), encoding="utf-8", errors="replace") as file:
            head = "".join(file.readlines()[:5])
        if "SPDX-License-Identifier: MIT" not in head:
            missing.append(path)
    tap.check(not missing, "every file names its licence in its first lines", "\n".join(missing))


def conditionals(path, is_header):
    """Lines with #if and relatives, without a header's include guard."""
    with open(path, encoding="utf-8") as file:
        lines = [(number, line) for number, line in enumerate(file, 1)
                 if re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else)\b", line)]
    if is_header and lines and re.match(r"#ifndef \w+_H\b", lines[0][1]):
        lines = lines[1:]
    return ["%s:%d: %s" % (path, number, line.strip()) for number, line in lines]


def no_conditionals(tap, source):
    found = []
    count = 0
    for path in trial.tree_files(source):
        if not re.match(r"(components|arch)/.*\.[ch]$", path) or path in CONDITIONALS:
            continue
        count += 1
        found += conditionals(os.path.join(source, path), path.endswith(".h"))
    tap.check(count > 0 and not found, "no preprocessor conditionals in %d files" % count,
              "\n".join(found))


def public_headers(source):
    return [path for path in trial.tree_files(source)
            if re.match(r"components/\w+/include/tesela/.*\.h$", path)]


def standalone(tap, source, build):
    """Twice included, alone, without any other header before it."""
    paths = public_headers(source)
    includes = sorted({"-I" + os.path.join(source, path[:path.index("/tesela/")]) for path in paths})
    for compiler in ("gcc", "clang"):
        if not shutil.which(compiler):
            tap.skip("headers by themselves, " + compiler, "not installed")
            continue
        for word in ("-m64", "-m32"):
            wrong = []
            for path in paths:
                name = path[path.index("tesela/"):]
                text = "#include <%s>\n#include <%s>\nextern int something;\n" % (name, name)
                command = [compiler, word, "-std=c11", "-Wall", "-Wextra", "-Wconversion",
                           "-Wshadow", "-Wundef", "-Werror", "-pedantic", "-ffreestanding",
                           "-fsyntax-only", "-I" + os.path.join(build, "configs"), *includes,
                           "-x", "c", "-"]
                done = subprocess.run(command, input=text, text=True, capture_output=True,
                                      check=False)
                if done.returncode != 0:
                    wrong.append("%s\n%s" % (path, done.stderr[:800]))
            tap.check(paths and not wrong, "%d public headers compile alone, %s %s"
                      % (len(paths), compiler, word), "\n".join(wrong))


def test(tap, source, build, _work):
    licence(tap, source)
    no_conditionals(tap, source)
    standalone(tap, source, build)


if __name__ == "__main__":
    sys.exit(trial.main(test))
