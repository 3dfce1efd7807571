/* SPDX-License-Identifier: MIT
 *
 * cwe_use_after_free.c: CWE-416: writes and reads of blocks that have ended.
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 *
 * `work` afterwards is what a kernel does anyway: it takes more blocks of that size, and a tier
 * that looks at free blocks finds the damage then.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void write_after_free(struct misuse *m, ptrdiff_t offset, size_t bytes)
{
    void *block = take(m, m->size), *keep = take(m, m->size);

    if (!m->is_bad)
        poke(block, offset, bytes);
    give(m, block);
    if (m->is_bad)
        poke(block, offset, bytes);
    work(m, m->size);
    give(m, keep);
}

static void write_first_byte_after_free(struct misuse *m)
{
    write_after_free(m, 0, 1);
}

/* Where allocators with lists inside free blocks keep their link. */
static void write_first_word_after_free(struct misuse *m)
{
    write_after_free(m, 0, sizeof(void *));
}

static void write_middle_after_free(struct misuse *m)
{
    write_after_free(m, (ptrdiff_t)(m->size / 2), 4);
}

static void write_last_byte_after_free(struct misuse *m)
{
    write_after_free(m, (ptrdiff_t)m->size - 1, 1);
}

static void write_all_after_free(struct misuse *m)
{
    write_after_free(m, 0, m->size);
}

static void write_after_free_elsewhere(struct misuse *m)
{
    void *block = take(m, m->size), *keep = take(m, m->size);

    on_cpu(1);
    give(m, block);
    on_cpu(0);
    if (m->is_bad)
        poke(block, 8, 8);
    work(m, m->size);
    give(m, keep);
}

static void write_through_old_after_resize(struct misuse *m)
{
    void *old = take(m, m->size), *wall = take(m, m->size);
    void *fresh = tsl_heap_realloc(m->heap, old, 4 * m->size + 40000);

    poke(m->is_bad ? opaque(old) : fresh, 0, 8);
    work(m, m->size);
    give(m, fresh);
    give(m, wall);
}

static void read_after_free(struct misuse *m)
{
    void *block = take(m, m->size);

    if (!m->is_bad)
        (void)peek(block, 0, 8);
    give(m, block);
    if (m->is_bad)
        (void)peek(block, 0, 8);
}

static void read_last_byte_after_free(struct misuse *m)
{
    void *block = take(m, m->size), *keep = take(m, m->size);

    if (!m->is_bad)
        (void)peek(block, (ptrdiff_t)m->size - 1, 1);
    give(m, block);
    if (m->is_bad)
        (void)peek(block, (ptrdiff_t)m->size - 1, 1);
    give(m, keep);
}

static void read_through_old_after_resize(struct misuse *m)
{
    void *old = take(m, m->size), *wall = take(m, m->size);
    void *fresh = tsl_heap_realloc(m->heap, old, 4 * m->size + 40000);

    (void)peek(m->is_bad ? opaque(old) : fresh, 0, 8);
    give(m, fresh);
    give(m, wall);
}

/* The freed block is handed out to somebody else first; without delay that is the same memory. */
static void write_into_reused(struct misuse *m)
{
    void *block = take(m, m->size), *keep = take(m, m->size);

    give(m, block);
    void *next = take(m, m->size);
    poke(m->is_bad ? opaque(block) : next, 0, 8);
    give(m, next);
    work(m, m->size);
    give(m, keep);
}

static const struct misuse_shape shapes[] = {
    SHAPE_BY_SIZE("cwe416", write_first_byte_after_free, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_first_word_after_free, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_middle_after_free, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_last_byte_after_free, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_all_after_free, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_after_free_elsewhere, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", write_through_old_after_resize, MODERATE, BASIC),
    SHAPE_BY_SIZE("cwe416", read_after_free, DEBUG, BASIC),
    SHAPE_BY_SIZE("cwe416", read_last_byte_after_free, DEBUG, BASIC),
    SHAPE_BY_SIZE("cwe416", read_through_old_after_resize, DEBUG, BASIC),
    SHAPE_MAYBE("cwe416", write_into_reused, BOTH, FULL, MODERATE),
};

const struct misuse_file misuse_use_after_free = {shapes, TSL_COUNT_OF(shapes)};
