/* SPDX-License-Identifier: MIT
 *
 * space_entries.c: entries of a space's tables come and go, and their frames count them.
 *
 * Owns:    the map counts of frames.
 * Needs:   page_table, frame descriptors.
 * Callers: the other files space_*.c, with the space's lock held.
 *
 * A frame's map count is the number of entries that lead to it, in all spaces. It is raised before
 * an entry is written, and lowered after every CPU has forgotten the entry: while it is 0 nobody
 * reaches the page, so whoever freezes it then may take the contents away. The page of zeros and
 * memory of devices and of the kernel are not counted.
 */
#include "space_internal.h"

static struct tsl_frame_descriptor *counted(const struct tsl_vm *vm, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = NULL;
    if (frame.number != vm->zero.number)
        descriptor = tsl_descriptor_of(vm->config.frames, frame);
    return descriptor && tsl_descriptor_state(descriptor) == TSL_FRAME_PAGE ? descriptor : NULL;
}

static void release_map(const struct tsl_vm *vm, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = counted(vm, frame);
    if (descriptor)
        (void)!tsl_descriptor_unmap(descriptor);
}

static void release_maps(void *context, struct tsl_frame first, tsl_word pages)
{
    const struct tsl_vm *vm = context;
    struct tsl_frame last = {first.number + pages - 1u};
    struct tsl_frame_descriptor *begin = tsl_descriptor_of(vm->config.frames, first);
    struct tsl_frame_descriptor *end = tsl_descriptor_of(vm->config.frames, last);
    bool has_zero = vm->zero.number - first.number < pages;
    if (has_zero || !begin || !end || (tsl_word)(end - begin) != pages - 1u) {
        for (; pages > 0; pages--, first.number++)
            release_map(vm, first);
        return;
    }
    for (; begin <= end; begin++)
        if (tsl_descriptor_state(begin) == TSL_FRAME_PAGE)
            (void)!tsl_descriptor_unmap(begin);
}

static bool is_in_place(const struct tsl_region *region)
{
    return region->object && tsl_object_is_in_place(region->object);
}

void tsl_space_unhook_gathered(struct tsl_space *space, size_t start, size_t end,
                               struct tsl_gather *gather)
{
    gather->release = release_maps;
    gather->context = space->vm;
    for (const struct tsl_region *region = tsl_regions_from(&space->regions, start);
         region && region->start < end; region = tsl_regions_next(region)) {
        size_t first = region->start > start ? region->start : start;
        size_t last = tsl_region_end(region) < end ? tsl_region_end(region) : end;
        if (!region->is_touched)
            continue;
        unsigned flags = TSL_UNMAP_SPARSE | (is_in_place(region) ? 0 : TSL_UNMAP_FREE);
        enum tsl_status status = tsl_table_unmap(&space->table, tsl_space_address(first),
                                                 (last - first) << TSL_PAGE_SHIFT, flags, gather);
        TSL_ASSERT(status == TSL_OK); /* a region, and no large pages that had to be split */
    }
}

void tsl_space_unhook(struct tsl_space *space, size_t start, size_t end)
{
    struct tsl_gather gather;
    tsl_gather_init(&gather, &space->table);
    tsl_space_unhook_gathered(space, start, end, &gather);
    tsl_gather_finish(&gather);
}

/* What came of setting an entry whose frame was counted for it before. */
TSL_NOINLINE static void settle(struct tsl_space *space, const struct tsl_region *region,
                                struct tsl_frame_descriptor *descriptor,
                                const struct tsl_page_change *change)
{
    if (change->kind == TSL_PAGE_REPLACED && !is_in_place(region))
        release_map(space->vm, tsl_frame_of(change->old));
    if (change->kind == TSL_PAGE_SAME && descriptor) /* it has been counted already */
        (void)!tsl_descriptor_unmap(descriptor);
}

/* Makes the table show `target` with these attributes, whatever it shows now. */
static inline enum tsl_status show(struct tsl_space *space, const struct tsl_region *region,
                                   size_t page, tsl_paddr target, unsigned attributes,
                                   struct tsl_frame_descriptor *descriptor)
{
    struct tsl_page_change change;
    if (descriptor && !tsl_descriptor_map(descriptor))
        return TSL_BUSY;
    enum tsl_status status =
        tsl_table_set_page(&space->table, tsl_space_address(page), target, attributes, &change);
    if (TSL_UNLIKELY(status != TSL_OK)) {
        if (descriptor)
            (void)!tsl_descriptor_unmap(descriptor);
    } else if (change.kind != TSL_PAGE_NEW) {
        settle(space, region, descriptor, &change);
    }
    return status;
}

enum tsl_status tsl_space_show(struct tsl_space *space, const struct tsl_region *region,
                               size_t page, struct tsl_vm_page shown, bool may_write)
{
    unsigned attributes = region->rights | TSL_USER;
    if (!may_write)
        attributes &= ~(TSL_WRITE | TSL_ALLOW_WX);
    return show(space, region, page, tsl_frame_address(shown.frame), attributes, shown.descriptor);
}

enum tsl_status tsl_space_show_private(struct tsl_space *space, const struct tsl_region *region,
                                       size_t page, struct tsl_frame frame)
{
    struct tsl_vm_page shown = {frame, tsl_vm_descriptor(space->vm, frame)};
    bool alone =
        tsl_slots_is_exclusive(&space->layer, page) && tsl_vm_has_one_slot(shown.descriptor);
    if (alone) /* it may have come from another page, or from a space that has shared it */
        tsl_vm_set_owner(shown.descriptor, &space->layer, page);
    return tsl_space_show(space, region, page, shown, alone);
}

enum tsl_status tsl_space_show_in_place(struct tsl_space *space, const struct tsl_region *region,
                                        size_t page)
{
    tsl_paddr target;
    enum tsl_status status =
        tsl_object_target(region->object, region->object_page + (page - region->start), &target);
    return status == TSL_OK
               ? show(space, region, page, target, tsl_space_attributes(region), NULL)
               : status;
}

void tsl_space_restrict(struct tsl_space *space, const struct tsl_region *region,
                        struct tsl_gather *gather)
{
    unsigned attributes = tsl_space_attributes(region) & ~(TSL_WRITE | TSL_ALLOW_WX);
    if (!region->is_touched)
        return;
    if (!(region->rights & TSL_READ)) {
        tsl_space_unhook_gathered(space, region->start, tsl_region_end(region), gather);
        return;
    }
    enum tsl_status status =
        tsl_table_protect_sparse(&space->table, tsl_space_address(region->start),
                                 region->pages << TSL_PAGE_SHIFT, attributes, gather);
    TSL_ASSERT(status == TSL_OK); /* a region, and no large pages that had to be split */
}
