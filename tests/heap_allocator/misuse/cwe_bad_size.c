/* SPDX-License-Identifier: MIT
 *
 * cwe_bad_size.c: sizes that make no sense: CWE-131 (computed wrongly), CWE-190 (wrapped around),
 * CWE-789 (excessive), CWE-628 (arguments that mean nothing).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>

static void array_that_wraps(struct misuse *m)
{
    size_t count = m->is_bad ? SIZE_MAX / m->size + 2 : 3;
    give(m, tsl_heap_alloc_array(m->heap, opaque_size(count), m->size));
}

static void array_of_wrapped_count(struct misuse *m)
{
    size_t count = m->is_bad ? (size_t)0 - 1 : 1;
    give(m, tsl_heap_alloc_array(m->heap, opaque_size(count), m->size));
}

static void negative_size(struct misuse *m)
{
    size_t header = m->is_bad ? m->size + 16 : 16;
    give(m, take(m, opaque_size(m->size - header)));
}

static void negative_size_minus_one(struct misuse *m)
{
    give(m, take(m, opaque_size(m->is_bad ? SIZE_MAX : m->size)));
}

static void excessive_size(struct misuse *m)
{
    give(m, take(m, opaque_size(m->is_bad ? SIZE_MAX / 2 + m->size : m->size)));
}

static void excessive_resize(struct misuse *m)
{
    void *block = take(m, m->size);
    void *fresh =
        tsl_heap_realloc(m->heap, block, opaque_size(m->is_bad ? SIZE_MAX - m->size : 2 * m->size));

    give(m, fresh != NULL ? fresh : block);
}

static void excessive_aligned(struct misuse *m)
{
    size_t bytes = m->is_bad ? SIZE_MAX - 15 : m->size;
    give(m, tsl_heap_alloc_aligned(m->heap, 64, opaque_size(bytes)));
}

static void alignment_zero(struct misuse *m)
{
    give(m, tsl_heap_alloc_aligned(m->heap, opaque_size(m->is_bad ? 0 : 16), m->size));
}

static void alignment_not_a_power(struct misuse *m)
{
    give(m, tsl_heap_alloc_aligned(m->heap, opaque_size(m->is_bad ? 48 : 64), m->size));
}

static void unknown_flags(struct misuse *m)
{
    give(m, tsl_heap_alloc_flags(m->heap, m->size, m->is_bad ? 0x40000000u : TSL_HEAP_ZERO));
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe131", array_that_wraps, BOTH, BASIC),
    SHAPE("cwe190", array_of_wrapped_count, BOTH, BASIC),
    SHAPE("cwe190", negative_size, BOTH, BASIC),
    SHAPE("cwe190", negative_size_minus_one, BOTH, BASIC),
    SHAPE("cwe789", excessive_size, BOTH, BASIC),
    SHAPE("cwe789", excessive_resize, BOTH, BASIC),
    SHAPE("cwe789", excessive_aligned, BOTH, BASIC),
    SHAPE("cwe628", alignment_zero, ONCE, BASIC),
    SHAPE("cwe628", alignment_not_a_power, ONCE, BASIC),
    SHAPE("cwe628", unknown_flags, ONCE, BASIC),
};

const struct misuse_file misuse_bad_size = {shapes, TSL_COUNT_OF(shapes)};
