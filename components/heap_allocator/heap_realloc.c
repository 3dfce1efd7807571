/* SPDX-License-Identifier: MIT
 *
 * heap_realloc.c: changing the size of a block: in place where that is cheap, else by moving.
 *
 * Owns:    the busy mark of a large block, which keeps others off it while the lock is open.
 * Needs:   heap_alloc.c, heap_free.c, heap_source.c.
 * Callers: users of the heap (tsl_heap_realloc).
 */
#include <string.h>

#include "heap_allocator_internal.h"

/* => locked. A large block's pages change from run->pages to `pages`. */
static void large_resize(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
    heap_count_bytes(self, pages << TSL_PAGE_SHIFT, heap_run_bytes(run));
    self->large_pages += pages - run->pages;
    run->pages = (uint32_t)pages;
}

/* => locked. Cuts the pages behind the first `pages` off. */
static void large_shrink(struct tsl_heap *self, struct heap_run *run, size_t pages,
                         struct heap_outgoing *outgoing)
{
    uintptr_t tail = run->start + (pages << TSL_PAGE_SHIFT);
    size_t tail_pages = run->pages - pages;

    tsl_heap_map_set(self, tail, tail_pages, &tsl_heap_returned);
    self->flight_pages += tail_pages;
    outgoing->run[0].start = (void *)tail;
    outgoing->run[0].pages = tail_pages;
    outgoing->count = 1;
    large_resize(self, run, pages);
}

/* The source puts `pages` - run->pages more behind the run; false: it stays as it is. The run is
 * marked busy, so that it stays ours while the lock is open. */
static bool large_extend(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
    size_t more = pages - run->pages;
    uintptr_t tail = run->start + heap_run_bytes(run);
    size_t room = (self->source.bytes - (tail - self->source.start)) >> TSL_PAGE_SHIFT;

    if (more > room || !tsl_heap_map_prepare(self, tail, more) ||
        !tsl_heap_source_reserve(self, more))
        return false;
    if (!self->source.remap(self->source.context, (void *)run->start, run->pages, pages)) {
        tsl_heap_source_cancel(self, more);
        return false;
    }
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    TSL_ASSERT(tsl_heap_map_is_clear(self, tail, more));
    tsl_heap_map_set(self, tail, more, run);
    self->flight_pages -= more;
    self->source_gets++;
    if (self->taken_pages > self->peak_taken_pages)
        self->peak_taken_pages = self->taken_pages;
    large_resize(self, run, pages);
    tsl_lock_release(&self->lock, pin);
    return true;
}

static bool extend_busy(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
    bool is_extended = large_extend(self, run, pages);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    run->is_busy = 0;
    tsl_lock_release(&self->lock, pin);
    return is_extended;
}

/* A new block, the contents, the end of the old one. A block that only shrinks stays where it is
 * when there is no memory for a smaller one. */
static void *move(struct tsl_heap *self, void *block, size_t old_bytes, size_t bytes, size_t align)
{
    void *fresh = tsl_heap_allocate(self, bytes, align, 0);
    if (fresh == NULL)
        return bytes <= old_bytes ? block : tsl_heap_fail(self, bytes);
    memcpy(fresh, block, bytes < old_bytes ? bytes : old_bytes);
    /* Refused only if somebody else freed the block meanwhile: that is logged, and the contents
     * were copied from memory that was still the heap's. */
    enum tsl_status status = tsl_heap_free(self, block);
    (void)status;
    return fresh;
}

void *tsl_heap_realloc(struct tsl_heap *self, void *block, size_t bytes)
{
    struct heap_outgoing outgoing = {0};
    struct heap_place place;
    bool is_done = false, is_extending = false;
    size_t align = TSL_HEAP_ALIGN, pages = tsl_pages_of(bytes);

    if (block == NULL)
        return tsl_heap_alloc(self, bytes);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_find(self, block, &place);
    if (status == TSL_OK) {
        struct heap_run *run = place.run;
        if (run->align_shift != 0)
            align = (size_t)1 << run->align_shift;
        unsigned class_index = tsl_heap_class_for(self, bytes, align);
        is_done = class_index == run->class_index;
        if (is_done && class_index == HEAP_LARGE) {
            pages += pages == 0;
            is_done = pages <= run->pages;
            if (pages < run->pages)
                large_shrink(self, run, pages, &outgoing);
            is_extending = !is_done && self->source.remap != NULL;
            run->is_busy = is_extending;
        }
    }
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
    if (status != TSL_OK) {
        status = tsl_heap_refuse_block(self, status, "resize", block, place.block_bytes);
        (void)status;
        return NULL;
    }
    if (is_done || (is_extending && extend_busy(self, place.run, pages)))
        return block;
    return move(self, block, place.block_bytes, bytes, align);
}
