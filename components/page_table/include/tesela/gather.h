/* SPDX-License-Identifier: MIT
 *
 * gather.h: what a change of tables leaves behind until every CPU has forgotten it.
 *
 * Owns:    struct tsl_gather: pending flushes, and frames that may be reused only after them.
 * Needs:   page_table.h, flush.h, physical_allocator (frees the frames).
 * Callers: whoever calls tsl_table_unmap/protect for several ranges and wants one flush.
 *
 * The order is fixed: unhook (page_table) -> flush the CPUs that use the table -> free. A gather
 * never grows: when it is full it flushes and frees early.
 */
#ifndef TESELA_GATHER_H
#define TESELA_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/flush.h>
#include <tesela/page_table.h>
#include <tesela/types.h>

/* Runs of frames a gather holds; 32 of them fill half a kilobyte of stack. */
#define TSL_GATHER_RUNS 32u

/* Single frames that lie in one word of the allocator's bitmap, be they neighbours or not; or a
 * block. */
struct tsl_gather_run {
    struct tsl_frame first; /* of the word, of the block */
    tsl_word frames;        /* bit i: frame first + i; of a block its pages, a power of two */
};

/* In the caller's storage (the stack). All members are private but release and context: set after
 * init, they get the frames that were mapped instead of the allocator. Called after the flush, a
 * run at a time; the table's lock may be held. */
struct tsl_gather {
    struct tsl_table *table;
    void (*release)(void *context, struct tsl_frame first, tsl_word pages);
    void *context;
    struct tsl_flush flush;
    bool open; /* counted in the table's open_gathers, unless lazy */
    bool lazy;
    unsigned count;
    uint32_t blocks; /* bit i: run[i] was allocated as one block */
    uint32_t tables; /* bit i: run[i] is a table of the page table itself */
    struct tsl_gather_run run[TSL_GATHER_RUNS];
};

/*
 * An empty gather for changes to `table`.
 * Before:  tsl_gather_finish is called before the storage goes away.
 */
void tsl_gather_init(struct tsl_gather *self, struct tsl_table *table);

/*
 * As tsl_gather_init, for whoever keeps the addresses of all changes to himself until the finish
 * and lets changes of many calls come together first. No other gather waits for it, and tables that
 * its unmaps leave empty are freed with a flush of their own, since others may want their place
 * before.
 */
void tsl_gather_init_lazy(struct tsl_gather *self, struct tsl_table *table);

/*
 * Free `pages` frames from `first` on (a power of two, as allocated), once the flush is done.
 * Before:  the frames are unhooked from the table already.
 * Context: may flush and free early when the gather is full; no lock below TSL_RANK_TABLES held.
 */
void tsl_gather_add(struct tsl_gather *self, struct tsl_frame first, tsl_word pages);

/*
 * Flush, then free. On return no CPU reaches a page through a removed or tightened translation -
 * neither through this gather's, nor through one that another open gather on the table has seen
 * changed before us. The gather is empty and can be used again.
 * Context: interrupts may be off; waits for other CPUs (they answer while they spin).
 * Cost:    one flush request; one free a run.
 */
void tsl_gather_finish(struct tsl_gather *self);

#endif
