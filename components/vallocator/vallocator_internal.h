/* SPDX-License-Identifier: MIT
 *
 * vallocator_internal.h: what the files of this component share: giving frames to pages and taking
 * them back, and the layouts that their verifiers and break tests look at.
 *
 * Owns:    struct tsl_ranges, struct range, struct tsl_backed_range.
 * Needs:   page_table, physical_allocator.
 * Callers: components/vallocator and its break tests only.
 */
#ifndef TESELA_VALLOCATOR_INTERNAL_H
#define TESELA_VALLOCATOR_INTERNAL_H

#include <tesela/backed_range.h>
#include <tesela/config.h>
#include <tesela/lock.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/status.h>
#include <tesela/tree.h>
#include <tesela/types.h>
#include <tesela/vallocator.h>

/*
 * Gives every page of [start, start + pages) a frame and maps it. All or nothing.
 * Errors: TSL_NO_MEMORY, and what tsl_table_map() says.
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_back(struct tsl_table *table, struct tsl_frames *frames,
                                           tsl_vaddr start, size_t pages, unsigned attributes);

/* Unmaps [start, start + pages), flushes every CPU, and only then frees the frames.
 * TSL_NOT_FOUND, and nothing is changed: a page is not mapped. */
TSL_MUST_CHECK enum tsl_status tsl_vm_unback(struct tsl_table *table, tsl_vaddr start,
                                             size_t pages);

/* Whether pages may be closed: only a heap that hardens asks for it. */
#define BACKED_CAN_CLOSE (TSL_HEAP_HARDENING >= 3 || TSL_HEAP_ZERO_FAULTS)

/* A window whose pages are two bits each, or three; backed_range.c has the theory. */
struct tsl_backed_range {
    struct tsl_lock lock; /* TSL_RANK_REGION: guards all below but config and home */
    struct tsl_backed_range_config config;
    struct tsl_frame home; /* where this struct lives */
    size_t home_frames;
    size_t pages;
    size_t used;
    size_t peak;
    size_t first_candidate; /* no page below this one is free */
    tsl_word failures;
    struct tsl_refusals refusals;
    tsl_word *settled;     /* 1 = wholly handed out; as many words as free_pages */
    tsl_word *closed;      /* 1 = settled, but not mapped; NULL unless BACKED_CAN_CLOSE */
    tsl_word free_pages[]; /* 1 = free; bits beyond `pages` are 0, here and above */
};

/* One range. Addresses are kept as offsets into the window, so that a window may end at the top of
 * memory. */
struct range {
    struct tsl_tree_node node;
    size_t offset;      /* of the first byte, from the window's start */
    size_t bytes;       /* without the guard page behind */
    size_t gap_below;   /* free bytes between the end of the previous range's guard and `offset` */
    size_t largest_gap; /* the largest gap_below in this node's subtree */
    unsigned attributes;
    enum tsl_range_kind kind;
    bool settled; /* its pages are mapped; clear while it is made or taken apart */
};

struct tsl_ranges {
    struct tsl_lock lock; /* TSL_RANK_REGION: guards all below */
    struct tsl_tree tree; /* of struct range, by offset */
    struct tsl_ranges_config config;
    size_t window; /* bytes in the window */
    size_t bytes_memory;
    size_t bytes_mapped;
    size_t bytes_peak;
    tsl_word failures;
    struct tsl_refusals refusals;
};

/* What a range takes out of the window: itself and the guard page behind it. */
static inline size_t range_span(const struct range *range)
{
    return range->bytes + TSL_PAGE_BYTES;
}

static inline struct range *range_of(const struct tsl_tree_node *node)
{
    return node ? TSL_CONTAINER_OF(node, struct range, node) : NULL;
}

/* The offset behind the range and its guard page. */
static inline size_t range_end(const struct range *range)
{
    return range->offset + range_span(range);
}

/* The offset behind the range before `range`, 0 if it is the first. */
static inline size_t range_floor(const struct range *range)
{
    const struct range *below = range_of(tsl_tree_prev(&range->node));
    return below ? range_end(below) : 0;
}

/* The largest gap in the subtree of `range`: what the tree keeps in range->largest_gap. */
static inline size_t range_largest_gap(const struct range *range)
{
    size_t largest = range->gap_below;
    const struct range *below = range_of(range->node.left);
    const struct range *above = range_of(range->node.right);
    if (below && below->largest_gap > largest)
        largest = below->largest_gap;
    if (above && above->largest_gap > largest)
        largest = above->largest_gap;
    return largest;
}

#endif
