/* SPDX-License-Identifier: MIT
 *
 * region.c: regions in a tree that knows its largest gaps.
 *
 * Owns:    struct tsl_regions.
 * Needs:   base (tree).
 * Callers: space_*.c, under the lock of the space.
 *
 * Theory. Regions are ordered by start. Each remembers the gap below its span, each subtree the
 * largest of them. "The lowest gap of at least n pages behind here" is then found by going up until
 * a subtree to the right promises one, and down into it: O(log n), as a search by key.
 */
#include "region.h"

#include <tesela/checked.h>

static const void *key_of(const struct tsl_tree_node *node)
{
    return &tsl_region_of(node)->start;
}

static int compare_start(const void *key, const struct tsl_tree_node *node)
{
    size_t start = *(const size_t *)key;
    size_t other = tsl_region_of(node)->start;
    return start < other ? -1 : start > other;
}

static size_t promised_gap(const struct tsl_tree_node *node)
{
    return node ? tsl_region_of(node)->largest_gap : 0;
}

static size_t largest_gap(const struct tsl_tree_node *node)
{
    size_t largest = tsl_region_of(node)->gap_below;
    size_t left = promised_gap(node->left);
    size_t right = promised_gap(node->right);
    if (left > largest)
        largest = left;
    return right > largest ? right : largest;
}

static bool update_largest_gap(struct tsl_tree_node *node)
{
    struct tsl_region *region = tsl_region_of(node);
    size_t before = region->largest_gap;
    region->largest_gap = largest_gap(node);
    return region->largest_gap != before;
}

static bool largest_gap_is_right(const struct tsl_tree_node *node)
{
    return tsl_region_of(node)->largest_gap == largest_gap(node);
}

static const struct tsl_tree_ops region_order = {.key = key_of,
                                                 .compare = compare_start,
                                                 .augment = update_largest_gap,
                                                 .augment_is_right = largest_gap_is_right};

void tsl_regions_init(struct tsl_regions *self, size_t first, size_t end)
{
    tsl_tree_init(&self->tree, &region_order);
    self->first = first;
    self->end = end;
    self->last_hit = NULL;
    self->pages = 0;
}

struct tsl_region *tsl_regions_next(const struct tsl_region *region)
{
    return tsl_region_of(tsl_tree_next(&region->node));
}

struct tsl_region *tsl_regions_prev(const struct tsl_region *region)
{
    return tsl_region_of(tsl_tree_prev(&region->node));
}

static bool shows(const struct tsl_region *region, size_t page)
{
    return page >= region->start && page < tsl_region_end(region);
}

struct tsl_region *tsl_regions_find(struct tsl_regions *self, size_t page)
{
    if (self->last_hit && shows(self->last_hit, page))
        return self->last_hit;
    struct tsl_region *region = tsl_region_of(tsl_tree_at_or_before(&self->tree, &page));
    if (!region || !shows(region, page))
        return NULL;
    self->last_hit = region;
    return region;
}

/* Where the gap below a region of the set begins. */
static size_t floor_below(const struct tsl_region *region)
{
    return tsl_region_span_start(region) - region->gap_below;
}

/* The first region behind `page` near the one where the last search ended. False: it is not
 * near. */
static bool near_last_hit(const struct tsl_regions *self, size_t page, struct tsl_region **out)
{
    struct tsl_region *hit = self->last_hit;
    if (!hit)
        return false;
    if (page >= tsl_region_end(hit)) {
        *out = tsl_regions_next(hit);
        return !*out || page < tsl_region_end(*out);
    }
    *out = hit; /* if the page is in it or in the gap below */
    return page >= floor_below(hit);
}

struct tsl_region *tsl_regions_from(const struct tsl_regions *self, size_t page)
{
    struct tsl_region *best = NULL;
    if (near_last_hit(self, page, &best))
        return best;
    best = NULL;
    for (struct tsl_region *at = tsl_region_of(self->tree.root); at;) {
        bool is_behind = page < tsl_region_end(at);
        best = is_behind ? at : best;
        at = tsl_region_of(is_behind ? at->node.left : at->node.right);
    }
    return best;
}

bool tsl_regions_cover(const struct tsl_regions *self, size_t start, size_t end)
{
    const struct tsl_region *region = tsl_regions_from(self, start);
    while (region && region->start <= start) {
        start = tsl_region_end(region);
        if (start >= end)
            return true;
        region = tsl_regions_next(region);
    }
    return false;
}

/* Where the gap below a region begins; with NULL, the gap behind the last region. */
static size_t floor_of(const struct tsl_regions *self, const struct tsl_region *region)
{
    if (region)
        return floor_below(region);
    const struct tsl_tree_node *last = tsl_tree_last(&self->tree);
    return last ? tsl_region_span_end(tsl_region_of(last)) : self->first;
}

bool tsl_regions_is_gap(const struct tsl_regions *self, size_t span_start, size_t span_end)
{
    /* The first region whose run begins at or behind our start; the one before it may reach in. */
    const struct tsl_region *above = tsl_region_of(tsl_tree_lower_bound(&self->tree, &span_start));
    size_t ceiling = above ? tsl_region_span_start(above) : self->end;
    return span_start >= floor_of(self, above) && span_end <= ceiling;
}

/* The first region at or behind `region` with a gap of at least `pages` below it, or NULL. */
static struct tsl_region *next_gap(struct tsl_region *region, size_t pages)
{
    struct tsl_tree_node *at = region ? &region->node : NULL;
    while (at && tsl_region_of(at)->gap_below < pages) {
        if (promised_gap(at->right) >= pages) {
            at = at->right;
            while (promised_gap(at->left) >= pages)
                at = at->left;
        } else {
            /* What lies to the left of a parent on our left has been passed already. */
            const struct tsl_tree_node *from = at;
            at = tsl_tree_parent(at);
            while (at && at->right == from) {
                from = at;
                at = tsl_tree_parent(at);
            }
        }
    }
    return tsl_region_of(at);
}

/* The lowest start in the gap floor .. ceiling - 1, if there is one. */
static bool fits(const struct tsl_place *place, size_t floor, size_t ceiling, size_t *out)
{
    size_t start = floor + place->guard_below;
    if (start < place->lower)
        start = place->lower;
    start = tsl_align_up(start, place->align);
    size_t end = start + place->pages;
    if (end > place->limit || end + place->guard_above > ceiling)
        return false;
    *out = start;
    return true;
}

bool tsl_regions_place(const struct tsl_regions *self, const struct tsl_place *place, size_t *out)
{
    size_t span = place->guard_below + place->pages + place->guard_above;
    if (place->pages > self->end - self->first || span > self->end - self->first)
        return false;
    struct tsl_region *above = NULL; /* where no gap is long enough the place behind all is left */
    if (promised_gap(self->tree.root) >= span)
        above = next_gap(tsl_regions_from(self, place->lower), span);
    while (above) {
        size_t floor = floor_of(self, above);
        if (floor >= place->limit)
            return false;
        if (fits(place, floor, tsl_region_span_start(above), out))
            return true;
        above = next_gap(tsl_regions_next(above), span);
    }
    return fits(place, floor_of(self, NULL), self->end, out);
}

/* The gap below a region, or of none with NULL, begins at `floor` now. */
static void set_floor(struct tsl_regions *self, struct tsl_region *region, size_t floor)
{
    if (!region)
        return;
    region->gap_below = tsl_region_span_start(region) - floor;
    tsl_tree_update(&self->tree, &region->node);
}

/* Between which regions one belongs. One of the two, or none where the set is empty, has no child
 * on that side. */
struct place_in_order {
    struct tsl_region *below;
    struct tsl_region *above;
    struct tsl_region *parent;
};

TSL_ALWAYS_INLINE static inline struct place_in_order find_order(const struct tsl_regions *self,
                                                                 size_t start)
{
    struct place_in_order place = {NULL, NULL, NULL};
    for (struct tsl_region *at = tsl_region_of(self->tree.root); at;) {
        TSL_ASSERT(at->start != start);
        place.parent = at;
        if (start < at->start) {
            place.above = at;
            at = tsl_region_of(at->node.left);
        } else {
            place.below = at;
            at = tsl_region_of(at->node.right);
        }
    }
    return place;
}

TSL_ALWAYS_INLINE static inline void insert_at(struct tsl_regions *self, struct tsl_region *region,
                                               struct place_in_order place)
{
    size_t floor = place.below ? tsl_region_span_end(place.below) : self->first;
    region->gap_below = tsl_region_span_start(region) - floor;
    tsl_tree_insert_at(&self->tree, &region->node, place.parent ? &place.parent->node : NULL,
                       place.parent == place.above);
    set_floor(self, place.above, tsl_region_span_end(region));
    self->pages += region->pages;
    self->last_hit = region; /* what comes next is often near */
}

void tsl_regions_insert(struct tsl_regions *self, struct tsl_region *region)
{
    insert_at(self, region, find_order(self, region->start));
}

static bool continues(const struct tsl_region *below, const struct tsl_region *above)
{
    return tsl_region_end(below) == above->start && below->guard_above == 0 &&
           above->guard_below == 0 && below->rights == above->rights &&
           below->maximum == above->maximum && below->flags == above->flags &&
           below->object == above->object && below->most_pages == above->most_pages &&
           (!below->object || below->object_page + below->pages == above->object_page);
}

/* The region shows the pages of a neighbour too, which is in no set. */
static void grow(struct tsl_regions *self, struct tsl_region *region,
                 const struct tsl_region *neighbour)
{
    size_t floor = floor_below(region);
    if (neighbour->start < region->start) {
        region->start = neighbour->start;
        region->guard_below = neighbour->guard_below;
        region->object_page = neighbour->object_page;
    } else {
        region->guard_above = neighbour->guard_above;
    }
    region->pages += neighbour->pages;
    region->is_touched = region->is_touched || neighbour->is_touched;
    self->pages += neighbour->pages;
    self->last_hit = region;
    set_floor(self, region, floor);
    set_floor(self, tsl_regions_next(region), tsl_region_span_end(region));
}

struct tsl_region *tsl_regions_insert_or_grow(struct tsl_regions *self, struct tsl_region *region)
{
    struct place_in_order place = find_order(self, region->start);
    struct tsl_region *heir = NULL;
    if (place.below && continues(place.below, region))
        heir = place.below;
    else if (place.above && continues(region, place.above))
        heir = place.above;
    if (heir)
        grow(self, heir, region);
    else
        insert_at(self, region, place);
    return heir;
}

void tsl_regions_remove(struct tsl_regions *self, struct tsl_region *region)
{
    struct tsl_region *above = tsl_regions_next(region);
    size_t floor = floor_below(region);
    if (self->last_hit == region)
        self->last_hit = above ? above : tsl_regions_prev(region);
    tsl_tree_remove(&self->tree, &region->node);
    set_floor(self, above, floor);
    self->pages -= region->pages;
}

void tsl_regions_split(struct tsl_regions *self, struct tsl_region *region, size_t page,
                       struct tsl_region *fresh)
{
    TSL_ASSERT(page > region->start && page < tsl_region_end(region));
    size_t below = page - region->start;
    *fresh = *region;
    fresh->start = page;
    fresh->pages = region->pages - below;
    fresh->guard_below = 0;
    if (fresh->object)
        fresh->object_page += below;
    region->guard_above = 0;
    fresh->gap_below = 0;
    region->pages = below;
    /* Behind it in order; what is above both has the gap below it that it had. */
    struct tsl_region *parent = region->node.right ? tsl_regions_next(region) : region;
    tsl_tree_insert_at(&self->tree, &fresh->node, &parent->node, parent != region);
    self->last_hit = fresh; /* what comes next is often near */
}

struct tsl_region *tsl_regions_merge(struct tsl_regions *self, struct tsl_region *region)
{
    struct tsl_region *above = tsl_regions_next(region);
    if (!above || !continues(region, above))
        return NULL;
    tsl_tree_remove(&self->tree, &above->node); /* there was no gap below it */
    if (self->last_hit == above)
        self->last_hit = region;
    region->pages += above->pages;
    region->guard_above = above->guard_above;
    region->is_touched = region->is_touched || above->is_touched;
    return above;
}

void tsl_regions_resize(struct tsl_regions *self, struct tsl_region *region, size_t start,
                        size_t end)
{
    size_t floor = floor_below(region);
    self->pages += end - start;
    self->pages -= region->pages;
    if (region->object)
        region->object_page += start - region->start;
    region->start = start;
    region->pages = end - start;
    set_floor(self, region, floor);
    set_floor(self, tsl_regions_next(region), tsl_region_span_end(region));
}

void tsl_regions_widen_guard(struct tsl_regions *self, struct tsl_region *region, size_t pages)
{
    size_t room = region->guard_below + region->gap_below;
    size_t guard = pages < room ? pages : room;
    if (guard <= region->guard_below)
        return;
    region->guard_below = guard;
    region->gap_below = room - guard;
    tsl_tree_update(&self->tree, &region->node);
}

#define COMPONENT "regions"

static struct tsl_defect verify_region(const struct tsl_regions *self,
                                       const struct tsl_region *region, size_t floor)
{
    size_t place = region->start;
    if (region->pages == 0 || region->guard_below > region->start)
        return tsl_defect_at(COMPONENT, 1, place, "a region has a page, and its guards exist");
    if (tsl_region_span_start(region) < floor || tsl_region_span_end(region) > self->end)
        return tsl_defect_at(COMPONENT, 2, place, "spans do not overlap, and lie in the bounds");
    if (region->gap_below != tsl_region_span_start(region) - floor)
        return tsl_defect_at(COMPONENT, 3, place, "a region knows the gap below its span");
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_regions_verify(const struct tsl_regions *self)
{
    struct tsl_defect defect = tsl_tree_verify(&self->tree);
    if (defect.rule)
        return tsl_defect_at(COMPONENT, 4, defect.place, defect.sentence);
    size_t floor = self->first;
    size_t pages = 0;
    bool hit_is_there = self->last_hit == NULL;
    for (const struct tsl_tree_node *node = tsl_tree_first(&self->tree); node;
         node = tsl_tree_next(node)) {
        const struct tsl_region *region = tsl_region_of(node);
        defect = verify_region(self, region, floor);
        if (defect.rule)
            return defect;
        floor = tsl_region_span_end(region);
        pages += region->pages;
        hit_is_there = hit_is_there || region == self->last_hit;
    }
    if (pages != self->pages || !hit_is_there)
        return tsl_defect_at(COMPONENT, 5, pages,
                             "the page count is the sum over the regions; the last hit is one");
    return TSL_NO_DEFECT;
}
