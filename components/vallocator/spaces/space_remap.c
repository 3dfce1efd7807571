/* SPDX-License-Identifier: MIT
 *
 * space_remap.c: a run of pages becomes longer, shorter, or lies elsewhere, with its contents.
 *
 * Owns:    tsl_space_remap.
 * Needs:   space.c, space_map.c (places), space_unmap.c (what is cut off or replaced),
 *          slots_move.c.
 * Callers: the kernel.
 *
 * What moves are the slots, not the pages. The old entries are gone from every CPU before the pages
 * get new ones: at no time do two addresses lead to a private page.
 */
#include "space_internal.h"

/* Everything in pages. */
struct remap {
    size_t from;
    size_t old;   /* how long it is */
    size_t fresh; /* how long it is to be */
    size_t to;    /* where; `from`: it stays */
    unsigned flags;
};

static size_t moved(const struct remap *remap)
{
    return remap->old < remap->fresh ? remap->old : remap->fresh;
}

static size_t growth(const struct remap *remap)
{
    return remap->fresh - moved(remap);
}

/* The region as it will be. Guards are those of its outer sides. */
static struct tsl_region piece_of(const struct remap *remap, const struct tsl_region *region)
{
    struct tsl_region piece = *region;
    piece.start = remap->to;
    piece.pages = remap->fresh;
    piece.guard_below = remap->from == region->start ? region->guard_below : 0;
    piece.guard_above =
        remap->from + remap->old == tsl_region_end(region) ? region->guard_above : 0;
    return piece;
}

/* Whether the region can become longer where it is. */
static bool has_room(const struct tsl_space *space, const struct remap *remap,
                     const struct tsl_region *region)
{
    size_t end = remap->from + remap->old;
    return end == tsl_region_end(region) &&
           remap->fresh <= space->regions.end - remap->from - region->guard_above &&
           tsl_regions_is_gap(&space->regions, tsl_region_span_end(region),
                              remap->from + remap->fresh + region->guard_above);
}

static enum tsl_status find_place(const struct tsl_space *space, struct remap *remap,
                                  const struct tsl_region *region)
{
    struct tsl_region piece = piece_of(remap, region);
    if (remap->flags & TSL_SPACE_FIXED)
        return tsl_space_check_place(space, &piece, !(remap->flags & TSL_SPACE_NO_REPLACE));
    remap->to = remap->from;
    if (growth(remap) == 0 || has_room(space, remap, region))
        return TSL_OK;
    struct tsl_place place = {.pages = remap->fresh,
                              .align = 1,
                              .guard_below = piece.guard_below,
                              .guard_above = piece.guard_above,
                              .lower = space->regions.first,
                              .limit = space->regions.end};
    bool found =
        remap->flags & TSL_SPACE_MAY_MOVE && tsl_regions_place(&space->regions, &place, &remap->to);
    return found ? TSL_OK : TSL_LIMIT;
}

/* How many regions there will be. A border that source and destination share is cut once. */
static size_t regions_after(const struct tsl_space *space, const struct remap *remap,
                            const struct tsl_region *region)
{
    size_t count = space->regions.tree.count;
    size_t end = remap->from + remap->old, to_end = remap->to + remap->fresh;
    bool is_cut_below = remap->from > region->start, is_cut_above = tsl_region_end(region) > end;
    if (remap->to == remap->from)
        return count + (growth(remap) == 0 && remap->fresh < remap->old && is_cut_above);
    count += (size_t)is_cut_below + is_cut_above;
    count += tsl_space_cuts(space, remap->to, to_end);
    count -= (size_t)(is_cut_below && to_end == remap->from) + (is_cut_above && remap->to == end);
    return count - tsl_space_sum(space, remap->to, to_end).regions;
}

static enum tsl_status check_limits(const struct tsl_space *space, const struct remap *remap,
                                    const struct tsl_region *region)
{
    const struct tsl_space_limits *limits = &space->limits;
    struct space_sum gone = {0};
    if (remap->to != remap->from)
        gone = tsl_space_sum(space, remap->to, remap->to + remap->fresh);
    size_t more = growth(remap);
    if (limits->regions && regions_after(space, remap, region) > limits->regions)
        return TSL_LIMIT;
    size_t pages = space->regions.pages - (remap->old - moved(remap)) - gone.pages;
    if (more && limits->pages && (pages > limits->pages || more > limits->pages - pages))
        return TSL_LIMIT;
    size_t locked = space->locked - gone.locked;
    if (more && region->flags & TSL_SPACE_LOCKED && limits->locked &&
        (locked > limits->locked || more > limits->locked - locked))
        return TSL_LIMIT;
    return TSL_OK;
}

static enum tsl_status plan(struct space_operation *op, struct remap *remap,
                            struct tsl_slot_need *need)
{
    struct tsl_space *space = op->space;
    const struct tsl_region *region = tsl_regions_find(&space->regions, remap->from);
    if (!region || remap->old > tsl_region_end(region) - remap->from)
        return TSL_NOT_FOUND;
    if (region->most_pages && (growth(remap) || remap->flags & TSL_SPACE_FIXED))
        return TSL_INVALID;
    size_t shown = region->object_page + (remap->from - region->start);
    if (growth(remap) && region->object &&
        (shown > region->object->pages || remap->fresh > region->object->pages - shown))
        return TSL_OUT_OF_RANGE;
    enum tsl_status status = find_place(space, remap, region);
    if (status == TSL_OK)
        status = check_limits(space, remap, region);
    if (status != TSL_OK)
        return status;
    size_t kept_end = remap->from + moved(remap), end = remap->from + remap->old;
    if (kept_end < end)
        tsl_slots_clear_need(&space->layer, kept_end, end - 1u, need);
    if (remap->to == remap->from)
        return TSL_OK;
    tsl_slots_clear_need(&space->layer, remap->to, remap->to + remap->fresh - 1u, need);
    if (tsl_region_is_private(region))
        tsl_slots_move_need(&space->layer, remap->from, kept_end - 1u, remap->to, need);
    return TSL_OK;
}

/* Promises what the range becomes longer by; what it replaces is given back. */
static enum tsl_status charge(struct tsl_space *space, const struct remap *remap)
{
    const struct tsl_region *region = tsl_regions_find(&space->regions, remap->from);
    size_t returned = 0;
    if (!(region->flags & REGION_CHARGED) || growth(remap) == 0)
        return TSL_OK;
    if (remap->to != remap->from)
        returned = tsl_space_sum(space, remap->to, remap->to + remap->fresh).charged;
    return tsl_vm_charge(space->vm, space, growth(remap), returned);
}

/* The pages that moved get their entries at once, as far as there are frames for tables. */
static void show_moved(struct tsl_space *space, const struct tsl_region *region, size_t first,
                       size_t end)
{
    size_t page;
    tsl_slot slot;
    enum tsl_status status = TSL_OK;
    if (!(region->rights & TSL_READ))
        return;
    for (; status == TSL_OK && first < end &&
           tsl_slots_next(&space->layer, first, end - 1u, &page, &slot);
         first = page + 1u)
        if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME)
            status = tsl_space_show_private(space, region, page, tsl_vm_frame_of(slot));
}

static void move(struct space_operation *op, const struct remap *remap, struct tsl_region piece)
{
    struct tsl_space *space = op->space;
    size_t end = remap->from + moved(remap), to_end = remap->to + remap->fresh;
    tsl_space_cut(op, remap->from);
    tsl_space_cut(op, end);
    struct tsl_region *there = tsl_regions_from(&space->regions, remap->to);
    if (there && there->start < to_end)
        tsl_space_remove(op, tsl_space_cut_range(op, there, remap->to, to_end), to_end);
    tsl_space_unhook(space, remap->from, end);
    struct tsl_region *region = tsl_regions_find(&space->regions, remap->from);
    if (tsl_region_is_private(region))
        tsl_slots_move(&space->layer, &op->reserve, remap->from, end - 1u, remap->to);
    tsl_regions_remove(&space->regions, region);
    piece.object_page = region->object_page;
    *region = piece;
    tsl_regions_insert(&space->regions, region);
    if (tsl_region_is_private(region))
        show_moved(space, region, remap->to, to_end);
    tsl_space_join(op, region, to_end);
}

static void apply(struct space_operation *op, const struct remap *remap)
{
    struct tsl_space *space = op->space;
    struct tsl_region *region = tsl_regions_find(&space->regions, remap->from);
    region->flags &= ~REGION_MAKING;
    const struct tsl_region piece = piece_of(remap, region);
    size_t kept_end = remap->from + moved(remap), end = remap->from + remap->old;
    if (remap->to == remap->from && kept_end == end && growth(remap) == 0)
        return;
    if (region->flags & TSL_SPACE_LOCKED)
        space->locked += growth(remap);
    if (kept_end < end)
        tsl_space_remove(op, tsl_space_cut_range(op, region, kept_end, end), end);
    if (remap->to != remap->from) {
        move(op, remap, piece);
        tsl_space_restore_gap(space, end - 1u);
        return;
    }
    region->guard_above = piece.guard_above;
    tsl_regions_resize(&space->regions, region, region->start, remap->from + remap->fresh);
    if (kept_end < end)
        tsl_space_restore_gap(space, kept_end);
    tsl_space_join(op, region, remap->from + remap->fresh);
}

static enum tsl_status check(struct tsl_space *self, const struct tsl_remap_request *request,
                             struct remap *remap)
{
    size_t end, to_end;
    const unsigned known = TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE | TSL_SPACE_MAY_MOVE;
    bool fixed = request->flags & TSL_SPACE_FIXED;
    enum tsl_status status =
        tsl_space_check_range(self, "remap", request->start, request->bytes, &remap->from, &end);
    if (status != TSL_OK)
        return status;
    tsl_vaddr there = fixed ? request->address : self->vm->config.format->user_first;
    status = tsl_space_check_range(self, "remap", there, request->new_bytes, &remap->to, &to_end);
    if (status != TSL_OK)
        return status;
    remap->old = end - remap->from;
    remap->fresh = to_end - remap->to;
    remap->flags = request->flags;
    if (request->flags & ~known || (request->flags & TSL_SPACE_NO_REPLACE && !fixed))
        status = TSL_INVALID;
    else if (fixed && remap->to < end && remap->from < to_end)
        status = TSL_OVERLAP;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "space: remap with flags %#x", request->flags);
    return TSL_OK;
}

static enum tsl_status change(struct tsl_space *self, struct remap *remap, bool *is_locked)
{
    struct space_operation op;
    enum tsl_status status = tsl_space_begin(&op, self, 5);
    if (status != TSL_OK)
        return status;
    tsl_space_lock(&op);
    for (bool again = true; status == TSL_OK && again;) {
        struct tsl_slot_need need = {0};
        status = plan(&op, remap, &need);
        if (status == TSL_OK)
            status = tsl_space_reserve(&op, &need, &again);
    }
    if (status == TSL_OK)
        status = charge(self, remap);
    if (status == TSL_OK) {
        apply(&op, remap);
        *is_locked = tsl_regions_find(&self->regions, remap->to)->flags & TSL_SPACE_LOCKED;
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    return status;
}

enum tsl_status tsl_space_remap(struct tsl_space *self, const struct tsl_remap_request *request,
                                tsl_vaddr *out)
{
    struct remap remap;
    bool is_locked = false;
    enum tsl_status status = check(self, request, &remap);
    if (status != TSL_OK)
        return status;
    status = change(self, &remap, &is_locked);
    if (status == TSL_NO_MEMORY)
        return status;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "space: remap of %#zx bytes at %#zx to %#zx",
                          request->bytes, (size_t)request->start, request->new_bytes);
    *out = tsl_space_address(remap.to);
    if (is_locked) /* as far as memory goes; the rest comes by faults */
        (void)!tsl_space_populate(self, *out, request->new_bytes);
    return TSL_OK;
}
