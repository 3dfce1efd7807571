/* SPDX-License-Identifier: MIT
 *
 * space_advise.c: what a program says about its future.
 *
 * Owns:    tsl_space_advise; marks that regions carry.
 * Needs:   space.c, space_unmap.c.
 * Callers: the kernel; space_locked.c (tsl_space_mark).
 */
#include "space_internal.h"

/* Private contents go, the regions stay. */
static enum tsl_status forget(struct tsl_space *self, size_t start, size_t end)
{
    struct space_operation op;
    enum tsl_status status = tsl_space_begin(&op, self, 0);
    if (status != TSL_OK)
        return status;
    tsl_space_lock(&op);
    for (bool again = true; status == TSL_OK && again;) {
        struct tsl_slot_need need = {0};
        if (!tsl_regions_cover(&self->regions, start, end))
            status = TSL_NOT_FOUND;
        else if (tsl_space_sum(self, start, end).locked)
            status = TSL_DENIED;
        tsl_slots_clear_need(&self->layer, start, end - 1u, &need);
        if (status == TSL_OK)
            status = tsl_space_reserve(&op, &need, &again);
    }
    if (status == TSL_OK) {
        tsl_space_unhook(self, start, end);
        tsl_slots_clear(&self->layer, &op.reserve, start, end - 1u);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    return status;
}

static enum tsl_status check_mark(struct tsl_space *self, size_t start, size_t end, bool locks)
{
    size_t regions = self->regions.tree.count + tsl_space_cuts(self, start, end);
    if (!tsl_regions_cover(&self->regions, start, end))
        return TSL_NOT_FOUND;
    if (self->limits.regions && regions > self->limits.regions)
        return TSL_LIMIT;
    return locks ? tsl_space_check_lockable(self, start, end) : TSL_OK;
}

enum tsl_status tsl_space_mark(struct tsl_space *self, size_t start, size_t end, unsigned flag,
                               bool is_set)
{
    struct space_operation op;
    enum tsl_status status = tsl_space_begin(&op, self, 2);
    if (status != TSL_OK)
        return status;
    tsl_space_lock(&op);
    status = check_mark(self, start, end, flag == TSL_SPACE_LOCKED && is_set);
    if (status == TSL_OK) {
        struct tsl_region *first = tsl_space_cut_range(
            &op, tsl_regions_from(&self->regions, start), start, end);
        if (flag == TSL_SPACE_LOCKED)
            self->locked += (is_set ? end - start : 0) - tsl_space_sum(self, start, end).locked;
        for (struct tsl_region *region = first; region && region->start < end;
             region = tsl_regions_next(region))
            region->flags = (region->flags & ~flag) | (is_set ? flag : 0);
        tsl_space_join(&op, first, end);
    }
    tsl_space_unlock(&op);
    tsl_space_end(&op);
    return status;
}

enum tsl_status tsl_space_advise(struct tsl_space *self, tsl_vaddr start, size_t bytes,
                                 enum tsl_advice advice)
{
    size_t first, end;
    if (advice == TSL_ADVISE_NEED)
        return tsl_space_populate(self, start, bytes);
    enum tsl_status status = tsl_space_check_range(self, "advice", start, bytes, &first, &end);
    if (status != TSL_OK)
        return status;
    if (advice == TSL_ADVISE_DONT_NEED)
        status = forget(self, first, end);
    else if (advice == TSL_ADVISE_NO_COPY || advice == TSL_ADVISE_COPY)
        status = tsl_space_mark(self, first, end, TSL_SPACE_NO_COPY, advice == TSL_ADVISE_NO_COPY);
    else
        status = TSL_INVALID;
    if (status == TSL_OK || status == TSL_NO_MEMORY)
        return status;
    return tsl_refuse(&self->refusals, status, "space: advice %d for %#zx bytes at %#zx",
                      (int)advice, bytes, (size_t)start);
}
