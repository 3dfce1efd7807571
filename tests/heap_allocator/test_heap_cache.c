/* SPDX-License-Identifier: MIT
 *
 * test_heap_cache.c: typed caches: construction once, state kept, misuse, pages that come back.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides (break test), test_source.h, tap.h.
 * Callers: host and kernel test images.
 */
#include <tesela/heap_cache.h>

#include "heap_allocator_internal.h"

#include "test_source.h"

static struct test_source source;
static struct tsl_heap *heap;
static unsigned constructed;

struct object {
    uint32_t magic;
    uint32_t uses;
    char rest[92];
};

static void construct(void *context, void *object)
{
    struct object *self = object;

    CHECK(context == &constructed);
    self->magic = 0xC0FFEE;
    self->uses = 0;
    constructed++;
}

static struct tsl_heap_cache *make(size_t bytes, size_t align)
{
    struct tsl_heap_cache_config config = {
        .object_bytes = bytes, .align = align, .construct = NULL, .context = &constructed};
    struct tsl_heap_cache *cache = NULL;

    if (bytes == sizeof(struct object))
        config.construct = construct;
    constructed = 0;
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_OK);
    return cache;
}

static void end(struct tsl_heap_cache *cache)
{
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_OK);
    test_heap_end(heap, &source);
}

static void objects_are_constructed_once_and_keep_their_state(void)
{
    static struct object *objects[200];
    unsigned uses = 0;

    heap = test_heap(&source, 0);
    struct tsl_heap_cache *cache = make(sizeof(struct object), 64);
    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = 0; i < TSL_COUNT_OF(objects); i++) {
            objects[i] = tsl_heap_cache_alloc(cache, 0);
            REQUIRE(objects[i] != NULL);
            CHECK((uintptr_t)objects[i] % 64 == 0 && objects[i]->magic == 0xC0FFEE);
            uses += ++objects[i]->uses > round;
        }
        CHECK_EQ(tsl_heap_cache_live(cache), TSL_COUNT_OF(objects));
        CHECK_SOUND(tsl_heap_verify(heap));
        /* Not all: else its slabs would go back, and new ones be constructed. */
        for (size_t i = 0; i < TSL_COUNT_OF(objects); i++)
            CHECK_STATUS(tsl_heap_cache_free(cache, objects[i]), TSL_OK);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    CHECK(uses >= TSL_COUNT_OF(objects) + 4);
    CHECK(constructed >= TSL_COUNT_OF(objects));
    end(cache);
}

static void the_wrong_way_to_free_is_refused(void)
{
    heap = test_heap(&source, 0);
    struct tsl_heap_cache *cache = make(sizeof(struct object), 0), *other = make(100, 0);
    char *object = tsl_heap_cache_alloc(cache, 0);
    void *block = tsl_heap_alloc(heap, 100);

    CHECK_STATUS(tsl_heap_free(heap, object), TSL_FOREIGN);
    CHECK(tsl_heap_realloc(heap, object, 10) == NULL);
    CHECK_EQ(tsl_heap_usable(heap, object), 0);
    CHECK_STATUS(tsl_heap_cache_free(cache, block), TSL_FOREIGN);
    CHECK_STATUS(tsl_heap_cache_free(other, object), TSL_FOREIGN);
    CHECK_STATUS(tsl_heap_cache_free(cache, object + 16), TSL_INVALID);
    CHECK_STATUS(tsl_heap_cache_free(cache, NULL), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_BUSY);
    CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_DOUBLE_FREE);
    CHECK(tsl_heap_cache_alloc(cache, TSL_HEAP_ZERO) == NULL);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_destroy(other), TSL_OK);
    CHECK_STATUS(tsl_heap_cache_destroy(NULL), TSL_INVALID);
    end(cache);
}

static void bad_configurations_are_refused(void)
{
    heap = test_heap(&source, 0);
    struct tsl_heap_cache_config config = {.object_bytes = 0};
    struct tsl_heap_cache *cache = NULL;

    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_INVALID);
    CHECK_STATUS(tsl_heap_cache_create(heap, NULL, &cache), TSL_INVALID);
    config.object_bytes = 10;
    CHECK_STATUS(tsl_heap_cache_create(NULL, &config, &cache), TSL_INVALID);
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, NULL), TSL_INVALID);
    config.align = 48;
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_MISALIGNED);
    config.align = 2 * TSL_PAGE_BYTES;
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_MISALIGNED);
    config.align = 0;
    config.object_bytes = 32769;
    CHECK_STATUS(tsl_heap_cache_create(heap, &config, &cache), TSL_OUT_OF_RANGE);
    CHECK(cache == NULL);
    test_heap_end(heap, &source);
}

/* A cache with live objects does not end, and neither does its heap: both are as before, and
 * whoever frees the objects may end them. */
static void a_cache_in_use_goes_on(void)
{
    static struct object *objects[100];

    heap = test_heap(&source, 0);
    struct tsl_heap_cache *cache = make(sizeof(struct object), 0);
    for (size_t i = 0; i < TSL_COUNT_OF(objects); i++) {
        objects[i] = tsl_heap_cache_alloc(cache, 0);
        REQUIRE(objects[i] != NULL);
        objects[i]->uses = (uint32_t)i;
    }
    for (size_t left = TSL_COUNT_OF(objects); left > 0; left--) {
        size_t busy = test_refusals(heap, TSL_BUSY);
        CHECK_STATUS(tsl_heap_cache_destroy(cache), TSL_BUSY);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_BUSY);
        CHECK_EQ(test_refusals(heap, TSL_BUSY), busy + 2);
        CHECK_EQ(tsl_heap_cache_live(cache), left);
        CHECK_SOUND(tsl_heap_verify(heap));
        for (size_t i = 0; i < left; i++)
            if (objects[i]->magic != 0xC0FFEE || objects[i]->uses != i)
                CHECK_EQ(objects[i]->uses, i);
        CHECK_STATUS(tsl_heap_cache_free(cache, objects[left - 1]), TSL_OK);
    }
    /* It serves as before. */
    objects[0] = tsl_heap_cache_alloc(cache, 0);
    REQUIRE(objects[0] != NULL);
    CHECK_EQ(objects[0]->magic, 0xC0FFEE);
    CHECK_STATUS(tsl_heap_cache_free(cache, objects[0]), TSL_OK);
    end(cache);
}

static unsigned shrunk;

/* Gives an object back, from within a request for another. */
static size_t shrink(void *context, size_t bytes)
{
    void **held = context;
    struct tsl_heap_cache *cache = held[0];

    (void)bytes;
    shrunk++;
    if (held[1] == NULL)
        return 0;
    CHECK_STATUS(tsl_heap_cache_free(cache, held[1]), TSL_OK);
    held[1] = NULL;
    return 300;
}

/* A cache that is out of memory gets what waits in quarantine, then what others give back. */
static void what_waits_serves_a_cache(void)
{
    void *held[2];
    struct tsl_heap_shrinker shrinker = {.shrink = shrink, .context = held};
    size_t count[2] = {0, 0};

    heap = test_heap(&source, 120);
    struct tsl_heap_cache *cache = make(300, 0);
    held[0] = cache;
    held[1] = NULL;
    for (unsigned round = 0; round < 2; round++) {
        void *chain = NULL;
        if (round == 1) {
            /* Several large blocks, which wait where there is a quarantine. */
            void *large[4];
            for (size_t i = 0; i < TSL_COUNT_OF(large); i++)
                large[i] = tsl_heap_alloc(heap, 3 * TSL_PAGE_BYTES);
            for (size_t i = 0; i < TSL_COUNT_OF(large); i++)
                CHECK_STATUS(tsl_heap_free(heap, large[i]), TSL_OK);
        }
        for (void **object; (object = tsl_heap_cache_alloc(cache, 0)) != NULL; count[round]++) {
            *object = chain;
            chain = object;
        }
        if (round == 1) {
            held[1] = chain;
            chain = *(void **)chain;
            tsl_heap_shrinker_add(heap, &shrinker);
            void **object = tsl_heap_cache_alloc(cache, 0);
            CHECK(object != NULL && shrunk > 0);
            CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
            tsl_heap_shrinker_remove(heap, &shrinker);
        }
        for (void *next; chain != NULL; chain = next) {
            next = *(void **)chain;
            CHECK_STATUS(tsl_heap_cache_free(cache, chain), TSL_OK);
        }
        (void)tsl_heap_trim(heap);
    }
    tap_note("%zu and %zu objects", count[0], count[1]);
    CHECK(count[0] <= count[1] + count[1] / 16);
    end(cache);
}

/* Every object of the heap's ceiling can be had, and all pages come back. */
static void a_cache_fills_the_heap_and_empties_it(void)
{
    heap = test_heap(&source, 80);
    struct tsl_heap_cache *cache = make(300, 0);
    size_t count[2] = {0, 0};

    for (unsigned round = 0; round < 2; round++) {
        void *chain = NULL;
        for (void **object; (object = tsl_heap_cache_alloc(cache, 0)) != NULL; count[round]++) {
            *object = chain;
            chain = object;
        }
        CHECK(tsl_heap_cache_alloc(cache, TSL_HEAP_NO_WAIT) == NULL);
        CHECK_SOUND(tsl_heap_verify(heap));
        for (void *next; chain != NULL; chain = next) {
            next = *(void **)chain;
            CHECK_STATUS(tsl_heap_cache_free(cache, chain), TSL_OK);
        }
        CHECK_SOUND(tsl_heap_verify(heap));
        /* What the cache kept serves the heap before that fails. */
        void *large = tsl_heap_alloc(heap, 60 * TSL_PAGE_BYTES);
        CHECK(large != NULL);
        CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    }
    tap_note("%zu and %zu objects", count[0], count[1]);
    /* Call sites take room too, which they keep, and the ring that the large block waits in has come
     * meanwhile. */
    CHECK(count[0] > (test_heap_is_hardened ? 400u : 800u));
    size_t more = count[1] > count[0] ? count[1] - count[0] : count[0] - count[1];
    CHECK(more <= (test_heap_is_hardened ? 30u : 0u));
    end(cache);
}

/* Every start in a slab of this class is one, and the bytes beside it are none. */
static bool finds_its_starts(const struct heap_class *class)
{
    uint32_t bytes = (uint32_t) class->slab_pages << TSL_PAGE_SHIFT;
    uint32_t start = 0;
    size_t index;

    for (size_t i = 0; i < class->slab_blocks; i++, start += class->block_bytes) {
        if (!heap_split(class->reciprocal, start, &index) || index != i)
            return false;
        if (heap_split(class->reciprocal, start + 1, &index) || index != i)
            return false;
        if (heap_split(class->reciprocal, start + class->block_bytes - 1, &index) || index != i)
            return false;
    }
    /* What a slab is too short for is no block. */
    return start >= bytes || !heap_split(class->reciprocal, start, &index) ||
           index >= class->slab_blocks;
}

static void each_size_has_exact_starts(void)
{
    static const size_t ceilings[] = {100, 256, 4096, 65536};

    for (size_t i = 0; i < TSL_COUNT_OF(ceilings); i++) {
        unsigned bad = 0;
        for (uint32_t bytes = TSL_HEAP_ALIGN; bytes <= HEAP_CLASS_LARGEST; bytes += 16) {
            struct heap_class class;
            tsl_heap_class_shape(&class, bytes, ceilings[i]);
            bad += !finds_its_starts(&class);
        }
        CHECK_EQ(bad, 0);
    }
}

/* Of these the eighth in a row is beyond what the division is exact for. */
static void large_objects_of_a_large_heap_are_found(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 4096)};
    void *objects[16];

    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    struct tsl_heap_cache *cache = make(24960, 0);
    for (size_t i = 0; i < TSL_COUNT_OF(objects); i++)
        objects[i] = tsl_heap_cache_alloc(cache, 0);
    for (size_t i = 0; i < TSL_COUNT_OF(objects); i++) {
        CHECK_STATUS(tsl_heap_cache_free(cache, (char *)objects[i] + 16), TSL_INVALID);
        CHECK_STATUS(tsl_heap_cache_free(cache, objects[i]), TSL_OK);
    }
    end(cache);
}

static void the_verifier_looks_into_caches(void)
{
    heap = test_heap(&source, 0);
    struct tsl_heap_cache *cache = make(300, 0);
    void *object = tsl_heap_cache_alloc(cache, 0);
    struct heap_run *run = heap_map_at(heap, (uintptr_t)object);

    run->reciprocal = 1;
    CHECK_BROKEN(tsl_heap_verify(heap), 4);
    run->reciprocal = 0;
    cache->pool.slab_count++;
    CHECK_BROKEN(tsl_heap_verify(heap), 7);
    cache->pool.slab_count--;
    cache->pool.frees++;
    CHECK_BROKEN(tsl_heap_verify(heap), 11);
    cache->pool.frees--;
    CHECK_STATUS(tsl_heap_cache_free(cache, object), TSL_OK);
    end(cache);
}

TAP_SUITE(heap_cache, TAP_TEST(objects_are_constructed_once_and_keep_their_state),
          TAP_TEST(the_wrong_way_to_free_is_refused), TAP_TEST(bad_configurations_are_refused),
          TAP_TEST(a_cache_in_use_goes_on), TAP_TEST(what_waits_serves_a_cache),
          TAP_TEST(a_cache_fills_the_heap_and_empties_it), TAP_TEST(each_size_has_exact_starts),
          TAP_TEST(large_objects_of_a_large_heap_are_found),
          TAP_TEST(the_verifier_looks_into_caches));
