/* SPDX-License-Identifier: MIT
 *
 * test_heap_misuse.c: each kind of misuse with each kind of block: status, counter, log line with
 * what, where and size, and a heap that is byte for byte as before (figures, verifier, contents of
 * the block).
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h, host_port.h (reads the log).
 * Callers: host.
 */
#include <tesela/checked.h>

#include "host_port.h"
#include "test_source.h"

static struct test_source source;

enum kind { SMALLEST, SMALL, MEDIUM, GREATEST, LARGE, ALIGNED, LARGE_ALIGNED, KINDS };

static unsigned char *block_of(struct tsl_heap *heap, enum kind kind)
{
    struct tsl_heap_class_stats pool = {0};

    switch (kind) {
    case SMALLEST:
        return tsl_heap_alloc(heap, 1);
    case SMALL:
        return tsl_heap_alloc(heap, 50);
    case MEDIUM:
        return tsl_heap_alloc(heap, 700);
    case GREATEST:
        CHECK_STATUS(tsl_heap_class_stats(heap, tsl_heap_class_count() - 1, &pool), TSL_OK);
        return tsl_heap_alloc(heap, pool.block_bytes);
    case LARGE:
        return tsl_heap_alloc(heap, 9 * TSL_PAGE_BYTES);
    case ALIGNED:
        return tsl_heap_alloc_aligned(heap, 128, 60);
    default:
        return tsl_heap_alloc_aligned(heap, 4 * TSL_PAGE_BYTES, 9 * TSL_PAGE_BYTES);
    }
}

static bool is_same(const struct tsl_heap_stats *a, const struct tsl_heap_stats *b)
{
    return a->live_blocks == b->live_blocks && a->live_bytes == b->live_bytes &&
           a->taken_bytes == b->taken_bytes && a->allocs == b->allocs && a->frees == b->frees &&
           a->failures == b->failures && a->empty_bytes == b->empty_bytes;
}

/* The last line of the log names the operation, the address, the reason, and the size if known. */
static void check_line(const char *verb, const void *address, enum tsl_status status,
                       const char *reason, size_t bytes)
{
    char text[120];

    (void)tsl_format(text, sizeof text, "%s of %p: %s", verb, address, reason);
    CHECK(host_port_log_has(text));
    CHECK(host_port_log_has(tsl_status_name(status)));
    if (bytes != 0) {
        (void)tsl_format(text, sizeof text, "block size %zu", bytes);
        CHECK(host_port_log_has(text));
    }
}

/* Free, resize and size of a bad address are refused alike. bytes 0: the size is not known. */
static void check_refused(void *address, enum tsl_status status, const char *reason, size_t bytes,
                          struct tsl_heap *heap)
{
    struct tsl_heap_stats before, after;

    tsl_heap_stats(heap, &before);
    host_port_log_clear();
    CHECK_STATUS(tsl_heap_free(heap, address), status);
    check_line("free", address, status, reason, bytes);
    CHECK(tsl_heap_realloc(heap, address, 30) == NULL);
    check_line("resize", address, status, reason, bytes);
    CHECK_EQ(tsl_heap_usable(heap, address), 0);
    check_line("size", address, status, reason, bytes);
    CHECK_EQ(host_port_log_lines(), 3);
    CHECK_STATUS(tsl_heap_free_flags(heap, address, TSL_HEAP_NO_WAIT), status);
    tsl_heap_stats(heap, &after);
    CHECK_EQ(after.refusals.by_status[status] - before.refusals.by_status[status], 4);
    CHECK(is_same(&before, &after));
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void double_free(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct tsl_heap *heap = test_heap(&source, 0);
        unsigned char *first = block_of(heap, (enum kind)kind);
        unsigned char *second = block_of(heap, (enum kind)kind);
        size_t bytes = tsl_heap_usable(heap, first);
        bool is_unknown = TSL_HEAP_CORE_GRANULES || kind == LARGE || kind == LARGE_ALIGNED ||
                          bytes > 2 * TSL_PAGE_BYTES;

        CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
        check_refused(first, TSL_DOUBLE_FREE, "free already", is_unknown ? 0 : bytes, heap);
        CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
        test_heap_end(heap, &source);
    }
}

static void double_free_long_after(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct tsl_heap *heap = test_heap(&source, 0);
        unsigned char *block = block_of(heap, (enum kind)kind);

        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        (void)tsl_heap_trim(heap);
        check_refused(block, TSL_DOUBLE_FREE, "free already", 0, heap);
        test_heap_end(heap, &source);
    }
}

static void interior_pointer(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct tsl_heap *heap = test_heap(&source, 0);
        unsigned char *block = block_of(heap, (enum kind)kind);
        size_t bytes = tsl_heap_usable(heap, block);

        memset(block, 0x3C, bytes);
        if (bytes > 16)
            check_refused(block + 16, TSL_INVALID, "inside a block, not at its start", bytes, heap);
        for (size_t inside = 16; inside < bytes; inside = inside * 3 / 16 * 16 + 16)
            CHECK_STATUS(tsl_heap_free(heap, block + inside), TSL_INVALID);
        CHECK(block[0] == 0x3C && block[bytes - 1] == 0x3C);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        test_heap_end(heap, &source);
    }
}

static void behind_the_last_block_of_a_slab(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    struct tsl_heap_class_stats pool;

    for (size_t i = 0; i < tsl_heap_class_count(); i++) {
        CHECK_STATUS(tsl_heap_class_stats(heap, i, &pool), TSL_OK);
        size_t used = pool.slab_blocks * pool.block_bytes;
        if (used == pool.slab_pages * TSL_PAGE_BYTES)
            continue;
        /* As many as a slab has: the lowest one is its first, in whichever order they came. */
        unsigned char *lowest = NULL;
        void *chain = NULL;
        for (size_t j = 0; j < pool.slab_blocks; j++) {
            void **block = tsl_heap_alloc(heap, pool.block_bytes);
            lowest = lowest == NULL || (unsigned char *)block < lowest ? (void *)block : lowest;
            *block = chain;
            chain = block;
        }
        CHECK_STATUS(tsl_heap_free(heap, lowest + used), TSL_INVALID);
        for (void *next; chain != NULL; chain = next) {
            next = *(void **)chain;
            CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        }
    }
    test_heap_end(heap, &source);
}

static void misaligned_pointer(void)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct tsl_heap *heap = test_heap(&source, 0);
        unsigned char *block = block_of(heap, (enum kind)kind);

        check_refused(block + 1, TSL_MISALIGNED, "no block starts at such an address", 0, heap);
        for (size_t i = 1; i < 16; i++)
            CHECK_STATUS(tsl_heap_free(heap, block + i), TSL_MISALIGNED);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        test_heap_end(heap, &source);
    }
}

static void foreign_pointer(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    unsigned char *block = tsl_heap_alloc(heap, 100);
    unsigned char on_stack[64];
    uintptr_t window = (uintptr_t)source.start - 8 * TSL_PAGE_BYTES;
    void *foreign[] = {on_stack + (16 - (uintptr_t)on_stack % 16),
                       (void *)&source,
                       (void *)(uintptr_t)16,
                       (void *)(UINTPTR_MAX - 15),
                       (void *)(window - 16),
                       (void *)window,
                       (void *)(window + (8 + ARENA_PAGES + 1200) * TSL_PAGE_BYTES),
                       (void *)heap,
                       source.start + (ARENA_PAGES - 1) * TSL_PAGE_BYTES};

    for (size_t i = 0; i < TSL_COUNT_OF(foreign); i++) {
        struct tsl_heap_stats stats;
        CHECK_STATUS(tsl_heap_free(heap, foreign[i]), TSL_FOREIGN);
        CHECK(tsl_heap_realloc(heap, foreign[i], 100) == NULL);
        CHECK_EQ(tsl_heap_usable(heap, foreign[i]), 0);
        tsl_heap_stats(heap, &stats);
        CHECK_EQ(stats.live_blocks, 1);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);

    heap = test_heap(&source, 0);
    check_refused(&source, TSL_FOREIGN, "not a block of this heap", 0, heap);
    test_heap_end(heap, &source);
}

static void bad_requests_are_logged(void)
{
    struct tsl_heap *heap = test_heap(&source, 40);
    volatile size_t huge = SIZE_MAX;

    host_port_log_clear();
    CHECK(tsl_heap_alloc(heap, huge) == NULL);
    CHECK(host_port_log_has("allocation of "));
    CHECK(host_port_log_has("of 163840 bytes taken"));
    CHECK(tsl_heap_alloc_array(heap, huge, 3) == NULL);
    CHECK(host_port_log_has("elements of 3 bytes"));
    CHECK(tsl_heap_alloc_aligned(heap, 48, 100) == NULL);
    CHECK(host_port_log_has("100 bytes with alignment 48"));
    CHECK(tsl_heap_alloc_flags(heap, 1, 0x80) == NULL);
    CHECK(host_port_log_has("unknown flags 0x80"));
    CHECK(tsl_heap_alloc(heap, 40 * TSL_PAGE_BYTES) == NULL);
    CHECK(host_port_log_has("allocation of 163840 bytes"));
    CHECK_EQ(host_port_log_lines(), 5);
    CHECK_EQ(test_refusals(heap, TSL_NO_MEMORY), 1);
    CHECK_EQ(test_refusals(heap, TSL_OUT_OF_RANGE), 2);
    /* A loop of mistakes does not drown the log. */
    host_port_log_clear();
    for (int i = 0; i < 10000; i++)
        CHECK(tsl_heap_alloc(heap, huge) == NULL);
    CHECK(host_port_log_lines() < 20);
    test_heap_end(heap, &source);
}

TAP_SUITE(heap_misuse, TAP_TEST(double_free), TAP_TEST(double_free_long_after),
          TAP_TEST(interior_pointer), TAP_TEST(behind_the_last_block_of_a_slab),
          TAP_TEST(misaligned_pointer), TAP_TEST(foreign_pointer),
          TAP_TEST(bad_requests_are_logged));
