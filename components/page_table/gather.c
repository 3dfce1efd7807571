/* SPDX-License-Identifier: MIT
 *
 * gather.c: flush first, then free.
 *
 * Owns:    struct tsl_gather.
 * Needs:   flush.h; physical_allocator.
 * Callers: unmap, protect, split (with the table lock), and their callers (finish, without it).
 */
#include <tesela/gather.h>

#include <tesela/atomic.h>

#include "page_table_internal.h"

void tsl_gather_init(struct tsl_gather *self, struct tsl_table *table)
{
    self->table = table;
    self->release = NULL;
    self->context = NULL;
    self->flush.count = 0;
    self->flush.all = false;
    self->flush.global = false;
    self->open = false;
    self->count = 0;
}

void tsl_gather_open(struct tsl_gather *self)
{
    if (self->open)
        return;
    self->open = true;
    (void)tsl_atomic_add(&self->table->open_gathers, 1);
}

void tsl_gather_pages(struct tsl_gather *self, tsl_vaddr va, tsl_word count, unsigned attributes)
{
    for (; count > 0 && !self->flush.all; count--) {
        tsl_flush_add(&self->flush, va);
        va += TSL_PAGE_BYTES;
    }
    if ((attributes & TSL_GLOBAL) || self->table->kernel)
        self->flush.global = true;
}

static unsigned order_of(tsl_word pages)
{
    unsigned order = 0;
    while (pages > 1) {
        pages >>= 1;
        order++;
    }
    return order;
}

/* A block as it was allocated. A refusal is counted and logged by the allocator: the frames were
 * not from there. */
static void free_block(struct tsl_frames *frames, struct tsl_frame first, tsl_word pages)
{
    unsigned order = order_of(pages);
    if (order <= TSL_FRAMES_MAX_ORDER)
        (void)!tsl_frames_free(frames, first, order);
    else
        (void)!tsl_frames_free_run(frames, first, pages);
}

/* The largest block of the frames from `first` on that is aligned and ends in time. Single frames
 * are as good as a block up to here, see tsl_frames_free; more is not in one word of its bitmap. */
static unsigned order_at(struct tsl_frame first, tsl_word pages)
{
    enum { LARGEST_ORDER = 5 };
    unsigned order = 0;
    while (order < LARGEST_ORDER && (first.number >> order & 1u) == 0 &&
           pages >= (tsl_word)2 << order)
        order++;
    return order;
}

static void free_frames(struct tsl_frames *frames, struct tsl_frame first, tsl_word pages)
{
    while (pages > 0) {
        unsigned order = order_at(first, pages);
        tsl_word count = (tsl_word)1 << order;
        enum tsl_status status = tsl_frames_free(frames, first, order);
        /* One of them is not the allocator's: the others are freed all the same. */
        for (tsl_word i = 0; status != TSL_OK && order > 0 && i < count; i++)
            (void)!tsl_frames_free(frames, (struct tsl_frame){first.number + i}, 0);
        first.number += count;
        pages -= count;
    }
}

static void flush_and_free(struct tsl_gather *self)
{
    struct tsl_table *table = self->table;
    /*
     * Another open gather may have removed what we found removed already; our caller counts on it
     * being gone. Its pages are not known here, so everything is dropped.
     */
    if (tsl_atomic_load_acquire(&table->open_gathers) > 1) {
        self->flush.all = true;
        self->flush.global = self->flush.global || table->kernel;
    }
    if (!tsl_flush_is_empty(&self->flush)) {
        (void)tsl_atomic_add(&table->counters.flushes, 1);
        tsl_flush_cpus(table->kernel ? tsl_cpus_online() : &table->cpus, &self->flush);
    }
    for (unsigned i = 0; i < self->count; i++)
        if (self->release != NULL && !self->run[i].table)
            self->release(self->context, self->run[i].first, self->run[i].pages);
        else if (self->run[i].block)
            free_block(table->frames, self->run[i].first, self->run[i].pages);
        else
            free_frames(table->frames, self->run[i].first, self->run[i].pages);
    self->count = 0;
    self->flush.count = 0;
    self->flush.all = false;
    self->flush.global = false;
}

static void add(struct tsl_gather *self, struct tsl_gather_run run)
{
    if (self->count == TSL_GATHER_RUNS)
        flush_and_free(self);
    self->run[self->count++] = run;
}

void tsl_gather_add(struct tsl_gather *self, struct tsl_frame first, tsl_word pages)
{
    add(self, (struct tsl_gather_run){first, pages, true, false});
}

static void add_frames(struct tsl_gather *self, struct tsl_gather_run run)
{
    struct tsl_gather_run *last = self->count > 0 ? &self->run[self->count - 1u] : NULL;
    if (last != NULL && !last->block && last->table == run.table &&
        last->first.number + last->pages == run.first.number)
        last->pages += run.pages;
    else
        add(self, run);
}

void tsl_gather_frames(struct tsl_gather *self, struct tsl_frame first, tsl_word count)
{
    add_frames(self, (struct tsl_gather_run){first, count, false, false});
}

void tsl_gather_table(struct tsl_gather *self, struct tsl_frame frame)
{
    add_frames(self, (struct tsl_gather_run){frame, 1, false, true});
}

void tsl_gather_finish(struct tsl_gather *self)
{
    if (self->open || self->count > 0)
        flush_and_free(self);
    if (!self->open)
        return;
    self->open = false;
    (void)tsl_atomic_sub(&self->table->open_gathers, 1);
}
