/* SPDX-License-Identifier: MIT
 *
 * break_guard.c: break tests of what hardens a heap: rules 13 to 15, each broken in exactly one
 * place of a healthy heap, found under its number, mended, and the heap is sound again.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides, misuse_heap.h.
 * Callers: host, in the build for the debug tier.
 */
#define _GNU_SOURCE
#include "heap_allocator_internal.h"
#include "misuse_heap.h"

static struct tsl_heap *heap;
static unsigned char *live, *waiting, *large;

/* A heap with a live block, one that waits and a large one that waits. */
static void begin(enum tsl_heap_tier tier)
{
    struct tsl_heap_hardening how = {.tier = tier};

    heap = misuse_heap(&how);
    live = tsl_heap_alloc(heap, 100);
    waiting = tsl_heap_alloc(heap, 100);
    large = tsl_heap_alloc(heap, 70000);
    REQUIRE(live != NULL && waiting != NULL && large != NULL);
    if (tier == TSL_HEAP_TIER_MODERATE)
        return;
    CHECK_STATUS(tsl_heap_free(heap, waiting), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
}

static void end(void)
{
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, live), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
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

static void rule_13_free_blocks(void)
{
    begin(TSL_HEAP_TIER_MODERATE);
    CHECK_STATUS(tsl_heap_free(heap, waiting), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    BREAK(waiting[0], 1, 13);
    BREAK(waiting[100], saved_ + 1, 13);
    BREAK(waiting[111], saved_ + 1, 13); /* in the tail: the class is 112 */
    end();
}

static struct heap_ring *ring_of(unsigned index)
{
    return &heap->guard->rings[index];
}

static void rule_14_quarantine(void)
{
    begin(TSL_HEAP_TIER_FULL);
    struct heap_ring *ring = ring_of(heap_map_at(heap, (uintptr_t)waiting)->class_index);
    struct heap_ring *others = ring_of(HEAP_RINGS - 1);
    CHECK_EQ(ring->count, 1);
    CHECK_EQ(others->count, 1);
    BREAK(ring->blocks[ring->first], (uintptr_t)live, 14);
    BREAK(ring->blocks[ring->first], (uintptr_t)large, 14);
    BREAK(ring->blocks[ring->first], saved_ + 16, 14);
    BREAK(ring->count, TSL_HEAP_QUARANTINE + 1, 14);
    BREAK(ring->first, TSL_HEAP_QUARANTINE, 14);
    BREAK(heap->guard->large_waiting, 1, 14);
    ring->blocks[ring->first + 1] = (uintptr_t)waiting;
    BREAK(ring->count, 2, 14);
    struct heap_entry *entry = tsl_heap_ledger_find(heap, (uintptr_t)waiting);
    BREAK(entry->state, HEAP_ENTRY_LIVE, 14);
    end();
}

static void rule_15_ledger(void)
{
    begin(TSL_HEAP_TIER_FULL);
    struct heap_entry *entry = tsl_heap_ledger_find(heap, (uintptr_t)live);
    REQUIRE(entry != NULL);
    BREAK(entry->bytes, 4096 * 40, 15);
    BREAK(entry->address, saved_ + 8, 15);
    BREAK(entry->state, HEAP_ENTRY_FREED + 1, 15);
    BREAK(entry->serial, heap->guard->serial + 1, 15);
    BREAK(heap->guard->ledger.count, saved_ + 1, 15);
    end();
    begin(TSL_HEAP_TIER_DEBUG);
    entry = tsl_heap_ledger_find(heap, (uintptr_t)live);
    CHECK(entry->pages == 3);
    BREAK(entry->pages, 4, 15);
    BREAK(entry->base, saved_ - 4096, 15);
    end();
}

TAP_SUITE(break_guard, TAP_TEST(rule_13_free_blocks), TAP_TEST(rule_14_quarantine),
          TAP_TEST(rule_15_ledger));
