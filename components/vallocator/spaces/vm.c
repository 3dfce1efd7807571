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

#include <tesela/bits.h>
#include <tesela/port.h>

static unsigned frame_flags(const struct tsl_vm *self, bool is_low)
{
    return is_low || !self->config.windows ? TSL_FRAMES_LOW : TSL_FRAMES_HIGH;
}

/* A frame while it is filled: through the direct map if that reaches it, else through a window. */
struct view {
    void *page;
    bool is_window;
};

static struct view open_frame(struct tsl_vm *self, enum tsl_window window, struct tsl_frame frame)
{
    void *direct = tsl_port_phys_to_virt(tsl_frame_address(frame));
    if (TSL_LIKELY(direct != NULL) || !self->config.windows)
        return (struct view){direct, false};
    return (struct view){tsl_window_open(self->config.windows, window, frame), true};
}

static void close_frame(struct tsl_vm *self, enum tsl_window window, struct view view)
{
    if (view.is_window)
        tsl_window_close(self->config.windows, window);
}

void tsl_vm_clear_frame(struct tsl_vm *self, struct tsl_frame frame)
{
    struct view to = open_frame(self, TSL_WINDOW_DESTINATION, frame);
    memset(to.page, 0, TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_DESTINATION, to);
}

void tsl_vm_copy_frame(struct tsl_vm *self, struct tsl_frame from, struct tsl_frame to)
{
    struct view source = open_frame(self, TSL_WINDOW_SOURCE, from);
    struct view target = open_frame(self, TSL_WINDOW_DESTINATION, to);
    memcpy(target.page, source.page, TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_DESTINATION, target);
    close_frame(self, TSL_WINDOW_SOURCE, source);
}

enum tsl_status tsl_vm_load(struct tsl_vm *self, tsl_slot slot, struct tsl_frame to)
{
    const struct tsl_store *store = &self->stores[tsl_slot_type_of(slot)];
    struct view view = open_frame(self, TSL_WINDOW_DESTINATION, to);
    enum tsl_status status = store->load(store->context, slot, view.page);
    close_frame(self, TSL_WINDOW_DESTINATION, view);
    return status;
}

struct tsl_frame_descriptor *tsl_vm_descriptor(const struct tsl_vm *self, struct tsl_frame frame)
{
    struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(self->config.frames, frame);
    TSL_ASSERT(descriptor != NULL);
    return descriptor;
}

enum tsl_status tsl_vm_new_page(struct tsl_vm *self, bool is_low, struct tsl_vm_page *out)
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
    tsl_descriptor_begin_page(descriptor, 0);
    (void)tsl_atomic_add(&self->frames, 1);
    *out = (struct tsl_vm_page){frame, descriptor};
    return TSL_OK;
}

tsl_word tsl_vm_new_frames(struct tsl_vm *self, unsigned count, struct tsl_slots *owner,
                           size_t page, struct tsl_frame *out_first)
{
    struct tsl_frames *frames = self->config.frames;
    tsl_word taken = tsl_frames_alloc_word(frames, frame_flags(self, false), count, out_first);
    if (taken == 0)
        return 0;
    if (out_first->number + TSL_WORD_BITS > TSL_SLOT_PAYLOAD_MASK) {
        enum tsl_status status = tsl_frames_free_word(frames, *out_first, taken);
        TSL_ASSERT(status == TSL_OK);
        return 0;
    }
    for (tsl_word rest = taken; rest != 0; rest &= rest - 1u) {
        struct tsl_frame frame = {out_first->number + tsl_bits_lowest(rest)};
        struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(self, frame);
        tsl_descriptor_begin_page(descriptor, 1);
        tsl_vm_set_owner(descriptor, owner, page++);
    }
    (void)tsl_atomic_add(&self->frames, tsl_bits_count(taken));
    return taken;
}

enum tsl_status tsl_vm_new_frame(struct tsl_vm *self, bool is_low, struct tsl_frame *out)
{
    struct tsl_vm_page page;
    enum tsl_status status = tsl_vm_new_page(self, is_low, &page);
    if (status == TSL_OK)
        *out = page.frame;
    return status;
}

void tsl_vm_put_frame(struct tsl_vm *self, struct tsl_frame frame)
{
    if (!tsl_descriptor_end_page(tsl_vm_descriptor(self, frame)))
        return;
    (void)tsl_atomic_sub(&self->frames, 1);
    enum tsl_status status = tsl_frames_free(self->config.frames, frame, 0);
    TSL_ASSERT(status == TSL_OK);
}

bool tsl_vm_is_alone(const struct tsl_vm *self, struct tsl_frame frame)
{
    return tsl_vm_has_one_slot(tsl_vm_descriptor(self, frame));
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

/* Frames of one word of the allocator's bitmap go back in one step. */
static void free_word(struct tsl_vm *self, tsl_word first, tsl_word frames)
{
    if (frames == 0)
        return;
    (void)tsl_atomic_sub(&self->frames, tsl_bits_count(frames));
    enum tsl_status status =
        tsl_frames_free_word(self->config.frames, (struct tsl_frame){first}, frames);
    TSL_ASSERT(status == TSL_OK);
}

static void frame_free_some(void *context, const tsl_slot *slot, unsigned count)
{
    struct tsl_vm *self = context;
    tsl_word first = 0, frames = 0;
    for (unsigned i = 0; i < count; i++) {
        if (tsl_slot_type_of(slot[i]) != TSL_SLOT_FRAME)
            continue;
        struct tsl_frame frame = tsl_vm_frame_of(slot[i]);
        if (!tsl_descriptor_end_page(tsl_vm_descriptor(self, frame)))
            continue;
        unsigned bit = (unsigned)frame.number & (TSL_WORD_BITS - 1u);
        if (frame.number - bit != first) {
            free_word(self, first, frames);
            first = frame.number - bit;
            frames = 0;
        }
        frames |= (tsl_word)1 << bit;
    }
    free_word(self, first, frames);
}

static enum tsl_status frame_load(void *context, tsl_slot slot, void *page)
{
    struct tsl_vm *self = context;
    struct view source = open_frame(self, TSL_WINDOW_SOURCE, tsl_vm_frame_of(slot));
    memcpy(page, source.page, TSL_PAGE_BYTES);
    close_frame(self, TSL_WINDOW_SOURCE, source);
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
    self->stores[TSL_SLOT_FRAME] = (struct tsl_store){.load = frame_load,
                                                      .dup = frame_dup,
                                                      .free = frame_free,
                                                      .free_some = frame_free_some,
                                                      .context = self};
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
