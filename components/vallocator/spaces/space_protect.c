/* SPDX-License-Identifier: MIT
 *
 * space_protect.c: other rights for a range, and what the CPUs are made to forget of the old ones.
 *
 * Owns:    the rule that entries never gain the right to write here: a fault gives it, which knows
 *          whether the page is shared.
 * Needs:   space.c, space_entries.c.
 * Callers: the kernel (tsl_space_protect).
 */
#include "space_internal.h"

/* Looks at each region from the first one on once. *charge: pages that the change would charge for
 * the first time. */
static enum tsl_status plan(const struct tsl_space *space, const struct tsl_region *first,
                            size_t start, size_t end, unsigned rights, size_t *charge)
{
    size_t pages = 0, regions = space->regions.tree.count, covered = start;
    bool denied = false;
    for (const struct tsl_region *region = first; region && region->start <= covered;
         region = tsl_regions_next(region)) {
        size_t last = tsl_region_end(region) < end ? tsl_region_end(region) : end;
        regions += (size_t)(region->start < start) + (tsl_region_end(region) > end);
        denied = denied || rights & ~region->maximum;
        if (tsl_region_is_private(region) && !(region->flags & REGION_CHARGED))
            pages += last - covered;
        covered = last;
        if (covered == end)
            break;
    }
    if (covered < end)
        return TSL_NOT_FOUND;
    if (denied)
        return TSL_DENIED;
    if (space->limits.regions && regions > space->limits.regions)
        return TSL_LIMIT;
    *charge = pages;
    return TSL_OK;
}

static void protect_regions(struct space_operation *op, struct tsl_region *first, size_t start,
                            size_t end, unsigned rights)
{
    struct tsl_space *space = op->space;
    struct tsl_gather gather;
    tsl_gather_init(&gather, &space->table);
    first = tsl_space_cut_range(op, first, start, end);
    for (struct tsl_region *region = first; region; region = tsl_regions_next(region)) {
        region->rights = rights;
        if ((rights & TSL_WRITE) && tsl_region_is_private(region))
            region->flags |= REGION_CHARGED;
        tsl_space_restrict(space, region, &gather);
        if (tsl_region_end(region) == end)
            break;
    }
    tsl_gather_finish(&gather);
    tsl_space_join(op, first, end);
}

enum tsl_status tsl_space_protect(struct tsl_space *self, tsl_vaddr start, size_t bytes,
                                  unsigned rights)
{
    size_t first, end;
    struct space_operation op;
    enum tsl_status status = tsl_space_check_range(self, "protect", start, bytes, &first, &end);
    if (status != TSL_OK)
        return status;
    status = tsl_space_check_rights(rights, SPACE_RIGHTS);
    if (status == TSL_OK) {
        status = tsl_space_begin(&op, self, 2);
        if (status != TSL_OK)
            return status;
        tsl_space_lock(&op);
        size_t charge;
        struct tsl_region *region = tsl_regions_from(&self->regions, first);
        status = plan(self, region, first, end, rights, &charge);
        if (status == TSL_OK && (rights & TSL_WRITE))
            status = tsl_vm_charge(self->vm, self, charge, 0);
        if (status == TSL_OK)
            protect_regions(&op, region, first, end, rights);
        tsl_space_unlock(&op);
        tsl_space_end(&op);
    }
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "space: rights %#x for %#zx bytes at %#zx",
                          rights, bytes, (size_t)start);
    return TSL_OK;
}
