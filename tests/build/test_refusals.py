# SPDX-License-Identifier: MIT
"""Bad configuration is refused before anything is built: all problems at once, each with file,
line and reason. Sentences are compared exactly, because people read them.

Owns:  nothing. Needs: trial.py. Callers: tests/build/meson.build.
"""
import os
import sys

import trial

BAD_LINES = """\
TSL_BOGUS=y
TSL_LARGE_PAGES=maybe
hello
TSL_HEAP_MIB=99999999
TSL_HEAP_MIB=many
TSL_64BIT=n
TSL_TABLE_4LEVEL=y
TSL_HEAP_CLASSES="16 40 64"
"""
BAD_SENTENCES = [
    "bad.config:3: malformed line 'hello' (expected TSL_NAME=value)",
    "bad.config:1: undefined symbol TSL_BOGUS",
    "bad.config:2: 'maybe' is not a value of the bool symbol TSL_LARGE_PAGES",
    "bad.config:5: 'many' is not a value of the int symbol TSL_HEAP_MIB",
    "bad.config:6: TSL_64BIT cannot be set: it follows from the rest",
    "bad.config:4: TSL_HEAP_MIB=99999999 is refused: outside 1..256",
    "bad.config:7: TSL_TABLE_4LEVEL=y is refused: needs TSL_X86_64 || (TSL_HOST && TSL_64BIT), "
    "and this build is for x86_32",
    "bad.config:8: TSL_HEAP_CLASSES=\"16 40 64\" is refused: 40 is not a multiple of 16",
]
COMMIT_LINES = """\
TSL_COMMITS_BY_RATIO=y
TSL_COMMIT_PERCENT=0
TSL_COMMIT_POLICY=1
"""
COMMIT_SENTENCES = [
    "bad.config:3: TSL_COMMIT_POLICY cannot be set: it follows from the rest",
    "bad.config:2: TSL_COMMIT_PERCENT=0 is refused: outside 1..1000",
]
SERVER = ("configs/server.config:3: TSL_PROFILE_SERVER=y is refused: needs TSL_64BIT, "
          "and this build is for x86_32")
CLASSES = [
    ('"16 32 32"', "sizes must ascend, but 32 follows 32"),
    ('"64 16"', "sizes must ascend, but 16 follows 64"),
    ('"16 24"', "24 is not a multiple of 16"),
    ('"16, 32"', "must be a list of sizes in bytes, separated by spaces"),
    ('""', "must be a list of sizes in bytes, separated by spaces"),
    ('"16 65536"', "2 sizes up to 65536 are too many or too large (at most 60, up to 32768)"),
]


def problems(output):
    """The lines between `bad configuration:` and the closing sentence."""
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if "bad configuration:" in line]
    if not starts:
        return []
    found = []
    for line in lines[starts[0] + 1:]:
        if not line.startswith("  "):
            break
        found.append(line.strip())
    return found


def refused(tap, result, build, expected, name):
    found = [line.split("/")[-1] if "bad.config" in line else line for line in problems(result.output)]
    tap.equal(found, expected, name)
    tap.check(result.status != 0 and not os.path.exists(os.path.join(build, "build.ninja")),
              name + ": no build", result.diagnosis())


def directly(tap, source, build, path, expected, name):
    """Only the configuration step: what Meson makes of its refusal is tested above."""
    result = trial.run([sys.executable, os.path.join(source, "tools", "kconf.py"), "sync",
                        "--srctree", source, "--build", build, "--arch", "x86_32", "--bits", "32",
                        "--hosted", "n", "--profile", "desktop", "--fragment", path])
    found = [line.split("/")[-1] if "bad.config" in line else line for line in problems(result.output)]
    tap.equal((result.status, found), (1, expected), name)
    tap.check(not os.path.exists(os.path.join(build, ".config")), name + ": no configuration")


def fragment(work, text):
    path = os.path.join(work, "bad.config")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return "-Dconfig_fragments=" + path


def test(tap, source, build, work):
    cross = ("--cross-file", os.path.join(source, "cross", "x86_32-gcc.ini"))
    trial_build = os.path.join(work, "b")
    result = trial.setup(source, trial_build, *cross, fragment(work, BAD_LINES))
    refused(tap, result, trial_build, BAD_SENTENCES, "every problem is told at once")

    result = trial.setup(source, trial_build, *cross, "-Dprofile=server")
    refused(tap, result, trial_build, [SERVER], "server on x86-32")

    sync = os.path.join(work, "sync")
    os.mkdir(sync)
    for value, reason in CLASSES:
        line = "TSL_HEAP_CLASSES=%s" % value
        path = fragment(work, line + "\n").split("=", 1)[1]
        directly(tap, source, sync, path, ["bad.config:1: %s is refused: %s" % (line, reason)],
                 "heap classes " + value)
    path = fragment(work, COMMIT_LINES).split("=", 1)[1]
    directly(tap, source, sync, path, COMMIT_SENTENCES, "a share of nothing may be promised")
    path = fragment(work, "TSL_COMMIT_PERCENT=1001\n").split("=", 1)[1]
    directly(tap, source, sync, path,
             ["bad.config:1: TSL_COMMIT_PERCENT=1001 is refused: outside 1..1000"],
             "more than ten times what there is")
    path = fragment(work, "TSL_COMMITS_STRICT=y\nTSL_COMMIT_PERCENT=50\n").split("=", 1)[1]
    directly(tap, source, sync, path,
             ["bad.config:2: TSL_COMMIT_PERCENT=50 is refused: needs TSL_COMMITS_BY_RATIO, and this "
              "build is for x86_32"], "a share with another policy")
    path = fragment(work, "# TSL_SPACES is not set\nTSL_COMMITS_UNLIMITED=y\n").split("=", 1)[1]
    directly(tap, source, sync, path,
             ["bad.config:2: TSL_COMMITS_UNLIMITED=y is refused: needs TSL_SPACES, and this build is "
              "for x86_32"], "promises without spaces")
    none = "".join("# TSL_TABLE_%s is not set\n" % name for name in ("2LEVEL", "PAE"))
    path = fragment(work, none).split("=", 1)[1]
    directly(tap, source, sync, path,
             ["bad.config:1: no page-table format is left: switch one of TSL_TABLE_2LEVEL, "
              "TSL_TABLE_PAE on"], "no table format")
    path = fragment(work, "TSL_PROFILE_SERVER=y\n").split("=", 1)[1]
    directly(tap, source, sync, path,
             ["bad.config:1: TSL_PROFILE_SERVER=y is refused: needs TSL_64BIT, and this build is for "
              "x86_32"], "a profile in a fragment")
    with open(path, "wb") as file:
        file.write(b"\xff\xfe\n")
    directly(tap, source, sync, path,
             ["bad.config:1: malformed line '\ufffd\ufffd' (expected TSL_NAME=value)"],
             "a fragment that is no text")
    directly(tap, source, sync, "/nowhere/at.config", ["/nowhere/at.config: no such file"],
             "missing fragment")
    directly(tap, source, sync, "/", ["/: a folder, not a file"], "a folder as fragment")

    result = trial.setup(source, trial_build, "-Dprofile=laptop")
    tap.check(result.status != 0 and "desktop" in result.output and "embedded" in result.output,
              "an unknown profile is refused with the choices", result.diagnosis())

    result = trial.setup(source, trial_build, *cross, fragment(work, "TSL_HEAP_MIB=200\n"))
    tap.check(result.status == 0, "the same directory configures once the mistakes are gone",
              result.diagnosis())


if __name__ == "__main__":
    sys.exit(trial.main(test))
