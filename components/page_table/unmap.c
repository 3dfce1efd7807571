/* SPDX-License-Identifier: MIT
 *
 * unmap.c: translations go away or change.
 *
 * Owns:    tsl_table_unmap, tsl_table_protect, and the removal of tables that became empty.
 * Needs:   walk.c, split.c, gather.c, check.c.
 * Callers: the public; kernel_table.c and table.c for whole tables.
 */
#include "page_table_internal.h"

bool tsl_table_all_present(const struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                           tsl_vaddr *missing)
{
    struct tsl_walk walk;
    tsl_walk_begin(&walk, self);
    for (tsl_vaddr at = first;; at = tsl_walk_last(&walk) + 1u) {
        tsl_walk_to(&walk, at);
        if (!walk.entry.present) {
            *missing = at;
            return false;
        }
        if (tsl_walk_last(&walk) >= last)
            return true;
    }
}

static void remove_page(struct tsl_table *self, struct tsl_walk *walk, unsigned flags,
                        struct tsl_gather *gather)
{
    tsl_vaddr bytes = tsl_table_format_page_bytes(self->format, walk->level);
    struct tsl_table_entry old;
    uint64_t raw = tsl_entry_take(self->format, walk->memory[walk->level], tsl_walk_index(walk));
    self->format->decode(walk->level, raw, &self->features, &old);
    self->counters.pages[walk->level]--;
    tsl_gather_page(gather, walk->at, old.attributes);
    if (flags & TSL_UNMAP_FREE)
        tsl_gather_add(gather, tsl_frame_of(old.target), (tsl_word)(bytes >> TSL_PAGE_SHIFT));
}

/*
 * Word by word, eight at a time: an empty table is read to its end with every page that goes. Below
 * the root a table fills a frame in every format; the lock keeps all writers but the CPU's history
 * bits away, and those are set in present entries only.
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
static bool table_may_go(const struct tsl_table *self, unsigned level, tsl_vaddr at)
{
    unsigned top = tsl_table_top(self);
    if (level >= top || (self->format->fixed_top && level == top - 1u))
        return false;
    tsl_vaddr mask = tsl_table_format_page_bytes(self->format, level + 1u) - 1u;
    return self->fixed_first > self->fixed_last || (at | mask) < self->fixed_first ||
           (at & ~mask) > self->fixed_last;
}

/* Unhook the tables on the walk's path that end before `next` (done: that end here) and are empty.
 */
static void remove_tables(struct tsl_table *self, struct tsl_walk *walk, bool done, tsl_vaddr next,
                          struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    for (unsigned level = walk->level; table_may_go(self, level, walk->at); level++) {
        unsigned above = level + 1u;
        if (!done && (next ^ walk->at) >> format->shift[above] == 0)
            return;
        if (!table_is_empty(walk->memory[level]))
            return;
        unsigned index = tsl_table_format_index(format, above, walk->at);
        uint64_t raw = tsl_entry_take(format, walk->memory[above], index);
        struct tsl_table_entry old;
        format->decode(above, raw, &self->features, &old);
        self->counters.tables--;
        walk->level = above; /* what is below is no longer on any path */
        /* The page in the request makes CPUs forget their cached upper levels too. */
        tsl_gather_page(gather, walk->at, 0);
        tsl_gather_add(gather, tsl_frame_of(old.target), 1);
    }
}

void tsl_table_remove(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned flags,
                      struct tsl_gather *gather)
{
    struct tsl_walk walk;
    tsl_walk_begin(&walk, self);
    for (tsl_vaddr at = first;;) {
        tsl_walk_to(&walk, at);
        tsl_vaddr end = tsl_walk_last(&walk);
        if (walk.entry.present)
            remove_page(self, &walk, flags, gather);
        bool done = end >= last;
        at = end + 1u;
        remove_tables(self, &walk, done, at, gather);
        if (done)
            return;
    }
}

void tsl_table_remove_all(struct tsl_table *self, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    self->fixed_first = 1; /* none: its tables go too */
    self->fixed_last = 0;
    tsl_table_remove(self, 0, tsl_table_lower_last(format), TSL_UNMAP_SPARSE, gather);
    if (format->sign_extended)
        tsl_table_remove(self, tsl_table_upper_half(format), ~(tsl_vaddr)0, TSL_UNMAP_SPARSE,
                         gather);
}

enum tsl_status tsl_table_unmap(struct tsl_table *self, tsl_vaddr start, size_t bytes,
                                unsigned flags, struct tsl_gather *gather)
{
    tsl_vaddr last;
    tsl_vaddr missing = 0;
    struct tsl_gather own;
    struct tsl_gather *used = gather != NULL ? gather : &own;
    enum tsl_status status = tsl_table_check_range(self, "unmap", start, bytes, &last);
    if (status != TSL_OK)
        return status;
    if (flags & ~(TSL_UNMAP_SPARSE | TSL_UNMAP_FREE))
        return tsl_refuse(&self->refusals, TSL_INVALID, "tables: unmap with flags %x", flags);
    if (gather == NULL)
        tsl_gather_init(&own, self);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (!(flags & TSL_UNMAP_SPARSE) && !tsl_table_all_present(self, start, last, &missing))
        status = TSL_NOT_FOUND;
    if (status == TSL_OK)
        status = tsl_table_split(self, start, last, flags, used);
    if (status == TSL_OK) {
        tsl_gather_open(used);
        tsl_table_remove(self, start, last, flags, used);
    }
    if (gather == NULL)
        tsl_gather_finish(&own);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_NOT_FOUND)
        return tsl_refuse(&self->refusals, status, "tables: unmap: no page at %zx",
                          (size_t)missing);
    return status;
}

/* The entry keeps its target and whatever the CPU marks in it until the very exchange. */
static void protect_page(struct tsl_table *self, struct tsl_walk *walk, unsigned attributes,
                         struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_table_entry old;
    uint64_t seen = walk->raw;
    uint64_t wanted;
    do {
        format->decode(walk->level, seen, &self->features, &old);
        wanted = format->encode_leaf(walk->level, old.target, attributes, &self->features);
        wanted = format->with_history(wanted, old.accessed, old.dirty);
        if (wanted == seen)
            return;
    } while (
        !tsl_entry_change(format, walk->memory[walk->level], tsl_walk_index(walk), &seen, wanted));
    tsl_gather_page(gather, walk->at, old.attributes);
}

static void protect_pages(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                          unsigned attributes, struct tsl_gather *gather)
{
    struct tsl_walk walk;
    tsl_walk_begin(&walk, self);
    for (tsl_vaddr at = first;; at = tsl_walk_last(&walk) + 1u) {
        tsl_walk_to(&walk, at);
        protect_page(self, &walk, attributes, gather);
        if (tsl_walk_last(&walk) >= last)
            return;
    }
}

enum tsl_status tsl_table_protect(struct tsl_table *self, tsl_vaddr start, size_t bytes,
                                  unsigned attributes, struct tsl_gather *gather)
{
    tsl_vaddr last;
    tsl_vaddr missing = 0;
    struct tsl_gather own;
    struct tsl_gather *used = gather != NULL ? gather : &own;
    enum tsl_status status = tsl_table_check_range(self, "protect", start, bytes, &last);
    if (status == TSL_OK)
        status = tsl_table_check_attributes(self, "protect", start, last, attributes);
    if (status != TSL_OK)
        return status;
    if (gather == NULL)
        tsl_gather_init(&own, self);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (!tsl_table_all_present(self, start, last, &missing))
        status = TSL_NOT_FOUND;
    if (status == TSL_OK)
        status = tsl_table_split(self, start, last, 0, used);
    if (status == TSL_OK) {
        tsl_gather_open(used);
        protect_pages(self, start, last, attributes, used);
    }
    if (gather == NULL)
        tsl_gather_finish(&own);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_NOT_FOUND)
        return tsl_refuse(&self->refusals, status, "tables: protect: no page at %zx",
                          (size_t)missing);
    return status;
}
