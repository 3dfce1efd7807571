/* SPDX-License-Identifier: MIT
 *
 * heap_free.c: freeing, and the one place that decides whether an address is a live block.
 *
 * Owns:    the verdicts on bad addresses.
 * Needs:   heap_map.c, heap_pool.c, heap_slab.c, heap_owner.c, heap_trim.c.
 * Callers: users of the heap (public functions); heap_realloc.c (tsl_heap_find).
 *
 * The shortest way: what this CPU allocated last becomes spare. The short way: the map gives the
 * slab, a multiplication the block; if this CPU owns it, one bit is tested and set; both pinned,
 * without a lock or an atomic operation. The long ways: slabs that others own or free into, the
 * lock, a refusal.
 */
#include "../heap_allocator_internal.h"

static bool has_bit(const struct heap_run *run, size_t index)
{
    return (heap_free_bits(run, index / HEAP_WORD_BITS) >> index % HEAP_WORD_BITS & 1) != 0;
}

/* Whether a block is its pool's next or spare one. */
static bool is_at_hand(const struct heap_pool *pool, const void *block)
{
    return pool == NULL || tsl_atomic_load_acquire(&pool->next) == (tsl_word)block ||
           (HEAP_HAS_LAST && tsl_atomic_load_acquire(&pool->spare) == (tsl_word)block);
}

/* => owned. The same, for the owner, who alone writes there. */
static inline bool has_at_hand(const struct heap_pool *pool, const void *block)
{
    return pool->next == (tsl_word)block || (HEAP_HAS_LAST && pool->spare == (tsl_word)block);
}

/* Whether a block is free. Its owner may be taking it to hand or letting go of it meanwhile, and at
 * no moment is it neither here nor there: hence the bit once more. */
static bool is_free_in_slab(const struct heap_run *run, const void *block, size_t index)
{
    return has_bit(run, index) || is_at_hand(heap_owner_of(run), block) ||
           (HEAP_HAS_OWNERS && has_bit(run, index));
}

static enum tsl_status find_in_slab(struct heap_run *run, size_t block_bytes, const void *block,
                                    struct heap_place_of *out)
{
    uint32_t offset = (uint32_t)((uintptr_t)block - run->start);
    size_t index;

    out->run = run;
    out->block_bytes = block_bytes;
    if (!heap_split(run->reciprocal, offset, &index) || index >= run->blocks)
        return TSL_INVALID;
    out->index = index;
    return is_free_in_slab(run, block, index) ? TSL_DOUBLE_FREE : TSL_OK;
}

/* What a block of a slab may be used for. */
static size_t usable_of(const struct tsl_heap *self, const struct heap_run *run)
{
    return heap_is_zero(run) ? 0 : self->classes[run->class_index].block_bytes;
}

enum tsl_status tsl_heap_find(const struct tsl_heap *self, const void *block,
                              struct heap_place_of *out)
{
    uintptr_t address = (uintptr_t)block;
    struct heap_run *run = heap_map_at(self, address);

    out->block_bytes = 0;
    if (run == &tsl_heap_nowhere || run->class_index == HEAP_CACHE)
        return TSL_FOREIGN;
    if (!tsl_is_aligned(address, TSL_HEAP_ALIGN))
        return TSL_MISALIGNED;
    if (run == &tsl_heap_returned)
        return TSL_DOUBLE_FREE;
    if (heap_is_slab(run))
        return find_in_slab(run, usable_of(self, run), block, out);
    out->run = run;
    out->index = 0;
    out->block_bytes = heap_run_bytes(run);
    if (address != run->start)
        return TSL_INVALID;
    return run->is_busy ? TSL_BUSY : TSL_OK;
}

void tsl_heap_large_release(struct tsl_heap *self, struct heap_run *run, bool is_kept,
                            struct heap_outgoing *outgoing)
{
    tsl_list_remove(&run->link);
    self->large_frees++;
    self->large_count--;
    self->large_pages -= run->pages;
    if (is_kept) {
        tsl_heap_map_set(self, run->start, run->pages, &tsl_heap_returned);
        tsl_list_push_front(&self->parked, &run->link);
        tsl_atomic_store(&self->parked_pages, self->parked_pages + run->pages);
        return;
    }
    tsl_heap_run_retire(self, run, outgoing);
}

/* => owned. A live block becomes free: the word of its bit is now `bits`. True: the slab must be
 * looked at. */
TSL_ALWAYS_INLINE static inline bool slab_free(struct heap_pool *pool, struct heap_run *run,
                                               tsl_word *word, tsl_word bits)
{
    tsl_atomic_store(word, bits);
    pool->frees++;
    return TSL_UNLIKELY(--run->slack < 0);
}

/* As above, by the number of the block. */
static bool slab_free_index(struct heap_pool *pool, struct heap_run *run, size_t index)
{
    tsl_word *word = &run->free[index / HEAP_WORD_BITS];

    return slab_free(pool, run, word,
                     tsl_atomic_load(word) | (tsl_word)1 << (index % HEAP_WORD_BITS));
}

/* What is due after a free: pages that became superfluous go back. Undoes the pin. */
static enum tsl_status owner_freed_how(struct tsl_heap *self, tsl_pin pin, struct heap_run *run,
                                       bool is_kept)
{
    struct heap_outgoing outgoing;
    bool is_over = tsl_heap_freed(self, run->owner, run, is_kept, &outgoing);

    tsl_cpu_unpin(pin);
    if (TSL_LIKELY(!is_over))
        return TSL_OK;
    tsl_heap_source_give_all(self, &outgoing);
    if (heap_has_excess(self) && !is_kept)
        tsl_heap_shed(self);
    return TSL_OK;
}

static TSL_NOINLINE enum tsl_status owner_freed(struct tsl_heap *self, tsl_pin pin,
                                                struct heap_run *run)
{
    return owner_freed_how(self, pin, run, false);
}

/* => locked. Frees a large block or one of the centre's; false: a CPU owns it. */
static bool centre_release(struct tsl_heap *self, const struct heap_place_of *place, bool is_kept,
                           struct heap_outgoing *outgoing)
{
    struct heap_run *run = place->run;

    if (!heap_is_slab(run)) {
        tsl_heap_large_release(self, run, is_kept, outgoing);
        return true;
    }
    struct heap_pool *pool = heap_owner_of(run);
    if (pool->cpu != HEAP_CENTRE)
        return false;
    if (slab_free_index(pool, run, place->index))
        (void)tsl_heap_freed(self, pool, run, is_kept, outgoing);
    return true;
}

/* Anything that no CPU owns, and all refusals. False: a CPU owns the block's slab by now. */
static bool free_locked(struct tsl_heap *self, void *block, bool is_kept, enum tsl_status *out)
{
    struct heap_outgoing outgoing = {0};
    struct heap_place_of place;
    bool is_done = true;

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (HEAP_HAS_OWNERS)
        tsl_heap_centre_receive(self);
    enum tsl_status status = tsl_heap_find(self, block, &place);
    if (status == TSL_OK)
        is_done = centre_release(self, &place, is_kept, &outgoing);
    bool is_parking = self->parked_pages > 0 && !is_kept && status == TSL_OK;
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
    if (is_parking)
        (void)tsl_heap_unpark(self);
    if (heap_has_excess(self) && !is_kept && status == TSL_OK)
        tsl_heap_shed(self);
    if (is_done)
        *out = status == TSL_OK
                   ? TSL_OK
                   : tsl_heap_refuse_block(self, status, "free", block, place.block_bytes);
    return is_done;
}

/* => pinned, which it undoes. A block of a slab that this CPU owns. */
static enum tsl_status free_own(struct tsl_heap *self, const struct heap_place_of *place,
                                bool is_kept, tsl_pin pin)
{
    heap_forget_last(heap_cpu_here(self));
    if (slab_free_index(heap_owner_of(place->run), place->run, place->index))
        return owner_freed_how(self, pin, place->run, is_kept);
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* A block of a slab that any CPU owns. False: it is none, nothing happened. */
static bool free_owned(struct tsl_heap *self, void *block, bool is_kept, enum tsl_status *out)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_cpu_pin();
    struct heap_pool *owner = NULL;

    if (tsl_heap_find(self, block, &place) == TSL_OK && heap_is_slab(place.run))
        owner = heap_owner_of(place.run);
    if (owner == NULL || owner->cpu == HEAP_CENTRE) {
        tsl_cpu_unpin(pin);
        return false;
    }
    if (owner->cpu == tsl_cpu_this()) {
        *out = free_own(self, &place, is_kept, pin);
        return true;
    }
    *out = tsl_heap_free_remote(self, block, place.run, owner, place.index);
    tsl_cpu_unpin(pin);
    if (*out != TSL_OK)
        *out = tsl_heap_refuse_block(self, *out, "free", block, place.block_bytes);
    return true;
}

/* A resize is copying the block. Its slab is held, so that no free of it goes the short way. */
static bool is_moving(struct tsl_heap *self, const void *block)
{
    if (TSL_LIKELY(TSL_ATOMIC_LOAD_POINTER(&self->moving) == NULL))
        return false;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_there = heap_is_moving(self, block);
    tsl_lock_release(&self->lock, pin);
    return is_there;
}

static enum tsl_status free_any(struct tsl_heap *self, void *block, bool is_kept)
{
    enum tsl_status status = TSL_OK;

    /* The slab may change hands while we look; then again. */
    for (;;) {
        if (HEAP_HAS_OWNERS && free_owned(self, block, is_kept, &status))
            return status;
        if (free_locked(self, block, is_kept, &status))
            return status;
    }
}

static TSL_NOINLINE enum tsl_status free_long(struct tsl_heap *self, void *block, bool is_kept)
{
    if (block == NULL)
        return TSL_OK;
    if (is_moving(self, block))
        return tsl_heap_refuse_block(self, TSL_BUSY, "free", block, 0);
    return free_any(self, block, is_kept);
}

void tsl_heap_moved(struct tsl_heap *self, struct heap_moving *moving, void *block)
{
    /* Pinned until it is free: the time for somebody else's mistake in between is short. */
    tsl_pin pin = tsl_cpu_pin(), inner = tsl_lock_acquire(&self->lock);
    enum tsl_status status = TSL_OK;

    heap_moving_end(self, moving);
    tsl_lock_release(&self->lock, inner);
    if (block != NULL)
        status = free_any(self, block, false);
    tsl_cpu_unpin(pin);
    (void)status; /* such a mistake is logged */
}

/* => pinned. The block is what this CPU allocated last: it is spare now, unless others free into
 * its slab or the slab has changed hands; false: nothing happened. */
TSL_ALWAYS_INLINE static inline bool free_last(struct heap_cpu *cpu, const void *block)
{
    struct heap_pool *pool = cpu->last_pool;

    if (TSL_UNLIKELY(tsl_atomic_load_u32(&pool->last_run->state) != 0))
        return false;
    cpu->last_pool = &tsl_heap_no_pool;
    pool->frees++;
    tsl_atomic_store(&pool->spare, (tsl_word)block);
    return true;
}

/* => pinned, which it undoes. The block is in a slab that another CPU owns, or that others free
 * into. What goes the long way from here: what the centre owns, what a resize copies, mistakes. */
static TSL_NOINLINE enum tsl_status free_shared(struct tsl_heap *self, void *block, tsl_pin pin)
{
    struct heap_run *run = heap_map_near(self, (uintptr_t)block);
    struct heap_pool *owner = heap_owner_of(run);
    size_t index;

    if (!heap_split(run->reciprocal, (uint32_t)((uintptr_t)block - run->start), &index) ||
        index >= run->blocks || owner->cpu == HEAP_CENTRE ||
        tsl_atomic_load_u32(&run->state) >= HEAP_HELD || is_free_in_slab(run, block, index))
        goto other;
    if (owner->cpu != tsl_cpu_this()) {
        enum tsl_status status = tsl_heap_free_remote(self, block, run, owner, index);
        tsl_cpu_unpin(pin);
        return TSL_LIKELY(status == TSL_OK)
                   ? TSL_OK
                   : tsl_heap_refuse_block(self, status, "free", block, owner->block_bytes);
    }
    if (slab_free_index(owner, run, index))
        return owner_freed(self, pin, run);
    heap_recent_add(owner, block, run, index);
    tsl_cpu_unpin(pin);
    return TSL_OK;

other:
    tsl_cpu_unpin(pin);
    return free_long(self, block, false);
}

/* => pinned, which it undoes. The short way of any block. All calls are the last thing here, so
 * that it needs no stack frame. */
TSL_ALWAYS_INLINE static inline enum tsl_status free_short(struct tsl_heap *self, void *block,
                                                           tsl_pin pin)
{
    struct heap_run *run = heap_map_near(self, (uintptr_t)block);
    uint32_t reciprocal = run->reciprocal;
    uint64_t product = (uint64_t)(uint32_t)((uintptr_t)block - run->start) * reciprocal;
    if (TSL_UNLIKELY((uint32_t)product >= reciprocal)) /* as heap_split says */
        goto other;
    size_t index = (size_t)(product >> 32);
    if (TSL_UNLIKELY((uint16_t)index >= run->blocks))
        goto other;
    struct heap_pool *pool = heap_owner_of(run);
    if (HEAP_HAS_OWNERS && TSL_UNLIKELY(pool->cpu != (uint16_t)tsl_cpu_this() ||
                                        tsl_atomic_load_u32(&run->state) != 0))
        return free_shared(self, block, pin);
    if (!HEAP_HAS_OWNERS && TSL_UNLIKELY(tsl_atomic_load_u32(&run->state) != 0))
        goto other;
    tsl_word *word = &run->free[index / HEAP_WORD_BITS];
    tsl_word before = tsl_atomic_load(word);
    tsl_word bits = before | (tsl_word)1 << index % HEAP_WORD_BITS;
    if (TSL_UNLIKELY(bits == before || has_at_hand(pool, block)))
        goto other;
    if (slab_free(pool, run, word, bits))
        return owner_freed(self, pin, run);
    heap_recent_add(pool, block, run, index);
    tsl_cpu_unpin(pin);
    return TSL_OK;

other:
    tsl_cpu_unpin(pin);
    return free_long(self, block, false);
}

static TSL_NOINLINE enum tsl_status free_short_apart(struct tsl_heap *self, void *block,
                                                     tsl_pin pin)
{
    return free_short(self, block, pin);
}

TSL_ALWAYS_INLINE static inline enum tsl_status free_block(struct tsl_heap *self, void *block)
{
    /* The block allocated last needs few registers: of eight, none is to be saved for it. */
    const bool is_apart = HEAP_HAS_LAST && sizeof(void *) == 4;
    tsl_pin pin = tsl_cpu_pin();
    struct heap_cpu *cpu = heap_cpu_here(self);

    if (HEAP_HAS_LAST && cpu->last == (tsl_word)block) {
        bool is_done = free_last(cpu, block);
        tsl_cpu_unpin(pin);
        /* There the CPU forgets it, so that a second free is one. */
        return TSL_LIKELY(is_done) ? TSL_OK : free_long(self, block, false);
    }
    return is_apart ? free_short_apart(self, block, pin) : free_short(self, block, pin);
}

enum tsl_status tsl_heap_core_free(struct tsl_heap *self, void *block, bool is_kept)
{
    return is_kept ? free_long(self, block, true) : free_block(self, block);
}

enum tsl_status tsl_heap_locate(const struct tsl_heap *self, const void *block,
                                struct heap_spot *out)
{
    struct heap_place_of place = {0};
    tsl_pin pin = tsl_cpu_pin();
    enum tsl_status status = tsl_heap_find(self, block, &place);

    *out = (struct heap_spot){.granted = place.block_bytes};
    if (status == TSL_OK) {
        out->is_large = !heap_is_slab(place.run);
        out->class_index = place.run->class_index;
        out->align_shift = tsl_atomic_load_u8(&place.run->align_shift);
    }
    tsl_cpu_unpin(pin);
    return status;
}

size_t tsl_heap_granted(const struct tsl_heap *self, const void *block)
{
    tsl_pin pin = tsl_cpu_pin();
    const struct heap_run *run = heap_map_at(self, (uintptr_t)block);
    size_t bytes = heap_is_slab(run) ? usable_of(self, run) : heap_run_bytes(run);

    tsl_cpu_unpin(pin);
    return bytes;
}

TSL_FAST_CALL enum tsl_status tsl_heap_free(struct tsl_heap *self, void *block)
{
    if (heap_is_guarded(self))
        return block == NULL ? TSL_OK : tsl_heap_guarded_free(self, block, 0, HEAP_CALLER);
    return free_block(self, block);
}

enum tsl_status tsl_heap_free_flags(struct tsl_heap *self, void *block, unsigned flags)
{
    bool is_kept = (flags & TSL_HEAP_NO_WAIT) != 0;

    if ((flags & ~(unsigned)TSL_HEAP_NO_WAIT) != 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "heap %p: free of %p with flags %#x",
                          (void *)self, block, flags);
    }
    if (heap_is_guarded(self))
        return block == NULL ? TSL_OK : tsl_heap_guarded_free(self, block, flags, HEAP_CALLER);
    return tsl_heap_core_free(self, block, is_kept);
}

/* Whether a live block may have been asked for with this size, alignment or none. */
static bool is_size_of(const struct tsl_heap *self, const struct heap_run *run, size_t bytes)
{
    unsigned shift = tsl_atomic_load_u8(&run->align_shift);

    if (run->is_lent)
        return bytes <= (heap_is_slab(run) ? usable_of(self, run) : heap_run_bytes(run));
    if (!heap_is_slab(run))
        return tsl_heap_class_for(self, bytes, (size_t)1 << shift) == HEAP_LARGE &&
               tsl_pages_of(bytes + (bytes == 0)) == run->pages;
    /* The slab knows the strictest alignment only, and this block may have had any below. */
    while (tsl_heap_class_for(self, bytes, (size_t)1 << shift) != run->class_index)
        if (shift-- == 0)
            return false;
    return true;
}

enum tsl_status tsl_heap_core_free_sized(struct tsl_heap *self, void *block, size_t bytes)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_wrong = block != NULL && tsl_heap_find(self, block, &place) == TSL_OK &&
                    !is_size_of(self, place.run, bytes);

    tsl_lock_release(&self->lock, pin);
    if (is_wrong)
        return tsl_heap_refuse_block(self, TSL_WRONG_SIZE, "free", block, place.block_bytes);
    return free_block(self, block);
}

enum tsl_status tsl_heap_free_sized(struct tsl_heap *self, void *block, size_t bytes)
{
    if (heap_is_guarded(self))
        return tsl_heap_guarded_free_sized(self, block, bytes, HEAP_CALLER);
    return tsl_heap_core_free_sized(self, block, bytes);
}

size_t tsl_heap_core_usable(struct tsl_heap *self, const void *block)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_find(self, block, &place);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_OK)
        return place.block_bytes;
    status = tsl_heap_refuse_block(self, status, "size", block, place.block_bytes);
    (void)status;
    return 0;
}

size_t tsl_heap_usable(struct tsl_heap *self, const void *block)
{
    if (block == NULL)
        return 0;
    if (heap_is_guarded(self))
        return tsl_heap_guarded_size(self, block);
    return tsl_heap_core_usable(self, block);
}
