/* SPDX-License-Identifier: MIT
 *
 * promote.c: a full table of neighbouring pages becomes one larger page: the reverse of split.c.
 *
 * Owns:    tsl_table_promote.
 * Needs:   walk.c, gather.c, empty.c (kept tables).
 * Callers: the public; map and protect, where the caller wished for it.
 *
 * A promotion changes no translation, only its granularity, and CPUs may use old and new side by
 * side until the flush. What they mark as accessed or dirty must not get lost with the table, so
 * its entries are read once more when no CPU can use them any longer. There are two orders:
 *   - In the user half of a space a page is absent for a moment: unhook the table, flush, read,
 *     hook the page. Who touches it meanwhile faults, waits for the lock of the table, and finds it
 *     present.
 *   - What the kernel's table maps, and the kernel's half anywhere, may not be absent: put the page
 *     in the place of the table, flush, read what was marked in the table until then. This is
 *     allowed as long as target, rights and cache type stay the same; but not for code, since many
 *     CPUs stop with a machine check when they find an instruction under two sizes. Executable
 *     pages there stay small.
 * Source: Intel SDM volume 3, 4.10.2.3 and 4.10.4; Intel, "Machine Check Error Avoidance on Page
 *         Size Change" (2019).
 */
#include "page_table_internal.h"

/* A full table whose entries are to become one page. */
struct candidate {
    tsl_vaddr at;   /* where it begins */
    unsigned level; /* of the page */
    void *memory;   /* of the table */
    uint64_t page;  /* the entry of the page, without history */
};

/* Is entry `index` the one that belongs behind `first`? */
static bool continues(const struct tsl_table_format *format, const void *memory, unsigned index,
                      uint64_t first, uint64_t bytes)
{
    return (tsl_entry_load(format, memory, index) & ~format->history) == first + index * bytes;
}

/* The last entry is looked at before the others: a table that fills up page by page lacks it
 * longest. */
static bool all_continue(const struct tsl_table_format *format, const struct candidate *candidate,
                         uint64_t first)
{
    unsigned entries = tsl_table_entries(format, candidate->level - 1u);
    uint64_t bytes = tsl_table_format_page_bytes(format, candidate->level - 1u);
    if (!continues(format, candidate->memory, entries - 1u, first, bytes))
        return false;
    for (unsigned i = 1; i < entries - 1u; i++)
        if (!continues(format, candidate->memory, i, first, bytes))
            return false;
    return true;
}

/* Can the table of pages of level - 1 at `at` become a page of `level`? Leaves self->path in it. */
static bool find(struct tsl_table *self, tsl_vaddr at, unsigned level, struct candidate *out)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    tsl_vaddr mask = tsl_table_format_page_bytes(format, level) - 1u;
    /* Who changes a long range and lets go of the lock in between counts on the borders that he has
     * made or found. */
    if (tsl_atomic_load(&self->long_changes) > 0)
        return false;
    tsl_walk_to(walk, at);
    if (walk->level != level - 1u || walk->raw == 0 || !tsl_table_may_go(self, walk->level, at))
        return false;
    struct tsl_table_entry entry;
    format->decode(walk->level, walk->raw, &self->features, &entry);
    if (!entry.leaf || (entry.target & mask) != 0)
        return false;
    if ((entry.attributes & TSL_EXEC) && tsl_table_stays_present(self, at))
        return false;
    *out = (struct candidate){at, level, walk->memory[walk->level], 0};
    out->page = format->encode_leaf(level, entry.target, entry.attributes, &self->features);
    return all_continue(format, out, walk->raw & ~format->history);
}

/* The page, accessed or dirty if one of its pieces is. */
static uint64_t with_history_of(const struct tsl_table *self, const struct candidate *candidate)
{
    const struct tsl_table_format *format = self->format;
    uint64_t marked = 0;
    for (unsigned i = 0; i < tsl_table_entries(format, candidate->level - 1u); i++)
        marked |= tsl_entry_load(format, candidate->memory, i) & format->history;
    return candidate->page | marked;
}

static void exchange_absent(struct tsl_table *self, const struct candidate *candidate, void *above,
                            unsigned index)
{
    (void)tsl_entry_take(self->format, above, index);
    tsl_table_flush_all(self, candidate->at); /* each piece, and the way to the table */
    tsl_entry_publish(self->format, above, index, with_history_of(self, candidate));
}

static void exchange_present(struct tsl_table *self, const struct candidate *candidate, void *above,
                             unsigned index)
{
    const struct tsl_table_format *format = self->format;
    uint64_t seen = tsl_entry_load(format, above, index);
    while (!tsl_entry_change(format, above, index, &seen, with_history_of(self, candidate)))
        continue;
    tsl_root_changed(self, candidate->level, candidate->at, 1);
    tsl_table_flush_all(self, candidate->at);
    uint64_t wanted;
    seen = tsl_entry_load(format, above, index);
    do {
        wanted = with_history_of(self, candidate) | (seen & format->history);
    } while (!tsl_entry_change(format, above, index, &seen, wanted));
}

/* Before: self->path stands in the candidate's table. */
static void exchange(struct tsl_table *self, const struct candidate *candidate)
{
    const struct tsl_table_format *format = self->format;
    unsigned level = candidate->level;
    void *above = self->path.memory[level];
    unsigned index = tsl_table_format_index(format, level, candidate->at);
    struct tsl_table_entry table;
    format->decode(level, tsl_entry_load(format, above, index), &self->features, &table);
    if (tsl_table_stays_present(self, candidate->at))
        exchange_present(self, candidate, above, index);
    else
        exchange_absent(self, candidate, above, index);
    if (level == 1)
        tsl_table_forget_kept(self, candidate->at);
    self->counters.tables--;
    self->counters.promotions++;
    self->counters.pages[level - 1u] -= tsl_table_entries(format, level - 1u);
    self->counters.pages[level]++;
    tsl_walk_begin(&self->path, self); /* it leads into what is gone */
    TSL_ASSERT(tsl_frames_free(self->frames, tsl_frame_of(table.target), 0) == TSL_OK);
}

static void promote_at(struct tsl_table *self, tsl_vaddr at, unsigned level)
{
    struct candidate candidate;
    if (find(self, at, level, &candidate))
        exchange(self, &candidate);
}

/* The caller wished for it, in the kernel's half. */
static bool is_wished(const struct tsl_table *self, tsl_vaddr first, unsigned attributes)
{
    return TSL_LARGE_PAGES && self->kernel && (attributes & TSL_MAP_PROMOTE) &&
           first > self->format->user_last;
}

void tsl_table_promote_ends(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                            unsigned attributes)
{
    const struct tsl_table_format *format = self->format;
    for (unsigned level = 1; is_wished(self, first, attributes) && level < format->levels;
         level++) {
        tsl_vaddr mask = tsl_table_format_page_bytes(format, level) - 1u;
        if (!format->leaf_at(level, &self->features))
            continue;
        promote_at(self, first & ~mask, level);
        if (((first ^ last) & ~mask) != 0)
            promote_at(self, last & ~mask, level);
    }
}

/* All whole pages of `level` in the range; the lock is let go of after each place. */
static void promote_level(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned level)
{
    tsl_vaddr mask = tsl_table_format_page_bytes(self->format, level) - 1u;
    tsl_vaddr at = (first + mask) & ~mask;
    while (at >= first && at <= last && last - at >= mask) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        promote_at(self, at, level);
        tsl_walk_to(&self->path, at);
        tsl_vaddr next = (tsl_walk_last(&self->path) | mask) + 1u;
        tsl_lock_release(&self->lock, pin);
        if (next <= at)
            return;
        at = next;
    }
}

void tsl_table_promote_wished(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                              unsigned attributes)
{
    const struct tsl_table_format *format = self->format;
    for (unsigned level = 1; is_wished(self, first, attributes) && level < format->levels;
         level++) {
        tsl_vaddr mask = tsl_table_format_page_bytes(format, level) - 1u;
        if (format->leaf_at(level, &self->features))
            promote_level(self, first & ~mask, last | mask, level);
    }
}

enum tsl_status tsl_table_promote(struct tsl_table *self, tsl_vaddr start, size_t bytes)
{
    tsl_vaddr last;
    enum tsl_status status = tsl_table_check_range(self, "promote", start, bytes, &last);
    for (unsigned level = 1; status == TSL_OK && level < self->format->levels; level++)
        if (TSL_LARGE_PAGES && self->format->leaf_at(level, &self->features))
            promote_level(self, start, last, level);
    return status;
}
