/* SPDX-License-Identifier: MIT
 *
 * backed_range.h: a window of kernel addresses whose pages get frames when they are asked for.
 *
 * Owns:    which pages of the window are in use, and the frames behind them.
 * Needs:   a page table that covers the window, a frame allocator.
 * Callers: whoever needs a page source over reserved addresses, first of all the kernel's heap.
 */
#ifndef TESELA_BACKED_RANGE_H
#define TESELA_BACKED_RANGE_H

#include <tesela/format.h>
#include <tesela/heap_allocator.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/status.h>
#include <tesela/types.h>

/* A window of addresses; it lives in frames of its own, two bits for each page of the window.
 */
struct tsl_backed_range;

/* What a backed range is made of. Everything named here must outlive the range. */
struct tsl_backed_range_config {
    struct tsl_table *table;   /* where the pages are mapped */
    struct tsl_frames *frames; /* where the frames come from */
    tsl_vaddr start;           /* first byte of the window, page aligned */
    size_t bytes;              /* length of the window, a multiple of the page size, > 0 */
    unsigned attributes;       /* TSL_READ | TSL_WRITE and so on, the same for every page */
};

/* What a backed range holds at one moment. */
struct tsl_backed_range_stats {
    size_t pages;      /* length of the window */
    size_t pages_used; /* pages handed out */
    size_t pages_peak; /* the most that ever were handed out at once */
    tsl_word failures; /* requests refused, for want of addresses or of frames */
    tsl_word refusals; /* pages given back that were not handed out */
};

/*
 * Makes a backed range over a window of addresses that nothing else maps.
 * Owns:    the caller owns *out until tsl_backed_range_destroy().
 * Errors:  TSL_INVALID (no table, frames or bytes), TSL_MISALIGNED, TSL_OUT_OF_RANGE (the window
 *          wraps), TSL_NO_MEMORY (no directly mapped frames for the bit map).
 * Context: any but NMI.
 * Cost:    O(pages / word bits).
 */
TSL_MUST_CHECK enum tsl_status tsl_backed_range_create(const struct tsl_backed_range_config *config,
                                                       struct tsl_backed_range **out);

/*
 * Gives back every page still handed out, and the range itself.
 * Before:  nobody uses a page of the window any more.
 */
void tsl_backed_range_destroy(struct tsl_backed_range *self);

/*
 * Hands out `pages` neighbouring pages, mapped and backed; their contents are undefined.
 * Owns:    the caller, until tsl_backed_range_put() with the same start and count.
 * Errors:  NULL when pages is 0, or no run of addresses or not enough frames are left; nothing is
 *          changed then.
 * Context: any but NMI; takes the range's lock, then the tables' and the frames' one after the
 *          other.
 * Cost:    O(words searched + pages).
 */
void *tsl_backed_range_get(struct tsl_backed_range *self, size_t pages);

/*
 * Makes a run of `pages` pages that was handed out `new_pages` long, at its place: the pages behind
 * it are handed out too, contents undefined. Pages may later be put in any pieces.
 * Errors:  TSL_LIMIT (a page behind it is taken, or the window ends), TSL_NO_MEMORY (not enough
 *          frames): the run stays as it is. A caller's mistake: TSL_INVALID (no pages, or not
 *          longer), TSL_MISALIGNED, TSL_FOREIGN, TSL_NOT_FOUND (a page of it is not handed out).
 * Context, Cost: as tsl_backed_range_get().
 */
TSL_MUST_CHECK enum tsl_status tsl_backed_range_extend(struct tsl_backed_range *self, void *start,
                                                       size_t pages, size_t new_pages);

/*
 * Takes back a run, or a part of a run, of pages that were handed out.
 *
 * The pages are unmapped and flushed on every CPU before their frames and then their addresses are
 * free.
 * Errors:  TSL_MISALIGNED, TSL_INVALID (no pages), TSL_FOREIGN (outside the window),
 *          TSL_DOUBLE_FREE (a page of it is not handed out, or is being taken back
 *          or handed out at this moment). Nothing is changed then.
 * Context: any but NMI.
 * Cost:    O(pages) and one flush for each full gather.
 */
TSL_MUST_CHECK enum tsl_status tsl_backed_range_put(struct tsl_backed_range *self, void *start,
                                                    size_t pages);

/*
 * Takes all access to pages that were handed out away: they are unmapped, but the addresses stay
 * the caller's until tsl_backed_range_put(). This CPU faults from then on. Others do so, and the
 * frames are free, after a flush that 32 closings share; it comes earlier when one of the pages is
 * put or frames run short. Closed pages may be closed again. Only where the heap's tier is full or
 * debug (HEAP_HARDENING), or HEAP_ZERO_FAULTS is on.
 * Errors:  TSL_MISALIGNED, TSL_INVALID, TSL_FOREIGN, TSL_NOT_FOUND (a page of it is not handed
 *          out), TSL_UNSUPPORTED (another tier). Nothing is changed then.
 * Context: as tsl_backed_range_put(). Cost: O(pages), and a 32nd of a flush.
 */
TSL_MUST_CHECK enum tsl_status tsl_backed_range_close(struct tsl_backed_range *self, void *start,
                                                      size_t pages);

/* The range as the page source of a heap; valid as long as the range. */
struct tsl_page_source tsl_backed_range_source(struct tsl_backed_range *self);

/* Fills *out with a snapshot. Cost: O(1). */
void tsl_backed_range_stats(const struct tsl_backed_range *self,
                            struct tsl_backed_range_stats *out);

/*
 * Checks the range's own rules (README.md, B1 to B5). Reads only.
 * Before:  nobody changes the range meanwhile.
 * Cost:    O(pages of the window).
 */
struct tsl_defect tsl_backed_range_verify(const struct tsl_backed_range *self);

#endif
