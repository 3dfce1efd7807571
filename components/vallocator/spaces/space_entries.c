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
 * memory of devices are not counted.
 */
#include "space_internal.h"

static struct tsl_frame_descriptor *counted(const struct tsl_vm *vm, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = NULL;
    if (frame.number != vm->zero.number)
        descriptor = tsl_descriptor_of(vm->config.frames, frame);
    return descriptor && tsl_descriptor_state(descriptor) == TSL_FRAME_PAGE ? descriptor : NULL;
}

static void release_maps(void *context, struct tsl_frame first, tsl_word pages)
{
    for (; pages > 0; pages--, first.number++) {
        struct tsl_frame_descriptor *descriptor = counted(context, first);
        if (descriptor)
            (void)!tsl_descriptor_unmap(descriptor);
    }
}

static bool is_device(const struct tsl_region *region)
{
    return region->object && region->object->config.kind == TSL_OBJECT_DEVICE;
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
        unsigned flags = TSL_UNMAP_SPARSE | (is_device(region) ? 0 : TSL_UNMAP_FREE);
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

/* Makes the table show `target` with these attributes, whatever it shows now. */
static enum tsl_status show(struct tsl_space *space, size_t page, tsl_paddr target,
                            unsigned attributes, struct tsl_frame_descriptor *descriptor)
{
    tsl_vaddr address = tsl_space_address(page);
    struct tsl_mapping old;
    if (tsl_table_query(&space->table, address, &old) == TSL_OK) {
        if (old.target == target)
            return tsl_table_protect(&space->table, address, TSL_PAGE_BYTES, attributes, NULL);
        tsl_space_unhook(space, page, page + 1u);
    }
    if (descriptor && !tsl_descriptor_map(descriptor))
        return TSL_BUSY;
    enum tsl_status status =
        tsl_table_map(&space->table, address, target, TSL_PAGE_BYTES, attributes);
    if (status != TSL_OK && descriptor)
        (void)!tsl_descriptor_unmap(descriptor);
    return status;
}

enum tsl_status tsl_space_show(struct tsl_space *space, const struct tsl_region *region,
                               size_t page, struct tsl_frame frame, bool may_write)
{
    unsigned attributes = tsl_space_attributes(region);
    if (!may_write)
        attributes &= ~(TSL_WRITE | TSL_ALLOW_WX);
    return show(space, page, tsl_frame_address(frame), attributes, counted(space->vm, frame));
}

enum tsl_status tsl_space_show_private(struct tsl_space *space, const struct tsl_region *region,
                                       size_t page, struct tsl_frame frame)
{
    bool alone = tsl_slots_is_exclusive(&space->layer, page) && tsl_vm_is_alone(space->vm, frame);
    if (alone) /* it may have come from another page, or from a space that has shared it */
        tsl_vm_set_owner(space->vm, frame, &space->layer, page);
    return tsl_space_show(space, region, page, frame, alone);
}

enum tsl_status tsl_space_show_device(struct tsl_space *space, const struct tsl_region *region,
                                      size_t page)
{
    size_t index = region->object_page + (page - region->start);
    return show(space, page, region->object->config.target + ((tsl_paddr)index << TSL_PAGE_SHIFT),
                tsl_space_attributes(region), NULL);
}

void tsl_space_restrict(struct tsl_space *space, const struct tsl_region *region, size_t start,
                        size_t end, struct tsl_gather *gather)
{
    unsigned attributes = tsl_space_attributes(region) & ~(TSL_WRITE | TSL_ALLOW_WX);
    tsl_vaddr last = tsl_space_address(end) - 1u;
    struct tsl_mapping page;
    if (!(region->rights & TSL_READ)) {
        tsl_space_unhook_gathered(space, start, end, gather);
        return;
    }
    for (tsl_vaddr at = tsl_space_address(start);
         at <= last && tsl_table_next(&space->table, at, last, &page);
         at = page.start + page.bytes) {
        enum tsl_status status =
            tsl_table_protect(&space->table, page.start, page.bytes, attributes, gather);
        TSL_ASSERT(status == TSL_OK);
    }
}
