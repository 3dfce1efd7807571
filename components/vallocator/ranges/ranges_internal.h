/* SPDX-License-Identifier: MIT
 *
 * ranges_internal.h: what the files of this component share: giving frames to pages and taking
 * them back, and the layouts that their verifiers and break tests look at.
 *
 * Owns:    struct tsl_ranges, struct range, struct tsl_backed_range.
 * Needs:   page_table, physical_allocator.
 * Callers: components/vallocator and its break tests only.
 */
#ifndef TESELA_RANGES_INTERNAL_H
#define TESELA_RANGES_INTERNAL_H

#include <tesela/atomic.h>
#include <tesela/backed_range.h>
#include <tesela/config.h>
#include <tesela/gather.h>
#include <tesela/lock.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/status.h>
#include <tesela/tree.h>
#include <tesela/gather.h>
#include <tesela/types.h>
#include <tesela/vallocator.h>

/*
 * Gives every page of [start, start + pages) a frame and maps it. All or nothing.
 * Errors: TSL_NO_MEMORY, and what tsl_table_map() says.
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_back(struct tsl_table *table, struct tsl_frames *frames,
                                           tsl_vaddr start, size_t pages, unsigned attributes);

struct tsl_vm_run {
    tsl_vaddr start;
    size_t pages;
    unsigned attributes;
};

/*
 * The same, with blocks of `order` frames in large pages where the address is aligned to them and
 * as long as there are blocks, and with single frames elsewhere. *out_large: pages in large ones.
 * Before: the table's format and CPU have pages of that size.
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_back_large(struct tsl_table *table, struct tsl_frames *frames,
                                                 const struct tsl_vm_run *run, unsigned order,
                                                 size_t *out_large);

/* Unmaps [start, start + pages), flushes every CPU, and only then frees the frames.
 * TSL_NOT_FOUND, and nothing is changed: a page is not mapped. */
TSL_MUST_CHECK enum tsl_status tsl_vm_unback(struct tsl_table *table, tsl_vaddr start,
                                             size_t pages);

/* Whether pages may be closed: only a heap that hardens asks for it. */
#define BACKED_CAN_CLOSE (TSL_HEAP_HARDENING >= 3 || TSL_HEAP_ZERO_FAULTS)

/* So many closings share a flush of all CPUs. */
#define BACKED_CLOSING_RUNS 32u

/* Pages that were closed since the last flush of all CPUs; backed_close.c has the theory. */
struct backed_closing {
    struct tsl_lock lock; /* TSL_RANK_REGION, never held together with the range's */
    struct tsl_gather gather;
    unsigned count;
    struct closing_run {
        size_t first;
        size_t pages;
    } run[BACKED_CLOSING_RUNS];
};

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
    tsl_word *settled; /* 1 = wholly handed out; as many words as free_pages */
    tsl_word *closed;  /* 1 = settled, but not mapped; NULL unless BACKED_CAN_CLOSE */
    struct backed_closing closing[BACKED_CAN_CLOSE];
    tsl_word free_pages[]; /* 1 = free; bits beyond `pages` are 0, here and above */
};

/* backed_close.c: only with BACKED_CAN_CLOSE. The range's lock is not held. */
void tsl_backed_closing_init(struct tsl_backed_range *self);
/* Unmaps mapped pages that stay handed out. All CPUs have forgotten them only after a finish. */
void tsl_backed_closing_add(struct tsl_backed_range *self, size_t first, size_t pages);
/* Afterwards no CPU reaches one of these pages any more. */
void tsl_backed_closing_forget(struct tsl_backed_range *self, size_t first, size_t pages);
/* No CPU reaches any closed page any more, and their frames are free. False: nothing was due. */
bool tsl_backed_closing_finish(struct tsl_backed_range *self);

/* What a range is at the moment. */
enum range_state {
    RANGE_MAKING,  /* somebody makes it or takes it apart */
    RANGE_SETTLED, /* its pages are mapped */
    RANGE_PENDING, /* freed: its pages are unmapped, but CPUs may remember them */
    RANGE_CACHED,  /* nobody's: the next range of its size may have it as it is */
};

/* A range of more pages flushes for itself when it is freed, and is not cached. */
#define RANGES_SMALL_PAGES 16u
/* So many spans may wait to be had again, so many nodes be in hand. */
#define RANGES_MOST_CACHED 32u
#define RANGES_MOST_SPARES 8u

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
    size_t large_pages; /* of 4 KiB, that are in large ones; written before it is SETTLED */
    uint32_t state;     /* enum range_state; atomic: set to SETTLED without the lock */
    struct range *next; /* in a list of those that are pending, cached, spare or dead */
};

struct tsl_ranges {
    struct tsl_lock lock; /* TSL_RANK_REGION: guards all below */
    struct tsl_tree tree; /* of struct range, by offset */
    struct tsl_ranges_config config;
    size_t window;        /* bytes in the window */
    size_t least_large;   /* bytes from which on a range may have large pages; SIZE_MAX: none has */
    unsigned large_order; /* of a large page's frames */
    size_t bytes_memory;
    size_t bytes_mapped;
    size_t bytes_peak;
    tsl_word failures;
    struct tsl_refusals refusals;
    struct range *recent; /* made last, if it is still in the tree; else NULL */
    struct range *spares; /* nodes that are in no tree */
    unsigned spare_count;
    struct range *pending; /* all those that are; in the tree */
    unsigned pending_count;
    size_t pending_pages;                     /* their pages, at most config.lazy_pages */
    struct range *cached[RANGES_SMALL_PAGES]; /* by pages - 1; in the tree */
    unsigned cached_count;
    struct tsl_gather gather; /* of the pending ones */
};

/* ---- ranges.c, with the lock held ---- */

/* Takes a range out of the tree; what it held becomes the gap of the one above. */
void tsl_ranges_unhook(struct tsl_ranges *self, struct range *range);

/* ---- ranges_lazy.c, with the lock held; nodes in `dead` are to be freed without it ---- */

/* Takes the settled range apart if that may be done lazily; else returns false. */
bool tsl_ranges_free_lazily(struct tsl_ranges *self, struct range *range, struct range **dead);

/* A span of so many bytes that nobody has, in the tree already; NULL: there is none. */
struct range *tsl_ranges_take_cached(struct tsl_ranges *self, size_t bytes);

/* Flushes for those that are pending and forgets the cached ones. Returns whether that made any
 * addresses or frames free. */
bool tsl_ranges_settle_all(struct tsl_ranges *self, struct range **dead);

static inline size_t range_pages(const struct range *range)
{
    return range->bytes >> TSL_PAGE_SHIFT;
}

/* Somebody has the range, or has not quite given it back. */
static inline bool range_is_live(const struct range *range)
{
    return tsl_atomic_load_u32(&range->state) <= RANGE_SETTLED;
}

/* Whether a range of so many bytes may have large pages. */
static inline bool ranges_may_be_large(const struct tsl_ranges *self, size_t bytes)
{
    return bytes >= self->least_large;
}

/* What a range takes out of the window: itself and the guard page behind it. */
static inline size_t range_span(const struct range *range)
{
    return range->bytes + TSL_PAGE_BYTES;
}

static inline struct range *range_of(const struct tsl_tree_node *node)
{
    return node ? TSL_CONTAINER_OF(node, struct range, node) : NULL;
}

/* The last range that begins at or below `offset`, NULL if there is none: tsl_tree_at_or_before
 * without a call for each node. */
static inline struct range *range_at_or_before(const struct tsl_tree *tree, size_t offset)
{
    const struct tsl_tree_node *node = tree->root;
    struct range *best = NULL;
    while (node) {
        struct range *range = range_of(node);
        if (range->offset <= offset)
            best = range;
        node = range->offset <= offset ? node->right : node->left;
    }
    return best;
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
