/* SPDX-License-Identifier: MIT
 *
 * region.h: the regions of one address space, in order, with the gaps between them.
 *
 * Owns:    struct tsl_region and struct tsl_regions; the regions themselves are the caller's.
 * Needs:   base (tree).
 * Callers: the files space_*.c and their tests. The caller's lock protects a set of regions.
 *
 * Everything here counts in pages, page numbers included: their sums cannot overflow. An `end` is
 * exclusive. No function allocates; whoever needs a region more brings it.
 */
#ifndef TESELA_REGION_H
#define TESELA_REGION_H

#include <tesela/status.h>
#include <tesela/tree.h>
#include <tesela/types.h>

struct tsl_object;

/*
 * A run of pages with one protection and one backing. Its span is the run and the guard pages on
 * both sides, which no other region may touch. All members are written by region.c, except between
 * its making and tsl_regions_insert, and except rights, flags and is_touched.
 */
struct tsl_region {
    struct tsl_tree_node node;
    size_t start;
    size_t pages;
    size_t guard_below;        /* pages of the span below start */
    size_t guard_above;        /* and behind the end */
    size_t gap_below;          /* pages between the span below, or the first page, and this span */
    size_t largest_gap;        /* greatest gap_below in the subtree */
    unsigned rights;           /* TSL_READ.. and cache type, as page tables get them */
    unsigned maximum;          /* rights that it may ever be given */
    unsigned flags;            /* what it is; region.c only compares them */
    struct tsl_object *object; /* NULL: nothing below the private layer */
    size_t object_page;        /* page of the object that `start` shows */
    size_t most_pages;         /* what it may grow to by itself; 0: it does not grow */
    bool is_touched;           /* a fault has been here: there may be entries, private contents */
};

struct tsl_regions {
    struct tsl_tree tree;
    size_t first; /* the addresses that regions may have: first .. end - 1 */
    size_t end;
    struct tsl_region *last_hit; /* where the last search ended, NULL: nowhere */
    size_t pages;                /* sum over the regions */
};

/* Where a region may be put. */
struct tsl_place {
    size_t pages; /* at least 1 */
    size_t align; /* of the start: a power of two */
    size_t guard_below;
    size_t guard_above;
    size_t lower; /* the run lies in lower .. limit - 1 */
    size_t limit;
};

static inline struct tsl_region *tsl_region_of(const struct tsl_tree_node *node)
{
    return node ? TSL_CONTAINER_OF(node, struct tsl_region, node) : NULL;
}

static inline size_t tsl_region_end(const struct tsl_region *region)
{
    return region->start + region->pages;
}

static inline size_t tsl_region_span_start(const struct tsl_region *region)
{
    return region->start - region->guard_below;
}

static inline size_t tsl_region_span_end(const struct tsl_region *region)
{
    return tsl_region_end(region) + region->guard_above;
}

/* An empty set over the pages first .. end - 1. */
void tsl_regions_init(struct tsl_regions *self, size_t first, size_t end);

/* The region that shows `page`, or NULL. Cost: O(1) where the last search ended, else O(log n). */
struct tsl_region *tsl_regions_find(struct tsl_regions *self, size_t page);

/* The same, but only where the last search ended. */
static inline struct tsl_region *tsl_regions_near(const struct tsl_regions *self, size_t page)
{
    struct tsl_region *hit = self->last_hit;
    return hit && page - hit->start < hit->pages ? hit : NULL;
}

/* The first region that ends behind `page`: the one that shows it, or the next. NULL: none. */
struct tsl_region *tsl_regions_from(const struct tsl_regions *self, size_t page);

struct tsl_region *tsl_regions_next(const struct tsl_region *region);
struct tsl_region *tsl_regions_prev(const struct tsl_region *region);

/* Whether every page of start .. end - 1 is in some region. Cost: O(log n + regions there). */
bool tsl_regions_cover(const struct tsl_regions *self, size_t start, size_t end);

/* Whether a span of these pages would touch no other span. */
bool tsl_regions_is_gap(const struct tsl_regions *self, size_t span_start, size_t span_end);

/*
 * The lowest start that satisfies `place`; false if there is none.
 * Cost: O(log n) for each gap that is long enough by itself but not where alignment and limits
 *       want it; usually none.
 */
bool tsl_regions_place(const struct tsl_regions *self, const struct tsl_place *place, size_t *out);

/* Before: the region's span is a gap within the bounds of the set (see tsl_regions_is_gap). */
void tsl_regions_insert(struct tsl_regions *self, struct tsl_region *region);

/*
 * The same, but a neighbour that the region continues shows its pages instead, and is returned; it
 * may continue the one behind it then (tsl_regions_merge). NULL: the region is in the set.
 */
struct tsl_region *tsl_regions_insert_or_grow(struct tsl_regions *self, struct tsl_region *region);

/* Before: the region is in the set. */
void tsl_regions_remove(struct tsl_regions *self, struct tsl_region *region);

/* Cuts the region at `page`: it keeps what is below, `fresh` becomes the rest. The guards stay on
 * the outer sides. Before: start < page < end. */
void tsl_regions_split(struct tsl_regions *self, struct tsl_region *region, size_t page,
                       struct tsl_region *fresh);

/*
 * Joins the region with the one behind it if they touch and differ in nothing; the one behind is
 * out of the set then and is returned, else NULL.
 */
struct tsl_region *tsl_regions_merge(struct tsl_regions *self, struct tsl_region *region);

/* Gives the region other borders. Before: the new span touches no other span; 1 page at least. */
void tsl_regions_resize(struct tsl_regions *self, struct tsl_region *region, size_t start,
                        size_t end);

/* Makes the guard below the region `pages` long, or as long as there is room for. It does not
 * become shorter. */
void tsl_regions_widen_guard(struct tsl_regions *self, struct tsl_region *region, size_t pages);

/* Checks the rules T1 to T5 of the README. Reads only. Cost: O(n). */
struct tsl_defect tsl_regions_verify(const struct tsl_regions *self);

#endif
