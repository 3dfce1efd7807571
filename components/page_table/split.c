/* SPDX-License-Identifier: MIT
 *
 * split.c: large pages are taken apart where a range begins or ends inside of them.
 *
 * Owns:    tsl_table_split, tsl_table_refuse_split.
 * Needs:   walk.c, spare.c, gather.c.
 * Callers: unmap and protect, with the table lock held.
 *
 * A split changes no translation, only its granularity: the pieces carry the same rights, cache
 * type (whose bit moves) and history as the whole. As with promotions there are two orders:
 *   - In the user half the page is absent for a moment: unhook it, flush, hook the table. No CPU
 *     ever knows an address under two sizes.
 *   - What the kernel's table maps, and the kernel's half anywhere, may not be absent, since the
 *     code that changes it may need it: put the table in the place of the page, flush. Code there
 *     is not split at all: many CPUs stop with a machine check when they find an instruction under
 *     two sizes. CPUs that do so with data have no large pages (tsl_cpu_features.one_size).
 * Source: see promote.c; AMD, "Revision Guide for Family 10h Processors", erratum 383.
 */
#include "page_table_internal.h"

/* How often a page of `level` must be split until a page begins at `border`. */
static unsigned steps_to(const struct tsl_table_format *format, tsl_vaddr border, unsigned level)
{
    unsigned steps = 0;
    while (level > 0 && (border & (tsl_table_format_page_bytes(format, level) - 1u)) != 0) {
        level--;
        steps++;
    }
    return steps;
}

/* The level of the page at `va`; 0 also where nothing is mapped. */
static unsigned leaf_level(struct tsl_walk *walk, tsl_vaddr va)
{
    tsl_walk_to(walk, va);
    return walk->raw != 0 ? walk->level : 0;
}

/* Tables that making both borders takes. */
static tsl_word tables_needed(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last)
{
    const struct tsl_table_format *format = self->format;
    unsigned first_level = leaf_level(&self->path, first);
    unsigned last_level = leaf_level(&self->path, last);
    unsigned needed = steps_to(format, first, first_level);
    if (first_level == last_level) {
        /* Where both lie in one page, the splits for the first border serve the second. */
        unsigned done = needed;
        while (done > 0 && (first ^ last) >> format->shift[last_level] == 0) {
            last_level--;
            done--;
        }
    }
    return needed + steps_to(format, last + 1u, last_level);
}

/* Is there code at `inside` that a border there would split in place? */
static bool splits_code(struct tsl_table *self, tsl_vaddr inside, tsl_vaddr border)
{
    struct tsl_walk *walk = &self->path;
    tsl_walk_to(walk, inside);
    return tsl_table_stays_present(self, inside) && walk->raw != 0 &&
           steps_to(self->format, border, walk->level) > 0 &&
           (tsl_walk_mapping(walk).attributes & TSL_EXEC) != 0;
}

/* Fill a table, which no CPU can find yet, with the pieces of the walk's page; raw: its entry. */
static struct tsl_table_entry fill_pieces(struct tsl_table *self, const struct tsl_walk *walk,
                                          uint64_t raw, void *memory)
{
    const struct tsl_table_format *format = self->format;
    unsigned level = walk->level - 1u;
    struct tsl_table_entry old;
    format->decode(walk->level, raw, &self->features, &old);
    uint64_t piece = format->encode_leaf(level, old.target, old.attributes, &self->features);
    piece = format->with_history(piece, old.accessed, old.dirty);
    tsl_entries_publish(format, memory, 0, tsl_table_entries(format, level), piece,
                        tsl_table_format_page_bytes(format, level));
    return old;
}

/* A block that was allocated whole will be freed piece by piece. */
static void split_block(struct tsl_table *self, const struct tsl_table_entry *old, unsigned level)
{
    unsigned order = self->format->shift[level] - TSL_PAGE_SHIFT;
    if (order >= TSL_FRAMES_HUGE_ORDER && order <= TSL_FRAMES_MAX_ORDER)
        (void)!tsl_frames_split(self->frames, tsl_frame_of(old->target), order);
}

/* The table in `memory` takes the place of the walk's page; returns what that was. */
static struct tsl_table_entry exchange_absent(struct tsl_table *self, const struct tsl_walk *walk,
                                              void *memory, uint64_t table)
{
    const struct tsl_table_format *format = self->format;
    void *above = walk->memory[walk->level];
    unsigned index = tsl_walk_index(walk);
    struct tsl_table_entry old = fill_pieces(self, walk, walk->raw, memory);
    uint64_t was = tsl_entry_take(format, above, index);
    if (was != walk->raw)
        old = fill_pieces(self, walk, was, memory); /* marked since it was read */
    tsl_table_flush_all(self, walk->at);
    tsl_entry_publish(format, above, index, table);
    return old;
}

static struct tsl_table_entry exchange_present(struct tsl_table *self, const struct tsl_walk *walk,
                                               void *memory, uint64_t table)
{
    const struct tsl_table_format *format = self->format;
    uint64_t seen = walk->raw;
    struct tsl_table_entry old;
    do {
        old = fill_pieces(self, walk, seen, memory);
    } while (
        !tsl_entry_change(format, walk->memory[walk->level], tsl_walk_index(walk), &seen, table));
    tsl_root_changed(self, walk->level, walk->at, 1);
    return old;
}

static void split_page(struct tsl_table *self, struct tsl_walk *walk, struct tsl_spare *spare,
                       unsigned flags, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    unsigned level = walk->level;
    tsl_paddr address;
    void *memory = tsl_spare_take(spare, &address);
    uint64_t table =
        format->encode_table(level, address, tsl_table_in_user_half(format, level, walk->at));
    struct tsl_table_entry old = tsl_table_stays_present(self, walk->at)
                                     ? exchange_present(self, walk, memory, table)
                                     : exchange_absent(self, walk, memory, table);
    self->counters.tables++;
    self->counters.splits++;
    self->counters.pages[level]--;
    self->counters.pages[level - 1u] += tsl_table_entries(format, level - 1u);
    if (flags & TSL_UNMAP_FREE)
        split_block(self, &old, level);
    if (!tsl_table_stays_present(self, walk->at))
        return;
    /*
     * A CPU may hold a large page as several translations, and flushing one address drops all of
     * them only while the tables still show the large page (SDM volume 3, 4.10.4.1). Splits are
     * rare: drop everything.
     */
    tsl_gather_open(gather);
    tsl_gather_pages(gather, walk->at, 1, old.attributes);
    gather->flush.all = true;
}

/* Split the page that holds `inside` until `border` is the edge of a page. */
static void make_border(struct tsl_table *self, tsl_vaddr inside, tsl_vaddr border,
                        struct tsl_spare *spare, unsigned flags, struct tsl_gather *gather)
{
    struct tsl_walk *walk = &self->path;
    tsl_walk_to(walk, inside);
    while (walk->raw != 0 && steps_to(self->format, border, walk->level) > 0) {
        split_page(self, walk, spare, flags, gather);
        tsl_walk_to(walk, inside);
    }
}

enum tsl_status tsl_table_split(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                                unsigned flags, struct tsl_gather *gather)
{
    struct tsl_spare spare;
    tsl_word needed = tables_needed(self, first, last);
    if (needed == 0)
        return TSL_OK;
    if (splits_code(self, first, first) || splits_code(self, last, last + 1u))
        return TSL_DENIED;
    enum tsl_status status = tsl_spare_fill(&spare, self, needed);
    if (status != TSL_OK && tsl_table_drop_kept(self))
        status = tsl_spare_fill(&spare, self, needed);
    if (status != TSL_OK)
        return status;
    make_border(self, first, first, &spare, flags, gather);
    make_border(self, last, last + 1u, &spare, flags, gather);
    TSL_ASSERT(spare.count == 0);
    return TSL_OK;
}

enum tsl_status tsl_table_refuse_split(struct tsl_table *self, const char *verb, tsl_vaddr start)
{
    return tsl_refuse(&self->refusals, TSL_DENIED,
                      "tables: %s at %zx would split a large page of the kernel's code", verb,
                      (size_t)start);
}
