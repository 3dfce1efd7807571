/* SPDX-License-Identifier: MIT
 *
 * space_pin.c: keeps a page where it is while a device or a copy works on it.
 *
 * Owns:    tsl_space_pin, tsl_space_unpin; what a copy of a space does about pinned pages.
 * Needs:   space_fault.c, frame descriptors.
 * Callers: the kernel; space_copy.c.
 *
 * A pin holds one reference to the frame, so the frame outlives its region. Whoever pinned a page
 * must go on seeing what the program writes. So a page of a private region that may ever be written
 * is brought as if it were: it is this space's alone then, in a frame that no other slot names, and
 * that stays so, since a copy of the space gets a copy of such a page at once. A page is written in
 * place if its references are one and its pins: all of these are pins of the space that writes.
 * Each space knows which frames it has pinned, so that no other one can undo that.
 */
#include "space_internal.h"

/* Whether a write could go to another frame than the one that is pinned. */
static bool may_diverge(const struct tsl_region *region)
{
    return tsl_region_is_private(region) && region->maximum & TSL_WRITE;
}

/* Whether the frame is the page's, and this space's alone; it knows so. Lock held. */
static bool is_own(struct tsl_space *self, size_t page, struct tsl_frame frame)
{
    if (tsl_slots_get(&self->layer, page) != tsl_vm_slot_of(frame) ||
        !tsl_slots_is_exclusive(&self->layer, page) || !tsl_vm_is_alone(self->vm, frame))
        return false;
    tsl_vm_set_owner(tsl_vm_descriptor(self->vm, frame), &self->layer, page);
    return true;
}

/* The frame that the page shows, if it is one that may be pinned for this access. Lock held. */
static bool frame_of_page(struct tsl_space *self, size_t page, unsigned access,
                          struct tsl_frame *out)
{
    struct tsl_mapping entry;
    const struct tsl_region *region = tsl_regions_find(&self->regions, page);
    if (!region || access & ~region->rights ||
        tsl_table_query(&self->table, tsl_space_address(page), &entry) != TSL_OK)
        return false;
    struct tsl_frame frame = tsl_frame_of(entry.target);
    if (may_diverge(region) ? !is_own(self, page, frame) : access & ~(entry.attributes | TSL_READ))
        return false;
    *out = frame;
    return true;
}

/* ---- Which frames this space has pinned, and how often. ---- */

static struct space_pinned *pinned_of(const struct tsl_tree_node *node)
{
    return node ? TSL_CONTAINER_OF(node, struct space_pinned, node) : NULL;
}

static const void *key_of(const struct tsl_tree_node *node)
{
    return &pinned_of(node)->frame;
}

static int compare(const void *key, const struct tsl_tree_node *node)
{
    tsl_word frame = *(const tsl_word *)key, other = pinned_of(node)->frame;
    return frame < other ? -1 : frame > other;
}

static const struct tsl_tree_ops by_frame = {.key = key_of, .compare = compare};

void tsl_space_init_pins(struct tsl_space *self)
{
    tsl_tree_init(&self->pinned, &by_frame);
}

static struct space_pinned *find_pinned(const struct tsl_space *self, struct tsl_frame frame)
{
    return pinned_of(tsl_tree_find(&self->pinned, &frame.number));
}

/* One pin more. *spare: taken if the frame had none. Lock held. */
static void count_pin(struct tsl_space *self, struct tsl_frame frame, struct space_pinned **spare)
{
    struct space_pinned *pinned = find_pinned(self, frame);
    if (!pinned) {
        pinned = *spare;
        *spare = NULL;
        *pinned = (struct space_pinned){.frame = frame.number};
        enum tsl_status status = tsl_tree_insert(&self->pinned, &pinned->node);
        TSL_ASSERT(status == TSL_OK);
    }
    pinned->count++;
    self->pins++;
}

/* One less; what is left over is to be freed without the lock. Lock held. */
static struct space_pinned *count_unpin(struct tsl_space *self, struct space_pinned *pinned)
{
    self->pins--;
    if (--pinned->count > 0)
        return NULL;
    tsl_tree_remove(&self->pinned, &pinned->node);
    return pinned;
}

static void free_pinned(struct tsl_space *self, struct space_pinned *pinned)
{
    enum tsl_status status = tsl_heap_free(self->vm->config.heap, pinned);
    TSL_ASSERT(status == TSL_OK);
}

/* ---- Pins. ---- */

static enum tsl_status pin_frame(struct tsl_space *self, struct tsl_frame frame,
                                 struct space_pinned **spare)
{
    if (frame.number == self->vm->zero.number)
        return TSL_OK; /* it never goes away and never changes */
    struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(self->vm->config.frames, frame);
    if (!descriptor || tsl_descriptor_state(descriptor) != TSL_FRAME_PAGE)
        return TSL_UNSUPPORTED; /* a device's memory: nobody moves it */
    if (tsl_descriptor_pins(descriptor) >= SPACE_MOST_PINS)
        return TSL_LIMIT;
    tsl_descriptor_get(descriptor);
    if (!tsl_descriptor_pin(descriptor)) {
        tsl_vm_put_frame(self->vm, frame);
        return TSL_BUSY;
    }
    count_pin(self, frame, spare);
    return TSL_OK;
}

/* What the page has to be brought for. */
static enum tsl_status access_to_bring(struct tsl_space *self, size_t page, unsigned access,
                                       unsigned *brings)
{
    enum tsl_status status = TSL_OK;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct tsl_region *region = tsl_regions_from(&self->regions, page);
    *brings = access;
    if (!region || (region->start > page && !region->most_pages)) /* a stack may grow */
        status = TSL_NOT_FOUND;
    else if (access & ~region->rights)
        status = TSL_DENIED;
    else if (region->object && tsl_object_is_in_place(region->object))
        status = TSL_UNSUPPORTED; /* somebody else's memory: he moves it or not */
    else if (may_diverge(region))
        *brings = region->rights & TSL_WRITE ? TSL_WRITE : SPACE_OWN;
    tsl_lock_release(&self->lock, pin);
    return status;
}

static enum tsl_status bring(struct tsl_space *self, tsl_vaddr address, unsigned access,
                             struct tsl_page_request *request)
{
    const struct tsl_vm_page none = {.descriptor = NULL};
    unsigned brings;
    for (;;) {
        enum tsl_status status = access_to_bring(self, address >> TSL_PAGE_SHIFT, access, &brings);
        if (status != TSL_OK)
            return status;
        if (brings == SPACE_OWN)
            status =
                tsl_space_fault_at_length(self, address >> TSL_PAGE_SHIFT, brings, none, request);
        else
            status = tsl_space_fault(self, address, brings, request);
        /* What the program itself asked for may still be allowed, if somebody else took rights. */
        if (status != TSL_DENIED || brings == access)
            return status;
    }
}

/* Without memory the page of a request is given up, if it has come. */
static enum tsl_status give_up(struct tsl_page_request *request)
{
    if (request && request->object && !tsl_atomic_load_acquire_u32(&request->done))
        return TSL_SHOULD_WAIT;
    if (request)
        tsl_page_request_drop(request);
    return TSL_NO_MEMORY;
}

static enum tsl_status pin_page(struct tsl_space *self, tsl_vaddr address, unsigned access,
                                struct tsl_page_request *request, struct space_pinned **spare,
                                struct tsl_frame *out)
{
    for (;;) {
        struct tsl_frame frame;
        enum tsl_status status = bring(self, address, access, request);
        if (status != TSL_OK)
            return status;
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        bool is_there = frame_of_page(self, address >> TSL_PAGE_SHIFT, access, &frame);
        if (is_there)
            status = pin_frame(self, frame, spare);
        tsl_lock_release(&self->lock, pin);
        if (is_there && status == TSL_OK)
            *out = frame;
        if (is_there)
            return status;
    }
}

enum tsl_status tsl_space_pin(struct tsl_space *self, tsl_vaddr address, unsigned access,
                              struct tsl_page_request *request, struct tsl_frame *out)
{
    if (access != TSL_READ && access != TSL_WRITE)
        return tsl_refuse(&self->refusals, TSL_INVALID, "space: pin for rights %#x", access);
    struct space_pinned *spare = tsl_heap_alloc(self->vm->config.heap, sizeof(*spare));
    if (!spare)
        return give_up(request);
    enum tsl_status status = pin_page(self, address, access, request, &spare, out);
    if (spare)
        free_pinned(self, spare);
    return status;
}

enum tsl_status tsl_space_unpin(struct tsl_space *self, struct tsl_frame frame)
{
    struct tsl_vm *vm = self->vm;
    if (frame.number == vm->zero.number)
        return TSL_OK;
    struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(vm->config.frames, frame);
    struct space_pinned *dead = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct space_pinned *pinned = find_pinned(self, frame);
    if (pinned) {
        dead = count_unpin(self, pinned);
        tsl_descriptor_unpin(descriptor);
        tsl_vm_put_frame(vm, frame);
    }
    tsl_lock_release(&self->lock, pin);
    if (dead)
        free_pinned(self, dead);
    if (pinned)
        return TSL_OK;
    bool is_page = descriptor && tsl_descriptor_state(descriptor) == TSL_FRAME_PAGE;
    return tsl_refuse(&self->refusals, is_page ? TSL_DOUBLE_FREE : TSL_FOREIGN,
                      "space: unpin of frame %#zx", (size_t)frame.number);
}

/* ---- Copies. ---- */

/* The next private page from *page on whose frame this space has pinned. Lock held. */
static bool next_pinned(struct tsl_space *self, size_t *page, struct tsl_frame *out)
{
    tsl_slot slot;
    for (; tsl_slots_next(&self->layer, *page, self->regions.end, page, &slot); (*page)++) {
        if (tsl_slot_type_of(slot) != TSL_SLOT_FRAME)
            continue;
        *out = tsl_vm_frame_of(slot);
        if (find_pinned(self, *out))
            return true;
    }
    return false;
}

size_t tsl_space_count_pinned(struct tsl_space *self)
{
    size_t count = 0;
    struct tsl_frame frame;
    for (size_t page = 0; self->pins > 0 && next_pinned(self, &page, &frame); page++)
        count++;
    return count;
}

void tsl_space_copy_pinned(struct space_operation *op, struct tsl_space *copy,
                           struct tsl_frame *fresh)
{
    struct tsl_space *self = op->space;
    struct tsl_frame frame;
    for (size_t page = 0; self->pins > 0 && next_pinned(self, &page, &frame); page++, fresh++) {
        tsl_vm_copy_frame(self->vm, frame, *fresh);
        tsl_vm_set_owner(tsl_vm_descriptor(self->vm, *fresh), &copy->layer, page);
        tsl_slot old = tsl_slots_set(&copy->layer, &op->reserve, page, tsl_vm_slot_of(*fresh));
        TSL_ASSERT(old == tsl_vm_slot_of(frame));
        tsl_vm_put_frame(self->vm, frame);
        *fresh = (struct tsl_frame){0};
    }
}
