/* SPDX-License-Identifier: MIT
 *
 * heap_source.c: pages in and out of a heap: the only callers of a page source, and of the ceiling.
 *
 * Owns:    taken_pages and flight_pages: pages are counted before they are asked for and after they
 *          are given back, so that the ceiling holds at every moment.
 * Needs:   the page source. No lock is held while it is called.
 * Callers: the other files of this component.
 */
#include "../heap_allocator_internal.h"

bool tsl_heap_source_reserve(struct tsl_heap *self, size_t pages, unsigned flags)
{
    size_t kept = (flags & TSL_HEAP_EMERGENCY) != 0 ? 0 : self->reserve_pages;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t room = heap_ceiling_pages(self) - self->taken_pages;
    /* What arrays have free is no room of the source's. */
    if (TSL_HEAP_ARRAYS)
        room -= self->arrays->pages - self->arrays->taken_pages;
    bool fits = room >= kept && pages <= room - kept;

    if (fits) {
        self->taken_pages += pages;
        self->flight_pages += pages;
    }
    tsl_lock_release(&self->lock, pin);
    return fits;
}

void tsl_heap_source_cancel(struct tsl_heap *self, size_t pages)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    self->taken_pages -= pages;
    self->flight_pages -= pages;
    self->source_failures++;
    tsl_lock_release(&self->lock, pin);
}

/* A source that hands out what it cannot own is broken; the pages stay where they are. */
static bool is_in_window(struct tsl_heap *self, void *start, size_t pages)
{
    if (heap_is_run_in_window(&self->source, start, pages))
        return true;
    return tsl_refuse(&self->refusals, TSL_CORRUPT, "heap: page source gave %p, not in its window",
                      start) == TSL_OK;
}

void tsl_heap_source_came(struct tsl_heap *self)
{
    if (self->taken_pages <= self->peak_taken_pages)
        return;
    self->peak_taken_pages = self->taken_pages;
    size_t live = tsl_heap_live_bytes(self);
    if (live > self->peak_bytes)
        self->peak_bytes = live;
}

static void *attempt(struct tsl_heap *self, size_t pages, unsigned flags)
{
    if (!tsl_heap_source_reserve(self, pages, flags))
        return NULL;
    void *start = self->source.get(self->source.context, pages);
    if (start == NULL || !is_in_window(self, start, pages)) {
        tsl_heap_source_cancel(self, pages);
        return NULL;
    }
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    self->source_gets++;
    tsl_heap_source_came(self);
    tsl_lock_release(&self->lock, pin);
    return start;
}

/* A run with room for an aligned one inside; what sticks out goes back. */
static void *attempt_aligned(struct tsl_heap *self, size_t pages, size_t align_pages,
                             unsigned flags)
{
    size_t align = align_pages << TSL_PAGE_SHIFT;
    void *start = attempt(self, pages, flags);

    if (align_pages == 1 || start == NULL || tsl_is_aligned((uintptr_t)start, align))
        return start;
    tsl_heap_source_give(self, start, pages);
    start = attempt(self, pages + align_pages - 1, flags);
    if (start == NULL)
        return NULL;
    uintptr_t aligned = tsl_align_up_vaddr((uintptr_t)start, align);
    size_t before = (aligned - (uintptr_t)start) >> TSL_PAGE_SHIFT;
    size_t behind = align_pages - 1 - before;
    char *block = (char *)start + (before << TSL_PAGE_SHIFT);

    if (before > 0)
        tsl_heap_source_give(self, start, before);
    if (behind > 0)
        tsl_heap_source_give(self, block + (pages << TSL_PAGE_SHIFT), behind);
    return block;
}

void *tsl_heap_source_try(struct tsl_heap *self, size_t pages)
{
    return attempt(self, pages, 0);
}

void *tsl_heap_source_take(struct tsl_heap *self, size_t pages, size_t align_pages, unsigned flags)
{
    /* Pages that wait for somebody who may call the source. */
    if (TSL_UNLIKELY(tsl_atomic_load(&self->parked_pages) > 0))
        (void)tsl_heap_unpark(self);
    void *start = attempt_aligned(self, pages, align_pages, flags);

    if (start == NULL && tsl_heap_trim(self) > 0)
        start = attempt_aligned(self, pages, align_pages, flags);
    return start;
}

void tsl_heap_source_give(struct tsl_heap *self, void *start, size_t pages)
{
    if (TSL_HEAP_ARRAYS && tsl_heap_array_give(self, start, pages))
        return;
    self->source.put(self->source.context, start, pages);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    self->taken_pages -= pages;
    self->flight_pages -= pages;
    self->source_puts++;
    tsl_lock_release(&self->lock, pin);
}

bool tsl_heap_source_protect(struct tsl_heap *self, void *start, size_t pages)
{
    return self->source.protect != NULL && heap_is_in_window(self, (uintptr_t)start) &&
           self->source.protect(self->source.context, start, pages);
}

void tsl_heap_source_give_all(struct tsl_heap *self, const struct heap_outgoing *outgoing)
{
    if (outgoing->pages > 0)
        tsl_heap_source_give(self, outgoing->start, outgoing->pages);
}
