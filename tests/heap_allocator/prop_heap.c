/* SPDX-License-Identifier: MIT
 *
 * prop_heap.c: random operations against a model: contents stamped, alignment and overlap checked,
 * verified after each step; at the end everything is back and the full span can be allocated again.
 *
 * Owns:    the model.
 * Needs:   test_source.h, rng.h, tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/checked.h>

#include "rng.h"
#include "test_source.h"

#define BLOCKS 200u

struct block {
    unsigned char *start;
    size_t bytes;
    size_t align;
    unsigned char stamp;
};

static struct test_source source;
static struct block blocks[BLOCKS];
static struct rng chance;

/* Log-uniform up to a few pages, now and then on an edge. */
static size_t random_size(void)
{
    size_t bytes = (size_t)1 << rng_below(&chance, 15);

    bytes += rng_below(&chance, (uint32_t)bytes);
    switch (rng_below(&chance, 8)) {
    case 0:
        return tsl_align_up(bytes, 16);
    case 1:
        return (size_t)1 << rng_below(&chance, 14);
    case 2:
        return rng_below(&chance, 3);
    default:
        return bytes;
    }
}

static void stamp(struct block *block)
{
    block->stamp = (unsigned char)rng_u32(&chance);
    memset(block->start, block->stamp, block->bytes);
}

static bool is_stamped(const struct block *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (block->start[i] != block->stamp)
            return false;
    return true;
}

/* What any new or moved block must be. */
static void check_place(struct tsl_heap *heap, const struct block *block)
{
    uintptr_t start = (uintptr_t)block->start;
    size_t usable = tsl_heap_usable(heap, block->start);

    CHECK(tsl_is_aligned(start, block->align) && usable >= block->bytes);
    for (size_t i = 0; i < BLOCKS; i++) {
        const struct block *other = &blocks[i];
        if (other->start != NULL && other != block) {
            uintptr_t at = (uintptr_t)other->start;
            CHECK(start + usable <= at || at + (other->bytes + (other->bytes == 0)) <= start);
        }
    }
}

static void step_alloc(struct tsl_heap *heap, struct block *block)
{
    block->bytes = random_size();
    block->align = TSL_HEAP_ALIGN;
    switch (rng_below(&chance, 4)) {
    case 0:
        block->align <<= rng_below(&chance, 11);
        block->start = tsl_heap_alloc_aligned(heap, block->align, block->bytes);
        break;
    case 1:
        block->start = tsl_heap_alloc_array(heap, block->bytes, 1);
        block->stamp = 0;
        CHECK(block->start == NULL || is_stamped(block, block->bytes));
        break;
    case 2:
        block->start = tsl_heap_alloc_flags(heap, block->bytes, TSL_HEAP_NO_WAIT);
        break;
    default:
        block->start = tsl_heap_alloc(heap, block->bytes);
    }
    if (block->start != NULL) {
        check_place(heap, block);
        stamp(block);
    }
}

static void step_resize(struct tsl_heap *heap, struct block *block)
{
    size_t bytes = random_size();
    size_t kept = bytes < block->bytes ? bytes : block->bytes;
    size_t align = TSL_HEAP_ALIGN << (rng_once_in(&chance, 3) ? rng_below(&chance, 11) : 0);
    unsigned char *moved = align > TSL_HEAP_ALIGN
                               ? tsl_heap_realloc_aligned(heap, align, block->start, bytes)
                               : tsl_heap_realloc(heap, block->start, bytes);

    if (moved == NULL) {
        CHECK((bytes > block->bytes || align > block->align) && is_stamped(block, block->bytes));
        return;
    }
    block->start = moved;
    block->align = align > block->align ? align : block->align;
    CHECK(is_stamped(block, kept));
    block->bytes = bytes;
    check_place(heap, block);
    stamp(block);
}

static void step_free(struct tsl_heap *heap, struct block *block)
{
    unsigned flags = rng_once_in(&chance, 4) ? TSL_HEAP_NO_WAIT : 0;

    CHECK(is_stamped(block, block->bytes));
    CHECK_STATUS(tsl_heap_free_flags(heap, block->start, flags), TSL_OK);
    block->start = NULL;
}

static void step_misuse(struct tsl_heap *heap, const struct block *block)
{
    struct tsl_heap_stats before, after;
    size_t usable = tsl_heap_usable(heap, block->start); /* an object of size 0 may have none */
    size_t inside = 1 + (usable > 1 ? rng_below(&chance, (uint32_t)usable - 1) : 0);

    tsl_heap_stats(heap, &before);
    CHECK(tsl_heap_free(heap, block->start + inside) != TSL_OK);
    CHECK(tsl_heap_realloc(heap, block->start + inside, 5) == NULL);
    tsl_heap_stats(heap, &after);
    /* Any free sees to blocks that wait in quarantine for somebody who may call the source. */
    CHECK(test_heap_is_hardened ||
          (before.live_bytes == after.live_bytes && before.taken_bytes == after.taken_bytes));
    CHECK(is_stamped(block, block->bytes));
}

static void step(struct tsl_heap *heap, unsigned fullness)
{
    struct block *block = &blocks[rng_below(&chance, BLOCKS)];

    if (block->start == NULL) {
        if (rng_below(&chance, 10) < fullness)
            step_alloc(heap, block);
    } else if (rng_below(&chance, 10) >= fullness) {
        step_free(heap, block);
    } else if (rng_once_in(&chance, 3)) {
        step_resize(heap, block);
    } else if (rng_once_in(&chance, 5)) {
        step_misuse(heap, block);
    }
    if (rng_once_in(&chance, 200))
        (void)tsl_heap_trim(heap);
}

static void free_all(struct tsl_heap *heap)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i].start != NULL) {
            step_free(heap, &blocks[i]);
            CHECK_SOUND(tsl_heap_verify(heap));
        }
    }
}

/* Rounds with ceilings from tight to none; within a round the heap swells and shrinks. */
static void random_operations_keep_every_promise(void)
{
    static const size_t ceilings[] = {40, 150, 0};

    chance = rng_start(1);
    for (size_t round = 0; round < TSL_COUNT_OF(ceilings); round++) {
        struct tsl_heap *heap = test_heap(&source, ceilings[round]);
        REQUIRE(heap != NULL);
        for (unsigned i = 0; i < tap_rounds(4000); i++) {
            step(heap, i / 500 % 2 == 0 ? 8 : 3);
            CHECK_SOUND(tsl_heap_verify(heap));
            CHECK(ceilings[round] == 0 || source.out <= ceilings[round]);
        }
        free_all(heap);
        (void)tsl_heap_end_quarantine(heap);
        (void)tsl_heap_trim(heap);
        size_t span = (ceilings[round] != 0 ? ceilings[round] : ARENA_PAGES) - source.out - 1;
        /* A tail, a page without access on each side, an entry of the ledger. */
        span -= test_heap_is_hardened ? 4 : 0;
        void *all = tsl_heap_alloc(heap, span * TSL_PAGE_BYTES);
        /* Without a ceiling the leaves of the map lie in the middle of the arena. */
        CHECK(all != NULL || ceilings[round] == 0);
        CHECK_STATUS(tsl_heap_free(heap, all), TSL_OK);
        test_heap_end(heap, &source);
    }
}

/* As above, while one call of the page source in ten fails. */
static void random_operations_with_an_unreliable_source(void)
{
    struct tsl_heap *heap = test_heap(&source, 0);

    chance = rng_start(2);
    for (unsigned i = 0; i < tap_rounds(4000); i++) {
        source.fail_at = rng_once_in(&chance, 10) ? source.calls + 1 : 0;
        source.fail_onward = rng_once_in(&chance, 2);
        step(heap, i / 300 % 2 == 0 ? 8 : 3);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    source.fail_at = 0;
    free_all(heap);
    test_heap_end(heap, &source);
}

TAP_SUITE(prop_heap, TAP_TEST(random_operations_keep_every_promise),
          TAP_TEST(random_operations_with_an_unreliable_source));
