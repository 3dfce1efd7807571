/* SPDX-License-Identifier: MIT
 *
 * heap_run.c: runs of pages: a record, pages and their places in the map, together or not at all.
 *
 * Owns:    nothing lasting: a run is its caller's from here on.
 * Needs:   heap_source.c, heap_record.c, heap_map.c, heap_array.c.
 * Callers: heap_slab.c, heap_cache.c, heap_trim.c; of large blocks heap_alloc.c, heap_free.c.
 */
#include "../heap_allocator_internal.h"

/* The record of a run that did not come to be. */
static void record_undo(struct tsl_heap *self, struct heap_run *run)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    self->flight_records--;
    tsl_heap_record_drop(self, run);
    tsl_lock_release(&self->lock, pin);
}

struct heap_run *tsl_heap_run_new(struct tsl_heap *self, size_t pages, size_t align_pages,
                                  unsigned flags)
{
    struct heap_run *run = NULL;

    if (TSL_HEAP_ARRAYS && (flags & HEAP_SOURCE_ONLY) == 0)
        run = tsl_heap_array_run(self, pages, align_pages);
    if (run != NULL)
        return run;
    run = tsl_heap_record_new(self, flags);
    if (run == NULL)
        return NULL;
    void *start = tsl_heap_source_take(self, pages, align_pages, flags);
    if (start == NULL)
        goto fail_pages;
    if (!tsl_heap_map_prepare(self, (uintptr_t)start, pages, flags))
        goto fail_map;
    run->start = (uintptr_t)start;
    run->pages = (uint32_t)pages;
    return run;

fail_map:
    tsl_heap_source_give(self, start, pages);
fail_pages:
    record_undo(self, run);
    return NULL;
}

void tsl_heap_run_hook(struct tsl_heap *self, struct heap_run *run)
{
    /* A page that has a run already was handed out twice by the source. */
    TSL_ASSERT(tsl_heap_map_is_clear(self, run->start, run->pages));
    tsl_heap_map_set(self, run->start, run->pages, run);
    self->flight_pages -= run->pages;
    self->flight_records--;
}

void tsl_heap_run_retire(struct tsl_heap *self, struct heap_run *run,
                         struct heap_outgoing *outgoing)
{
    tsl_heap_map_set(self, run->start, run->pages, &tsl_heap_returned);
    self->flight_pages += run->pages;
    outgoing->start = (void *)run->start;
    outgoing->pages = run->pages;
    tsl_heap_record_drop(self, run);
}

struct heap_run *tsl_heap_run_new_closed(struct tsl_heap *self, size_t open, size_t closed,
                                         size_t align_pages, unsigned flags)
{
    struct heap_run *run =
        tsl_heap_run_new(self, open + closed, align_pages, flags | HEAP_SOURCE_ONLY);
    if (run == NULL)
        return NULL;
    if (tsl_heap_source_protect(self, (void *)(run->start + (open << TSL_PAGE_SHIFT)), closed))
        return run;
    tsl_heap_source_give(self, (void *)run->start, run->pages);
    record_undo(self, run);
    return NULL;
}
