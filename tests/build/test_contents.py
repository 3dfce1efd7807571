# SPDX-License-Identifier: MIT
"""What is in the libraries of kernel builds: nothing that the configuration leaves out, no
symbol of ours without our prefix, and nothing asked of the kernel beyond the port.

Owns:  HOOKS, MEMORY and SEED, the complete list of names that cross the border.
Needs: trial.py, binutils, the cross compilers. Callers: tests/build/meson.build.
"""
import json
import os
import re
import subprocess
import sys

import trial

HOOKS = {"tsl_port_pin", "tsl_port_unpin", "tsl_port_cpu_id", "tsl_port_phys_to_virt",
         "tsl_port_flush_others", "tsl_port_log", "tsl_port_panic"}
MEMORY = {"memcpy", "memmove", "memset", "memcmp"}
SEED = {"allocate_physical_page", "free_physical_page", "kmalloc", "kfree", "valloc", "vfree",
        "map_page", "unmap_page"}
TRIALS = [("x86_32-gcc", "desktop"), ("x86_64-clang", "embedded")]
# With --more: what is left of the cross product, and the smallest code.
MORE_TRIALS = [("x86_32-gcc", "embedded"), ("x86_64-gcc", "server"), ("x86_32-clang", "iot"),
               ("x86_64-clang", "desktop")]
SMALL = ("iot", "embedded")
FORMATS = {"x86_32": {"2level", "pae"}, "x86_64": {"4level", "5level"}}
SMALL_FORMATS = {"x86_32": {"2level"}, "x86_64": {"4level"}}


def libraries(build):
    """name -> archive, as Meson knows them."""
    targets = json.loads(trial.meson("introspect", "--targets", build).output)
    return {target["name"]: target["filename"][0] for target in targets
            if target["type"] == "static library" and target["name"].startswith("tesela-")
            and "support" not in target["name"]}


def symbols(archives):
    """(undefined, {defined global: how often}) over all archives together."""
    undefined, defined = set(), {}
    for archive in archives:
        output = subprocess.run(["nm", archive], check=True, capture_output=True, text=True).stdout
        for line in output.splitlines():
            words = line.split()
            if len(words) < 2 or line.endswith(":"):
                continue
            kind, name = words[-2], words[-1]
            if kind in "Uwv":
                undefined.add(name)
            elif kind.isupper():
                defined[name] = defined.get(name, 0) + 1
    return undefined - set(defined), defined


def members(archives):
    found = []
    for archive in archives:
        output = subprocess.run(["ar", "t", archive], check=True, capture_output=True,
                                text=True).stdout
        found += output.split()
    return found


def check_symbols(tap, label, profile, archives):
    undefined, defined = symbols(archives)
    # A machine with one CPU (profile embedded) has nobody to flush.
    expected = HOOKS - ({"tsl_port_flush_others"} if profile == "embedded" else set())
    tap.equal(sorted(undefined - HOOKS - MEMORY), [], label + ": asks for the port and mem* only")
    tap.equal(sorted(expected - undefined), [], label + ": every hook of the port is used")
    tap.equal(sorted(name for name, times in defined.items() if times > 1), [],
              label + ": no symbol is defined twice")
    tap.equal(sorted(name for name in defined if not name.startswith("tsl_") and name not in SEED),
              [], label + ": no bare names but the eight of the facade")


def formats_in(names):
    return {match.group(1) for name in names
            for match in [re.search(r"format_(2level|pae|4level|5level)", name)] if match}


def check_contents(tap, label, arch, profile, archives):
    names = members(archives.values())
    expected = SMALL_FORMATS if profile in SMALL else FORMATS
    tap.equal(formats_in(names), expected[arch], label + ": table formats as configured")
    layouts = {match.group(1) for name in names
               for match in [re.search(r"layout_(2level|pae|4level|5level)", name)] if match}
    tap.check(layouts <= expected[arch], label + ": no layout of a format that is left out", layouts)
    tap.equal("tesela-report" in archives, profile not in SMALL, label + ": report as configured")
    tap.equal([name for name in names if profile in SMALL and "report_" in name], [],
              label + ": no file of report")


def test(tap, source, _build, work, more=False):
    for compiler, profile in MORE_TRIALS if more else TRIALS:
        arch = compiler.split("-")[0]
        label = "%s %s" % (compiler, profile)
        small = ("-Dbuildtype=minsize",) if profile in SMALL else ()
        build = os.path.join(work, compiler)
        result = trial.setup(source, build, "-Dprofile=" + profile, "-Dtests=disabled", *small,
                             "--cross-file", os.path.join(source, "cross", compiler + ".ini"))
        if not tap.check(result.status == 0, label + ": configures", result.diagnosis()):
            continue
        archives = libraries(build)
        result = trial.ninja(build, *[os.path.relpath(path, build) for path in archives.values()])
        if not tap.check(result.status == 0, label + ": builds", result.diagnosis()):
            continue
        check_symbols(tap, label, profile, archives.values())
        check_contents(tap, label, arch, profile, archives)


if __name__ == "__main__":
    sys.exit(trial.main(test))
