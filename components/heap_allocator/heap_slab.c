/* SPDX-License-Identifier: MIT
 *
 * heap_slab.c: runs cut into equal blocks, one bit a block, on three lists a class.
 *
 * Owns:    the classes' lists and bit words.
 * Needs:   heap_source.c, heap_record.c, heap_map.c.
 * Callers: heap_alloc.c, heap_free.c, heap_realloc.c, heap_create.c.
 *
 * Blocks come from the first partial slab, lowest address first; a slab that stops being full goes
 * to the front, so the fullest are used up and the others may become empty. A class keeps one empty
 * slab and one more for each eight slabs it has; the others go back.
 */
#include "heap_allocator_internal.h"

#define EMPTY_SLABS_KEPT_SHIFT 3

struct heap_run *tsl_heap_run_new(struct tsl_heap *self, size_t pages, size_t align_pages)
{
    struct heap_outgoing outgoing = {0};
    struct heap_run *run = tsl_heap_record_new(self);
    if (run == NULL)
        return NULL;
    void *start = tsl_heap_source_take(self, pages, align_pages);
    if (start == NULL)
        goto fail_pages;
    if (!tsl_heap_map_prepare(self, (uintptr_t)start, pages))
        goto fail_map;
    run->start = (uintptr_t)start;
    run->pages = (uint32_t)pages;
    return run;

fail_map:
    tsl_heap_source_give(self, start, pages);
fail_pages:;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    self->flight_records--;
    tsl_heap_record_drop(self, run, &outgoing);
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
    return NULL;
}

void tsl_heap_run_hook(struct tsl_heap *self, struct heap_run *run, struct tsl_list *list)
{
    /* A page that has a run already was handed out twice by the source. */
    TSL_ASSERT(tsl_heap_map_is_clear(self, run->start, run->pages));
    tsl_heap_map_set(self, run->start, run->pages, run);
    self->flight_pages -= run->pages;
    self->flight_records--;
    tsl_list_push_front(list, &run->link);
}

void tsl_heap_run_retire(struct tsl_heap *self, struct heap_run *run,
                         struct heap_outgoing *outgoing)
{
    tsl_heap_map_set(self, run->start, run->pages, &tsl_heap_returned);
    self->flight_pages += run->pages;
    outgoing->run[outgoing->count].start = (void *)run->start;
    outgoing->run[outgoing->count].pages = run->pages;
    outgoing->count++;
    tsl_heap_record_drop(self, run, outgoing);
}

/* => locked */
static void slab_move(struct heap_class *pool, struct heap_run *run, enum heap_fill to)
{
    tsl_list_remove(&run->link);
    tsl_list_push_front(&pool->slabs[to], &run->link);
}

/* => locked. The slab to allocate from: partial, else one that was empty, else NULL. */
static struct heap_run *slab_current(struct heap_class *pool)
{
    struct tsl_list *link = tsl_list_first(&pool->slabs[HEAP_PARTIAL]);
    if (TSL_LIKELY(link != NULL))
        return heap_run_of(link);
    link = tsl_list_first(&pool->slabs[HEAP_EMPTY]);
    if (link == NULL)
        return NULL;
    slab_move(pool, heap_run_of(link), HEAP_PARTIAL);
    pool->empty_count--;
    return heap_run_of(link);
}

void *tsl_heap_class_take(struct heap_class *pool, unsigned align_shift)
{
    struct heap_run *run = slab_current(pool);
    if (run == NULL)
        return NULL;
    unsigned word = run->hint;
    while (run->free[word] == 0) {
        word++;
        TSL_ASSERT(word < HEAP_SLAB_WORDS);
    }
    run->hint = (uint8_t)word;
    unsigned index = word * TSL_WORD_BITS + (unsigned)tsl_bits_take(&run->free[word]);

    if (--run->free_count == 0)
        slab_move(pool, run, HEAP_FULL);
    if (align_shift > run->align_shift)
        run->align_shift = (uint8_t)align_shift;
    return (void *)(run->start + (uintptr_t)index * pool->block_bytes);
}

/* => locked. The slab has no live block. */
static void slab_emptied(struct tsl_heap *self, struct heap_class *pool, struct heap_run *run,
                         bool is_kept, struct heap_outgoing *outgoing)
{
    run->align_shift = 0;
    pool->empty_count++;
    slab_move(pool, run, HEAP_EMPTY);
    if (is_kept || pool->empty_count <= 1 + (pool->slab_count >> EMPTY_SLABS_KEPT_SHIFT))
        return;
    tsl_list_remove(&run->link);
    pool->empty_count--;
    pool->slab_count--;
    tsl_heap_run_retire(self, run, outgoing);
}

void tsl_heap_class_give(struct tsl_heap *self, struct heap_run *run, unsigned index, bool is_kept,
                         struct heap_outgoing *outgoing)
{
    struct heap_class *pool = &self->classes[run->class_index];
    unsigned word = index / TSL_WORD_BITS;

    tsl_word twice = tsl_bits_give_own(&run->free[word], tsl_bits_mask(index % TSL_WORD_BITS, 1));
    TSL_ASSERT(twice == 0);
    if (word < run->hint)
        run->hint = (uint8_t)word;
    pool->frees++;
    heap_count_bytes(self, 0, pool->block_bytes);
    if (run->free_count++ == 0)
        slab_move(pool, run, HEAP_PARTIAL);
    if (run->free_count == pool->slab_blocks)
        slab_emptied(self, pool, run, is_kept, outgoing);
}

bool tsl_heap_class_grow(struct tsl_heap *self, unsigned class_index)
{
    struct heap_class *pool = &self->classes[class_index];
    size_t align_pages = tsl_pages_of(tsl_is_power_of_two(pool->block_bytes) ? pool->align : 1);
    struct heap_run *run = tsl_heap_run_new(self, pool->slab_pages, align_pages);
    if (run == NULL)
        return false;
    run->class_index = (uint8_t)class_index;
    run->free_count = pool->slab_blocks;
    tsl_bits_set_range(run->free, 0, pool->slab_blocks);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_heap_run_hook(self, run, &pool->slabs[HEAP_EMPTY]);
    pool->slab_count++;
    pool->empty_count++;
    tsl_lock_release(&self->lock, pin);
    return true;
}

/* => locked. Unhooks one empty slab or parked block of a list; false: the list is empty. */
static bool retire_one(struct tsl_heap *self, struct tsl_list *list, struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_pop_back(list);
    if (link == NULL)
        return false;
    struct heap_run *run = heap_run_of(link);
    if (list == &self->parked) {
        self->parked_pages -= run->pages;
    } else {
        self->classes[run->class_index].empty_count--;
        self->classes[run->class_index].slab_count--;
    }
    tsl_heap_run_retire(self, run, outgoing);
    return true;
}

/* Gives everything on a list back. Lock not held. Result: pages. */
static size_t retire_all(struct tsl_heap *self, struct tsl_list *list)
{
    size_t pages = 0;

    for (;;) {
        struct heap_outgoing outgoing = {0};
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        bool is_found = retire_one(self, list, &outgoing);
        tsl_lock_release(&self->lock, pin);
        if (!is_found)
            return pages;
        tsl_heap_source_give_all(self, &outgoing);
        pages += outgoing.run[0].pages + outgoing.run[1].pages;
    }
}

size_t tsl_heap_unpark(struct tsl_heap *self)
{
    return retire_all(self, &self->parked);
}

size_t tsl_heap_trim(struct tsl_heap *self)
{
    size_t pages = tsl_heap_unpark(self);

    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        pages += retire_all(self, &self->classes[i].slabs[HEAP_EMPTY]);
    return pages + tsl_heap_record_trim(self);
}
