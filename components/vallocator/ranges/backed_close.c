/* SPDX-License-Identifier: MIT
 *
 * backed_close.c: pages of a backed range that are handed out, but that nobody can reach.
 *
 * Owns:    the batch of pages that this CPU cannot reach any more and others perhaps can.
 * Needs:   base, page_table (gather).
 * Callers: see <tesela/backed_range.h>; backed_range.c.
 *
 * A heap that closes every freed block would have all CPUs flush at each free. So a page that is
 * closed leaves the tables and this CPU's TLB at once, and its frame goes on a list. One flush of
 * all CPUs is for the whole list: when it is full, when a page on it is put (its address may be
 * mapped again), or when frames run short. Until then another CPU may reach the old frame, which is
 * nobody else's yet. docs/decisions/0020 has the figures.
 */
#include "ranges_internal.h"

/* => closing lock held. One flush, then the frames are free. */
static void finish(struct tsl_backed_range *self)
{
    tsl_gather_finish(&self->closing->gather);
    self->closing->count = 0;
}

void tsl_backed_closing_init(struct tsl_backed_range *self)
{
    tsl_lock_init(&self->closing->lock, TSL_RANK_REGION);
    tsl_gather_init(&self->closing->gather, self->config.table);
}

bool tsl_backed_closing_finish(struct tsl_backed_range *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->closing->lock);
    bool had_any = self->closing->count > 0;

    finish(self);
    tsl_lock_release(&self->closing->lock, pin);
    return had_any;
}

void tsl_backed_closing_forget(struct tsl_backed_range *self, size_t first, size_t pages)
{
    struct backed_closing *closing = self->closing;
    tsl_pin pin = tsl_lock_acquire(&closing->lock);

    for (unsigned i = 0; i < closing->count; i++)
        if (first < closing->run[i].first + closing->run[i].pages &&
            closing->run[i].first < first + pages)
            finish(self);
    tsl_lock_release(&closing->lock, pin);
}

/* => closing lock held, which is a pin. */
static void flush_here(tsl_vaddr address, size_t pages)
{
    if (pages > TSL_FLUSH_PAGES) {
        tsl_arch_flush_all(true);
        return;
    }
    for (size_t i = 0; i < pages; i++)
        tsl_arch_flush_page(address + i * TSL_PAGE_BYTES);
}

void tsl_backed_closing_add(struct tsl_backed_range *self, size_t first, size_t pages)
{
    struct backed_closing *closing = self->closing;
    tsl_vaddr address = self->config.start + first * TSL_PAGE_BYTES;
    tsl_pin pin = tsl_lock_acquire(&closing->lock);

    /* Settled pages are mapped unless they are closed. */
    TSL_ASSERT(tsl_table_unmap(self->config.table, address, pages * TSL_PAGE_BYTES, TSL_UNMAP_FREE,
                               &closing->gather) == TSL_OK);
    flush_here(address, pages);
    closing->run[closing->count++] = (struct closing_run){first, pages};
    if (closing->count == BACKED_CLOSING_RUNS)
        finish(self);
    tsl_lock_release(&closing->lock, pin);
}
