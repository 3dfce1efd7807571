/* SPDX-License-Identifier: MIT
 *
 * empty.c: tables that show nothing any more: which go at once, which are kept for a while.
 *
 * Owns:    the kept tables of struct tsl_table.
 * Needs:   walk.c, gather.c.
 * Callers: unmap.c for each step of a removal; map, fix and split when frames are short or a kept
 *          table is in the way; the public, through tsl_table_trim.
 *
 * Whoever takes one page away and brings one back a moment later (kernel ranges, stacks) would pay
 * for a table each time: reading all of its entries to see that it is empty, a flush of the upper
 * levels, and zeroing it again. So a table of 4 KiB pages that a removal leaves with nothing beside
 * the place is only noted as kept; a few are, and the one noted first makes room, if it is empty.
 */
#include "page_table_internal.h"

static unsigned most_kept(const struct tsl_table *self)
{
    return self->kernel ? TSL_TABLE_KEPT : 1;
}

static tsl_vaddr span_start(const struct tsl_table *self, tsl_vaddr va)
{
    return va & ~(tsl_table_format_page_bytes(self->format, 1) - 1u);
}

static unsigned kept_index(const struct tsl_table *self, tsl_vaddr va)
{
    unsigned i = 0;
    while (i < self->kept_count && self->kept[i] != span_start(self, va))
        i++;
    return i;
}

bool tsl_table_is_kept(const struct tsl_table *self, tsl_vaddr va)
{
    return kept_index(self, va) < self->kept_count;
}

static void remove_kept(struct tsl_table *self, unsigned index)
{
    self->kept_count--;
    for (unsigned i = index; i < self->kept_count; i++)
        self->kept[i] = self->kept[i + 1u];
}

void tsl_table_forget_kept(struct tsl_table *self, tsl_vaddr va)
{
    if (tsl_table_is_kept(self, va))
        remove_kept(self, kept_index(self, va));
}

/*
 * Word by word, eight at a time. Below the root a table fills a frame in every format; the lock
 * keeps all writers but the CPU's history bits away, and those are set in present entries only.
 */
static bool table_is_empty(const void *memory)
{
    enum { STEP = 8 };
    const tsl_word *words = memory;
    for (size_t i = 0; i < TSL_PAGE_BYTES / sizeof(*words); i += STEP) {
        tsl_word any = 0;
        for (size_t j = 0; j < STEP; j++)
            any |= tsl_atomic_load(&words[i + j]);
        if (any != 0)
            return false;
    }
    return true;
}

/* Tables directly under a root that never changes stay, and those of the fixed range, empty or not.
 * `at`: an address that the table of `level` leads to. */
bool tsl_table_may_go(const struct tsl_table *self, unsigned level, tsl_vaddr at)
{
    unsigned top = tsl_table_top(self);
    if (level >= top || (self->format->fixed_top && level == top - 1u))
        return false;
    tsl_vaddr mask = tsl_table_format_page_bytes(self->format, level + 1u) - 1u;
    return self->fixed_first > self->fixed_last || (at | mask) < self->fixed_first ||
           (at & ~mask) > self->fixed_last;
}

/* The table that the walk stands in goes. */
static void unhook(struct tsl_table *self, struct tsl_walk *walk, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    unsigned above = walk->level + 1u;
    unsigned index = tsl_table_format_index(format, above, walk->at);
    uint64_t raw = tsl_entry_take(format, walk->memory[above], index);
    struct tsl_table_entry old;
    format->decode(above, raw, &self->features, &old);
    if (walk->level == 0)
        tsl_table_forget_kept(self, walk->at);
    self->counters.tables--;
    tsl_root_changed(self, above, walk->at, 1);
    walk->level = above; /* what is below is no longer on any path */
    /* The page in the request makes CPUs forget their cached upper levels too. It comes behind the
     * table: adding that may flush, and each request is to know whether it is about tables. */
    tsl_gather_table(gather, tsl_frame_of(old.target));
    tsl_gather_pages(gather, walk->at, 1, 0);
}

/* Unhook the tables on the walk's path that are empty, from the one it stands in upward. With more
 * to come at `next`, those that lead there wait. */
static void unhook_empty(struct tsl_table *self, struct tsl_walk *walk, const struct tsl_step *step,
                         struct tsl_gather *gather)
{
    bool known = step->emptied;
    while (tsl_table_may_go(self, walk->level, walk->at)) {
        unsigned above = walk->level + 1u;
        if (!step->done && (step->next ^ walk->at) >> self->format->shift[above] == 0)
            return;
        if (!known && !table_is_empty(walk->memory[walk->level]))
            return;
        known = false;
        unhook(self, walk, gather);
    }
}

/* A kept table goes, if it is still empty. */
static void release(struct tsl_table *self, unsigned index, struct tsl_gather *gather)
{
    const struct tsl_step last = {.done = true};
    struct tsl_walk walk;
    tsl_walk_begin(&walk, self);
    tsl_walk_to(&walk, self->kept[index]);
    TSL_ASSERT(walk.level == 0);
    remove_kept(self, index);
    unhook_empty(self, &walk, &last, gather);
    tsl_walk_begin(&self->path, self); /* it may lead through what is gone */
}

/* Does an entry beside the walk's show that its table is in use? Removals rarely go on alone. */
static bool has_neighbour(const struct tsl_walk *walk, tsl_vaddr next)
{
    const struct tsl_table_format *format = walk->table->format;
    unsigned before = tsl_table_format_index(format, 0, walk->at);
    unsigned behind = tsl_table_format_index(format, 0, next);
    return (before > 0 && !tsl_entry_is_absent(format, walk->memory[0], before - 1u)) ||
           (behind > 0 && !tsl_entry_is_absent(format, walk->memory[0], behind));
}

/* What tsl_table_leave frees: the tables that a step left behind empty, or the one kept longest. */
static void let_go(struct tsl_table *self, const struct tsl_step *step, struct tsl_gather *gather)
{
    if (self->path.level > 0 || step->emptied)
        unhook_empty(self, &self->path, step, gather);
    else
        release(self, 0, gather);
}

/* The same for a gather that may wait long: the place of a table belongs to its neighbours too. */
TSL_NOINLINE static void let_go_now(struct tsl_table *self, const struct tsl_step *step)
{
    struct tsl_gather gather;
    tsl_gather_init(&gather, self);
    tsl_gather_open(&gather);
    let_go(self, step, &gather);
    tsl_gather_finish(&gather);
}

/* Nothing beside the place shows that the table is in use. */
TSL_NOINLINE static void leave_alone(struct tsl_table *self, const struct tsl_step *step,
                                     struct tsl_gather *gather)
{
    bool ends_here = self->path.level > 0 || step->emptied;
    if (!ends_here && !tsl_table_may_go(self, 0, self->path.at))
        return;
    if (ends_here || self->kept_count == most_kept(self)) {
        if (gather->lazy)
            let_go_now(self, step);
        else
            let_go(self, step, gather);
    }
    if (!ends_here)
        self->kept[self->kept_count++] = span_start(self, step->next - 1u);
}

void tsl_table_leave(struct tsl_table *self, const struct tsl_step *step, struct tsl_gather *gather)
{
    struct tsl_walk *walk = &self->path;
    if (walk->level == 0 && !step->emptied &&
        (!step->removed || tsl_table_is_kept(self, walk->at) || has_neighbour(walk, step->next)))
        return;
    leave_alone(self, step, gather);
}

bool tsl_table_drop_kept(struct tsl_table *self)
{
    struct tsl_gather gather;
    tsl_word before = self->counters.tables;
    if (self->kept_count == 0)
        return false;
    tsl_gather_init(&gather, self);
    tsl_gather_open(&gather);
    while (self->kept_count > 0)
        release(self, self->kept_count - 1u, &gather);
    tsl_gather_finish(&gather);
    return self->counters.tables < before;
}

void tsl_table_trim(struct tsl_table *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    (void)tsl_table_drop_kept(self);
    tsl_lock_release(&self->lock, pin);
}
