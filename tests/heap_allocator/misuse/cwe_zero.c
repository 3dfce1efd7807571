/* SPDX-License-Identifier: MIT
 *
 * cwe_zero.c: objects of size 0 that are used: CWE-131 (a size that came out as 0), CWE-1284 (a
 * count that nobody checked), CWE-125 and CWE-787 (reads and writes there), CWE-1341 and CWE-761
 * (bad frees of them).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 *
 * In a good program the size is that of the block.
 */
#include "misuse.h"

#include <tesela/compiler.h>

/* What a program takes that computed its size wrongly. */
static size_t wrong_size(const struct misuse *m)
{
    return opaque_size(m->is_bad ? 0 : m->size);
}

static void write_first_byte_of_zero(struct misuse *m)
{
    void *block = take(m, wrong_size(m));
    poke(block, 0, 1);
    give(m, block);
}

static void read_first_byte_of_zero(struct misuse *m)
{
    void *block = take(m, wrong_size(m));
    (void)peek(block, 0, 1);
    give(m, block);
}

static void fill_zero_as_if_it_were_some(struct misuse *m)
{
    void *block = take(m, wrong_size(m));
    poke(block, 0, m->size);
    give(m, block);
}

static void array_of_no_elements_used(struct misuse *m)
{
    void *block = tsl_heap_alloc_array(m->heap, opaque_size(m->is_bad ? 0 : 2), m->size);
    poke(opaque(block), 8, 1);
    give(m, block);
}

static void zeroed_zero_read(struct misuse *m)
{
    void *block = tsl_heap_alloc_flags(m->heap, wrong_size(m), TSL_HEAP_ZERO);
    (void)peek(opaque(block), 0, 4);
    give(m, block);
}

static void resized_to_zero_and_used(struct misuse *m)
{
    void *block = take(m, m->size);
    block = tsl_heap_realloc(m->heap, block, m->is_bad ? 0 : 2 * m->size);
    poke(opaque(block), 0, 1);
    give(m, block);
}

static void zero_among_many_used(struct misuse *m)
{
    void *blocks[40];
    size_t bytes = wrong_size(m);

    for (unsigned i = 0; i < 40; i++)
        blocks[i] = take(m, bytes);
    poke(blocks[17], 0, 1);
    for (unsigned i = 0; i < 40; i++)
        give(m, blocks[i]);
}

static void zero_used_after_free(struct misuse *m)
{
    void *block = take(m, 0), *other = take(m, 0);
    give(m, block);
    if (m->is_bad)
        (void)peek(block, 0, 1);
    give(m, other);
}

static void zero_freed_twice(struct misuse *m)
{
    void *block = take(m, 0);
    give(m, block);
    if (m->is_bad)
        give(m, block);
}

static void zero_freed_one_behind(struct misuse *m)
{
    char *block = take(m, 0);
    give(m, m->is_bad ? block + 1 : block);
}

static void zero_freed_as_some(struct misuse *m)
{
    void *block = take(m, 0);
    enum tsl_status status = tsl_heap_free_sized(m->heap, block, m->is_bad ? 40 : 0);
    (void)status;
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe131", write_first_byte_of_zero, BOTH, BASIC),
    SHAPE("cwe131", read_first_byte_of_zero, BOTH, BASIC),
    SHAPE("cwe787", fill_zero_as_if_it_were_some, BOTH, BASIC),
    SHAPE("cwe1284", array_of_no_elements_used, BOTH, BASIC),
    SHAPE("cwe1284", zeroed_zero_read, BOTH, BASIC),
    SHAPE("cwe131", resized_to_zero_and_used, BOTH, BASIC),
    SHAPE("cwe787", zero_among_many_used, SLOTS, BASIC),
    SHAPE("cwe125", zero_used_after_free, ONCE, BASIC),
    SHAPE("cwe1341", zero_freed_twice, ONCE, BASIC),
    SHAPE("cwe761", zero_freed_one_behind, ONCE, BASIC),
    SHAPE("cwe131", zero_freed_as_some, ONCE, BASIC),
};

const struct misuse_file misuse_zero = {shapes, TSL_COUNT_OF(shapes)};
