/* SPDX-License-Identifier: MIT
 *
 * cost.c: what a tier costs: pairs of an allocation and a free, for something that counts
 * instructions. tools/tiers.py runs it twice, with few and with many rounds (TSL_ROUNDS), and
 * prints the difference.
 *
 * Owns:    nothing.
 * Needs:   misuse.h, misuse_source.h, tap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include "misuse_source.h"
#include "tap.h"

#define PAIRS 100u

static struct misuse_source pages;

static void pairs_of(size_t bytes)
{
    struct tsl_heap_config config = {.source = misuse_source_init(&pages)};
    struct tsl_heap *heap = NULL;
    bool good = tsl_heap_create(&config, &heap) == TSL_OK;

    for (unsigned i = 0; good && i < tap_rounds(PAIRS); i++)
        good = tsl_heap_free(heap, tsl_heap_alloc(heap, bytes)) == TSL_OK;
    CHECK(good);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static void pair64(void)
{
    pairs_of(64);
}

static void pair1k(void)
{
    pairs_of(1024);
}

TAP_SUITE(cost, TAP_TEST(pair64), TAP_TEST(pair1k));
