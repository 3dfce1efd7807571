/* SPDX-License-Identifier: MIT
 *
 * ranges_lazy.c: freed ranges that wait for one flush for many, and spans that wait for their next
 * owner.
 *
 * Owns:    the lists `pending` and `cached` of struct tsl_ranges, and its gather.
 * Needs:   page_table, physical_allocator.
 * Callers: ranges.c, under the lock of the ranges; the public, through tsl_ranges_purge.
 *
 * Theory. A small range that is freed loses its pages at once, but their frames and its addresses
 * are kept back until a flush that serves many: a CPU that remembers an old translation reaches a
 * frame that nobody else has yet. There is a bound on the pages that wait. Behind the flush a span
 * of a common size stays in the tree, as nobody's, so that the next range of that size needs no
 * search and no change of the tree. Whoever finds no gap or no frame asks for all of it back.
 * Source: Bonwick and Adams 2001, "Magazines and Vmem", quantum caches.
 */
#include "ranges_internal.h"

#include <tesela/gather.h>

static void push(struct range **list, struct range *range)
{
    range->next = *list;
    *list = range;
}

static struct range *pop(struct range **list)
{
    struct range *range = *list;
    *list = range->next;
    return range;
}

static void forget(struct tsl_ranges *self, struct range *range, struct range **dead)
{
    tsl_ranges_unhook(self, range);
    push(dead, range);
}

/* No CPU remembers a page of the pending ranges any more: their frames and addresses are free. */
static void flush_pending(struct tsl_ranges *self, struct range **dead)
{
    tsl_gather_finish(&self->gather);
    while (self->pending) {
        struct range *range = pop(&self->pending);
        if (self->cached_count == RANGES_MOST_CACHED) {
            forget(self, range, dead);
            continue;
        }
        tsl_atomic_store_u32(&range->state, RANGE_CACHED);
        push(&self->cached[range_pages(range) - 1u], range);
        self->cached_count++;
    }
    self->pending_count = 0;
    self->pending_pages = 0;
}

bool tsl_ranges_free_lazily(struct tsl_ranges *self, struct range *range, struct range **dead)
{
    size_t pages = range_pages(range);
    if (pages > RANGES_SMALL_PAGES || pages > self->config.lazy_pages)
        return false;
    if (self->pending_pages + pages > self->config.lazy_pages)
        flush_pending(self, dead);
    enum tsl_status status = tsl_table_unmap(self->config.table, self->config.start + range->offset,
                                             range->bytes, TSL_UNMAP_FREE, &self->gather);
    TSL_ASSERT(status == TSL_OK); /* pages of 4 KiB that are all there: nothing can fail */
    tsl_atomic_store_u32(&range->state, RANGE_PENDING);
    push(&self->pending, range);
    self->pending_count++;
    self->pending_pages += pages;
    return true;
}

struct range *tsl_ranges_take_cached(struct tsl_ranges *self, size_t bytes)
{
    size_t pages = bytes >> TSL_PAGE_SHIFT;
    if (pages > RANGES_SMALL_PAGES || !self->cached[pages - 1u])
        return NULL;
    self->cached_count--;
    return pop(&self->cached[pages - 1u]);
}

bool tsl_ranges_settle_all(struct tsl_ranges *self, struct range **dead)
{
    if (self->pending_count + self->cached_count == 0)
        return false;
    flush_pending(self, dead);
    for (unsigned i = 0; i < RANGES_SMALL_PAGES; i++)
        while (self->cached[i])
            forget(self, pop(&self->cached[i]), dead);
    self->cached_count = 0;
    return true;
}
