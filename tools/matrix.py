# SPDX-License-Identifier: MIT
"""What `./check` runs at each level: groups of build directories, test suites and boots.

Owns: the lists. Adding a combination is adding a line here; how groups are run is in check.py.
Needs: builds.py.
Called by: check.py.

Every group has one build directory. Host groups run everything as Linux programs; kernel groups
build for a machine, run the tests that live in a kernel image and boot the monitor.
"""

import itertools
import platform
import subprocess
from dataclasses import dataclass, field

from builds import ARCHES, PROFILES, ROOT, Build, kernel_build

FORMATS = {"x86_64": ("5level", "4level"), "x86_32": ("pae", "2level")}

# Random tests run this many times as long as in quick: by themselves, and under sanitizers, where each
# round takes several times as long, once for each width. The oracle of spaces gets its million
# operations either way.
LONG_RUNS = {"TSL_ROUNDS": "20"}
SANITIZED_RUNS = {"TSL_ROUNDS": "5"}


# What one of the host groups runs for all of them.
HOST_SUITES = ("unit", "build", "consumer", "model")


@dataclass
class Boot:
    """One start of the monitor, which must end with `tour: PASS`."""
    name: str
    profile: str
    arch: str
    arguments: list

    def words(self):
        """The arguments of ./run that boot it."""
        return [self.profile, self.arch, "--once", *self.arguments]


@dataclass
class Group:
    """Everything that is run in one build directory."""
    name: str
    build: Build
    suites: tuple = ()
    without: tuple = ()  # suites left out, even when a test is in one of `suites` too
    boots: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    fuzz_seconds: int = 0  # how long each program named fuzz-... is fed
    wrapper: tuple = ()  # words before the command that runs the programs
    # How many times as long as usual programs and boots may take. Meant for hangs alone: beside
    # other work a program of threads takes a hundred times as long as without.
    patience: int = 5


def host_build(name, compiler, bits, sanitizers="", profile="desktop", options=()):
    """A build directory of ordinary Linux programs."""
    words = [f"-Dprofile={profile}", *options]
    words += ["--native-file", str(ROOT / "cross" / f"host{bits}-{compiler}.ini")]
    if sanitizers:
        words += [f"-Db_sanitize={sanitizers}"]
    return Build(f"check-{name}", words)


def host_group(name, compiler, bits, sanitizers="", suites=("unit",), **more):
    profile, options = more.pop("profile", "desktop"), more.pop("options", ())
    build = host_build(name, compiler, bits, sanitizers, profile, options)
    env = dict(more.pop("env", {}))
    if "undefined" in sanitizers:  # by itself it would report and go on
        env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
    if "thread" in sanitizers:
        env["TSAN_OPTIONS"] = "halt_on_error=1"
    return Group(f"host-{name}", build, suites, env=env, **more)


def machines():
    """(profile, arch) of every kernel there is: the server profile is 64-bit only."""
    for arch, profile in itertools.product(ARCHES, PROFILES):
        if (profile, arch) != ("server", "x86_32"):
            yield profile, arch


def formats_of(profile, arch):
    """The table formats that a profile compiles in, as its configuration says after set-up."""
    return [name for name in FORMATS[arch]
            if profile in ("desktop", "server") or name in ("4level", "2level")]


def boots_of(profile, arch, variants=(("", []),)):
    """One boot for every format and variant (suffix of the name, arguments of ./run)."""
    boots = []
    for paging, (suffix, arguments) in itertools.product(formats_of(profile, arch), variants):
        if paging == "5level" and "qemu64" in arguments:
            continue  # that model has no 5 levels
        boots.append(Boot(f"{profile}-{arch}-{paging}{suffix}", profile, arch,
                          ["--paging", paging, *arguments]))
    return boots


def quick():
    groups = [
        host_group("gcc-64", "gcc", 64, "address,undefined", suites=HOST_SUITES),
        host_group("clang-32", "clang", 32, "address,undefined"),
        # Several memory nodes: what only the server profile has.
        host_group("server-64", "clang", 64, "address,undefined", profile="server",
                   suites=("kernel_layout", "physical_allocator")),
    ]
    for profile, arch in machines():
        suites = {"desktop": ("qemu",), "server": ("nodes",)}.get(profile, ())
        groups.append(Group(f"{arch}-{profile}", kernel_build(profile, arch), suites,
                            boots=boots_of(profile, arch)))
    for group in groups:
        group.without = ("slow",)
    return groups


def fuzzing(seconds):
    return host_group("fuzz-64", "clang", 64, "address,undefined", suites=(), fuzz_seconds=seconds,
                      options=("-Dkernel_c_args=-fsanitize=fuzzer-no-link",))


def full():
    groups = [
        host_group("gcc-64", "gcc", 64, "address,undefined", suites=HOST_SUITES,
                   env=SANITIZED_RUNS, patience=10),
        host_group("gcc-32", "gcc", 32, "address,undefined", env=SANITIZED_RUNS, patience=10),
        host_group("clang-64", "clang", 64, "address,undefined", patience=10),
        host_group("clang-32", "clang", 32, "address,undefined", patience=10),
        host_group("tsan-64", "gcc", 64, "thread", wrapper=still_addresses(), patience=10),
        host_group("release-64", "gcc", 64, options=("--buildtype=release",), env=LONG_RUNS,
                   patience=10),
        host_group("small-32", "clang", 32, options=("--buildtype=minsize",), env=LONG_RUNS,
                   patience=10),
        fuzzing(20),
    ]
    for profile in ("server", "iot", "embedded"):
        groups.append(host_group(f"{profile}-64", "gcc", 64, "undefined", profile=profile))
    groups += preloaded_tiers()
    for profile in ("iot", "embedded"):
        groups.append(host_group(f"{profile}-32", "clang", 32, "undefined", profile=profile))
    for (profile, arch), compiler in itertools.product(machines(), ("gcc", "clang")):
        build = kernel_build(profile, arch, compiler)
        groups.append(Group(build.name, build, ("qemu",),
                            boots=boots_of(profile, arch,
                                           machine_variants(profile, arch, compiler))))
    return groups + hardened_kernels() + guarded_kernels() + growing_kernels()


def preloaded_tiers():
    """examples/malloc under real programs, with each tier that is for use."""
    groups = []
    for tier in ("none", "basic", "moderate"):
        fragments = ["examples/malloc/malloc.config"]
        fragments += [] if tier == "basic" else [f"tests/kernel/heap_{tier}.config"]
        groups.append(host_group(f"malloc-{tier}", "gcc", 64, suites=("malloc",),
                                 options=("--buildtype=release",
                                          f"-Dconfig_fragments={','.join(fragments)}")))
    return groups


def hardened_kernels():
    """Kernels whose heap has the strongest tiers, or measures times: the suites in a kernel; the heap
    and the tour also on four CPUs; the stages of a start."""
    groups = []
    for arch, tier in (("x86_64", "debug"), ("x86_32", "full"), ("x86_32", "profiled")):
        build = kernel_build("desktop", arch, fragment=f"tests/kernel/heap_{tier}.config")
        boots = [Boot(build.name + suffix, "desktop", arch, ["--smp", cpus])
                 for suffix, cpus in (("-1cpu", "1"), ("-4cpu", "4"))]
        suites = ("one-cpu", "four-cpus", "start") if tier == "profiled" else ("one-cpu", "four-cpus")
        groups.append(Group(build.name, build, suites, boots=boots))
    return groups


def guarded_kernels():
    """Kernels that guard their page frames: mistakes made on purpose, the frame allocator on several
    CPUs, the stages of a start (where what can be reached shrinks and grows), the tour."""
    groups = []
    for arch, guards in (("x86_64", "guards"), ("x86_32", "guards"), ("x86_64", "cautious")):
        build = kernel_build("desktop", arch, fragment=f"tests/kernel/frames_{guards}.config")
        boots = [Boot(f"{build.name}-{count}cpu", "desktop", arch, ["--smp", count])
                 for count in ("1", "4")]
        groups.append(Group(build.name, build, ("frames", "start"), boots=boots))
    return groups


def growing_kernels():
    """Kernels whose RAM comes and goes, also where it is high memory or cannot be named."""
    builds = [kernel_build("desktop", arch, fragment="tests/kernel/frames_hotplug.config")
              for arch in ARCHES]
    return [Group(build.name, build, ("nodes",)) for build in builds]


def machine_variants(profile, arch, compiler):
    """(suffix, arguments) of the boots of one kernel: CPUs, memory sizes, poor CPU models."""
    variants = [("-1cpu", ["--smp", "1"]), ("-4cpu", ["--smp", "4"])]
    if compiler == "gcc":
        sizes = {"desktop": ("65M", "3073M", "5G"), "server": ("255M", "4G"), "iot": ("17M", "33M"),
                 "embedded": ("8M", "11M")}
        variants += [(f"-{size}", ["--mem", size]) for size in sizes[profile]]
        if profile == "desktop":
            models = {"x86_64": ("qemu64", "max,-nx", "max,-pge,-pdpe1gb"),
                      "x86_32": ("qemu32", "pentium3", "max,-nx", "max,-pge", "max,-pse")}
            variants += [(f"-cpu({model})", ["--cpu", model]) for model in models[arch]]
    return variants


def deep():
    """One round of the endless level: the sanitizer hosts at length, with a seed of their own."""
    return [
        fuzzing(300),
        host_group("gcc-64", "gcc", 64, "address,undefined", patience=50),
        host_group("clang-32", "clang", 32, "address,undefined", patience=50),
        host_group("tsan-64", "gcc", 64, "thread", wrapper=still_addresses(), patience=50),
        Group("x86_64-desktop", kernel_build("desktop", "x86_64"), ("qemu",),
              boots=boots_of("desktop", "x86_64", [("-4cpu", ["--smp", "4"])]), patience=10),
        Group("x86_32-desktop", kernel_build("desktop", "x86_32"), ("qemu",),
              boots=boots_of("desktop", "x86_32", [("-4cpu", ["--smp", "4"])]), patience=10),
    ]


def still_addresses():
    """ThreadSanitizer of gcc 12 refuses the address randomisation of newer Linux kernels."""
    wrapper = ["setarch", platform.machine(), "-R"]
    try:
        works = subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return tuple(wrapper) if works else ()


LEVELS = {"quick": quick, "full": full, "deep": deep}
