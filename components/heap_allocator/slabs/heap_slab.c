/* SPDX-License-Identifier: MIT
 *
 * heap_slab.c: how a slab begins, and where it goes when it is empty.
 *
 * Owns:    nothing lasting.
 * Needs:   heap_run.c, heap_pool.c, heap_class.c; the guard pages of the layer above.
 * Callers: heap_alloc.c (a class grows), heap_free.c, heap_owner.c, heap_trim.c.
 */
#include "../heap_allocator_internal.h"

static void slab_init(const struct tsl_heap *self, struct heap_run *run, unsigned class_index)
{
    const struct heap_class *class = &self->classes[class_index];

    run->reciprocal = class->reciprocal;
    run->blocks = class->slab_blocks;
    tsl_bits_set_range(run->free, 0, class->slab_blocks);
}

/* The pages of a slab: of objects of size 0 all without access, else perhaps one more behind it. */
static struct heap_run *slab_run_new(struct tsl_heap *self, unsigned class_index, unsigned flags)
{
    const struct heap_class *class = &self->classes[class_index];
    size_t align_pages = tsl_is_power_of_two(class->block_bytes) ? tsl_pages_of(class->align) : 1;
    struct heap_run *run = NULL;

    if (TSL_HEAP_ZERO_FAULTS && class_index == HEAP_ZERO)
        return tsl_heap_run_new_closed(self, 0, class->slab_pages, 1, flags);
    if (HEAP_GUARDED && tsl_heap_has_guard_pages(self) && tsl_heap_has_addresses(self))
        run = tsl_heap_run_new_closed(self, class->slab_pages, 1, align_pages, flags);
    return run != NULL ? run : tsl_heap_run_new(self, class->slab_pages, align_pages, flags);
}

bool tsl_heap_class_grow(struct tsl_heap *self, unsigned class_index, unsigned flags)
{
    const struct heap_class *class = &self->classes[class_index];
    bool is_zero = TSL_HEAP_ZERO_FAULTS && class_index == HEAP_ZERO;
    struct heap_run *run = slab_run_new(self, class_index, flags);
    if (run == NULL)
        return false;
    slab_init(self, run, class_index);
    if (HEAP_GUARDED && !is_zero)
        tsl_heap_guard_slab(self, run->start, class->block_bytes, class->slab_blocks);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_cpu *cpu = heap_cpu_here(self);
    if (!heap_is_owner(cpu))
        cpu = &self->centre;
    run->class_index = (uint8_t)class_index;
    (void)tsl_heap_pool_attach(&cpu->pools[class_index], run);
    tsl_heap_run_hook(self, run);
    tsl_lock_release(&self->lock, pin);
    return true;
}

void tsl_heap_centre_attach(struct tsl_heap *self, struct heap_run *run)
{
    if (tsl_heap_pool_attach(&self->centre.pools[run->class_index], run))
        tsl_atomic_store(&self->has_excess, 1);
}

bool tsl_heap_centre_retire(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run,
                            struct heap_outgoing *outgoing)
{
    if (tsl_atomic_load_u32(&run->state) != 0)
        return false;
    tsl_heap_pool_detach(pool, run);
    tsl_heap_run_retire(self, run, outgoing);
    return true;
}

bool tsl_heap_freed(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run,
                    bool is_kept, struct heap_outgoing *outgoing)
{
    struct heap_pool *centre = &self->centre.pools[run->class_index];

    if (!tsl_heap_pool_came(pool, run))
        return false;
    outgoing->pages = 0;
    if (pool == centre) {
        if (is_kept || !tsl_heap_centre_retire(self, pool, run, outgoing))
            tsl_atomic_store(&self->has_excess, 1);
        return true;
    }
    /* Out of our hands before we wait for the lock, since calls are answered there. */
    tsl_heap_pool_detach(pool, run);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_heap_centre_attach(self, run);
    if (!is_kept)
        (void)tsl_heap_centre_retire(self, centre, run, outgoing);
    tsl_lock_release(&self->lock, pin);
    return true;
}
