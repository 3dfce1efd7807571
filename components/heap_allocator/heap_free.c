/* SPDX-License-Identifier: MIT
 *
 * heap_free.c: freeing, and the one place that decides whether an address is a live block.
 *
 * Owns:    the verdicts on bad addresses and their wording.
 * Needs:   heap_map.c, heap_slab.c.
 * Callers: users of the heap (public functions); heap_realloc.c (tsl_heap_find, tsl_heap_release).
 */
#include "heap_allocator_internal.h"

static enum tsl_status find_in_slab(const struct tsl_heap *self, struct heap_run *run,
                                    size_t offset, struct heap_place *out)
{
    const struct heap_class *pool = &self->classes[run->class_index];
    unsigned index = heap_slab_index(pool, offset);

    out->run = run;
    out->index = index;
    out->block_bytes = pool->block_bytes;
    if (TSL_UNLIKELY(index * pool->block_bytes != offset || index >= pool->slab_blocks))
        return TSL_INVALID;
    if (TSL_UNLIKELY((run->free[index / TSL_WORD_BITS] >> (index % TSL_WORD_BITS) & 1) != 0))
        return TSL_DOUBLE_FREE;
    return TSL_OK;
}

enum tsl_status tsl_heap_find(const struct tsl_heap *self, const void *block,
                              struct heap_place *out)
{
    uintptr_t address = (uintptr_t)block;
    struct heap_run *run = heap_map_at(self, address);

    out->block_bytes = 0;
    if (TSL_UNLIKELY(run == NULL))
        return TSL_FOREIGN;
    if (TSL_UNLIKELY(!tsl_is_aligned(address, TSL_HEAP_ALIGN)))
        return TSL_MISALIGNED;
    if (TSL_UNLIKELY(run == &tsl_heap_returned))
        return TSL_DOUBLE_FREE;
    if (run->class_index != HEAP_LARGE)
        return find_in_slab(self, run, address - run->start, out);
    out->run = run;
    out->index = 0;
    out->block_bytes = heap_run_bytes(run);
    if (address != run->start)
        return TSL_INVALID;
    return run->is_busy ? TSL_BUSY : TSL_OK;
}

static const char *reason_of(enum tsl_status status)
{
    switch (status) {
    case TSL_FOREIGN:
        return "not a block of this heap";
    case TSL_MISALIGNED:
        return "no block starts at such an address";
    case TSL_INVALID:
        return "inside a block, not at its start";
    case TSL_DOUBLE_FREE:
        return "free already";
    default:
        return "a resize is under way";
    }
}

enum tsl_status tsl_heap_refuse_block(struct tsl_heap *self, enum tsl_status status,
                                      const char *verb, const void *block, size_t block_bytes)
{
    if (block_bytes == 0) {
        return tsl_refuse(&self->refusals, status, "heap %p: %s of %p: %s", (void *)self, verb,
                          block, reason_of(status));
    }
    return tsl_refuse(&self->refusals, status, "heap %p: %s of %p: %s, block size %zu",
                      (void *)self, verb, block, reason_of(status), block_bytes);
}

void tsl_heap_release(struct tsl_heap *self, const struct heap_place *place, bool is_kept,
                      struct heap_outgoing *outgoing)
{
    struct heap_run *run = place->run;

    if (TSL_LIKELY(run->class_index != HEAP_LARGE)) {
        tsl_heap_class_give(self, run, place->index, is_kept, outgoing);
        return;
    }
    tsl_list_remove(&run->link);
    heap_count_bytes(self, 0, heap_run_bytes(run));
    self->large_frees++;
    self->large_count--;
    self->large_pages -= run->pages;
    if (is_kept) {
        tsl_heap_map_set(self, run->start, run->pages, &tsl_heap_returned);
        tsl_list_push_front(&self->parked, &run->link);
        self->parked_pages += run->pages;
        return;
    }
    tsl_heap_run_retire(self, run, outgoing);
}

static enum tsl_status free_block(struct tsl_heap *self, void *block, bool is_kept)
{
    struct heap_outgoing outgoing;
    struct heap_place place;

    outgoing.count = 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_find(self, block, &place);
    if (TSL_LIKELY(status == TSL_OK))
        tsl_heap_release(self, &place, is_kept, &outgoing);
    bool is_parking = self->parked_pages > 0 && !is_kept && status == TSL_OK;
    tsl_lock_release(&self->lock, pin);
    if (TSL_UNLIKELY(outgoing.count > 0))
        tsl_heap_source_give_all(self, &outgoing);
    if (TSL_UNLIKELY(is_parking))
        (void)tsl_heap_unpark(self);
    if (TSL_UNLIKELY(status != TSL_OK))
        return tsl_heap_refuse_block(self, status, "free", block, place.block_bytes);
    return TSL_OK;
}

enum tsl_status tsl_heap_free(struct tsl_heap *self, void *block)
{
    if (TSL_UNLIKELY(block == NULL))
        return TSL_OK;
    return free_block(self, block, false);
}

enum tsl_status tsl_heap_free_flags(struct tsl_heap *self, void *block, unsigned flags)
{
    if ((flags & ~(unsigned)TSL_HEAP_NO_WAIT) != 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "heap %p: free of %p with flags %#x",
                          (void *)self, block, flags);
    }
    if (block == NULL)
        return TSL_OK;
    return free_block(self, block, (flags & TSL_HEAP_NO_WAIT) != 0);
}

size_t tsl_heap_usable(struct tsl_heap *self, const void *block)
{
    struct heap_place place;

    if (block == NULL)
        return 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_find(self, block, &place);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_OK)
        return place.block_bytes;
    status = tsl_heap_refuse_block(self, status, "size", block, place.block_bytes);
    (void)status;
    return 0;
}
