/* SPDX-License-Identifier: MIT
 *
 * heap_quarantine.c: freed blocks that wait before they are handed out again: a ring for each class
 * and one for large blocks.
 *
 * Owns:    the rings.
 * Needs:   heap_guard.c (memory for a ring, when its first block comes; the end of the wait).
 * Callers: heap_guard.c.
 *
 * A full ring gives its oldest block for the one that comes. Large blocks wait up to an eighth of
 * the heap's ceiling together.
 */
#include "../heap_allocator_internal.h"

#define RING_SLOTS  ((unsigned)TSL_HEAP_QUARANTINE)
#define LARGE_RING  (HEAP_RINGS - 1)
#define LARGE_SHARE 3 /* as a shift */

/* => guard locked. The oldest block, 0 if none. */
static uintptr_t pop(struct heap_ring *ring)
{
    if (ring->count == 0)
        return 0;
    uintptr_t block = ring->blocks[ring->first];
    ring->first = (ring->first + 1) % RING_SLOTS;
    ring->count--;
    return block;
}

static bool has_memory(struct tsl_heap *self, struct heap_ring *ring, unsigned flags)
{
    if (TSL_ATOMIC_LOAD_POINTER(&ring->blocks) != NULL)
        return true;
    uintptr_t *blocks = tsl_heap_guard_memory(self, RING_SLOTS * sizeof *blocks, flags);
    if (blocks == NULL)
        return false;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    bool is_late = ring->blocks != NULL;
    if (!is_late)
        TSL_ATOMIC_STORE_POINTER(&ring->blocks, blocks);
    tsl_lock_release(&self->guard->lock, pin);
    if (is_late)
        tsl_heap_guard_drop(self, blocks);
    return true;
}

/* Puts a block in a ring; result: the block that has to go now, perhaps the same, 0: none. */
static uintptr_t put(struct tsl_heap *self, unsigned index, uintptr_t block, size_t large_bytes,
                     unsigned flags)
{
    struct heap_guard *guard = self->guard;
    struct heap_ring *ring = &guard->rings[index];
    uintptr_t out = 0;

    if (!has_memory(self, ring, flags))
        return block;
    tsl_pin pin = tsl_lock_acquire(&guard->lock);
    if (ring->count == RING_SLOTS)
        out = pop(ring);
    if (ring->blocks == NULL) { /* somebody ended the quarantine meanwhile */
        out = block;
    } else {
        ring->blocks[(ring->first + ring->count++) % RING_SLOTS] = block;
        guard->large_waiting += large_bytes;
    }
    tsl_lock_release(&guard->lock, pin);
    return out;
}

/* More large blocks wait than should. */
static bool is_heavy(struct tsl_heap *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    size_t waiting = self->guard->large_waiting;

    tsl_lock_release(&self->guard->lock, pin);
    return waiting > (heap_ceiling_pages(self) << TSL_PAGE_SHIFT) >> LARGE_SHARE;
}

/* The oldest block of the first ring from `first_ring` on that has one; 0: none waits. */
static uintptr_t take(struct tsl_heap *self, unsigned first_ring)
{
    struct heap_guard *guard = self->guard;
    uintptr_t block = 0;
    tsl_pin pin = tsl_lock_acquire(&guard->lock);

    for (unsigned i = first_ring; i < HEAP_RINGS && block == 0; i++)
        block = pop(&guard->rings[i]);
    tsl_lock_release(&guard->lock, pin);
    return block;
}

static void left(struct tsl_heap *self, size_t large_bytes)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    self->guard->large_waiting -= large_bytes;
    tsl_lock_release(&self->guard->lock, pin);
}

static struct heap_entry *entry_of(struct tsl_heap *self, uintptr_t block)
{
    return TSL_HEAP_SITES ? tsl_heap_ledger_find(self, block) : NULL;
}

/* Of a block that waits: what it counts for in the ring of large ones; 0: a slot. */
static size_t waiting_bytes(struct tsl_heap *self, uintptr_t block, const struct heap_entry *entry)
{
    struct heap_spot spot;

    if (TSL_HEAP_SITES && entry != NULL && entry->pages != 0)
        return heap_pages_bytes(entry);
    enum tsl_status status = tsl_heap_locate(self, (void *)block, &spot);
    return status == TSL_OK && spot.is_large ? spot.granted : 0;
}

static void leave(struct tsl_heap *self, uintptr_t block, unsigned flags)
{
    struct heap_entry *entry = entry_of(self, block);

    left(self, waiting_bytes(self, block, entry));
    tsl_heap_let_go(self, (void *)block, entry, flags);
}

/* The block is freed for its owner. Large ones lose their access, so that any use is a fault. */
static void enter(struct tsl_heap *self, void *block, struct heap_entry *entry,
                  const struct heap_spot *spot, unsigned flags)
{
    bool has_pages = TSL_HEAP_SITES && entry != NULL && entry->pages != 0;
    bool is_large = has_pages || spot->is_large;
    size_t bytes = has_pages ? heap_pages_bytes(entry) : is_large ? spot->granted : 0;
    unsigned ring = is_large ? LARGE_RING : spot->class_index;

    if (TSL_HEAP_HARDENING >= TSL_HEAP_TIER_DEBUG && has_pages)
        tsl_heap_pages_close(self, entry);
    else if (is_large)
        (void)tsl_heap_source_protect(self, block, bytes >> TSL_PAGE_SHIFT);
    uintptr_t out = put(self, ring, (uintptr_t)block, bytes, flags);
    if (out == (uintptr_t)block)
        tsl_heap_let_go(self, block, entry, flags); /* There is no ring. */
    else if (out != 0)
        leave(self, out, flags);
    while (is_large && is_heavy(self) && (out = take(self, LARGE_RING)) != 0)
        leave(self, out, flags);
}

/* Large blocks of callers that may not call the page source wait for one that may. They are open
 * until then, so nothing that leads on is kept in them. */
static void defer(struct tsl_heap *self, uintptr_t start)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_run *run = heap_map_at(self, start);

    run->place = HEAP_PLACE_DEFERRED;
    tsl_list_remove(&run->link);
    tsl_list_push_back(&self->large, &run->link);
    tsl_atomic_store(&self->guard->deferred, self->guard->deferred + 1);
    tsl_lock_release(&self->lock, pin);
}

/* One of them, as a block of the core; 0: none waits. */
static uintptr_t resume(struct tsl_heap *self)
{
    uintptr_t start = 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_list *link = tsl_list_last(&self->large);

    if (link != NULL && heap_run_of(link)->place == HEAP_PLACE_DEFERRED) {
        start = heap_run_of(link)->start;
        heap_run_of(link)->place = HEAP_PLACE_CLAIMED;
        tsl_list_remove(link);
        tsl_list_push_front(&self->large, link);
        tsl_atomic_store(&self->guard->deferred, self->guard->deferred - 1);
    }
    tsl_lock_release(&self->lock, pin);
    return start;
}

void tsl_heap_quarantine_enter(struct tsl_heap *self, void *block, struct heap_entry *entry,
                               const struct heap_spot *spot, unsigned flags)
{
    bool has_pages = entry != NULL && entry->pages != 0;

    if ((spot->is_large || has_pages) && (flags & TSL_HEAP_NO_WAIT) != 0)
        defer(self, has_pages ? entry->base : (uintptr_t)block);
    else
        enter(self, block, entry, spot, flags);
}

void tsl_heap_quarantine_resume(struct tsl_heap *self)
{
    struct heap_spot spot = {0};
    uintptr_t start;

    while (tsl_atomic_load(&self->guard->deferred) != 0 && (start = resume(self)) != 0) {
        struct heap_entry *entry = TSL_HEAP_SITES ? tsl_heap_ledger_of(self, start) : NULL;
        enum tsl_status status = tsl_heap_locate(self, (void *)start, &spot);
        TSL_ASSERT(status == TSL_OK);
        enter(self, (void *)(entry != NULL ? entry->address : start), entry, &spot, 0);
    }
}

/* The memory of a ring in which no block waits. */
static void drop_if_empty(struct tsl_heap *self, struct heap_ring *ring)
{
    uintptr_t *blocks = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    if (ring->count == 0) {
        blocks = ring->blocks;
        ring->first = 0;
        TSL_ATOMIC_STORE_POINTER(&ring->blocks, NULL);
    }
    tsl_lock_release(&self->guard->lock, pin);
    if (blocks != NULL)
        tsl_heap_guard_drop(self, blocks);
}

size_t tsl_heap_quarantine_end(struct tsl_heap *self)
{
    size_t blocks = 0;
    uintptr_t block;

    tsl_heap_quarantine_resume(self);
    while ((block = take(self, 0)) != 0) {
        leave(self, block, 0);
        blocks++;
    }
    for (unsigned i = 0; i < HEAP_RINGS; i++)
        drop_if_empty(self, &self->guard->rings[i]);
    return blocks;
}
