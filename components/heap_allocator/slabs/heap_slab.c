/* SPDX-License-Identifier: MIT
 *
 * heap_slab.c: runs of pages, and pools: runs cut into equal blocks, one bit a block.
 *
 * Owns:    the pools' lists, the bit words, the centre's empty slabs.
 * Needs:   heap_source.c, heap_record.c, heap_map.c, heap_owner.c.
 * Callers: heap_alloc.c, heap_free.c, heap_owner.c, heap_create.c.
 *
 * Blocks come from the current slab's current word, lowest address first, unless some were freed a
 * short while ago: these go out again first, wherever they are. A slab whose blocks are used up is
 * full; when a quarter of them came back it goes in front of the others, so the fullest
 * are used first and the others may become empty; before an empty one is begun, full ones are
 * gleaned. Nothing is counted on the way: `slack` says after
 * how many frees by the owner a slab must be looked at. A pool keeps one empty slab
 * and some more (empty_kept); the others go back.
 */
#include "../heap_allocator_internal.h"

#define EMPTY_SLABS_KEPT_SHIFT 3

/* So many slabs that were used up are looked at for free blocks, and if there is none not again
 * before this many frees. */
#define GLEANED_SLABS 32u
#define GLEAN_FREES   16u

/* Where the current word of a pool without a current slab points. */
static tsl_word no_bits;

/* The record of a run that did not come to be. */
static void record_undo(struct tsl_heap *self, struct heap_run *run)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    self->flight_records--;
    tsl_heap_record_drop(self, run);
    tsl_lock_release(&self->lock, pin);
}

struct heap_run *tsl_heap_run_new(struct tsl_heap *self, size_t pages, size_t align_pages,
                                  unsigned flags)
{
    struct heap_run *run = NULL;

    if (TSL_HEAP_ARRAYS && (flags & HEAP_SOURCE_ONLY) == 0)
        run = tsl_heap_array_run(self, pages, align_pages);
    if (run != NULL)
        return run;
    run = tsl_heap_record_new(self, flags);
    if (run == NULL)
        return NULL;
    void *start = tsl_heap_source_take(self, pages, align_pages, flags);
    if (start == NULL)
        goto fail_pages;
    if (!tsl_heap_map_prepare(self, (uintptr_t)start, pages, flags))
        goto fail_map;
    run->start = (uintptr_t)start;
    run->pages = (uint32_t)pages;
    return run;

fail_map:
    tsl_heap_source_give(self, start, pages);
fail_pages:
    record_undo(self, run);
    return NULL;
}

void tsl_heap_run_hook(struct tsl_heap *self, struct heap_run *run)
{
    /* A page that has a run already was handed out twice by the source. */
    TSL_ASSERT(tsl_heap_map_is_clear(self, run->start, run->pages));
    tsl_heap_map_set(self, run->start, run->pages, run);
    self->flight_pages -= run->pages;
    self->flight_records--;
}

void tsl_heap_run_retire(struct tsl_heap *self, struct heap_run *run,
                         struct heap_outgoing *outgoing)
{
    tsl_heap_map_set(self, run->start, run->pages, &tsl_heap_returned);
    self->flight_pages += run->pages;
    outgoing->start = (void *)run->start;
    outgoing->pages = run->pages;
    tsl_heap_record_drop(self, run);
}

/* => owned. There is no next block. */
static void pool_close(struct heap_pool *pool)
{
    pool->word = &no_bits;
    tsl_atomic_store_release(&pool->next, 0);
}

/* => owned. A block of one of the pool's slabs that only seemed live is free. */
static void pool_put_back(const struct heap_pool *pool, struct heap_run *run, tsl_word block)
{
    uint32_t index = (uint32_t)(block - run->start) / pool->block_bytes;
    tsl_word *word = &run->free[index / HEAP_WORD_BITS];

    tsl_atomic_store(word, tsl_atomic_load(word) | (tsl_word)1 << (index % HEAP_WORD_BITS));
}

/* => owned. The pool lets go of its current slab, which gets back what only seemed live. */
static void pool_without_current(struct heap_pool *pool)
{
    if (pool->next != 0)
        pool_put_back(pool, pool->current, pool->next);
    pool_close(pool);
    pool->current = NULL;
}

void tsl_heap_pool_forget(struct heap_pool *pool)
{
    heap_forget_recent(pool);
    if (!HEAP_HAS_LAST || pool->spare == 0)
        return;
    pool_put_back(pool, pool->last_run, pool->spare);
    tsl_atomic_store_release(&pool->spare, 0);
}

void tsl_heap_pool_init(struct heap_pool *pool, const struct heap_class *class, unsigned cpu)
{
    uint32_t block_bytes = class != NULL ? class->block_bytes : 0;

    pool_close(pool);
    heap_forget_recent(pool);
    pool->current = NULL;
    pool->last_run = &tsl_heap_nowhere;
    tsl_list_init(&pool->slabs);
    tsl_list_init(&pool->full);
    pool->block_bytes = block_bytes;
    pool->empty_kept = class != NULL ? (uint8_t) class->empty_kept : 0;
    pool->gleaned = 0;
    pool->cpu = (uint16_t)cpu;
    if (HEAP_GUARDED)
        *pool->noise = block_bytes * 2654435761u + cpu;
}

/* => owned. Chooses the next block out of the lowest word of the current slab that has any. */
static bool pool_find(struct heap_pool *pool)
{
    struct heap_run *run = pool->current;

    for (unsigned word = 0; word < HEAP_SLAB_WORDS; word++) {
        tsl_word bits = tsl_atomic_load(&run->free[word]);
        if (bits != 0) {
            pool->word = &run->free[word];
            pool->base = run->start + (uintptr_t)word * HEAP_WORD_BITS * pool->block_bytes;
            heap_pool_choose(pool, bits);
            return true;
        }
    }
    return false;
}

/* => owned. The slab, which is on no list, was used up. */
static void pool_add_full(struct heap_pool *pool, struct heap_run *run)
{
    run->place = HEAP_PLACE_FULL;
    run->slack = (int16_t)heap_full_slack(run->blocks);
    tsl_list_push_front(&pool->full, &run->link);
}

/* Frees of a pool in steps of this many, modulo 256: what a pool remembers of its last look. */
static uint8_t glean_time(const struct heap_pool *pool)
{
    return (uint8_t)(pool->frees / GLEAN_FREES);
}

/* => owned. A slab that was used up and has got back a block goes in front of the list; false: it
 * has got back none, and will be looked at again after the others. */
static bool pool_glean_slab(struct heap_pool *pool, struct heap_run *run)
{
    unsigned back = heap_full_slack(run->blocks) - (unsigned)run->slack;

    if (back == 0) {
        tsl_list_push_front(&pool->full, &run->link);
        return false;
    }
    run->place = HEAP_PLACE_PARTIAL;
    run->slack = (int16_t)(run->blocks - back - 1);
    tsl_list_push_front(&pool->slabs, &run->link);
    return true;
}

/* => owned. Before an empty slab is begun, looks at some that were used up, for which that is
 * longest ago. In vain: not again before there were more frees. */
static void pool_glean(struct heap_pool *pool)
{
    struct tsl_list *link;

    if (glean_time(pool) == pool->gleaned)
        return;
    for (unsigned i = 0; i < GLEANED_SLABS && (link = tsl_list_pop_back(&pool->full)) != NULL; i++)
        if (pool_glean_slab(pool, heap_run_of(link)))
            return;
    pool->gleaned = glean_time(pool);
}

/* => owned. The first slab on the list becomes the current one; false: there is none. */
static bool pool_advance(struct heap_pool *pool)
{
    struct tsl_list *first = tsl_list_first(&pool->slabs);

    if (first == NULL || heap_run_of(first)->place == HEAP_PLACE_EMPTY)
        pool_glean(pool);
    struct tsl_list *link = tsl_list_pop_front(&pool->slabs);
    if (link == NULL)
        return false;
    struct heap_run *run = heap_run_of(link);

    if (pool->current != NULL)
        pool_add_full(pool, pool->current);
    if (run->place == HEAP_PLACE_EMPTY)
        pool->empty_count--;
    run->place = HEAP_PLACE_CURRENT;
    run->slack = HEAP_SLACK_ENDLESS;
    pool->current = run;
    return true;
}

/* => owned. Chooses a next block: of the current slab, else of the one that becomes it. */
static void pool_refill(struct heap_pool *pool)
{
    while (pool->current == NULL || !pool_find(pool)) {
        if (!pool_advance(pool)) {
            pool_close(pool);
            return;
        }
    }
}

void *tsl_heap_pool_take_slowly(struct heap_pool *pool, unsigned align_shift)
{
    tsl_word block = HEAP_HAS_LAST ? pool->spare : 0;

    heap_forget_recent(pool);
    if (block == 0 && pool->next == 0)
        pool_refill(pool);
    if (block == 0 && pool->next == 0)
        return NULL;
    if (align_shift > pool->current->align_shift)
        tsl_atomic_store_release_u8(&pool->current->align_shift, (uint8_t)align_shift);
    if (block != 0) {
        tsl_atomic_store(&pool->spare, 0);
    } else {
        block = pool->next;
        pool_refill(pool);
    }
    pool->allocs++;
    return (void *)block;
}

/* Empty slabs that a pool should keep. */
static size_t empty_kept(const struct heap_pool *pool)
{
    size_t share = pool->slab_count >> EMPTY_SLABS_KEPT_SHIFT;
    return 1 + (share > pool->empty_kept ? share : pool->empty_kept);
}

static bool pool_has_enough_empty(const struct heap_pool *pool)
{
    return pool->empty_count > empty_kept(pool);
}

/* => owned. A slab on a list changes to the place that `used` live blocks say. */
static bool pool_move(struct heap_pool *pool, struct heap_run *run, unsigned used)
{
    tsl_list_remove(&run->link);
    if (used > 0) {
        run->place = HEAP_PLACE_PARTIAL;
        run->slack = (int16_t)(used - 1);
        tsl_list_push_front(&pool->slabs, &run->link);
        return false;
    }
    heap_forget_recent(pool);
    run->place = HEAP_PLACE_EMPTY;
    run->slack = HEAP_SLACK_ENDLESS;
    tsl_atomic_store_release_u8(&run->align_shift, 0);
    run->is_lent = 0;
    tsl_list_push_back(&pool->slabs, &run->link);
    pool->empty_count++;
    return pool_has_enough_empty(pool);
}

bool tsl_heap_pool_came(struct heap_pool *pool, struct heap_run *run)
{
    switch (run->place) {
    case HEAP_PLACE_FULL:
        return pool_move(pool, run, run->blocks - heap_full_slack(run->blocks) - 1);
    case HEAP_PLACE_PARTIAL:
        return pool_move(pool, run, 0);
    default:
        run->slack = HEAP_SLACK_ENDLESS;
        return false;
    }
}

bool tsl_heap_pool_settle(struct heap_pool *pool, struct heap_run *run)
{
    unsigned used = heap_run_used(run);
    unsigned back = run->blocks - used;

    switch (run->place) {
    case HEAP_PLACE_FULL:
        if (back > heap_full_slack(run->blocks))
            return pool_move(pool, run, used);
        run->slack = (int16_t)(heap_full_slack(run->blocks) - back);
        return false;
    case HEAP_PLACE_PARTIAL:
        if (used == 0)
            return pool_move(pool, run, 0);
        run->slack = (int16_t)(used - 1);
        return false;
    case HEAP_PLACE_EMPTY:
        return pool_has_enough_empty(pool);
    default:
        run->slack = HEAP_SLACK_ENDLESS;
        return false;
    }
}

struct heap_run *tsl_heap_pool_next_offer(struct heap_pool *pool, struct tsl_list **after)
{
    if (pool->current != NULL)
        return pool->current;
    if (!tsl_list_is_empty(&pool->slabs))
        return heap_run_of(tsl_list_first(&pool->slabs));
    if (*after == NULL)
        *after = &pool->full;
    while ((*after)->next != &pool->full) {
        struct heap_run *run = heap_run_of((*after)->next);
        if (heap_run_used(run) < run->blocks)
            return run;
        *after = &run->link;
    }
    return NULL;
}

void tsl_heap_pool_detach(struct heap_pool *pool, struct heap_run *run)
{
    TSL_ASSERT(pool->spare == 0 || pool->last_run != run);
    heap_forget_recent(pool);
    if (pool->current == run)
        pool_without_current(pool);
    if (run->place == HEAP_PLACE_EMPTY)
        pool->empty_count--;
    tsl_list_remove(&run->link);
    pool->slab_count--;
    run->place = HEAP_PLACE_LOOSE;
}

bool tsl_heap_pool_attach(struct heap_pool *pool, struct heap_run *run)
{
    unsigned used = heap_run_used(run);

    TSL_ASSERT(run->place == HEAP_PLACE_LOOSE);
    TSL_ATOMIC_STORE_POINTER(&run->owner, pool);
    pool->slab_count++;
    if (used < run->blocks)
        return pool_move(pool, run, used);
    pool_add_full(pool, run);
    return false;
}

void tsl_heap_centre_attach(struct tsl_heap *self, struct heap_run *run)
{
    if (tsl_heap_pool_attach(&self->centre.pools[run->class_index], run))
        tsl_atomic_store(&self->has_excess, 1);
}

/* => locked. A superfluous slab of the centre goes back, unless somebody still looks at it. */
static bool centre_retire(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run,
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
        if (is_kept || !centre_retire(self, pool, run, outgoing))
            tsl_atomic_store(&self->has_excess, 1);
        return true;
    }
    /* Out of our hands before we wait for the lock, since calls are answered there. */
    tsl_heap_pool_detach(pool, run);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_heap_centre_attach(self, run);
    if (!is_kept)
        (void)centre_retire(self, centre, run, outgoing);
    tsl_lock_release(&self->lock, pin);
    return true;
}

static void slab_init(const struct tsl_heap *self, struct heap_run *run, unsigned class_index)
{
    const struct heap_class *class = &self->classes[class_index];

    run->reciprocal = class->reciprocal;
    run->blocks = class->slab_blocks;
    tsl_bits_set_range(run->free, 0, class->slab_blocks);
}

/* A run whose pages from `open` on have no access; NULL: no memory, or that is not possible. */
static struct heap_run *closed_run_new(struct tsl_heap *self, size_t open, size_t closed,
                                       size_t align_pages, unsigned flags)
{
    struct heap_run *run =
        tsl_heap_run_new(self, open + closed, align_pages, flags | HEAP_SOURCE_ONLY);
    if (run == NULL)
        return NULL;
    if (tsl_heap_source_protect(self, (void *)(run->start + (open << TSL_PAGE_SHIFT)), closed))
        return run;
    tsl_heap_source_give(self, (void *)run->start, run->pages);
    record_undo(self, run);
    return NULL;
}

/* The pages of a slab: of objects of size 0 all without access, else perhaps one more behind it. */
static struct heap_run *slab_run_new(struct tsl_heap *self, unsigned class_index, unsigned flags)
{
    const struct heap_class *class = &self->classes[class_index];
    size_t align_pages = tsl_is_power_of_two(class->block_bytes) ? tsl_pages_of(class->align) : 1;
    struct heap_run *run = NULL;

    if (TSL_HEAP_ZERO_FAULTS && class_index == HEAP_ZERO)
        return closed_run_new(self, 0, class->slab_pages, 1, flags);
    if (HEAP_GUARDED && tsl_heap_has_guard_pages(self) && tsl_heap_has_addresses(self))
        run = closed_run_new(self, class->slab_pages, 1, align_pages, flags);
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

/* => locked. Unhooks the last of the centre's empty slabs of a class; false: nothing to do. */
static bool empty_retire(struct tsl_heap *self, struct heap_pool *pool, size_t kept,
                         struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_last(&pool->slabs);

    return pool->empty_count > kept && link != NULL &&
           heap_run_of(link)->place == HEAP_PLACE_EMPTY &&
           centre_retire(self, pool, heap_run_of(link), outgoing);
}

/* => locked. Unhooks one parked block; false: there is none. */
static bool parked_retire(struct tsl_heap *self, struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_pop_back(&self->parked);
    if (link == NULL)
        return false;
    tsl_atomic_store(&self->parked_pages, self->parked_pages - heap_run_of(link)->pages);
    tsl_heap_run_retire(self, heap_run_of(link), outgoing);
    return true;
}

size_t tsl_heap_unpark(struct tsl_heap *self)
{
    size_t pages = 0;

    for (;;) {
        struct heap_outgoing outgoing = {0};
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        bool is_found = parked_retire(self, &outgoing);
        tsl_lock_release(&self->lock, pin);
        if (!is_found)
            return pages;
        tsl_heap_source_give_all(self, &outgoing);
        pages += outgoing.pages;
    }
}

/* So many runs of pages are unhooked before the lock is opened to give them back. */
#define BATCH_RUNS 8u

struct batch {
    unsigned count;
    struct heap_outgoing runs[BATCH_RUNS];
};

/* Slabs that were taken one after the other lie side by side: one call of the source for all. */
static void batch_add(const struct tsl_heap *self, struct batch *batch,
                      const struct heap_outgoing *new_one)
{
    uintptr_t start = (uintptr_t)new_one->start;
    uintptr_t end = start + (new_one->pages << TSL_PAGE_SHIFT);

    for (unsigned i = 0; i < batch->count && heap_is_in_window(self, start); i++) {
        struct heap_outgoing *run = &batch->runs[i];
        uintptr_t run_start = (uintptr_t)run->start;
        bool is_behind = run_start + (run->pages << TSL_PAGE_SHIFT) == start;
        if (!heap_is_in_window(self, run_start) || (!is_behind && end != run_start))
            continue;
        run->start = is_behind ? run->start : new_one->start;
        run->pages += new_one->pages;
        return;
    }
    batch->runs[batch->count++] = *new_one;
}

/* => locked. Unhooks superfluous empty slabs of a class, until the batch is full: true, there may
 * be more. */
static bool batch_fill(struct tsl_heap *self, struct heap_pool *pool, bool all, struct batch *batch)
{
    while (batch->count < BATCH_RUNS) {
        struct heap_outgoing outgoing = {0};
        size_t kept = all ? 0 : empty_kept(pool);
        if (!empty_retire(self, pool, kept, &outgoing))
            return false;
        batch_add(self, batch, &outgoing);
    }
    return true;
}

/* Gives empty slabs of the centre back, but for a share of those that a pool may keep. Lock not
 * held. Result: pages. */
static size_t shed(struct tsl_heap *self, bool all)
{
    size_t pages = 0;

    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        for (bool is_more = true; is_more;) {
            struct batch batch = {0};
            tsl_pin pin = tsl_lock_acquire(&self->lock);
            is_more = batch_fill(self, &self->centre.pools[i], all, &batch);
            tsl_lock_release(&self->lock, pin);
            for (unsigned run = 0; run < batch.count; run++) {
                tsl_heap_source_give_all(self, &batch.runs[run]);
                pages += batch.runs[run].pages;
            }
        }
    }
    return pages;
}

void tsl_heap_shed(struct tsl_heap *self)
{
    tsl_atomic_store(&self->has_excess, 0);
    (void)shed(self, false);
}

/* => locked. The current slab of the centre's pool may be empty, full ones have free blocks. */
static void centre_offer(struct tsl_heap *self, struct heap_pool *pool)
{
    struct tsl_list *link, *next;
    struct heap_run *run = pool->current;

    if (run != NULL) {
        tsl_heap_pool_detach(pool, run);
        tsl_heap_centre_attach(self, run);
    }
    TSL_LIST_EACH_SAFE(link, next, &pool->full)
    {
        run = heap_run_of(link);
        if (heap_run_used(run) == run->blocks)
            continue;
        tsl_heap_pool_detach(pool, run);
        tsl_heap_centre_attach(self, run);
    }
}

void tsl_heap_recall(struct tsl_heap *self)
{
    if (HEAP_HAS_OWNERS)
        tsl_heap_drain(self);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (unsigned i = 0; i < HEAP_POOLS; i++)
        centre_offer(self, &self->centre.pools[i]);
    tsl_lock_release(&self->lock, pin);
}

size_t tsl_heap_trim(struct tsl_heap *self)
{
    size_t pages = tsl_heap_unpark(self);

    tsl_heap_recall(self);
    pages += shed(self, true);
    if (self->trim_caches != NULL)
        pages += self->trim_caches(self);
    return pages + tsl_heap_record_trim(self);
}
