/* SPDX-License-Identifier: MIT
 *
 * split.c: large pages are taken apart where a range begins or ends inside of them.
 *
 * Owns:    tsl_table_split.
 * Needs:   walk.c, spare.c, gather.c.
 * Callers: unmap and protect, with the table lock held.
 *
 * A split changes no translation, only its granularity: the pieces carry the same rights, cache
 * type (whose bit moves) and history as the whole.
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

/* Fill a table with the pieces of the walk's page as `old` describes it. */
static void fill_pieces(struct tsl_table *self, const struct tsl_table_entry *old, unsigned level,
                        void *memory)
{
    const struct tsl_table_format *format = self->format;
    tsl_paddr bytes = (tsl_paddr)1 << format->shift[level];
    for (unsigned i = 0; i < tsl_table_entries(format, level); i++) {
        uint64_t raw =
            format->encode_leaf(level, old->target + i * bytes, old->attributes, &self->features);
        raw = format->with_history(raw, old->accessed, old->dirty);
        (void)tsl_entry_take(format, memory, i); /* what an attempt before has left */
        tsl_entry_publish(format, memory, i, raw);
    }
}

/* A block that was allocated whole will be freed piece by piece. */
static void split_block(struct tsl_table *self, const struct tsl_table_entry *old, unsigned level)
{
    unsigned order = self->format->shift[level] - TSL_PAGE_SHIFT;
    if (order >= TSL_FRAMES_HUGE_ORDER && order <= TSL_FRAMES_MAX_ORDER)
        (void)!tsl_frames_split(self->frames, tsl_frame_of(old->target), order);
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
    uint64_t seen = walk->raw;
    struct tsl_table_entry old;
    do {
        format->decode(level, seen, &self->features, &old);
        fill_pieces(self, &old, level - 1u, memory);
    } while (!tsl_entry_change(format, walk->memory[level], tsl_walk_index(walk), &seen, table));

    tsl_root_changed(self, level, walk->at, 1);
    self->counters.tables++;
    self->counters.splits++;
    self->counters.pages[level]--;
    self->counters.pages[level - 1u] += tsl_table_entries(format, level - 1u);
    if (flags & TSL_UNMAP_FREE)
        split_block(self, &old, level);
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
