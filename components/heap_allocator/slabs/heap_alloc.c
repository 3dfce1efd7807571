/* SPDX-License-Identifier: MIT
 *
 * heap_alloc.c: choice of class, blocks out of slabs, large blocks out of page runs.
 *
 * Owns:    the list of large blocks, the counters of allocations.
 * Needs:   heap_pool.c, heap_slab.c, heap_owner.c, heap_source.c.
 * Callers: users of the heap (public functions); heap_realloc.c.
 *
 * The short way: the size gives the pool's offset, this CPU and that the pool, which knows what was
 * freed last, or has a block at hand and chooses another one; pinned, without a lock or an atomic
 * operation. Everything else is the long way.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

/* On x86-32 what the shortest way seldom needs is a function of its own, and computes again what it
 * needs itself: else each allocation would save registers for it. */
#define HAS_FEW_REGISTERS (sizeof(void *) == 4)

#define ALLOC_FLAGS ((unsigned)(TSL_HEAP_ZERO | TSL_HEAP_NO_WAIT | TSL_HEAP_EMERGENCY))

static unsigned class_aligned(const struct tsl_heap *self, unsigned class_index, size_t align)
{
    /* An aligned object of size 0 is an ordinary block. */
    for (class_index = TSL_HEAP_ZERO_FAULTS && class_index == HEAP_ZERO ? 0 : class_index;
         class_index < HEAP_CLASSES; class_index++)
        if (self->classes[class_index].align >= align)
            return class_index;
    return HEAP_LARGE;
}

unsigned tsl_heap_class_for(const struct tsl_heap *self, size_t bytes, size_t align)
{
    if (bytes > HEAP_CLASS_LAST)
        return HEAP_LARGE;
    size_t offset = self->pool_of[(bytes + TSL_HEAP_ALIGN - 1) / TSL_HEAP_ALIGN];
    unsigned class_index = (unsigned)(offset / sizeof(struct heap_pool));

    if (class_index == HEAP_POOLS)
        return HEAP_LARGE;
    return align <= TSL_HEAP_ALIGN ? class_index : class_aligned(self, class_index, align);
}

static unsigned shift_of(size_t align)
{
    return align <= TSL_HEAP_ALIGN ? 0 : (unsigned)__builtin_ctzl(align);
}

/* => owned. A block of one of the owner's pools. Its slab remembers the alignment, if any. */
static void *pool_alloc(struct heap_cpu *cpu, struct heap_pool *pool, size_t bytes,
                        unsigned align_shift)
{
    heap_forget_last(cpu);
    void *block = tsl_heap_pool_take_slowly(pool, align_shift);

    if (block != NULL)
        pool->requested_bytes += bytes;
    return block;
}

/* => pinned on the owner, whose pool is used up: merges what others freed, then takes a slab from
 * the centre. */
static void *owner_alloc(struct tsl_heap *self, struct heap_cpu *cpu, unsigned class_index,
                         size_t bytes, unsigned align_shift)
{
    struct heap_pool *pool = &cpu->pools[class_index];
    struct heap_pool *centre = &self->centre.pools[class_index];

    if (tsl_atomic_load(&cpu->stack) != 0) {
        tsl_heap_cpu_receive(self, cpu);
        void *block = pool_alloc(cpu, pool, bytes, align_shift);
        if (block != NULL)
            return block;
    }
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_heap_centre_receive(self);
    struct tsl_list *link = tsl_list_first(&centre->slabs);
    struct heap_run *run = link != NULL ? heap_run_of(link) : centre->current;
    if (run != NULL) {
        tsl_heap_pool_detach(centre, run);
        (void)tsl_heap_pool_attach(pool, run);
    }
    tsl_lock_release(&self->lock, pin);
    return pool_alloc(cpu, pool, bytes, align_shift);
}

static void *centre_alloc(struct tsl_heap *self, unsigned class_index, size_t bytes,
                          unsigned align_shift)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (HEAP_HAS_OWNERS)
        tsl_heap_centre_receive(self);
    void *block = pool_alloc(&self->centre, &self->centre.pools[class_index], bytes, align_shift);
    tsl_lock_release(&self->lock, pin);
    return block;
}

/* A block out of slabs that the heap has. */
static void *class_try(struct tsl_heap *self, unsigned class_index, size_t bytes,
                       unsigned align_shift)
{
    tsl_pin pin = tsl_cpu_pin();
    struct heap_cpu *cpu = heap_cpu_here(self);
    void *block = NULL;

    if (heap_is_owner(cpu)) {
        block = pool_alloc(cpu, &cpu->pools[class_index], bytes, align_shift);
        if (block == NULL)
            block = owner_alloc(self, cpu, class_index, bytes, align_shift);
    } else {
        block = centre_alloc(self, class_index, bytes, align_shift);
    }
    tsl_cpu_unpin(pin);
    return block;
}

/* The block is one of a greater class than it would need to be. The slab remembers that, for a free
 * that tells the size. */
static void lend(struct tsl_heap *self, const void *block)
{
    /* Locked, since two CPUs may have got blocks of one slab. */
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    heap_map_at(self, (uintptr_t)block)->is_lent = 1;
    tsl_lock_release(&self->lock, pin);
}

/* No slab can be had any more: a greater class may have a free block, and the caller gets more than
 * it asked for. */
static void *larger_try(struct tsl_heap *self, unsigned class_index, size_t bytes, size_t align)
{
    size_t natural = bytes > align && tsl_is_power_of_two(bytes) ? bytes : align;

    for (; class_index < HEAP_CLASSES; class_index++) {
        if (self->classes[class_index].align < natural)
            continue;
        void *block = class_try(self, class_index, bytes, shift_of(align));
        if (block == NULL)
            continue;
        lend(self, block);
        return block;
    }
    return NULL;
}

static void *class_alloc(struct tsl_heap *self, unsigned class_index, size_t bytes, size_t align,
                         unsigned flags)
{
    unsigned align_shift = shift_of(align);
    bool is_last = false;

    if (HEAP_HAS_OWNERS && (flags & TSL_HEAP_NO_WAIT) == 0)
        tsl_heap_cpu_start(self);
    for (;;) {
        void *block = class_try(self, class_index, bytes, align_shift);
        if (block != NULL)
            return block;
        if (is_last)
            return larger_try(self, class_index + 1, bytes, align);
        if ((flags & TSL_HEAP_NO_WAIT) != 0) {
            tsl_heap_recall(self);
            is_last = true;
        } else {
            /* Without a new slab there may be room in those that a trim brought to the centre.
             * With one, another CPU may be faster and use it up: then again. */
            is_last = !tsl_heap_class_grow(self, class_index, flags);
        }
    }
}

void *tsl_heap_allocate_large(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    /* Also keeps the sums below from wrapping. */
    if ((flags & TSL_HEAP_NO_WAIT) != 0 || bytes > heap_ceiling_pages(self) << TSL_PAGE_SHIFT)
        return NULL;
    /* A power of two for which the list of classes has no aligned class. */
    if (bytes <= HEAP_CLASS_LAST && bytes > align && tsl_is_power_of_two(bytes))
        align = bytes;
    /* Its last page loses its access. */
    if (TSL_HEAP_ARRAYS && HEAP_GUARDED && tsl_heap_has_guard_pages(self))
        flags |= HEAP_SOURCE_ONLY;
    struct heap_run *run =
        tsl_heap_run_new(self, tsl_pages_of(bytes + (bytes == 0)), tsl_pages_of(align), flags);
    if (run == NULL)
        return NULL;

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    run->class_index = (uint8_t)HEAP_LARGE;
    run->align_shift = (uint8_t)shift_of(align);
    tsl_heap_run_hook(self, run);
    tsl_list_push_front(&self->large, &run->link);
    self->large_count++;
    self->large_pages += run->pages;
    self->large_allocs++;
    self->large_requested_bytes += bytes;
    self->large_granted_bytes += heap_run_bytes(run);
    /* From here on another CPU may free a guessed address: the record is not ours any more. */
    void *block = (void *)run->start;
    tsl_lock_release(&self->lock, pin);
    return block;
}

/* An object of size 0; a block of the smallest class if there is no other. */
static void *zero_alloc(struct tsl_heap *self, unsigned flags)
{
    void *block = class_alloc(self, HEAP_ZERO, 0, TSL_HEAP_ALIGN, flags);

    if (block != NULL || (flags & HEAP_ZERO_ONLY) != 0)
        return block;
    block = class_alloc(self, 0, 0, TSL_HEAP_ALIGN, flags);
    if (block != NULL)
        lend(self, block);
    return block;
}

static void *allocate_once(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    unsigned class_index = tsl_heap_class_for(self, bytes, align);

    if (TSL_HEAP_ZERO_FAULTS && class_index == HEAP_ZERO)
        return zero_alloc(self, flags);
    return class_index == HEAP_LARGE ? tsl_heap_allocate_large(self, bytes, align, flags)
                                     : class_alloc(self, class_index, bytes, align, flags);
}

/* The long way: also asks those who can give memory back. */
static void *allocate_long(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    void *block = allocate_once(self, bytes, align, flags);

    if (block != NULL || (flags & (TSL_HEAP_NO_WAIT | HEAP_NO_RELIEF)) != 0 ||
        bytes > heap_ceiling_pages(self) << TSL_PAGE_SHIFT)
        return block;
    for (unsigned round = 0; block == NULL && tsl_heap_relieve(self, bytes, &round);)
        block = allocate_once(self, bytes, align, flags);
    return block;
}

/* Where the pool for a size is; at most the greatest class. */
TSL_ALWAYS_INLINE static inline size_t offset_of(const struct tsl_heap *self, size_t bytes)
{
    return self->pool_of[(bytes + TSL_HEAP_ALIGN - 1) / TSL_HEAP_ALIGN];
}

/* The short way, if it is open. */
static void *allocate_short(struct tsl_heap *self, size_t bytes)
{
    if (bytes > HEAP_CLASS_LAST)
        return NULL;
    tsl_pin pin = tsl_cpu_pin();
    struct heap_pool *pool = heap_pool_at(heap_cpu_here(self), offset_of(self, bytes));
    tsl_word block = 0;

    if (HEAP_RECENT > 0 && pool->recent_count > 0) {
        block = heap_recent_take(pool);
    } else {
        tsl_word bits = tsl_atomic_load(pool->word);
        block = bits != 0 ? heap_pool_take(pool, bits) : 0;
    }

    if (block != 0) {
        pool->allocs++;
        pool->requested_bytes += bytes;
    }
    tsl_cpu_unpin(pin);
    return (void *)block;
}

void *tsl_heap_allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    void *block = align <= TSL_HEAP_ALIGN ? allocate_short(self, bytes) : NULL;

    if (block == NULL)
        block = allocate_long(self, bytes, align, flags);
    if ((flags & TSL_HEAP_ZERO) != 0 && block != NULL)
        memset(block, 0, tsl_heap_granted(self, block));
    return block;
}

static TSL_NOINLINE void *alloc_long(struct tsl_heap *self, size_t bytes)
{
    void *block = allocate_long(self, bytes, TSL_HEAP_ALIGN, 0);
    return block != NULL ? block : tsl_heap_fail(self, bytes);
}

/* => pinned, which it undoes. The pool's current word is used up. */
static TSL_NOINLINE void *alloc_refilled(struct tsl_heap *self, size_t bytes,
                                         struct heap_pool *pool, tsl_pin pin)
{
    struct heap_cpu *cpu = heap_cpu_here(self);
    void *block = NULL;

    if (!HEAP_HAS_OWNERS || heap_is_owner(cpu))
        block = pool_alloc(cpu, pool, bytes, 0);
    tsl_cpu_unpin(pin);
    return TSL_LIKELY(block != NULL) ? block : alloc_long(self, bytes);
}

/* The same with three arguments: on x86-32 the fourth would go over the stack, and cost each
 * allocation a stack frame. */
static TSL_NOINLINE void *alloc_refilled_here(struct tsl_heap *self, size_t bytes, tsl_pin pin)
{
    struct heap_pool *pool = heap_pool_at(heap_cpu_here(self), offset_of(self, bytes));
    return alloc_refilled(self, bytes, pool, pin);
}

/* => owned. What is noted of a block that the short way allocates. */
TSL_ALWAYS_INLINE static inline void note_block(struct heap_cpu *cpu, struct heap_pool *pool,
                                                tsl_word block, size_t bytes)
{
    pool->allocs++;
    pool->requested_bytes += bytes;
    if (HEAP_HAS_LAST) {
        cpu->last = block;
        cpu->last_pool = pool;
    }
}

/* => pinned, which it undoes. The pool has a block that was freed a short while ago. Apart for the
 * same reason. */
static TSL_NOINLINE void *alloc_recent_here(struct tsl_heap *self, size_t bytes, tsl_pin pin)
{
    struct heap_cpu *cpu = heap_cpu_here(self);
    struct heap_pool *pool = heap_pool_at(cpu, offset_of(self, bytes));
    tsl_word block;

    pool->last_run = heap_recent_run(pool);
    block = heap_recent_take(pool);
    note_block(cpu, pool, block, bytes);
    tsl_cpu_unpin(pin);
    return (void *)block;
}

/* All calls are the last thing here, so that it needs no stack frame. */
TSL_FAST_CALL void *tsl_heap_alloc(struct tsl_heap *self, size_t bytes)
{
    if (heap_is_guarded(self))
        return tsl_heap_guarded_alloc(self, bytes, TSL_HEAP_ALIGN, 0, HEAP_CALLER);
    if (TSL_UNLIKELY(bytes > HEAP_CLASS_LAST))
        return alloc_long(self, bytes);
    tsl_pin pin = tsl_cpu_pin();
    struct heap_cpu *cpu = heap_cpu_here(self);
    struct heap_pool *pool = heap_pool_at(cpu, offset_of(self, bytes));
    tsl_word block = HEAP_HAS_LAST ? tsl_atomic_load(&pool->spare) : 0;

    if (block != 0) {
        tsl_atomic_store(&pool->spare, 0);
    } else if (HEAP_RECENT > 0 && pool->recent_count > 0) {
        if (HAS_FEW_REGISTERS)
            return alloc_recent_here(self, bytes, pin);
        pool->last_run = heap_recent_run(pool);
        block = heap_recent_take(pool);
    } else {
        tsl_word bits = tsl_atomic_load(pool->word);
        if (TSL_UNLIKELY(bits == 0))
            return HAS_FEW_REGISTERS ? alloc_refilled_here(self, bytes, pin)
                                     : alloc_refilled(self, bytes, pool, pin);
        block = heap_pool_take(pool, bits);
        if (HEAP_HAS_LAST)
            pool->last_run = pool->current;
    }
    note_block(cpu, pool, block, bytes);
    tsl_cpu_unpin(pin);
    return (void *)block;
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
    if (heap_is_guarded(self))
        return tsl_heap_guarded_alloc(self, bytes, TSL_HEAP_ALIGN, flags, HEAP_CALLER);
    void *block = tsl_heap_allocate(self, bytes, TSL_HEAP_ALIGN, flags);
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
    if (heap_is_guarded(self))
        return tsl_heap_guarded_alloc(self, bytes, TSL_HEAP_ALIGN, TSL_HEAP_ZERO, HEAP_CALLER);
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
    align = align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align;
    if (heap_is_guarded(self))
        return tsl_heap_guarded_alloc(self, bytes, align, 0, HEAP_CALLER);
    void *block = tsl_heap_allocate(self, bytes, align, 0);
    return block != NULL ? block : tsl_heap_fail(self, bytes);
}
