/* SPDX-License-Identifier: MIT
 *
 * space_unmap.c: takes addresses and private contents away.
 *
 * Owns:    the order of events: unhook, flush every CPU, free.
 * Needs:   space.c, page_table.
 * Callers: the kernel (tsl_space_unmap), space_map.c (replacing), space_advise.c.
 */
#include "space_internal.h"

bool tsl_space_is_touched(const struct tsl_region *region, size_t end)
{
    while (!region->is_touched && tsl_region_end(region) < end) {
        region = tsl_regions_next(region);
        if (!region || region->start >= end)
            return false;
    }
    return region->is_touched;
}

void tsl_space_remove(struct space_operation *op, struct tsl_region *region, size_t end)
{
    struct tsl_space *space = op->space;
    if (tsl_space_is_touched(region, end)) {
        tsl_space_unhook(space, region->start, end);
        tsl_slots_clear(&space->layer, &op->reserve, region->start, end - 1u);
    }
    for (struct tsl_region *next; region && region->start < end; region = next) {
        next = tsl_region_end(region) < end ? tsl_regions_next(region) : NULL;
        tsl_space_take_out(op, region);
    }
}

/* What is there from the first region on, and what taking it away needs. */
static enum tsl_status plan(struct tsl_space *space, size_t start, size_t end,
                            struct tsl_region **out, struct tsl_slot_need *need)
{
    struct tsl_region *region = tsl_regions_from(&space->regions, start);
    if (!region || region->start >= end)
        return TSL_NOT_FOUND;
    /* Only a hole in the middle of one region leaves more regions than before. */
    bool hole = region->start < start && tsl_region_end(region) > end;
    if (hole && space->limits.regions && space->regions.tree.count >= space->limits.regions)
        return TSL_LIMIT;
    if (tsl_space_is_touched(region, end))
        tsl_slots_clear_need(&space->layer, start, end - 1u, need);
    *out = region;
    return TSL_OK;
}

enum tsl_status tsl_space_unmap(struct tsl_space *self, tsl_vaddr start, size_t bytes)
{
    size_t first, end;
    struct space_operation op;
    enum tsl_status status = tsl_space_check_range(self, "unmap", start, bytes, &first, &end);
    if (status == TSL_OK)
        status = tsl_space_begin(&op, self, 2);
    if (status != TSL_OK)
        return status;
    tsl_space_lock(&op);
    struct tsl_region *region;
    for (bool again = true; status == TSL_OK && again;) {
        struct tsl_slot_need need = {0};
        status = plan(self, first, end, &region, &need);
        if (status == TSL_OK)
            status = tsl_space_reserve(&op, &need, &again);
    }
    if (status == TSL_OK) {
        tsl_space_remove(&op, tsl_space_cut_range(&op, region, first, end), end);
        tsl_space_restore_gap(self, first);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    if (status == TSL_NOT_FOUND || status == TSL_LIMIT)
        return tsl_refuse(&self->refusals, status, "space: unmap of %#zx bytes at %#zx", bytes,
                          (size_t)start);
    return status;
}
