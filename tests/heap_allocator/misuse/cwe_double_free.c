/* SPDX-License-Identifier: MIT
 *
 * cwe_double_free.c: CWE-415 (double free) and CWE-825 (a pointer that has expired).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void free_twice(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    if (m->is_bad)
        give(m, block);
}

static void free_twice_among_others(struct misuse *m)
{
    void *before = take(m, m->size), *block = take(m, m->size), *behind = take(m, m->size);

    give(m, block);
    if (m->is_bad)
        give(m, block);
    give(m, before);
    give(m, behind);
}

/* What used to fool lists of free blocks: the same block is not at the head any more. */
static void free_a_b_a(struct misuse *m)
{
    void *a = take(m, m->size), *b = take(m, m->size);

    give(m, a);
    give(m, b);
    if (m->is_bad)
        give(m, a);
}

static void free_twice_cleared(struct misuse *m)
{
    unsigned char *block = tsl_heap_alloc_array(m->heap, m->size, 1);

    give(m, block);
    if (m->is_bad)
        give(m, block);
}

static void free_twice_aligned(struct misuse *m)
{
    void *block = opaque(tsl_heap_alloc_aligned(m->heap, 256, m->size));

    give(m, block);
    if (m->is_bad)
        give(m, block);
}

static void free_here_then_elsewhere(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    on_cpu(1);
    if (m->is_bad)
        give(m, block);
    on_cpu(0);
}

static void free_elsewhere_then_here(struct misuse *m)
{
    void *block = take(m, m->size);

    on_cpu(1);
    give(m, block);
    on_cpu(0);
    if (m->is_bad)
        give(m, block);
}

static void free_elsewhere_twice(struct misuse *m)
{
    void *block = take(m, m->size), *keep = take(m, m->size);

    on_cpu(1);
    give(m, block);
    if (m->is_bad)
        give(m, block);
    on_cpu(0);
    give(m, keep);
}

/* The slab and its pages went back long ago. */
static void free_twice_after_trim(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    work(m, m->size);
    (void)tsl_heap_trim(m->heap);
    if (m->is_bad)
        give(m, block);
}

static void free_twice_with_no_wait(struct misuse *m)
{
    void *block = take(m, m->size);
    enum tsl_status status = tsl_heap_free_flags(m->heap, block, TSL_HEAP_NO_WAIT);

    if (m->is_bad)
        status = tsl_heap_free_flags(m->heap, opaque(block), TSL_HEAP_NO_WAIT);
    (void)status;
}

/* Two owners believe that it is theirs to end; in between it became somebody else's. */
static void free_of_reused(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    void *next = take(m, m->size);
    if (m->is_bad)
        give(m, block);
    give(m, next);
}

static void free_old_after_resize(struct misuse *m)
{
    void *old = take(m, m->size), *wall = take(m, m->size);
    void *fresh = tsl_heap_realloc(m->heap, old, 4 * m->size + 40000);

    if (m->is_bad)
        give(m, old);
    give(m, fresh);
    give(m, wall);
}

static void resize_freed(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    void *fresh = tsl_heap_realloc(m->heap, m->is_bad ? opaque(block) : NULL, m->size);
    give(m, fresh);
}

static void size_of_freed(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    if (m->is_bad)
        (void)tsl_heap_usable(m->heap, opaque(block));
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe415", free_twice, BOTH, BASIC),
    SHAPE("cwe415", free_twice_among_others, BOTH, BASIC),
    SHAPE("cwe415", free_a_b_a, BOTH, BASIC),
    SHAPE("cwe415", free_twice_cleared, BOTH, BASIC),
    SHAPE("cwe415", free_twice_aligned, BOTH, BASIC),
    SHAPE("cwe415", free_here_then_elsewhere, BOTH, BASIC),
    SHAPE("cwe415", free_elsewhere_then_here, BOTH, BASIC),
    SHAPE("cwe415", free_elsewhere_twice, BOTH, BASIC),
    SHAPE("cwe415", free_twice_after_trim, BOTH, BASIC),
    SHAPE("cwe415", free_twice_with_no_wait, BOTH, BASIC),
    SHAPE("cwe415", free_of_reused, BOTH, BASIC),
    SHAPE("cwe825", free_old_after_resize, BOTH, BASIC),
    SHAPE("cwe825", resize_freed, BOTH, BASIC),
    SHAPE("cwe825", size_of_freed, BOTH, BASIC),
};

const struct misuse_file misuse_double_free = {shapes, TSL_COUNT_OF(shapes)};
