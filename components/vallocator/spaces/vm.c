/* SPDX-License-Identifier: MIT
 *
 * vm.c: what all spaces share.
 *
 * Owns:    struct tsl_vm: the page of zeros, registered stores.
 * Needs:   physical_allocator, heap_allocator, windows.
 * Callers: the kernel (vm.h), object.c and space_*.c (space_internal.h).
 */
#include "space_internal.h"

#include <string.h>

#include <tesela/port.h>

static unsigned frame_flags(const struct tsl_vm *self, bool is_low)
{
    return is_low || !self->config.windows ? TSL_FRAMES_LOW : TSL_FRAMES_HIGH;
}

static void *open_frame(struct tsl_vm *self, enum tsl_window window, struct tsl_frame frame)
{
    if (!self->config.windows)
        return tsl_port_phys_to_virt(tsl_frame_address(frame));
    return tsl_window_open(self->config.windows, window, frame);
}

static void close_frame(struct tsl_vm *self, enum tsl_window window)
{
    if (self->config.windows)
        tsl_window_close(self->config.windows, window);
}

void tsl_vm_clear_frame(struct tsl_vm *self, struct tsl_frame frame)
{
    memset(open_frame(self, TSL_WINDOW_DESTINATION, frame), 0, TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_DESTINATION);
}

void tsl_vm_copy_frame(struct tsl_vm *self, struct tsl_frame from, struct tsl_frame to)
{
    const void *source = open_frame(self, TSL_WINDOW_SOURCE, from);
    memcpy(open_frame(self, TSL_WINDOW_DESTINATION, to), source, TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_DESTINATION);
    close_frame(self, TSL_WINDOW_SOURCE);
}

enum tsl_status tsl_vm_load(struct tsl_vm *self, tsl_slot slot, struct tsl_frame to)
{
    const struct tsl_store *store = &self->stores[tsl_slot_type_of(slot)];
    void *page = open_frame(self, TSL_WINDOW_DESTINATION, to);
    enum tsl_status status = store->load(store->context, slot, page);
    close_frame(self, TSL_WINDOW_DESTINATION);
    return status;
}

struct tsl_frame_descriptor *tsl_vm_descriptor(const struct tsl_vm *self, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(self->config.frames, frame);
    TSL_ASSERT(descriptor != NULL);
    return descriptor;
}

enum tsl_status tsl_vm_new_frame(struct tsl_vm *self, bool is_low, struct tsl_frame *out)
{
    struct tsl_frame frame;
    enum tsl_status status =
        tsl_frames_alloc(self->config.frames, 0, frame_flags(self, is_low), &frame);
    if (status != TSL_OK)
        return status;
    if (frame.number > TSL_SLOT_PAYLOAD_MASK) { /* beyond the 2 TiB that a slot can name */
        status = tsl_frames_free(self->config.frames, frame, 0);
        TSL_ASSERT(status == TSL_OK);
        return TSL_UNSUPPORTED;
    }
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self, frame);
    bool was_free = tsl_descriptor_change(descriptor, TSL_FRAME_FREE, TSL_FRAME_PAGE);
    TSL_ASSERT(was_free && tsl_descriptor_is_idle(descriptor));
    tsl_descriptor_get(descriptor);
    (void)tsl_atomic_add(&self->frames, 1);
    *out = frame;
    return TSL_OK;
}

void tsl_vm_put_frame(struct tsl_vm *self, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self, frame);
    if (!tsl_descriptor_put(descriptor))
        return;
    /* A map count that was full once says nothing any more: the frame is lost rather than trusted. */
    if (tsl_descriptor_maps(descriptor) == TSL_FRAME_COUNT_MAX - 1u)
        return;
    descriptor->as.page.owner = NULL;
    bool was_page = tsl_descriptor_change(descriptor, TSL_FRAME_PAGE, TSL_FRAME_FREE);
    TSL_ASSERT(was_page);
    (void)tsl_atomic_sub(&self->frames, 1);
    enum tsl_status status = tsl_frames_free(self->config.frames, frame, 0);
    TSL_ASSERT(status == TSL_OK);
}

bool tsl_vm_is_alone(const struct tsl_vm *self, struct tsl_frame frame)
{
    const struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self, frame);
    return tsl_descriptor_references(descriptor) == 1u + tsl_descriptor_pins(descriptor);
}

void tsl_vm_set_owner(const struct tsl_vm *self, struct tsl_frame frame, struct tsl_slots *slots,
                      size_t page)
{
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self, frame);
    descriptor->as.page.owner = slots;
    descriptor->as.page.index = (uint32_t)page;
}

/* ---- Frames as a store of their own: slots of type frame. ---- */

static void frame_dup(void *context, tsl_slot slot)
{
    struct tsl_vm *self = context;
    tsl_descriptor_get(tsl_vm_descriptor(self, tsl_vm_frame_of(slot)));
}

static void frame_free(void *context, tsl_slot slot)
{
    tsl_vm_put_frame(context, tsl_vm_frame_of(slot));
}

static enum tsl_status frame_load(void *context, tsl_slot slot, void *page)
{
    struct tsl_vm *self = context;
    memcpy(page, open_frame(self, TSL_WINDOW_SOURCE, tsl_vm_frame_of(slot)), TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_SOURCE);
    return TSL_OK;
}

enum tsl_status tsl_vm_register_store(struct tsl_vm *self, enum tsl_slot_type type,
                                      const struct tsl_store *store)
{
    if ((unsigned)type <= TSL_SLOT_ZERO || (unsigned)type >= TSL_SLOT_TYPES || !store->load ||
        !store->dup || !store->free)
        return TSL_INVALID;
    if (self->stores[type].load)
        return TSL_EXISTS;
    if (tsl_atomic_load(&self->spaces) || tsl_atomic_load(&self->objects))
        return TSL_BUSY;
    self->stores[type] = *store;
    return TSL_OK;
}

/* ---- Beginning and end. ---- */

static void free_vm(struct tsl_vm *self)
{
    enum tsl_status status = tsl_heap_free(self->config.heap, self);
    TSL_ASSERT(status == TSL_OK);
}

enum tsl_status tsl_vm_create(const struct tsl_vm_config *config, struct tsl_vm **out)
{
    if (!config->frames || !config->heap || !config->format)
        return TSL_INVALID;
    const struct tsl_table *kernel = config->kernel_table;
    if (kernel && (!kernel->kernel || kernel->format != config->format))
        return TSL_INVALID;
    struct tsl_vm *self = tsl_heap_alloc_array(config->heap, 1, sizeof(*self));
    if (!self)
        return TSL_NO_MEMORY;
    self->config = *config;
    tsl_vm_init_published(self);
    enum tsl_status status = tsl_vm_set_commit(self, &config->commit);
    if (status == TSL_OK)
        status = tsl_frames_alloc(config->frames, 0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &self->zero);
    if (status != TSL_OK) {
        free_vm(self);
        return status;
    }
    if (!tsl_descriptor_of(config->frames, self->zero)) {
        status = tsl_frames_free(config->frames, self->zero, 0);
        TSL_ASSERT(status == TSL_OK);
        free_vm(self);
        return TSL_UNSUPPORTED;
    }
    self->stores[TSL_SLOT_FRAME] = (struct tsl_store){frame_load, frame_dup, frame_free, self};
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_vm_destroy(struct tsl_vm *self)
{
    if (tsl_atomic_load(&self->spaces) || tsl_atomic_load(&self->objects))
        return TSL_BUSY;
    TSL_ASSERT(self->committed == 0);
    enum tsl_status status = tsl_frames_free(self->config.frames, self->zero, 0);
    TSL_ASSERT(status == TSL_OK);
    free_vm(self);
    return TSL_OK;
}

void tsl_vm_stats(const struct tsl_vm *self, struct tsl_vm_stats *out)
{
    *out = (struct tsl_vm_stats){.spaces = tsl_atomic_load(&self->spaces),
                                 .objects = tsl_atomic_load(&self->objects),
                                 .committed_pages = tsl_atomic_load(&self->committed),
                                 .commit_limit_pages = tsl_atomic_load(&self->commit_limit),
                                 .frames = tsl_atomic_load(&self->frames)};
}
