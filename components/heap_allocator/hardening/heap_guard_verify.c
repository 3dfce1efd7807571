/* SPDX-License-Identifier: MIT
 *
 * heap_guard_verify.c: self-check of what hardens a heap: rules 13 to 15 of README.md.
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   heap_canary.c; heap_quarantine.c and heap_ledger.c where they are compiled in.
 * Callers: heap_slabs_verify.c.
 */
#include "../heap_allocator_internal.h"

/* At least one, so that this compiles without quarantine. */
#define RING_SLOTS ((unsigned)TSL_HEAP_QUARANTINE + !HEAP_HAS_QUARANTINE)

static struct tsl_defect broken(unsigned rule, uintptr_t place, const char *text)
{
    return tsl_defect_at("heap", rule, place, text);
}

/* ---- Rule 13: free blocks ---- */

static bool is_zero(const tsl_word *words, size_t bytes)
{
    size_t i = 0;

    while (i < bytes / sizeof *words && words[i] == 0)
        i++;
    return i == bytes / sizeof *words;
}

struct tsl_defect tsl_heap_guard_check_slab(const struct tsl_heap *self, const struct heap_run *run)
{
    size_t room = self->classes[run->class_index].block_bytes, bytes;

    if (self->guard->tier < TSL_HEAP_TIER_MODERATE || heap_is_zero(run))
        return TSL_NO_DEFECT;
    for (size_t i = 0; i < run->blocks; i++) {
        const void *block = (const void *)(run->start + i * room);
        if ((heap_free_bits(run, i / HEAP_WORD_BITS) >> (i % HEAP_WORD_BITS) & 1) == 0)
            continue;
        if (tsl_heap_canary_look(self, block, room, &bytes) != HEAP_TAIL_FREE)
            return broken(13, (uintptr_t)block, "a free block's tail says so");
        if (!is_zero(block, room - HEAP_TAIL_BYTES))
            return broken(13, (uintptr_t)block, "a free block is zero before its tail");
    }
    return TSL_NO_DEFECT;
}

/* ---- Rule 14: what waits ---- */

static uintptr_t waiting(const struct heap_ring *ring, unsigned index)
{
    return ring->blocks[(ring->first + index) % RING_SLOTS];
}

static bool waits_twice(const struct heap_ring *ring, unsigned index)
{
    unsigned before = 0;

    while (before < index && waiting(ring, before) != waiting(ring, index))
        before++;
    return before < index;
}

/* => guard locked. Bytes of a large block that waits are added. */
static struct tsl_defect check_waiting(struct tsl_heap *self, unsigned ring, uintptr_t block,
                                       size_t *large_bytes)
{
    const struct heap_entry *entry = TSL_HEAP_SITES ? tsl_heap_ledger_around(self, block) : NULL;
    struct heap_spot spot;
    size_t bytes;

    if (entry != NULL && (entry->address != block || entry->state != HEAP_ENTRY_FREED))
        return broken(14, block, "the ledger knows a block that waits as freed");
    if (entry != NULL && entry->pages != 0) {
        *large_bytes += heap_pages_bytes(entry);
        return ring == HEAP_RINGS - 1 ? TSL_NO_DEFECT
                                      : broken(14, block, "pages wait in the ring of large blocks");
    }
    if (tsl_heap_locate(self, (const void *)block, &spot) != TSL_OK)
        return broken(14, block, "a block that waits is taken");
    if (ring != (spot.is_large ? HEAP_RINGS - 1 : spot.class_index))
        return broken(14, block, "a block waits in the ring of its class");
    if (spot.is_large)
        *large_bytes += spot.granted;
    else if (tsl_heap_canary_look(self, (const void *)block, spot.granted, &bytes) ==
             HEAP_TAIL_LIVE)
        return broken(14, block, "the tail of a block that waits does not say live");
    return TSL_NO_DEFECT;
}

/* => guard locked */
static struct tsl_defect check_rings(struct tsl_heap *self)
{
    size_t large_bytes = 0;

    for (unsigned i = 0; i < HEAP_RINGS; i++) {
        const struct heap_ring *ring = &self->guard->rings[i];
        if (ring->count > RING_SLOTS || ring->first >= RING_SLOTS ||
            (ring->count > 0 && ring->blocks == NULL))
            return broken(14, i, "a ring has no more blocks than slots");
        for (unsigned n = 0; n < ring->count; n++) {
            struct tsl_defect defect = check_waiting(self, i, waiting(ring, n), &large_bytes);
            if (defect.rule != 0)
                return defect;
            if (waits_twice(ring, n))
                return broken(14, waiting(ring, n), "a block waits once");
        }
    }
    /* What just left is taken off in a second step. */
    if (large_bytes > self->guard->large_waiting)
        return broken(14, self->guard->large_waiting,
                      "bytes of large blocks that wait are counted");
    return TSL_NO_DEFECT;
}

/* ---- Rule 15: the ledger ---- */

/* => guard locked. Whether the core has what the entry says, or somebody is ending it. */
static bool is_backed(const struct tsl_heap *self, const struct heap_entry *entry)
{
    struct heap_spot spot;
    bool has_pages = entry->pages != 0;
    uintptr_t start = has_pages ? entry->base : entry->address;

    if (entry->state == HEAP_ENTRY_ENDING)
        return true;
    if (entry->cache != NULL)
        return tsl_heap_cache_has(entry->cache, (const void *)entry->address);
    if (tsl_heap_locate(self, (const void *)start, &spot) != TSL_OK)
        return false;
    return !has_pages || (spot.is_large && spot.granted == heap_pages_bytes(entry) &&
                          entry->address - entry->base < heap_pages_bytes(entry));
}

/* => guard locked */
static struct tsl_defect check_ledger(const struct tsl_heap *self)
{
    uintptr_t free_from = 0;

    if (tsl_tree_verify(&self->guard->ledger).rule != 0)
        return broken(15, (uintptr_t)self, "the ledger is a tree in order of address");
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);
    for (; node != NULL; node = tsl_tree_next(node)) {
        const struct heap_entry *entry = TSL_CONTAINER_OF(node, struct heap_entry, node);
        if (entry->address < free_from)
            return broken(15, entry->address, "no two blocks in the ledger overlap");
        if (entry->state > HEAP_ENTRY_FREED || entry->serial > self->guard->serial)
            return broken(15, entry->address, "an entry has a state and a number given before");
        if (!is_backed(self, entry))
            return broken(15, entry->address, "a block in the ledger is taken in the core");
        free_from = entry->address + entry->bytes;
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_heap_guard_check(const struct tsl_heap *self)
{
    struct tsl_heap *heap = (struct tsl_heap *)(uintptr_t)self;
    struct tsl_defect defect = TSL_NO_DEFECT;
    tsl_pin pin = tsl_lock_acquire(&heap->guard->lock);

    if (HEAP_HAS_QUARANTINE)
        defect = check_rings(heap);
    if (TSL_HEAP_SITES && defect.rule == 0)
        defect = check_ledger(heap);
    tsl_lock_release(&heap->guard->lock, pin);
    return defect;
}
