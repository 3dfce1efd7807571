/* SPDX-License-Identifier: MIT
 *
 * heap_realloc.c: changing the size of a block: in place where that is cheap, else by moving.
 *
 * Owns:    the busy mark of a large block and the list of blocks of slabs that are copied, which
 *          keep others off them while the lock is open, and HEAP_HELD, which keeps a slab's pages
 *          and sends each free in it the way that looks at that list.
 * Needs:   heap_alloc.c, heap_free.c, heap_source.c.
 * Callers: users of the heap.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

/* What is to be done with a block, decided under the lock. */
struct resize {
    struct heap_run *run;
    struct heap_moving moving; /* listed from plan_slab to move_slab */
    size_t old_bytes;
    size_t align; /* that the block keeps */
    bool is_stricter;
    bool is_done;
};

/* => locked. A large block's pages change from run->pages to `pages`. */
static void large_resize(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
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
    outgoing->start = (void *)tail;
    outgoing->pages = tail_pages;
    large_resize(self, run, pages);
}

/* The pages behind a run, in flight up to now, are its own. Always true. */
static bool large_came(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
    size_t more = pages - run->pages;
    uintptr_t tail = run->start + heap_run_bytes(run);
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    TSL_ASSERT(tsl_heap_map_is_clear(self, tail, more));
    tsl_heap_map_set(self, tail, more, run);
    self->flight_pages -= more;
    if (heap_is_in_window(self, tail))
        self->source_gets++;
    large_resize(self, run, pages);
    tsl_heap_source_came(self);
    tsl_lock_release(&self->lock, pin);
    return true;
}

/* The source puts `pages` - run->pages more behind the run, which is busy; false: it stays as it
 * is. */
static bool large_extend(struct tsl_heap *self, struct heap_run *run, size_t pages)
{
    size_t more = pages - run->pages;
    uintptr_t tail = run->start + heap_run_bytes(run);

    if (TSL_HEAP_ARRAYS && !heap_is_in_window(self, run->start))
        return tsl_heap_array_extend(self, run, more) && large_came(self, run, pages);
    size_t room = (self->source.bytes - (tail - self->source.start)) >> TSL_PAGE_SHIFT;

    if (self->source.remap == NULL || more > room || !tsl_heap_map_prepare(self, tail, more, 0) ||
        !tsl_heap_source_reserve(self, more, 0))
        return false;
    if (!self->source.remap(self->source.context, (void *)run->start, run->pages, pages)) {
        tsl_heap_source_cancel(self, more);
        return false;
    }
    return large_came(self, run, pages);
}

/* => locked. A large block: shrinks at once, else is marked busy. */
static void plan_large(struct tsl_heap *self, struct resize *plan, size_t bytes,
                       struct heap_outgoing *outgoing)
{
    size_t pages = tsl_pages_of(bytes + (bytes == 0));
    bool is_aligned = tsl_is_aligned(plan->run->start, plan->align);

    plan->is_done = tsl_heap_class_for(self, bytes, plan->align) == HEAP_LARGE && is_aligned &&
                    pages <= plan->run->pages;
    if (is_aligned && plan->is_stricter)
        heap_note_align(plan->run, (unsigned)__builtin_ctzl(plan->align));
    if (!plan->is_done)
        plan->run->is_busy = 1;
    else
        plan->run->is_lent = 0; /* its size is a large block's again */
    if (plan->is_done && pages < plan->run->pages)
        large_shrink(self, plan->run, pages, outgoing);
}

/* => locked. A block of a slab: stays in its class, else its slab is held and it is listed. */
static enum tsl_status plan_slab(struct tsl_heap *self, const void *block, struct resize *plan,
                                 size_t bytes)
{
    struct heap_place_of place;

    if (heap_is_moving(self, block))
        return TSL_BUSY;
    /* A stricter alignment than before is the new slab's to remember. */
    plan->is_done = tsl_heap_class_for(self, bytes, plan->align) == plan->run->class_index &&
                    !plan->is_stricter;
    if (plan->is_done)
        return TSL_OK;
    (void)tsl_atomic_add_u32(&plan->run->state, HEAP_HELD);
    /* Held now; but was it still live when it was? */
    enum tsl_status status = tsl_heap_find(self, block, &place);
    if (status == TSL_OK)
        heap_moving_begin(self, &plan->moving, block);
    else
        (void)tsl_atomic_sub_u32(&plan->run->state, HEAP_HELD);
    return status;
}

static enum tsl_status plan_resize(struct tsl_heap *self, const void *block, size_t bytes,
                                   struct resize *plan, struct heap_outgoing *outgoing)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_find(self, block, &place);

    plan->old_bytes = place.block_bytes;
    if (status == TSL_OK) {
        plan->run = place.run;
        size_t kept = heap_align_kept(block, tsl_atomic_load_u8(&place.run->align_shift));
        plan->is_stricter = plan->align > kept && plan->align > TSL_HEAP_ALIGN;
        plan->align = plan->align > kept ? plan->align : kept;
        if (heap_is_slab(place.run))
            status = plan_slab(self, block, plan, bytes);
        else
            plan_large(self, plan, bytes, outgoing);
    }
    tsl_lock_release(&self->lock, pin);
    return status;
}

/* Ends a busy large block, or the mark only. */
static void large_unbusy(struct tsl_heap *self, struct heap_run *run, bool is_freed)
{
    struct heap_outgoing outgoing = {0};
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    run->is_busy = 0;
    if (is_freed)
        tsl_heap_large_release(self, run, false, &outgoing);
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
}

static void *move_large(struct tsl_heap *self, void *block, const struct resize *plan, void *fresh,
                        size_t bytes)
{
    if (fresh != NULL)
        memcpy(fresh, block, bytes < plan->old_bytes ? bytes : plan->old_bytes);
    large_unbusy(self, plan->run, fresh != NULL);
    return fresh;
}

/* Nobody can take the pages away while the slab is held, and who frees the block meanwhile, by
 * mistake, is refused, so that it is nobody else's when it ends here. */
static void *move_slab(struct tsl_heap *self, void *block, struct resize *plan, void *fresh,
                       size_t bytes)
{
    if (fresh != NULL)
        memcpy(fresh, block, bytes < plan->old_bytes ? bytes : plan->old_bytes);
    tsl_heap_moved(self, &plan->moving, fresh != NULL ? block : NULL);
    (void)tsl_atomic_sub_u32(&plan->run->state, HEAP_HELD);
    return fresh;
}

void tsl_heap_stay(struct tsl_heap *self, const void *block, size_t bytes)
{
    size_t pages = tsl_pages_of(bytes + (bytes == 0));
    struct heap_outgoing outgoing = {0};
    struct heap_place_of place;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    /* Unless somebody has freed it by mistake meanwhile. */
    if (tsl_heap_find(self, block, &place) == TSL_OK) {
        if (!heap_is_slab(place.run) && pages < place.run->pages)
            large_shrink(self, place.run, pages, &outgoing);
        place.run->is_lent = 1;
    }
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
}

void tsl_heap_promise(struct tsl_heap *self, const void *block, size_t align)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_cpu_pin();

    if (align > TSL_HEAP_ALIGN && tsl_heap_find(self, block, &place) == TSL_OK)
        heap_note_align(place.run, (unsigned)__builtin_ctzl(align));
    tsl_cpu_unpin(pin);
}

void *tsl_heap_core_realloc(struct tsl_heap *self, size_t align, void *block, size_t bytes)
{
    struct heap_outgoing outgoing = {0};
    struct resize plan = {.align = align};
    enum tsl_status status = plan_resize(self, block, bytes, &plan, &outgoing);
    tsl_heap_source_give_all(self, &outgoing);
    if (status != TSL_OK) {
        status = tsl_heap_refuse_block(self, status, "resize", block, plan.old_bytes);
        (void)status;
        return NULL;
    }
    if (plan.is_done)
        return block;
    bool is_slab = heap_is_slab(plan.run);
    size_t pages = tsl_pages_of(bytes);
    if (!is_slab && pages > plan.run->pages && tsl_is_aligned(plan.run->start, plan.align) &&
        large_extend(self, plan.run, pages)) {
        large_unbusy(self, plan.run, false);
        return block;
    }
    /* A block that only shrinks stays where it is without memory for a smaller one. */
    bool may_stay = bytes <= plan.old_bytes && tsl_is_aligned((uintptr_t)block, plan.align);
    void *fresh = tsl_heap_allocate(self, bytes, plan.align, may_stay ? HEAP_NO_RELIEF : 0);
    if (is_slab)
        (void)move_slab(self, block, &plan, fresh, bytes);
    else
        (void)move_large(self, block, &plan, fresh, bytes);
    if (fresh != NULL)
        return fresh;
    if (!may_stay)
        return tsl_heap_fail(self, bytes);
    tsl_heap_promise(self, block, plan.align);
    tsl_heap_stay(self, block, bytes);
    return block;
}

void *tsl_heap_realloc(struct tsl_heap *self, void *block, size_t bytes)
{
    if (heap_is_guarded(self))
        return tsl_heap_guarded_realloc(self, block, bytes, TSL_HEAP_ALIGN, HEAP_CALLER);
    return block == NULL ? tsl_heap_alloc(self, bytes)
                         : tsl_heap_core_realloc(self, TSL_HEAP_ALIGN, block, bytes);
}

void *tsl_heap_realloc_aligned(struct tsl_heap *self, size_t align, void *block, size_t bytes)
{
    if (block == NULL || !tsl_is_power_of_two(align))
        return tsl_heap_alloc_aligned(self, align, bytes);
    align = align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align;
    if (heap_is_guarded(self))
        return tsl_heap_guarded_realloc(self, block, bytes, align, HEAP_CALLER);
    return tsl_heap_core_realloc(self, align, block, bytes);
}
