/* SPDX-License-Identifier: MIT
 *
 * cwe_leak.c: CWE-401: blocks that nobody can end any more. Whoever ends the heap hears of them.
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c, which ends the heap after the program.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void forget(struct misuse *m)
{
    void *block = take(m, m->size);

    if (!m->is_bad)
        give(m, block);
}

static void forget_one_of_many(struct misuse *m)
{
    void *blocks[8];

    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = take(m, m->size);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        if (!m->is_bad || i != 5)
            give(m, blocks[i]);
}

/* The only pointer is overwritten. */
static void overwrite_pointer(struct misuse *m)
{
    void *block = take(m, m->size), *first = block;

    block = take(m, m->size + 8);
    if (!m->is_bad)
        give(m, first);
    give(m, block);
}

/* A failure on the way out: the early return passes over the free. */
static void forget_on_failure(struct misuse *m)
{
    void *block = take(m, m->size);
    bool has_failed = opaque_size(m->is_bad) != 0;

    if (has_failed)
        return;
    give(m, block);
}

/* The outer block is freed, what it points at is not. */
static void free_outer_only(struct misuse *m)
{
    void **outer = take(m, m->size);

    outer[0] = take(m, m->size);
    if (!m->is_bad)
        give(m, outer[0]);
    give(m, outer);
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe401", forget, BOTH, BASIC),
    SHAPE("cwe401", forget_one_of_many, BOTH, BASIC),
    SHAPE("cwe401", overwrite_pointer, BOTH, BASIC),
    SHAPE("cwe401", forget_on_failure, BOTH, BASIC),
    SHAPE("cwe401", free_outer_only, BOTH, BASIC),
};

const struct misuse_file misuse_leak = {shapes, TSL_COUNT_OF(shapes)};
