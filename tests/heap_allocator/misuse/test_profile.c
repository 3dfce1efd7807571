/* SPDX-License-Identifier: MIT
 *
 * test_profile.c: the histogram of times, the shares of memory, the table of classes and caches.
 *
 * Owns:    nothing.
 * Needs:   a heap with times compiled in, and its insides; tap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <string.h>

#include <tesela/heap_cache.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>
#include <tesela/heap_report.h>

#include "heap_allocator_internal.h"
#include "misuse_heap.h"

#define BLUE ((uintptr_t)0xB10E)

static uint64_t now, step;

static uint64_t clock(void)
{
    return now += step;
}

static uint64_t other_clock(void)
{
    return now;
}

/* Each look at the clock is 100 units later. */
static struct tsl_heap *heap_of(enum tsl_heap_tier tier)
{
    struct tsl_heap_hardening how = {.tier = tier, .sites = true, .clock = clock};

    step = 100;
    return misuse_heap(&how);
}

static struct misuse_text printed;
static const struct tsl_sink sink = {misuse_text_write, &printed};

static void print(struct tsl_heap *heap)
{
    printed.used = 0;
    tsl_heap_print_profile(heap, &sink);
}

static uint64_t sum(const uint64_t *times)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++)
        count += times[i];
    return count;
}

static void times_are_counted(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_profile profile;
    void *blocks[5];

    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = tsl_heap_alloc_tagged(heap, 40, 0, BLUE);
    CHECK_STATUS(tsl_heap_free(heap, blocks[0]), TSL_OK);
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(profile.allocs[6], 5); /* 100 units: 64 to 127 */
    CHECK_EQ(sum(profile.allocs), 5);
    CHECK_EQ(profile.frees[6], 1);
    CHECK_EQ(sum(profile.frees), 1);
    print(heap);
    CHECK(strstr(printed.text, "           128          5          1\n") != NULL);
    CHECK(strstr(printed.text, "internal fragmentation ") != NULL);
    CHECK(strstr(printed.text, "0xb10e        160        4\n") != NULL);
    CHECK(strstr(printed.text, "class") != NULL);
    for (size_t i = 1; i < TSL_COUNT_OF(blocks); i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    /* Another clock has other units: nothing is left of the first one's. */
    struct tsl_heap_hardening how = {
        .tier = TSL_HEAP_TIER_BASIC, .sites = true, .clock = other_clock};
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(sum(profile.allocs) + sum(profile.frees), 0);
    how.clock = NULL;
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    print(heap);
    CHECK(strstr(printed.text, "no times: the heap was given no clock") != NULL);
    CHECK(strstr(printed.text, "clock below") == NULL);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Each call counts once, whether it moves a block, leaves it, or fails; at each tier. */
static void each_call_counts_once(void)
{
    struct tsl_heap_cache_config config = {.object_bytes = 100};
    struct tsl_heap_profile profile;

    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier);
        struct tsl_heap_cache *cache = NULL;
        void *block = tsl_heap_alloc(heap, 100);
        block = tsl_heap_realloc(heap, block, 101);
        block = tsl_heap_realloc(heap, block, 5000);
        CHECK(tsl_heap_realloc(heap, block, SIZE_MAX / 2) == NULL);
        block = tsl_heap_realloc_aligned(heap, 64, block, 10);
        CHECK(tsl_heap_alloc(heap, SIZE_MAX / 2) == NULL);
        tsl_heap_profile(heap, &profile);
        CHECK_EQ(sum(profile.allocs), 6);
        CHECK_EQ(sum(profile.frees), 0);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, 10), TSL_OK);
        CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_OK);
        void *object = tsl_heap_cache_alloc(cache, 0);
        CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
        CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_OK);
        tsl_heap_profile(heap, &profile);
        CHECK_EQ(sum(profile.allocs), 8); /* a cache is a block too */
        CHECK_EQ(sum(profile.frees), 3);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

/* Counts go on where 32 bits end, and where the upper half changes. */
static void counts_have_64_bits(void)
{
    static const struct {
        uint32_t low, changes;
        uint64_t next;
    } cases[] = {{0, 0, 1},
                 {INT32_MAX, 0, (uint64_t)1 << 31},
                 {UINT32_MAX, 1, (uint64_t)1 << 32},
                 {UINT32_MAX, 0xFFFF, (uint64_t)0x8000 << 32},
                 {7, 6, ((uint64_t)3 << 32) + 8}};
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_profile profile;

    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        heap->guard->allocs->low[6] = cases[i].low;
        heap->guard->allocs->changes[6] = cases[i].changes;
        tsl_heap_profile(heap, &profile);
        CHECK_EQ(profile.allocs[6], cases[i].next - 1);
        void *block = tsl_heap_alloc(heap, 10);
        tsl_heap_profile(heap, &profile);
        CHECK_EQ(profile.allocs[6], cases[i].next);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    }
    /* Both changes of one round. */
    heap->guard->allocs->low[6] = INT32_MAX;
    heap->guard->allocs->changes[6] = 0;
    void *first = tsl_heap_alloc(heap, 10);
    heap->guard->allocs->low[6] = UINT32_MAX;
    void *second = tsl_heap_alloc(heap, 10);
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(profile.allocs[6], (uint64_t)1 << 32);
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
    /* Another CPU is between its two steps. */
    heap->guard->allocs->low[6] = 5;
    heap->guard->allocs->changes[6] = 1;
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(profile.allocs[6], ((uint64_t)1 << 32) + 5);
    print(heap);
    CHECK(strstr(printed.text, "           128 4294967301 ") != NULL);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* What took longer than the last bucket says, and what ended on a CPU whose clock is behind. */
static void times_out_of_range(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_profile profile;

    step = (uint64_t)1 << 40;
    void *block = tsl_heap_alloc(heap, 10);
    step = (uint64_t)-3;
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    tsl_heap_profile(heap, &profile);
    CHECK_EQ(profile.allocs[TSL_HEAP_TIMES - 1], 1);
    CHECK_EQ(profile.frees[0], 1);
    print(heap);
    CHECK(strstr(printed.text, "           any          1          0\n") != NULL);
    CHECK(strstr(printed.text, "16777216") == NULL);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* What the tiers put around blocks is nothing that anybody asked for. */
static void internal_fragmentation(void)
{
    void *blocks[64];

    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier);
        struct tsl_heap_shares shares;
        for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
            blocks[i] = tsl_heap_alloc(heap, 100);
        size_t with_tail = tier == TSL_HEAP_TIER_BASIC ? 100 : 100 + HEAP_TAIL_BYTES;
        size_t room = tier == TSL_HEAP_TIER_DEBUG
                          ? TSL_PAGE_BYTES
                          : heap->classes[tsl_heap_class_for(heap, with_tail, 1)].block_bytes;
        tsl_heap_shares(heap, &shares);
        CHECK_EQ(shares.unasked, (room - 100) * 100 / room);
        for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
            CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

/* A CPU that allocates while figures are added up may make more of what was asked for than of what
 * was given: nothing is missing then. */
static void figures_that_disagree(void)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_shares shares;

    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    void *block = tsl_heap_alloc(heap, 64);
    unsigned pool = tsl_heap_class_for(heap, 64, TSL_HEAP_ALIGN);
    heap->centre.pools[pool].requested_bytes += 64;
    tsl_heap_shares(heap, &shares);
    CHECK_EQ(shares.unasked, 0);
    heap->centre.pools[pool].requested_bytes -= 64;
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Where the heap lies in an array its head is in none of its pages. */
static void external_fragmentation_in_an_array(void)
{
    static TSL_ALIGNED(16) char array[512 * 1024];
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    struct tsl_heap_shares shares;
    struct tsl_heap *heap;

    CHECK_STATUS(tsl_heap_create_fixed(array, sizeof array, &heap), TSL_OK);
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    /* A slab of which a small part is in use. */
    void *block = tsl_heap_alloc(heap, 16);
    tsl_heap_shares(heap, &shares);
    CHECK_EQ(shares.unused, 99);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Caches stand in the table, and in the totals also when they have ended. */
static void caches_are_in_the_table(void)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_cache_config config = {.object_bytes = 100};
    struct tsl_heap_stats before, stats;
    struct tsl_heap_cache *cache = NULL;

    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    tsl_heap_stats(heap, &before);
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_OK);
    void *object = tsl_heap_cache_alloc(cache, 0), *second = tsl_heap_cache_alloc(cache, 0);
    CHECK_STATUS(tsl_heap_cache_free(cache, second), TSL_OK);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.allocs - before.allocs, 3);
    CHECK_EQ(stats.allocs - stats.frees, stats.live_blocks);
    CHECK_EQ(stats.requested_bytes - before.requested_bytes, 200 + sizeof *cache);
    print(heap);
    CHECK(strstr(printed.text, "    of 112        1        112        1        0") != NULL);
    CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_OK);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.allocs - before.allocs, 3);
    CHECK_EQ(stats.frees - before.frees, 3);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(profile, TAP_TEST(times_are_counted), TAP_TEST(each_call_counts_once),
          TAP_TEST(counts_have_64_bits), TAP_TEST(times_out_of_range),
          TAP_TEST(internal_fragmentation), TAP_TEST(figures_that_disagree),
          TAP_TEST(external_fragmentation_in_an_array), TAP_TEST(caches_are_in_the_table));
