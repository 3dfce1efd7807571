/* SPDX-License-Identifier: MIT
 *
 * space_query.c: questions about a space, its regions and its pages.
 *
 * Owns:    nothing.
 * Needs:   region.h, slots.h, page_table (query), frame descriptors.
 * Callers: the kernel (space.h), space_verify.c (the dump).
 */
#include "space_internal.h"

static void describe(const struct tsl_region *region, struct tsl_region_info *out)
{
    *out = (struct tsl_region_info){.start = tsl_space_address(region->start),
                                    .bytes = region->pages << TSL_PAGE_SHIFT,
                                    .rights = region->rights,
                                    .maximum = region->maximum,
                                    .flags = region->flags & REGION_SHOWN_FLAGS,
                                    .object = region->object,
                                    .object_page = region->object_page};
}

bool tsl_space_next(struct tsl_space *self, tsl_vaddr from, struct tsl_region_info *out)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct tsl_region *region = tsl_regions_from(&self->regions, from >> TSL_PAGE_SHIFT);
    if (region)
        describe(region, out);
    tsl_lock_release(&self->lock, pin);
    return region != NULL;
}

/* The slot that says where the page's contents are. Lock held. */
static tsl_slot slot_of(struct tsl_space *self, const struct tsl_region *region, size_t page,
                        bool *is_private)
{
    tsl_slot slot = tsl_slots_get(&self->layer, page);
    *is_private = slot != 0;
    if (slot || !region->object)
        return slot;
    tsl_pin pin = tsl_lock_acquire(&region->object->lock);
    slot = tsl_slots_get(&region->object->slots, region->object_page + (page - region->start));
    tsl_lock_release(&region->object->lock, pin);
    return slot;
}

static void describe_page(struct tsl_space *self, const struct tsl_region *region, size_t page,
                          struct tsl_page_info *out)
{
    struct tsl_mapping entry;
    *out = (struct tsl_page_info){.is_present = false};
    describe(region, &out->region);
    tsl_slot slot = slot_of(self, region, page, &out->is_private);
    out->contents = (enum tsl_slot_type)tsl_slot_type_of(slot);
    if (out->contents == TSL_SLOT_FRAME) {
        out->frame = tsl_vm_frame_of(slot);
        const struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self->vm, out->frame);
        out->references = tsl_descriptor_references(descriptor);
        out->maps = tsl_descriptor_maps(descriptor);
        out->pins = tsl_descriptor_pins(descriptor);
    }
    if (tsl_table_query(&self->table, tsl_space_address(page), &entry) != TSL_OK)
        return;
    out->is_present = true;
    out->is_writable = entry.attributes & TSL_WRITE;
    out->is_accessed = entry.accessed;
    out->is_dirty = entry.dirty;
}

enum tsl_status tsl_space_query(struct tsl_space *self, tsl_vaddr address,
                                struct tsl_page_info *out)
{
    size_t page = address >> TSL_PAGE_SHIFT;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct tsl_region *region = tsl_regions_find(&self->regions, page);
    if (region)
        describe_page(self, region, page, out);
    tsl_lock_release(&self->lock, pin);
    return region ? TSL_OK : TSL_NOT_FOUND;
}

void tsl_space_stats(struct tsl_space *self, struct tsl_space_stats *out)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    *out = self->counted;
    out->regions = self->regions.tree.count;
    out->pages = self->regions.pages;
    out->committed = self->committed;
    out->locked = self->locked;
    tsl_lock_release(&self->lock, pin);
    out->refusals = tsl_refusals_total(&self->refusals);
}
