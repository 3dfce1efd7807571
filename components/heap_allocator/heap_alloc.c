/* SPDX-License-Identifier: MIT
 *
 * heap_alloc.c: choice of class, blocks out of slabs, large blocks out of page runs.
 *
 * Owns:    the list of large blocks, the counters of allocations.
 * Needs:   heap_slab.c, heap_source.c.
 * Callers: users of the heap (public functions); heap_realloc.c.
 */
#include <string.h>

#include "heap_allocator_internal.h"

#define ALLOC_FLAGS ((unsigned)(TSL_HEAP_ZERO | TSL_HEAP_NO_WAIT))

static unsigned class_aligned(const struct tsl_heap *self, unsigned class_index, size_t align)
{
    for (; class_index < HEAP_CLASSES; class_index++)
        if (self->classes[class_index].align >= align)
            return class_index;
    return HEAP_LARGE;
}

unsigned tsl_heap_class_for(const struct tsl_heap *self, size_t bytes, size_t align)
{
    if (bytes > self->largest)
        return HEAP_LARGE;
    unsigned class_index = self->class_of[(bytes + TSL_HEAP_ALIGN - 1) / TSL_HEAP_ALIGN];
    if (align <= TSL_HEAP_ALIGN)
        return class_index;
    return class_aligned(self, class_index, align);
}

static unsigned shift_of(size_t align)
{
    return align <= TSL_HEAP_ALIGN ? 0 : (unsigned)__builtin_ctzl(align);
}

static void *class_alloc(struct tsl_heap *self, unsigned class_index, size_t bytes, size_t align,
                         unsigned flags)
{
    struct heap_class *pool = &self->classes[class_index];

    for (;;) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        void *block = tsl_heap_class_take(pool, shift_of(align));
        if (TSL_LIKELY(block != NULL)) {
            pool->allocs++;
            pool->requested_bytes += bytes;
            heap_count_bytes(self, pool->block_bytes, 0);
        }
        tsl_lock_release(&self->lock, pin);
        if (TSL_LIKELY(block != NULL))
            return block;
        /* Another CPU may be faster and use up the new slab: then again. */
        if ((flags & TSL_HEAP_NO_WAIT) != 0 || !tsl_heap_class_grow(self, class_index))
            return NULL;
    }
}

static void *large_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    /* Also keeps the sums below from wrapping. */
    if ((flags & TSL_HEAP_NO_WAIT) != 0 || bytes > self->ceiling_pages << TSL_PAGE_SHIFT)
        return NULL;
    /* A power of two for which the list of classes has no aligned class. */
    if (bytes <= self->largest && bytes > align && tsl_is_power_of_two(bytes))
        align = bytes;
    struct heap_run *run =
        tsl_heap_run_new(self, tsl_pages_of(bytes + (bytes == 0)), tsl_pages_of(align));
    if (run == NULL)
        return NULL;
    run->class_index = (uint8_t)HEAP_LARGE;
    run->align_shift = (uint8_t)shift_of(align);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_heap_run_hook(self, run, &self->large);
    self->large_count++;
    self->large_pages += run->pages;
    self->large_allocs++;
    self->large_requested_bytes += bytes;
    self->large_granted_bytes += heap_run_bytes(run);
    heap_count_bytes(self, heap_run_bytes(run), 0);
    /* From here on another CPU may free a guessed address: the record is not ours any more. */
    void *block = (void *)run->start;
    tsl_lock_release(&self->lock, pin);
    return block;
}

void *tsl_heap_allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    unsigned class_index = tsl_heap_class_for(self, bytes, align);
    size_t granted;
    void *block;

    if (TSL_LIKELY(class_index != HEAP_LARGE)) {
        block = class_alloc(self, class_index, bytes, align, flags);
        granted = self->classes[class_index].block_bytes;
    } else {
        block = large_alloc(self, bytes, align, flags);
        granted = tsl_pages_of(bytes) << TSL_PAGE_SHIFT;
    }
    if ((flags & TSL_HEAP_ZERO) != 0 && block != NULL)
        memset(block, 0, granted);
    return block;
}

void *tsl_heap_fail(struct tsl_heap *self, size_t bytes)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t ceiling = self->ceiling_pages << TSL_PAGE_SHIFT;
    size_t taken = self->taken_pages << TSL_PAGE_SHIFT;
    enum tsl_status status = TSL_NO_MEMORY;

    self->failures++;
    tsl_lock_release(&self->lock, pin);
    if (bytes > ceiling)
        status = TSL_OUT_OF_RANGE;
    status = tsl_refuse(&self->refusals, status,
                        "heap %p: allocation of %zu bytes; %zu of %zu bytes taken", (void *)self,
                        bytes, taken, ceiling);
    (void)status;
    return NULL;
}

void *tsl_heap_alloc_flags(struct tsl_heap *self, size_t bytes, unsigned flags)
{
    if (TSL_UNLIKELY((flags & ~ALLOC_FLAGS) != 0)) {
        enum tsl_status status =
            tsl_refuse(&self->refusals, TSL_INVALID, "heap %p: allocation with unknown flags %#x",
                       (void *)self, flags);
        (void)status;
        return NULL;
    }
    void *block = tsl_heap_allocate(self, bytes, TSL_HEAP_ALIGN, flags);
    return TSL_LIKELY(block != NULL) ? block : tsl_heap_fail(self, bytes);
}

void *tsl_heap_alloc(struct tsl_heap *self, size_t bytes)
{
    void *block = tsl_heap_allocate(self, bytes, TSL_HEAP_ALIGN, 0);
    return TSL_LIKELY(block != NULL) ? block : tsl_heap_fail(self, bytes);
}

void *tsl_heap_alloc_array(struct tsl_heap *self, size_t count, size_t size)
{
    size_t bytes;

    if (!tsl_checked_mul(count, size, &bytes)) {
        enum tsl_status status =
            tsl_refuse(&self->refusals, TSL_OUT_OF_RANGE,
                       "heap %p: array of %zu elements of %zu bytes", (void *)self, count, size);
        (void)status;
        return NULL;
    }
    return tsl_heap_alloc_flags(self, bytes, TSL_HEAP_ZERO);
}

void *tsl_heap_alloc_aligned(struct tsl_heap *self, size_t align, size_t bytes)
{
    if (!tsl_is_power_of_two(align)) {
        enum tsl_status status =
            tsl_refuse(&self->refusals, TSL_MISALIGNED, "heap %p: %zu bytes with alignment %zu",
                       (void *)self, bytes, align);
        (void)status;
        return NULL;
    }
    void *block =
        tsl_heap_allocate(self, bytes, align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align, 0);
    return block != NULL ? block : tsl_heap_fail(self, bytes);
}
