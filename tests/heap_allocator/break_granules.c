/* SPDX-License-Identifier: MIT
 *
 * break_granules.c: break tests of the core of granules: each rule of its tsl_heap_verify is broken
 * in exactly one place of a healthy heap, found under its number, mended, and the heap is sound
 * again.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides, test_source.h, tap.h.
 * Callers: host and kernel test images, where HEAP_CORE_GRANULES is on; host builds without.
 */
#include "heap_allocator_internal.h"
#include "test_source.h"

static struct test_source source;
static struct tsl_heap *heap;
static struct heap_granules *map;
static unsigned char *small, *large, *strict;

static size_t granule_of(const void *block)
{
    return ((uintptr_t)block - heap_granules_origin(&heap->source)) / HEAP_GRANULE_BYTES;
}

static size_t page_of(const void *block)
{
    return granule_of(block) / HEAP_PAGE_GRANULES;
}

/* A heap with a small, a large and a strict block, an empty page and pages that went back. */
static void begin(void)
{
    if (heap != NULL) {
        CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, strict), TSL_OK);
        test_heap_end(heap, &source);
    }
    heap = test_heap(&source, 200);
    map = heap->granules;
    small = tsl_heap_alloc(heap, 40);
    large = tsl_heap_alloc(heap, 70000);
    strict = tsl_heap_alloc_aligned(heap, 2 * TSL_PAGE_BYTES, 100);
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 300000)), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, 8000)), TSL_OK);
    CHECK(map->empty_pages > 0 && map->owned_pages < 30);
    CHECK_SOUND(tsl_heap_verify(heap));
}

/* Writes `value` to `place` (an integer), expects the rule, restores. */
#define BREAK(place, value, rule_number)                                                           \
    do {                                                                                           \
        __typeof__(place) saved_ = (place);                                                        \
        (place) = (__typeof__(place))(value);                                                      \
        CHECK_BROKEN(tsl_heap_verify(heap), (rule_number));                                        \
        (place) = saved_;                                                                          \
        CHECK_SOUND(tsl_heap_verify(heap));                                                        \
    } while (0)

/* Turns the bit of a granule over. */
static void break_bit(size_t granule, unsigned rule)
{
    tsl_word bit = (tsl_word)1 << granule % TSL_WORD_BITS;

    BREAK(map->bits[granule / TSL_WORD_BITS], saved_ ^ bit, rule);
}

static void rule_21_pages_are_accounted_for(void)
{
    begin();
    BREAK(heap->taken_pages, saved_ + 1, 21);
    BREAK(heap->flight_pages, saved_ + 1, 21);
    BREAK(heap->head_pages, saved_ - 1, 21);
    BREAK(heap->ceiling_pages, heap->taken_pages - 1, 21);
    heap->taken_pages++;
    map->owned_pages++;
    CHECK_BROKEN(tsl_heap_verify(heap), 21);
    heap->taken_pages--;
    map->owned_pages--;
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_22_other_pages_look_like_blocks(void)
{
    begin();
    size_t end = (map->pages + 1) * HEAP_PAGE_GRANULES;
    break_bit(0, 22);
    break_bit(HEAP_PAGE_GRANULES - 1, 22);
    break_bit(end, 22);
    break_bit(end - 1, 22);
    BREAK(((uint8_t *)map->hints)[map->pages], 1, 22);
    BREAK(map->marks[map->pages], HEAP_PAGE_KNOWN | HEAP_PAGE_STRICT, 22);
    BREAK(map->marks[0], HEAP_PAGE_OWNED, 22);
}

static void rule_23_live_blocks(void)
{
    begin();
    BREAK(map->allocs, saved_ + 1, 23);
    BREAK(map->frees, saved_ + 1, 23);
    BREAK(map->live, saved_ - 1, 23);
    /* A block more, one less, one that is longer. */
    break_bit(granule_of(small) + 1, 23);
    break_bit(granule_of(large) + 100, 23);
    break_bit(granule_of(strict) + 6, 23);
}

static void rule_24_hints(void)
{
    begin();
    uint8_t *hint = (uint8_t *)map->hints + page_of(strict);
    uint8_t exact = (uint8_t)tsl_heap_granules_code(HEAP_PAGE_GRANULES - 7);

    BREAK(*hint, 0, 24);
    BREAK(*hint, HEAP_HINT_LOOK + 1, 24);
    BREAK(*hint, exact - 1, 24);
}

static void rule_25_empty_pages(void)
{
    begin();
    BREAK(map->empty_pages, saved_ + 1, 25);
    BREAK(map->empty_pages, saved_ - 1, 25);
}

static void rule_26_strict_blocks(void)
{
    begin();
    CHECK((map->marks[page_of(strict)] & HEAP_PAGE_STRICT) != 0);
    BREAK(map->marks[page_of(large) + 1], saved_ | HEAP_PAGE_STRICT, 26);
    BREAK(map->marks[page_of(large) + 1], saved_ | 1u << HEAP_PAGE_ALIGN_SHIFT, 26);
    BREAK(map->marks[page_of(strict)], saved_ | 31u << HEAP_PAGE_ALIGN_SHIFT, 26);
    begin();
    heap = NULL;
}

TAP_SUITE(break_granules, TAP_TEST(rule_21_pages_are_accounted_for),
          TAP_TEST(rule_22_other_pages_look_like_blocks), TAP_TEST(rule_23_live_blocks),
          TAP_TEST(rule_24_hints), TAP_TEST(rule_25_empty_pages), TAP_TEST(rule_26_strict_blocks));
