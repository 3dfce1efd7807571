#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the documents: what they promise each other must be true.

Owns: the rules below, one TAP line each. Reads only; needs nothing but Python's own library.
Called by: Meson (suite `build`), or by hand: tests/build/test_docs.py [ROOT]

  mirror     X.es.md has the headings (levels, in order) and the code blocks of X.md
  links      every relative link leads to a file, every #anchor to a heading
  component  every component's README has the fixed headings, in order
  decisions  numbered 0001, 0002, ... without gaps, with the fixed headings
  folders    ARCHITECTURE.md has one line for every folder of the tree, and none for others
  quotes     a code block announced as `<!-- from FILE -->` stands in FILE word for word, perhaps
             further to the right
  examples   code under `Example` in a component's README is such a quotation: it was compiled
"""

import re
import sys
import textwrap
from pathlib import Path

COMPONENT_HEADINGS = ["Purpose", "Picture", "Words", "Invariants", "Costs", "Needs", "Refuses",
                      "Example"]
DECISION_HEADINGS = ["Context", "Decision", "Evidence", "Consequences"]
NOT_OURS = {"build", "subprojects", ".git"}


def documents(root):
    """Every Markdown file of the project."""
    for path in sorted(root.rglob("*.md")):
        parts = path.relative_to(root).parts
        if not any(part in NOT_OURS or part.startswith("build-") for part in parts[:-1]):
            yield path


def split(path):
    """The text outside of code blocks as lines, and the code blocks."""
    prose, blocks, block = [], [], None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            if block is None:
                block = [line]
            else:
                blocks.append("\n".join(block))
                block = None
        elif block is not None:
            block.append(line)
        else:
            prose.append(line)
    return prose, blocks


def headings(path):
    """[(level, text)] of a document."""
    found = []
    for line in split(path)[0]:
        match = re.match(r"(#+) +(.*?) *$", line)
        if match:
            found.append((len(match[1]), match[2]))
    return found


def anchor(text):
    """The anchor that a heading gets on the usual Git hosts."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def check_mirror(root):
    for spanish in documents(root):
        if not spanish.name.endswith(".es.md"):
            continue
        english = spanish.with_name(spanish.name.replace(".es.md", ".md"))
        where = spanish.relative_to(root)
        if not english.exists():
            yield f"{where}: there is no {english.name}"
            continue
        levels = [level for level, _ in headings(spanish)]
        if levels != [level for level, _ in headings(english)]:
            yield f"{where}: its headings do not follow those of {english.name}"
        ours, theirs = split(spanish)[1], split(english)[1]
        for number, (a, b) in enumerate(zip(ours, theirs), 1):
            if a != b:
                yield f"{where}: code block {number} differs from the one in {english.name}"
        if len(ours) != len(theirs):
            yield f"{where}: {len(ours)} code blocks, {english.name} has {len(theirs)}"


def check_links(root):
    for path in documents(root):
        for line in split(path)[0]:
            line = re.sub(r"`[^`]*`", "", line)
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                file, _, fragment = target.partition("#")
                goal = (path.parent / file).resolve() if file else path
                if not goal.exists():
                    yield f"{path.relative_to(root)}: {target} leads nowhere"
                elif fragment and fragment not in [anchor(text) for _, text in headings(goal)]:
                    yield f"{path.relative_to(root)}: no heading makes the anchor of {target}"


def check_components(root):
    for folder in sorted((root / "components").iterdir()):
        if not (folder / "meson.build").exists():
            continue
        readme = folder / "README.md"
        if not readme.exists():
            yield f"components/{folder.name}: no README.md"
            continue
        found = [text for level, text in headings(readme) if level == 2]
        fixed = [text for text in found if text in COMPONENT_HEADINGS]
        if fixed != COMPONENT_HEADINGS:
            yield (f"components/{folder.name}/README.md: second-level headings are {found}, "
                   f"wanted {COMPONENT_HEADINGS}")


def check_decisions(root):
    records = sorted((root / "docs" / "decisions").glob("*.md"))
    for number, path in enumerate(records, 1):
        if not path.name.startswith(f"{number:04d}-"):
            yield f"{path.name}: the record in this place has number {number:04d}"
        found = [text for level, text in headings(path) if level == 2]
        if found != DECISION_HEADINGS:
            yield f"{path.name}: headings are {found}, wanted {DECISION_HEADINGS}"


def check_folders(root):
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    wanted = [path for path in root.iterdir() if path.is_dir()]
    for parent in ("components", "arch", "platform", "examples", "tests"):
        if (root / parent).is_dir():
            wanted += [path for path in (root / parent).iterdir() if path.is_dir()]
    wanted += [path for path in (root / "components").glob("*/*")
               if path.is_dir() and path.name not in ("include", "port_default")]
    for path in sorted(wanted):
        name = str(path.relative_to(root))
        is_ours = not (name.startswith("tests/") and (root / "components" / path.name).is_dir()) \
            and not name.startswith((".", "build")) and "__pycache__" not in name
        if is_ours and any(path.iterdir()) and not re.search(rf"`{re.escape(name)}/?`", text):
            yield f"ARCHITECTURE.md has no line for `{name}`"
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    for name in sorted(set(rows)):
        if rows.count(name) > 1:
            yield f"ARCHITECTURE.md has {rows.count(name)} lines for `{name}`"
        if not (root / name).is_dir():
            yield f"ARCHITECTURE.md has a line for `{name}`, which is no folder"


def stands_in(code, text):
    """Whether lines of text, all moved to the right by the same amount or not at all, are the code."""
    for blanks in range(0, 17, 4):
        if "\n" + textwrap.indent(code, " " * blanks) in "\n" + text:
            return True
    return False


def check_examples(root):
    for readme in sorted((root / "components").glob("*/README.md")):
        example = readme.read_text(encoding="utf-8").partition("\n## Example\n")[2]
        example = re.split(r"\n## ", example)[0]
        blocks = len(re.findall(r"^```c$", example, re.MULTILINE))
        quotes = len(re.findall(r"^<!-- from \S+ -->\n```c$", example, re.MULTILINE))
        if blocks == 0 or quotes != blocks:
            yield (f"{readme.relative_to(root)}: {blocks} blocks of code in its example, {quotes} of "
                   "them quoted from a file")


def check_quotes(root):
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        quotes = re.findall(r"<!-- from (\S+) -->\s*```\w*\n(.*?)```", text, re.DOTALL)
        for file, code in quotes:
            source = root / file
            if not source.exists():
                yield f"{path.relative_to(root)}: quotes {file}, which does not exist"
            elif not stands_in(code, source.read_text(encoding="utf-8")):
                yield f"{path.relative_to(root)}: the quotation is not in {file} word for word"


RULES = [
    ("the Spanish pages mirror the English ones", check_mirror),
    ("links lead somewhere", check_links),
    ("component READMEs have the fixed headings", check_components),
    ("decision records are numbered and complete", check_decisions),
    ("ARCHITECTURE.md names every folder", check_folders),
    ("quoted code is the code", check_quotes),
    ("examples of components are compiled", check_examples),
]


def main():
    default = Path(__file__).resolve().parent.parent.parent
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else default
    print(f"1..{len(RULES)}")
    for number, (name, rule) in enumerate(RULES, 1):
        complaints = list(rule(root))
        for complaint in complaints:
            print(f"# {complaint}")
        print(f"{'not ok' if complaints else 'ok'} {number} - {name}", flush=True)


if __name__ == "__main__":
    main()
