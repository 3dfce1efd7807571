/* SPDX-License-Identifier: MIT
 *
 * test_heap_resize.c: what a block was promised when it was resized, it keeps when it is resized
 * again, in both cores and at each tier.
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/checked.h>

#include "test_source.h"

/* Of the first size every second block has the alignment by luck, of the second one each by its
 * class; of the third each second one has not. */
enum { MOST = 2000, ALIGN = 2048, OTHER = 1300 };
static const size_t sizes[] = {1000, 1900};

static struct test_source source;
static struct tsl_heap *heap;
static unsigned char *blocks[MOST];
static size_t count;

static void fill(size_t bytes, size_t most)
{
    for (count = 0; count < most; count++)
        if ((blocks[count] = tsl_heap_alloc(heap, bytes)) == NULL)
            return;
}

/* The first block with that alignment, though nobody asked for it, comes to the front; false: there
 * is none. */
static bool bring_aligned(void)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char *block = blocks[i];
        if (!tsl_is_aligned((uintptr_t)block, ALIGN))
            continue;
        blocks[i] = blocks[0];
        blocks[0] = block;
        return true;
    }
    return false;
}

static void free_all_but(size_t left)
{
    while (count > left)
        CHECK_STATUS(tsl_heap_free(heap, blocks[--count]), TSL_OK);
}

static void end(void)
{
    free_all_but(0);
    CHECK_SOUND(tsl_heap_verify(heap));
    test_heap_end(heap, &source);
}

/* Wherever a resized block is, it has the alignment and its contents. */
static bool resize(unsigned char **block, size_t align, size_t bytes, unsigned char stamp)
{
    unsigned char *moved = align > TSL_HEAP_ALIGN
                               ? tsl_heap_realloc_aligned(heap, align, *block, bytes)
                               : tsl_heap_realloc(heap, *block, bytes);
    if (moved == NULL)
        return false;
    CHECK(tsl_is_aligned((uintptr_t)moved, ALIGN));
    CHECK(moved[0] == stamp && moved[sizes[0] - 2] == stamp);
    *block = moved;
    return true;
}

static void a_stricter_alignment_is_kept(void)
{
    for (size_t size = 0; size < TSL_COUNT_OF(sizes); size++) {
        heap = test_heap(&source, 0);
        fill(sizes[size], 60);
        for (size_t i = 0; i < count; i++) {
            memset(blocks[i], (int)i, sizes[size]);
            CHECK(resize(&blocks[i], ALIGN, sizes[size], (unsigned char)i));
        }
        CHECK_SOUND(tsl_heap_verify(heap));
        for (size_t i = 0; i < count; i++)
            CHECK(resize(&blocks[i], 0, OTHER, (unsigned char)i));
        CHECK_SOUND(tsl_heap_verify(heap));
        end();
    }
}

/* Without memory for another block one that only shrinks stays, if it has the alignment already; it
 * is held to that as soon as there is memory again. */
static void a_block_that_stays_keeps_its_alignment(void)
{
    for (size_t size = 0; size < TSL_COUNT_OF(sizes); size++) {
        heap = test_heap(&source, 60);
        fill(sizes[size], MOST);
        CHECK(count > 10 && count < MOST);
        if (bring_aligned()) {
            memset(blocks[0], 7, sizes[size]);
            CHECK(resize(&blocks[0], ALIGN, sizes[size] - 1, 7));
            CHECK_SOUND(tsl_heap_verify(heap));
            free_all_but(1);
            /* The next of its size is not at the start of a page. */
            for (; count < 4; count++)
                REQUIRE((blocks[count] = tsl_heap_alloc(heap, OTHER)) != NULL);
            CHECK(resize(&blocks[0], 0, OTHER, 7));
            CHECK(resize(&blocks[0], 0, sizes[0], 7));
        }
        end();
    }
}

TAP_SUITE(heap_resize, TAP_TEST(a_stricter_alignment_is_kept),
          TAP_TEST(a_block_that_stays_keeps_its_alignment));
