/* SPDX-License-Identifier: MIT
 *
 * heap_cache.c: typed caches: a pool of slabs of its own for each, under the heap's lock.
 *
 * Owns:    struct tsl_heap_cache, which is itself a block of the heap; the list of caches.
 * Needs:   heap_pool.c, heap_run.c, heap_map.c, heap_class.c (pages of a slab), heap_ledger.c.
 * Callers: users of the heap; the verifier, the figures and trims go through the list.
 *
 * A cache's slab has class HEAP_CACHE and reciprocal 0, so that the heap's own free never takes one
 * of its objects for a block. Of what the tiers add, objects have their place in the ledger and in
 * the histogram: their contents stay, so there is no tail, and a free one may be taken at once.
 */
#include <tesela/heap_cache.h>

#include "../heap_allocator_internal.h"

#define CACHE_FLAGS ((unsigned)(TSL_HEAP_NO_WAIT | TSL_HEAP_EMERGENCY))

/* With call sites: objects are in the ledger, as blocks are. */
static bool is_listed(const struct tsl_heap *heap)
{
    return TSL_HEAP_SITES && heap_is_guarded(heap);
}

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
    /* Taken by who wants the cache. */
    struct tsl_heap_cache *self = heap_is_guarded(heap)
                                      ? tsl_heap_guarded_alloc(heap, sizeof(*self), TSL_HEAP_ALIGN,
                                                               TSL_HEAP_ZERO, HEAP_CALLER)
                                      : tsl_heap_alloc_array(heap, 1, sizeof(*self));
    if (self == NULL)
        return TSL_NO_MEMORY;
    if (is_listed(heap))
        tsl_heap_ledger_mark_cache(heap, self);
    size_t align = config->align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : config->align;

    self->heap = heap;
    self->object_bytes = config->object_bytes;
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

/* Objects are live: how many, and one of them with who took it, if that is known. */
static enum tsl_status refuse_end(struct tsl_heap_cache *self)
{
    struct tsl_heap *heap = self->heap;
    struct heap_entry seen;
    size_t live = tsl_heap_cache_live(self);

    if (!is_listed(heap) || !tsl_heap_ledger_object(heap, self, &seen))
        return tsl_refuse(&heap->refusals, TSL_BUSY,
                          "heap %p: end of cache %p: %zu objects of %zu bytes are live",
                          (void *)heap, (void *)self, live, self->object_bytes);
    enum tsl_status status =
        tsl_refuse(&heap->refusals, TSL_BUSY,
                   "heap %p: end of cache %p: %zu objects of %zu bytes are live; %p, taken at %#zx",
                   (void *)heap, (void *)self, live, self->object_bytes, (void *)seen.address,
                   (size_t)seen.taken_by[0]);
    tsl_heap_log_stacks(&seen);
    return status;
}

enum tsl_status tsl_heap_cache_destroy(struct tsl_heap_cache *self)
{
    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no cache to destroy");
    struct tsl_heap *heap = self->heap;
    if (tsl_heap_cache_live(self) != 0)
        return refuse_end(self);
    (void)trim_caches(heap);
    tsl_pin pin = tsl_lock_acquire(&heap->lock);
    tsl_list_remove(&self->link);
    heap->ended_objects += self->pool.allocs;
    heap->ended_requested_bytes += self->pool.allocs * self->object_bytes;
    heap->ended_granted_bytes += self->pool.allocs * self->class.block_bytes;
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

/* An object out of those that the cache has or can get. NULL is not yet counted or logged. */
static void *cache_take(struct tsl_heap_cache *self, unsigned flags)
{
    struct tsl_heap *heap = self->heap;
    bool has_ended = false;
    unsigned round = 0;

    for (;;) {
        void *object = cache_try(self);
        if (object != NULL || (flags & TSL_HEAP_NO_WAIT) != 0)
            return object;
        if (cache_grow(self, flags))
            continue;
        /* Frees what waits, then asks those who can give memory back, whose blocks would wait
         * too. */
        if (!has_ended) {
            has_ended = true;
            if (tsl_heap_end_quarantine(heap) > 0)
                continue;
        }
        if (!tsl_heap_relieve(heap, self->class.block_bytes, &round))
            return NULL;
        (void)tsl_heap_end_quarantine(heap);
    }
}

static struct heap_entry *entry_new(struct tsl_heap_cache *self, unsigned flags, uintptr_t site)
{
    struct heap_entry *entry = tsl_heap_entry_new(self->heap, self->object_bytes, flags, site);

    if (entry == NULL && (flags & TSL_HEAP_NO_WAIT) == 0 && tsl_heap_end_quarantine(self->heap) > 0)
        entry = tsl_heap_entry_new(self->heap, self->object_bytes, flags, site);
    if (entry != NULL)
        entry->cache = self;
    return entry;
}

static void *listed_take(struct tsl_heap_cache *self, unsigned flags, uintptr_t site)
{
    struct heap_entry *entry = entry_new(self, flags, site);
    if (entry == NULL)
        return NULL;
    void *object = cache_take(self, flags);

    if (object == NULL) {
        tsl_heap_guard_drop(self->heap, entry);
        return NULL;
    }
    entry->address = (uintptr_t)object;
    tsl_heap_ledger_add(self->heap, entry);
    return object;
}

void *tsl_heap_cache_alloc(struct tsl_heap_cache *self, unsigned flags)
{
    struct tsl_heap *heap = self->heap;

    if ((flags & ~CACHE_FLAGS) != 0) {
        enum tsl_status status =
            tsl_refuse(&heap->refusals, TSL_INVALID, "heap %p: object of a cache with flags %#x",
                       (void *)heap, flags);
        (void)status;
        return NULL;
    }
    uint64_t begin = heap_begin(heap);
    void *object =
        is_listed(heap) ? listed_take(self, flags, HEAP_CALLER) : cache_take(self, flags);
    heap_end_alloc(heap, begin);
    return object != NULL ? object : tsl_heap_fail(heap, self->class.block_bytes);
}

/* ---- Free ---- */

/* => pinned. Finds a live object, or says why it is none; that is certain if locked, or while
 * nobody frees the object. */
static enum tsl_status find(const struct tsl_heap_cache *self, const void *object,
                            struct heap_place_of *out)
{
    struct heap_run *run = heap_map_at(self->heap, (uintptr_t)object);
    size_t index;

    if (run->class_index != HEAP_CACHE || heap_owner_of(run) != &self->pool)
        return TSL_FOREIGN;
    uint32_t offset = (uint32_t)((uintptr_t)object - run->start);
    if (!heap_split(self->class.reciprocal, offset, &index) || index >= run->blocks)
        return TSL_INVALID;
    *out = (struct heap_place_of){run, index, self->class.block_bytes};
    if ((tsl_atomic_load(&run->free[index / HEAP_WORD_BITS]) >> index % HEAP_WORD_BITS & 1) != 0 ||
        (tsl_word)object == tsl_atomic_load(&self->pool.next))
        return TSL_DOUBLE_FREE;
    return TSL_OK;
}

bool tsl_heap_cache_has(const struct tsl_heap_cache *self, const void *object)
{
    struct heap_place_of place;
    tsl_pin pin = tsl_cpu_pin();
    bool is_live = find(self, object, &place) == TSL_OK;

    tsl_cpu_unpin(pin);
    return is_live;
}

/* => locked. Frees a live object or says why not. */
static enum tsl_status release(struct tsl_heap_cache *self, void *object,
                               struct heap_outgoing *outgoing)
{
    struct heap_place_of place;
    enum tsl_status status = find(self, object, &place);
    if (status != TSL_OK)
        return status;
    tsl_word *word = &place.run->free[place.index / HEAP_WORD_BITS];
    tsl_atomic_store(word, tsl_atomic_load(word) | (tsl_word)1 << place.index % HEAP_WORD_BITS);
    self->pool.frees++;
    if (--place.run->slack < 0 && tsl_heap_pool_came(&self->pool, place.run))
        (void)cache_retire(self, 1, outgoing);
    return TSL_OK;
}

static enum tsl_status cache_give(struct tsl_heap_cache *self, void *object)
{
    struct heap_outgoing outgoing = {0};
    tsl_pin pin = tsl_lock_acquire(&self->heap->lock);
    enum tsl_status status = release(self, object, &outgoing);

    tsl_lock_release(&self->heap->lock, pin);
    tsl_heap_source_give_all(self->heap, &outgoing);
    return status;
}

static enum tsl_status refuse(struct tsl_heap_cache *self, enum tsl_status status,
                              const void *object, const struct heap_entry *entry)
{
    if (entry == NULL)
        return tsl_heap_refuse_block(self->heap, status, "cache free", object,
                                     status == TSL_FOREIGN ? 0 : self->class.block_bytes);
    return tsl_heap_accuse(self->heap, status, entry, "cache free of %p: %s", object,
                           tsl_heap_reason(status));
}

/* The ledger lets one caller end an object; what it does not know the core judges. */
static enum tsl_status listed_give(struct tsl_heap_cache *self, void *object, uintptr_t site)
{
    struct heap_entry *entry, seen;
    struct heap_place_of place;
    enum tsl_status status =
        tsl_heap_ledger_end(self->heap, (uintptr_t)object, site, &entry, &seen);
    bool is_ours = status == TSL_OK && entry->cache == self;

    if (is_ours) {
        /* Out of the ledger first: it may be another CPU's object at once. */
        tsl_heap_ledger_remove(self->heap, entry);
        return cache_give(self, object);
    }
    if (status == TSL_OK)
        tsl_heap_ledger_revive(self->heap, entry, entry->bytes);
    tsl_pin pin = tsl_lock_acquire(&self->heap->lock);
    enum tsl_status verdict = find(self, object, &place);
    tsl_lock_release(&self->heap->lock, pin);
    /* Somebody else is ending it. */
    if (verdict == TSL_OK)
        verdict = TSL_DOUBLE_FREE;
    return refuse(self, verdict, object, status == TSL_NOT_FOUND ? NULL : &seen);
}

enum tsl_status tsl_heap_cache_free(struct tsl_heap_cache *self, void *object)
{
    struct tsl_heap *heap = self->heap;
    enum tsl_status status;

    if (object == NULL)
        return TSL_OK;
    uint64_t begin = heap_begin(heap);
    if (is_listed(heap)) {
        status = listed_give(self, object, HEAP_CALLER);
    } else {
        status = cache_give(self, object);
        if (status != TSL_OK)
            status = refuse(self, status, object, NULL);
    }
    heap_end_free(heap, begin);
    return status;
}

size_t tsl_heap_cache_live(const struct tsl_heap_cache *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->heap->lock);
    size_t live = (size_t)(self->pool.allocs - self->pool.frees);

    tsl_lock_release(&self->heap->lock, pin);
    return live;
}
