/* SPDX-License-Identifier: MIT
 *
 * test_granules_fill.c: what a heap of granules promises about an array of 4 MiB: how much of it
 * blocks can have, and how much it keeps for itself. Too large for a kernel's test image.
 *
 * Owns:    the array.
 * Needs:   rng.h, tap.h.
 * Callers: host.
 */
#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/types.h>

#include "rng.h"
#include "tap.h"

#define BYTES (4u << 20)

static TSL_ALIGNED(TSL_PAGE_BYTES) char array[BYTES];

/* A block's first words: the next one of the chain. Sizes from 16 bytes to 8 KiB, each doubling as
 * often. Result: the bytes asked for until the first failure. */
static size_t fill(struct tsl_heap *heap, struct rng *chance, void **chain)
{
    size_t asked = 0;

    for (;;) {
        size_t low = (size_t)16 << rng_below(chance, 9);
        size_t bytes = low + rng_below(chance, (uint32_t)low);
        void **block = tsl_heap_alloc(heap, bytes);
        if (block == NULL)
            return asked;
        *block = *chain;
        *chain = block;
        asked += bytes;
    }
}

static void an_array_can_be_filled(void)
{
    struct rng chance = rng_start(1);
    struct tsl_heap_stats stats;
    struct tsl_heap *heap = NULL;
    void *chain = NULL;

    REQUIRE(tsl_heap_create_fixed(array, BYTES, &heap) == TSL_OK);
    size_t asked = fill(heap, &chance, &chain);
    tsl_heap_stats(heap, &stats);
    CHECK(asked >= BYTES / 100 * 95);
    CHECK(stats.bookkeeping_bytes <= BYTES / 100);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* Half of the blocks go, every other one, and all that came is handed out again. */
    void **kept = NULL;
    size_t freed = 0;
    for (bool is_kept = false; chain != NULL; is_kept = !is_kept) {
        void **block = chain;
        chain = *block;
        if (is_kept) {
            *block = (void *)kept;
            kept = block;
        } else {
            freed += tsl_heap_usable(heap, block);
            CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        }
    }
    chain = (void *)kept;
    asked = fill(heap, &chance, &chain);
    CHECK(asked >= freed / 100 * 50);
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    /* All of it in one block. */
    void *all =
        tsl_heap_alloc(heap, (BYTES - stats.bookkeeping_bytes) & ~(size_t)(TSL_PAGE_BYTES - 1));
    CHECK(all != NULL);
    CHECK_STATUS(tsl_heap_free(heap, all), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(granules_fill, TAP_TEST(an_array_can_be_filled));
