/* SPDX-License-Identifier: MIT
 *
 * test_heap_array.c: memory that is added to a heap and removed while it runs.
 *
 * Owns:    an arena for arrays, with bytes that must stay as they are around each.
 * Needs:   the heap's insides (rule 12), test_source.h, rng.h, tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/heap_array.h>

#include "heap_allocator_internal.h"
#include "rng.h"
#include "test_source.h"

#define ADDED_PAGES 40u
#define ADDED_BYTES (ADDED_PAGES * TSL_PAGE_BYTES)
#define OUTSIDE     0xEEu

static TSL_ALIGNED(TSL_PAGE_BYTES) unsigned char space[3 * ADDED_BYTES];
static struct test_source source;

static bool is_in(const void *block, const unsigned char *array, size_t bytes)
{
    return (uintptr_t)block - (uintptr_t)array < bytes;
}

static struct tsl_heap_stats stats_of(const struct tsl_heap *heap)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(heap, &stats);
    return stats;
}

/* The basic tier also in a build of this test that keeps the others: from moderate on large blocks
 * always move. */
static void without_tails(struct tsl_heap *heap)
{
    struct tsl_heap_hardening how = {.tier = TSL_HEAP_TIER_BASIC};

    if (TSL_HEAP_GUARD)
        CHECK_STATUS(tsl_heap_harden(heap, &how), TSL_OK);
}

/* A heap over the arena whose window ends with it, so that arrays lie outside. Access cannot be
 * taken away: where it can, large blocks of the full tier are the source's. */
static struct tsl_heap *narrow_heap(size_t ceiling_pages)
{
    struct tsl_heap_config config = {
        .source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
        .ceiling_bytes = ceiling_pages * TSL_PAGE_BYTES,
    };
    struct tsl_heap *heap = NULL;

    config.source.protect = NULL;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    return heap;
}

/* Blocks of one size until there are no more, in a chain. */
static void *fill(struct tsl_heap *heap, size_t bytes, size_t *count)
{
    void *chain = NULL;

    *count = 0;
    for (void **block; (block = tsl_heap_alloc(heap, bytes)) != NULL; (*count)++) {
        memset(block, 0xC3, bytes);
        *block = chain;
        chain = block;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    return chain;
}

static void drain(struct tsl_heap *heap, void *chain)
{
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        chain = next;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
}

/* A full heap in an array takes blocks again when another one is added, all of them inside it. */
static void a_full_heap_gets_room(void)
{
    unsigned char *first = space, *added = space + ADDED_BYTES + 40;
    struct tsl_heap *heap = NULL;
    size_t before, behind, again;

    memset(space, OUTSIDE, sizeof space);
    REQUIRE(tsl_heap_create_fixed(first, ADDED_BYTES, &heap) == TSL_OK);
    test_heap_soften(heap);
    void *old = fill(heap, 100, &before);
    size_t ceiling = stats_of(heap).ceiling_bytes;
    CHECK_STATUS(tsl_heap_add_array(heap, added, ADDED_BYTES), TSL_OK);
    CHECK(stats_of(heap).ceiling_bytes > ceiling);
    CHECK(stats_of(heap).ceiling_bytes >= ceiling + ADDED_BYTES - 2 * TSL_PAGE_BYTES);
    void *new = fill(heap, 100, &behind);
    CHECK(behind > (ADDED_BYTES - 4 * TSL_PAGE_BYTES) / 112);
    for (void **block = new; block != NULL; block = *block)
        if (!is_in(block, added, ADDED_BYTES))
            behind = 0;
    CHECK(behind > 0);
    CHECK_EQ(stats_of(heap).taken_bytes, stats_of(heap).ceiling_bytes);
    CHECK_STATUS(tsl_heap_remove_array(heap, added), TSL_BUSY);
    drain(heap, new);
    CHECK_STATUS(tsl_heap_remove_array(heap, added), TSL_OK);
    CHECK_EQ(stats_of(heap).ceiling_bytes, ceiling);
    CHECK_SOUND(tsl_heap_verify(heap));
    for (size_t i = 0; i < 40; i++)
        CHECK(added[-1 - (int)i] == OUTSIDE && added[ADDED_BYTES + i] == OUTSIDE);
    drain(heap, old);
    /* The ring that blocks waited in takes a slab of another size. */
    (void)tsl_heap_end_quarantine(heap);
    (void)tsl_heap_trim(heap);
    drain(heap, fill(heap, 100, &again));
    CHECK_EQ(again, before);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

/* The source never gives more than its own ceiling, whatever is free in arrays. */
static void the_ceiling_is_exact(void)
{
    struct tsl_heap *heap = narrow_heap(64);
    size_t count, blocks = 0;

    void *large = tsl_heap_alloc(heap, 30 * TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    size_t ceiling = stats_of(heap).ceiling_bytes;
    CHECK(ceiling > 64 * TSL_PAGE_BYTES && ceiling < 64 * TSL_PAGE_BYTES + ADDED_BYTES);
    /* More than the array has in one piece: from the source, whose share is used up soon. */
    CHECK(tsl_heap_alloc(heap, 45 * TSL_PAGE_BYTES) == NULL);
    CHECK(source.out <= 64);
    void *chain = fill(heap, 2000, &count);
    for (void **block = chain; block != NULL; block = *block)
        blocks += is_in(block, space, ADDED_BYTES);
    CHECK(blocks > 0 && blocks < count);
    CHECK(source.out <= 64 && source.peak <= 64);
    CHECK(stats_of(heap).taken_bytes <= ceiling);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_BUSY);
    drain(heap, chain);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    CHECK_EQ(stats_of(heap).ceiling_bytes, 64 * TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    test_heap_end(heap, &source);
}

static void bad_frees_are_told_apart(void)
{
    struct tsl_heap *heap = narrow_heap(0);

    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    char *small = tsl_heap_alloc(heap, 48), *large = tsl_heap_alloc(heap, 5 * TSL_PAGE_BYTES);
    void *kept = tsl_heap_alloc(heap, 48);
    REQUIRE(is_in(small, space, ADDED_BYTES) && is_in(large, space, ADDED_BYTES));
    CHECK(tsl_heap_usable(heap, small) >= 48 && tsl_heap_usable(heap, large) >= 5 * TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_heap_free(heap, small + 16), TSL_INVALID);
    CHECK_STATUS(tsl_heap_free(heap, small + 1), TSL_MISALIGNED);
    CHECK_STATUS(tsl_heap_free(heap, large + TSL_PAGE_BYTES), TSL_INVALID);
    CHECK_STATUS(tsl_heap_free_sized(heap, small, 480), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_heap_free(heap, space), TSL_FOREIGN);
    CHECK_STATUS(tsl_heap_free(heap, space + 2 * ADDED_BYTES), TSL_FOREIGN);
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_BUSY);
    CHECK_STATUS(tsl_heap_free(heap, kept), TSL_OK);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_FOREIGN);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_FOREIGN);
    test_heap_end(heap, &source);
}

static void large_blocks_resize_within(void)
{
    struct tsl_heap *heap = narrow_heap(0);
    const size_t large = TSL_HEAP_CLASSES_LAST + TSL_PAGE_BYTES;

    without_tails(heap);
    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    unsigned char *block = tsl_heap_alloc(heap, large);
    REQUIRE(is_in(block, space, ADDED_BYTES));
    memset(block, 0x3C, large);
    CHECK_SAME(tsl_heap_realloc(heap, block, 20 * TSL_PAGE_BYTES), block);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_SAME(tsl_heap_realloc(heap, block, large + TSL_PAGE_BYTES), block);
    /* More than the array: moves to the source's pages. */
    unsigned char *moved = tsl_heap_realloc(heap, block, 60 * TSL_PAGE_BYTES);
    REQUIRE(moved != NULL && !is_in(moved, space, ADDED_BYTES));
    CHECK(moved[0] == 0x3C && moved[large - 1] == 0x3C);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, moved), TSL_OK);
    test_heap_end(heap, &source);
}

static void aligned_blocks_lie_within(void)
{
    struct tsl_heap *heap = narrow_heap(0);

    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    void *block = tsl_heap_alloc_aligned(heap, 8 * TSL_PAGE_BYTES, 3 * TSL_PAGE_BYTES);
    CHECK(is_in(block, space, ADDED_BYTES));
    CHECK(tsl_is_aligned((uintptr_t)block, 8 * TSL_PAGE_BYTES));
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    test_heap_end(heap, &source);
}

static void wrong_arrays_are_refused(void)
{
    struct tsl_heap *heap = narrow_heap(0);
    size_t ceiling = stats_of(heap).ceiling_bytes;

    CHECK_STATUS(tsl_heap_add_array(NULL, space, ADDED_BYTES), TSL_INVALID);
    CHECK_STATUS(tsl_heap_add_array(heap, NULL, ADDED_BYTES), TSL_INVALID);
    CHECK_STATUS(tsl_heap_add_array(heap, space, SIZE_MAX), TSL_INVALID);
    CHECK_STATUS(tsl_heap_add_array(heap, (void *)(UINTPTR_MAX - 99), 100), TSL_NO_MEMORY);
    for (size_t bytes = 1; bytes < 3 * TSL_PAGE_BYTES; bytes += 511)
        CHECK_STATUS(tsl_heap_add_array(heap, space, bytes), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_heap_add_array(heap, heap_test_arena, ADDED_BYTES), TSL_OVERLAP);
    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OVERLAP);
    CHECK_STATUS(tsl_heap_add_array(heap, space + ADDED_BYTES - 1, ADDED_BYTES), TSL_OVERLAP);
    CHECK_STATUS(tsl_heap_add_array(heap, space + ADDED_BYTES, ADDED_BYTES), TSL_OK);
    CHECK_STATUS(tsl_heap_remove_array(NULL, space), TSL_INVALID);
    CHECK_STATUS(tsl_heap_remove_array(heap, space + 1), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_heap_remove_array(heap, space + ADDED_BYTES), TSL_OK);
    CHECK_EQ(stats_of(heap).ceiling_bytes, ceiling);
    CHECK_EQ(test_refusals(heap, TSL_OVERLAP), 3);
    test_heap_end(heap, &source);
}

/* Pages of records that are empty are found behind one of another array that is in use again. */
static void an_array_leaves_whatever_another_holds(void)
{
    struct tsl_heap *heap = narrow_heap(0);
    const size_t large = TSL_HEAP_CLASSES_LAST + TSL_PAGE_BYTES;
    unsigned char *other = space + ADDED_BYTES;

    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, large)), TSL_OK);
    CHECK_STATUS(tsl_heap_add_array(heap, other, ADDED_BYTES), TSL_OK);
    void *block = tsl_heap_alloc(heap, large);
    REQUIRE(is_in(block, other, ADDED_BYTES));
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    block = tsl_heap_alloc(heap, large);
    REQUIRE(is_in(block, other, ADDED_BYTES));
    CHECK_STATUS(tsl_heap_remove_array(heap, space), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_remove_array(heap, other), TSL_OK);
    test_heap_end(heap, &source);
}

#define SLOTS 60u

static unsigned char *slots[SLOTS];
static size_t sizes[SLOTS];
static bool is_there[3];

static void step(struct tsl_heap *heap, struct rng *rng)
{
    unsigned which = rng_below(rng, SLOTS), array = rng_below(rng, 3);
    unsigned char *memory = space + array * ADDED_BYTES;

    if (rng_once_in(rng, 20)) {
        if (!is_there[array]) {
            CHECK_STATUS(tsl_heap_add_array(heap, memory, ADDED_BYTES), TSL_OK);
            is_there[array] = true;
            return;
        }
        bool has_live = false;
        for (unsigned i = 0; i < SLOTS; i++)
            has_live |= slots[i] != NULL && is_in(slots[i], memory, ADDED_BYTES);
        CHECK_STATUS(tsl_heap_remove_array(heap, memory), has_live ? TSL_BUSY : TSL_OK);
        is_there[array] = has_live;
        if (!has_live)
            memset(memory, OUTSIDE, ADDED_BYTES);
        return;
    }
    if (slots[which] != NULL) {
        CHECK(slots[which][0] == (unsigned char)which &&
              slots[which][sizes[which] - 1] == (unsigned char)which);
        CHECK_STATUS(tsl_heap_free(heap, slots[which]), TSL_OK);
        slots[which] = NULL;
        return;
    }
    sizes[which] = 1 + rng_below(rng, rng_once_in(rng, 8) ? 30000 : 700);
    slots[which] = tsl_heap_alloc(heap, sizes[which]);
    if (slots[which] != NULL)
        memset(slots[which], (int)which, sizes[which]);
}

/* Arrays come and go among random blocks: one leaves exactly when no block is in it. */
static void arrays_come_and_go(void)
{
    struct rng rng = rng_start(12);
    struct tsl_heap *heap = narrow_heap(60);

    memset(is_there, 0, sizeof is_there);
    for (unsigned i = 0; i < tap_rounds(4000); i++) {
        /* Now and then few blocks are left, so that arrays get a chance to be without. */
        for (unsigned j = 0; i % 64 == 0 && j < SLOTS - 2; j++) {
            if (slots[j] != NULL)
                CHECK_STATUS(tsl_heap_free(heap, slots[j]), TSL_OK);
            slots[j] = NULL;
        }
        step(heap, &rng);
        if (i % 16 == 0)
            CHECK_SOUND(tsl_heap_verify(heap));
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        CHECK_STATUS(tsl_heap_free(heap, slots[i]), TSL_OK);
        slots[i] = NULL;
    }
    test_heap_end(heap, &source);
}

static void rule_12_is_broken(void)
{
    struct tsl_heap *heap = narrow_heap(0);

    CHECK_STATUS(tsl_heap_add_array(heap, space, ADDED_BYTES), TSL_OK);
    void *block = tsl_heap_alloc(heap, 5 * TSL_PAGE_BYTES);
    CHECK_SOUND(tsl_heap_verify(heap));
    heap->arrays->taken_pages++;
    CHECK_BROKEN(tsl_heap_verify(heap), 12);
    heap->arrays->taken_pages--;
    heap->arrays->pages--;
    CHECK_BROKEN(tsl_heap_verify(heap), 12);
    heap->arrays->pages++;
    struct heap_array *array = tsl_heap_array_of(heap, (uintptr_t)block);
    struct heap_run **entry = tsl_heap_array_entry(array, (uintptr_t)block + 9 * TSL_PAGE_BYTES);
    struct heap_run *old = *entry;
    *entry = heap_map_at(heap, (uintptr_t)block);
    CHECK_BROKEN(tsl_heap_verify(heap), 12);
    *entry = old;
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

TAP_SUITE(heap_array, TAP_TEST(a_full_heap_gets_room), TAP_TEST(the_ceiling_is_exact),
          TAP_TEST(bad_frees_are_told_apart), TAP_TEST(large_blocks_resize_within),
          TAP_TEST(aligned_blocks_lie_within), TAP_TEST(wrong_arrays_are_refused),
          TAP_TEST(an_array_leaves_whatever_another_holds), TAP_TEST(arrays_come_and_go),
          TAP_TEST(rule_12_is_broken));
