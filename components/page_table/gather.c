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

void tsl_gather_page(struct tsl_gather *self, tsl_vaddr va, unsigned attributes)
{
    tsl_flush_add(&self->flush, va);
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

static void free_run(struct tsl_frames *frames, const struct tsl_gather_run *run)
{
    unsigned order = order_of(run->pages);
    /* A refusal is counted and logged by the allocator: the frames were not from there. */
    if (order <= TSL_FRAMES_MAX_ORDER)
        (void)!tsl_frames_free(frames, run->first, order);
    else
        (void)!tsl_frames_free_run(frames, run->first, run->pages);
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
        free_run(table->frames, &self->run[i]);
    self->count = 0;
    self->flush.count = 0;
    self->flush.all = false;
    self->flush.global = false;
}

void tsl_gather_add(struct tsl_gather *self, struct tsl_frame first, tsl_word pages)
{
    if (self->count == TSL_GATHER_RUNS)
        flush_and_free(self);
    self->run[self->count++] = (struct tsl_gather_run){first, pages};
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
