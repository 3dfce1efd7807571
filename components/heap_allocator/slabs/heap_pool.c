/* SPDX-License-Identifier: MIT
 *
 * heap_pool.c: pools: the slabs of one class that one owner has, one bit a block.
 *
 * Owns:    the pools' lists, the bit words.
 * Needs:   heap_map.c (the record that stands for none).
 * Callers: heap_alloc.c, heap_slab.c, heap_owner.c, heap_cache.c, heap_trim.c.
 *
 * Blocks come from the current slab's current word, lowest address first, unless some were freed a
 * short while ago: these go out again first, wherever they are. A slab whose blocks are used up is
 * full; when a quarter of them came back it goes in front of the others, so the fullest are used
 * first and the others may become empty; before an empty one is begun, full ones are gleaned.
 * Nothing is counted on the way: `slack` says after how many frees by the owner a slab must be
 * looked at. A pool keeps one empty slab and some more (empty_kept); the others go back.
 */
#include "../heap_allocator_internal.h"

#define EMPTY_SLABS_KEPT_SHIFT 3

/* So many slabs that were used up are looked at for free blocks, and if there is none not again
 * before this many frees. */
#define GLEANED_SLABS 32u
#define GLEAN_FREES   16u

/* Where the current word of a pool without a current slab points. */
static tsl_word no_bits;

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
    if (HEAP_RECENT > 0 && pool->recent != NULL)
        pool->recent_room = HEAP_RECENT;
    if (block == 0 && pool->next == 0)
        pool_refill(pool);
    if (block == 0 && pool->next == 0)
        return NULL;
    struct heap_run *run = block != 0 ? pool->last_run : pool->current;
    heap_note_align(run, align_shift);
    if (block != 0) {
        tsl_atomic_store(&pool->spare, 0);
    } else {
        block = pool->next;
        pool_refill(pool);
    }
    pool->allocs++;
    return (void *)block;
}

size_t tsl_heap_pool_empty_kept(const struct heap_pool *pool)
{
    size_t share = pool->slab_count >> EMPTY_SLABS_KEPT_SHIFT;
    return 1 + (share > pool->empty_kept ? share : pool->empty_kept);
}

static bool pool_has_enough_empty(const struct heap_pool *pool)
{
    return pool->empty_count > tsl_heap_pool_empty_kept(pool);
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
    /* So many frees and an empty slab: nothing is worth remembering until blocks are looked for. */
    if (pool->recent_count == HEAP_RECENT)
        pool->recent_room = 0;
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
