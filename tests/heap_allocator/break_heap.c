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
static struct heap_cpu *here; /* whose pools the small blocks come from */
static struct heap_run *full, *partial, *empty;

static struct heap_run *run_at(const void *block)
{
    return heap_map_at(heap, (uintptr_t)block);
}

/* The centre, unless this CPU owns its slabs. */
static struct heap_cpu *cpu_here(void)
{
    tsl_pin pin = tsl_cpu_pin();
    struct heap_cpu *cpu = heap_cpu_here(heap);

    tsl_cpu_unpin(pin);
    return heap_is_owner(cpu) ? cpu : &heap->centre;
}

/* Frees the first block of a chain; the next one. */
static void *free_first(void *chain)
{
    void *next = *(void **)chain;

    CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
    return next;
}

/* Three slabs of the class of `bytes` without the current one: one each. */
static void make_places(size_t bytes)
{
    unsigned blocks = heap->classes[tsl_heap_class_for(heap, bytes, 1)].slab_blocks;
    void *first[3] = {NULL};

    for (unsigned slab = 0; slab < 4; slab++) {
        void *chain = NULL;
        for (unsigned i = 0; i < blocks; i++) {
            void **block = tsl_heap_alloc(heap, bytes);
            REQUIRE(block != NULL);
            *block = chain;
            chain = block;
        }
        if (slab < 3)
            first[slab] = chain;
    }
    full = run_at(first[0]);
    partial = run_at(first[1]);
    empty = run_at(first[2]);
    CHECK(blocks > heap_full_slack(blocks) + 1);
    for (unsigned i = 0; i <= heap_full_slack(blocks); i++)
        first[1] = free_first(first[1]);
    while (first[2] != NULL)
        first[2] = free_first(first[2]);
}

/* A heap has live blocks when its test ends, so it cannot be ended; it must not hear of CPUs that
 * leave any more. */
static void leave_behind(void)
{
    if (HEAP_HAS_OWNERS && heap != NULL)
        tsl_heap_owners_end(heap);
    heap = NULL;
}

/* A heap with a slab in each place, a large and a parked block. */
static void begin(void)
{
    leave_behind();
    if (!tsl_cpu_is_online())
        tsl_cpu_join();
    heap = test_heap(&source, 0);
    small = tsl_heap_alloc(heap, 16);
    large = tsl_heap_alloc_aligned(heap, 2 * TSL_PAGE_BYTES, 70000);
    parked_large = tsl_heap_alloc(heap, 80000);
    make_places(1024);
    here = cpu_here();
    CHECK(here->pools[full->class_index].cpu == full->owner->cpu);
    CHECK(!HEAP_HAS_OWNERS || here != &heap->centre);
    CHECK(full->place == HEAP_PLACE_FULL && partial->place == HEAP_PLACE_PARTIAL);
    CHECK(empty->place == HEAP_PLACE_EMPTY && run_at(small)->place == HEAP_PLACE_CURRENT);
    CHECK_STATUS(tsl_heap_free_flags(heap, parked_large, TSL_HEAP_NO_WAIT), TSL_OK);
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
    BREAK(heap->pool_of[1], sizeof(struct heap_pool), 2);
    BREAK(heap->pool_of[4], saved_ - sizeof(struct heap_pool), 2);
    BREAK(heap->pool_of[4], saved_ + 1, 2);
    BREAK(heap->pool_of[0], saved_ + sizeof(struct heap_pool), 2);
    BREAK(heap->pool_of[HEAP_TABLE_ENTRIES - 1], HEAP_CLASSES * sizeof(struct heap_pool), 2);
}

static void rule_3_links_and_records(void)
{
    begin();
    BREAK(heap->large.next->prev, &heap->parked, 3);
    BREAK(partial->link.next->prev, &heap->parked, 3);
    BREAK(full->link.next->prev, &heap->parked, 3);
    struct heap_record_page *page = (void *)((uintptr_t)partial / TSL_PAGE_BYTES * TSL_PAGE_BYTES);
    size_t index = (size_t)((char *)partial - (char *)&page->first) / HEAP_RECORD_BYTES;
    BREAK(page->free[index / HEAP_WORD_BITS],
          saved_ | tsl_bits_mask((unsigned)(index % HEAP_WORD_BITS), 1), 3);
    BREAK(page->link.next->prev, &heap->parked, 3);
}

static void rule_4_slab_shape(void)
{
    begin();
    BREAK(run_at(small)->class_index, 1, 4);
    BREAK(heap->classes[0].slab_pages, saved_ + 1, 4);
    BREAK(full->blocks, saved_ - 1, 4);
    BREAK(full->reciprocal, saved_ + 1, 4);
    BREAK(full->owner, NULL, 4);
    BREAK(full->owner, &here->pools[0], 4);
    BREAK(full->class_index, HEAP_CLASSES, 4);
}

static void rule_5_slab_bits(void)
{
    begin();
    BREAK(full->free[HEAP_SLAB_WORDS - 1], tsl_bits_mask(TSL_WORD_BITS - 1, 1), 5);
    if (HEAP_HAS_OWNERS)
        BREAK(empty->remote[0], 1, 5);
}

static void rule_6_slab_place(void)
{
    begin();
    BREAK(full->place, HEAP_PLACE_PARTIAL, 6);
    BREAK(full->slack, saved_ + 1, 6);
    BREAK(full->free[0], 1, 6);
    BREAK(partial->slack, saved_ - 1, 6);
    BREAK(partial->place, HEAP_PLACE_EMPTY, 6);
    BREAK(empty->align_shift, 6, 6);
    BREAK(empty->free[0], saved_ & (saved_ - 1), 6);
    BREAK(empty->place, HEAP_PLACE_EMPTY + 1, 6);
    struct tsl_list *slabs = &here->pools[full->class_index].slabs;
    struct tsl_list *full_ones = &here->pools[full->class_index].full;
    tsl_list_remove(&full->link);
    tsl_list_push_back(slabs, &full->link);
    CHECK_BROKEN(tsl_heap_verify(heap), 6);
    tsl_list_remove(&full->link);
    tsl_list_push_back(full_ones, &full->link);
    CHECK_SOUND(tsl_heap_verify(heap));
    tsl_list_remove(&partial->link);
    tsl_list_push_back(full_ones, &partial->link);
    CHECK_BROKEN(tsl_heap_verify(heap), 6);
    tsl_list_remove(&partial->link);
    tsl_list_push_front(slabs, &partial->link);
    tsl_list_remove(&empty->link);
    tsl_list_push_front(slabs, &empty->link);
    CHECK_BROKEN(tsl_heap_verify(heap), 6);
    tsl_list_remove(&empty->link);
    tsl_list_push_back(slabs, &empty->link);
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_7_pools(void)
{
    begin();
    struct heap_pool *pool = &here->pools[full->class_index];
    struct heap_pool *unused = &here->pools[tsl_heap_class_for(heap, 512, 1)];
    BREAK(pool->slab_count, saved_ + 1, 7);
    BREAK(pool->slab_count, saved_ - 1, 7);
    BREAK(pool->empty_count, saved_ + 1, 7);
    BREAK(pool->block_bytes, saved_ + 16, 7);
    BREAK(unused->word, &empty->free[0], 7);
}

static void rule_7_blocks_at_hand(void)
{
    begin();
    struct heap_pool *pool = heap_owner_of(run_at(small));
    struct heap_pool *unused = &here->pools[tsl_heap_class_for(heap, 512, 1)];
    CHECK(pool->next != 0);
    BREAK(pool->base, saved_ + 16, 7);
    BREAK(pool->word, &partial->free[0], 7);
    BREAK(pool->current, partial, 7);
    BREAK(pool->next, 0, 7);
    BREAK(pool->next, saved_ + 8, 7);  /* inside a block */
    BREAK(pool->next, saved_ + 16, 7); /* has its bit */
    BREAK(pool->next, partial->start, 7);
    BREAK(unused->next, (tsl_word)small, 7);
    if (!HEAP_HAS_LAST)
        return;
    CHECK(tsl_heap_alloc(heap, 16) != NULL);
    CHECK_EQ((uintptr_t)pool->last_run, (uintptr_t)run_at(small));
    BREAK(pool->spare, pool->next, 7);
    BREAK(pool->spare, partial->start, 7);
    BREAK(unused->spare, (tsl_word)small, 7);
    BREAK(pool->spare, (tsl_word)small, 11); /* which is live */
}

static void rule_7_blocks_freed_last(void)
{
    begin();
    struct heap_pool *pool = heap_owner_of(run_at(small));
    if (HEAP_RECENT == 0 || pool->cpu == HEAP_CENTRE)
        return;
    void *freed = tsl_heap_alloc(heap, 16), *last = tsl_heap_alloc(heap, 16);
    CHECK(last != NULL);
    CHECK_STATUS(tsl_heap_free(heap, freed), TSL_OK);
    struct heap_recent *recent = pool->recent;
    REQUIRE(pool->recent_count == 1 && recent->block[0] == (tsl_word)freed);
    BREAK(pool->recent_count, HEAP_RECENT + 1, 7);
    BREAK(pool->recent, NULL, 7);
    BREAK(recent->block[0], 0, 7);
    BREAK(recent->block[0], saved_ + 16, 7);
    BREAK(recent->run[0], partial, 7);
    BREAK(recent->index[0], saved_ + 1, 7);
    recent->block[1] = recent->block[0];
    recent->run[1] = recent->run[0];
    recent->index[1] = recent->index[0];
    BREAK(pool->recent_count, 2, 7); /* one twice */
    struct heap_recent saved = *recent;
    recent->block[0] = (tsl_word)small;
    recent->index[0] = (uint8_t)(((uintptr_t)small - run_at(small)->start) / 16);
    CHECK_BROKEN(tsl_heap_verify(heap), 7); /* one that is live */
    *recent = saved;
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_8_map(void)
{
    begin();
    struct heap_run *run = run_at(large);
    uintptr_t free_page = (uintptr_t)source.start + (ARENA_PAGES - 1) * TSL_PAGE_BYTES;

    tsl_heap_map_set(heap, run->start + TSL_PAGE_BYTES, 1, &tsl_heap_nowhere);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, run->start + TSL_PAGE_BYTES, 1, run_at(small));
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, run->start, run->pages, run);
    CHECK_SOUND(tsl_heap_verify(heap));
    /* A page of no run is named; the parked block's page names its run again. */
    REQUIRE(tsl_heap_map_prepare(heap, free_page, 1, 0));
    tsl_heap_map_set(heap, free_page, 1, run);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, free_page, 1, &tsl_heap_nowhere);
    struct heap_run *parked = heap_run_of(heap->parked.next);
    tsl_heap_map_set(heap, (uintptr_t)parked_large, 1, parked);
    CHECK_BROKEN(tsl_heap_verify(heap), 8);
    tsl_heap_map_set(heap, (uintptr_t)parked_large, 1, &tsl_heap_returned);
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void rule_9_large_blocks(void)
{
    begin();
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
    BREAK(here->pools[0].frees, saved_ + 1, 11);
    BREAK(here->pools[0].allocs, saved_ + 1, 11);
    BREAK(heap->large_frees, saved_ + 1, 11);
    leave_behind();
}

TAP_SUITE(break_heap, TAP_TEST(rule_1_pages_are_accounted_for), TAP_TEST(rule_2_class_table),
          TAP_TEST(rule_3_links_and_records), TAP_TEST(rule_4_slab_shape),
          TAP_TEST(rule_5_slab_bits), TAP_TEST(rule_6_slab_place), TAP_TEST(rule_7_pools),
          TAP_TEST(rule_7_blocks_at_hand), TAP_TEST(rule_7_blocks_freed_last), TAP_TEST(rule_8_map),
          TAP_TEST(rule_9_large_blocks), TAP_TEST(rule_10_record_pages), TAP_TEST(rule_11_totals));
