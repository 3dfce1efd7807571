/* SPDX-License-Identifier: MIT
 *
 * heap_trim.c: what the heap has too much of goes back to its source.
 *
 * Owns:    the centre's empty slabs, the list of parked blocks.
 * Needs:   heap_pool.c, heap_slab.c, heap_owner.c (drain), heap_record.c, heap_source.c.
 * Callers: users of the heap; heap_free.c; before they fail heap_source.c, heap_array.c and
 *          heap_alloc.c; when a heap ends or changes its tier heap_create.c, heap_harden.c.
 */
#include "../heap_allocator_internal.h"

/* => locked. Unhooks the last of the centre's empty slabs of a class; false: nothing to do. */
static bool empty_retire(struct tsl_heap *self, struct heap_pool *pool, size_t kept,
                         struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_last(&pool->slabs);

    return pool->empty_count > kept && link != NULL &&
           heap_run_of(link)->place == HEAP_PLACE_EMPTY &&
           tsl_heap_centre_retire(self, pool, heap_run_of(link), outgoing);
}

/* => locked. Unhooks one parked block; false: there is none. */
static bool parked_retire(struct tsl_heap *self, struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_pop_back(&self->parked);
    if (link == NULL)
        return false;
    tsl_atomic_store(&self->parked_pages, self->parked_pages - heap_run_of(link)->pages);
    tsl_heap_run_retire(self, heap_run_of(link), outgoing);
    return true;
}

size_t tsl_heap_unpark(struct tsl_heap *self)
{
    size_t pages = 0;

    for (;;) {
        struct heap_outgoing outgoing = {0};
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        bool is_found = parked_retire(self, &outgoing);
        tsl_lock_release(&self->lock, pin);
        if (!is_found)
            return pages;
        tsl_heap_source_give_all(self, &outgoing);
        pages += outgoing.pages;
    }
}

/* So many runs of pages are unhooked before the lock is opened to give them back. */
#define BATCH_RUNS 8u

struct batch {
    unsigned count;
    struct heap_outgoing runs[BATCH_RUNS];
};

/* Slabs that were taken one after the other lie side by side: one call of the source for all. */
static void batch_add(const struct tsl_heap *self, struct batch *batch,
                      const struct heap_outgoing *new_one)
{
    uintptr_t start = (uintptr_t)new_one->start;
    uintptr_t end = start + (new_one->pages << TSL_PAGE_SHIFT);

    for (unsigned i = 0; i < batch->count && heap_is_in_window(self, start); i++) {
        struct heap_outgoing *run = &batch->runs[i];
        uintptr_t run_start = (uintptr_t)run->start;
        bool is_behind = run_start + (run->pages << TSL_PAGE_SHIFT) == start;
        if (!heap_is_in_window(self, run_start) || (!is_behind && end != run_start))
            continue;
        run->start = is_behind ? run->start : new_one->start;
        run->pages += new_one->pages;
        return;
    }
    batch->runs[batch->count++] = *new_one;
}

/* => locked. Unhooks superfluous empty slabs of a class, until the batch is full: true, there may
 * be more. */
static bool batch_fill(struct tsl_heap *self, struct heap_pool *pool, bool all, struct batch *batch)
{
    while (batch->count < BATCH_RUNS) {
        struct heap_outgoing outgoing = {0};
        size_t kept = all ? 0 : tsl_heap_pool_empty_kept(pool);
        if (!empty_retire(self, pool, kept, &outgoing))
            return false;
        batch_add(self, batch, &outgoing);
    }
    return true;
}

/* Gives empty slabs of the centre back, but for a share of those that a pool may keep. Lock not
 * held. Result: pages. */
static size_t shed(struct tsl_heap *self, bool all)
{
    size_t pages = 0;

    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        for (bool is_more = true; is_more;) {
            struct batch batch = {0};
            tsl_pin pin = tsl_lock_acquire(&self->lock);
            is_more = batch_fill(self, &self->centre.pools[i], all, &batch);
            tsl_lock_release(&self->lock, pin);
            for (unsigned run = 0; run < batch.count; run++) {
                tsl_heap_source_give_all(self, &batch.runs[run]);
                pages += batch.runs[run].pages;
            }
        }
    }
    return pages;
}

void tsl_heap_shed(struct tsl_heap *self)
{
    tsl_atomic_store(&self->has_excess, 0);
    (void)shed(self, false);
}

/* => locked. The current slab of the centre's pool may be empty, full ones have free blocks. */
static void centre_offer(struct tsl_heap *self, struct heap_pool *pool)
{
    struct tsl_list *link, *next;
    struct heap_run *run = pool->current;

    if (run != NULL) {
        tsl_heap_pool_detach(pool, run);
        tsl_heap_centre_attach(self, run);
    }
    TSL_LIST_EACH_SAFE(link, next, &pool->full)
    {
        run = heap_run_of(link);
        if (heap_run_used(run) == run->blocks)
            continue;
        tsl_heap_pool_detach(pool, run);
        tsl_heap_centre_attach(self, run);
    }
}

void tsl_heap_recall(struct tsl_heap *self)
{
    if (HEAP_HAS_OWNERS)
        tsl_heap_drain(self);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (unsigned i = 0; i < HEAP_POOLS; i++)
        centre_offer(self, &self->centre.pools[i]);
    tsl_lock_release(&self->lock, pin);
}

size_t tsl_heap_trim(struct tsl_heap *self)
{
    size_t pages = tsl_heap_unpark(self);

    tsl_heap_recall(self);
    pages += shed(self, true);
    if (self->trim_caches != NULL)
        pages += self->trim_caches(self);
    return pages + tsl_heap_record_trim(self);
}
