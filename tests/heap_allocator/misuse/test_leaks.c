/* SPDX-License-Identifier: MIT
 *
 * test_leaks.c: blocks by call site, since a mark; blocks that nothing points to.
 *
 * Owns:    nothing.
 * Needs:   a heap with call sites and the scan compiled in, and its insides; host_port.h,
 *          misuse_heap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <string.h>

#include <tesela/heap_array.h>
#include <tesela/heap_cache.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_report.h>

#include "heap_allocator_internal.h"
#include "host_port.h"
#include "misuse_heap.h"

#define RED  ((uintptr_t)0xAED0)
#define BLUE ((uintptr_t)0xB10E)

static size_t trace(uintptr_t *out, size_t most)
{
    static const uintptr_t stack[] = {0x10, RED, 0x30, 0x40, 0x50, 0x60, 0x70};

    CHECK(most >= TSL_COUNT_OF(stack));
    memcpy(out, stack, sizeof stack);
    return TSL_COUNT_OF(stack);
}

static struct tsl_heap *heap_of(enum tsl_heap_tier tier)
{
    struct tsl_heap_hardening how = {.tier = tier, .sites = true, .trace = trace};

    return misuse_heap(&how);
}

static struct misuse_text printed;
static const struct tsl_sink sink = {misuse_text_write, &printed};

static void by_call_site(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site rows[4];
    size_t left_out;
    void *early = tsl_heap_alloc_tagged(heap, 1000, 0, RED);
    uint64_t mark = tsl_heap_mark(heap);

    CHECK_EQ(tsl_heap_since(heap, mark, TSL_HEAP_BY_BYTES, rows, TSL_COUNT_OF(rows), &left_out), 0);
    void *a = tsl_heap_alloc_tagged(heap, 30, 0, BLUE);
    void *b = tsl_heap_alloc_tagged(heap, 50, TSL_HEAP_ZERO, BLUE);
    void *c = tsl_heap_alloc_tagged(heap, 100, 0, RED);
    REQUIRE(tsl_heap_since(heap, mark, TSL_HEAP_BY_BYTES, rows, TSL_COUNT_OF(rows), &left_out) ==
            2);
    CHECK(rows[0].site == RED && rows[0].bytes == 100 && rows[0].blocks == 1);
    CHECK(rows[1].site == BLUE && rows[1].bytes == 80 && rows[1].blocks == 2);
    CHECK_EQ(tsl_heap_since(heap, mark, TSL_HEAP_BY_BYTES, rows, 1, &left_out), 1);
    CHECK(rows[0].site == RED);
    CHECK_EQ(left_out, 2);
    CHECK_STATUS(tsl_heap_free(heap, b), TSL_OK);
    REQUIRE(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, rows, TSL_COUNT_OF(rows), NULL) == 2);
    CHECK(rows[0].site == RED && rows[0].bytes == 1100 && rows[0].blocks == 2);
    CHECK(rows[1].site == BLUE && rows[1].bytes == 30 && rows[1].blocks == 1);
    printed.used = 0;
    tsl_heap_print_since(heap, 0, TSL_HEAP_BY_BYTES, &sink);
    CHECK(strstr(printed.text, "0xaed0       1100        2\n") != NULL);
    CHECK_STATUS(tsl_heap_free(heap, a), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, c), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, early), TSL_OK);
    CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, rows, TSL_COUNT_OF(rows), NULL), 0);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Wrappers of every call can say who is to blame; a resize takes the block over. */
static void resized_and_aligned_blocks_have_tags(void)
{
    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier);
        struct tsl_heap_site row = {0};
        void *block = tsl_heap_alloc_aligned_tagged(heap, 256, 100, RED);

        CHECK(tsl_is_aligned((uintptr_t)block, 256));
        CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, &row, 1, NULL), 1);
        CHECK(row.site == RED && row.bytes == 100);
        uint64_t mark = tsl_heap_mark(heap);
        block = tsl_heap_realloc_tagged(heap, 1, block, 3000, BLUE);
        CHECK(tsl_is_aligned((uintptr_t)block, 256));
        CHECK_EQ(tsl_heap_since(heap, mark, TSL_HEAP_BY_BYTES, &row, 1, NULL), 1);
        CHECK(row.site == BLUE && row.bytes == 3000 && row.blocks == 1);
        CHECK(tsl_heap_alloc_aligned_tagged(heap, 48, 100, RED) == NULL);
        CHECK(tsl_heap_realloc_tagged(heap, 48, block, 100, RED) == NULL);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

/* Where nobody asked for call sites, a tag does not matter. */
static void tags_without_sites(void)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site row;

    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    void *block = tsl_heap_alloc_tagged(heap, 100, 0, RED);
    CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, &row, 1, NULL), 0);
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
    REQUIRE(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, rows, TSL_COUNT_OF(rows), NULL) == 2);
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

/* The first of many sites, whichever the tree of addresses comes to first. */
static void the_first_of_many_sites(void)
{
    enum { SITES = 40, FIRST = 5 };
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site rows[FIRST];
    static void *blocks[SITES][SITES];
    size_t left_out = 0;

    /* Site k has k blocks; the more there are the smaller they are, so that site SITES / 2 has most
     * bytes. */
    for (size_t k = 1; k < SITES; k++)
        for (size_t i = 0; i < k; i++)
            blocks[k][i] = tsl_heap_alloc_tagged(heap, 10 * (SITES - k), 0, RED + k * 37 % SITES);
    CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BLOCKS, rows, FIRST, &left_out), FIRST);
    for (size_t i = 0; i < FIRST; i++) {
        size_t k = SITES - 1 - i;
        CHECK(rows[i].site == RED + k * 37 % SITES && rows[i].blocks == k);
        CHECK_EQ(rows[i].bytes, k * 10 * (SITES - k));
    }
    CHECK_EQ(left_out, (SITES - 1 - FIRST) * (SITES - FIRST) / 2);
    CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, rows, FIRST, &left_out), FIRST);
    /* 20 has most, then 21 (more blocks) and 19, which are as large together. */
    for (size_t i = 0; i < FIRST; i++) {
        size_t k = i % 2 == 0 ? SITES / 2 - i / 2 : SITES / 2 + (i + 1) / 2;
        CHECK(rows[i].site == RED + k * 37 % SITES && rows[i].blocks == k);
        CHECK_EQ(rows[i].bytes, k * 10 * (SITES - k));
    }
    CHECK_EQ(left_out, SITES * (SITES - 1) / 2 - FIRST * (SITES / 2));
    CHECK_EQ(tsl_heap_since(heap, 0, TSL_HEAP_BY_BYTES, rows, 0, &left_out), 0);
    CHECK_EQ(left_out, SITES * (SITES - 1) / 2);
    for (size_t k = 1; k < SITES; k++)
        for (size_t i = 0; i < k; i++)
            CHECK_STATUS(tsl_heap_free(heap, blocks[k][i]), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* A kernel of 32 bits takes 2^32 blocks in some hours. */
static void marks_outlast_32_bits(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    struct tsl_heap_site row = {0};

    heap->guard->serial = UINT32_MAX - 1;
    void *before = tsl_heap_alloc_tagged(heap, 10, 0, RED);
    uint64_t mark = tsl_heap_mark(heap);
    void *after = tsl_heap_alloc_tagged(heap, 20, 0, BLUE);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_EQ(tsl_heap_since(heap, mark, TSL_HEAP_BY_BYTES, &row, 1, NULL), 1);
    CHECK(row.site == BLUE && row.blocks == 1);
    CHECK_STATUS(tsl_heap_free(heap, before), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, after), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* A heap in an array of the kernel's, and one with such an array added: all of it lies in a root,
 * and its bookkeeping names every block. */
static void roots_that_hold_the_heap(void)
{
    static TSL_ALIGNED(16) char early[512 * 1024], more[128 * 1024];
    static void *kept;
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC, .sites = true};
    struct tsl_heap_root roots[] = {
        {early, sizeof early}, {more, sizeof more}, {&kept, sizeof kept}};
    struct tsl_heap_leak leaks[3];
    struct tsl_heap *heap;

    CHECK_STATUS(tsl_heap_create_fixed(early, sizeof early, &heap), TSL_OK);
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    for (int has_array = 0; has_array <= TSL_HEAP_ARRAYS; has_array++) {
        if (TSL_HEAP_ARRAYS && has_array)
            CHECK_STATUS(tsl_heap_add_array(heap, more, sizeof more), TSL_OK);
        void **lost = tsl_heap_alloc_tagged(heap, 64, TSL_HEAP_ZERO, RED);
        void *lost_too = *lost = tsl_heap_alloc_tagged(heap, 6000, TSL_HEAP_ZERO, RED);
        kept = tsl_heap_alloc_tagged(heap, 64, TSL_HEAP_ZERO, BLUE);
        CHECK_EQ(tsl_heap_leak_scan(heap, roots, TSL_COUNT_OF(roots), leaks, 3), 2);
        CHECK((leaks[0].block == lost && leaks[1].block == lost_too) ||
              (leaks[1].block == lost && leaks[0].block == lost_too));
        CHECK_STATUS(tsl_heap_free(heap, lost_too), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, lost), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, kept), TSL_OK);
        kept = NULL;
    }
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* Roots named twice, overlapping, not aligned, too short for a word, of no bytes; blocks found by
 * their first and last byte, but not by the one behind it. */
static void odd_roots(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_BASIC);
    static struct {
        char byte;
        void *pointer[3];
    } data;
    struct tsl_heap_root whole = {&data.byte + 1, sizeof data - 1};
    struct tsl_heap_root twice[] = {whole, whole, {&data.pointer[1], sizeof(void *) + 3}};
    struct tsl_heap_root short_ones[] = {{data.pointer, 0},
                                         {data.pointer, sizeof(void *) - 1},
                                         {(char *)data.pointer + 1, sizeof(void *)},
                                         {NULL, 0}};
    char *block = tsl_heap_alloc_tagged(heap, 5000, TSL_HEAP_ZERO, RED);

    data.pointer[1] = block;
    CHECK_EQ(tsl_heap_leak_scan(heap, twice, 3, NULL, 0), 0);
    data.pointer[1] = block + 4999;
    CHECK_EQ(tsl_heap_leak_scan(heap, &whole, 1, NULL, 0), 0);
    data.pointer[1] = block + 5000;
    CHECK_EQ(tsl_heap_leak_scan(heap, twice, 3, NULL, 0), 1);
    data.pointer[0] = block;
    CHECK_EQ(tsl_heap_leak_scan(heap, short_ones, TSL_COUNT_OF(short_ones), NULL, 0), 1);
    memset(&data, 0, sizeof data);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static struct tsl_heap_cache *cache_in(struct tsl_heap *heap, size_t bytes)
{
    struct tsl_heap_cache_config config = {.object_bytes = bytes};
    struct tsl_heap_cache *cache = NULL;

    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_OK);
    return cache;
}

/* Objects of typed caches hold blocks, are held, and are lost, as blocks are. */
static void objects_of_caches(void)
{
    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier);
        static void *roots[2];
        struct tsl_heap_root root = {roots, sizeof roots};
        struct tsl_heap_leak leaks[3];
        struct tsl_heap_site rows[3];
        roots[0] = cache_in(heap, 100);
        struct tsl_heap_cache *cache = roots[0];
        uint64_t mark = tsl_heap_mark(heap);
        char *object = tsl_heap_cache_alloc(cache, 0), *lost = tsl_heap_cache_alloc(cache, 0);
        char *block = tsl_heap_alloc_tagged(heap, 64, TSL_HEAP_ZERO, RED);

        memset(object, 0, 100);
        memset(lost, 0, 100);
        memcpy(object + 40, &block, sizeof block);
        roots[1] = object + 99;
        CHECK_EQ(tsl_heap_leak_scan(heap, &root, 1, leaks, 3), 1);
        CHECK(leaks[0].block == lost && leaks[0].bytes == 100);
        /* Both objects were taken in one function, perhaps from one place. */
        size_t sites = tsl_heap_since(heap, mark, TSL_HEAP_BY_BLOCKS, rows, 3, NULL), bytes = 0;
        for (size_t i = 0; i < sites; i++)
            bytes += rows[i].bytes;
        CHECK_EQ(bytes, 264);
        CHECK_STATUS(tsl_heap_cache_free(cache, lost), TSL_OK);
        CHECK_EQ(tsl_heap_leak_scan(heap, &root, 1, leaks, 3), 0);
        CHECK_SOUND(tsl_heap_verify(heap));
        CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
        CHECK_EQ(tsl_heap_leak_scan(heap, &root, 1, leaks, 3), 1);
        CHECK(leaks[0].block == block);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_OK);
        roots[0] = roots[1] = NULL;
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

/* The report says who took what keeps a cache from ending. */
static void caches_in_use_say_who_took(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG);
    struct tsl_heap_cache *cache = cache_in(heap, 100);
    void *object = tsl_heap_cache_alloc(cache, 0);
    char line[100];

    host_port_log_clear();
    CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_BUSY);
    (void)tsl_format(line, sizeof line, "1 objects of 100 bytes are live; %p, taken at 0x", object);
    CHECK(host_port_log_has(line));
    CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(leaks, TAP_TEST(by_call_site), TAP_TEST(resized_and_aligned_blocks_have_tags),
          TAP_TEST(tags_without_sites), TAP_TEST(callers_are_told_apart),
          TAP_TEST(the_first_of_many_sites), TAP_TEST(marks_outlast_32_bits),
          TAP_TEST(what_nothing_points_to), TAP_TEST(roots_that_hold_the_heap), TAP_TEST(odd_roots),
          TAP_TEST(objects_of_caches), TAP_TEST(caches_in_use_say_who_took));
