/* SPDX-License-Identifier: MIT
 *
 * cwe_overflow.c: writes outside of a live block: CWE-122 (behind it), CWE-124 (before it), CWE-193
 * (off by one), CWE-680 (a size that wrapped around), CWE-805 (the wrong length), CWE-843 (the
 * wrong type).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void write_behind(struct misuse *m, size_t size, ptrdiff_t distance, size_t bytes)
{
    void *block = take(m, size), *behind = take(m, size);

    poke(block, (ptrdiff_t)size + (m->is_bad ? distance : -(ptrdiff_t)bytes), bytes);
    give(m, block);
    give(m, behind);
    work(m, size);
}

static void write_one_behind(struct misuse *m)
{
    write_behind(m, m->size, 0, 1);
}

static void write_word_behind(struct misuse *m)
{
    write_behind(m, m->size, 0, sizeof(void *));
}

static void write_32_behind(struct misuse *m)
{
    write_behind(m, m->size, 0, 32);
}

/* The size is no multiple of anything: the byte behind it is still the block's, by rounding. */
static void write_one_behind_odd(struct misuse *m)
{
    write_behind(m, m->size - 3, 0, 1);
}

static void write_second_behind_odd(struct misuse *m)
{
    write_behind(m, m->size - 7, 1, 1);
}

static void loop_to_and_with_the_end(struct misuse *m)
{
    unsigned char *block = take(m, m->size), *behind = take(m, m->size);

    for (size_t i = 0; i < m->size + m->is_bad; i++)
        poke(block, (ptrdiff_t)i, 1);
    give(m, block);
    give(m, behind);
}

/* Room for the text, but not for its end. */
static void no_room_for_the_zero(struct misuse *m)
{
    size_t length = m->size;
    void *text = take(m, length + !m->is_bad);

    poke(text, 0, length);
    poke(text, (ptrdiff_t)length, 1);
    give(m, text);
    work(m, length);
}

static void clear_with_wrong_length(struct misuse *m)
{
    void *block = take(m, m->size), *behind = take(m, m->size);

    poke(block, 0, m->is_bad ? m->size + 16 : m->size);
    give(m, block);
    give(m, behind);
}

/* 2^k elements of 2^l bytes wrap around to a small block, which is then filled from the start. */
static void fill_after_wrapped_size(struct misuse *m)
{
    size_t count = opaque_size((SIZE_MAX / m->size) + 2), wrapped = count * m->size;
    void *block = take(m, m->is_bad ? wrapped : 2 * m->size);

    poke(block, 0, 2 * m->size);
    give(m, block);
}

static void write_as_larger_type(struct misuse *m)
{
    void *small = take(m, m->is_bad ? m->size : m->size + 24), *next = take(m, m->size);

    poke(small, (ptrdiff_t)m->size + 8, 8);
    give(m, small);
    give(m, next);
    work(m, m->size);
}

static void write_old_length_after_shrink(struct misuse *m)
{
    void *block = tsl_heap_realloc(m->heap, take(m, m->size), m->size - 24);

    poke(block, (ptrdiff_t)m->size - 28, m->is_bad ? 12 : 4);
    give(m, block);
}

static void write_behind_from_elsewhere(struct misuse *m)
{
    void *block = take(m, m->size), *behind = take(m, m->size);

    on_cpu(1);
    poke(block, (ptrdiff_t)m->size - !m->is_bad, 1);
    give(m, block);
    on_cpu(0);
    give(m, behind);
}

static void write_behind_aligned(struct misuse *m)
{
    void *block = opaque(tsl_heap_alloc_aligned(m->heap, 64, m->size));

    poke(block, (ptrdiff_t)m->size - !m->is_bad, 1);
    give(m, block);
}

/* Far enough behind to jump over whatever guards the end of the block. */
static void write_far_behind(struct misuse *m)
{
    void *block = take(m, m->size), *behind = take(m, 2 * m->size);

    if (m->is_bad)
        poke(block, (ptrdiff_t)(m->size + m->size / 2 + 64), 1);
    give(m, block);
    give(m, behind);
}

static void write_before(struct misuse *m, ptrdiff_t distance, size_t bytes)
{
    void *blocks[4];

    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = take(m, m->size);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        poke(blocks[i], m->is_bad ? -distance : 0, bytes);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        give(m, blocks[i]);
    work(m, m->size);
}

static void write_one_before(struct misuse *m)
{
    write_before(m, 1, 1);
}

static void write_word_before(struct misuse *m)
{
    write_before(m, (ptrdiff_t)sizeof(void *), sizeof(void *));
}

static void write_16_before(struct misuse *m)
{
    write_before(m, 16, 16);
}

static const struct misuse_shape shapes[] = {
    SHAPE_MAYBE("cwe122", write_one_behind, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_word_behind, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_32_behind, BOTH, MODERATE, BASIC),
    SHAPE("cwe122", write_one_behind_odd, BOTH, MODERATE),
    SHAPE("cwe122", write_second_behind_odd, BOTH, MODERATE),
    SHAPE_MAYBE("cwe193", loop_to_and_with_the_end, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe193", no_room_for_the_zero, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe805", clear_with_wrong_length, BOTH, MODERATE, BASIC),
    /* So far behind that what lies there decides whether the free comes to report it. */
    {"cwe680", "fill_after_wrapped_size", fill_after_wrapped_size, BOTH, DEBUG, FULL, BASIC},
    SHAPE_MAYBE("cwe843", write_as_larger_type, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_old_length_after_shrink, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_behind_from_elsewhere, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_behind_aligned, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe122", write_far_behind, SLOTS, DEBUG, BASIC),
    SHAPE_MAYBE("cwe124", write_one_before, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe124", write_word_before, BOTH, MODERATE, BASIC),
    SHAPE_MAYBE("cwe124", write_16_before, BOTH, MODERATE, BASIC),
};

const struct misuse_file misuse_overflow = {shapes, TSL_COUNT_OF(shapes)};
