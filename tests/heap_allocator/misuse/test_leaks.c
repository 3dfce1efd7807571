/* SPDX-License-Identifier: MIT
 *
 * test_leaks.c: blocks by call site, since a mark; blocks that nothing points to; times.
 *
 * Owns:    nothing.
 * Needs:   a heap with call sites, the scan and times compiled in; host_port.h, tap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <string.h>

#include <tesela/heap_hardening.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>
#include <tesela/heap_report.h>

#include "misuse_source.h"
#include "tap.h"

#define RED  ((uintptr_t)0xAED0)
#define BLUE ((uintptr_t)0xB10E)

static struct misuse_source pages;
static struct tsl_page_source source;

static uint64_t now;

/* Each look at the clock is 100 units later. */
static uint64_t clock(void)
{
    return now += 100;
}

static size_t trace(uintptr_t *out, size_t most)
{
    static const uintptr_t stack[] = {0x10, RED, 0x30, 0x40, 0x50, 0x60, 0x70};

    CHECK(most >= TSL_COUNT_OF(stack));
    memcpy(out, stack, sizeof stack);
    return TSL_COUNT_OF(stack);
}

static struct tsl_heap *heap_of(enum tsl_heap_tier tier)
{
    struct tsl_heap_hardening how = {.tier = tier, .sites = true, .clock = clock, .trace = trace};
    struct tsl_heap_config config = {0};
    struct tsl_heap *heap = NULL;

    if (pages.start == NULL)
        source = misuse_source_init(&pages);
    config.source = source;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    return heap;
}

static char text[8192];
static size_t text_used;

static void write_text(void *context, const char *part, size_t length)
{
    (void)context;
    if (length >= sizeof text - text_used)
        return;
    memcpy(text + text_used, part, length);
    text_used += length;
    text[text_used] = '\0';
}

static const struct tsl_sink sink = {write_text, NULL};

static void by_call_site(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site rows[4];
    size_t left_out;
    void *early = tsl_heap_alloc_tagged(heap, 1000, 0, RED);
    size_t mark = tsl_heap_mark(heap);

    CHECK_EQ(tsl_heap_since(heap, mark, rows, TSL_COUNT_OF(rows), &left_out), 0);
    void *a = tsl_heap_alloc_tagged(heap, 30, 0, BLUE);
    void *b = tsl_heap_alloc_tagged(heap, 50, TSL_HEAP_ZERO, BLUE);
    void *c = tsl_heap_alloc_tagged(heap, 100, 0, RED);
    REQUIRE(tsl_heap_since(heap, mark, rows, TSL_COUNT_OF(rows), &left_out) == 2);
    CHECK(rows[0].site == RED && rows[0].bytes == 100 && rows[0].blocks == 1);
    CHECK(rows[1].site == BLUE && rows[1].bytes == 80 && rows[1].blocks == 2);
    CHECK_EQ(tsl_heap_since(heap, mark, rows, 1, &left_out), 1);
    CHECK_EQ(left_out, rows[0].site == BLUE ? 1 : 2);
    CHECK_STATUS(tsl_heap_free(heap, b), TSL_OK);
    REQUIRE(tsl_heap_since(heap, 0, rows, TSL_COUNT_OF(rows), NULL) == 2);
    CHECK(rows[0].site == RED && rows[0].bytes == 1100 && rows[0].blocks == 2);
    CHECK(rows[1].site == BLUE && rows[1].bytes == 30 && rows[1].blocks == 1);
    text_used = 0;
    tsl_heap_print_since(heap, 0, &sink);
    CHECK(strstr(text, "0xaed0       1100        2\n") != NULL);
    CHECK_STATUS(tsl_heap_free(heap, a), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, c), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, early), TSL_OK);
    CHECK_EQ(tsl_heap_since(heap, 0, rows, TSL_COUNT_OF(rows), NULL), 0);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Where nobody asked for call sites, a tag does not matter. */
static void tags_without_sites(void)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site row;

    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    void *block = tsl_heap_alloc_tagged(heap, 100, 0, RED);
    CHECK_EQ(tsl_heap_since(heap, 0, &row, 1, NULL), 0);
    CHECK(tsl_heap_alloc_tagged(heap, 100, 0x40000000u, RED) == NULL);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* One call site, however often the compiler writes out the loop around it. */
static TSL_NOINLINE void *take_ten(struct tsl_heap *heap)
{
    void *block = tsl_heap_alloc(heap, 10);

    CHECK(block != NULL);
    return block;
}

/* An ordinary call is counted for where it comes from. */
static void callers_are_told_apart(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG);
    struct tsl_heap_site rows[4];
    void *blocks[3];

    for (int i = 0; i < 2; i++)
        blocks[i] = take_ten(heap);
    blocks[2] = tsl_heap_alloc(heap, 500);
    REQUIRE(tsl_heap_since(heap, 0, rows, TSL_COUNT_OF(rows), NULL) == 2);
    CHECK(rows[0].bytes == 500 && rows[1].bytes == 20 && rows[1].blocks == 2);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* A chain from a root is held, with an inner pointer too; a ring without a root is not. */
static void what_nothing_points_to(void)
{
    static const enum tsl_heap_tier tiers[] = {TSL_HEAP_TIER_BASIC, TSL_HEAP_TIER_DEBUG};

    for (size_t t = 0; t < TSL_COUNT_OF(tiers); t++) {
        struct tsl_heap *heap = heap_of(tiers[t]);
        struct tsl_heap_leak leaks[2];
        char *block[6];
        static void *roots[4];
        struct tsl_heap_root root = {roots, sizeof roots};
        for (size_t i = 0; i < TSL_COUNT_OF(block); i++)
            block[i] = tsl_heap_alloc_tagged(heap, 64, TSL_HEAP_ZERO, RED + i);
        roots[2] = block[0];
        memcpy(block[0] + 16, &(char *){block[1] + 40}, sizeof(char *));
        memcpy(block[1] + 56, &block[2], sizeof(char *));
        memcpy(block[3], &block[4], sizeof(char *)); /* a ring of two */
        memcpy(block[4] + 8, &block[3], sizeof(char *));
        CHECK_STATUS(tsl_heap_free(heap, block[5]), TSL_OK);
        REQUIRE(tsl_heap_leak_scan(heap, &root, 1, leaks, 2) == 2);
        CHECK(leaks[0].site + leaks[1].site == 2 * RED + 7);
        CHECK(leaks[0].block == block[3] || leaks[0].block == block[4]);
        CHECK_EQ(leaks[0].bytes, 64);
        CHECK(leaks[0].block < leaks[1].block);
        /* Again, with marks taken away; then without the root. */
        CHECK_EQ(tsl_heap_leak_scan(heap, &root, 1, leaks, 1), 2);
        CHECK_EQ(tsl_heap_leak_scan(heap, NULL, 0, NULL, 0), 5);
        roots[2] = NULL;
        for (size_t i = 0; i < 5; i++)
            CHECK_STATUS(tsl_heap_free(heap, block[i]), TSL_OK);
        CHECK_EQ(tsl_heap_leak_scan(heap, &root, 1, leaks, 2), 0);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

static unsigned sum(const uint32_t *times)
{
    unsigned count = 0;

    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++)
        count += times[i];
    return count;
}

static void times_and_shares(void)
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
    text_used = 0;
    tsl_heap_print_profile(heap, &sink);
    CHECK(strstr(text, "           128          5          1\n") != NULL);
    CHECK(strstr(text, "internal fragmentation ") != NULL);
    CHECK(strstr(text, "0xb10e        160        4\n") != NULL);
    CHECK(strstr(text, "class") != NULL);
    for (size_t i = 1; i < TSL_COUNT_OF(blocks); i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    struct tsl_heap_hardening no_clock = {.tier = TSL_HEAP_TIER_BASIC, .sites = true};
    CHECK_STATUS(tsl_heap_harden(heap, &no_clock), TSL_OK);
    text_used = 0;
    tsl_heap_print_profile(heap, &sink);
    CHECK(strstr(text, "no times: the heap was given no clock") != NULL);
    CHECK(strstr(text, "clock below") == NULL);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(leaks, TAP_TEST(by_call_site), TAP_TEST(tags_without_sites),
          TAP_TEST(callers_are_told_apart), TAP_TEST(what_nothing_points_to),
          TAP_TEST(times_and_shares));
