/* SPDX-License-Identifier: MIT
 *
 * heap_granule_blocks.c: the public functions of a heap of granules: blocks out of runs.
 *
 * Owns:    the counters of allocations; the list of blocks that a resize copies.
 * Needs:   heap_granules.c, heap_granule_pages.c, heap_relief.c, heap_harden.c.
 * Callers: users of the heap.
 *
 * All of it under one lock, which is open while the page source, a shrinker or a copy is at work.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

#define ALLOC_FLAGS ((unsigned)(TSL_HEAP_ZERO | TSL_HEAP_NO_WAIT | TSL_HEAP_EMERGENCY))

/* What a block keeps of its alignment when it moves, if none from a page on was asked for: nobody
 * remembers what was, so it is as much as its address has, up to here. */
#define KEPT_ALIGN (HEAP_STRICT_ALIGN / 2)

static uintptr_t address_of(const struct tsl_heap *self, size_t granule)
{
    return heap_granules_origin(&self->source) + granule * HEAP_GRANULE_BYTES;
}

static uint8_t *mark_of(struct tsl_heap *self, size_t granule)
{
    return &self->granules->marks[granule / HEAP_PAGE_GRANULES];
}

/* => locked. Nothing is promised of the block at the start of this page. */
static void forget_align(struct tsl_heap *self, size_t first)
{
    *mark_of(self, first) &= HEAP_PAGE_OWNED | HEAP_PAGE_KNOWN;
}

/* => locked. A block was asked for with this alignment, which it has. */
static void note_align(struct tsl_heap *self, size_t first, size_t align)
{
    if (align < HEAP_STRICT_ALIGN)
        return;
    unsigned shift = (unsigned)__builtin_ctzl(align >> TSL_PAGE_SHIFT);

    /* Five bits. An address that is more aligned than this has no like in any window. */
    shift = shift < 31 ? shift : 31;
    forget_align(self, first);
    *mark_of(self, first) |= (uint8_t)(HEAP_PAGE_STRICT | shift << HEAP_PAGE_ALIGN_SHIFT);
}

/* A power of two is aligned to itself up to a page, whatever was asked for. */
static size_t natural_align(size_t bytes, size_t align)
{
    bool is_natural = bytes > align && bytes <= TSL_PAGE_BYTES && tsl_is_power_of_two(bytes);

    return is_natural ? bytes : align;
}

/* => locked. So many empty pages are kept for reuse: none of those that are for emergencies. */
static size_t kept_pages(const struct tsl_heap *self)
{
    bool is_emergency = self->taken_pages + self->reserve_pages > self->ceiling_pages;

    return is_emergency ? 0 : 4 + self->granules->owned_pages / 16;
}

/* Opens the lock. Pages that are due go back, or when there are more than twice as many as are
 * kept, those beyond; if the caller may call the source. */
static void leave(struct tsl_heap *self, tsl_pin pin, unsigned flags)
{
    struct heap_granules *map = self->granules;
    size_t empty = map->empty_pages, last = map->pages, kept = kept_pages(self);
    bool has_excess = empty > 2 * kept;

    if (map->due_pages > 0) {
        has_excess = empty > 0;
        last = map->due_last;
        kept = empty - (map->due_pages < empty ? map->due_pages : empty);
    }
    has_excess = has_excess && (flags & TSL_HEAP_NO_WAIT) == 0;
    if (has_excess)
        map->due_pages = 0;
    tsl_lock_release(&self->lock, pin);
    if (has_excess)
        (void)tsl_heap_granules_shed(self, last, kept);
}

/* => locked */
static void note_live(struct tsl_heap *self)
{
    size_t live = self->granules->live * HEAP_GRANULE_BYTES;

    if (live > self->peak_bytes)
        self->peak_bytes = live;
}

/* A block in pages that the heap has; NULL: no run is long enough. */
static void *allocate_here(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    struct heap_granules *map = self->granules;
    size_t count = tsl_heap_granules_for(bytes), natural = natural_align(bytes, align);
    void *block = NULL;

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t first = tsl_heap_granules_find(self, count, natural / HEAP_GRANULE_BYTES);
    if (first != TSL_BITS_NONE) {
        tsl_heap_granules_take(self, first, count, true);
        map->allocs++;
        map->requested_bytes += bytes;
        map->granted_bytes += count * HEAP_GRANULE_BYTES;
        note_live(self);
        note_align(self, first, align);
        block = (void *)address_of(self, first);
    }
    leave(self, pin, flags);
    return block;
}

static void *allocate_once(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    for (;;) {
        void *block = allocate_here(self, bytes, align, flags);
        if (block != NULL || (flags & TSL_HEAP_NO_WAIT) != 0)
            return block;
        /* Another CPU may be faster and use the new pages up: then again. Room for an alignment
         * that begins anywhere in the first page. */
        size_t pages = tsl_pages_of(bytes + (bytes == 0)) + tsl_pages_of(align) - 1;
        if (!tsl_heap_granules_grow(self, 0, pages, flags) &&
            (tsl_heap_trim(self) == 0 || !tsl_heap_granules_grow(self, 0, pages, flags)))
            return NULL;
    }
}

/* A block; NULL is not yet counted or logged. align: a power of two, at least TSL_HEAP_ALIGN. */
static void *allocate_any(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    size_t ceiling = self->ceiling_pages << TSL_PAGE_SHIFT;
    void *block = NULL;

    if (bytes <= ceiling && align <= ceiling) {
        block = allocate_once(self, bytes, align, flags);
        for (unsigned round = 0; block == NULL && (flags & TSL_HEAP_NO_WAIT) == 0 &&
                                 tsl_heap_relieve(self, bytes, &round);)
            block = allocate_once(self, bytes, align, flags);
    }
    return block;
}

static void *allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    void *block = allocate_any(self, bytes, align, flags);

    if (block == NULL)
        return tsl_heap_fail(self, bytes);
    if ((flags & TSL_HEAP_ZERO) != 0)
        memset(block, 0, tsl_heap_granules_for(bytes) * HEAP_GRANULE_BYTES);
    return block;
}

TSL_FAST_CALL void *tsl_heap_alloc(struct tsl_heap *self, size_t bytes)
{
    return allocate(self, bytes, TSL_HEAP_ALIGN, 0);
}

void *tsl_heap_alloc_flags(struct tsl_heap *self, size_t bytes, unsigned flags)
{
    if ((flags & ~ALLOC_FLAGS) != 0) {
        enum tsl_status status =
            tsl_refuse(&self->refusals, TSL_INVALID, "heap %p: allocation with unknown flags %#x",
                       (void *)self, flags);
        (void)status;
        return NULL;
    }
    return allocate(self, bytes, TSL_HEAP_ALIGN, flags);
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
    return allocate(self, bytes, TSL_HEAP_ALIGN, TSL_HEAP_ZERO);
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
    return allocate(self, bytes, align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align, 0);
}

/* => locked. A live block becomes free. */
static void release(struct tsl_heap *self, const struct heap_block *block)
{
    if (block->first % HEAP_PAGE_GRANULES == 0)
        forget_align(self, block->first);
    tsl_heap_granules_give(self, block->first, block->granules);
    self->granules->frees++;
}

/* bytes: what its owner says that the block has; SIZE_MAX: nothing. */
static enum tsl_status free_block(struct tsl_heap *self, void *block, size_t bytes, unsigned flags)
{
    struct heap_block found;

    if (block == NULL)
        return TSL_OK;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_block_at(self, block, &found);
    if (status == TSL_OK && bytes != SIZE_MAX && tsl_heap_granules_for(bytes) != found.granules)
        status = TSL_WRONG_SIZE;
    if (status == TSL_OK)
        release(self, &found);
    leave(self, pin, status == TSL_OK ? flags : TSL_HEAP_NO_WAIT);
    if (status == TSL_OK)
        return status;
    return tsl_heap_refuse_block(self, status, "free", block, found.granules * HEAP_GRANULE_BYTES);
}

TSL_FAST_CALL enum tsl_status tsl_heap_free(struct tsl_heap *self, void *block)
{
    return free_block(self, block, SIZE_MAX, 0);
}

enum tsl_status tsl_heap_free_flags(struct tsl_heap *self, void *block, unsigned flags)
{
    if ((flags & ~(unsigned)TSL_HEAP_NO_WAIT) != 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "heap %p: free of %p with flags %#x",
                          (void *)self, block, flags);
    }
    return free_block(self, block, SIZE_MAX, flags);
}

enum tsl_status tsl_heap_free_sized(struct tsl_heap *self, void *block, size_t bytes)
{
    /* No block is that large; one byte less is as wrong. */
    return free_block(self, block, bytes - (bytes == SIZE_MAX), 0);
}

size_t tsl_heap_usable(struct tsl_heap *self, const void *block)
{
    struct heap_block found;

    if (block == NULL)
        return 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_block_at(self, block, &found);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_OK)
        return found.granules * HEAP_GRANULE_BYTES;
    status =
        tsl_heap_refuse_block(self, status, "size", block, found.granules * HEAP_GRANULE_BYTES);
    (void)status;
    return 0;
}

/* => locked. Changes the end of a block; false: what lies behind is not free. */
static bool resize_here(struct tsl_heap *self, const struct heap_block *block, size_t count)
{
    size_t have = block->granules;

    if (count < have)
        tsl_heap_granules_give(self, block->first + count, have - count);
    if (count <= have)
        return true;
    if (!tsl_bits_all_clear(self->granules->bits, block->first + have, count - have))
        return false;
    tsl_heap_granules_take(self, block->first + have, count - have, false);
    note_live(self);
    return true;
}

/* => locked. The alignment that a block has to keep. */
static size_t kept_align(struct tsl_heap *self, const struct heap_block *block)
{
    uintptr_t address = address_of(self, block->first);
    size_t align = address & (~address + 1);
    uint8_t mark = *mark_of(self, block->first);

    if (align >= HEAP_STRICT_ALIGN && (mark & HEAP_PAGE_STRICT) != 0)
        return (size_t)HEAP_STRICT_ALIGN << (mark >> HEAP_PAGE_ALIGN_SHIFT);
    return align < KEPT_ALIGN ? align : KEPT_ALIGN;
}

/* => locked. Where pages would have to join the heap so that a block can grow to `count` granules
 * in place; *pages: how many. 0: they cannot. */
static size_t place_behind(const struct tsl_heap *self, const struct heap_block *block,
                           size_t count, size_t *pages)
{
    const struct heap_granules *map = self->granules;
    size_t behind = tsl_bits_find_set(map->bits, SIZE_MAX, block->first + block->granules);
    size_t page = behind / HEAP_PAGE_GRANULES;

    if (self->source.remap == NULL || (map->marks[page] & HEAP_PAGE_OWNED) != 0)
        return 0;
    *pages = tsl_pages_of((count - (behind - block->first)) * HEAP_GRANULE_BYTES);
    return *pages <= map->pages + 1 - page ? page : 0;
}

/* What is known of a resize between two times that the lock is held. */
struct resize {
    struct heap_block block;
    struct heap_moving moving;
    size_t align; /* to be kept */
    size_t place; /* where pages may join */
    size_t pages;
    bool is_done;
};

/* Decides about a resize, does it in place if it can, else nobody frees the block for a while. */
static enum tsl_status begin_resize(struct tsl_heap *self, void *block, size_t bytes,
                                    struct resize *plan)
{
    size_t count = tsl_heap_granules_for(bytes);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_heap_block_at(self, block, &plan->block);

    if (status == TSL_OK) {
        size_t kept = kept_align(self, &plan->block), asked = plan->align;
        plan->align = asked > kept ? asked : kept;
        bool is_aligned = tsl_is_aligned((uintptr_t)block, natural_align(bytes, plan->align));
        if (is_aligned && asked > kept)
            note_align(self, plan->block.first, asked);
        plan->is_done = is_aligned && resize_here(self, &plan->block, count);
        if (!plan->is_done) {
            plan->place = is_aligned ? place_behind(self, &plan->block, count, &plan->pages) : 0;
            heap_moving_begin(self, &plan->moving, block);
        }
    }
    leave(self, pin, status == TSL_OK ? 0 : TSL_HEAP_NO_WAIT);
    return status;
}

/* Undoes the mark of begin. The block has grown in place (`count` granules), or has moved and is
 * free now, or stays as it is. */
static bool end_resize(struct tsl_heap *self, struct resize *plan, size_t count, bool has_moved)
{
    bool is_done = true;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    if (count > 0)
        is_done = resize_here(self, &plan->block, count);
    if (is_done)
        heap_moving_end(self, &plan->moving);
    if (has_moved)
        release(self, &plan->block);
    leave(self, pin, 0);
    return is_done;
}

static void *resize(struct tsl_heap *self, size_t align, void *block, size_t bytes)
{
    struct resize plan = {.align = align};
    size_t count = tsl_heap_granules_for(bytes);
    enum tsl_status status = begin_resize(self, block, bytes, &plan);
    size_t old_bytes = plan.block.granules * HEAP_GRANULE_BYTES;

    if (status != TSL_OK) {
        status = tsl_heap_refuse_block(self, status, "resize", block, old_bytes);
        (void)status;
        return NULL;
    }
    if (plan.is_done ||
        (plan.place != 0 && tsl_heap_granules_grow(self, plan.place, plan.pages, 0) &&
         end_resize(self, &plan, count, false)))
        return block;
    /* A block that only shrinks stays where it is without memory for a smaller one. */
    bool may_stay = bytes <= old_bytes && tsl_is_aligned((uintptr_t)block, plan.align);
    void *fresh = may_stay ? allocate_once(self, bytes, plan.align, 0)
                           : allocate_any(self, bytes, plan.align, 0);
    if (fresh != NULL)
        memcpy(fresh, block, bytes < old_bytes ? bytes : old_bytes);
    bool stays = fresh == NULL && may_stay;
    (void)end_resize(self, &plan, stays ? count : 0, fresh != NULL);
    if (fresh != NULL)
        return fresh;
    return stays ? block : tsl_heap_fail(self, bytes);
}

void *tsl_heap_realloc(struct tsl_heap *self, void *block, size_t bytes)
{
    return block == NULL ? tsl_heap_alloc(self, bytes) : resize(self, TSL_HEAP_ALIGN, block, bytes);
}

void *tsl_heap_realloc_aligned(struct tsl_heap *self, size_t align, void *block, size_t bytes)
{
    if (block == NULL || !tsl_is_power_of_two(align))
        return tsl_heap_alloc_aligned(self, align, bytes);
    return resize(self, align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align, block, bytes);
}
