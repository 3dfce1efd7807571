#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Configuration of one build directory: Kconfig files + profile + fragments -> .config -> config.h.

Owns:  the files .config, .config.old, .tesela.json and configs/tesela/config.h of a build directory.
Needs: Kconfiglib 14 (Debian: python3-kconfiglib). Nothing else outside Python's own library.
Callers: meson.build (`sync`); people, through ninja or directly:
    tools/kconf.py menuconfig --build DIR        (also guiconfig, savedefconfig)
Everything such a call needs to know is remembered in DIR/.tesela.json by the last `sync`.

Exit status: 0 good, 1 bad configuration (every problem on stderr), 2 usage.
"""
import argparse
import difflib
import importlib
import json
import os
import re
import sys

PREFIX = "TSL_"
os.environ["CONFIG_"] = PREFIX
STATE = ".tesela.json"


def read_state(build):
    """What the last sync of this build directory remembered; None when there was none."""
    path = os.path.join(build, STATE)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def argument(name):
    """An argument that is needed before the others can be read."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv[:-1] else None


def find_kconfiglib():
    """Where the build found Kconfiglib: in the Python that configured it, which need not be the
    one in PATH, or in a folder of its own."""
    state = read_state(argument("--build") or "") or {}
    folder = argument("--kconfiglib") or state.get("kconfiglib")
    if folder:
        sys.path.append(folder)
    try:
        return importlib.import_module("kconfiglib")
    except ImportError:
        pass
    other = state.get("python", sys.executable)
    if other != sys.executable and os.path.exists(other):
        os.execv(other, [other] + sys.argv)
    sys.exit("kconf.py: the Python module kconfiglib is missing for %s "
             "(Debian, Ubuntu: apt install python3-kconfiglib)" % sys.executable)


kconfiglib = find_kconfiglib()

# The heap's own limits (it asserts them once more when it is compiled).
MOST_CLASSES, MOST_CLASS_BYTES = 60, 32768
HEADER = os.path.join("configs", "tesela", "config.h")
TYPES = {kconfiglib.BOOL: "bool", kconfiglib.INT: "int", kconfiglib.HEX: "hex",
         kconfiglib.STRING: "string"}


class Assignment:
    """One line of a configuration file that sets one symbol."""

    def __init__(self, path, line, name, value):
        self.path, self.line, self.name, self.value = path, line, name, value

    def where(self):
        return "%s:%d" % (shown(self.path), self.line)

    def text(self):
        return "%s%s=%s" % (PREFIX, self.name, self.value)


def shown(path):
    """A path as people want to read it: relative when that is the shorter way to say it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def parse(path, problems):
    """The assignments of one file; lines that are none are problems."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            unset = re.fullmatch(r"# %s(\w+) is not set" % PREFIX, line)
            assigned = re.fullmatch(r"%s(\w+)=(.*)" % PREFIX, line)
            if unset:
                found.append(Assignment(path, number, unset.group(1), "n"))
            elif assigned:
                found.append(Assignment(path, number, assigned.group(1), assigned.group(2)))
            elif line and not line.startswith("#"):
                problems.append("%s:%d: malformed line '%s' (expected %sNAME=value)"
                                % (shown(path), number, line, PREFIX))
    return found


def is_visible_to_people(symbol):
    return any(node.prompt for node in symbol.nodes)


def bad_value(symbol, value):
    """Why `value` cannot be assigned to `symbol` whatever else is configured; None if it can."""
    kind = symbol.orig_type
    good = {kconfiglib.BOOL: value in ("y", "n"),
            kconfiglib.INT: re.fullmatch(r"-?[0-9]+", value) is not None,
            kconfiglib.HEX: re.fullmatch(r"0[xX][0-9a-fA-F]+", value) is not None,
            kconfiglib.STRING: re.fullmatch(r'"([^"\\]|\\.)*"', value) is not None}
    if good.get(kind, False):
        return None
    return "'%s' is not a value of the %s symbol %s%s" % (value, TYPES.get(kind, "?"), PREFIX,
                                                         symbol.name)


def plain(symbol, value):
    return kconfiglib.unescape(value[1:-1]) if symbol.orig_type == kconfiglib.STRING else value


def unmet_terms(expression):
    """The parts of a dependency that are false, spelled with what they are now."""
    if isinstance(expression, tuple) and expression[0] == kconfiglib.AND:
        return unmet_terms(expression[1]) + unmet_terms(expression[2])
    if kconfiglib.expr_value(expression):
        return []
    if isinstance(expression, kconfiglib.Choice):  # people know its members, not the choice
        return unmet_terms(expression.direct_dep)
    spelled = kconfiglib.expr_str(expression, lambda item: kconfiglib.standard_sc_expr_str(item)
                                  if item.is_constant or isinstance(item, kconfiglib.Choice)
                                  else PREFIX + item.name)
    return [spelled]


def unmet(symbol, arch):
    terms = unmet_terms(symbol.direct_dep)
    return "needs %s, and this build is for %s" % (" and ".join(terms), arch) if terms else None


def active_range(symbol):
    for low, high, condition in symbol.ranges:
        if kconfiglib.expr_value(condition):
            return low.str_value, high.str_value
    return None


def class_problem(text):
    """Why a list of size classes is unusable (what Kconfig itself cannot say); None if it is."""
    words = text.split()
    if not words or any(re.fullmatch(r"[1-9][0-9]*", word) is None for word in words):
        return "must be a list of sizes in bytes, separated by spaces"
    sizes = [int(word) for word in words]
    odd = [size for size in sizes if size % 16]
    if odd:
        return "%d is not a multiple of 16" % odd[0]
    for small, large in zip(sizes, sizes[1:]):
        if large <= small:
            return "sizes must ascend, but %d follows %d" % (large, small)
    if sizes[-1] > MOST_CLASS_BYTES or len(sizes) > MOST_CLASSES:
        return "%d sizes up to %d are too many or too large (at most %d, up to %d)" % (
            len(sizes), sizes[-1], MOST_CLASSES, MOST_CLASS_BYTES)
    return None


class Configuration:
    """The Kconfig tree of a build directory with its values."""

    def __init__(self, state):
        self.state = state
        os.environ["srctree"] = state["srctree"]
        os.environ["TSL_ARCH"] = state["arch"]
        os.environ["TSL_BITS"] = state["bits"]
        os.environ["TSL_HOSTED"] = state["hosted"]
        os.environ["KCONFIG_CONFIG"] = state["config"]
        os.environ["KCONFIG_CONFIG_HEADER"] = (
            "# Configuration of this build directory. Change it with: meson compile menuconfig\n")
        self.tree = Tree("Kconfig", warn_to_stderr=False, suppress_traceback=True)
        self.tree.owner = self

    def nearest(self, name):
        """The symbol that somebody may have meant, as an addition to a sentence."""
        known = [symbol.name for symbol in self.tree.unique_defined_syms]
        found = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        return " (%s%s?)" % (PREFIX, found[0]) if found else ""

    def assign(self, assignments, problems, is_own_file):
        """Sets the symbols, then looks which values did not take. Returns the refused ones."""
        final = {}
        for item in assignments:
            symbol = self.tree.syms.get(item.name)
            if symbol is None or not symbol.nodes:
                problems.append("%s: undefined symbol %s%s%s"
                                % (item.where(), PREFIX, item.name, self.nearest(item.name)))
                continue
            if not is_visible_to_people(symbol):
                if not is_own_file:
                    problems.append("%s: %s%s cannot be set: it follows from the rest"
                                    % (item.where(), PREFIX, item.name))
                continue
            reason = bad_value(symbol, item.value)
            if reason:
                problems.append("%s: %s" % (item.where(), reason))
                continue
            final.pop(item.name, None)
            final[item.name] = item  # in the order of the last time that each was named
        for name, item in final.items():
            symbol = self.tree.syms[name]
            if symbol.choice and item.value == "n":
                continue
            symbol.set_value(plain(symbol, item.value))
        refused = [item for item in final.values() if self.refusal(item, final, problems)]
        return refused + self.formats_refusal(final, problems)

    def refusal(self, item, final, problems):
        """Whether an assignment had no effect; then `problems` says why."""
        symbol = self.tree.syms[item.name]
        value = plain(symbol, item.value)
        if symbol.str_value == value:
            return self.semantic_refusal(symbol, item, problems)
        if symbol.choice and (item.value == "n" or self.is_overridden(symbol, item, final)):
            return False
        bounds = active_range(symbol)
        reason = unmet(symbol, self.state["arch"])
        if reason is None and bounds is not None:
            reason = "outside %s..%s" % bounds
        problems.append("%s: %s is refused: %s" % (item.where(), item.text(), reason or
                                                   "its value is %s" % symbol.str_value))
        return True

    @staticmethod
    def is_overridden(symbol, item, final):
        """A later file may name another member of the same choice: that is what fragments do."""
        later = list(final)[list(final).index(item.name) + 1:]
        members = {member.name for member in symbol.choice.syms}
        return any(final[name].value == "y" and final[name].path != item.path
                   for name in later if name in members)

    @staticmethod
    def semantic_refusal(symbol, item, problems):
        if symbol.name != "HEAP_CLASSES":
            return False
        reason = class_problem(symbol.str_value)
        if reason:
            problems.append("%s: %s is refused: %s" % (item.where(), item.text(), reason))
        return reason is not None

    def formats_refusal(self, final, problems):
        """Without a single page-table format nothing could be mapped."""
        formats = [symbol for symbol in self.tree.unique_defined_syms
                   if symbol.name.startswith("TABLE_") and kconfiglib.expr_value(symbol.direct_dep)]
        if not formats or any(symbol.str_value == "y" for symbol in formats):
            return []
        culprits = [final[symbol.name] for symbol in formats if symbol.name in final]
        problems.append("%s: no page-table format is left: switch one of %s on" % (
            culprits[0].where(), ", ".join(PREFIX + symbol.name for symbol in formats)))
        return culprits

    def profile(self):
        selected = self.tree.named_choices["PROFILE"].selection
        return selected.name[len("PROFILE_"):].lower() if selected else "none"

    def values(self):
        return {symbol.name: symbol.str_value for symbol in self.tree.unique_defined_syms}

    def chosen(self):
        """Names whose value differs from what the Kconfig files and the profile say."""
        path = self.state["config"] + ".tmp"
        self.tree.write_min_config(path, header="")
        ignored = []
        names = [item.name for item in parse(path, ignored)]
        os.unlink(path)
        return names

    def save(self):
        self.tree.write_config(self.state["config"], save_old=False)
        self.remember()

    def remember(self):
        self.state["written"] = self.values()
        self.state["chosen"] = self.chosen()
        write_state(self.state)

    def own_assignments(self, problems):
        """What a person set in .config. A value that was a default when the file was written, and
        is unchanged, is no choice: it must follow when somebody changes the profile."""
        written, chosen = self.state.get("written", {}), self.state.get("chosen", [])
        kept = []
        for item in parse(self.state["config"], problems):
            symbol = self.tree.syms.get(item.name)
            value = item.value
            if symbol is not None and bad_value(symbol, value) is None:
                value = plain(symbol, value)
            if item.name in chosen or written.get(item.name) != value:
                kept.append(item)
        return kept

    def load_own(self):
        """Loads .config; what is wrong in it is reported and repaired, never fatal."""
        warnings = []
        refused = self.assign(self.own_assignments(warnings), warnings, is_own_file=True)
        for item in refused:
            self.tree.syms[item.name].unset_value()
        return warnings


class Tree(kconfiglib.Kconfig):
    """Kconfiglib's tree, except that reading .config keeps defaults as defaults (menuconfig calls
    load_config itself)."""
    owner = None

    def load_config(self, filename=None, replace=True, verbose=None):
        if not os.path.exists(self.owner.state["config"]):
            return "no configuration yet"
        self.unset_values()
        for warning in self.owner.load_own():
            sys.stderr.write("%s\n" % warning)
        return "loaded " + self.owner.state["config"]


def c_lines(configuration):
    """The lines of config.h: every symbol, switched on or not, so that `if (TSL_X)` compiles."""
    for symbol in configuration.tree.unique_defined_syms:
        value, kind = symbol.str_value, symbol.orig_type
        name = PREFIX + symbol.name
        if kind == kconfiglib.BOOL:
            yield "#define %s %d" % (name, value == "y")
        elif kind in (kconfiglib.INT, kconfiglib.HEX):
            yield "#define %s %s" % (name, value or "0")
        elif kind == kconfiglib.STRING:
            yield '#define %s "%s"' % (name, kconfiglib.escape(value))
        if symbol.name == "HEAP_CLASSES":
            sizes = value.split()
            yield "#define %s_LIST %s" % (name, ", ".join(sizes))
            yield "#define %s_COUNT %d" % (name, len(sizes))
            yield "#define %s_LAST %s" % (name, sizes[-1])
    yield '#define %sPROFILE "%s"' % (PREFIX, configuration.profile())


def write_header(configuration):
    text = ("/* SPDX-License-Identifier: MIT\n * Made by tools/kconf.py from the configuration of "
            "this build directory: do not edit.\n * Switches are always defined, as 0 or 1. */\n"
            "#ifndef TESELA_CONFIG_H\n#define TESELA_CONFIG_H\n\n%s\n\n#endif\n"
            % "\n".join(c_lines(configuration)))
    path = os.path.join(configuration.state["build"], HEADER)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_if_changed(path, text)


def write_if_changed(path, text):
    """Leaves the file's time alone when nothing changed, so that nothing is compiled again."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


def write_state(state):
    write_if_changed(os.path.join(state["build"], STATE),
                     json.dumps(state, indent=1, sort_keys=True) + "\n")


def refuse(problems, state):
    sys.stderr.write("bad configuration:\n%sNothing is built. Correct the files named above.\n"
                     % "".join("  %s\n" % problem for problem in problems))
    state["origin"] = None
    write_state(state)
    return 1


def read_origin(files, problems):
    text = ""
    for path in files:
        if not os.path.exists(path):
            problems.append("%s: no such file" % shown(path))
            continue
        if os.path.isdir(path):
            problems.append("%s: a folder, not a file" % shown(path))
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text += "%s\n%s" % (path, file.read())
    return text


def make_afresh(configuration, files, state, origin):
    """Takes the configuration from the profile and the fragments: files that people wrote, so
    every mistake in them is an error."""
    problems, assignments = [], []
    for path in files:
        assignments += parse(path, problems)
    configuration.assign(assignments, problems, is_own_file=False)
    if problems:
        return problems
    if state.get("origin") and os.path.exists(state["config"]):
        os.replace(state["config"], state["config"] + ".old")
        sys.stderr.write("profile or fragments changed: the configuration was made afresh; the "
                         "former one is %s.old\n" % state["config"])
    state["origin"] = origin
    return []


def sync(arguments):
    """Called by every configure. Prints the profile, then the files to watch, one a line."""
    build = os.path.abspath(arguments.build)
    state = read_state(build) or {}
    state.update(python=sys.executable, kconfiglib=arguments.kconfiglib, build=build,
                 srctree=os.path.abspath(arguments.srctree), arch=arguments.arch,
                 bits=arguments.bits, hosted=arguments.hosted,
                 config=os.path.join(build, ".config"))
    files = [os.path.join(state["srctree"], "configs", arguments.profile + ".config")]
    files += [os.path.abspath(path) for path in arguments.fragment]
    problems = []
    origin = read_origin(files, problems)
    if problems:
        return refuse(problems, state)
    configuration = Configuration(state)
    if state.get("origin") == origin and os.path.exists(state["config"]):
        for warning in configuration.load_own():
            sys.stderr.write("%s (ignored)\n" % warning)
    else:
        problems = make_afresh(configuration, files, state, origin)
        if problems:
            return refuse(problems, state)
    configuration.save()
    write_header(configuration)
    print(configuration.profile())
    for name in configuration.tree.kconfig_filenames:
        print(os.path.join(state["srctree"], name))
    print("\n".join(files))
    return 0


def take_terminal():
    """`meson compile` hands its children /dev/null, on which curses would spin for ever."""
    if sys.stdin.isatty():
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        sys.exit("menuconfig needs a terminal")
    os.dup2(terminal, 0)


def edit(configuration, interface):
    """menuconfig or guiconfig; the build notices a changed .config by itself."""
    if interface == "menuconfig":
        take_terminal()
        import menuconfig as front_end
    else:
        import guiconfig as front_end
    # Symbols at their default count as unsaved there, although .config has them: ask only when
    # something was really changed.
    front_end._needs_save = lambda: not os.path.exists(configuration.state["config"])
    front_end.menuconfig(configuration.tree)
    ignored = []
    on_disk = {item.name: item.value for item in parse(configuration.state["config"], ignored)}
    now = configuration.values()
    visible = [name for name in on_disk if name in now]
    if all(same(configuration.tree.syms[name], on_disk[name]) for name in visible):
        configuration.remember()


def same(symbol, text):
    value = plain(symbol, text) if bad_value(symbol, text) is None else text
    return symbol.str_value == value


def save_minimal(configuration, out):
    configuration.tree.load_config()
    configuration.tree.write_min_config(out, header="# SPDX-License-Identifier: MIT\n")
    print("wrote " + out)


def from_build(arguments):
    state = read_state(arguments.build)
    if state is None:
        sys.stderr.write("%s: no configured build directory of Tesela (no %s in it)\n"
                         % (arguments.build, STATE))
        return 2
    if not os.path.exists(state["config"]):
        sys.stderr.write("%s: not configured yet; run meson setup and correct what it names\n"
                         % arguments.build)
        return 1
    configuration = Configuration(state)
    if arguments.command == "savedefconfig":
        save_minimal(configuration, arguments.out or os.path.join(state["build"], "defconfig"))
    else:
        edit(configuration, arguments.command)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["sync", "menuconfig", "guiconfig", "savedefconfig"])
    parser.add_argument("--build", required=True, help="build directory of the library")
    parser.add_argument("--out", help="savedefconfig: file to write")
    parser.add_argument("--kconfiglib", help="folder that has Kconfiglib")
    parser.add_argument("--srctree")
    parser.add_argument("--arch", choices=["x86_32", "x86_64"])
    parser.add_argument("--bits", choices=["32", "64"])
    parser.add_argument("--hosted", choices=["y", "n"])
    parser.add_argument("--profile", help="sync: name of a file in configs/")
    parser.add_argument("--fragment", action="append", default=[])
    arguments = parser.parse_args()
    return sync(arguments) if arguments.command == "sync" else from_build(arguments)


if __name__ == "__main__":
    sys.exit(main())
