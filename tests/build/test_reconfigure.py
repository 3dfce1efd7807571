# SPDX-License-Identifier: MIT
"""A build directory follows its configuration: edits of .config, Kconfig files, fragments and the
profile are noticed by the next build; mistakes in .config are repaired, in fragments refused.

Owns:  a copy of the source tree, which it edits. Needs: trial.py.
Callers: tests/build/meson.build.
"""
import json
import os
import re
import sys

import trial


def classes_of(condition):
    """The default block sizes under a condition, as the heap's Kconfig has them."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "components",
                        "heap_allocator", "Kconfig")
    with open(path, encoding="utf-8") as file:
        return re.search(r'default "([0-9 ]+)" if %s$' % condition, file.read(), re.M)[1]


SMALL_CLASSES = classes_of("HEAP_CORE_GRANULES")
SMALL_POOL = ("4", '"%s"' % SMALL_CLASSES, str(len(SMALL_CLASSES.split())))


class Directory:
    """One build directory and the files in it."""

    def __init__(self, source, build):
        self.source, self.build = source, build
        self.config = os.path.join(build, ".config")
        self.header = os.path.join(build, "configs", "tesela", "config.h")

    def value(self, name):
        with open(self.header, encoding="utf-8") as file:
            found = re.search(r"^#define TSL_%s (.*)$" % name, file.read(), re.M)
        return found.group(1) if found else None

    def update(self):
        """Lets ninja look whether it must configure again, and nothing more."""
        return trial.ninja(self.build, "build.ninja")

    def libraries(self):
        targets = json.loads(trial.meson("introspect", "--targets", self.build).output)
        return {target["name"] for target in targets if target["type"] == "static library"}

    def pool(self):
        return (self.value("HEAP_MIB"), self.value("HEAP_CLASSES"), self.value("HEAP_CLASSES_COUNT"))


def edit(path, old, new):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    changed = text.replace(old, new)
    assert changed != text, "%s has no %r" % (path, old)
    with open(path, "w", encoding="utf-8") as file:
        file.write(changed)


def own_file(tap, place):
    result = place.update()
    tap.check("no work to do" in result.output, "nothing changed, nothing done", result.diagnosis())
    edit(place.config, "TSL_HEAP_MIB=256", "TSL_HEAP_MIB=100")
    result = place.update()
    tap.equal((result.status, place.value("HEAP_MIB")), (0, "100"), "an edited .config is noticed")

    edit(place.config, "TSL_LARGE_PAGES=y", "TSL_LARGE_PUGES=y\nhello")
    edit(place.config, "TSL_HEAP_MIB=100", "TSL_HEAP_MIB=99999999")
    result = place.update()
    for sentence in ("malformed line 'hello'", "undefined symbol TSL_LARGE_PUGES (TSL_LARGE_PAGES?)",
                     "TSL_HEAP_MIB=99999999 is refused: outside 1..524288"):
        tap.check(sentence in result.output, ".config: warns of " + sentence, result.diagnosis())
    tap.equal((result.status, place.value("HEAP_MIB"), place.value("LARGE_PAGES")),
              (0, "256", "1"), "a broken .config is repaired")
    with open(place.config, encoding="utf-8") as file:
        tap.check("PUGES" not in file.read(), "and written afresh")


def kconfig_files(tap, place):
    before = os.stat(place.header).st_mtime_ns
    edit(os.path.join(place.source, "Kconfig"), "The kind of machine.", "The sort of machine.")
    result = place.update()
    tap.check("Regenerating" in result.output, "an edited Kconfig is noticed", result.diagnosis())
    tap.equal(os.stat(place.header).st_mtime_ns, before, "same values: config.h is left alone")
    edit(os.path.join(place.source, "arch", "Kconfig"), "config TABLE_5LEVEL",
         "config TABLE_TRIAL\n\tbool \"trial\"\n\tdefault y\n\nconfig TABLE_5LEVEL")
    place.update()
    tap.equal(place.value("TABLE_TRIAL"), "1", "a new symbol in a sourced file is noticed")


def profiles(tap, place):
    before = place.libraries()
    result = trial.meson("configure", place.build, "-Dprofile=embedded")
    result = place.update()
    tap.equal((result.status, place.pool()), (0, SMALL_POOL),
              "profile embedded: heap ceiling and pool classes follow")
    tap.check("made afresh" in result.output and os.path.exists(place.config + ".old"),
              "the former configuration is kept, and that is said", result.diagnosis())
    after = place.libraries()
    tap.check("tesela-report" in before and "tesela-report" not in after,
              "profile embedded: report is not built", "%s\n%s" % (before, after))
    edit(place.config, "TSL_PROFILE_EMBEDDED=y", "TSL_PROFILE_IOT=y")
    edit(place.config, "# TSL_PROFILE_IOT is not set\n", "")
    place.update()
    tap.equal((place.value("PROFILE"), place.value("HEAP_MIB")), ('"iot"', "16"),
              "only the profile's line edited: its values follow")


def fragments(tap, place, work):
    first, second = (os.path.join(work, name + ".config") for name in ("first", "second"))
    for path, text in ((first, "TSL_HEAP_MIB=7\nTSL_REPORT=y\n"), (second, "TSL_HEAP_MIB=9\n")):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    trial.meson("configure", place.build, "-Dconfig_fragments=%s,%s" % (first, second))
    place.update()
    tap.equal((place.value("HEAP_MIB"), place.value("REPORT")), ("9", "1"),
              "fragments lie over the profile, later ones over earlier ones")
    edit(second, "=9", "=10")
    place.update()
    tap.equal(place.value("HEAP_MIB"), "10", "an edited fragment is noticed")
    edit(second, "=10", "=0")
    result = place.update()
    tap.check(result.status != 0 and "second.config:1: TSL_HEAP_MIB=0 is refused: outside 1..524288"
              in result.output, "a bad fragment stops the build", result.diagnosis())
    edit(second, "=0", "=11")
    result = place.update()
    tap.equal((result.status, place.value("HEAP_MIB")), (0, "11"), "and its correction mends it")


def without_ninja(tap, place, work):
    out = os.path.join(work, "saved")
    tool = os.path.join(place.source, "tools", "kconf.py")
    result = trial.run([sys.executable, tool, "savedefconfig", "--build", place.build,
                        "--out", out])
    text = ""
    if tap.check(result.status == 0, "kconf.py needs only the build directory", result.diagnosis()):
        with open(out, encoding="utf-8") as file:
            text = file.read()
    tap.equal(text, "# SPDX-License-Identifier: MIT\nTSL_PROFILE_EMBEDDED=y\nTSL_HEAP_MIB=11\n"
              "TSL_REPORT=y\n", "savedefconfig writes only what differs")
    result = trial.run([sys.executable, tool, "menuconfig", "--build", work])
    tap.equal(result.status, 2, "no build directory: usage error")
    result = trial.run(["setsid", sys.executable, tool, "menuconfig", "--build", place.build])
    tap.check(result.status != 0 and "menuconfig needs a terminal" in result.output,
              "menuconfig without a terminal says so", result.diagnosis())


def test(tap, source, _build, work):
    copy = os.path.join(work, "source")
    trial.copy_tree(source, copy)
    place = Directory(copy, os.path.join(work, "b"))
    result = trial.setup(copy, place.build, "-Dtests=disabled", "--cross-file",
                         os.path.join(copy, "cross", "x86_64-gcc.ini"))
    if not tap.check(result.status == 0, "configures", result.diagnosis()):
        return
    own_file(tap, place)
    kconfig_files(tap, place)
    profiles(tap, place)
    fragments(tap, place, work)
    without_ninja(tap, place, work)


if __name__ == "__main__":
    sys.exit(trial.main(test))
