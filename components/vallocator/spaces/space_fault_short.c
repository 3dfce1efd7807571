/* SPDX-License-Identifier: MIT
 *
 * space_fault_short.c: what most faults come to, looked at once.
 *
 * Owns:    tsl_space_fault; no decision: space_fault.c makes the same ones in full, and all others.
 * Needs:   slots_internal.h (the leaf used last), space_entries.c, space_fault.c.
 * Callers: the kernel's page-fault handler, tsl_space_populate, tsl_space_pin.
 *
 * Faults come in rows, in one region and one leaf of slots. Then nothing has to be got but a frame,
 * and that is in hand before the lock is taken if the last write fault took one. Whatever else
 * there is to say about a page is left to space_fault.c, before anything has changed.
 */
#include "../objects/slots_internal.h"
#include "space_internal.h"

/* One fault, in registers: everything here is one function. */
struct short_fault {
    struct tsl_space *space;
    struct tsl_region *region;
    size_t page;
    unsigned access;
    struct tsl_vm_page fresh; /* none: there is none in hand */
};

#define PART TSL_ALWAYS_INLINE static inline

PART struct tsl_vm_page page_of(const struct tsl_vm *vm, tsl_slot slot)
{
    struct tsl_frame frame = tsl_vm_frame_of(slot);
    return (struct tsl_vm_page){frame, tsl_vm_descriptor(vm, frame)};
}

PART enum tsl_status show(const struct short_fault *fault, struct tsl_vm_page page, bool may_write)
{
    return tsl_space_show(fault->space, fault->region, fault->page, page, may_write);
}

/* A frame is in hand, and the slot may be written. */
PART bool can_install(const struct short_fault *fault, const tsl_slot *near)
{
    return near && !tsl_frame_is_none(fault->fresh.frame);
}

/* The fresh frame, which is filled, becomes the page of the slot. Before: can_install. */
PART enum tsl_status install(struct short_fault *fault, struct tsl_slots *slots, size_t page,
                             tsl_slot *near)
{
    tsl_vm_set_owner(fault->fresh.descriptor, slots, page);
    if (show(fault, fault->fresh, true) != TSL_OK)
        return TSL_BUSY;
    tsl_slot old = tsl_atomic_exchange_u32(near, tsl_vm_slot_of(fault->fresh.frame));
    fault->fresh.frame.number = 0;
    if (old)
        tsl_slot_free_contents(slots, old);
    else
        slots->leaf->used++;
    return TSL_OK;
}

PART enum tsl_status fill(struct short_fault *fault, struct tsl_slots *slots, size_t page,
                          tsl_slot *near)
{
    struct tsl_space *space = fault->space;
    if (!can_install(fault, near))
        return TSL_BUSY;
    tsl_vm_clear_frame(space->vm, fault->fresh.frame);
    enum tsl_status status = install(fault, slots, page, near);
    space->counted.zeroed += status == TSL_OK;
    return status;
}

PART enum tsl_status copy(struct short_fault *fault, struct tsl_frame from, tsl_slot *near)
{
    struct tsl_space *space = fault->space;
    if (!can_install(fault, near))
        return TSL_BUSY;
    tsl_vm_copy_frame(space->vm, from, fault->fresh.frame);
    enum tsl_status status = install(fault, &space->layer, fault->page, near);
    space->counted.copied += status == TSL_OK;
    return status;
}

/* A frame that the private layer names. */
PART enum tsl_status private_frame(struct short_fault *fault, tsl_slot slot, tsl_slot *near)
{
    struct tsl_space *space = fault->space;
    struct tsl_vm_page shown = page_of(space->vm, slot);
    bool alone = tsl_vm_has_one_slot(shown.descriptor);
    if (!alone && fault->access & TSL_WRITE)
        return copy(fault, shown.frame, near);
    if (alone) /* it may have come from another page, or from a space that has shared it */
        tsl_vm_set_owner(shown.descriptor, &space->layer, fault->page);
    /* Mostly it is shown already, and counted: then nothing is new but the right. */
    bool is_wider =
        alone && fault->access & TSL_WRITE &&
        tsl_table_widen_page(&space->table, tsl_space_address(fault->page),
                             tsl_frame_address(shown.frame), fault->region->rights | TSL_USER);
    enum tsl_status status = is_wider ? TSL_OK : show(fault, shown, alone);
    space->counted.reused += status == TSL_OK && fault->access & TSL_WRITE;
    return status;
}

PART enum tsl_status private_page(struct short_fault *fault)
{
    struct tsl_space *space = fault->space;
    tsl_slot *near;
    if (!tsl_slots_reach(&space->layer, fault->page, &near))
        return TSL_BUSY;
    tsl_slot slot = near ? tsl_atomic_load_u32(near) : 0;
    if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME)
        return private_frame(fault, slot, near);
    if (slot || fault->region->object)
        return TSL_BUSY;
    if (fault->access & TSL_WRITE)
        return fill(fault, &space->layer, fault->page, near);
    return show(fault, (struct tsl_vm_page){space->vm->zero, NULL}, false);
}

PART enum tsl_status shared_page(struct short_fault *fault)
{
    const struct tsl_region *region = fault->region;
    struct tsl_object *object = region->object;
    size_t page = region->object_page + (fault->page - region->start);
    enum tsl_status status = TSL_BUSY;
    if (object->config.kind != TSL_OBJECT_MEMORY)
        return TSL_BUSY;
    tsl_pin pin = tsl_lock_acquire(&object->lock);
    tsl_slot *near = tsl_slots_near(&object->slots, page);
    tsl_slot slot = near ? tsl_atomic_load_u32(near) : 0;
    if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME)
        status = show(fault, page_of(fault->space->vm, slot), true);
    else if (!slot)
        status = fill(fault, &object->slots, page, near);
    tsl_lock_release(&object->lock, pin);
    return status;
}

/* TSL_BUSY: it is to be looked at in full. Lock held. */
PART enum tsl_status look(struct short_fault *fault)
{
    fault->region = tsl_regions_near(&fault->space->regions, fault->page);
    if (TSL_UNLIKELY(!fault->region))
        fault->region = tsl_regions_find(&fault->space->regions, fault->page);
    if (!fault->region || fault->access & ~fault->region->rights)
        return TSL_BUSY;
    fault->region->is_touched = true;
    return tsl_region_is_private(fault->region) ? private_page(fault) : shared_page(fault);
}

static void put_back(struct tsl_space *self, struct tsl_vm_page page)
{
    tsl_atomic_store_u32(&self->takes_frames, 0); /* the next one will hardly need one */
    tsl_vm_put_frame(self->vm, page.frame);
}

enum tsl_status tsl_space_fault(struct tsl_space *self, tsl_vaddr address, unsigned access,
                                struct tsl_page_request *request)
{
    const struct tsl_table_format *format = self->vm->config.format;
    if (access != TSL_READ && access != TSL_WRITE && access != TSL_EXEC)
        return tsl_refuse(&self->refusals, TSL_INVALID, "space: fault for rights %#x", access);
    if (address < format->user_first || address > format->user_last)
        return TSL_NOT_FOUND;
    struct short_fault fault;
    fault.space = self;
    fault.page = address >> TSL_PAGE_SHIFT;
    fault.access = access;
    fault.fresh.frame.number = 0;
    if (TSL_UNLIKELY(request && request->object))
        return tsl_space_fault_at_length(self, fault.page, access, fault.fresh, request);
    /* Write faults come in rows: if the last one took a frame, so will this one. */
    if (access == TSL_WRITE && tsl_atomic_load_u32(&self->takes_frames) &&
        tsl_vm_new_page(self->vm, false, &fault.fresh) != TSL_OK)
        fault.fresh.frame.number = 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = look(&fault);
    self->counted.faults += status == TSL_OK;
    tsl_lock_release(&self->lock, pin);
    if (TSL_UNLIKELY(status != TSL_OK))
        return tsl_space_fault_at_length(self, fault.page, access, fault.fresh, request);
    if (TSL_UNLIKELY(!tsl_frame_is_none(fault.fresh.frame)))
        put_back(self, fault.fresh);
    return TSL_OK;
}
