/* SPDX-License-Identifier: MIT
 *
 * vallocator.h: ranges of kernel addresses: memory by the page with a protection, between guard
 * pages.
 *
 * Owns:    which addresses of one window belong to whom, and the frames behind memory that it
 *          handed out itself.
 * Needs:   a page table, a frame allocator, a heap for its nodes.
 * Callers: the kernel (drivers, stacks, big buffers), the facade.
 */
#ifndef TESELA_VALLOCATOR_H
#define TESELA_VALLOCATOR_H

#include <tesela/format.h>
#include <tesela/heap_allocator.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/status.h>
#include <tesela/types.h>

/* All ranges of one window of kernel addresses; it lives in the heap. */
struct tsl_ranges;

/* What a set of ranges is made of. Everything named here must outlive it. */
struct tsl_ranges_config {
    struct tsl_table *table;   /* where pages are mapped */
    struct tsl_frames *frames; /* where frames come from */
    struct tsl_heap *heap;     /* where nodes come from: one for each range, about 96 bytes */
    tsl_vaddr start;           /* first byte of the window, page aligned, not 0 */
    tsl_vaddr last;    /* last byte of the window, inclusive: the window may end at the top */
    size_t lazy_pages; /* so many pages of small freed ranges may wait for one flush [0: none] */
};

/* What a range is. */
enum tsl_range_kind {
    TSL_RANGE_MEMORY,   /* frames of its own, from tsl_ranges_alloc() */
    TSL_RANGE_EXTERNAL, /* somebody else's physical memory, from tsl_ranges_map() */
};

/* One range as a caller sees it. */
struct tsl_range_info {
    tsl_vaddr start;          /* first byte */
    size_t bytes;             /* length, whole pages, without the guard page behind */
    unsigned attributes;      /* TSL_READ | TSL_WRITE | ... */
    enum tsl_range_kind kind; /* where its pages come from */
    size_t bytes_large;       /* MEMORY: of its bytes those in large pages */
};

/* Counters of one window. */
struct tsl_ranges_stats {
    size_t ranges;        /* live ranges */
    size_t bytes_memory;  /* bytes in ranges of kind TSL_RANGE_MEMORY */
    size_t bytes_mapped;  /* bytes in ranges of kind TSL_RANGE_EXTERNAL */
    size_t bytes_peak;    /* the most that bytes_memory ever was */
    size_t bytes_window;  /* length of the window */
    size_t bytes_pending; /* freed, but their frames wait for a flush */
    size_t largest_gap;   /* the longest run of addresses that nobody has or had a moment ago */
    tsl_word failures;    /* requests refused for want of addresses, frames or heap */
    tsl_word refusals;    /* calls refused because their arguments were wrong */
};

/*
 * Makes an empty set of ranges over a window that nothing else maps.
 * Owns:    the caller owns *out until tsl_ranges_destroy().
 * Errors:  TSL_INVALID (something missing, start 0, last before start), TSL_MISALIGNED,
 *          TSL_NO_MEMORY (heap).
 */
TSL_MUST_CHECK enum tsl_status tsl_ranges_create(const struct tsl_ranges_config *config,
                                                 struct tsl_ranges **out);

/* Frees every range that is left, and the set itself. Before: nobody uses an address of the window
 * any more. */
void tsl_ranges_destroy(struct tsl_ranges *self);

/*
 * Allocates `bytes` of memory, rounded up to pages, mapped with `attributes`; an unmapped guard
 * page stays on each side.
 *
 * The contents are undefined unless the caller writes them: frames come as they are. With
 * LARGE_PAGES a range as long as a large page (2 MiB; 4 MiB in 2-level tables) begins aligned to
 * one if there is such a gap, and has large pages as far as there are blocks of frames for them.
 * attributes: TSL_READ, with TSL_WRITE or TSL_EXEC as wanted, TSL_GLOBAL, a cache type.
 * Owns:    the caller, until tsl_ranges_free() with the same address.
 * Errors:  TSL_INVALID (no bytes, or not readable, or for user mode), TSL_OUT_OF_RANGE (longer than
 *          the window), TSL_DENIED (writable and executable without TSL_ALLOW_WX), TSL_LIMIT (no
 *          gap is long enough), TSL_NO_MEMORY (frames, tables or heap). *out and everything else is
 *          as before.
 * Context: any but NMI; holds no lock while it allocates frames.
 * Cost:    O(log ranges + pages).
 */
TSL_MUST_CHECK enum tsl_status tsl_ranges_alloc(struct tsl_ranges *self, size_t bytes,
                                                unsigned attributes, void **out);

/*
 * Frees memory by its address alone: unmaps, flushes every CPU, then frees frames, then the
 * addresses. With config.lazy_pages all behind the unmapping of a small range may come later, in
 * one go for many: at the latest when more pages wait, when an allocation of ours would fail, or
 * with tsl_ranges_purge.
 *
 * NULL is allowed and does nothing.
 * Errors:  TSL_FOREIGN (outside the window), TSL_NOT_FOUND (no range there: never handed out, or
 *          freed before), TSL_INVALID (inside a range, not its start), TSL_DENIED (a range of kind
 *          TSL_RANGE_EXTERNAL), TSL_BUSY (another CPU makes or frees it now).
 * Context: any but NMI.
 * Cost:    O(log ranges + pages), and one flush for each full gather or each lazy_pages.
 */
TSL_MUST_CHECK enum tsl_status tsl_ranges_free(struct tsl_ranges *self, void *start);

/*
 * Frees at once what waits, and nodes in hand: for whoever is short of frames or addresses, or
 * counts them.
 * Context: any but NMI. Cost: one flush; O(log ranges) for each range that waited or is cached.
 */
void tsl_ranges_purge(struct tsl_ranges *self);

/*
 * Maps somebody else's physical memory at a chosen address of the window and keeps the address from
 * everybody else.
 * bytes:   whole pages. start, target: page aligned.
 * Owns:    the memory stays its owner's; the addresses are the caller's until tsl_ranges_unmap().
 * Errors:  TSL_INVALID, TSL_MISALIGNED, TSL_FOREIGN (not inside the window; its last page is a
 *          guard), TSL_EXISTS (some address is taken or is the guard page of a range), TSL_DENIED
 *          (W+X), TSL_OUT_OF_RANGE (target beyond the CPU's physical width), TSL_NO_MEMORY.
 * Context: any but NMI.
 * Cost:    O(log ranges + pages).
 */
TSL_MUST_CHECK enum tsl_status tsl_ranges_map(struct tsl_ranges *self, tsl_vaddr start,
                                              tsl_paddr target, size_t bytes, unsigned attributes);

/*
 * Undoes tsl_ranges_map() for the range that begins at `start`.
 * Errors:  as tsl_ranges_free(), with TSL_DENIED for memory that tsl_ranges_alloc() handed out.
 */
TSL_MUST_CHECK enum tsl_status tsl_ranges_unmap(struct tsl_ranges *self, tsl_vaddr start);

/* Tells which range covers `address`. Errors: TSL_NOT_FOUND. Cost: O(log ranges). */
TSL_MUST_CHECK enum tsl_status tsl_ranges_find(struct tsl_ranges *self, tsl_vaddr address,
                                               struct tsl_range_info *out);

/*
 * The first range that starts at or above `from`; false when there is none. To visit all, begin at
 * 0 and go on with out->start + out->bytes: there a guard page lies, so no range is missed or met
 * twice.
 * Cost:    O(log ranges).
 */
bool tsl_ranges_next(struct tsl_ranges *self, tsl_vaddr from, struct tsl_range_info *out);

/* Fills *out with a snapshot. Cost: O(1). */
void tsl_ranges_stats(struct tsl_ranges *self, struct tsl_ranges_stats *out);

/*
 * Checks rules R1 to R8 of README.md: order, gaps, guards, counters, and the page table against the
 * ranges. Reads only.
 * Before:  nobody changes the ranges meanwhile.
 * Cost:    O(pages mapped).
 */
struct tsl_defect tsl_ranges_verify(const struct tsl_ranges *self);

/* Prints one line a range to the sink. */
void tsl_ranges_dump(struct tsl_ranges *self, const struct tsl_sink *sink);

#endif
