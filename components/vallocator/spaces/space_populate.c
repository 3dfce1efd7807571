/* SPDX-License-Identifier: MIT
 *
 * space_populate.c: makes all pages of a range accessible.
 *
 * Owns:    tsl_space_populate.
 * Needs:   tsl_space_fault, which brings whatever is not brought here.
 * Callers: the kernel, space_map.c, space_locked.c.
 *
 * Pages that nobody has touched come by the batch: frames in one request, cleared with no lock
 * held, shown with one walk. Whatever is in the way - another region by now, a page that is there,
 * no table, no memory - is left to faults, one page at a time.
 */
#include <tesela/bits.h>
#include <tesela/port_inline.h>

#include "../objects/slots_internal.h"
#include "space_internal.h"

/* Frames that are taken in advance, and so may be lacking elsewhere for a moment. */
#define BATCH 32u

/* Frames of one word of the allocator's bitmap: bit i is frame first + i. */
struct batch {
    struct tsl_frame first;
    tsl_word frames;
    unsigned count;
};

/* The next frame of a mask, which loses it. */
static struct tsl_frame take_lowest(struct tsl_frame first, tsl_word *frames)
{
    unsigned bit = tsl_bits_lowest(*frames);
    *frames &= *frames - 1u;
    return (struct tsl_frame){first.number + bit};
}

/* Frames with one reference and one map, filled with zeros. */
static bool get(struct tsl_space *self, size_t page, unsigned count, struct batch *batch)
{
    struct tsl_vm *vm = self->vm;
    batch->frames = tsl_vm_new_frames(vm, count, &self->layer, page, &batch->first);
    batch->count = tsl_bits_count(batch->frames);
    for (tsl_word rest = batch->frames; rest != 0;) {
        tsl_pin pin = tsl_cpu_pin(); /* a window is this CPU's */
        tsl_vm_clear_frame(vm, take_lowest(batch->first, &rest));
        tsl_cpu_unpin(pin);
    }
    return batch->frames != 0;
}

static void put_back(struct tsl_vm *vm, struct batch *batch)
{
    while (batch->frames != 0) {
        struct tsl_frame frame = take_lowest(batch->first, &batch->frames);
        bool was_last = tsl_descriptor_unmap(tsl_vm_descriptor(vm, frame));
        TSL_ASSERT(was_last); /* nobody else knows it */
        tsl_vm_put_frame(vm, frame);
    }
}

/* What a range of untouched private pages needs no object and no pager for. */
static bool is_anonymous(const struct tsl_region *region)
{
    return tsl_region_is_private(region) && !region->object && region->rights & TSL_WRITE;
}

/* How many pages from `page` on may come by the batch: those of its leaf of slots, as far as nobody
 * has touched them. 0: it needs a fault. Lock held. */
static unsigned untouched(struct tsl_space *self, size_t page, size_t end)
{
    const struct tsl_region *region = tsl_regions_near(&self->regions, page);
    const tsl_slot *slot = tsl_slots_near(&self->layer, page);
    unsigned count = 0;
    if (!region || !is_anonymous(region) || !slot)
        return 0;
    size_t most = TSL_SLOT_NODE_ENTRIES - tsl_slot_index(page, 0);
    if (end > tsl_region_end(region))
        end = tsl_region_end(region);
    if (most > end - page)
        most = end - page;
    if (most > BATCH)
        most = BATCH;
    while (count < most && !tsl_atomic_load_u32(&slot[count]))
        count++;
    /* Pages that were read show the page of zeros. */
    return tsl_table_count_absent(&self->table, tsl_space_address(page), count);
}

/* The entries are there: now the slots say so too. */
static void install(struct tsl_space *self, size_t page, const struct batch *batch)
{
    struct tsl_slots *layer = &self->layer;
    tsl_slot *slot = tsl_slots_near(layer, page);
    for (tsl_word rest = batch->frames; rest != 0; slot++)
        tsl_atomic_store_u32(slot, tsl_vm_slot_of(take_lowest(batch->first, &rest)));
    layer->leaf->used = (uint16_t)(layer->leaf->used + batch->count);
    self->counted.zeroed += batch->count;
    self->counted.faults += batch->count;
}

/* Brings some pages from `page` on; returns how many. 0: it needs a fault. */
static unsigned bring_batch(struct tsl_space *self, size_t page, size_t end)
{
    struct batch batch;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    unsigned count = untouched(self, page, end);
    tsl_lock_release(&self->lock, pin);
    if (count < 2 || !get(self, page, count, &batch))
        return 0;
    pin = tsl_lock_acquire(&self->lock);
    bool good = untouched(self, page, end) >= batch.count;
    if (good) {
        struct tsl_region *region = tsl_regions_near(&self->regions, page);
        region->is_touched = true;
        good = tsl_table_map_word(&self->table, tsl_space_address(page), batch.first, batch.frames,
                                  tsl_space_attributes(region)) == TSL_OK;
    }
    if (good)
        install(self, page, &batch);
    tsl_lock_release(&self->lock, pin);
    if (good)
        return batch.count;
    put_back(self->vm, &batch);
    return 0;
}

/* The access that brings a page for all that its region may do; 0: nothing may touch it. */
static unsigned access_for(struct tsl_space *self, size_t page)
{
    unsigned access = 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct tsl_region *region = tsl_regions_find(&self->regions, page);
    if (region)
        access = region->rights & TSL_WRITE ? TSL_WRITE : region->rights & TSL_READ;
    tsl_lock_release(&self->lock, pin);
    return access;
}

enum tsl_status tsl_space_populate(struct tsl_space *self, tsl_vaddr start, size_t bytes)
{
    size_t first, end;
    enum tsl_status status = tsl_space_check_range(self, "populate", start, bytes, &first, &end);
    if (status != TSL_OK)
        return status;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool covered = tsl_regions_cover(&self->regions, first, end);
    tsl_lock_release(&self->lock, pin);
    if (!covered)
        return tsl_refuse(&self->refusals, TSL_NOT_FOUND, "space: populate of %#zx bytes at %#zx",
                          bytes, (size_t)start);
    for (size_t page = first; page < end && status == TSL_OK;) {
        unsigned brought = bring_batch(self, page, end);
        page += brought;
        if (brought > 0)
            continue;
        unsigned access = access_for(self, page);
        if (access)
            status = tsl_space_fault(self, tsl_space_address(page), access, NULL);
        page++;
    }
    return status;
}
