/* SPDX-License-Identifier: MIT
 *
 * test_soften.h: the basic tier for tests of the core, in every profile.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator, tap.h.
 * Callers: tests of heap_allocator, right after they made a heap.
 */
#ifndef HEAP_TEST_SOFTEN_H
#define HEAP_TEST_SOFTEN_H

#include <tesela/config.h>
#include <tesela/heap_hardening.h>

#include "tap.h"

/* True in a test that is built once more, to run at the tier of the build (misuse/at_tier.c). */
extern bool test_heap_is_hardened;
__attribute__((weak)) bool test_heap_is_hardened;

/* These tests are about the core: what the tiers above basic add is tested in misuse/. */
static inline void test_heap_soften(struct tsl_heap *heap)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};

    if (TSL_HEAP_GUARD && !test_heap_is_hardened)
        CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
}

#endif
