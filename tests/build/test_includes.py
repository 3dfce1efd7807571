# SPDX-License-Identifier: MIT
"""A component sees the public headers of what it stands on, and nothing else: every pair of
component and header is compiled with the component's real compiler command.

Owns:  NEEDS, the table of the design, on purpose a second time: meson.build must agree with it.
Needs: trial.py, compile_commands.json of the build. Callers: tests/build/meson.build.
"""
import json
import os
import re
import shlex
import subprocess
import sys

import trial

NEEDS = {
    "base": [],
    "arch": ["base"],
    "kernel_layout": ["base"],
    "physical_allocator": ["base", "kernel_layout"],
    "heap_allocator": ["base"],
    "page_table": ["base", "kernel_layout", "physical_allocator"],
    "vallocator": ["base", "kernel_layout", "physical_allocator", "page_table", "heap_allocator"],
}
# Folders of a component that are on the path of those who need it.
NOT_PRIVATE = ["include", "port_default"]
# These open whatever is compiled in.
SEES_ALL = ["report", "facade"]


def commands(build):
    """component -> the compiler command of one of its files, without input and output."""
    found = {}
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    for entry in entries:
        library = re.search(r"libtesela-(\w+)\.a\.p/", entry["output"])
        if not library or not entry["file"].endswith(".c"):
            continue
        words = shlex.split(entry["command"])
        kept, skip = [], False
        for word in words:
            if skip or word in ("-c", "-MD", entry["file"]):
                skip = False
            elif word in ("-MQ", "-MF", "-o"):
                skip = True
            else:
                kept.append(word)
        found[library.group(1)] = (entry["directory"], kept)
    return found


def private_headers(folder):
    """Headers of a component and of its layers, as they are included."""
    layers = [name for name in sorted(os.listdir(folder)) if name not in NOT_PRIVATE
              and os.path.isdir(os.path.join(folder, name))]
    for layer in [""] + layers:
        for name in sorted(os.listdir(os.path.join(folder, layer))):
            if name.endswith(".h"):
                yield os.path.join(layer, name)


def headers(source):
    """(owner, text of the include line) for every header that a component has."""
    root = os.path.join(source, "components")
    for owner in sorted(os.listdir(root)):
        public = os.path.join(root, owner, "include", "tesela")
        if os.path.isdir(public):
            for name in sorted(os.listdir(public)):
                yield owner, True, "<tesela/%s>" % name
            for name in private_headers(os.path.join(root, owner)):
                yield owner, False, '"%s"' % name


def compiles(directory, command, include):
    text = "#include %s\nextern int something;\n" % include
    done = subprocess.run(command + ["-fsyntax-only", "-x", "c", "-"], cwd=directory, input=text,
                          text=True, capture_output=True, check=False)
    return done.returncode == 0, done.stderr


def is_allowed(component, owner, is_public, built):
    if owner == component:
        return True
    if component in SEES_ALL:
        return is_public and owner in built and owner not in SEES_ALL
    return is_public and owner in NEEDS[component]


def test(tap, source, build, _work):
    found = commands(build)
    tap.check("base" in found, "the compiler commands of the libraries are known", found.keys())
    every = list(headers(source))
    for component, (directory, command) in sorted(found.items()):
        if component not in NEEDS and component not in SEES_ALL:
            tap.check(False, component + " stands in the table of needs")
            continue
        allowed = forbidden = 0
        wrong = []
        for owner, is_public, include in every:
            expected = is_allowed(component, owner, is_public, found)
            good, message = compiles(directory, command, include)
            allowed += expected
            forbidden += not expected
            if good != expected:
                wrong.append("%s of %s %s\n%s" % (include, owner, "compiles" if good else
                                                  "does not compile", message[:500]))
        tap.check(not wrong, "%s: %d headers allowed, %d forbidden" % (component, allowed, forbidden),
                  "\n".join(wrong))


if __name__ == "__main__":
    sys.exit(trial.main(test))
