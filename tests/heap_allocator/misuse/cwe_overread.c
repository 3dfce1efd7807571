/* SPDX-License-Identifier: MIT
 *
 * cwe_overread.c: reads outside of a live block: CWE-126 (behind it), CWE-127 (before it).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 *
 * Nothing is damaged, so that only a page without access can tell.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void read_behind(struct misuse *m, size_t size, ptrdiff_t distance)
{
    void *block = take(m, size), *behind = take(m, size);

    poke(block, 0, size);
    (void)peek(block, m->is_bad ? (ptrdiff_t)size + distance : 0, 1);
    give(m, block);
    give(m, behind);
}

static void read_one_behind(struct misuse *m)
{
    read_behind(m, m->size, 0);
}

static void read_16_behind(struct misuse *m)
{
    read_behind(m, m->size, 16);
}

static void read_one_behind_odd(struct misuse *m)
{
    read_behind(m, m->size - 3, 0);
}

static void copy_with_wrong_length(struct misuse *m)
{
    void *block = take(m, m->size);

    (void)peek(block, 0, m->is_bad ? m->size + 32 : m->size);
    give(m, block);
}

static void read_page_before(struct misuse *m)
{
    void *first = take(m, m->size), *block = take(m, m->size);

    if (m->is_bad)
        (void)peek((const char *)opaque(block) - (uintptr_t)block % 4096, -1, 1);
    give(m, first);
    give(m, block);
}

static void read_one_before(struct misuse *m)
{
    void *first = take(m, m->size), *block = take(m, m->size);

    (void)peek(block, m->is_bad ? -1 : 0, 1);
    give(m, first);
    give(m, block);
}

static const struct misuse_shape shapes[] = {
    SHAPE_MAYBE("cwe126", read_one_behind, BOTH, DEBUG, BASIC),
    SHAPE_MAYBE("cwe126", read_16_behind, BOTH, DEBUG, BASIC),
    SHAPE_MAYBE("cwe126", read_one_behind_odd, BOTH, NEVER, BASIC),
    SHAPE_MAYBE("cwe126", copy_with_wrong_length, BOTH, DEBUG, BASIC),
    SHAPE_MAYBE("cwe127", read_page_before, SLOTS, DEBUG, BASIC),
    SHAPE_MAYBE("cwe127", read_one_before, SLOTS, NEVER, BASIC),
};

const struct misuse_file misuse_overread = {shapes, TSL_COUNT_OF(shapes)};
