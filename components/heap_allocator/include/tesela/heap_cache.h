/* SPDX-License-Identifier: MIT
 *
 * heap_cache.h: typed caches: objects of one size and alignment that keep their constructed state
 * from one use to the next.
 *
 * Owns:    nothing; the pages are the heap's.
 * Needs:   heap_allocator.h; HEAP_CORE_SLABS, without which these functions are not in the library.
 * Callers: anyone who may call the heap.
 */
#ifndef TESELA_HEAP_CACHE_H
#define TESELA_HEAP_CACHE_H

#include <tesela/heap_allocator.h>

struct tsl_heap_cache;

struct tsl_heap_cache_config {
    /* Size of an object, 1 to 32768 bytes, and its alignment: a power of two up to a page, or 0 for
     * TSL_HEAP_ALIGN. */
    size_t object_bytes;
    size_t align;
    /* Optional: makes the state in which an object leaves tsl_heap_cache_alloc for the first time.
     * Runs once for each object, without a lock, when its slab is new. What is freed must be in
     * that state again. */
    void (*construct)(void *context, void *object);
    void *context;
};

/*
 * Makes a cache in a heap.
 * Owns:    the caller, who ends it with tsl_heap_cache_destroy before the heap.
 * Errors:  TSL_INVALID (NULL, size 0), TSL_MISALIGNED (alignment), TSL_OUT_OF_RANGE (too large),
 *          TSL_NO_MEMORY.
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_cache_create(struct tsl_heap *heap,
                                                     const struct tsl_heap_cache_config *config,
                                                     struct tsl_heap_cache **out);

/*
 * Ends a cache.
 * Before:  nobody uses it any more.
 * Errors:  TSL_BUSY (objects are live: the log says how many, and with HEAP_SITES one of them and
 *          who took it; the cache is as before, and can be ended when they are freed), TSL_INVALID
 *          (NULL).
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_cache_destroy(struct tsl_heap_cache *self);

/*
 * An object, in the state in which it was constructed or freed; NULL as tsl_heap_alloc_flags. Of
 * the flags TSL_HEAP_NO_WAIT and TSL_HEAP_EMERGENCY; others are refused.
 * Cost:    constant; the heap's lock; the page source when there is no free object.
 */
TSL_MUST_CHECK void *tsl_heap_cache_alloc(struct tsl_heap_cache *self, unsigned flags);

/*
 * Ends the use of an object, whose contents stay. NULL is fine.
 * Errors:  TSL_FOREIGN (not of this cache, also a block of the heap or of another cache),
 *          TSL_INVALID (inside an object), TSL_DOUBLE_FREE.
 * Cost:    constant; a page-source call when a slab becomes empty beyond what the cache keeps.
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_cache_free(struct tsl_heap_cache *self, void *object);

/* How many objects are live. */
size_t tsl_heap_cache_live(const struct tsl_heap_cache *self);

#endif
