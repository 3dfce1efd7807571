/* SPDX-License-Identifier: MIT
 *
 * space_copy.c: a second space with the same contents.
 *
 * Owns:    tsl_space_copy.
 * Needs:   space.c, slots.c (sharing), space_protect.c (taking the right to write).
 * Callers: the kernel (fork).
 *
 * Nothing is copied but regions: the private layer becomes a second reference to the root of the
 * slot tree, and every entry through which this space could write loses that right, on all CPUs,
 * before the lock is let go. Whoever writes first gets a page of its own.
 */
#include "space_internal.h"

/* Under the lock of the space that is copied. The copy is nobody else's yet. */
static void copy_regions(struct space_operation *op, struct tsl_space *copy)
{
    struct tsl_space *self = op->space;
    for (struct tsl_tree_node *node = tsl_tree_first(&self->regions.tree); node;
         node = tsl_tree_next(node)) {
        struct tsl_region *region = tsl_region_of(node);
        if (tsl_region_is_private(region) && region->rights & TSL_WRITE)
            tsl_space_restrict(self, region, region->start, tsl_region_end(region));
        struct tsl_region *twin = tsl_space_take_region(op);
        *twin = *region;
        if (twin->object)
            tsl_object_get(twin->object);
        tsl_regions_insert(&copy->regions, twin);
    }
    tsl_slots_clone(&self->layer, &copy->layer);
    copy->committed = self->committed;
    copy->limits = self->limits;
}

/* Takes the regions that are not to be copied out of the copy again. Their slots may lie in nodes
 * that are shared, so this may need memory. */
static enum tsl_status leave_out(struct tsl_space *copy)
{
    struct tsl_region *region = tsl_regions_from(&copy->regions, copy->regions.first);
    while (region) {
        size_t start = region->start, end = tsl_region_end(region);
        enum tsl_status status = TSL_OK;
        if (region->flags & TSL_SPACE_NO_COPY)
            status =
                tsl_space_unmap(copy, tsl_space_address(start), (end - start) << TSL_PAGE_SHIFT);
        if (status != TSL_OK)
            return status;
        region = tsl_regions_from(&copy->regions, end);
    }
    return TSL_OK;
}

/* Gets as many spare regions as the space has; between asking and locking others may add some. */
static enum tsl_status begin(struct space_operation *op, struct tsl_space *self)
{
    size_t regions = 0;
    for (;;) {
        enum tsl_status status = tsl_space_begin(op, self, regions);
        if (status != TSL_OK)
            return status;
        tsl_space_lock(op);
        if (op->spares >= self->regions.tree.count)
            return TSL_OK;
        regions = self->regions.tree.count;
        tsl_space_unlock(op);
        tsl_space_end(op);
    }
}

enum tsl_status tsl_space_copy(struct tsl_space *self, struct tsl_space **out)
{
    struct tsl_space *copy;
    struct space_operation op;
    enum tsl_status status = tsl_space_create(self->vm, NULL, &copy);
    if (status != TSL_OK)
        return status;
    status = begin(&op, self);
    if (status == TSL_OK) {
        status = tsl_vm_charge(self->vm, NULL, self->committed);
        if (status == TSL_OK)
            copy_regions(&op, copy);
        tsl_space_unlock(&op);
        tsl_space_end(&op);
    }
    if (status == TSL_OK)
        status = leave_out(copy);
    if (status == TSL_OK) {
        *out = copy;
        return TSL_OK;
    }
    enum tsl_status destroyed = tsl_space_destroy(copy);
    TSL_ASSERT(destroyed == TSL_OK);
    if (status == TSL_LIMIT)
        return tsl_refuse(&self->refusals, status, "space: no commitment left for a copy");
    return status;
}
