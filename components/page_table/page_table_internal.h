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

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/gather.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>

/* The attributes that a caller may name, TSL_MAP_LARGE aside. */
#define TABLE_ATTRIBUTES                                                                           \
    (TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER | TSL_GLOBAL | TSL_ALLOW_WX | TSL_CACHE_MASK)

/* What a caller of map may wish for beside them: attributes of no entry. */
#define TABLE_WISHES (TSL_MAP_LARGE | TSL_MAP_PROMOTE)

/* --- entries: the only accesses to table memory; what takes more than a line is in entry.c -- */

/* Nobody but the CPU (history bits, in the low half) and the windows (their own entries) changes an
 * entry without the table lock, so that on a 32-bit CPU eight bytes may be read in two pieces. */
uint64_t tsl_entry_load_halves(const uint32_t *half);
void tsl_entry_publish_halves(uint32_t *low, uint32_t *high, uint64_t value);
uint64_t tsl_entry_take_halves(uint32_t *low, uint32_t *high);

/* Constant where only one width is compiled in. */
static inline bool tsl_entries_are_narrow(const struct tsl_table_format *format)
{
    bool only = !TSL_TABLE_PAE && !TSL_TABLE_4LEVEL && !TSL_TABLE_5LEVEL;
    return TSL_TABLE_2LEVEL && (only || format->entry_bytes == 4);
}

static inline uint64_t tsl_entry_load(const struct tsl_table_format *format, const void *memory,
                                      unsigned index)
{
    if (tsl_entries_are_narrow(format))
        return tsl_atomic_load_u32((const uint32_t *)memory + index);
    if (sizeof(tsl_word) == 8)
        return tsl_atomic_load((const tsl_word *)memory + index);
    return tsl_entry_load_halves((const uint32_t *)memory + 2u * index);
}

/* Absent entries are zero, and the half with the present bit is written last and cleared first. */
static inline bool tsl_entry_is_absent(const struct tsl_table_format *format, const void *memory,
                                       unsigned index)
{
    if (tsl_entries_are_narrow(format))
        return tsl_atomic_load_u32((const uint32_t *)memory + index) == 0;
    if (sizeof(tsl_word) == 8)
        return tsl_atomic_load((const tsl_word *)memory + index) == 0;
    return tsl_atomic_load_u32((const uint32_t *)memory + 2u * index) == 0;
}

/* Absent -> present. Before: the entry is zero. No CPU sees it present with half its bits. */
static inline void tsl_entry_publish(const struct tsl_table_format *format, void *memory,
                                     unsigned index, uint64_t value)
{
    uint32_t *half = (uint32_t *)memory + 2u * index;
    if (tsl_entries_are_narrow(format))
        tsl_atomic_store_release_u32((uint32_t *)memory + index, (uint32_t)value);
    else if (sizeof(tsl_word) == 8)
        tsl_atomic_store_release((tsl_word *)memory + index, (tsl_word)value);
    else
        tsl_entry_publish_halves(&half[0], &half[1], value);
}

/* Present -> absent; returns what was there, with the last accessed and dirty bits. */
static inline uint64_t tsl_entry_take(const struct tsl_table_format *format, void *memory,
                                      unsigned index)
{
    uint32_t *half = (uint32_t *)memory + 2u * index;
    if (tsl_entries_are_narrow(format))
        return tsl_atomic_exchange_u32((uint32_t *)memory + index, 0);
    if (sizeof(tsl_word) == 8)
        return tsl_arch_entry_exchange64((uint64_t *)memory + index, 0);
    return tsl_entry_take_halves(&half[0], &half[1]);
}

/*
 * Runs of `count` entries from `first` on; all lie in one table.
 */
/* How many entries at the beginning of the run are absent, or present. */
unsigned tsl_entries_absent(const struct tsl_table_format *format, const void *memory,
                            unsigned first, unsigned count);
unsigned tsl_entries_present(const struct tsl_table_format *format, const void *memory,
                             unsigned first, unsigned count);

/* Publish raw, raw + step, raw + 2 * step and so on. */
void tsl_entries_publish(const struct tsl_table_format *format, void *memory, unsigned first,
                         unsigned count, uint64_t raw, uint64_t step);

/* Publish an entry for each of the `count` lowest bits of `frames`: raw + bit * page. Returns the
 * bits that are left. */
tsl_word tsl_entries_publish_word(const struct tsl_table_format *format, void *memory,
                                  unsigned first, unsigned count, uint64_t raw, tsl_word frames);

/*
 * Present -> absent, without history: the first entry, which is present, and those behind it that
 * map the neighbouring page in the same way. Returns how many; *raw: what the first one was.
 */
unsigned tsl_entries_take(const struct tsl_table_format *format, void *memory, unsigned first,
                          unsigned count, uint64_t *raw);

/* Replaces *expected by `desired`; else returns false with *expected renewed. */
bool tsl_entry_change(const struct tsl_table_format *format, void *memory, unsigned index,
                      uint64_t *expected, uint64_t desired);

/* --- walk.c: one path through the tables --------------------------------------------------- */

/*
 * Operations use self->path, so that one begins where the last one was. A path stays good while
 * tables are hooked in, and while they are unhooked through it; who unhooks through another one
 * begins it anew.
 */
void tsl_walk_begin(struct tsl_walk *self, const struct tsl_table *table);

/* Go to `va`; near the previous address only the levels that differ are read again. */
void tsl_walk_to(struct tsl_walk *self, tsl_vaddr va);

/* The index of the walk's entry in its table. */
static inline unsigned tsl_walk_index(const struct tsl_walk *self)
{
    return tsl_table_format_index(self->table->format, self->level, self->at);
}

/* The last address that the walk's entry stands for. */
static inline tsl_vaddr tsl_walk_last(const struct tsl_walk *self)
{
    return self->at | (tsl_table_format_page_bytes(self->table->format, self->level) - 1u);
}

/* The page the walk stands on. Before: the entry is a present leaf. */
struct tsl_mapping tsl_walk_mapping(const struct tsl_walk *self);

/* How many pages of `level` from `at` on lie in one table and whole in [at, last]. Before: one
 * does.
 */
static inline unsigned tsl_pages_in_table(const struct tsl_table_format *format, unsigned level,
                                          tsl_vaddr at, tsl_vaddr last)
{
    tsl_vaddr mask = tsl_table_format_page_bytes(format, level) - 1u;
    tsl_vaddr in_range = ((last - at - mask) >> format->shift[level]) + 1u;
    unsigned in_table =
        (1u << format->index_bits[level]) - tsl_table_format_index(format, level, at);
    return in_range < in_table ? (unsigned)in_range : in_table;
}

/* --- map.c --------------------------------------------------------------------------------- */

/* tsl_table_map of one page, with arguments that are known to be good. */
TSL_MUST_CHECK enum tsl_status tsl_table_map_page(struct tsl_table *self, tsl_vaddr va,
                                                  tsl_paddr target, unsigned attributes);

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

/* Make page boundaries at `first` and behind `last`. TSL_NO_MEMORY, TSL_DENIED (code that must stay
 * whole): nothing changed. `flags`: with TSL_UNMAP_FREE the block of frames behind a split page
 * becomes single frames too. */
TSL_MUST_CHECK enum tsl_status tsl_table_split(struct tsl_table *self, tsl_vaddr first,
                                               tsl_vaddr last, unsigned flags,
                                               struct tsl_gather *gather);

/* Counts and logs that a split was denied; lock not held. */
enum tsl_status tsl_table_refuse_split(struct tsl_table *self, const char *verb, tsl_vaddr start);

/* What the kernel may need while it changes: a page that is not absent when its size changes. */
static inline bool tsl_table_stays_present(const struct tsl_table *self, tsl_vaddr va)
{
    return self->kernel || va > self->format->user_last;
}

/* --- promote.c ------------------------------------------------------------------------------ */

/* After [first, last] of a kernel table's half was mapped or protected with `attributes`, for
 * callers who wished for TSL_MAP_PROMOTE: the tables at its ends, lock held; or all of them, lock
 * not held. */
void tsl_table_promote_ends(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                            unsigned attributes);
void tsl_table_promote_wished(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                              unsigned attributes);

/* --- unmap.c ------------------------------------------------------------------------------- */

/* Remove what is there, whole pages only, and the tables that become empty. */
void tsl_table_remove(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned flags,
                      struct tsl_gather *gather);

/* tsl_table_remove over the whole address space; no range is fixed any more. */
void tsl_table_remove_all(struct tsl_table *self, struct tsl_gather *gather);

/* --- empty.c ------------------------------------------------------------------------------- */

/* What one step of a removal did to the table that the walk stands in. */
struct tsl_step {
    tsl_vaddr next; /* the address behind the step */
    bool done;      /* it was the last one */
    bool emptied;   /* no entry of the table can be left */
    bool removed;   /* some entry went */
};

/* Unhook the tables on self->path that `step` leaves behind empty. A table of 4 KiB pages in which
 * the step ends may be kept instead (TSL_TABLE_KEPT). */
void tsl_table_leave(struct tsl_table *self, const struct tsl_step *step,
                     struct tsl_gather *gather);

/* Free the kept tables that are still empty, flush included; returns whether a frame came free. */
bool tsl_table_drop_kept(struct tsl_table *self);

/* Whether the table of 4 KiB pages that `va` lies in is one of those kept; from now on it is
 * not. */
bool tsl_table_is_kept(const struct tsl_table *self, tsl_vaddr va);
void tsl_table_forget_kept(struct tsl_table *self, tsl_vaddr va);

/* Whether the table of `level` that leads to `at` may be unhooked: it is neither fixed nor the
 * root. */
bool tsl_table_may_go(const struct tsl_table *self, unsigned level, tsl_vaddr at);

/* --- gather.c ------------------------------------------------------------------------------ */

/* From here on until its finish, `self` stands for changes (or for having seen those of others). */
void tsl_gather_open(struct tsl_gather *self);

/* The translations of `count` pages of 4 KiB from `va` on were removed or changed; count 1 also for
 * a larger page that is still there. */
void tsl_gather_pages(struct tsl_gather *self, tsl_vaddr va, tsl_word count, unsigned attributes);

/* Free `count` frames from `first` on, once the flush is done. */
void tsl_gather_frames(struct tsl_gather *self, struct tsl_frame first, tsl_word count);
/* The same for a table, which goes to the allocator in any case. */
void tsl_gather_table(struct tsl_gather *self, struct tsl_frame frame);

/* Every CPU forgets all it knows of the table, now, because of a change at `va`. */
void tsl_table_flush_all(struct tsl_table *self, tsl_vaddr va);

/* --- tagged.c: CPUs whose translations are tagged ------------------------------------------- */

/* The table has a number of its own: CPUs remember it under a tag. Constant where no format has
 * any. */
static inline bool tsl_table_is_tagged(const struct tsl_table *self)
{
    return TSL_SPACES && (TSL_TABLE_4LEVEL || TSL_TABLE_5LEVEL) && TSL_UNLIKELY(self->number != 0);
}

void tsl_tagged_init(struct tsl_table *self);

/* Sends the gather's request, so that CPUs which do not run the table know of it when they come
 * back. */
void tsl_tagged_flush(struct tsl_gather *gather);

/* Loads the root. Before: this CPU, pinned, is in self->cpus. */
void tsl_tagged_switch_to(struct tsl_table *self);

/*
 * What pages of a kernel's table get: of its half they are global, asked for or not, where
 * translations are tagged. A flush reaches those of all tags at once only then.
 */
static inline unsigned tsl_tagged_attributes(const struct tsl_table *self, tsl_vaddr start,
                                             unsigned attributes)
{
    if (tsl_table_is_tagged(self) && self->kernel && start > self->format->user_last)
        return attributes | TSL_GLOBAL;
    return attributes;
}

/* --- kernel_half.c: tables of spaces show the kernel's half -------------------------------- */

/* Its first root entry: the one behind the entry that leads to the last user address. */
static inline unsigned tsl_kernel_half_index(const struct tsl_table_format *format)
{
    return tsl_table_format_index(format, format->levels - 1u, format->user_last) + 1u;
}

/* Whether `va`, which may be mapped, lies in it. */
static inline bool tsl_is_in_kernel_half(const struct tsl_table_format *format, tsl_vaddr va)
{
    unsigned shift = format->shift[format->levels - 1u];
    return va >> shift > format->user_last >> shift;
}

/* Its first address. */
tsl_vaddr tsl_kernel_half_start(const struct tsl_table_format *format);

/* Begins and ends to show it. No lock held; the kernel's is taken. */
void tsl_kernel_half_join(struct tsl_table *self, struct tsl_table *kernel);
void tsl_kernel_half_leave(struct tsl_table *self);

/* Copies `count` root entries of a kernel's table from the one of `va` on to all that show them. */
void tsl_kernel_half_changed(struct tsl_table *self, tsl_vaddr va, unsigned count);

/* Whether all that show this half have its entries; else *index is one that differs. */
bool tsl_kernel_half_agrees(struct tsl_table *self, unsigned *index);

/* To be called behind every change of entries of `level`, before anything is flushed. */
static inline void tsl_root_changed(struct tsl_table *self, unsigned level, tsl_vaddr va,
                                    unsigned count)
{
    if (TSL_SPACES && self->kernel && level == self->format->levels - 1u &&
        !self->format->fixed_top)
        tsl_kernel_half_changed(self, va, count);
}

static inline bool tsl_table_is_shown_at(const struct tsl_table *self, tsl_vaddr va)
{
    return TSL_SPACES && self->shown != NULL && va >= tsl_kernel_half_start(self->format);
}

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
