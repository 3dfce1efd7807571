/* SPDX-License-Identifier: MIT
 *
 * space_unmap.c: takes addresses and private contents away.
 *
 * Owns:    the order of events: unhook, flush every CPU, free.
 * Needs:   space.c, page_table.
 * Callers: the kernel (tsl_space_unmap), space_map.c (replacing), space_advise.c.
 */
#include "space_internal.h"

void tsl_space_remove(struct space_operation *op, size_t start, size_t end)
{
    struct tsl_space *space = op->space;
    tsl_space_unhook(space, start, end);
    tsl_slots_clear(&space->layer, &op->reserve, start, end - 1u);
    struct tsl_region *region;
    while ((region = tsl_regions_from(&space->regions, start)) && region->start < end)
        tsl_space_take_out(op, region);
}

static enum tsl_status plan(const struct tsl_space *space, size_t start, size_t end)
{
    const struct tsl_region *region = tsl_regions_from(&space->regions, start);
    if (!region || region->start >= end)
        return TSL_NOT_FOUND;
    /* Only a hole in the middle of one region leaves more regions than before. */
    bool hole = region->start < start && tsl_region_end(region) > end;
    if (hole && space->limits.regions && space->regions.tree.count >= space->limits.regions)
        return TSL_LIMIT;
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
    for (bool again = true; status == TSL_OK && again;) {
        struct tsl_slot_need need = {0};
        status = plan(self, first, end);
        tsl_slots_clear_need(&self->layer, first, end - 1u, &need);
        if (status == TSL_OK)
            status = tsl_space_reserve(&op, &need, &again);
    }
    if (status == TSL_OK) {
        tsl_space_cut(&op, first);
        tsl_space_cut(&op, end);
        tsl_space_remove(&op, first, end);
        tsl_space_restore_gap(self, first);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    if (status == TSL_NOT_FOUND || status == TSL_LIMIT)
        return tsl_refuse(&self->refusals, status, "space: unmap of %#zx bytes at %#zx", bytes,
                          (size_t)start);
    return status;
}
