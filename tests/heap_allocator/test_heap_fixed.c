/* SPDX-License-Identifier: MIT
 *
 * test_heap_fixed.c: the heap in an array of the caller: any address, any size, all of the
 * bookkeeping inside.
 *
 * Owns:    an array with guard bytes on both sides.
 * Needs:   tap.h.
 * Callers: host and kernel test images.
 */
#include <string.h>

#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/types.h>

#include "tap.h"
#include "test_soften.h"

#define GUARD 64u
#define BYTES (48u * TSL_PAGE_BYTES)

static TSL_ALIGNED(TSL_PAGE_BYTES) unsigned char storage[GUARD + BYTES + 2 * GUARD];

static bool is_untouched(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (storage[i] != 0xEE)
            return false;
    return true;
}

/* Blocks of one size until there are no more; then frees them all. Result: how many. */
static size_t fill_and_drain(struct tsl_heap *heap, const unsigned char *array, size_t array_bytes,
                             size_t bytes)
{
    size_t count = 0;
    void *chain = NULL;

    for (void **block; (block = tsl_heap_alloc(heap, bytes)) != NULL; count++) {
        size_t offset = (size_t)((unsigned char *)block - array);
        CHECK(offset < array_bytes && bytes <= array_bytes - offset);
        memset(block, 0xC3, bytes);
        *block = chain;
        chain = block;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        chain = next;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    return count;
}

/* One array: either refused as a whole, or a heap that works and stays inside. */
static bool try_array(size_t offset, size_t bytes)
{
    unsigned char *array = storage + offset;
    struct tsl_heap *heap = NULL;

    memset(storage, 0xEE, sizeof storage);
    enum tsl_status status = tsl_heap_create_fixed(array, bytes, &heap);
    if (status != TSL_OK) {
        CHECK(status == TSL_NO_MEMORY || status == TSL_INVALID);
        CHECK(heap == NULL && is_untouched(0, sizeof storage));
        return false;
    }
    test_heap_soften(heap);
    CHECK((unsigned char *)heap >= array && (unsigned char *)heap < array + bytes);
    size_t small = fill_and_drain(heap, array, bytes, 16);
    CHECK(small >= 64);
    (void)fill_and_drain(heap, array, bytes, 300);
    (void)fill_and_drain(heap, array, bytes, 5000);
    CHECK_EQ(fill_and_drain(heap, array, bytes, 16), small);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    CHECK(is_untouched(0, offset) && is_untouched(offset + bytes, sizeof storage));
    return true;
}

static void sizes_from_nothing_up(void)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 100, 4095, 4096, 4097, 8191, 8192, 8193};
    size_t least = 0;

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        (void)try_array(GUARD, sizes[i]);
        (void)try_array(GUARD + 1, sizes[i]);
    }
    CHECK(!try_array(GUARD, 0) && !try_array(GUARD, 1) && !try_array(GUARD, 4096));
    for (size_t bytes = 4096; bytes <= BYTES && least == 0; bytes += 509)
        least = try_array(GUARD, bytes) ? bytes : 0;
    tap_note("the smallest array with a heap has %zu bytes", least);
    CHECK(least != 0 && least <= (TSL_CPUS > 64 ? 32u : 24u) * 1024);
    CHECK(try_array(GUARD, BYTES));
}

static void any_address(void)
{
    for (size_t offset = GUARD; offset < 2 * GUARD; offset += 7) {
        CHECK(try_array(offset, BYTES));
        CHECK(try_array(offset, BYTES - 4095));
    }
}

static void impossible_arrays_are_refused(void)
{
    struct tsl_heap *heap = NULL;

    CHECK_STATUS(tsl_heap_create_fixed(NULL, 1u << 20, &heap), TSL_INVALID);
    CHECK_STATUS(tsl_heap_create_fixed(storage, SIZE_MAX, &heap), TSL_INVALID);
    CHECK_STATUS(tsl_heap_create_fixed(storage, BYTES, NULL), TSL_INVALID);
    CHECK_STATUS(tsl_heap_create_fixed((void *)(UINTPTR_MAX - 100), 1000, &heap), TSL_INVALID);
    /* The last bytes of the address space: nothing may wrap on the way to "too small". */
    CHECK_STATUS(tsl_heap_create_fixed((void *)(UINTPTR_MAX - 99), 100, &heap), TSL_NO_MEMORY);
    CHECK(heap == NULL);
}

static void large_blocks_grow_in_place(void)
{
    struct tsl_heap *heap = NULL;
    REQUIRE(tsl_heap_create_fixed(storage + GUARD, BYTES, &heap) == TSL_OK);
    test_heap_soften(heap);
    void *block = tsl_heap_alloc(heap, 40000);
    void *grown = tsl_heap_realloc(heap, block, 100000);

    CHECK_SAME(grown, block);
    CHECK(tsl_heap_realloc(heap, grown, BYTES) == NULL);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, grown), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static void a_second_life(void)
{
    struct tsl_heap *heap = NULL, *again = NULL;

    REQUIRE(tsl_heap_create_fixed(storage + GUARD, BYTES, &heap) == TSL_OK);
    test_heap_soften(heap);
    void *block = tsl_heap_alloc(heap, 100);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_BUSY);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    CHECK_STATUS(tsl_heap_create_fixed(storage + GUARD, BYTES, &again), TSL_OK);
    CHECK_STATUS(tsl_heap_destroy(again), TSL_OK);
}

TAP_SUITE(heap_fixed, TAP_TEST(sizes_from_nothing_up), TAP_TEST(any_address),
          TAP_TEST(impossible_arrays_are_refused), TAP_TEST(large_blocks_grow_in_place),
          TAP_TEST(a_second_life));
