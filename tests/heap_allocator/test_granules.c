/* SPDX-License-Identifier: MIT
 *
 * test_granules.c: what only a heap of granules does: exact sizes, blocks that grow and shrink
 * between their neighbours, alignments that are remembered, pages that are kept and go back.
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h.
 * Callers: host and kernel test images, where HEAP_CORE_GRANULES is on; host builds without.
 */
#include <tesela/checked.h>

#include "test_source.h"

static struct test_source source;

static bool is_filled(const void *block, unsigned char value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)block)[i] != value)
            return false;
    return true;
}

static void blocks_have_what_was_asked_for(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t bytes = 0; bytes < 3000; bytes += 7) {
        unsigned char *block = tsl_heap_alloc(heap, bytes);
        size_t room = tsl_heap_usable(heap, block);
        CHECK_EQ(room, bytes <= 32 ? 32 : tsl_align_up(bytes, 16));
        memset(block, 0xAB, room);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    }
    test_heap_end(heap, &source);
}

static void neighbours_lie_side_by_side(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    char *one = tsl_heap_alloc(heap, 48), *two = tsl_heap_alloc(heap, 100);
    char *three = tsl_heap_alloc(heap, 32);

    CHECK_SAME(two, one + 48);
    CHECK_SAME(three, two + 112);
    CHECK_STATUS(tsl_heap_free(heap, two), TSL_OK);
    /* The lowest hole that is long enough; what is longer lies behind. */
    CHECK_SAME(tsl_heap_alloc(heap, 113), three + 32);
    CHECK_SAME(tsl_heap_alloc(heap, 80), one + 48);
    CHECK_SAME(tsl_heap_alloc(heap, 32), one + 48 + 80);
    CHECK_STATUS(tsl_heap_free(heap, one + 48), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, one + 48 + 80), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, one), TSL_OK);
    /* Three free neighbours are one run. */
    CHECK_SAME(tsl_heap_alloc(heap, 160), one);
    CHECK_STATUS(tsl_heap_free(heap, one), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, three + 32), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, three), TSL_OK);
    test_heap_end(heap, &source);
}

static void blocks_cross_pages(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    char *first = tsl_heap_alloc(heap, 3000), *second = tsl_heap_alloc(heap, 3000);
    char *third = tsl_heap_alloc(heap, 3000);

    CHECK_EQ(source.out * TSL_PAGE_BYTES - (size_t)(first - source.start), 3 * TSL_PAGE_BYTES);
    CHECK_SAME(second, first + 3008);
    CHECK_SAME(third, second + 3008);
    memset(second, 5, 3000);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, third), TSL_OK);
    CHECK(is_filled(second, 5, 3000));
    CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
    test_heap_end(heap, &source);
}

static void resize_between_neighbours(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    unsigned char *block = tsl_heap_alloc(heap, 500), *wall = tsl_heap_alloc(heap, 32);

    memset(block, 9, 500);
    CHECK_SAME(tsl_heap_realloc(heap, block, 100), block);
    CHECK_EQ(tsl_heap_usable(heap, block), 112);
    CHECK_SAME(tsl_heap_alloc(heap, 200), block + 112);
    CHECK_STATUS(tsl_heap_free(heap, block + 112), TSL_OK);
    CHECK_SAME(tsl_heap_realloc(heap, block, 512), block);
    CHECK_EQ(tsl_heap_usable(heap, block), 512);
    CHECK(is_filled(block, 9, 100));
    CHECK_SOUND(tsl_heap_verify(heap));
    unsigned char *moved = tsl_heap_realloc(heap, block, 513);
    CHECK(moved != NULL && moved != block && is_filled(moved, 9, 100));
    CHECK_STATUS(tsl_heap_free(heap, moved), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
    test_heap_end(heap, &source);
}

/* The pages behind a block come from the source without a copy, when they are free there. */
static void blocks_grow_into_new_pages(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    unsigned char *block = tsl_heap_alloc(heap, 3 * TSL_PAGE_BYTES + 100);
    size_t out = source.out;

    memset(block, 6, 3 * TSL_PAGE_BYTES + 100);
    CHECK_SAME(tsl_heap_realloc(heap, block, 9 * TSL_PAGE_BYTES - 50), block);
    CHECK_EQ(source.out, out + 5);
    CHECK(is_filled(block, 6, 3 * TSL_PAGE_BYTES + 100));
    CHECK_SOUND(tsl_heap_verify(heap));
    /* Not beyond the arena, nor when the source says no: then it moves, or stays. */
    CHECK(tsl_heap_realloc(heap, block, ARENA_PAGES * TSL_PAGE_BYTES) == NULL);
    source.fail_at = source.calls + 1;
    source.fail_onward = true;
    CHECK(tsl_heap_realloc(heap, block, 20 * TSL_PAGE_BYTES) == NULL);
    source.fail_at = 0;
    CHECK_EQ(tsl_heap_usable(heap, block), 9 * TSL_PAGE_BYTES - 48);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

static void alignments_from_a_page_on_are_remembered(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    unsigned char *first = tsl_heap_alloc(heap, 32);
    unsigned char *strict = tsl_heap_alloc_aligned(heap, 16 * 1024, 100);
    /* All that is free before it, so that the next one lies behind it. */
    void *before = tsl_heap_alloc(heap, (size_t)(strict - first) - 32);
    unsigned char *wall = tsl_heap_alloc(heap, 48);

    CHECK_SAME(wall, strict + 112);
    for (unsigned i = 0; i < 4; i++) {
        unsigned char *moved = tsl_heap_realloc(heap, strict, 200 + 3000 * i);
        CHECK(moved != NULL && (uintptr_t)moved % (16 * 1024) == 0);
        CHECK_SOUND(tsl_heap_verify(heap));
        strict = moved;
    }
    CHECK_STATUS(tsl_heap_free(heap, strict), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, before), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    test_heap_end(heap, &source);
}

/* A block that was asked for with an alignment of a page moves to any page: where it lay by chance
 * it asks for no more. What a resize asked for it keeps. */
static void an_alignment_is_what_was_asked_for(void)
{
    static char *pages[ARENA_PAGES];
    struct tsl_heap *heap = test_heap(&source, 0);
    size_t count = 0, at = 0;

    while ((pages[count] = tsl_heap_alloc_aligned(heap, TSL_PAGE_BYTES, TSL_PAGE_BYTES)) != NULL)
        count++;
    REQUIRE(count > 100);
    while ((uintptr_t)pages[at] % (16 * TSL_PAGE_BYTES) != 0 || at < 16)
        at++;
    /* Two neighbours elsewhere are all that is free. */
    size_t hole = at - 7;
    REQUIRE(pages[hole + 1] == pages[hole] + TSL_PAGE_BYTES);
    char *place = pages[hole];
    CHECK_STATUS(tsl_heap_free(heap, pages[hole]), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, pages[hole + 1]), TSL_OK);
    CHECK_SAME(tsl_heap_realloc(heap, pages[at], 2 * TSL_PAGE_BYTES), place);
    /* The place that became free is as aligned as this asks for. */
    char *strict = tsl_heap_realloc_aligned(heap, 8 * TSL_PAGE_BYTES, place, TSL_PAGE_BYTES);
    CHECK((uintptr_t)strict % (8 * TSL_PAGE_BYTES) == 0);
    pages[at] = strict;
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK(tsl_heap_realloc(heap, strict, 2 * TSL_PAGE_BYTES) == NULL);
    for (size_t i = 0; i < count; i++)
        if (i != hole && i != hole + 1)
            CHECK_STATUS(tsl_heap_free(heap, pages[i]), TSL_OK);
    test_heap_end(heap, &source);
}

/* A power of two up to a page is aligned to itself, also one that a resize makes. Without memory a
 * block that shrinks stays where it is. */
static void a_resize_to_a_power_of_two_aligns(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    for (size_t bytes = 16; bytes <= 2 * TSL_PAGE_BYTES; bytes *= 2) {
        for (size_t old = 100; old < 10000; old += 1100) {
            void *before = tsl_heap_alloc(heap, 48);
            unsigned char *block = tsl_heap_alloc(heap, old), *wall = tsl_heap_alloc(heap, 32);
            memset(block, 8, old);
            block = tsl_heap_realloc(heap, block, bytes);
            size_t align = bytes <= TSL_PAGE_BYTES ? bytes : TSL_HEAP_ALIGN;
            CHECK((uintptr_t)block % align == 0 && is_filled(block, 8, old < bytes ? old : bytes));
            CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
            CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
            CHECK_STATUS(tsl_heap_free(heap, before), TSL_OK);
        }
    }
    void *before = tsl_heap_alloc(heap, 48), *chain = NULL;
    unsigned char *block = tsl_heap_alloc(heap, 1100);
    for (void **rest; (rest = tsl_heap_alloc(heap, 32)) != NULL; chain = rest)
        *rest = chain;
    size_t refused = test_refusals(heap, TSL_NO_MEMORY);
    CHECK_SAME(tsl_heap_realloc(heap, block, 1024), block);
    CHECK_EQ(test_refusals(heap, TSL_NO_MEMORY), refused);
    CHECK_EQ(tsl_heap_usable(heap, block), 1024);
    CHECK_STATUS(tsl_heap_free_sized(heap, block, 1024), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, before), TSL_OK);
    for (void *next; chain != NULL; chain = next) {
        next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
    }
    test_heap_end(heap, &source);
}

/* A block at the start of a page that nobody asked to be there keeps half a page of alignment. */
static void chance_is_no_promise(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    unsigned char *block = tsl_heap_alloc(heap, 100), *wall = tsl_heap_alloc(heap, 32);

    CHECK_EQ((uintptr_t)block % TSL_PAGE_BYTES, 0);
    unsigned char *moved = tsl_heap_realloc(heap, block, 200);
    CHECK_SAME(moved, block + TSL_PAGE_BYTES / 2);
    CHECK_STATUS(tsl_heap_free(heap, moved), TSL_OK);
    /* Nor does the mark of a page outlive the block that it was about. */
    block = tsl_heap_realloc_aligned(heap, TSL_PAGE_BYTES, NULL, 100);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
    test_heap_end(heap, &source);
}

/* Calls of the page source while a block is copied. */
static struct tsl_heap *raced;
static unsigned char *raced_block;

static void *get_and_free(void *context, size_t pages)
{
    if (raced != NULL) {
        CHECK_STATUS(tsl_heap_free(raced, raced_block), TSL_BUSY);
        CHECK(tsl_heap_realloc(raced, raced_block, 10) == NULL);
        CHECK_SOUND(tsl_heap_verify(raced));
        raced_block = NULL;
    }
    return test_source_get(context, pages);
}

static void nobody_frees_a_block_that_moves(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap *heap = NULL;

    config.source.get = get_and_free;
    config.source.remap = NULL;
    REQUIRE(tsl_heap_create(&config, &heap) == TSL_OK);
    raced_block = tsl_heap_alloc(heap, 2000);
    memset(raced_block, 3, 2000);
    unsigned char *block = raced_block;
    raced = heap;
    block = tsl_heap_realloc(heap, block, 30000);
    raced = NULL;
    CHECK(block != NULL && raced_block == NULL && is_filled(block, 3, 2000));
    CHECK_EQ(test_refusals(heap, TSL_BUSY), 2);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

static void the_reserve_is_not_used_up_by_what_was_freed(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = 60 * TSL_PAGE_BYTES,
                                     .reserve_bytes = 8 * TSL_PAGE_BYTES};
    struct tsl_heap *heap = NULL;

    REQUIRE(tsl_heap_create(&config, &heap) == TSL_OK);
    void *most = tsl_heap_alloc(heap, (52 - source.out) * TSL_PAGE_BYTES);
    void *urgent = tsl_heap_alloc_flags(heap, 2 * TSL_PAGE_BYTES, TSL_HEAP_EMERGENCY);
    CHECK(most != NULL && urgent != NULL && source.out == 54);
    CHECK_STATUS(tsl_heap_free(heap, urgent), TSL_OK);
    CHECK_EQ(source.out, 52);
    CHECK(tsl_heap_alloc(heap, 100) == NULL);
    CHECK_STATUS(tsl_heap_free(heap, most), TSL_OK);
    test_heap_end(heap, &source);
}

static void some_empty_pages_are_kept(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);
    struct tsl_heap_stats stats;
    void *blocks[50];

    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 2 * TSL_PAGE_BYTES)), TSL_OK);
    size_t calls = source.calls, out = source.out;
    for (unsigned i = 0; i < 10; i++)
        CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 2 * TSL_PAGE_BYTES)), TSL_OK);
    CHECK(source.calls == calls && source.out == out);
    for (unsigned i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = tsl_heap_alloc(heap, TSL_PAGE_BYTES);
    for (unsigned i = 0; i < TSL_COUNT_OF(blocks); i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    tsl_heap_stats(heap, &stats);
    CHECK(stats.empty_bytes >= 4 * TSL_PAGE_BYTES && stats.empty_bytes <= 12 * TSL_PAGE_BYTES);
    CHECK_EQ(stats.taken_bytes, source.out * TSL_PAGE_BYTES);
    CHECK_EQ(tsl_heap_trim(heap), stats.empty_bytes / TSL_PAGE_BYTES);
    /* A large block's own go back at once, and no other. */
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 2 * TSL_PAGE_BYTES)), TSL_OK);
    void *wall = tsl_heap_alloc(heap, 32);
    out = source.out;
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 6 * TSL_PAGE_BYTES)), TSL_OK);
    CHECK_EQ(source.out, out);
    CHECK_STATUS(tsl_heap_free(heap, wall), TSL_OK);
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(tsl_heap_trim(heap), stats.empty_bytes / TSL_PAGE_BYTES);
    test_heap_end(heap, &source);
}

TAP_SUITE(granules, TAP_TEST(blocks_have_what_was_asked_for), TAP_TEST(neighbours_lie_side_by_side),
          TAP_TEST(blocks_cross_pages), TAP_TEST(resize_between_neighbours),
          TAP_TEST(blocks_grow_into_new_pages), TAP_TEST(alignments_from_a_page_on_are_remembered),
          TAP_TEST(an_alignment_is_what_was_asked_for), TAP_TEST(a_resize_to_a_power_of_two_aligns),
          TAP_TEST(chance_is_no_promise), TAP_TEST(nobody_frees_a_block_that_moves),
          TAP_TEST(the_reserve_is_not_used_up_by_what_was_freed),
          TAP_TEST(some_empty_pages_are_kept));
