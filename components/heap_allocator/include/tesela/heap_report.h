/* SPDX-License-Identifier: MIT
 *
 * heap_report.h: what a heap says about itself: figures, a table by class, self-check.
 *
 * Owns:    nothing; everything here reads only.
 * Needs:   base, heap_allocator.h.
 * Callers: anyone who may call the heap; a heap is locked while it is read, so that the figures
 *          agree with each other.
 */
#ifndef TESELA_HEAP_REPORT_H
#define TESELA_HEAP_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include <tesela/format.h>
#include <tesela/heap_allocator.h>
#include <tesela/status.h>
#include <tesela/types.h>

/* Bytes and counts of one heap. Live bytes are what blocks may use, after rounding. */
struct tsl_heap_stats {
    size_t live_bytes;
    size_t live_blocks;
    size_t peak_bytes;        /* largest live_bytes so far */
    size_t taken_bytes;       /* out of the page source now, bookkeeping included */
    size_t peak_taken_bytes;  /* largest taken_bytes so far */
    size_t ceiling_bytes;     /* taken_bytes never exceeds it */
    size_t bookkeeping_bytes; /* of taken_bytes (fixed array: of the array): records, page map */
    size_t empty_bytes;       /* of taken_bytes: slabs without a live block, kept for reuse */
    /* What follows, and live bytes and blocks, contain objects of typed caches. */
    uint64_t allocs;          /* successful, since the heap began */
    uint64_t frees;
    uint64_t failures;        /* requests that ended with NULL for want of memory */
    uint64_t requested_bytes; /* asked for in all successful requests */
    uint64_t granted_bytes;   /* what they got: the difference is internal fragmentation */
    uint64_t source_gets;     /* successful calls of the page source's get, and of its put */
    uint64_t source_puts;
    uint64_t source_failures;
    struct tsl_refusals refusals; /* by status: misuse and shortage */
};

/* One size class. With HEAP_CORE_GRANULES a doubling of sizes, from 32 bytes to a page; block_bytes
 * is the greatest of them, and only live_blocks is known beside. */
struct tsl_heap_class_stats {
    size_t block_bytes;
    size_t slab_pages;
    size_t slab_blocks;
    size_t slabs;
    size_t empty_slabs;
    size_t live_blocks;
    uint64_t allocs;
    uint64_t requested_bytes; /* in all successful requests of this class */
};

/* Copies the figures of the whole heap. Cost: the number of classes. */
void tsl_heap_stats(const struct tsl_heap *self, struct tsl_heap_stats *out);

/* How many classes there are. */
size_t tsl_heap_class_count(void);

/* Copies the figures of class `index`. Errors: TSL_OUT_OF_RANGE, `out` untouched. With granules all
 * blocks are looked at. */
TSL_MUST_CHECK enum tsl_status tsl_heap_class_stats(const struct tsl_heap *self, size_t index,
                                                    struct tsl_heap_class_stats *out);

/*
 * Checks the rules numbered in the component's README; stops at the first broken one.
 * Cost:    slabs, large blocks and touched map pages; the heap is locked meanwhile.
 */
struct tsl_defect tsl_heap_verify(const struct tsl_heap *self);

/* Prints totals and one line for each class that was ever used, and for each typed cache: blocks,
 * bytes, slabs, how much of the slabs is in use (-: there are none), allocations so far. */
void tsl_heap_dump(const struct tsl_heap *self, const struct tsl_sink *sink);

#endif
