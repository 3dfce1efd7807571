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
#include <tesela/bits.h>

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
    self->lazy = false;
    self->count = 0;
    self->blocks = 0;
    self->tables = 0;
}

void tsl_gather_init_lazy(struct tsl_gather *self, struct tsl_table *table)
{
    tsl_gather_init(self, table);
    self->lazy = true;
}

void tsl_gather_open(struct tsl_gather *self)
{
    if (self->open)
        return;
    self->open = true;
    if (!self->lazy)
        (void)tsl_atomic_add(&self->table->open_gathers, 1);
}

void tsl_gather_pages(struct tsl_gather *self, tsl_vaddr va, tsl_word count, unsigned attributes)
{
    struct tsl_flush *flush = &self->flush;
    if (count > TSL_FLUSH_PAGES - flush->count)
        flush->all = true; /* the rest of the request no longer counts */
    for (; count > 0 && !flush->all; count--) {
        flush->page[flush->count++] = va;
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

/* Neighbours as one run. */
static void release_word(struct tsl_gather *self, struct tsl_frame first, tsl_word frames)
{
    while (frames != 0) {
        unsigned low = tsl_bits_lowest(frames);
        tsl_word behind = ~(frames >> low); /* the first 1: behind the run */
        unsigned pages = behind == 0 ? TSL_WORD_BITS : tsl_bits_lowest(behind);
        self->release(self->context, (struct tsl_frame){first.number + low}, pages);
        frames &= ~((~(tsl_word)0 >> (TSL_WORD_BITS - pages)) << low);
    }
}

/* A frame that is not the allocator's is counted and logged there, and the others are freed. */
static void free_frames(struct tsl_gather *self)
{
    struct tsl_frames *frames = self->table->frames;
    for (unsigned i = 0; i < self->count; i++) {
        const struct tsl_gather_run *run = &self->run[i];
        bool is_block = self->blocks >> i & 1u;
        bool is_released = self->release != NULL && !(self->tables >> i & 1u);
        if (is_block && is_released)
            self->release(self->context, run->first, run->frames);
        else if (is_released)
            release_word(self, run->first, run->frames);
        else if (is_block)
            free_block(frames, run->first, run->frames);
        else
            (void)!tsl_frames_free_word(frames, run->first, run->frames);
    }
    self->count = 0;
    self->blocks = 0;
    self->tables = 0;
}

_Static_assert(TSL_GATHER_RUNS <= 32, "the runs that are blocks fit in one word of bits");

TSL_NOINLINE static void flush_and_free(struct tsl_gather *self)
{
    struct tsl_table *table = self->table;
    /*
     * Another open gather may have removed what we found removed already; our caller counts on it
     * being gone. Its pages are not known here, so everything is dropped.
     */
    if (!self->lazy && tsl_atomic_load_acquire(&table->open_gathers) > 1) {
        self->flush.all = true;
        self->flush.global = self->flush.global || table->kernel;
    }
    if (!tsl_flush_is_empty(&self->flush)) {
        (void)tsl_atomic_add(&table->counters.flushes, 1);
        if (tsl_table_is_tagged(table))
            tsl_tagged_flush(self);
        else
            tsl_flush_cpus(table->kernel ? tsl_cpus_online() : &table->cpus, &self->flush);
    }
    free_frames(self);
    self->flush.count = 0;
    self->flush.all = false;
    self->flush.global = false;
}

static inline void add(struct tsl_gather *self, struct tsl_gather_run run)
{
    if (TSL_UNLIKELY(self->count == TSL_GATHER_RUNS))
        flush_and_free(self);
    self->run[self->count++] = run;
}

void tsl_gather_add(struct tsl_gather *self, struct tsl_frame first, tsl_word pages)
{
    add(self, (struct tsl_gather_run){first, pages});
    self->blocks |= (uint32_t)1 << (self->count - 1u);
}

/* Frames of one word: what is added last is often in the same one. */
static inline void add_word(struct tsl_gather *self, tsl_word first, tsl_word frames)
{
    unsigned last = self->count - 1u;
    if (self->count > 0 && self->run[last].first.number == first &&
        !((self->blocks | self->tables) >> last & 1u) && (self->run[last].frames & frames) == 0)
        self->run[last].frames |= frames;
    else
        add(self, (struct tsl_gather_run){{first}, frames});
}

TSL_NOINLINE static void add_words(struct tsl_gather *self, tsl_word number, tsl_word count)
{
    while (count > 0) {
        unsigned bit = (unsigned)number & (TSL_WORD_BITS - 1u);
        tsl_word part = TSL_WORD_BITS - bit < count ? TSL_WORD_BITS - bit : count;
        add_word(self, number - bit, (~(tsl_word)0 >> (TSL_WORD_BITS - part)) << bit);
        number += part;
        count -= part;
    }
}

void tsl_gather_frames(struct tsl_gather *self, struct tsl_frame first, tsl_word count)
{
    unsigned bit = (unsigned)first.number & (TSL_WORD_BITS - 1u);
    if (count == 0 || count > TSL_WORD_BITS - bit)
        add_words(self, first.number, count);
    else
        add_word(self, first.number - bit, (~(tsl_word)0 >> (TSL_WORD_BITS - count)) << bit);
}

void tsl_gather_table(struct tsl_gather *self, struct tsl_frame frame)
{
    unsigned bit = (unsigned)frame.number & (TSL_WORD_BITS - 1u);
    add(self, (struct tsl_gather_run){{frame.number - bit}, (tsl_word)1 << bit});
    self->tables |= (uint32_t)1 << (self->count - 1u);
}

void tsl_table_flush_all(struct tsl_table *self, tsl_vaddr va)
{
    struct tsl_gather gather;
    tsl_gather_init(&gather, self);
    tsl_gather_open(&gather);
    tsl_gather_pages(&gather, va, 1, va > self->format->user_last ? TSL_GLOBAL : 0);
    gather.flush.all = true;
    tsl_gather_finish(&gather);
}

void tsl_gather_finish(struct tsl_gather *self)
{
    if (self->open || self->count > 0)
        flush_and_free(self);
    if (!self->open)
        return;
    self->open = false;
    if (!self->lazy)
        (void)tsl_atomic_sub(&self->table->open_gathers, 1);
}
