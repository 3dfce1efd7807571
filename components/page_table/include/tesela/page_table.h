/* SPDX-License-Identifier: MIT
 *
 * page_table.h: page tables of any format: map, unmap, protect, query, iterate.
 *
 * Owns:    struct tsl_table and its table frames.
 * Needs:   base (formats, arch, flush, locks), physical_allocator (frames for tables).
 * Callers: vallocator (spaces, kernel ranges), the facade, the platform at boot.
 *
 * Every change follows one order: unhook the entry, flush every CPU that may remember it, and only
 * then reuse frames (gather.h). Absent entries are zero. A failed call has changed nothing.
 */
#ifndef TESELA_PAGE_TABLE_H
#define TESELA_PAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/arch.h>
#include <tesela/compiler.h>
#include <tesela/cpu.h>
#include <tesela/format.h>
#include <tesela/list.h>
#include <tesela/lock.h>
#include <tesela/status.h>
#include <tesela/table_format.h>
#include <tesela/types.h>

struct tsl_frames;
struct tsl_gather;

/* For tsl_table_map, beside the attributes of types.h: use the largest pages that fit. */
#define TSL_MAP_LARGE (1u << 16)

/* For map and protect: where the half of a kernel's table has complete tables by this call, they
 * become large pages (tsl_table_promote); elsewhere nothing. For memory whose frames no unmap
 * frees, such as the direct map. */
#define TSL_MAP_PROMOTE (1u << 17)

/* Flags of tsl_table_unmap. */
#define TSL_UNMAP_SPARSE 1u /* pages that are not there are no mistake */
#define TSL_UNMAP_FREE   2u /* the mapped frames are freed, after the flush */

/* So many tables that may be empty a kernel's table keeps in case they are needed again soon;
 * others keep one. */
#define TSL_TABLE_KEPT 4u

struct tsl_table_config {
    const struct tsl_table_format *format;
    struct tsl_cpu_features features; /* a copy is kept: what the CPUs that run the table have */
    struct tsl_frames *frames;        /* where table frames come from */
    bool kernel; /* the kernel's table: every online CPU may hold its translations */
    /* The kernel's table, of the same format, whose kernel half this one shows, now and whatever
     * changes there later; it outlives this one. NULL: none. With TSL_SPACES only. */
    struct tsl_table *shown;
};

struct tsl_table_counters {
    tsl_word tables;                  /* table frames held now, the root included */
    tsl_word pages[TSL_TABLE_LEVELS]; /* leaves present now, by level */
    tsl_word splits;                  /* large pages taken apart since init */
    tsl_word promotions;              /* large pages put together since init */
    tsl_word flushes;                 /* flush requests sent since init */
};

/*
 * One path through the tables, private: from the root to the entry that decided `at`, be it a leaf
 * or absent (raw 0).
 */
struct tsl_walk {
    const struct tsl_table *table;
    tsl_vaddr at;
    unsigned level;
    uint64_t raw;
    void *memory[TSL_TABLE_LEVELS]; /* the tables on the path, valid from `level` up */
};

/*
 * One set of page tables, in the caller's storage. All members are private; the lock (rank
 * TSL_RANK_TABLES) guards them and the tables.
 */
struct tsl_table {
    const struct tsl_table_format *format;
    struct tsl_cpu_features features;
    struct tsl_frames *frames;
    struct tsl_lock lock;
    tsl_paddr root;
    void *root_memory;
    bool kernel;
    struct tsl_table *shown; /* whose kernel half is shown here; NULL: nobody's */
    struct tsl_list showing; /* the kernel's: those that show its half; theirs: their place in it.
                                Guarded by the kernel's lock, as are their entries of that half */
    unsigned physical_bits;  /* the lesser of format and CPU */
    tsl_vaddr low_last;      /* maps lie at or below this address, page 0 left out, */
    tsl_vaddr high_first;    /* or at or above this one */
    tsl_vaddr fixed_first;   /* the window range: its tables stay, maps there are refused; */
    tsl_vaddr fixed_last;    /* inclusive; first > last: none */
    struct tsl_cpu_set cpus; /* those that ran this table since its last switch away */
    tsl_word number;         /* 0: CPUs have no tags; else no other table ever had it. With it: */
    tsl_word flushes_begun;  /* requests that concern what CPUs remember under tags not in use; */
    tsl_word flushes_ended;  /* of them, those that every CPU asked has run */
    struct tsl_walk path;    /* of the last operation: the next one is often near */
    unsigned set_as;         /* attributes of the page that was set last, */
    uint64_t set_bits;       /* and what they come to in an entry; 0: none yet */
    tsl_vaddr kept[TSL_TABLE_KEPT]; /* where they begin, those noted first in front */
    unsigned kept_count;
    tsl_word open_gathers; /* gathers with changes that are not flushed yet */
    tsl_word long_changes; /* under way, in batches: no pages become larger meanwhile */
    struct tsl_table_counters counters;
    struct tsl_refusals refusals;
};

/* One present page as the tables hold it. */
struct tsl_mapping {
    tsl_vaddr start;
    tsl_paddr target;
    size_t bytes; /* size of the page: 4 KiB, 2/4 MiB or 1 GiB */
    unsigned attributes;
    bool accessed;
    bool dirty;
};

/*
 * Make `self` an empty table with its root (and the tables under it that the format fixes).
 * Errors:  TSL_NO_MEMORY; TSL_UNSUPPORTED (the CPU lacks what the format needs); TSL_INVALID (shown
 *          is no kernel's table or has another format).
 * Owns:    the table owns its frames until tsl_table_fini.
 * Context: takes the frames lock.
 * Cost:    constant.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_init(struct tsl_table *self,
                                              const struct tsl_table_config *config);

/*
 * Free every table frame; mapped frames are left alone (unmap with TSL_UNMAP_FREE first).
 * Before:  no CPU runs the table any more, no gather on it is open.
 * Errors:  TSL_BUSY: a CPU still runs it (of a kernel's table: one that is online), or another
 *          table shows its half; nothing is freed.
 * Cost:    linear in the tables.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_fini(struct tsl_table *self);

/* Whether tsl_table_fini() would refuse even if this CPU did not run the table. Context: any. */
bool tsl_table_is_needed(const struct tsl_table *self);

/*
 * Run `self` on the calling CPU: it is counted among the CPUs to flush from now on. With PCIDs
 * (features.pcid) what the CPU remembers of the last few tables stays, and is dropped only where
 * something has changed since.
 * Before:  the caller is pinned and its code is mapped in `self`.
 * Cost:    a load of the root; with PCIDs a look at the six tables that ran last.
 */
void tsl_table_switch_to(struct tsl_table *self);

/*
 * The calling CPU stopped running `self`: it has switched to another root already, so that nothing
 * it remembers of this one is used before the next switch back.
 */
void tsl_table_left(struct tsl_table *self);

/*
 * Map `bytes` at `start` to the physical run at `target`.
 * `attributes`: TSL_READ | TSL_WRITE | TSL_EXEC (one at least; x86 can always read), TSL_USER,
 *          TSL_GLOBAL, a cache type, TSL_ALLOW_WX, TSL_MAP_LARGE, TSL_MAP_PROMOTE. A CPU without a
 *          global bit ignores TSL_GLOBAL, and with PCIDs all pages of a kernel table's half have
 *          it; a CPU without PAT maps write-combining as uncached.
 * Errors:  TSL_INVALID (0 bytes, unknown attributes, no access at all, global below the kernel
 *          half), TSL_MISALIGNED, TSL_OUT_OF_RANGE (wraps, page 0, the guard page under the hole,
 *          physical width), TSL_NOT_CANONICAL, TSL_DENIED (writable and executable without
 *          TSL_ALLOW_WX; TSL_USER outside the user half; the window range; the kernel half of a
 *          table that shows another's), TSL_EXISTS (a page is present), TSL_NO_MEMORY. In each case
 *          nothing has changed.
 * Context: any but NMI; takes the table lock, then frames.
 * Cost:    linear in pages mapped.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_map(struct tsl_table *self, tsl_vaddr start,
                                             tsl_paddr target, size_t bytes, unsigned attributes);

/*
 * Map a page from `start` on for each bit of `frames`, lowest first: bit i stands for the frame
 * first.number + i (tsl_frames_alloc_word takes frames like that).
 * Errors:  as tsl_table_map, TSL_INVALID also for no bits.
 * Context: as tsl_table_map. Cost: one walk, and a few instructions a page.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_map_word(struct tsl_table *self, tsl_vaddr start,
                                                  struct tsl_frame first, tsl_word frames,
                                                  unsigned attributes);

/* What tsl_table_set_page found. */
enum tsl_page_kind {
    TSL_PAGE_NEW,     /* nothing */
    TSL_PAGE_SAME,    /* the target already; its rights may have been others */
    TSL_PAGE_REPLACED /* another page, which no CPU reaches any more */
};

struct tsl_page_change {
    enum tsl_page_kind kind;
    tsl_paddr old; /* with TSL_PAGE_REPLACED: where the entry led */
};

/*
 * Make the page of 4 KiB at `va` lead to `target` with these attributes (as in map), whatever is
 * there. For page faults: on a CPU that knows the page as read-only, and may write from now on, the
 * write faults once more; nothing else of the old entry is left on any CPU.
 * Errors:  as map for a page of the user half, others TSL_OUT_OF_RANGE; TSL_EXISTS: `va` lies in a
 *          larger page. In each case nothing has changed.
 * Context: as map; flushes with the lock held, unless there was nothing or only write is new.
 * Cost:    one walk.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_set_page(struct tsl_table *self, tsl_vaddr va,
                                                  tsl_paddr target, unsigned attributes,
                                                  struct tsl_page_change *out);

/*
 * The short way of tsl_table_set_page for a page that leads to `target` already and gains nothing
 * but the right to write, near the last operation and with the attributes of the last page set.
 * False, and nothing has changed: it is another case.
 * Context: as map; never flushes other CPUs.
 * Cost:    constant.
 */
TSL_MUST_CHECK bool tsl_table_widen_page(struct tsl_table *self, tsl_vaddr va, tsl_paddr target,
                                         unsigned attributes);

/*
 * How many of `pages` pages of 4 KiB from `va` on, which is aligned, are not there: up to the first
 * that is, or to where a table ends. Context: as map. Cost: a walk, and a load a page.
 */
unsigned tsl_table_count_absent(struct tsl_table *self, tsl_vaddr va, unsigned pages);

/*
 * Remove what is mapped in [start, start + bytes); a large page that sticks out is split first. In
 * the user half of a space its neighbours are not mapped meanwhile, as with tsl_table_promote.
 * Tables left empty are freed, but for a few (tsl_table_trim).
 * flags:   TSL_UNMAP_SPARSE, TSL_UNMAP_FREE.
 * gather:  collects the flush and the frames for tsl_gather_finish; NULL: all is done on return.
 *          Until the finish the addresses stay the caller's: CPUs may still see the old pages
 *          there, also after somebody has mapped new ones.
 * Errors:  as map for the range; TSL_INVALID (unknown flags); TSL_NOT_FOUND (a page is missing and
 *          not TSL_UNMAP_SPARSE), TSL_NO_MEMORY (splitting needs a table), TSL_DENIED (also: it
 *          would split a large page of the kernel's code). In each case nothing has changed.
 * Context: as map; flushes with the lock held if `gather` is NULL. A long range is done in batches:
 *          interrupts are off for some 2,048 pages and, without a gather, one flush at a time.
 * Cost:    linear in what exists.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_unmap(struct tsl_table *self, tsl_vaddr start,
                                               size_t bytes, unsigned flags,
                                               struct tsl_gather *gather);

/*
 * Free the empty tables that were kept for the next pages in the same place (see TSL_TABLE_KEPT).
 * The table does so itself before it runs out of frames for tables; others who need frames ask.
 * Context: as map; flushes with the lock held.
 * Cost:    a walk and the reading of one table for each of at most TSL_TABLE_KEPT.
 */
void tsl_table_trim(struct tsl_table *self);

/*
 * Give every page in the range the attributes (as in map, without TSL_MAP_LARGE). The accessed and
 * dirty bits that the CPU sets meanwhile are kept.
 * Errors:  as map and unmap; TSL_NOT_FOUND: a page is missing. Nothing has changed then.
 * Context: as unmap, in batches too: a range that is long changes part by part. Cost: as unmap.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_protect(struct tsl_table *self, tsl_vaddr start,
                                                 size_t bytes, unsigned attributes,
                                                 struct tsl_gather *gather);

/* The same for what is there: pages that are missing are no mistake. `gather` is not NULL. */
TSL_MUST_CHECK enum tsl_status tsl_table_protect_sparse(struct tsl_table *self, tsl_vaddr start,
                                                        size_t bytes, unsigned attributes,
                                                        struct tsl_gather *gather);

/*
 * Make larger pages (2 or 4 MiB, then 1 GiB where the CPU has them) of what lies whole in the
 * range and could be mapped so: neighbouring pages with the same attributes from an aligned target
 * on. Accessed and dirty: if one of them is. Executable pages of the kernel's half or table stay
 * small, and so does everything while a long unmap or protect of the table is under way elsewhere.
 * In the user half of a space such a place is not mapped for a moment, until the call returns: who
 * touches it meanwhile faults, and finds the page there (tsl_table_query) when he asks the table.
 * Before:  the frames are one block to whoever frees them: TSL_UNMAP_FREE will give them back so.
 * Errors:  as map for the range. Else TSL_OK, whether there was anything to do or not.
 * Context: as map; flushes with the lock held. The lock is held for one larger page at a time.
 * Cost:    one table read, and a flush of everything, for each page made; a walk for each other
 *          place.
 * Source:  Intel SDM volume 3, 4.10.2.3.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_promote(struct tsl_table *self, tsl_vaddr start,
                                                 size_t bytes);

/*
 * The page that `va` lies in. In a kernel half that is shown: as the kernel's table says.
 * Errors:  TSL_NOT_FOUND, TSL_NOT_CANONICAL (neither is logged).
 * Cost:    one walk.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_query(struct tsl_table *self, tsl_vaddr va,
                                               struct tsl_mapping *out);

/*
 * The first page at or above `from` (its end counts) and starting at most at `last`: to visit all,
 * go on with out->start + out->bytes until false (or until that sum is 0: the top was reached).
 * Cost:    linear in the tables skipped, never in the addresses.
 */
bool tsl_table_next(struct tsl_table *self, tsl_vaddr from, tsl_vaddr last,
                    struct tsl_mapping *out);

/*
 * Make all tables down to level 0 for [start, start + bytes) and keep them for good; from now on
 * map, unmap and protect refuse the range. For the windows; one such range a table.
 * Errors:  range errors as map; TSL_EXISTS (something is mapped there, or another range is fixed);
 *          TSL_NO_MEMORY. Calling again with the same range is TSL_OK.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_fix(struct tsl_table *self, tsl_vaddr start, size_t bytes);

/*
 * Check the rules of the README ("Invariants"). Reads only; stops at the first broken rule.
 * Context: takes the table lock for the whole check.
 * Cost:    linear in all tables.
 */
struct tsl_defect tsl_table_verify(struct tsl_table *self);

/*
 * Print what is mapped, neighbouring pages with equal attributes as one line.
 * Context: the lock is held for one page at a time, so a table in use may change between lines.
 */
void tsl_table_dump(struct tsl_table *self, const struct tsl_sink *sink);

#endif
