/* SPDX-License-Identifier: MIT
 *
 * page_table_internal.h: what the files of page_table share.
 *
 * Owns:    the walk, entry access, spare tables, and the checks of arguments.
 * Needs:   page_table.h, gather.h.
 * Callers: files of this folder only.
 *
 * Everything below that takes a table expects its lock to be held, unless it says otherwise.
 */
#ifndef TESELA_PAGE_TABLE_INTERNAL_H
#define TESELA_PAGE_TABLE_INTERNAL_H

#include <tesela/gather.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>

/* The attributes that a caller may name, TSL_MAP_LARGE aside. */
#define TABLE_ATTRIBUTES                                                                           \
    (TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER | TSL_GLOBAL | TSL_ALLOW_WX | TSL_CACHE_MASK)

/* --- entry.c: the only accesses to table memory ------------------------------------------- */

uint64_t tsl_entry_load(const struct tsl_table_format *format, const void *memory, unsigned index);

/* Absent -> present. Before: the entry is zero. No CPU sees it present with half its bits. */
void tsl_entry_publish(const struct tsl_table_format *format, void *memory, unsigned index,
                       uint64_t value);

/* The two stores it takes on a 32-bit CPU; by themselves for the test of their order. */
void tsl_entry_publish_halves(uint32_t *low, uint32_t *high, uint64_t value);

/* Present -> absent; returns what was there, with the last accessed and dirty bits. */
uint64_t tsl_entry_take(const struct tsl_table_format *format, void *memory, unsigned index);

/* Replaces *expected by `desired`; else returns false with *expected renewed. */
bool tsl_entry_change(const struct tsl_table_format *format, void *memory, unsigned index,
                      uint64_t *expected, uint64_t desired);

/* --- walk.c: one path through the tables --------------------------------------------------- */

/* Where a walk to `at` ended: at a leaf, or at an absent entry of `level`. */
struct tsl_walk {
    const struct tsl_table *table;
    tsl_vaddr at;
    unsigned level;
    uint64_t raw;
    struct tsl_table_entry entry;
    void *memory[TSL_TABLE_LEVELS]; /* the tables on the path, valid from `level` up */
};

void tsl_walk_begin(struct tsl_walk *self, const struct tsl_table *table);

/* Go to `va`; near the previous address only the levels that differ are read again. */
void tsl_walk_to(struct tsl_walk *self, tsl_vaddr va);

/* The index of the walk's present entry in its table. */
unsigned tsl_walk_index(const struct tsl_walk *self);

/* The last address that the walk's present entry stands for. */
tsl_vaddr tsl_walk_last(const struct tsl_walk *self);

/* The page the walk stands on. Before: the entry is a present leaf. */
struct tsl_mapping tsl_walk_mapping(const struct tsl_walk *self);

/* --- spare.c: table frames taken before anything is changed -------------------------------- */

struct tsl_spare {
    void *head;
    tsl_word count;
};

/* Take `count` zeroed table frames; all or none. */
TSL_MUST_CHECK enum tsl_status tsl_spare_fill(struct tsl_spare *self, struct tsl_table *table,
                                              tsl_word count);

/* One frame of the spare ones, zeroed. Before: there is one. */
void *tsl_spare_take(struct tsl_spare *self, tsl_paddr *out);

/* Hook a spare table under the walk's absent entry and step down to it. */
void tsl_spare_hook(struct tsl_spare *self, struct tsl_table *table, struct tsl_walk *walk);

/*
 * Tables missing for a page at walk->at, a page of `level`, in a range that begins at `first`;
 * those that an earlier page of the range has been charged with are not counted.
 */
tsl_word tsl_spare_missing(const struct tsl_walk *walk, unsigned level, tsl_vaddr first);

/* --- split.c ------------------------------------------------------------------------------- */

/* Make page boundaries at `first` and behind `last`. TSL_NO_MEMORY: nothing changed. `flags`:
 * with TSL_UNMAP_FREE the block of frames behind a split page becomes single frames too. */
TSL_MUST_CHECK enum tsl_status tsl_table_split(struct tsl_table *self, tsl_vaddr first,
                                               tsl_vaddr last, unsigned flags,
                                               struct tsl_gather *gather);

/* --- unmap.c ------------------------------------------------------------------------------- */

/* Is every page of the range present? `missing`: the first that is not. */
bool tsl_table_all_present(const struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                           tsl_vaddr *missing);

/* Remove what is there, whole pages only, and the tables that become empty. */
void tsl_table_remove(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned flags,
                      struct tsl_gather *gather);

/* tsl_table_remove over the whole address space; no range is fixed any more. */
void tsl_table_remove_all(struct tsl_table *self, struct tsl_gather *gather);

/* --- gather.c ------------------------------------------------------------------------------ */

/* From here on until its finish, `self` stands for changes (or for having seen those of others). */
void tsl_gather_open(struct tsl_gather *self);

/* A translation of the page at `va` was removed or changed. */
void tsl_gather_page(struct tsl_gather *self, tsl_vaddr va, unsigned attributes);

/* --- check.c: callers' mistakes ------------------------------------------------------------ */

/* A non-empty, aligned, canonical range outside page 0 and the fixed range. */
TSL_MUST_CHECK enum tsl_status tsl_table_check_range(struct tsl_table *self, const char *verb,
                                                     tsl_vaddr start, size_t bytes,
                                                     tsl_vaddr *last);

TSL_MUST_CHECK enum tsl_status tsl_table_check_attributes(struct tsl_table *self, const char *verb,
                                                          tsl_vaddr start, tsl_vaddr last,
                                                          unsigned attributes);

/* Does the table entry of `level` at `va` lead to the user half (and carry the user bit)? */
bool tsl_table_in_user_half(const struct tsl_table_format *format, unsigned level, tsl_vaddr va);

/* The first address of the upper half of a sign-extended format. */
tsl_vaddr tsl_table_upper_half(const struct tsl_table_format *format);

/* The last address of the lower half; of all addresses where there are no halves. */
tsl_vaddr tsl_table_lower_last(const struct tsl_table_format *format);

static inline unsigned tsl_table_top(const struct tsl_table *self)
{
    return self->format->levels - 1u;
}

static inline unsigned tsl_table_entries(const struct tsl_table_format *format, unsigned level)
{
    return 1u << format->index_bits[level];
}

#endif
