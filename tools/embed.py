#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a C file out of any file, so that a kernel can carry it.

Owns:  the form: `const unsigned char NAME[]` and `const size_t NAME_bytes`.
Needs: nothing. Callers: the build of kernels that run programs (tests/kernel, tests/bench).

    embed.py NAME INPUT OUTPUT
"""
import sys
from pathlib import Path


def main():
    name, source, target = sys.argv[1:]
    data = Path(source).read_bytes()
    lines = [",".join(map(str, data[at:at + 24])) for at in range(0, len(data), 24)]
    Path(target).write_text(
        "/* SPDX-License-Identifier: MIT. Made by tools/embed.py. */\n#include <stddef.h>\n"
        f"extern const unsigned char {name}[];\nextern const size_t {name}_bytes;\n"
        f"const unsigned char {name}[] __attribute__((aligned(16))) = {{\n" + ",\n".join(lines) +
        f"\n}};\nconst size_t {name}_bytes = sizeof({name});\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
