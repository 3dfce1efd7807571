/* SPDX-License-Identifier: MIT
 *
 * space_map.c: finds or makes room for a region and puts it in.
 *
 * Owns:    which requests make sense, and where a region may lie.
 * Needs:   space.c, space_unmap.c (replacing).
 * Callers: the kernel (tsl_space_map).
 */
#include "space_internal.h"

#include <tesela/checked.h>

#define KNOWN_FLAGS                                                                                \
    (TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE | TSL_SPACE_SHARED | TSL_SPACE_GUARDED |               \
     TSL_SPACE_GROWS_DOWN | TSL_SPACE_NO_COPY | TSL_SPACE_POPULATE)

static unsigned maximum_of(const struct tsl_map_request *request)
{
    return request->maximum ? request->maximum : TSL_READ | TSL_WRITE | TSL_EXEC;
}

/* Rights through an object: what is shared may do what the object allows; a private region may also
 * write to its own copies. */
static unsigned allowed_by(const struct tsl_map_request *request)
{
    unsigned maximum = request->object->config.maximum;
    return request->flags & TSL_SPACE_SHARED ? maximum : maximum | TSL_WRITE;
}

static enum tsl_status check_object(const struct tsl_vm *vm, const struct tsl_map_request *request)
{
    const struct tsl_object *object = request->object;
    bool shared = request->flags & TSL_SPACE_SHARED;
    if (!object)
        return shared || request->object_page ? TSL_INVALID : TSL_OK;
    if (object->vm != vm)
        return TSL_INVALID;
    size_t pages = request->bytes >> TSL_PAGE_SHIFT;
    if (request->object_page >= object->pages || pages > object->pages - request->object_page)
        return TSL_OUT_OF_RANGE;
    if (tsl_object_is_in_place(object) && !shared)
        return TSL_INVALID;
    return request->rights & ~(allowed_by(request) | TSL_ALLOW_WX) ? TSL_DENIED : TSL_OK;
}

static enum tsl_status check_request(const struct tsl_vm *vm, const struct tsl_map_request *request)
{
    unsigned flags = request->flags;
    bool grows = flags & TSL_SPACE_GROWS_DOWN;
    if (flags & ~KNOWN_FLAGS || (flags & TSL_SPACE_NO_REPLACE && !(flags & TSL_SPACE_FIXED)))
        return TSL_INVALID;
    if (request->align && !tsl_is_power_of_two(request->align))
        return TSL_INVALID;
    if (grows &&
        (request->object || flags & TSL_SPACE_GUARDED || request->stack_bytes < request->bytes))
        return TSL_INVALID;
    enum tsl_status status = check_object(vm, request);
    if (status == TSL_OK)
        status = tsl_space_check_rights(request->rights, maximum_of(request));
    bool is_above =
        flags & TSL_SPACE_FIXED && request->limit &&
        (request->limit < request->address || request->limit - request->address < request->bytes);
    return status == TSL_OK && is_above ? TSL_LIMIT : status;
}

static void describe(const struct tsl_map_request *request, struct tsl_region *region)
{
    region->pages = request->bytes >> TSL_PAGE_SHIFT;
    region->rights = request->rights;
    region->maximum = maximum_of(request);
    region->flags = request->flags & REGION_SHOWN_FLAGS;
    region->object = request->object;
    region->object_page = request->object_page;
    if (request->object)
        region->maximum &= allowed_by(request) | TSL_ALLOW_WX;
    if (request->flags & TSL_SPACE_GUARDED)
        region->guard_below = region->guard_above = 1;
    if (request->flags & TSL_SPACE_GROWS_DOWN) {
        region->guard_below = SPACE_STACK_GAP;
        region->most_pages = request->stack_bytes >> TSL_PAGE_SHIFT;
    }
    if (region->rights & TSL_WRITE && tsl_region_is_private(region))
        region->flags |= REGION_CHARGED;
}

/* The lowest place that satisfies the request. */
static enum tsl_status find_place(const struct tsl_space *space,
                                  const struct tsl_map_request *request, struct tsl_region *region)
{
    struct tsl_place place = {.pages = region->pages,
                              .align = 1,
                              .guard_below = region->guard_below,
                              .guard_above = region->guard_above,
                              .lower = request->address >> TSL_PAGE_SHIFT,
                              .limit = space->regions.end};
    if (request->align > TSL_PAGE_BYTES)
        place.align = request->align >> TSL_PAGE_SHIFT;
    if (place.lower < space->regions.first)
        place.lower = space->regions.first;
    if (request->limit && request->limit >> TSL_PAGE_SHIFT < place.limit)
        place.limit = request->limit >> TSL_PAGE_SHIFT;
    return tsl_regions_place(&space->regions, &place, &region->start) ? TSL_OK : TSL_LIMIT;
}

/* Whether the span at region->start is free but for regions that lie in the run, or are cut by it:
 * those are replaced. Guards of what stays are not. */
enum tsl_status tsl_space_check_place(const struct tsl_space *space,
                                      const struct tsl_region *region, bool replace)
{
    const struct tsl_regions *regions = &space->regions;
    size_t start = tsl_region_span_start(region), end = tsl_region_span_end(region);
    if (region->guard_below > region->start - regions->first || end > regions->end)
        return TSL_OUT_OF_RANGE;
    if (tsl_regions_is_gap(regions, start, end))
        return TSL_OK;
    if (!replace)
        return TSL_EXISTS;
    const struct tsl_region *below = tsl_regions_from(regions, region->start);
    const struct tsl_region *above = tsl_regions_from(regions, tsl_region_end(region));
    below = below ? tsl_regions_prev(below) : tsl_region_of(tsl_tree_last(&regions->tree));
    if (below && tsl_region_span_end(below) > start)
        return TSL_OVERLAP;
    if (above && above->start >= tsl_region_end(region) && tsl_region_span_start(above) < end)
        return TSL_OVERLAP;
    /* A region that is cut loses the guard at the cut, so ours must not reach into the rest. */
    const struct tsl_region *first = tsl_regions_from(regions, region->start);
    if (region->guard_below && first && first->start < region->start)
        return TSL_OVERLAP;
    if (region->guard_above && above && above->start < tsl_region_end(region))
        return TSL_OVERLAP;
    return TSL_OK;
}

/* Where a region goes, and what has to go for it. */
struct plan {
    struct tsl_region *old; /* the first that is there; NULL: none, and the rest is 0 */
    size_t cuts;
    struct space_sum gone;
    struct tsl_slot_need need;
};

/* What the new set of regions would come to, against the limits of the space. */
static enum tsl_status check_limits(const struct tsl_space *space, const struct tsl_region *region,
                                    const struct plan *plan)
{
    const struct tsl_space_limits *limits = &space->limits;
    const struct space_sum gone = plan->gone;
    size_t regions = space->regions.tree.count + plan->cuts - gone.regions + 1u;
    if (limits->regions && regions > limits->regions)
        return TSL_LIMIT;
    size_t kept = space->regions.pages - gone.pages;
    if (limits->pages && (kept > limits->pages || region->pages > limits->pages - kept))
        return TSL_LIMIT;
    return TSL_OK;
}

/* What has to go, if the place is taken. Private contents are in regions: where there are none,
 * there is nothing. */
static void plan_replacing(struct tsl_space *space, const struct tsl_region *region,
                           struct plan *out)
{
    size_t start = region->start, end = tsl_region_end(region);
    struct tsl_region *old = tsl_regions_from(&space->regions, start);
    if (!old || old->start >= end)
        return;
    out->old = old;
    out->cuts = tsl_space_cuts(space, start, end);
    out->gone = tsl_space_sum(space, start, end);
    if (tsl_space_is_touched(old, end))
        tsl_slots_clear_need(&space->layer, start, end - 1u, &out->need);
}

static enum tsl_status plan(struct space_operation *op, const struct tsl_map_request *request,
                            struct tsl_region *region, struct plan *out)
{
    enum tsl_status status;
    *out = (struct plan){.old = NULL};
    if (request->flags & TSL_SPACE_FIXED) {
        status = tsl_space_check_place(op->space, region, !(request->flags & TSL_SPACE_NO_REPLACE));
        if (status == TSL_OK)
            plan_replacing(op->space, region, out);
    } else {
        status = find_place(op->space, request, region);
    }
    return status == TSL_OK ? check_limits(op->space, region, out) : status;
}

static void put_in(struct space_operation *op, struct tsl_region *region, struct tsl_region *old)
{
    struct tsl_regions *regions = &op->space->regions;
    size_t start = region->start, end = tsl_region_end(region);
    if (old)
        tsl_space_remove(op, tsl_space_cut_range(op, old, start, end), end);
    if (region->object)
        tsl_object_get(region->object);
    struct tsl_region *grown = tsl_regions_insert_or_grow(regions, region);
    if (!grown)
        return;
    tsl_space_bury(op, region);
    struct tsl_region *gone = tsl_regions_merge(regions, grown);
    if (gone)
        tsl_space_bury(op, gone);
}

/* The number of this map, which populates: no region of another one has it now. Lock held. */
static unsigned new_making(struct tsl_space *space)
{
    space->makings = (space->makings + (1u << REGION_MAKING_SHIFT)) & REGION_MAKING;
    if (space->makings == 0)
        space->makings = 1u << REGION_MAKING_SHIFT;
    return space->makings;
}

/* *making: what the region is known by until finish_making or undo_making, with POPULATE. */
static enum tsl_status map_region(struct tsl_space *self, const struct tsl_map_request *request,
                                  size_t first, tsl_vaddr *out, unsigned *making)
{
    struct space_operation op;
    enum tsl_status status = tsl_space_begin(&op, self, 3);
    if (status != TSL_OK)
        return status;
    struct tsl_region *region = tsl_space_take_region(&op);
    describe(request, region);
    region->start = first;
    tsl_space_lock(&op);
    struct plan planned;
    for (bool again = true; status == TSL_OK && again;) {
        status = plan(&op, request, region, &planned);
        if (status == TSL_OK)
            status = tsl_space_reserve(&op, &planned.need, &again);
    }
    if (status == TSL_OK && region->flags & REGION_CHARGED)
        status = tsl_vm_charge(self->vm, self, region->pages, planned.gone.charged);
    if (status == TSL_OK) {
        *out = tsl_space_address(region->start);
        *making = request->flags & TSL_SPACE_POPULATE ? new_making(self) : 0;
        region->flags |= *making;
        put_in(&op, region, planned.old);
    } else {
        region->object = NULL; /* it never had a reference */
        tsl_space_bury(&op, region);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    return status;
}

/* ---- Until a region is populated it is kept apart from its neighbours: if that fails, what is
 * left of it is taken out, and nothing that others have put in its place meanwhile. ---- */

static struct tsl_region *next_made(const struct tsl_space *space, size_t first, size_t end,
                                    unsigned making)
{
    struct tsl_region *region = tsl_regions_from(&space->regions, first);
    while (region && region->start < end && (region->flags & REGION_MAKING) != making)
        region = tsl_regions_next(region);
    return region && region->start < end ? region : NULL;
}

static void finish_making(struct tsl_space *self, size_t first, size_t end, unsigned making)
{
    struct space_operation op = {.space = self};
    struct tsl_region *region;
    tsl_space_lock(&op);
    while ((region = next_made(self, first, end, making)))
        region->flags &= ~REGION_MAKING;
    if ((region = tsl_regions_from(&self->regions, first)))
        tsl_space_join(&op, region, end);
    tsl_space_unlock(&op);
    tsl_space_end(&op);
}

/* Errors: TSL_NO_MEMORY: slots are shared with a copy that was made meanwhile, and there is no
 * memory for nodes. */
static enum tsl_status undo_making(struct tsl_space *self, size_t first, size_t end,
                                   unsigned making)
{
    struct space_operation op = {.space = self};
    enum tsl_status status = TSL_OK;
    struct tsl_region *region;
    tsl_space_lock(&op);
    while (status == TSL_OK && (region = next_made(self, first, end, making))) {
        bool again;
        size_t start = region->start, behind = tsl_region_end(region);
        struct tsl_slot_need need = {0};
        if (region->is_touched)
            tsl_slots_clear_need(&self->layer, start, behind - 1u, &need);
        status = tsl_space_reserve(&op, &need, &again);
        if (status != TSL_OK || again)
            continue;
        tsl_space_remove(&op, region, behind);
        tsl_space_restore_gap(self, start);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    return status;
}

static enum tsl_status populate_made(struct tsl_space *self, tsl_vaddr start, size_t bytes,
                                     unsigned making)
{
    size_t first = start >> TSL_PAGE_SHIFT, end = first + (bytes >> TSL_PAGE_SHIFT);
    enum tsl_status status = tsl_space_populate(self, start, bytes);
    if (status == TSL_OK) {
        finish_making(self, first, end, making);
        return TSL_OK;
    }
    enum tsl_status undone = undo_making(self, first, end, making);
    if (undone == TSL_OK)
        return status;
    finish_making(self, first, end, making);
    return undone;
}

/* Addresses that may be left 0, and the range of those that may not. */
static enum tsl_status check_addresses(struct tsl_space *self,
                                       const struct tsl_map_request *request, size_t *first)
{
    const struct tsl_table_format *format = self->vm->config.format;
    bool fixed = request->flags & TSL_SPACE_FIXED;
    bool odd = request->limit % TSL_PAGE_BYTES || request->stack_bytes % TSL_PAGE_BYTES ||
               (fixed && request->align > 1 && request->address & (request->align - 1u));
    size_t end;
    /* Without FIXED the address is only the lowest one to try: any length must fit somewhere. */
    tsl_vaddr start = request->address;
    if (!fixed && start < format->user_first)
        start = format->user_first;
    enum tsl_status status = tsl_space_check_range(self, "map", start, request->bytes, first, &end);
    if (status != TSL_OK)
        return status;
    if (odd)
        return tsl_refuse(&self->refusals, TSL_MISALIGNED, "space: map with alignment %#zx",
                          request->align);
    return TSL_OK;
}

enum tsl_status tsl_space_map(struct tsl_space *self, const struct tsl_map_request *request,
                              tsl_vaddr *out)
{
    size_t first;
    tsl_vaddr start = 0;
    unsigned making = 0;
    enum tsl_status status = check_addresses(self, request, &first);
    if (status != TSL_OK)
        return status;
    status = check_request(self->vm, request);
    if (status == TSL_OK)
        status = map_region(self, request, first, &start, &making);
    if (status == TSL_NO_MEMORY)
        return status;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status,
                          "space: map of %#zx bytes, rights %#x, flags %#x", request->bytes,
                          request->rights, request->flags);
    if (making)
        status = populate_made(self, start, request->bytes, making);
    if (status == TSL_OK)
        *out = start;
    return status;
}
