/* SPDX-License-Identifier: MIT
 *
 * break_heap.c: break tests: each rule of tsl_heap_verify is broken in exactly one place of a
 * healthy heap, found under its number, mended, and the heap is sound again.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides, test_source.h, tap.h.
 * Callers: host and kernel test images.
 */
#include "heap_allocator_internal.h"
#include "test_source.h"

static struct test_source source;
static struct tsl_heap *heap;
static unsigned char *small, *large, *parked_large;

/* A heap with a partial, a full and an empty slab, a large and a parked block. */
static void begin(void)
{
    heap = test_heap(&source, 0);
    small = tsl_heap_alloc(heap, 16);
    large = tsl_heap_alloc_aligned(heap, 2 * TSL_PAGE_BYTES, 70000);
    parked_large = tsl_heap_alloc(heap, 80000);
    void *gone = tsl_heap_alloc(heap, 64);
    CHECK_STATUS(tsl_heap_free(heap, gone), TSL_OK);
    for (unsigned i = 0; i < heap->classes[HEAP_CLASSES - 1].slab_blocks; i++)
        CHECK(tsl_heap_alloc(heap, heap->largest) != NULL);
    CHECK_STATUS(tsl_heap_free_flags(heap, parked_large, TSL_HEAP_NO_WAIT), TSL_OK);
    CHECK(!tsl_list_is_empty(&heap->classes[HEAP_CLASSES - 1].slabs[HEAP_FULL]));
    CHECK_SOUND(tsl_heap_verify(heap));
}

static struct heap_run *run_at(const void *block)
{
    return heap_map_at(heap, (uintptr_t)block);
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

static void rule_1_pages_are_accounted_for(void)
{
    begin();
    BREAK(heap->taken_pages, saved_ + 1, 1);
    BREAK(heap->flight_pages, saved_ + 1, 1);
    BREAK(heap->head_pages, saved_ - 1, 1);
    BREAK(heap->map_leaf_pages, saved_ + 1, 1);
    BREAK(heap->ceiling_pages, heap->taken_pages - 1, 1);
    BREAK(heap->taken_pages, 1, 1);
}

static void rule_2_class_table(void)
{
    begin();
    BREAK(heap->class_of[1], 1, 2);
    BREAK(heap->class_of[4], saved_ - 1, 2);
    BREAK(heap->class_of[heap->largest / TSL_HEAP_ALIGN], HEAP_LARGE, 2);
}

static void rule_3_links_and_records(void)
{
    begin();
    BREAK(heap->large.next->prev, &heap->parked, 3);
    BREAK(run_at(small)->link.next->prev, &heap->parked, 3);
    struct heap_record_page *page =
        (void *)((uintptr_t)run_at(small) / TSL_PAGE_BYTES * TSL_PAGE_BYTES);
    BREAK(page->free[0], saved_ | tsl_bits_mask((unsigned)(run_at(small) - page->records), 1), 3);
    BREAK(page->link.next->prev, &heap->parked, 3);
}

static void rule_4_slab_shape(void)
{
    begin();
    BREAK(run_at(small)->class_index, 1, 4);
    BREAK(heap->classes[0].slab_pages, saved_ + 1, 4);
}

static void rule_5_slab_bits(void)
{
    begin();
    struct heap_run *run = run_at(small);
    BREAK(run->free[0], saved_ | 1, 5);
    BREAK(run->free[0], saved_ & ~(tsl_word)2, 5);
    BREAK(run->hint, 1, 5);
    /* A class whose slabs do not use all bits. */
    struct heap_run *full = heap_run_of(heap->classes[HEAP_CLASSES - 1].slabs[HEAP_FULL].next);
    BREAK(full->free[HEAP_SLAB_WORDS - 1], tsl_bits_mask(TSL_WORD_BITS - 1, 1), 5);
    struct heap_run *empty = heap_run_of(heap->classes[heap->class_of[4]].slabs[HEAP_EMPTY].next);
    unsigned blocks = heap->classes[empty->class_index].slab_blocks;
    if (blocks < HEAP_SLAB_BLOCKS) {
        tsl_bits_set_range(empty->free, blocks, 1);
        tsl_bits_clear_range(empty->free, 0, 1);
        CHECK_BROKEN(tsl_heap_verify(heap), 5);
        tsl_bits_clear_range(empty->free, blocks, 1);
        tsl_bits_set_range(empty->free, 0, 1);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
}

static void rule_6_slab_list(void)
{
    begin();
    struct heap_run *run = run_at(small);
    tsl_list_remove(&run->link);
    tsl_list_push_front(&heap->classes[0].slabs[HEAP_FULL], &run->link);
    CHECK_BROKEN(tsl_heap_verify(heap), 6);
    tsl_list_remove(&run->link);
    tsl_list_push_front(&heap->classes[0].slabs[HEAP_PARTIAL], &run->link);
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_7_class_counts(void)
{
    begin();
    BREAK(heap->classes[0].frees, saved_ + 1, 7);
    BREAK(heap->classes[0].slab_count, saved_ + 1, 7);
    BREAK(heap->classes[heap->class_of[4]].empty_count, 0, 7);
}

static void rule_8_map(void)
{
    begin();
    struct heap_run *run = run_at(large);
    uintptr_t free_page = (uintptr_t)source.start + (ARENA_PAGES - 1) * TSL_PAGE_BYTES;

    tsl_heap_map_set(heap, run->start + TSL_PAGE_BYTES, 1, NULL);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, run->start + TSL_PAGE_BYTES, 1, run_at(small));
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, run->start, run->pages, run);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* A page of no run is named; the parked block's page names its run again. */
    REQUIRE(tsl_heap_map_prepare(heap, free_page, 1));
    tsl_heap_map_set(heap, free_page, 1, run);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, free_page, 1, NULL);
    struct heap_run *parked = heap_run_of(heap->parked.next);
    tsl_heap_map_set(heap, (uintptr_t)parked_large, 1, parked);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, (uintptr_t)parked_large, 1, &tsl_heap_returned);
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_9_large_blocks(void)
{
    begin();
    BREAK(run_at(large)->class_index, 0, 9);
    BREAK(run_at(large)->align_shift, TSL_WORD_BITS - 1, 9);
    BREAK(heap->large_count, saved_ + 1, 9);
    BREAK(heap->large_pages, saved_ + 1, 9);
    BREAK(heap->parked_pages, saved_ + 1, 9);
}

static void rule_10_record_pages(void)
{
    begin();
    struct heap_record_page *page =
        TSL_CONTAINER_OF(heap->record_pages[0].next, struct heap_record_page, link);
    BREAK(page->used, saved_ + 1, 10);
    BREAK(heap->record_page_count, saved_ + 1, 10);
    BREAK(heap->record_spare_count, saved_ + 1, 10);
    BREAK(heap->flight_records, saved_ + 1, 10);
}

static void rule_11_totals(void)
{
    begin();
    BREAK(heap->live_bytes, saved_ + 16, 11);
    BREAK(heap->peak_bytes, heap->live_bytes - 1, 11);
    BREAK(heap->large_frees, saved_ + 1, 11);
}

TAP_SUITE(break_heap, TAP_TEST(rule_1_pages_are_accounted_for), TAP_TEST(rule_2_class_table),
          TAP_TEST(rule_3_links_and_records), TAP_TEST(rule_4_slab_shape),
          TAP_TEST(rule_5_slab_bits), TAP_TEST(rule_6_slab_list), TAP_TEST(rule_7_class_counts),
          TAP_TEST(rule_8_map), TAP_TEST(rule_9_large_blocks), TAP_TEST(rule_10_record_pages),
          TAP_TEST(rule_11_totals));
