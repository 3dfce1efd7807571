/* SPDX-License-Identifier: MIT
 *
 * space_copy.c: a second space with the same contents.
 *
 * Owns:    tsl_space_copy.
 * Needs:   space.c, slots.c (sharing), space_entries.c (taking the right to write).
 * Callers: the kernel (fork).
 *
 * Nothing is copied but regions: the private layer becomes a second reference to the root of the
 * slot tree, and every entry through which this space could write loses that right, on all CPUs,
 * before the lock is let go. Whoever writes first gets a page of its own.
 */
#include "space_internal.h"

/* Regions that differed only in what the copy does not take over. */
static void join_all(struct space_operation *op, struct tsl_space *copy)
{
    struct tsl_region *region = tsl_regions_from(&copy->regions, copy->regions.first);
    while (region) {
        struct tsl_region *gone = tsl_regions_merge(&copy->regions, region);
        if (gone)
            tsl_space_bury(op, gone);
        else
            region = tsl_regions_next(region);
    }
}

/* The pages that the copy promises: those of regions that stay in it. Lock held. */
static size_t promised(const struct tsl_space *self)
{
    size_t pages = self->committed;
    for (struct tsl_tree_node *node = tsl_tree_first(&self->regions.tree); node && pages > 0;
         node = tsl_tree_next(node)) {
        const struct tsl_region *region = tsl_region_of(node);
        if (region->flags & TSL_SPACE_NO_COPY && region->flags & REGION_CHARGED)
            pages -= region->pages;
    }
    return pages;
}

/* Under the lock of the space that is copied. The copy is nobody else's yet. */
static void copy_regions(struct space_operation *op, struct tsl_space *copy, size_t charged)
{
    struct tsl_space *self = op->space;
    struct tsl_gather gather;
    tsl_gather_init(&gather, &self->table);
    bool differs = false;
    for (struct tsl_tree_node *node = tsl_tree_first(&self->regions.tree); node;
         node = tsl_tree_next(node)) {
        struct tsl_region *region = tsl_region_of(node);
        if (tsl_region_is_private(region) && region->rights & TSL_WRITE)
            tsl_space_restrict(self, region, &gather);
        struct tsl_region *twin = tsl_space_take_region(op);
        *twin = *region;
        /* Nobody has asked for either in the copy. */
        twin->flags &= ~(TSL_SPACE_LOCKED | REGION_MAKING);
        differs = differs || twin->flags != region->flags;
        if (twin->flags & TSL_SPACE_NO_COPY)
            twin->flags &= ~REGION_CHARGED; /* leave_out takes it away again */
        if (twin->object)
            tsl_object_get(twin->object);
        tsl_regions_insert(&copy->regions, twin);
    }
    tsl_gather_finish(&gather);
    if (differs)
        join_all(op, copy);
    tsl_slots_clone(&self->layer, &copy->layer);
    copy->committed = charged;
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

/* What a copy brings along: frames for pages that are pinned, and so are copied at once. */
struct pinned {
    struct tsl_frame *fresh;
    size_t count;
};

static void drop(struct tsl_vm *vm, struct pinned *pinned)
{
    for (size_t i = 0; i < pinned->count; i++)
        if (!tsl_frame_is_none(pinned->fresh[i]))
            tsl_vm_put_frame(vm, pinned->fresh[i]);
    enum tsl_status status = tsl_heap_free(vm->config.heap, pinned->fresh);
    TSL_ASSERT(status == TSL_OK);
    *pinned = (struct pinned){NULL, 0};
}

/* Frames, and nodes for as many separate paths, at the worst. No lock held. */
static enum tsl_status get_frames(struct space_operation *op, struct pinned *pinned, size_t count)
{
    struct tsl_vm *vm = op->space->vm;
    if (count == 0)
        return TSL_OK;
    pinned->fresh = tsl_heap_alloc_array(vm->config.heap, count, sizeof(*pinned->fresh));
    if (!pinned->fresh)
        return TSL_NO_MEMORY;
    struct tsl_slot_need need = {(unsigned)count, (unsigned)count * (TSL_SLOT_LEVELS - 1u)};
    enum tsl_status status = tsl_slot_reserve_fill(&op->reserve, vm->config.heap, &need);
    for (; status == TSL_OK && pinned->count < count; pinned->count++)
        status = tsl_vm_new_frame(vm, false, &pinned->fresh[pinned->count]);
    return status;
}

/* Gets as many spare regions as the space has, and frames for pinned pages; between asking and
 * locking others may add some. On TSL_OK the lock is held. */
static enum tsl_status begin(struct space_operation *op, struct tsl_space *self,
                             struct pinned *pinned)
{
    size_t regions = 0, pages = 0;
    for (;;) {
        enum tsl_status status = tsl_space_begin(op, self, regions);
        if (status != TSL_OK)
            return status;
        status = get_frames(op, pinned, pages);
        if (status == TSL_OK) {
            tsl_space_lock(op);
            regions = self->regions.tree.count;
            pages = tsl_space_count_pinned(self);
            if (tsl_space_listed(op->spare) >= regions && pinned->count >= pages)
                return TSL_OK;
            tsl_space_unlock(op);
        }
        tsl_space_end(op);
        drop(self->vm, pinned);
        if (status != TSL_OK)
            return status;
    }
}

enum tsl_status tsl_space_copy(struct tsl_space *self, struct tsl_space **out)
{
    struct tsl_space *copy;
    struct space_operation op;
    struct pinned pinned = {NULL, 0};
    enum tsl_status status = tsl_space_create(self->vm, NULL, &copy);
    if (status != TSL_OK)
        return status;
    status = begin(&op, self, &pinned);
    if (status == TSL_OK) {
        size_t charged = promised(self);
        status = tsl_vm_charge(self->vm, NULL, charged, 0);
        if (status == TSL_OK) {
            copy_regions(&op, copy, charged);
            tsl_space_copy_pinned(&op, copy, pinned.fresh);
        }
        tsl_space_unlock(&op);
        tsl_space_end(&op);
        drop(self->vm, &pinned);
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
