/* SPDX-License-Identifier: MIT
 *
 * test_heap_example.c: the example of the component's README, compiled as it stands there and run.
 *
 * Owns:    nothing.
 * Needs:   tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/heap_report.h>

#include "tap.h"

/* ---- README.md, Example ---- */
#include <tesela/heap_allocator.h>

static char early[64 * 1024];

static void first_blocks(void)
{
    struct tsl_heap *heap;
    if (tsl_heap_create_fixed(early, sizeof early, &heap) != TSL_OK)
        return;
    unsigned *table = tsl_heap_alloc_array(heap, 100, sizeof *table);
    if (table != NULL && tsl_heap_free(heap, table) == TSL_OK) {
        /* 100 zeroed numbers came and went. */
    }
    if (tsl_heap_destroy(heap) != TSL_OK)
        return; /* some block is still live */
}
/* ---- */

static void example_runs(void)
{
    struct tsl_heap *heap = NULL;

    first_blocks();
    /* The array is as free as before: a heap fits in it again. */
    CHECK_STATUS(tsl_heap_create_fixed(early, sizeof early, &heap), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(heap_example, TAP_TEST(example_runs));
