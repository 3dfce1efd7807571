/* SPDX-License-Identifier: MIT
 *
 * test_heap_large_array.c: a fixed array whose page map has several leaves: too large for a
 * kernel's test image.
 *
 * Owns:    the array.
 * Needs:   tap.h.
 * Callers: host.
 */
#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/types.h>

#include "tap.h"
#include "test_soften.h"

#define BYTES (17u << 20)

static char array[BYTES];

static void pages_all_over_the_array(void)
{
    struct tsl_heap *heap = NULL;
    struct tsl_heap_stats stats;
    void *chain = NULL;
    size_t count = 0;

    REQUIRE(tsl_heap_create_fixed(array, BYTES, &heap) == TSL_OK);
    test_heap_soften(heap);
    for (void **block; (block = tsl_heap_alloc_aligned(heap, 8192, 8000)) != NULL; count++) {
        *block = chain;
        chain = block;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK(count >= BYTES / 8192 * 9 / 10);
    tsl_heap_stats(heap, &stats);
    CHECK(stats.bookkeeping_bytes <= BYTES / 50);
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
    }
    /* All of it in one block: nothing but a page of records is left over. */
    (void)tsl_heap_trim(heap);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.taken_bytes, TSL_HEAP_CORE_GRANULES ? stats.ceiling_bytes : 0);
    void *all = tsl_heap_alloc(heap, stats.ceiling_bytes - TSL_PAGE_BYTES);
    CHECK(all != NULL);
    CHECK_STATUS(tsl_heap_free(heap, all), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(heap_large_array, TAP_TEST(pages_all_over_the_array));
