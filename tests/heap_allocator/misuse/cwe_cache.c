/* SPDX-License-Identifier: MIT
 *
 * cwe_cache.c: mistakes with typed caches: CWE-762 and CWE-843 (an object ended as something else),
 * CWE-415 (twice), CWE-672 (a cache that ends in use).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h, heap_cache.h; a core that has caches.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>
#include <tesela/heap_cache.h>

static struct tsl_heap_cache *cache_of(struct misuse *m)
{
    struct tsl_heap_cache_config config = {.object_bytes = m->size};
    struct tsl_heap_cache *cache = NULL;

    return tsl_heap_cache_create(m->heap, &config, &cache) == TSL_OK ? cache : NULL;
}

static void end_cache(struct tsl_heap_cache *cache)
{
    enum tsl_status status = tsl_heap_cache_destroy(cache);
    (void)status;
}

static void cache_give(struct tsl_heap_cache *cache, void *object)
{
    enum tsl_status status = tsl_heap_cache_free(cache, opaque(object));
    (void)status;
}

static void object_freed_as_block(struct misuse *m)
{
    struct tsl_heap_cache *cache = cache_of(m);
    void *object = tsl_heap_cache_alloc(cache, 0);

    if (m->is_bad)
        give(m, object);
    cache_give(cache, object);
    end_cache(cache);
}

static void block_freed_as_object(struct misuse *m)
{
    struct tsl_heap_cache *cache = cache_of(m);
    void *block = take(m, m->size);

    if (m->is_bad)
        cache_give(cache, block);
    give(m, block);
    end_cache(cache);
}

static void object_freed_to_other_cache(struct misuse *m)
{
    struct tsl_heap_cache *cache = cache_of(m), *other = cache_of(m);
    void *object = tsl_heap_cache_alloc(cache, 0);

    if (m->is_bad)
        cache_give(other, object);
    cache_give(cache, object);
    end_cache(other);
    end_cache(cache);
}

static void object_freed_twice(struct misuse *m)
{
    struct tsl_heap_cache *cache = cache_of(m);
    void *object = tsl_heap_cache_alloc(cache, 0);

    cache_give(cache, object);
    if (m->is_bad)
        cache_give(cache, object);
    end_cache(cache);
}

static void cache_ended_in_use(struct misuse *m)
{
    struct tsl_heap_cache *cache = cache_of(m);
    void *object = tsl_heap_cache_alloc(cache, 0);

    if (m->is_bad)
        end_cache(cache);
    cache_give(cache, object);
    end_cache(cache);
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe762", object_freed_as_block, SLOTS, BASIC),
    SHAPE("cwe762", block_freed_as_object, SLOTS, BASIC),
    SHAPE("cwe843", object_freed_to_other_cache, SLOTS, BASIC),
    SHAPE("cwe415", object_freed_twice, SLOTS, BASIC),
    SHAPE("cwe672", cache_ended_in_use, SLOTS, BASIC),
};

const struct misuse_file misuse_cache = {shapes, TSL_COUNT_OF(shapes)};
