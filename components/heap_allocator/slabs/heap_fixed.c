/* SPDX-License-Identifier: MIT
 *
 * heap_fixed.c: a page source over the pages of an array: first fit in a bit map, 1 = free.
 *
 * Owns:    which pages of the array are handed out.
 * Needs:   base. Its lock is never held together with a heap's: no lock is held across a source
 *          call.
 * Callers: heap_create.c (makes it), the heap (through the page source).
 */
#include "../heap_allocator_internal.h"

struct heap_fixed {
    struct tsl_lock lock;
    uintptr_t start;
    size_t pages;
    tsl_word free[];
};

size_t tsl_heap_fixed_bytes(size_t pages)
{
    return sizeof(struct heap_fixed) +
           (pages + HEAP_WORD_BITS - 1) / HEAP_WORD_BITS * sizeof(tsl_word);
}

static void *fixed_get(void *context, size_t pages)
{
    struct heap_fixed *self = context;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t first = tsl_bits_find_set_run(self->free, self->pages, 0, pages, 1);

    if (first != TSL_BITS_NONE)
        tsl_bits_clear_range(self->free, first, pages);
    tsl_lock_release(&self->lock, pin);
    return first == TSL_BITS_NONE ? NULL : (void *)(self->start + (first << TSL_PAGE_SHIFT));
}

static void fixed_put(void *context, void *start, size_t pages)
{
    struct heap_fixed *self = context;
    size_t first = ((uintptr_t)start - self->start) >> TSL_PAGE_SHIFT;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    TSL_ASSERT(first < self->pages && pages <= self->pages - first);
    TSL_ASSERT(tsl_bits_all_clear(self->free, first, pages));
    tsl_bits_set_range(self->free, first, pages);
    tsl_lock_release(&self->lock, pin);
}

static bool fixed_remap(void *context, void *start, size_t pages, size_t new_pages)
{
    struct heap_fixed *self = context;
    size_t tail = (((uintptr_t)start - self->start) >> TSL_PAGE_SHIFT) + pages;
    size_t more = new_pages - pages;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    TSL_ASSERT(more <= self->pages - tail);
    bool fits = tsl_bits_all_set(self->free, tail, more);

    if (fits)
        tsl_bits_clear_range(self->free, tail, more);
    tsl_lock_release(&self->lock, pin);
    return fits;
}

struct tsl_page_source tsl_heap_fixed_init(void *place, uintptr_t start, size_t pages)
{
    struct heap_fixed *self = place;
    size_t words = (pages + HEAP_WORD_BITS - 1) / HEAP_WORD_BITS;

    tsl_lock_init(&self->lock, TSL_RANK_HEAP);
    self->start = start;
    self->pages = pages;
    for (size_t i = 0; i < words; i++)
        self->free[i] = 0;
    tsl_bits_set_range(self->free, 0, pages);
    return (struct tsl_page_source){.get = fixed_get,
                                    .put = fixed_put,
                                    .remap = fixed_remap,
                                    .context = self,
                                    .start = start,
                                    .bytes = pages << TSL_PAGE_SHIFT};
}
