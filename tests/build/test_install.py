# SPDX-License-Identifier: MIT
"""What other projects get: an installation that is complete, and as a subproject nothing installed,
flags that reach every object, and names to build against.

Owns:  a small superproject in its work folder. Needs: trial.py, a cross compiler; pkg-config when
it is there. Callers: tests/build/meson.build.
"""
import json
import os
import shutil
import subprocess
import sys

import trial

SUPERPROJECT = """\
project('kernel', 'c', meson_version: '>=1.0.0', default_options: ['c_std=c11'])
base = dependency('tesela-base', fallback: 'tesela', default_options: ['profile=embedded',
  'kernel_c_args=-DOF_THE_KERNEL', 'config_fragments=kernel.config'])
tesela = subproject('tesela')
absent = dependency('tesela-report', required: false)
assert(not absent.found(), 'report is left out by profile embedded')
run_target('menuconfig', command: tesela.get_variable('menuconfig_command'))
static_library('by_dependency', 'user.c', dependencies: base)
static_library('by_sources', 'user.c', tesela.get_variable('lib_sources'),
  include_directories: tesela.get_variable('lib_includes'))
"""
USER = """\
#include <tesela/config.h>
#include <tesela/status.h>
_Static_assert(TSL_HEAP_MIB == 3, "the fragment of the superproject counts");
extern const char *name_of_success(void);
const char *name_of_success(void)
{
    return tsl_status_name(TSL_OK);
}
"""


def public_headers(source):
    return {os.path.basename(path) for path in trial.tree_files(source)
            if path.startswith("components/") and "/include/tesela/" in path}


def installed(folder):
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            found.setdefault(os.path.splitext(name)[1], set()).add(os.path.join(path, name))
    return found


def check_package(tap, folder, archives):
    if not shutil.which("pkg-config"):
        tap.skip("pkg-config file", "pkg-config is not installed")
        return
    command = ["pkg-config", "--define-prefix", "--libs", "--cflags", "tesela"]
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(folder))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    missing = [name for name in archives if "-l" + name[3:-2] not in done.stdout]
    tap.check(done.returncode == 0 and not missing, "pkg-config knows every library",
              done.stdout + done.stderr)


def check_installation(tap, source, work, cross):
    build, target = os.path.join(work, "b"), os.path.join(work, "installed")
    result = trial.setup(source, build, "-Dtests=disabled", "-Dprefix=/usr", "-Dlibdir=lib",
                         "-Doptimization=0", cross)
    result = trial.run([sys.executable, "-m", "mesonbuild.mesonmain", "install", "-C", build,
                        "--destdir", target])
    if not tap.check(result.status == 0, "builds and installs", result.diagnosis()):
        return
    found = installed(target)
    headers = {os.path.basename(path) for path in found.get(".h", set())}
    tap.equal(sorted(headers), sorted(public_headers(source) | {"config.h"}),
              "all public headers are installed, and only those")
    archives = sorted(os.path.basename(path) for path in found.get(".a", set()))
    targets = json.loads(trial.meson("introspect", "--targets", build).output)
    tap.equal(archives, sorted("lib%s.a" % item["name"] for item in targets
                               if item["type"] == "static library"
                               and item["name"].startswith("tesela-")),
              "all libraries are installed")
    check_package(tap, sorted(found[".pc"])[0], archives)


def compiles_with(build, word):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    ours = [entry for entry in entries if "libtesela-" in entry["output"]]
    return ours and all(word in entry["command"] for entry in ours)


def check_subproject(tap, source, work, cross):
    folder, build = os.path.join(work, "kernel"), os.path.join(work, "kernel-build")
    trial.copy_tree(source, os.path.join(folder, "subprojects", "tesela"))
    for name, text in (("meson.build", SUPERPROJECT), ("user.c", USER),
                       ("kernel.config", "TSL_HEAP_MIB=3\n")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    result = trial.setup(folder, build, cross)
    if not tap.check(result.status == 0, "configures as a subproject", result.diagnosis()):
        return
    tap.check(compiles_with(build, "-DOF_THE_KERNEL"), "kernel_c_args reaches every object")
    result = trial.ninja(build, "libby_dependency.a", "libby_sources.a")
    tap.check(result.status == 0, "builds by dependency and by sources", result.diagnosis())
    target = os.path.join(work, "kernel-installed")
    trial.run([sys.executable, "-m", "mesonbuild.mesonmain", "install", "-C", build, "--destdir",
               target, "--no-rebuild"])
    tap.equal(installed(target), {}, "a subproject installs nothing of ours")
    result = trial.meson("configure", build, "-Dtesela:profile=iot")
    result = trial.ninja(build, "build.ninja")
    with open(os.path.join(build, "subprojects", "tesela", ".config"), encoding="utf-8") as file:
        tap.check("TSL_PROFILE_IOT=y" in file.read(), "the superproject changes the profile",
                  result.diagnosis())


def test(tap, source, _build, work):
    cross = "--cross-file=" + os.path.join(source, "cross", "x86_64-gcc.ini")
    check_installation(tap, source, work, cross)
    check_subproject(tap, source, work, cross)


if __name__ == "__main__":
    sys.exit(trial.main(test))
