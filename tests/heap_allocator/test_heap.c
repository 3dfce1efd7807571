/* SPDX-License-Identifier: MIT
 *
 * test_heap.c: the public functions of the heap one by one: sizes, alignment, resize, zeroing,
 * ceilings, trim, no-wait, several heaps, figures.
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/checked.h>

#include "test_source.h"

static struct test_source source;

/* Sizes around every class and page boundary. */
static const size_t sizes[] = {0,    1,    15,   16,   17,   31,   32,   33,   48,   63,    64,
                               65,   100,  127,  128,  129,  255,  256,  257,  1000, 1024,  1025,
                               2047, 2048, 2049, 4095, 4096, 4097, 6000, 8192, 8193, 20000, 65536};

static size_t largest_class(const struct tsl_heap *heap)
{
    struct tsl_heap_class_stats pool = {0};

    CHECK_STATUS(tsl_heap_class_stats(heap, tsl_heap_class_count() - 1, &pool), TSL_OK);
    return pool.block_bytes;
}

static bool is_filled(const void *block, unsigned char value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)block)[i] != value)
            return false;
    return true;
}

static void each_size_is_usable_and_aligned(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    size_t natural = largest_class(heap) > TSL_PAGE_BYTES ? largest_class(heap) : TSL_PAGE_BYTES;
    void *blocks[TSL_COUNT_OF(sizes)];

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        blocks[i] = tsl_heap_alloc(heap, sizes[i]);
        CHECK(blocks[i] != NULL);
        CHECK((uintptr_t)blocks[i] % TSL_HEAP_ALIGN == 0);
        CHECK(tsl_heap_usable(heap, blocks[i]) >= sizes[i]);
        if (tsl_is_power_of_two(sizes[i]) && sizes[i] <= natural)
            CHECK((uintptr_t)blocks[i] % sizes[i] == 0);
        memset(blocks[i], (int)i, tsl_heap_usable(heap, blocks[i]));
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        CHECK(is_filled(blocks[i], (unsigned char)i, tsl_heap_usable(heap, blocks[i])));
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    test_heap_end(heap, &source);
}

static void powers_of_two_keep_natural_alignment_in_number(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t bytes = 16; bytes <= TSL_PAGE_BYTES; bytes *= 2) {
        void *blocks[40];
        for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++) {
            blocks[i] = tsl_heap_alloc(heap, bytes);
            CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % bytes == 0);
        }
        for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
            CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    }
    test_heap_end(heap, &source);
}

static void size_zero_is_an_object_of_its_own(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    void *one = tsl_heap_alloc(heap, 0), *two = tsl_heap_alloc(heap, 0);
    void *three = tsl_heap_alloc_array(heap, 0, 8);

    CHECK(one != NULL && two != NULL && three != NULL);
    CHECK(one != two && two != three && one != three);
    CHECK_STATUS(tsl_heap_free(heap, one), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, two), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, three), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, NULL), TSL_OK);
    CHECK_EQ(tsl_heap_usable(heap, NULL), 0);
    test_heap_end(heap, &source);
}

static void what_cannot_be_is_refused(void)
{
    struct tsl_heap *heap = test_heap(&source, 64);
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4095,
                                    SIZE_MAX / 2 + 1};

    for (size_t i = 0; i < TSL_COUNT_OF(absurd); i++) {
        /* Through a volatile, so that the compiler does not see the size. */
        volatile size_t bytes = absurd[i];
        CHECK(tsl_heap_alloc(heap, bytes) == NULL);
        CHECK(tsl_heap_alloc_array(heap, bytes, 1) == NULL);
        CHECK(tsl_heap_alloc_aligned(heap, 64, bytes) == NULL);
        CHECK(tsl_heap_alloc_aligned(heap, (size_t)1 << (TSL_WORD_BITS - 1), 1) == NULL);
        CHECK(tsl_heap_realloc(heap, NULL, bytes) == NULL);
    }
    CHECK(test_refusals(heap, TSL_OUT_OF_RANGE) >= 20);
    volatile size_t count = SIZE_MAX / 8 + 1, half = (size_t)1 << (TSL_WORD_BITS / 2);
    CHECK(tsl_heap_alloc_array(heap, count, 8) == NULL);
    CHECK(tsl_heap_alloc_array(heap, half, half) == NULL);
    CHECK(tsl_heap_alloc_aligned(heap, 0, 10) == NULL);
    CHECK(tsl_heap_alloc_aligned(heap, 24, 10) == NULL);
    CHECK_EQ(test_refusals(heap, TSL_MISALIGNED), 2);
    CHECK(tsl_heap_alloc_flags(heap, 10, 0x100) == NULL);
    CHECK_STATUS(tsl_heap_free_flags(heap, NULL, TSL_HEAP_ZERO), TSL_INVALID);
    CHECK_EQ(test_refusals(heap, TSL_INVALID), 2);
    test_heap_end(heap, &source);
}

static void aligned_blocks_of_every_kind(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t align = 1; align <= 64 * 1024; align *= 2) {
        for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
            void *block = tsl_heap_alloc_aligned(heap, align, sizes[i]);
            CHECK(block != NULL && (uintptr_t)block % align == 0);
            CHECK(tsl_heap_usable(heap, block) >= sizes[i]);
            CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        }
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    test_heap_end(heap, &source);
}

static void resize_keeps_contents_and_alignment(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    static const size_t aligns[] = {16, 64, 512, 4096, 16384};

    for (size_t a = 0; a < TSL_COUNT_OF(aligns); a++) {
        for (size_t from = 0; from < TSL_COUNT_OF(sizes); from++) {
            for (size_t to = 0; to < TSL_COUNT_OF(sizes); to++) {
                size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
                unsigned char *block = tsl_heap_alloc_aligned(heap, aligns[a], sizes[from]);
                memset(block, (int)from + 1, sizes[from]);
                block = tsl_heap_realloc(heap, block, sizes[to]);
                CHECK(block != NULL && (uintptr_t)block % aligns[a] == 0);
                CHECK(is_filled(block, (unsigned char)(from + 1), kept));
                CHECK(tsl_heap_usable(heap, block) >= sizes[to]);
                CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
            }
            CHECK_SOUND(tsl_heap_verify(heap));
        }
    }
    test_heap_end(heap, &source);
}

static void resize_in_place_where_cheap(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    void *small = tsl_heap_alloc(heap, 33);
    void *large = tsl_heap_alloc(heap, 10 * TSL_PAGE_BYTES);
    struct tsl_heap_stats before, after;

    CHECK(tsl_heap_realloc(heap, small, tsl_heap_usable(heap, small)) == small);
    tsl_heap_stats(heap, &before);
    CHECK(tsl_heap_realloc(heap, large, 10 * TSL_PAGE_BYTES - 5) == large);
    CHECK(tsl_heap_realloc(heap, large, 9 * TSL_PAGE_BYTES) == large);
    tsl_heap_stats(heap, &after);
    /* Granules keep some empty pages. */
    if (!TSL_HEAP_CORE_GRANULES)
        CHECK_EQ(before.taken_bytes - after.taken_bytes, TSL_PAGE_BYTES);
    CHECK_EQ(before.live_bytes - after.live_bytes, TSL_PAGE_BYTES);
    CHECK_EQ(tsl_heap_usable(heap, large), 9 * TSL_PAGE_BYTES);
    memset(large, 7, 9 * TSL_PAGE_BYTES);
    void *grown = tsl_heap_realloc(heap, large, 30 * TSL_PAGE_BYTES);
    CHECK(grown == large && is_filled(grown, 7, 9 * TSL_PAGE_BYTES));
    memset(grown, 8, 30 * TSL_PAGE_BYTES);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* A neighbour behind it: now it has to move. */
    void *wall = tsl_heap_alloc(heap, 9 * TSL_PAGE_BYTES);
    void *moved = tsl_heap_realloc(heap, grown, 100 * TSL_PAGE_BYTES);
    CHECK(moved != NULL && moved != grown && is_filled(moved, 8, 30 * TSL_PAGE_BYTES));
    moved = tsl_heap_realloc(heap, moved, 0);
    CHECK(moved != NULL);
    tsl_heap_stats(heap, &after);
    CHECK_EQ(after.live_blocks, 3);
    CHECK_EQ(test_refusals(heap, TSL_DOUBLE_FREE), 0);
    CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_BUSY);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, moved), TSL_OK);
    test_heap_end(heap, &source);
}

static void failed_resize_leaves_the_block(void)
{
    struct tsl_heap *heap = test_heap(&source, 64);
    unsigned char *small = tsl_heap_alloc(heap, 100);
    unsigned char *large = tsl_heap_alloc(heap, 20 * TSL_PAGE_BYTES);

    memset(small, 1, 100);
    memset(large, 2, 20 * TSL_PAGE_BYTES);
    CHECK(tsl_heap_realloc(heap, small, 62 * TSL_PAGE_BYTES) == NULL);
    CHECK(tsl_heap_realloc(heap, large, 62 * TSL_PAGE_BYTES) == NULL);
    CHECK(is_filled(small, 1, 100) && is_filled(large, 2, 20 * TSL_PAGE_BYTES));
    CHECK_SOUND(tsl_heap_verify(heap));
    /* Shrinking never fails: without memory for a smaller block the old one stays. */
    source.fail_at = source.calls + 1;
    source.fail_onward = true;
    CHECK(tsl_heap_realloc(heap, large, 3000) != NULL);
    source.fail_at = 0;
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    test_heap_end(heap, &source);
}

static void zeroed_means_zero(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        void *dirty = tsl_heap_alloc(heap, sizes[i]);
        memset(dirty, 0xFF, tsl_heap_usable(heap, dirty));
        CHECK_STATUS(tsl_heap_free(heap, dirty), TSL_OK);
        void *array = tsl_heap_alloc_array(heap, sizes[i], 1);
        void *flags = tsl_heap_alloc_flags(heap, sizes[i], TSL_HEAP_ZERO);
        CHECK(is_filled(array, 0, tsl_heap_usable(heap, array)));
        CHECK(is_filled(flags, 0, tsl_heap_usable(heap, flags)));
        CHECK_STATUS(tsl_heap_free(heap, array), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, flags), TSL_OK);
    }
    test_heap_end(heap, &source);
}

/* Fills a heap with blocks of one size; they are linked through their first word. */
static size_t fill(struct tsl_heap *heap, size_t bytes, void **chain)
{
    size_t count = 0;

    for (void **block; (block = tsl_heap_alloc(heap, bytes)) != NULL; count++) {
        *block = *chain;
        *chain = block;
    }
    return count;
}

static void drain(struct tsl_heap *heap, void *chain)
{
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        chain = next;
    }
}

static void ceiling_is_exact_and_all_of_it_comes_back(void)
{
    /* A head for 256 CPUs takes five pages. */
    const size_t least_ceiling = TSL_CPUS > 64 ? 6 : 4;

    for (size_t ceiling = least_ceiling; ceiling <= 102; ceiling += 32) {
        struct tsl_heap *heap = test_heap(&source, ceiling);
        struct tsl_heap_class_stats least = {0};
        size_t first = 0;
        CHECK_STATUS(tsl_heap_class_stats(heap, 0, &least), TSL_OK);
        for (int round = 0; round < 3; round++) {
            for (size_t bytes = 16; bytes <= 16 * 1024; bytes = bytes * 4 - 8) {
                void *chain = NULL;
                size_t count = fill(heap, bytes, &chain);
                CHECK(source.out <= ceiling && source.peak <= ceiling);
                CHECK_SOUND(tsl_heap_verify(heap));
                drain(heap, chain);
                first = bytes == 16 && round == 0 ? count : first;
                CHECK(bytes != 16 || count == first);
            }
        }
        /* The heap's own pages: its head, leaves of the map, records, a fiftieth at the most, and
         * what CPUs have, a sixteenth. */
        size_t own_pages = 2 * least_ceiling + ceiling / 50 + ceiling / 16;
        CHECK(ceiling == least_ceiling ||
              first * least.block_bytes >= (ceiling - own_pages) * TSL_PAGE_BYTES);
        CHECK(test_refusals(heap, TSL_NO_MEMORY) > 0);
        test_heap_end(heap, &source);
    }
}

static void full_span_is_one_block_again(void)
{
    struct tsl_heap *heap = test_heap(&source, 100);
    void *chain = NULL;

    CHECK(fill(heap, 48, &chain) > 1000);
    drain(heap, chain);
    (void)tsl_heap_trim(heap);
    /* All but the heap's own pages: head, a page of records, leaves of the map. */
    size_t own = source.out;
    void *all = tsl_heap_alloc(heap, (100 - own - 1) * TSL_PAGE_BYTES);
    CHECK(all != NULL && own < 10);
    CHECK_STATUS(tsl_heap_free(heap, all), TSL_OK);
    test_heap_end(heap, &source);
}

static void empty_slabs_return_with_hysteresis(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    struct tsl_heap_stats stats;
    void *chain = NULL;

    for (int i = 0; i < 2000; i++) {
        void **block = tsl_heap_alloc(heap, 100);
        *block = chain;
        chain = block;
    }
    size_t full = source.out;
    drain(heap, chain);
    CHECK(source.out < full / 2);
    tsl_heap_stats(heap, &stats);
    CHECK(stats.empty_bytes > 0 && stats.live_blocks == 0);
    /* One block to and fro does not call the source: the class kept an empty slab. */
    size_t calls = source.calls;
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 100)), TSL_OK);
    CHECK_EQ(source.calls, calls);
    /* Nor does a large block call it for more than its own pages: a record page was kept. */
    (void)tsl_heap_trim(heap);
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 100000)), TSL_OK);
    calls = source.calls;
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 100000)), TSL_OK);
    CHECK_EQ(source.calls, calls + 100);
    CHECK((tsl_heap_trim(heap) > 0) == !TSL_HEAP_CORE_GRANULES);
    CHECK_EQ(tsl_heap_trim(heap), 0);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.empty_bytes, 0);
    test_heap_end(heap, &source);
}

static void no_wait_never_calls_the_source(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    void *large = tsl_heap_alloc(heap, 50 * TSL_PAGE_BYTES);
    void *seed = tsl_heap_alloc(heap, 64);
    void *chain = NULL;
    size_t calls = source.calls, out = source.out;

    for (void **block; (block = tsl_heap_alloc_flags(heap, 64, TSL_HEAP_NO_WAIT)) != NULL;) {
        *block = chain;
        chain = block;
    }
    CHECK(tsl_heap_alloc_flags(heap, 50 * TSL_PAGE_BYTES, TSL_HEAP_NO_WAIT) == NULL);
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free_flags(heap, chain, TSL_HEAP_NO_WAIT), TSL_OK);
    }
    CHECK_STATUS(tsl_heap_free_flags(heap, large, TSL_HEAP_NO_WAIT), TSL_OK);
    CHECK_STATUS(tsl_heap_free_flags(heap, large, TSL_HEAP_NO_WAIT), TSL_DOUBLE_FREE);
    CHECK_EQ(source.calls, calls);
    CHECK_EQ(source.out, out);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* The next caller who may call the source brings the parked pages home. */
    large = tsl_heap_alloc(heap, 9 * TSL_PAGE_BYTES);
    CHECK(source.out <= out - 40);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, seed), TSL_OK);
    test_heap_end(heap, &source);
}

static void no_wait_frees_keep_empty_slabs(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    void *chain = NULL;

    for (int i = 0; i < 2000; i++) {
        void **block = tsl_heap_alloc(heap, 100);
        *block = chain;
        chain = block;
    }
    size_t out = source.out;
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free_flags(heap, chain, TSL_HEAP_NO_WAIT), TSL_OK);
    }
    CHECK_EQ(source.out, out);
    CHECK(tsl_heap_trim(heap) > 0 && source.out < out / 2);
    test_heap_end(heap, &source);
}

static void a_slab_forgets_alignment_when_it_is_empty(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    void *aligned = tsl_heap_alloc_aligned(heap, 64, 60);
    CHECK_STATUS(tsl_heap_free(heap, aligned), TSL_OK);
    /* The slab that blocks come from is looked at by a trim only. */
    (void)tsl_heap_trim(heap);
    void *plain = tsl_heap_alloc(heap, 60), *other = tsl_heap_alloc(heap, 70);

    plain = tsl_heap_realloc(heap, plain, 70);
    CHECK_EQ(tsl_heap_usable(heap, plain), tsl_heap_usable(heap, other));
    CHECK_STATUS(tsl_heap_free(heap, plain), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, other), TSL_OK);
    test_heap_end(heap, &source);
}

static void resize_to_another_alignment(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    static const size_t aligns[] = {1, 16, 64, 512, 4096, 16384};

    for (size_t a = 0; a < TSL_COUNT_OF(aligns); a++) {
        for (size_t from = 0; from < TSL_COUNT_OF(sizes); from++) {
            size_t to = sizes[(from * 7 + 3) % TSL_COUNT_OF(sizes)];
            size_t kept = sizes[from] < to ? sizes[from] : to;
            unsigned char *block = tsl_heap_alloc(heap, sizes[from]);
            memset(block, (int)from + 1, sizes[from]);
            block = tsl_heap_realloc_aligned(heap, aligns[a], block, to);
            CHECK(block != NULL && (uintptr_t)block % aligns[a] == 0);
            CHECK(is_filled(block, (unsigned char)(from + 1), kept));
            CHECK(tsl_heap_usable(heap, block) >= to);
            /* It is kept from now on, whatever happens to the size. */
            block = tsl_heap_realloc(heap, block, to / 2 + 700);
            CHECK(block != NULL && (uintptr_t)block % aligns[a] == 0);
            CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        }
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    void *block = tsl_heap_realloc_aligned(heap, 256, NULL, 100);
    CHECK(block != NULL && (uintptr_t)block % 256 == 0);
    CHECK(tsl_heap_realloc_aligned(heap, 48, block, 100) == NULL);
    CHECK_EQ(test_refusals(heap, TSL_MISALIGNED), 1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

static void sized_free_checks_the_size(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        void *block = tsl_heap_alloc(heap, sizes[i]);
        size_t usable = tsl_heap_usable(heap, block);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, usable + 1), TSL_WRONG_SIZE);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, 100000), TSL_WRONG_SIZE);
        if (sizes[i] > 64)
            CHECK_STATUS(tsl_heap_free_sized(heap, block, sizes[i] / 4), TSL_WRONG_SIZE);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, sizes[i]), TSL_OK);
        CHECK(tsl_heap_free_sized(heap, block, sizes[i]) == TSL_DOUBLE_FREE);
    }
    /* A slab that has given out aligned blocks takes sizes that need it for their alignment. */
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        void *aligned = tsl_heap_alloc_aligned(heap, 1024, sizes[i]);
        CHECK_STATUS(tsl_heap_free_sized(heap, aligned, sizes[i]), TSL_OK);
    }
    CHECK_STATUS(tsl_heap_free_sized(heap, NULL, 5), TSL_OK);
    CHECK_STATUS(tsl_heap_free_sized(heap, heap, 5), TSL_FOREIGN);
    test_heap_end(heap, &source);
}

/* Without memory for a smaller block the old one stays, large or small, and a free that tells the
 * new size is right. Pages that a large one needs no more go back. */
static void a_block_that_stays_has_its_new_size(void)
{
    static const size_t old[] = {200000, 2000, 1000};

    for (size_t i = 0; i < TSL_COUNT_OF(old); i++) {
        struct tsl_heap *heap = test_heap(&source, 100);
        unsigned char *block = tsl_heap_alloc(heap, old[i]);
        memset(block, 0x5C, old[i]);
        void *chain = test_heap_fill(heap);
        size_t out = source.out;
        CHECK_SAME(tsl_heap_realloc(heap, block, 100), block);
        CHECK(block[0] == 0x5C && block[99] == 0x5C);
        if (old[i] == 200000)
            CHECK(source.out + 40 < out);
        CHECK_SOUND(tsl_heap_verify(heap));
        CHECK_STATUS(tsl_heap_free_sized(heap, block, 200000), TSL_WRONG_SIZE);
        /* What went back is behind it: it may grow in place, to a size that has a class. */
        size_t last = old[i] == 200000 ? 8000 : 100;
        CHECK_SAME(tsl_heap_realloc(heap, block, last), block);
        CHECK_STATUS(tsl_heap_free_sized(heap, block, last), TSL_OK);
        for (void *next; chain != NULL; chain = next) {
            next = *(void **)chain;
            CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        }
        test_heap_end(heap, &source);
    }
}

/* Without pages for a slab of its own, a request gets a block of a greater class: it is aligned as
 * one of the request's own class, and a free that tells the size asked for is right. */
static void a_greater_class_keeps_all_promises(void)
{
    static void *blocks[4096];
    struct tsl_heap *heap = test_heap(&source, 24);
    size_t count = 0, lent = 0;

    while (count < TSL_COUNT_OF(blocks) && (blocks[count] = tsl_heap_alloc(heap, 112)) != NULL)
        count++;
    /* Every other one, so that no slab becomes empty. */
    for (size_t i = 0; i < count; i += 2) {
        memset(blocks[i], 0xA5, 112);
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    }
    for (size_t i = 0; i < count; i += 2) {
        blocks[i] = tsl_heap_alloc(heap, 64);
        CHECK_EQ((uintptr_t)blocks[i] % 64, 0);
    }
    for (size_t i = 0; i < count; i += 2)
        CHECK_STATUS(tsl_heap_free_sized(heap, blocks[i], 64), TSL_OK);
    for (size_t i = 0; i < count; i += 2) {
        /* Volatile: compilers know that 72 were asked for, and would refuse to look further. */
        unsigned char *volatile block = tsl_heap_alloc_flags(heap, 72, TSL_HEAP_ZERO);
        size_t usable = tsl_heap_usable(heap, block);
        blocks[i] = block;
        lent += usable > 80;
        for (size_t byte = 0; byte < usable; byte++)
            if (block[byte] != 0)
                CHECK_EQ(byte, usable);
    }
    CHECK((lent > 0) == !TSL_HEAP_CORE_GRANULES);
    for (size_t i = 0; i < count; i++)
        if (i % 2 == 0 && blocks[i] != NULL)
            CHECK_STATUS(tsl_heap_free_sized(heap, blocks[i], 72), TSL_OK);
        else
            CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    test_heap_end(heap, &source);
}

static void the_reserve_is_for_emergencies(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = 60 * TSL_PAGE_BYTES,
                                     .reserve_bytes = 8 * TSL_PAGE_BYTES};
    struct tsl_heap *heap = NULL;
    void *chain = NULL;

    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    CHECK(fill(heap, 3000, &chain) > 30);
    CHECK(source.out <= 52 && source.out >= 48);
    CHECK(tsl_heap_alloc(heap, 4 * TSL_PAGE_BYTES) == NULL);
    void *urgent = tsl_heap_alloc_flags(heap, 4 * TSL_PAGE_BYTES, TSL_HEAP_EMERGENCY);
    CHECK(urgent != NULL && source.out <= 60);
    CHECK(tsl_heap_alloc_flags(heap, 8 * TSL_PAGE_BYTES, TSL_HEAP_EMERGENCY) == NULL);
    CHECK(tsl_heap_alloc(heap, 3000) == NULL);
    CHECK_STATUS(tsl_heap_free(heap, urgent), TSL_OK);
    drain(heap, chain);
    test_heap_end(heap, &source);
    config.reserve_bytes = 61 * TSL_PAGE_BYTES;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OUT_OF_RANGE);
}

/* A cache of blocks that somebody else can do without. */
struct hoard {
    struct tsl_heap *heap;
    void *chain;
    unsigned calls;
    unsigned out_of_memory_calls;
};

static size_t give_one(void *context, size_t bytes)
{
    struct hoard *hoard = context;
    void *block = hoard->chain;

    hoard->calls++;
    CHECK(bytes > 0);
    /* It may call the heap, also so that a request fails: it is not called again for that. */
    CHECK(tsl_heap_alloc(hoard->heap, 50 * TSL_PAGE_BYTES) == NULL);
    if (block == NULL)
        return 0;
    hoard->chain = *(void **)block;
    CHECK_STATUS(tsl_heap_free(hoard->heap, block), TSL_OK);
    return 5 * TSL_PAGE_BYTES;
}

static bool note_out_of_memory(void *context, size_t bytes)
{
    struct hoard *hoard = context;

    CHECK(bytes > 0);
    return ++hoard->out_of_memory_calls == 1 && hoard->chain == NULL;
}

static void shrinkers_are_asked_before_a_failure(void)
{
    struct hoard hoard = {.chain = NULL};
    struct tsl_heap_shrinker shrinker = {.shrink = give_one, .context = &hoard};
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = 60 * TSL_PAGE_BYTES,
                                     .out_of_memory = note_out_of_memory,
                                     .out_of_memory_context = &hoard};
    struct tsl_heap *heap = NULL;
    void *chain = NULL;

    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    hoard.heap = heap;
    for (unsigned i = 0; i < 3; i++) {
        void **block = tsl_heap_alloc(heap, 5 * TSL_PAGE_BYTES);
        *block = hoard.chain;
        hoard.chain = block;
    }
    tsl_heap_shrinker_add(heap, &shrinker);
    (void)fill(heap, 5 * TSL_PAGE_BYTES, &chain);
    CHECK(hoard.chain == NULL && hoard.calls >= 4);
    CHECK(hoard.out_of_memory_calls >= 1);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* Not for those who cannot wait, and not when it is gone. */
    unsigned calls = hoard.calls;
    CHECK(tsl_heap_alloc_flags(heap, 5 * TSL_PAGE_BYTES, TSL_HEAP_NO_WAIT) == NULL);
    tsl_heap_shrinker_remove(heap, &shrinker);
    CHECK(tsl_heap_alloc(heap, 5 * TSL_PAGE_BYTES) == NULL);
    CHECK_EQ(hoard.calls, calls);
    /* Nobody is asked for a block that only shrinks: it can stay. */
    void *rest = test_heap_fill(heap);
    calls = hoard.out_of_memory_calls;
    chain = tsl_heap_realloc(heap, chain, 100);
    CHECK(chain != NULL);
    CHECK_EQ(hoard.out_of_memory_calls, calls);
    drain(heap, rest);
    drain(heap, chain);
    test_heap_end(heap, &source);
}

static void several_heaps_refuse_each_others_blocks(void)
{
    static struct test_source sources[3];
    struct tsl_heap *heaps[3] = {NULL};
    void *blocks[3][2];

    for (size_t i = 0; i < 3; i++) {
        struct tsl_heap_config config = {.source =
                                             test_source_init(&sources[i], i * 100, 100, 0, 0)};
        CHECK_STATUS(tsl_heap_create(&config, &heaps[i]), TSL_OK);
        test_heap_soften(heaps[i]);
        blocks[i][0] = tsl_heap_alloc(heaps[i], 40);
        blocks[i][1] = tsl_heap_alloc(heaps[i], 5 * TSL_PAGE_BYTES);
    }
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 6; j++) {
            if (j / 2 != i) {
                CHECK_STATUS(tsl_heap_free(heaps[i], blocks[j / 2][j % 2]), TSL_FOREIGN);
                CHECK_EQ(tsl_heap_usable(heaps[i], blocks[j / 2][j % 2]), 0);
                CHECK(tsl_heap_realloc(heaps[i], blocks[j / 2][j % 2], 10) == NULL);
            }
        }
        CHECK_EQ(test_refusals(heaps[i], TSL_FOREIGN), 12);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_STATUS(tsl_heap_free(heaps[i], blocks[i][0]), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heaps[i], blocks[i][1]), TSL_OK);
        test_heap_end(heaps[i], &sources[i]);
    }
}

static void bad_configurations_are_refused(void)
{
    struct tsl_heap *heap = NULL;
    struct tsl_heap_config good = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap_config bad = good;

    CHECK_STATUS(tsl_heap_create(NULL, &heap), TSL_INVALID);
    CHECK_STATUS(tsl_heap_create(&good, NULL), TSL_INVALID);
    bad.source.get = NULL;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_INVALID);
    bad = good;
    bad.source.put = NULL;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_INVALID);
    bad = good;
    bad.source.bytes = 0;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_INVALID);
    bad.source.bytes = SIZE_MAX - 4095;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_INVALID);
    bad = good;
    bad.source.start += 16;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_MISALIGNED);
    bad = good;
    bad.source.bytes -= 1;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_MISALIGNED);
    bad = good;
    bad.ceiling_bytes = 1;
    CHECK_STATUS(tsl_heap_create(&bad, &heap), TSL_NO_MEMORY);
    source.fail_at = 1;
    CHECK_STATUS(tsl_heap_create(&good, &heap), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_heap_destroy(NULL), TSL_INVALID);
    CHECK(heap == NULL);
    CHECK_EQ(source.out, 0);
}

static bool is_lying;

static void *get_outside(void *context, size_t pages)
{
    void *start = test_source_get(context, pages);
    return is_lying ? (char *)heap_test_arena + sizeof heap_test_arena : start;
}

static void a_source_that_lies_is_not_believed(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, 64, 0, 0)};
    struct tsl_heap *heap = NULL;

    config.source.get = get_outside;
    is_lying = true;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_CORRUPT);
    CHECK(heap == NULL);
    is_lying = false;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    is_lying = true;
    CHECK(tsl_heap_alloc(heap, 100) == NULL);
    is_lying = false;
    CHECK(test_refusals(heap, TSL_CORRUPT) >= 1);
    CHECK_SOUND(tsl_heap_verify(heap));
    void *block = tsl_heap_alloc(heap, 100);
    CHECK(block != NULL);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static void figures_add_up(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    struct tsl_heap_class_stats pool = {.slabs = 77};
    struct tsl_heap_stats stats;
    size_t two_small = TSL_HEAP_CORE_GRANULES ? 64 : 32;
    void *blocks[3] = {tsl_heap_alloc(heap, 16), tsl_heap_alloc(heap, 10),
                       tsl_heap_alloc(heap, 3 * 65536)};

    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.live_blocks, 3);
    CHECK_EQ(stats.live_bytes, two_small + 3 * 65536);
    CHECK_EQ(stats.requested_bytes, 26 + 3 * 65536);
    CHECK_EQ(stats.granted_bytes, stats.live_bytes);
    CHECK_EQ(stats.taken_bytes, source.out * TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_heap_class_stats(heap, 0, &pool), TSL_OK);
    CHECK_EQ(pool.live_blocks, 2);
    CHECK_EQ(pool.slabs, !TSL_HEAP_CORE_GRANULES);
    pool.slabs = 77;
    CHECK_STATUS(tsl_heap_class_stats(heap, tsl_heap_class_count(), &pool), TSL_OUT_OF_RANGE);
    CHECK_EQ(pool.slabs, 77);
    for (size_t i = 0; i < 3; i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.live_bytes, 0);
    CHECK_EQ(stats.peak_bytes, two_small + 3 * 65536);
    CHECK_EQ(stats.peak_taken_bytes, source.peak * TSL_PAGE_BYTES);
    CHECK_EQ(stats.allocs, 3);
    CHECK_EQ(stats.frees, 3);
    CHECK(stats.bookkeeping_bytes > 0 && stats.failures == 0);
    test_heap_end(heap, &source);
}

struct text {
    char bytes[8192];
    size_t length;
};

static void collect(void *context, const char *bytes, size_t length)
{
    struct text *text = context;

    for (size_t i = 0; i < length && text->length + 1 < sizeof text->bytes; i++)
        text->bytes[text->length++] = bytes[i];
    text->bytes[text->length] = 0;
}

static bool has_text(const struct text *text, const char *part)
{
    for (size_t i = 0; i < text->length; i++) {
        size_t same = 0;
        while (part[same] != 0 && text->bytes[i + same] == part[same])
            same++;
        if (part[same] == 0)
            return true;
    }
    return false;
}

static void dump_shows_classes_in_use(void)
{
    static struct text text;
    struct tsl_sink sink = {collect, &text};
    struct tsl_heap *heap = test_heap(&source, 0);
    void *small = tsl_heap_alloc(heap, 64), *large = tsl_heap_alloc(heap, 40000);

    text.length = 0;
    tsl_heap_dump(heap, &sink);
    CHECK(has_text(&text, "2 blocks"));
    CHECK(has_text(&text, TSL_HEAP_CORE_GRANULES
                              ? "\n        64        1         64\n"
                              : "\n        64        1         64        1        "
                                "0     1 %          1\n"));
    CHECK(has_text(&text, TSL_HEAP_CORE_GRANULES ? "\n    larger        1      40000\n"
                                                 : "\n     large        1      40960\n"));
    CHECK(!has_text(&text, "\n        32 "));
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    (void)tsl_heap_trim(heap);
    text.length = 0;
    tsl_heap_dump(heap, &sink); /* a class without slabs uses no share of them */
    if (!TSL_HEAP_CORE_GRANULES)
        CHECK(has_text(&text, "\n        64        0          0        0        0       -"));
    test_heap_end(heap, &source);
}

/* Neighbours go back in one call: in a kernel each call is a flush of all CPUs. */
static void a_trim_gives_neighbours_back_together(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    struct tsl_heap_stats before, after;
    void *chain = NULL;

    for (unsigned i = 0; i < 600; i++) {
        void **block = tsl_heap_alloc(heap, 1024);
        REQUIRE(block != NULL);
        *block = chain;
        chain = block;
    }
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free_flags(heap, chain, TSL_HEAP_NO_WAIT), TSL_OK);
        chain = next;
    }
    tsl_heap_stats(heap, &before);
    CHECK(tsl_heap_trim(heap) >= 600 * 1024 / TSL_PAGE_BYTES);
    tsl_heap_stats(heap, &after);
    CHECK(after.source_puts - before.source_puts < 12);
    test_heap_end(heap, &source);
}

TAP_SUITE(heap, TAP_TEST(each_size_is_usable_and_aligned),
          TAP_TEST(powers_of_two_keep_natural_alignment_in_number),
          TAP_TEST(size_zero_is_an_object_of_its_own), TAP_TEST(what_cannot_be_is_refused),
          TAP_TEST(aligned_blocks_of_every_kind), TAP_TEST(resize_keeps_contents_and_alignment),
          TAP_TEST(resize_in_place_where_cheap), TAP_TEST(failed_resize_leaves_the_block),
          TAP_TEST(zeroed_means_zero), TAP_TEST(ceiling_is_exact_and_all_of_it_comes_back),
          TAP_TEST(full_span_is_one_block_again), TAP_TEST(empty_slabs_return_with_hysteresis),
          TAP_TEST(no_wait_never_calls_the_source), TAP_TEST(no_wait_frees_keep_empty_slabs),
          TAP_TEST(a_slab_forgets_alignment_when_it_is_empty),
          TAP_TEST(resize_to_another_alignment), TAP_TEST(sized_free_checks_the_size),
          TAP_TEST(a_block_that_stays_has_its_new_size),
          TAP_TEST(a_greater_class_keeps_all_promises), TAP_TEST(the_reserve_is_for_emergencies),
          TAP_TEST(shrinkers_are_asked_before_a_failure),
          TAP_TEST(several_heaps_refuse_each_others_blocks),
          TAP_TEST(bad_configurations_are_refused), TAP_TEST(a_source_that_lies_is_not_believed),
          TAP_TEST(figures_add_up), TAP_TEST(dump_shows_classes_in_use),
          TAP_TEST(a_trim_gives_neighbours_back_together));
