/* SPDX-License-Identifier: MIT
 *
 * test_hardening.c: the words of reports, the policy, the choice of a tier when the kernel runs.
 *
 * Owns:    nothing.
 * Needs:   a heap with the debug tier compiled in; misuse.h, host_port.h, misuse_heap.h.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <string.h>

#include <tesela/checked.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_report.h>

#include "host_port.h"
#include "heap_allocator_internal.h"
#include "misuse_heap.h"
#include "../test_source.h"

#define TAKER ((uintptr_t)0x1A1A0)

static struct tsl_heap *heap_of(enum tsl_heap_tier tier, bool panics)
{
    struct tsl_heap_hardening how = {.tier = tier, .panics = panics, .seed = 0x5EED};
    struct tsl_heap *heap = misuse_heap(&how);

    host_port_log_clear();
    return heap;
}

static void end(struct tsl_heap *heap)
{
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static size_t refusals(const struct tsl_heap *heap, enum tsl_status status)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(heap, &stats);
    return stats.refusals.by_status[status];
}

/* A line of the log has this text. */
TSL_PRINTF(1, 2) static void check_line(const char *format, ...)
{
    char text[TSL_LOG_LINE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)tsl_format_list(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!host_port_log_has(text))
        tap_note("no line has: %s; the first: %s", text, host_port_log_first());
    CHECK(host_port_log_has(text));
}

static enum tsl_status free_hidden(struct tsl_heap *heap, void *block)
{
    return tsl_heap_free(heap, opaque(block));
}

/* What, where, size, who took it, who freed it. */
static void debug_double_free(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    void *block = tsl_heap_alloc_tagged(heap, 100, 0, TAKER);

    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(free_hidden(heap, block), TSL_DOUBLE_FREE);
    CHECK_EQ(refusals(heap, TSL_DOUBLE_FREE), 1);
    check_line("free of %p: free already; 100 bytes, taken at %#zx, freed at 0x", (void *)block,
               (size_t)TAKER);
    end(heap);
}

static void debug_wrong_pointers(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    char *block = tsl_heap_alloc_tagged(heap, 100, 0, TAKER);

    CHECK_STATUS(free_hidden(heap, block + 16), TSL_INVALID);
    check_line("free of %p: inside a block, not at its start; 100 bytes, taken at %#zx",
               (void *)(block + 16), (size_t)TAKER);
    CHECK_STATUS(free_hidden(heap, block + 1), TSL_MISALIGNED);
    /* The pages around the block are the core's block, but no user's. */
    uintptr_t start = (uintptr_t)block / TSL_PAGE_BYTES * TSL_PAGE_BYTES - TSL_PAGE_BYTES;
    CHECK_STATUS(free_hidden(heap, (void *)start), TSL_INVALID);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    end(heap);
}

static void debug_damage(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    unsigned char *block = opaque(tsl_heap_alloc_tagged(heap, 100, 0, TAKER)), saved[2];

    saved[0] = block[-1];
    saved[1] = (unsigned char)peek(block, 105, 1);
    poke(block, -1, 1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_CORRUPT);
    check_line("free of %p: written 1 bytes before it; 100 bytes, taken at %#zx", (void *)block,
               (size_t)TAKER);
    *(volatile unsigned char *)(block - 1) = saved[0];
    poke(block, 105, 1);
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_CORRUPT);
    check_line("free of %p: written 6 bytes behind it; 100 bytes, taken at %#zx", (void *)block,
               (size_t)TAKER);
    *(volatile unsigned char *)(block + 105) = saved[1];
    /* It was refused and is live: now it is sound again. */
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_OK);
    CHECK_EQ(refusals(heap, TSL_CORRUPT), 2);
    end(heap);
}

static void debug_faults(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    char *block = tsl_heap_alloc_tagged(heap, 128, 0, TAKER);

    CHECK(tsl_heap_explain(heap, (uintptr_t)block + 128));
    check_line("1 bytes behind %p; 128 bytes, taken at %#zx", (void *)block, (size_t)TAKER);
    uintptr_t before = (uintptr_t)block / TSL_PAGE_BYTES * TSL_PAGE_BYTES - 1;
    CHECK(tsl_heap_explain(heap, before));
    check_line("%zu bytes before %p; 128 bytes", (size_t)((uintptr_t)block - before),
               (void *)block);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK(tsl_heap_explain(heap, (uintptr_t)block + 5));
    check_line("access to %p after it was freed; 128 bytes, taken at %#zx, freed at",
               (void *)(block + 5), (size_t)TAKER);
    CHECK_EQ(refusals(heap, TSL_DENIED), 3);
    CHECK(!tsl_heap_explain(heap, (uintptr_t)&heap));
    end(heap);
}

/* Without pages of its own a block has a canary. */
static void moderate_damage(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_MODERATE, false);
    unsigned char *block = opaque(tsl_heap_alloc_tagged(heap, 50, 0, TAKER));

    unsigned char saved = (unsigned char)peek(block, 50, 1);
    poke(block, 50, 1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_CORRUPT);
    check_line("free of %p: written behind its end, block size 64; 50 bytes, taken at %#zx",
               (void *)block, (size_t)TAKER);
    *(volatile unsigned char *)(block + 50) = saved;
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_OK);
    end(heap);
}

/* A free block that was written is never handed out again, and the heap goes on without it. */
static void moderate_write_after_free(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_MODERATE, false);
    struct misuse m = {.heap = heap};
    char *block = tsl_heap_alloc(heap, 300), *keep = tsl_heap_alloc(heap, 300);

    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    poke(block, 33, 1);
    work(&m, 300);
    check_line("free block %p of ", (void *)block); /* the class's size: the profile's choice */
    CHECK(host_port_log_has("bytes was written at byte 33"));
    CHECK_EQ(refusals(heap, TSL_CORRUPT), 1);
    bool is_back = false;
    for (int i = 0; i < 100; i++)
        is_back = is_back || tsl_heap_alloc(heap, 300) == opaque(block);
    CHECK(!is_back);
    CHECK_STATUS(tsl_heap_free(heap, keep), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_BUSY); /* 100 blocks and the evidence */
}

static void flip(unsigned char *block, size_t at)
{
    *(volatile unsigned char *)(block + at) ^= (unsigned char)(1u << at % 8);
}

/* One bit, wherever it is: a whole block is looked at, whatever the step. */
static void moderate_any_bit(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_MODERATE, false);
    unsigned char *block = opaque(tsl_heap_alloc(heap, 1025));
    struct heap_spot spot;

    CHECK_STATUS(tsl_heap_locate(heap, block, &spot), TSL_OK);
    REQUIRE(spot.granted >= 1200); /* more than eight words of pattern and some bytes */
    for (size_t i = 1025; i < spot.granted; i++) {
        flip(block, i);
        CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_CORRUPT);
        flip(block, i);
    }
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_OK);
    end(heap);
}

/* A tail that is wrong is told as the byte behind the last one. False: there is no such byte. */
static bool is_told_after_free(size_t at)
{
    struct tsl_heap *heap =
        heap_of(TSL_HEAP_TIER_MODERATE, false); /* one that has told nothing yet */
    unsigned char *block = opaque(tsl_heap_alloc(heap, 1025));
    struct heap_spot spot;

    CHECK_STATUS(tsl_heap_locate(heap, block, &spot), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_OK);
    CHECK(tsl_heap_canary_is_clean(heap, block, spot.granted));
    if (at < spot.granted) {
        size_t tail = spot.granted - HEAP_TAIL_BYTES;
        flip(block, at);
        CHECK(!tsl_heap_canary_is_clean(heap, block, spot.granted));
        check_line("bytes was written at byte %zu", at < tail ? at : tail);
        flip(block, at);
    }
    end(heap);
    return at < spot.granted;
}

static void moderate_any_bit_after_free(void)
{
    size_t at = 0;

    while (is_told_after_free(at))
        at++;
    CHECK(at >= 1200);
}

static void freed_blocks_are_cleared(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_MODERATE, false);
    char *block = tsl_heap_alloc(heap, 96), *keep = tsl_heap_alloc(heap, 96);

    memset(block, 's', 96);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_EQ(peek(block, 0, 96), 0);
    CHECK_STATUS(tsl_heap_free(heap, keep), TSL_OK);
    end(heap);
}

/* A freed block waits for 64 others; ended early, it comes back. */
static void full_quarantine(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_FULL, false);
    void *block = tsl_heap_alloc(heap, 100);
    bool is_back = false;

    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    for (int i = 0; i < TSL_HEAP_QUARANTINE - 1; i++) {
        void *other = tsl_heap_alloc(heap, 100);
        is_back = is_back || other == opaque(block);
        CHECK_STATUS(tsl_heap_free(heap, other), TSL_OK);
    }
    CHECK(!is_back);
    CHECK_EQ(tsl_heap_end_quarantine(heap), TSL_HEAP_QUARANTINE);
    CHECK_EQ(tsl_heap_end_quarantine(heap), 0);
    end(heap);
}

/* The page behind a large block takes no access, freed ones take none at all. */
static void full_large(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_FULL, false);
    char *block = tsl_heap_alloc(heap, 40000);

    poke(block, 0, 40000);
    CHECK_EQ(tsl_heap_usable(heap, block), 40000);
    CHECK(tsl_heap_explain(heap, (uintptr_t)block + 40960));
    check_line("access to %p, behind the 40960 bytes at %p", (void *)(block + 40960),
               (void *)block);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK(tsl_heap_explain(heap, (uintptr_t)block + 9));
    check_line("access to %p after the 40960 bytes at %p were freed", (void *)(block + 9),
               (void *)block);
    CHECK_STATUS(free_hidden(heap, block), TSL_DOUBLE_FREE);
    end(heap);
}

/* What runs out of a slab meets a page without access, and the slabs are sound with it. */
static void full_slab(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_FULL, false);
    char *block = tsl_heap_alloc(heap, 1000);
    uintptr_t start = heap_map_at(heap, (uintptr_t)block)->start;
    struct heap_run *run = heap_map_at(heap, start);
    struct heap_class *class = &heap->classes[run->class_index];
    uintptr_t behind = start + ((uintptr_t) class->slab_pages << TSL_PAGE_SHIFT);

    CHECK_EQ(run->pages, class->slab_pages + 1);
    CHECK(tsl_heap_explain(heap, behind + 8));
    check_line("access to %p, behind the blocks of 1024 bytes from %p on", (void *)(behind + 8),
               (void *)start);
    CHECK(!tsl_heap_explain(heap, (uintptr_t)block));
    CHECK_SOUND(tsl_heap_verify(heap));
    class->slab_pages--;
    CHECK_BROKEN(tsl_heap_verify(heap), 4);
    class->slab_pages++;
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    end(heap);
}

/* Who may not call the page source may free large blocks all the same. */
static void frees_without_waiting(void)
{
    static const enum tsl_heap_tier tiers[] = {TSL_HEAP_TIER_FULL, TSL_HEAP_TIER_DEBUG};

    for (size_t i = 0; i < TSL_COUNT_OF(tiers); i++) {
        struct tsl_heap *heap = heap_of(tiers[i], false);
        void *large = tsl_heap_alloc(heap, 50000), *small = tsl_heap_alloc(heap, 50);
        void *now = tsl_heap_alloc_flags(heap, 50, TSL_HEAP_NO_WAIT | TSL_HEAP_ZERO);
        CHECK_STATUS(tsl_heap_free_flags(heap, large, TSL_HEAP_NO_WAIT), TSL_OK);
        CHECK_STATUS(tsl_heap_free_flags(heap, small, TSL_HEAP_NO_WAIT), TSL_OK);
        CHECK_STATUS(tsl_heap_free_flags(heap, opaque(small), TSL_HEAP_NO_WAIT), TSL_DOUBLE_FREE);
        if (now != NULL)
            CHECK_STATUS(tsl_heap_free_flags(heap, now, TSL_HEAP_NO_WAIT), TSL_OK);
        end(heap);
    }
}

/* The size that a free names is what was asked for, or nothing happens. */
static void sized_frees(void)
{
    for (int tier = TSL_HEAP_TIER_MODERATE; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier, false);
        void *block = tsl_heap_alloc_tagged(heap, 100, 0, TAKER);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, 99), TSL_WRONG_SIZE);
        check_line("free of %p as 99 bytes, it has 100; 100 bytes, taken at %#zx", block,
                   (size_t)TAKER);
        CHECK_EQ(tsl_heap_usable(heap, opaque(block)), 100);
        CHECK_STATUS(tsl_heap_free_sized(heap, opaque(block), 100), TSL_OK);
        CHECK_STATUS(tsl_heap_free_sized(heap, opaque(block), 100), TSL_DOUBLE_FREE);
        CHECK_STATUS(tsl_heap_free_sized(heap, NULL, 100), TSL_OK);
        end(heap);
    }
}

/* Blocks that move and stay keep their contents, length and alignment, in each tier. */
static void resizes(void)
{
    static const size_t sizes[] = {24, 100, 104, 2000, 64, 30000, 5, 4096, 0, 70000, 128};

    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        struct tsl_heap *heap = heap_of((enum tsl_heap_tier)tier, false);
        unsigned char *block = NULL;
        size_t kept = 0;
        for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
            block = tsl_heap_realloc(heap, block, sizes[i]);
            REQUIRE(block != NULL);
            for (size_t k = 0; k < (kept < sizes[i] ? kept : sizes[i]); k++)
                if (block[k] != (unsigned char)k)
                    CHECK_EQ(block[k], (unsigned char)k);
            for (size_t k = 0; k < sizes[i]; k++)
                block[k] = (unsigned char)k;
            kept = sizes[i];
            CHECK(tsl_heap_usable(heap, block) >= sizes[i]);
            if (tsl_is_power_of_two(sizes[i]) && sizes[i] <= TSL_PAGE_BYTES)
                CHECK(tsl_is_aligned((uintptr_t)block, sizes[i]));
        }
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        end(heap);
    }
}

/* A heap with few pages, which know when they are written while they are closed. */
static struct tsl_heap *small_heap(struct test_source *source, enum tsl_heap_tier tier)
{
    struct tsl_heap_config config = {.source = test_source_init(source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap_hardening how = {.tier = tier, .seed = 0x5EED};
    struct tsl_heap *heap = NULL;

    config.source.protect = test_source_protect;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    return heap;
}

static void drain(struct tsl_heap *heap, void *chain)
{
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
    }
}

static void stays(enum tsl_heap_tier tier, size_t bytes)
{
    static struct test_source source;
    struct tsl_heap *heap = small_heap(&source, tier);
    unsigned char *block = tsl_heap_alloc(heap, 400000);

    memset(block, 0x5C, 400000);
    void *chain = test_heap_fill(heap);
    size_t out = source.out;
    block = tsl_heap_realloc(heap, block, bytes);
    REQUIRE(block != NULL);
    CHECK(block[0] == 0x5C && block[bytes - 1] == 0x5C);
    CHECK_EQ(tsl_heap_usable(heap, block), bytes);
    CHECK(source.out + 80 < out);
    CHECK_SOUND(tsl_heap_verify(heap));
    flip(block, bytes);
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_CORRUPT);
    flip(block, bytes);
    CHECK_STATUS(tsl_heap_free_sized(heap, opaque(block), bytes), TSL_OK);
    drain(heap, chain);
    end(heap);
    CHECK_EQ(source.errors, 0);
}

/* Without memory for a smaller one a large block stays, as sound as any, and the pages that it does
 * not need go back. */
static void large_blocks_stay_without_memory(void)
{
    static const size_t sizes[] = {100, 20046, 65000};

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        stays(TSL_HEAP_TIER_MODERATE, sizes[i]);
        stays(TSL_HEAP_TIER_FULL, sizes[i]);
    }
}

/* Where the page behind the rest cannot be closed the block keeps its pages. A tail has no room to
 * say that more than 64 KiB are spare on 32-bit: there the block is as it was. */
static void a_block_that_cannot_be_cut(void)
{
    static struct test_source source;
    struct tsl_heap *heap = small_heap(&source, TSL_HEAP_TIER_FULL);
    unsigned char *block = tsl_heap_alloc(heap, 400000);

    memset(block, 0x5C, 400000);
    void *chain = test_heap_fill(heap);
    source.refuses_to_close = true;
    CHECK_SAME(tsl_heap_realloc(heap, block, 100), NULL);
    CHECK_EQ(tsl_heap_usable(heap, block), 400000);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, opaque(block)), TSL_OK);
    source.refuses_to_close = false;
    drain(heap, chain);
    end(heap);
    CHECK_EQ(source.errors, 0);
}

static void misuse_that_panics(void *context)
{
    void *block = tsl_heap_alloc(context, 100);
    enum tsl_status status = tsl_heap_free(context, block);

    status = free_hidden(context, block);
    (void)status;
}

static void panics_if_told_to(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_MODERATE, true);
    CHECK_PANICS(misuse_that_panics, heap, "double free: heap");
    end(heap);
    heap = heap_of(TSL_HEAP_TIER_BASIC, true);
    CHECK_PANICS(misuse_that_panics, heap, "free already");
    end(heap);
}

static void tiers_change_only_without_blocks(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};
    void *block = tsl_heap_alloc(heap, 10);

    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_BUSY);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    how.tier = TSL_HEAP_TIER_NONE;
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_UNSUPPORTED);
    how.tier = (enum tsl_heap_tier)(TSL_HEAP_TIER_DEBUG + 1);
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_UNSUPPORTED);
    how.tier = TSL_HEAP_TIER_FULL;
    CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
    end(heap);
}

/* When pages run short, the debug tier's blocks are slots; the heap fails only when it is full. */
static void debug_without_room(void)
{
    struct tsl_heap *heap = heap_of(TSL_HEAP_TIER_DEBUG, false);
    size_t blocks = 0;
    void *last = NULL, **block;

    while (blocks < 40000 && (block = tsl_heap_alloc(heap, 64)) != NULL) {
        *block = last;
        last = block;
        blocks++;
    }
    CHECK_EQ(blocks, 40000); /* of 16384 pages */
    for (; last != NULL; blocks--) {
        block = last;
        last = *block;
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    }
    end(heap);
}

TAP_SUITE(hardening, TAP_TEST(debug_double_free), TAP_TEST(debug_wrong_pointers),
          TAP_TEST(debug_damage), TAP_TEST(debug_faults), TAP_TEST(moderate_damage),
          TAP_TEST(moderate_write_after_free), TAP_TEST(moderate_any_bit),
          TAP_TEST(moderate_any_bit_after_free), TAP_TEST(freed_blocks_are_cleared),
          TAP_TEST(full_quarantine), TAP_TEST(full_large), TAP_TEST(full_slab),
          TAP_TEST(frees_without_waiting), TAP_TEST(resizes), TAP_TEST(sized_frees),
          TAP_TEST(large_blocks_stay_without_memory), TAP_TEST(a_block_that_cannot_be_cut),
          TAP_TEST(panics_if_told_to), TAP_TEST(tiers_change_only_without_blocks),
          TAP_TEST(debug_without_room));
