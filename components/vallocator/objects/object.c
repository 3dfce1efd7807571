/* SPDX-License-Identifier: MIT
 *
 * object.c: objects and the requests for their pages.
 *
 * Owns:    struct tsl_object.
 * Needs:   vm.c, slots.h.
 * Callers: see object.h; space_fault.c reads and fills the slots.
 */
#include "../spaces/space_internal.h"

#include <tesela/checked.h>

static enum tsl_status check_device(const struct tsl_vm *vm, const struct tsl_object_config *config)
{
    tsl_paddr last;
    if (!tsl_is_aligned_paddr(config->target, TSL_PAGE_BYTES))
        return TSL_MISALIGNED;
    if (config->cache & ~TSL_CACHE_MASK || config->cache > TSL_CACHE_WRITE_COMBINING)
        return TSL_INVALID;
    if (config->maximum & TSL_EXEC)
        return TSL_DENIED;
    unsigned bits = vm->config.features.physical_bits;
    if (bits > vm->config.format->physical_bits)
        bits = vm->config.format->physical_bits;
    if (!tsl_checked_last_paddr(config->target, config->bytes, &last) || last >> bits)
        return TSL_OUT_OF_RANGE;
    return TSL_OK;
}

static enum tsl_status check_memory(const struct tsl_vm *vm, const struct tsl_object_config *config)
{
    tsl_vaddr start = (uintptr_t)config->memory, last;
    if (!vm->config.kernel_table)
        return TSL_UNSUPPORTED;
    if (!tsl_is_aligned(start, TSL_PAGE_BYTES))
        return TSL_MISALIGNED;
    if (start <= vm->config.format->user_last || !tsl_checked_last(start, config->bytes, &last))
        return TSL_OUT_OF_RANGE;
    return TSL_OK;
}

static enum tsl_status check(const struct tsl_vm *vm, const struct tsl_object_config *config)
{
    if (config->bytes == 0 || config->maximum & ~SPACE_RIGHTS ||
        (unsigned)config->kind > TSL_OBJECT_KERNEL)
        return TSL_INVALID;
    if (!tsl_is_aligned(config->bytes, TSL_PAGE_BYTES))
        return TSL_MISALIGNED;
    if (config->kind == TSL_OBJECT_PAGER && !config->pager.get)
        return TSL_INVALID;
    if (config->kind == TSL_OBJECT_KERNEL)
        return check_memory(vm, config);
    return config->kind == TSL_OBJECT_DEVICE ? check_device(vm, config) : TSL_OK;
}

/* How the kernel maps the page of an object over its memory. */
static enum tsl_status look_up(const struct tsl_object *self, size_t page, tsl_paddr *target,
                               unsigned *cache)
{
    struct tsl_mapping entry;
    tsl_vaddr at = (uintptr_t)self->config.memory + (page << TSL_PAGE_SHIFT);
    enum tsl_status status = tsl_table_query(self->vm->config.kernel_table, at, &entry);
    if (status != TSL_OK)
        return TSL_NOT_FOUND;
    *target = entry.target + (at - entry.start);
    *cache = entry.attributes & TSL_CACHE_MASK;
    return TSL_OK;
}

/* The kernel's memory is all there, and programs see it with the kernel's cache type. */
static enum tsl_status take_over(struct tsl_object *self)
{
    enum tsl_status status = TSL_OK;
    tsl_paddr target;
    unsigned cache;
    for (size_t page = 0; status == TSL_OK && page < self->pages; page++) {
        status = look_up(self, page, &target, &cache);
        if (status == TSL_OK && page > 0 && cache != self->config.cache)
            status = TSL_INVALID;
        else if (status == TSL_OK)
            self->config.cache = cache;
    }
    return status;
}

enum tsl_status tsl_object_target(const struct tsl_object *self, size_t page, tsl_paddr *out)
{
    unsigned cache;
    if (self->config.kind == TSL_OBJECT_KERNEL)
        return look_up(self, page, out, &cache);
    *out = self->config.target + ((tsl_paddr)page << TSL_PAGE_SHIFT);
    return TSL_OK;
}

enum tsl_status tsl_object_create(struct tsl_vm *vm, const struct tsl_object_config *config,
                                  struct tsl_object **out)
{
    enum tsl_status status = check(vm, config);
    if (status != TSL_OK)
        return status;
    struct tsl_object *self = tsl_heap_alloc_array(vm->config.heap, 1, sizeof(*self));
    if (!self)
        return TSL_NO_MEMORY;
    self->vm = vm;
    self->config = *config;
    self->pages = config->bytes / TSL_PAGE_BYTES;
    self->references = 1;
    if (!config->maximum)
        self->config.maximum = TSL_READ | TSL_WRITE;
    if (!config->maximum && !tsl_object_is_in_place(self))
        self->config.maximum |= TSL_EXEC;
    if (config->kind == TSL_OBJECT_MEMORY)
        status = tsl_vm_charge(vm, NULL, self->pages, 0);
    else if (config->kind == TSL_OBJECT_KERNEL)
        status = take_over(self);
    if (status != TSL_OK) {
        enum tsl_status freed = tsl_heap_free(vm->config.heap, self);
        TSL_ASSERT(freed == TSL_OK);
        return status;
    }
    tsl_lock_init(&self->lock, TSL_RANK_OBJECT);
    tsl_slots_init(&self->slots, vm->config.heap, vm->stores);
    (void)tsl_atomic_add(&vm->objects, 1);
    *out = self;
    return TSL_OK;
}

void tsl_object_get(struct tsl_object *self)
{
    tsl_word before = tsl_atomic_add(&self->references, 1);
    TSL_ASSERT(before > 0 && before < ~(tsl_word)0);
}

void tsl_object_put(struct tsl_object *self)
{
    struct tsl_vm *vm = self->vm;
    tsl_word before = tsl_atomic_sub(&self->references, 1);
    TSL_ASSERT(before > 0);
    if (before > 1)
        return;
    tsl_slots_destroy(&self->slots);
    if (self->config.kind == TSL_OBJECT_MEMORY)
        tsl_vm_uncharge(vm, NULL, self->pages);
    const struct tsl_object_config config = self->config;
    enum tsl_status status = tsl_heap_free(vm->config.heap, self);
    TSL_ASSERT(status == TSL_OK);
    (void)tsl_atomic_sub(&vm->objects, 1);
    if (config.kind == TSL_OBJECT_KERNEL && config.released)
        config.released(config.released_context);
}

void tsl_object_info(struct tsl_object *self, struct tsl_object_info *out)
{
    size_t page = 0, resident = 0;
    tsl_slot slot;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (; tsl_slots_next(&self->slots, page, self->pages - 1, &page, &slot); page++)
        resident += tsl_slot_type_of(slot) == TSL_SLOT_FRAME;
    tsl_lock_release(&self->lock, pin);
    *out = (struct tsl_object_info){.kind = self->config.kind,
                                    .pages = self->pages,
                                    .resident = resident,
                                    .references = tsl_atomic_load(&self->references)};
}

void tsl_page_request_complete(struct tsl_page_request *self, enum tsl_status status)
{
    void (*wake)(struct tsl_page_request *) = self->wake;
    self->status = status == TSL_SHOULD_WAIT ? TSL_INVALID : status;
    tsl_atomic_store_release_u32(&self->done, 1);
    if (wake)
        wake(self);
}

void tsl_page_request_drop(struct tsl_page_request *self)
{
    struct tsl_object *object = self->object;
    if (!object)
        return;
    if (!tsl_frame_is_none(self->frame))
        tsl_vm_put_frame(object->vm, self->frame);
    self->object = NULL;
    self->frame = (struct tsl_frame){0};
    self->done = 0;
    tsl_object_put(object);
}
