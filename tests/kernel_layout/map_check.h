/* SPDX-License-Identifier: MIT
 *
 * map_check.h: what the tests of memory maps share.
 *
 * Owns:    a map with its storage, the comparison of a whole map with the expected list, a writer
 *          of little-endian bytes for synthetic boot maps.
 * Needs:   tap.h. No libc: these tests also run inside the kernel.
 * Callers: the tests of this folder.
 */
#ifndef MAP_CHECK_H
#define MAP_CHECK_H

#include <tesela/boot_map.h>
#include <tesela/memory_map.h>

#include "tap.h"

#define K ((tsl_paddr)1 << 10)
#define M ((tsl_paddr)1 << 20)
#define G ((tsl_paddr)1 << 30)

#define TEST_CAPACITY 64u

struct test_map {
    struct tsl_memory_map map;
    struct tsl_memory_range storage[TEST_CAPACITY];
};

/* An empty map with room for `capacity` ranges, at most TEST_CAPACITY. */
static inline struct tsl_memory_map *fresh_map(struct test_map *self, size_t capacity)
{
    CHECK_STATUS(tsl_map_init(&self->map, self->storage, capacity), TSL_OK);
    return &self->map;
}

/* The whole list is what was expected, and sound. */
static inline bool map_is(const struct tsl_memory_map *map, const struct tsl_memory_range *expected,
                          size_t count)
{
    bool same = map->count == count && tsl_map_verify(map).rule == 0;
    for (size_t i = 0; same && i < count; i++) {
        same = map->ranges[i].start == expected[i].start && map->ranges[i].end == expected[i].end &&
               map->ranges[i].type == expected[i].type;
    }
    return same;
}

#define CHECK_MAP(map, ...)                                                                        \
    do {                                                                                           \
        const struct tsl_memory_range expected_[] = {__VA_ARGS__};                                 \
        CHECK(map_is((map), expected_, TSL_COUNT_OF(expected_)));                                  \
    } while (0)

/* Bytes of a synthetic boot map, at an odd address so that alignment is never assumed. */
struct bytes {
    size_t count;
    uint8_t unused;
    uint8_t at[1023];
};

/*
 * The first `bytes` of `source`, moved so that they end where `self` ends: on the host the address
 * sanitizer then sees every read past them.
 */
static inline const uint8_t *cut_bytes(struct bytes *self, const struct bytes *source, size_t bytes)
{
    uint8_t *first = self->at + sizeof self->at - bytes;
    for (size_t i = 0; i < bytes; i++)
        first[i] = source->at[i];
    return first;
}

static inline void put_u32(struct bytes *self, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        self->at[self->count++] = (uint8_t)(value >> (8 * i));
}

static inline void put_u64(struct bytes *self, uint64_t value)
{
    put_u32(self, (uint32_t)value);
    put_u32(self, (uint32_t)(value >> 32));
}

/* Overwrites four bytes: a size field that lies. */
static inline void poke_u32(struct bytes *self, size_t offset, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        self->at[offset + i] = (uint8_t)(value >> (8 * i));
}

/* The import is refused with `status`, and the map is as before. */
#define CHECK_REFUSED(map, call, status)                                                           \
    do {                                                                                           \
        size_t count_ = (map)->count;                                                              \
        tsl_word refused_ = tsl_refusals_of(&(map)->refusals, (status));                           \
        CHECK_STATUS((call), (status));                                                            \
        CHECK_EQ((map)->count, count_);                                                            \
        CHECK_EQ((map)->counters.entries, 0u);                                                     \
        CHECK_EQ(tsl_refusals_of(&(map)->refusals, (status)), refused_ + 1);                       \
    } while (0)

#endif
