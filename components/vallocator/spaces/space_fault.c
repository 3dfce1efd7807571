/* SPDX-License-Identifier: MIT
 *
 * space_fault.c: makes one page accessible: the only way a slot gets a page, and an entry the right
 * to write.
 *
 * Owns:    the decision what an access to a page comes to.
 * Needs:   space.c, object.c, page_table.
 * Callers: tsl_space_fault (space_fault_short.c), for what is not decided there.
 *
 * The fault is looked at under the lock. If it needs a frame, nodes or a pager, the lock is let go,
 * they are got, and it is looked at afresh: what has changed meanwhile then simply counts. A page
 * is filled before anything maps it, and mapped before its slot says so, since only mapping can
 * fail.
 */
#include "../objects/slots_internal.h"
#include "space_internal.h"

#include <tesela/arch.h>

struct fault {
    struct tsl_space *space;
    struct tsl_region *region;
    size_t page;
    unsigned access;          /* what it comes to */
    unsigned right;           /* what the region must allow */
    struct tsl_vm_page fresh; /* in hand, count 1; none: not got yet */
    bool fresh_is_low;        /* phys_to_virt reaches it, as pagers want it */
    bool is_ahead;            /* it was got before anybody asked for it */
    bool wants_frame;
    bool wants_low;
    struct tsl_slot_need need;
    struct tsl_object *pager; /* holds a reference: bring its page `pager_page` into fresh */
    size_t pager_page;
    bool is_brought;  /* fresh holds that page */
    bool wants_pager; /* to be asked; or, if another page was brought, to be let go */
    size_t gained;    /* pages by which a locked stack grew, */
    unsigned brings;  /* and the access for which they are brought */
    struct space_operation op;
};

/* ---- Tables. ---- */

static enum tsl_status show_page(struct fault *fault, struct tsl_vm_page page, bool may_write)
{
    return tsl_space_show(fault->space, fault->region, fault->page, page, may_write);
}

static struct tsl_vm_page page_of(const struct fault *fault, tsl_slot slot)
{
    struct tsl_frame frame = tsl_vm_frame_of(slot);
    return (struct tsl_vm_page){frame, tsl_vm_descriptor(fault->space->vm, frame)};
}

/* ---- Getting things. ---- */

/* Whether frame and nodes for a slot of `slots` are in hand; if not, they are asked for. */
static bool has_fresh(struct fault *fault, const struct tsl_slots *slots, size_t page)
{
    fault->wants_frame =
        tsl_frame_is_none(fault->fresh.frame) || (fault->wants_low && !fault->fresh_is_low);
    if (tsl_slots_near(slots, page))
        return !fault->wants_frame;
    fault->need = (struct tsl_slot_need){0};
    tsl_slots_need(slots, page, &fault->need);
    return !fault->wants_frame && tsl_slot_reserve_has(&fault->op.reserve, &fault->need);
}

/* The fresh frame is the page from now on. Before: filled, has_fresh. */
static enum tsl_status install(struct fault *fault, struct tsl_slots *slots, size_t page,
                               bool may_write)
{
    tsl_vm_set_owner(fault->fresh.descriptor, slots, page);
    enum tsl_status status = show_page(fault, fault->fresh, may_write);
    if (status != TSL_OK)
        return status;
    tsl_slot slot = tsl_vm_slot_of(fault->fresh.frame);
    tsl_slot old = tsl_slots_put(slots, &fault->op.reserve, page, slot);
    if (old)
        tsl_slot_free_contents(slots, old);
    fault->fresh.frame = (struct tsl_frame){0};
    fault->is_brought = false;
    return TSL_OK;
}

/* ---- Private pages. ---- */

static enum tsl_status private_zero(struct fault *fault)
{
    struct tsl_space *space = fault->space;
    if (!(fault->access & TSL_WRITE))
        return show_page(fault, (struct tsl_vm_page){space->vm->zero, NULL}, false);
    if (!has_fresh(fault, &space->layer, fault->page))
        return TSL_BUSY;
    tsl_vm_clear_frame(space->vm, fault->fresh.frame);
    enum tsl_status status = install(fault, &space->layer, fault->page, true);
    space->counted.zeroed += status == TSL_OK;
    return status;
}

/* A private copy of a frame that others see. */
static enum tsl_status private_copy(struct fault *fault, struct tsl_frame from)
{
    struct tsl_space *space = fault->space;
    if (!has_fresh(fault, &space->layer, fault->page))
        return TSL_BUSY;
    tsl_vm_copy_frame(space->vm, from, fault->fresh.frame);
    enum tsl_status status = install(fault, &space->layer, fault->page, true);
    space->counted.copied += status == TSL_OK;
    return status;
}

static enum tsl_status private_slot(struct fault *fault, tsl_slot slot, bool exclusive)
{
    struct tsl_space *space = fault->space;
    if (tsl_slot_type_of(slot) == TSL_SLOT_ZERO)
        return private_zero(fault);
    if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME) {
        struct tsl_vm_page shown = page_of(fault, slot);
        bool alone = exclusive && tsl_vm_has_one_slot(shown.descriptor);
        if (!alone && fault->access & TSL_WRITE)
            return private_copy(fault, shown.frame);
        space->counted.reused += alone && fault->access & TSL_WRITE;
        if (alone) /* it may have come from another page, or from a space that has shared it */
            tsl_vm_set_owner(shown.descriptor, &space->layer, fault->page);
        return show_page(fault, shown, alone);
    }
    if (!has_fresh(fault, &space->layer, fault->page))
        return TSL_BUSY;
    enum tsl_status status = tsl_vm_load(space->vm, slot, fault->fresh.frame);
    return status == TSL_OK ? install(fault, &space->layer, fault->page, true) : status;
}

/* ---- Pages of objects. ---- */

/* The object has no such page yet. Its lock is held. */
static enum tsl_status object_fill(struct fault *fault, struct tsl_object *object, size_t page,
                                   bool may_write)
{
    bool is_memory = object->config.kind == TSL_OBJECT_MEMORY;
    fault->wants_low = !is_memory;
    if (!has_fresh(fault, &object->slots, page))
        return TSL_BUSY;
    if (is_memory) {
        tsl_vm_clear_frame(fault->space->vm, fault->fresh.frame);
    } else if (!fault->is_brought || fault->pager != object || fault->pager_page != page) {
        fault->wants_pager = true;
        if (fault->pager)
            return TSL_BUSY;
        tsl_object_get(object);
        fault->pager = object;
        fault->pager_page = page;
        return TSL_BUSY;
    }
    enum tsl_status status = install(fault, &object->slots, page, may_write);
    if (status != TSL_OK)
        return status;
    fault->space->counted.zeroed += is_memory;
    if (is_memory)
        return TSL_OK;
    tsl_object_put(object); /* what bringing took; not the last one: the region has one too */
    fault->pager = NULL;
    return TSL_OK;
}

/* The object's page comes back from where the slot says it is. */
static enum tsl_status object_load(struct fault *fault, struct tsl_object *object, size_t page,
                                   tsl_slot slot, bool may_write)
{
    enum tsl_status status = TSL_OK;
    if (!has_fresh(fault, &object->slots, page))
        return TSL_BUSY;
    if (tsl_slot_type_of(slot) == TSL_SLOT_ZERO)
        tsl_vm_clear_frame(fault->space->vm, fault->fresh.frame);
    else
        status = tsl_vm_load(fault->space->vm, slot, fault->fresh.frame);
    return status == TSL_OK ? install(fault, &object->slots, page, may_write) : status;
}

static enum tsl_status object_page(struct fault *fault, struct tsl_object *object, size_t page)
{
    bool shared = fault->region->flags & TSL_SPACE_SHARED;
    bool copies = !shared && fault->access & TSL_WRITE;
    bool exclusive;
    tsl_slot slot = tsl_slots_look(&object->slots, page, &exclusive);
    if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME)
        return copies ? private_copy(fault, tsl_vm_frame_of(slot))
                      : show_page(fault, page_of(fault, slot), shared);
    enum tsl_status status = slot ? object_load(fault, object, page, slot, shared)
                                  : object_fill(fault, object, page, shared);
    return status == TSL_OK && copies ? TSL_BUSY : status; /* now there is a page to copy */
}

static enum tsl_status object_fault(struct fault *fault)
{
    struct tsl_region *region = fault->region;
    struct tsl_object *object = region->object;
    if (tsl_object_is_in_place(object))
        return tsl_space_show_in_place(fault->space, region, fault->page);
    size_t page = region->object_page + (fault->page - region->start);
    tsl_pin pin = tsl_lock_acquire(&object->lock);
    enum tsl_status status = object_page(fault, object, page);
    tsl_lock_release(&object->lock, pin);
    return status;
}

/* ---- Stacks. ---- */

static bool has_room(size_t limit, size_t used, size_t more)
{
    return !limit || (used <= limit && more <= limit - used);
}

/* The stack that may grow down to the page; `more` pages are charged for that. The whole gap stays
 * below it, also if the stack is what is left of a longer one and has less now. */
static struct tsl_region *stack_above(struct fault *fault, size_t *more, enum tsl_status *status)
{
    struct tsl_space *space = fault->space;
    struct tsl_region *region = tsl_regions_from(&space->regions, fault->page);
    const struct tsl_space_limits *limits = &space->limits;
    *status = TSL_NOT_FOUND;
    if (!region || !region->most_pages)
        return NULL;
    *more = region->start - fault->page;
    *status = TSL_LIMIT;
    size_t room = region->guard_below + region->gap_below;
    if (room < SPACE_STACK_GAP || *more > room - SPACE_STACK_GAP ||
        region->pages + *more > region->most_pages ||
        !has_room(limits->pages, space->regions.pages, *more) ||
        (region->flags & TSL_SPACE_LOCKED && !has_room(limits->locked, space->locked, *more)))
        return NULL;
    *status = TSL_OK;
    if (region->flags & REGION_CHARGED)
        *status = tsl_vm_charge(space->vm, space, *more, 0);
    return *status == TSL_OK ? region : NULL;
}

/* The stack grows only with its new page: a fault that fails changes nothing. */
static void finish_growth(struct fault *fault, size_t more, bool success)
{
    struct tsl_space *space = fault->space;
    struct tsl_region *region = fault->region;
    if (success) {
        tsl_regions_widen_guard(&space->regions, region, SPACE_STACK_GAP);
        tsl_regions_resize(&space->regions, region, fault->page, tsl_region_end(region));
        fault->gained = region->flags & TSL_SPACE_LOCKED ? more : 0;
        fault->brings = region->rights & TSL_WRITE ? TSL_WRITE : TSL_READ;
        space->locked += fault->gained;
    } else if (region->flags & REGION_CHARGED) {
        tsl_vm_uncharge(space->vm, space, more);
    }
}

/* ---- The fault. ---- */

static enum tsl_status look_into(struct fault *fault)
{
    tsl_slot slot = 0;
    bool exclusive = false;
    if (fault->right & ~fault->region->rights)
        return TSL_DENIED;
    fault->region->is_touched = true;
    if (tsl_region_is_private(fault->region))
        slot = tsl_slots_look(&fault->space->layer, fault->page, &exclusive);
    if (slot)
        return private_slot(fault, slot, exclusive);
    return fault->region->object ? object_fault(fault) : private_zero(fault);
}

/* TSL_BUSY: something has to be got first. Lock held. */
static enum tsl_status look(struct fault *fault)
{
    enum tsl_status status = TSL_OK;
    size_t more = 0;
    fault->need = (struct tsl_slot_need){0};
    fault->wants_frame = false;
    fault->wants_low = false;
    fault->wants_pager = false;
    fault->region = tsl_regions_find(&fault->space->regions, fault->page);
    if (!fault->region)
        fault->region = stack_above(fault, &more, &status);
    if (status != TSL_OK)
        return status;
    status = look_into(fault);
    if (more)
        finish_growth(fault, more, status == TSL_OK);
    return status;
}

/* The pager fills the fresh frame, now or, if there is a request, later. */
static enum tsl_status bring(struct fault *fault, struct tsl_page_request *request)
{
    const struct tsl_pager *pager = &fault->pager->config.pager;
    if (request) {
        request->object = fault->pager;
        request->page = fault->pager_page;
        request->frame = fault->fresh.frame;
        request->done = 0;
    }
    enum tsl_status status =
        pager->get(pager->context, fault->pager_page, fault->fresh.frame, request);
    if (status == TSL_SHOULD_WAIT && request) {
        fault->fresh.frame = (struct tsl_frame){0}; /* frame and reference are the request's now */
        fault->pager = NULL;
        return status;
    }
    if (request) {
        request->object = NULL;
        request->frame = (struct tsl_frame){0};
    }
    fault->is_brought = status == TSL_OK;
    return status;
}

/* Takes over the page of a request that is done. */
static enum tsl_status resume(struct fault *fault, struct tsl_page_request *request)
{
    if (!request || !request->object)
        return TSL_OK;
    if (!tsl_atomic_load_acquire_u32(&request->done))
        return TSL_SHOULD_WAIT;
    enum tsl_status status = request->status;
    if (status != TSL_OK) {
        tsl_page_request_drop(request);
        return status;
    }
    fault->pager = request->object;
    fault->pager_page = request->page;
    fault->fresh.frame = request->frame;
    fault->fresh.descriptor = tsl_vm_descriptor(fault->space->vm, request->frame);
    fault->fresh_is_low = true;
    fault->is_brought = true;
    request->object = NULL;
    request->frame = (struct tsl_frame){0};
    request->done = 0;
    return TSL_OK;
}

static void drop_pager(struct fault *fault)
{
    if (fault->pager)
        tsl_object_put(fault->pager);
    fault->pager = NULL;
    fault->is_brought = false;
}

static void drop_frame(struct fault *fault)
{
    if (tsl_frame_is_none(fault->fresh.frame))
        return;
    tsl_vm_put_frame(fault->space->vm, fault->fresh.frame);
    fault->fresh.frame = (struct tsl_frame){0};
    fault->is_brought = false;
}

/* What look() asked for. No lock held. */
static enum tsl_status get_what_is_needed(struct fault *fault, struct tsl_page_request *request)
{
    struct tsl_vm *vm = fault->space->vm;
    enum tsl_status status =
        tsl_slot_reserve_fill(&fault->op.reserve, vm->config.heap, &fault->need);
    if (status == TSL_OK && fault->wants_frame) {
        drop_frame(fault);
        fault->fresh_is_low = fault->wants_low;
        return tsl_vm_new_page(vm, fault->wants_low, &fault->fresh);
    }
    if (status != TSL_OK || !fault->wants_pager)
        return status;
    if (fault->is_brought) {
        drop_pager(fault); /* another page is wanted by now */
        return TSL_OK;
    }
    return bring(fault, request);
}

/* Lock held, behind look(). */
static void learn(struct fault *fault, enum tsl_status status)
{
    if (status == TSL_BUSY && fault->wants_frame)
        tsl_atomic_store_u32(&fault->space->takes_frames, 1);
    else if (fault->is_ahead && !tsl_frame_is_none(fault->fresh.frame))
        tsl_atomic_store_u32(&fault->space->takes_frames, 0);
}

/* A frame that nobody had asked for may be the one that a table lacks: without it once more. */
static bool give_way(struct fault *fault, enum tsl_status status)
{
    if (status != TSL_NO_MEMORY || !fault->is_ahead)
        return false;
    fault->is_ahead = false;
    drop_frame(fault);
    return true;
}

static enum tsl_status bring_page(struct fault *fault, struct tsl_page_request *request)
{
    struct tsl_space *space = fault->space;
    for (;;) {
        tsl_space_lock(&fault->op);
        enum tsl_status status = look(fault);
        space->counted.faults += status == TSL_OK;
        learn(fault, status);
        tsl_space_unlock(&fault->op);
        if (give_way(fault, status))
            continue;
        if (status != TSL_BUSY)
            return status;
        tsl_arch_relax(); /* nothing to get: the page is on its way out, on another CPU */
        status = get_what_is_needed(fault, request);
        if (status != TSL_OK)
            return status;
    }
}

/* A locked stack has grown: its pages come at once, for writing, as far as there is memory. */
static void bring_gained(struct fault *fault)
{
    size_t end = fault->page + fault->gained;
    fault->page += fault->access == fault->brings; /* that one is there */
    fault->access = fault->right = fault->brings;
    for (; fault->page < end; fault->page++)
        if (bring_page(fault, NULL) != TSL_OK)
            return;
}

enum tsl_status tsl_space_fault_at_length(struct tsl_space *self, size_t page, unsigned access,
                                          struct tsl_vm_page ahead,
                                          struct tsl_page_request *request)
{
    bool own = access == SPACE_OWN;
    struct fault fault = {.space = self,
                          .page = page,
                          .access = own ? TSL_WRITE : access,
                          .right = own ? TSL_READ : access,
                          .fresh = ahead};
    fault.op.space = self;
    fault.is_ahead = !tsl_frame_is_none(ahead.frame);
    enum tsl_status status = resume(&fault, request);
    if (status == TSL_OK)
        status = bring_page(&fault, request);
    if (fault.gained > 0)
        bring_gained(&fault);
    drop_pager(&fault);
    drop_frame(&fault);
    tsl_space_end(&fault.op);
    return status;
}
