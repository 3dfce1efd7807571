/* SPDX-License-Identifier: MIT
 *
 * cwe_bad_pointer.c: CWE-590 (free of what is not from the heap), CWE-761 (free of a pointer into
 * a block), CWE-762 (freed by another routine than it came from), CWE-672 (use after the end).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>
#include <tesela/types.h>

static char some_static[64] TSL_ALIGNED(16);

/* ---- CWE-590 ---- */

static void free_instead(struct misuse *m, const void *wrong)
{
    void *block = take(m, m->size);

    give(m, m->is_bad ? opaque(wrong) : NULL);
    give(m, block);
}

static void free_of_stack(struct misuse *m)
{
    char local[64] TSL_ALIGNED(16);

    poke(local, 0, sizeof local);
    free_instead(m, local);
}

static void free_of_static(struct misuse *m)
{
    free_instead(m, some_static);
}

static void free_of_text(struct misuse *m)
{
    free_instead(m, "a literal");
}

static void free_of_function(struct misuse *m)
{
    free_instead(m, (const void *)(uintptr_t)free_of_text);
}

static void free_of_heap_itself(struct misuse *m)
{
    free_instead(m, m->heap);
}

static void free_of_small_number(struct misuse *m)
{
    free_instead(m, (const void *)(uintptr_t)opaque_size(0x1000));
}

static void free_of_error_number(struct misuse *m)
{
    free_instead(m, (const void *)(uintptr_t)opaque_size((size_t)-12));
}

static void free_of_noise(struct misuse *m)
{
    free_instead(m, (const void *)(uintptr_t)opaque_size(0x5DEADBE0u));
}

/* An address of the heap's window where there never was anything. */
static void free_of_unused_page(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, m->is_bad ? (char *)opaque(block) + 1024 * TSL_PAGE_BYTES : NULL);
    give(m, block);
}

static void resize_of_static(struct misuse *m)
{
    void *block =
        tsl_heap_realloc(m->heap, m->is_bad ? opaque(some_static) : take(m, m->size), 2 * m->size);

    give(m, block);
}

static void size_of_stack(struct misuse *m)
{
    char local[64] TSL_ALIGNED(16);

    poke(local, 0, sizeof local);
    if (m->is_bad)
        (void)tsl_heap_usable(m->heap, opaque(local));
}

/* ---- CWE-761 ---- */

static void free_inside(struct misuse *m, size_t offset)
{
    char *block = take(m, m->size), *next = take(m, m->size);

    if (m->is_bad)
        give(m, block + offset);
    give(m, block);
    give(m, next);
}

static void free_one_inside(struct misuse *m)
{
    free_inside(m, 1);
}

static void free_word_inside(struct misuse *m)
{
    free_inside(m, 8);
}

static void free_16_inside(struct misuse *m)
{
    free_inside(m, 16);
}

static void free_middle(struct misuse *m)
{
    free_inside(m, m->size / 2 & ~(size_t)15);
}

static void free_last_byte(struct misuse *m)
{
    free_inside(m, m->size - 1);
}

/* The pointer went through the block, as in a loop over a text. */
static void free_after_walk(struct misuse *m)
{
    char *block = take(m, m->size), *at = block;

    for (size_t i = 0; i < m->size / 3; i++)
        at++;
    give(m, m->is_bad ? at : block);
    if (m->is_bad)
        give(m, block);
}

static void free_before(struct misuse *m)
{
    char *first = take(m, m->size), *block = take(m, m->size);

    if (m->is_bad)
        give(m, block - 8);
    give(m, first);
    give(m, block);
}

static void resize_inside(struct misuse *m)
{
    char *block = take(m, m->size);

    block = tsl_heap_realloc(m->heap, m->is_bad ? (char *)opaque(block) + 16 : block, m->size + 1);
    if (block != NULL)
        give(m, block);
}

static void size_inside(struct misuse *m)
{
    char *block = take(m, m->size);

    (void)tsl_heap_usable(m->heap, m->is_bad ? (char *)opaque(block) + 16 : block);
    give(m, block);
}

/* ---- CWE-762, CWE-672 ---- */

static void free_to_other_heap(struct misuse *m)
{
    void *block = take(m, m->size);

    if (m->is_bad) {
        enum tsl_status status = tsl_heap_free(m->other, opaque(block));
        (void)status;
    }
    give(m, block);
}

static void resize_in_other_heap(struct misuse *m)
{
    void *block = take(m, m->size);

    if (m->is_bad)
        block = opaque(tsl_heap_realloc(m->other, block, m->size * 2)) == NULL ? block : NULL;
    give(m, block);
}

static void free_to_other_heap_elsewhere(struct misuse *m)
{
    void *block = take(m, m->size);

    on_cpu(1);
    if (m->is_bad) {
        enum tsl_status status = tsl_heap_free(m->other, opaque(block));
        (void)status;
    }
    give(m, block);
    on_cpu(0);
}

static void free_with_wrong_size(struct misuse *m)
{
    void *block = take(m, m->size);

    enum tsl_status status = tsl_heap_free_sized(m->heap, block, m->is_bad ? 3 * m->size : m->size);
    if (m->is_bad)
        give(m, block);
    (void)status;
}

/* One byte less: the same class, the same pages. */
static void free_with_size_one_short(struct misuse *m)
{
    void *block = take(m, m->size);

    enum tsl_status status = tsl_heap_free_sized(m->heap, block, m->size - m->is_bad);
    (void)status;
}

static void end_heap_in_use(struct misuse *m)
{
    void *block = tsl_heap_alloc(m->other, m->size);
    enum tsl_status status;

    if (!m->is_bad)
        status = tsl_heap_free(m->other, block);
    status = tsl_heap_destroy(m->other);
    (void)status;
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe590", free_of_stack, ONCE, BASIC),
    SHAPE("cwe590", free_of_static, ONCE, BASIC),
    SHAPE("cwe590", free_of_text, ONCE, BASIC),
    SHAPE("cwe590", free_of_function, ONCE, BASIC),
    SHAPE("cwe590", free_of_heap_itself, ONCE, BASIC),
    SHAPE("cwe590", free_of_small_number, ONCE, BASIC),
    SHAPE("cwe590", free_of_error_number, ONCE, BASIC),
    SHAPE("cwe590", free_of_noise, ONCE, BASIC),
    SHAPE("cwe590", free_of_unused_page, ONCE, BASIC),
    SHAPE("cwe590", resize_of_static, ONCE, BASIC),
    SHAPE("cwe590", size_of_stack, ONCE, BASIC),
    SHAPE("cwe761", free_one_inside, BOTH, BASIC),
    SHAPE("cwe761", free_word_inside, BOTH, BASIC),
    SHAPE("cwe761", free_16_inside, BOTH, BASIC),
    SHAPE("cwe761", free_middle, BOTH, BASIC),
    SHAPE("cwe761", free_last_byte, BOTH, BASIC),
    SHAPE("cwe761", free_after_walk, BOTH, BASIC),
    SHAPE("cwe761", free_before, BOTH, BASIC),
    SHAPE("cwe761", resize_inside, BOTH, BASIC),
    SHAPE("cwe761", size_inside, BOTH, BASIC),
    SHAPE("cwe762", free_to_other_heap, BOTH, BASIC),
    SHAPE("cwe762", resize_in_other_heap, BOTH, BASIC),
    SHAPE("cwe762", free_to_other_heap_elsewhere, BOTH, BASIC),
    SHAPE("cwe762", free_with_wrong_size, BOTH, BASIC),
    SHAPE("cwe762", free_with_size_one_short, BOTH, MODERATE),
    SHAPE("cwe672", end_heap_in_use, BOTH, BASIC),
};

const struct misuse_file misuse_bad_pointer = {shapes, TSL_COUNT_OF(shapes)};
