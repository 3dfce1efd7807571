/* SPDX-License-Identifier: MIT
 *
 * heap_cache.c: typed caches: a pool of slabs of its own for each, under the heap's lock.
 *
 * Owns:    struct tsl_heap_cache, which is itself a block of the heap; the list of caches.
 * Needs:   heap_slab.c, heap_map.c, heap_class.c (pages of a slab).
 * Callers: users of the heap; the verifier, the figures and trims go through the list.
 *
 * A cache's slab has class HEAP_CACHE and reciprocal 0, so that the heap's own free never takes one
 * of its objects for a block.
 */
#include <tesela/heap_cache.h>

#include "../heap_allocator_internal.h"

#define CACHE_FLAGS ((unsigned)(TSL_HEAP_NO_WAIT | TSL_HEAP_EMERGENCY))

static enum tsl_status check_config(struct tsl_heap *heap,
                                    const struct tsl_heap_cache_config *config)
{
    if (config == NULL || config->object_bytes == 0)
        return tsl_refuse(&heap->refusals, TSL_INVALID, "heap %p: a cache of nothing",
                          (void *)heap);
    if (config->align > TSL_PAGE_BYTES ||
        (config->align != 0 && !tsl_is_power_of_two(config->align)))
        return tsl_refuse(&heap->refusals, TSL_MISALIGNED, "heap %p: a cache with alignment %zu",
                          (void *)heap, config->align);
    if (config->object_bytes > HEAP_CLASS_LARGEST)
        return tsl_refuse(&heap->refusals, TSL_OUT_OF_RANGE, "heap %p: a cache of %zu bytes",
                          (void *)heap, config->object_bytes);
    return TSL_OK;
}

/* => locked. Unhooks one empty slab beyond `kept`; false: there is none. */
static bool cache_retire(struct tsl_heap_cache *self, size_t kept, struct heap_outgoing *outgoing)
{
    struct tsl_list *link = tsl_list_last(&self->pool.slabs);

    if (self->pool.empty_count <= kept || link == NULL)
        return false;
    struct heap_run *run = heap_run_of(link);
    TSL_ASSERT(run->place == HEAP_PLACE_EMPTY);
    tsl_heap_pool_detach(&self->pool, run);
    tsl_heap_run_retire(self->heap, run, outgoing);
    return true;
}

/* => locked. What has free objects without being offered. */
static void cache_offer(struct tsl_heap_cache *self)
{
    struct tsl_list *link, *next;
    struct heap_run *run = self->pool.current;

    if (run != NULL) {
        tsl_heap_pool_detach(&self->pool, run);
        (void)tsl_heap_pool_attach(&self->pool, run);
    }
    TSL_LIST_EACH_SAFE(link, next, &self->pool.full)
    {
        run = heap_run_of(link);
        if (heap_run_used(run) == run->blocks)
            continue;
        tsl_heap_pool_detach(&self->pool, run);
        (void)tsl_heap_pool_attach(&self->pool, run);
    }
}

/* => locked. Unhooks one empty slab of any cache; false: there is none. */
static bool any_retire(struct tsl_heap *heap, struct heap_outgoing *outgoing)
{
    struct tsl_list *link;

    TSL_LIST_EACH(link, &heap->caches)
    {
        struct tsl_heap_cache *cache = TSL_CONTAINER_OF(link, struct tsl_heap_cache, link);
        cache_offer(cache);
        if (cache_retire(cache, 0, outgoing))
            return true;
    }
    return false;
}

/* Gives the empty slabs of all caches back. Lock not held. Result: pages. */
static size_t trim_caches(struct tsl_heap *heap)
{
    size_t pages = 0;

    for (;;) {
        struct heap_outgoing outgoing = {0};
        tsl_pin pin = tsl_lock_acquire(&heap->lock);
        bool is_found = any_retire(heap, &outgoing);
        tsl_lock_release(&heap->lock, pin);
        tsl_heap_source_give_all(heap, &outgoing);
        pages += outgoing.pages;
        if (!is_found)
            return pages;
    }
}

enum tsl_status tsl_heap_cache_create(struct tsl_heap *heap,
                                      const struct tsl_heap_cache_config *config,
                                      struct tsl_heap_cache **out)
{
    if (heap == NULL || out == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no place for a cache");
    enum tsl_status status = check_config(heap, config);
    if (status != TSL_OK)
        return status;
    struct tsl_heap_cache *self = tsl_heap_alloc_array(heap, 1, sizeof(*self));
    if (self == NULL)
        return TSL_NO_MEMORY;
    size_t align = config->align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : config->align;

    self->heap = heap;
    self->construct = config->construct;
    self->context = config->context;
    tsl_heap_class_shape(&self->class, (uint32_t)tsl_align_up(config->object_bytes, align),
                         heap_ceiling_pages(heap));
    tsl_heap_pool_init(&self->pool, &self->class, HEAP_CENTRE);
    tsl_pin pin = tsl_lock_acquire(&heap->lock);
    heap->trim_caches = trim_caches;
    tsl_list_push_back(&heap->caches, &self->link);
    tsl_lock_release(&heap->lock, pin);
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_heap_cache_destroy(struct tsl_heap_cache *self)
{
    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no cache to destroy");
    struct tsl_heap *heap = self->heap;
    size_t live = tsl_heap_cache_live(self);
    if (live != 0) {
        return tsl_refuse(&heap->refusals, TSL_BUSY, "heap %p: %zu objects of a cache are live",
                          (void *)heap, live);
    }
    (void)trim_caches(heap);
    tsl_pin pin = tsl_lock_acquire(&heap->lock);
    tsl_list_remove(&self->link);
    tsl_lock_release(&heap->lock, pin);
    return tsl_heap_free(heap, self);
}

/* A new slab with its objects constructed; false: no memory. Lock not held. */
static bool cache_grow(struct tsl_heap_cache *self, unsigned flags)
{
    struct tsl_heap *heap = self->heap;
    struct heap_run *run = tsl_heap_run_new(heap, self->class.slab_pages, 1, flags);
    if (run == NULL)
        return false;
    run->blocks = self->class.slab_blocks;
    tsl_bits_set_range(run->free, 0, run->blocks);
    for (size_t i = 0; self->construct != NULL && i < run->blocks; i++)
        self->construct(self->context, (void *)(run->start + i * self->class.block_bytes));
    tsl_pin pin = tsl_lock_acquire(&heap->lock);
    run->class_index = (uint8_t)HEAP_CACHE;
    (void)tsl_heap_pool_attach(&self->pool, run);
    tsl_heap_run_hook(heap, run);
    tsl_lock_release(&heap->lock, pin);
    return true;
}

/* An object out of the slabs that the cache has. */
static void *cache_try(struct tsl_heap_cache *self)
{
    struct heap_pool *pool = &self->pool;
    tsl_pin pin = tsl_lock_acquire(&self->heap->lock);
    void *object = tsl_heap_pool_take_slowly(pool, 0);
    if (object == NULL) {
        cache_offer(self);
        object = tsl_heap_pool_take_slowly(pool, 0);
    }
    tsl_lock_release(&self->heap->lock, pin);
    return object;
}

void *tsl_heap_cache_alloc(struct tsl_heap_cache *self, unsigned flags)
{
    enum tsl_status status;
    unsigned round = 0;

    if ((flags & ~CACHE_FLAGS) != 0) {
        status = tsl_refuse(&self->heap->refusals, TSL_INVALID,
                            "heap %p: object of a cache with flags %#x", (void *)self->heap, flags);
        (void)status;
        return NULL;
    }
    for (;;) {
        void *object = cache_try(self);
        if (object != NULL)
            return object;
        if ((flags & TSL_HEAP_NO_WAIT) != 0 ||
            (!cache_grow(self, flags) &&
             !tsl_heap_relieve(self->heap, self->class.block_bytes, round++)))
            return tsl_heap_fail(self->heap, self->class.block_bytes);
    }
}

/* => locked. Frees a live object or says why not. */
static enum tsl_status release(struct tsl_heap_cache *self, void *object,
                               struct heap_outgoing *outgoing)
{
    struct heap_run *run = heap_map_at(self->heap, (uintptr_t)object);
    size_t index;

    if (run->class_index != HEAP_CACHE || heap_owner_of(run) != &self->pool)
        return TSL_FOREIGN;
    uint32_t offset = (uint32_t)((uintptr_t)object - run->start);
    if (!heap_split(self->class.reciprocal, offset, &index) || index >= run->blocks)
        return TSL_INVALID;
    tsl_word *word = &run->free[index / HEAP_WORD_BITS];
    tsl_word bit = (tsl_word)1 << (index % HEAP_WORD_BITS);
    if ((tsl_atomic_load(word) & bit) != 0 || (uintptr_t)object == self->pool.next)
        return TSL_DOUBLE_FREE;
    tsl_atomic_store(word, tsl_atomic_load(word) | bit);
    self->pool.frees++;
    if (--run->slack < 0 && tsl_heap_pool_came(&self->pool, run))
        (void)cache_retire(self, 1, outgoing);
    return TSL_OK;
}

enum tsl_status tsl_heap_cache_free(struct tsl_heap_cache *self, void *object)
{
    struct heap_outgoing outgoing = {0};

    if (object == NULL)
        return TSL_OK;
    tsl_pin pin = tsl_lock_acquire(&self->heap->lock);
    enum tsl_status status = release(self, object, &outgoing);
    tsl_lock_release(&self->heap->lock, pin);
    tsl_heap_source_give_all(self->heap, &outgoing);
    if (status != TSL_OK) {
        return tsl_heap_refuse_block(self->heap, status, "cache free", object,
                                     status == TSL_FOREIGN ? 0 : self->class.block_bytes);
    }
    return TSL_OK;
}

size_t tsl_heap_cache_live(const struct tsl_heap_cache *self)
{
    return (size_t)(self->pool.allocs - self->pool.frees);
}
