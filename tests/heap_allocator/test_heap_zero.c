/* SPDX-License-Identifier: MIT
 *
 * test_heap_zero.c: objects of size 0: addresses of their own in pages without access, or ordinary
 * blocks where there can be no such pages.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides, test_source.h (whose closed pages must stay as they are), tap.h.
 * Callers: host and kernel test images. That a use faults: the corpus of misuse,
 *          tests/kernel/heap.c.
 */
#include "heap_allocator_internal.h"
#include "test_source.h"

#define OBJECTS 600u

static struct test_source source;
static void *objects[OBJECTS];

/* A heap over a source that can take access away. */
static struct tsl_heap *closing_heap(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap *heap = NULL;

    config.source.protect = test_source_protect;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    return heap;
}

static bool is_closed(const void *address)
{
    return source.is_closed[(size_t)((const char *)address - source.start) / TSL_PAGE_BYTES];
}

static size_t closed_pages(void)
{
    size_t count = 0;

    for (size_t i = 0; i < ARENA_PAGES; i++)
        count += source.is_closed[i];
    return count;
}

static void each_has_an_address_without_access(void)
{
    if (!TSL_HEAP_ZERO_FAULTS)
        SKIP("built without HEAP_ZERO_FAULTS");
    struct tsl_heap *heap = closing_heap();

    for (unsigned i = 0; i < OBJECTS; i++) {
        objects[i] = i % 2 == 0 ? tsl_heap_alloc(heap, 0) : tsl_heap_alloc_array(heap, 0, 24);
        REQUIRE(objects[i] != NULL);
        CHECK(is_closed(objects[i]) && (uintptr_t)objects[i] % TSL_HEAP_ALIGN == 0);
        for (unsigned other = 0; other < i; other++)
            CHECK(objects[i] != objects[other]);
    }
    CHECK(closed_pages() >= OBJECTS * TSL_HEAP_ALIGN / TSL_PAGE_BYTES);
    CHECK_SOUND(tsl_heap_verify(heap));
    for (unsigned i = 0; i < OBJECTS; i++)
        CHECK_STATUS(tsl_heap_free(heap, objects[i]), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    test_heap_end(heap, &source);
}

static void it_is_freed_like_any_other(void)
{
    if (!TSL_HEAP_ZERO_FAULTS)
        SKIP("built without HEAP_ZERO_FAULTS");
    struct tsl_heap *heap = closing_heap();
    void *object = tsl_heap_alloc(heap, 0), *other = tsl_heap_alloc_flags(heap, 0, TSL_HEAP_ZERO);

    CHECK_EQ(tsl_heap_usable(heap, object), 0);
    CHECK_EQ(test_refusals(heap, TSL_INVALID), 0);
    CHECK_STATUS(tsl_heap_free(heap, (char *)object + 1), TSL_MISALIGNED);
    CHECK_STATUS(tsl_heap_free_sized(heap, object, 1), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_heap_free_sized(heap, object, 0), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, object), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free_flags(heap, other, TSL_HEAP_NO_WAIT), TSL_OK);
    test_heap_end(heap, &source);
}

static void a_resize_leads_there_and_away(void)
{
    struct tsl_heap *heap = closing_heap();
    char *block = tsl_heap_alloc(heap, 100);

    memset(block, 7, 100);
    void *object = tsl_heap_realloc(heap, block, 0);
    REQUIRE(object != NULL);
    CHECK_EQ(is_closed(object), TSL_HEAP_ZERO_FAULTS);
    void *again = tsl_heap_realloc(heap, object, 0);
    CHECK(again == object || (TSL_HEAP_HARDENING >= 2 && again != NULL));
    CHECK_EQ(is_closed(again), TSL_HEAP_ZERO_FAULTS);
    block = tsl_heap_realloc(heap, again, 3000);
    REQUIRE(block != NULL && !is_closed(block));
    memset(block, 7, 3000);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    test_heap_end(heap, &source);
}

static void without_such_pages_it_is_a_block(void)
{
    struct tsl_heap *heap = closing_heap();

    source.refuses_to_close = true;
    char *block = tsl_heap_alloc(heap, 0);
    REQUIRE(block != NULL && !is_closed(block));
    CHECK_STATUS(tsl_heap_free_sized(heap, block, 0), TSL_OK);
    source.refuses_to_close = false;
    void *aligned = tsl_heap_alloc_aligned(heap, 64, 0);
    CHECK(aligned != NULL && !is_closed(aligned) && (uintptr_t)aligned % 64 == 0);
    CHECK_STATUS(tsl_heap_free(heap, aligned), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    test_heap_end(heap, &source);
}

static void who_may_not_wait_gets_one_too(void)
{
    struct tsl_heap *heap = closing_heap();
    void *small = tsl_heap_alloc(heap, 1), *first = tsl_heap_alloc(heap, 0);
    void *second = tsl_heap_alloc_flags(heap, 0, TSL_HEAP_NO_WAIT);

    CHECK(small != NULL && first != NULL && second != NULL);
    CHECK_EQ(is_closed(second), TSL_HEAP_ZERO_FAULTS);
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
    test_heap_end(heap, &source);
    heap = closing_heap();
    /* No slab of such objects yet: a block, from a slab that is there. */
    small = tsl_heap_alloc(heap, 1);
    second = tsl_heap_alloc_flags(heap, 0, TSL_HEAP_NO_WAIT);
    CHECK(second != NULL && !is_closed(second));
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    CHECK_STATUS(tsl_heap_free_sized(heap, second, 0), TSL_OK);
    test_heap_end(heap, &source);
}

TAP_SUITE(heap_zero, TAP_TEST(each_has_an_address_without_access),
          TAP_TEST(it_is_freed_like_any_other), TAP_TEST(a_resize_leads_there_and_away),
          TAP_TEST(without_such_pages_it_is_a_block), TAP_TEST(who_may_not_wait_gets_one_too));
