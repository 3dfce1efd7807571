/* SPDX-License-Identifier: MIT
 *
 * test_profiled.c: a heap that only measures times does what one without does.
 *
 * Owns:    nothing.
 * Needs:   a heap with times compiled in, and nothing else of the layer above the core; tap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <tesela/heap_hardening.h>
#include <tesela/heap_profile.h>
#include <tesela/heap_report.h>

#include "misuse_heap.h"

static uint64_t now;

static uint64_t clock(void)
{
    return now += 100;
}

static struct tsl_heap *heap_with_clock(void)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC, .clock = clock};

    return misuse_heap(&how);
}

static void sizes_are_checked(void)
{
    struct tsl_heap *heap = heap_with_clock();
    struct tsl_heap_profile profile;
    void *block = tsl_heap_alloc(heap, 100), *large = tsl_heap_alloc(heap, 100000);

    CHECK_STATUS(tsl_heap_free_sized(heap, opaque(block), 1000), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_heap_free_sized(heap, opaque(large), 10000), TSL_WRONG_SIZE);
    CHECK(tsl_heap_usable(heap, block) >= 100 && tsl_heap_usable(heap, block) < 1000);
    CHECK_STATUS(tsl_heap_free_sized(heap, block, 100), TSL_OK);
    CHECK_STATUS(tsl_heap_free_sized(heap, opaque(block), 100), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free_sized(heap, large, 100000), TSL_OK);
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(profile.allocs[6], 2);
    CHECK_EQ(profile.frees[6], 5);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(profiled, TAP_TEST(sizes_are_checked));
