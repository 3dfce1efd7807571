/* SPDX-License-Identifier: MIT
 *
 * test_import_multiboot2.c: Multiboot 2: tags right, missing, cut and lying.
 *
 * Owns:    the suite import_multiboot2.
 * Needs:   map_check.h; built when TSL_IMPORT_MULTIBOOT2 is set.
 * Callers: host and kernel test programs.
 */
#include <tesela/config.h>

#include "map_check.h"

static void put_tag(struct bytes *out, uint32_t type, uint32_t size)
{
    while (out->count % 8 != 0)
        out->at[out->count++] = 0xcc;
    put_u32(out, type);
    put_u32(out, size);
}

static void put_entry(struct bytes *out, uint64_t start, uint64_t bytes, uint32_t type)
{
    put_u64(out, start);
    put_u64(out, bytes);
    put_u32(out, type);
    put_u32(out, 0xdddddddd);
}

static void put_end(struct bytes *out)
{
    put_tag(out, 0, 8);
    poke_u32(out, 0, (uint32_t)out->count);
}

#define MODULE_AT 24u
#define MAP_AT    48u

/* Header, a command line of odd length, a module, the map, the end: as GRUB lays them out. */
static void put_information(struct bytes *out)
{
    put_u64(out, 0);
    put_tag(out, 1, 11);
    out->at[out->count++] = 'h';
    out->at[out->count++] = 'i';
    out->at[out->count++] = 0;
    put_tag(out, 3, 19);
    put_u32(out, 0x300010);
    put_u32(out, 0x301010);
    out->at[out->count++] = 'm';
    out->at[out->count++] = '1';
    out->at[out->count++] = 0;
    put_tag(out, 6, 16 + 3 * 24);
    put_u32(out, 24);
    put_u32(out, 0);
    put_entry(out, 0, 640 * K, 1);
    put_entry(out, M, 15 * M, 1);
    put_entry(out, 15 * M, M, 4);
    put_end(out);
}

static void takes_map_and_modules(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_information(&data);
    CHECK_STATUS(tsl_map_import_multiboot2(map, data.at, data.count + 100), TSL_OK);
    CHECK_MAP(map, {0, 640 * K, TSL_MEMORY_USABLE}, {M, 0x300000, TSL_MEMORY_USABLE},
              {0x300000, 0x302000, TSL_MEMORY_MODULE}, {0x302000, 15 * M, TSL_MEMORY_USABLE},
              {15 * M, 16 * M, TSL_MEMORY_NVS});
}

static void refuses_cut_information(void)
{
    struct bytes data = {.count = 0};
    put_information(&data);
    size_t whole = data.count;
    for (size_t bytes = 0; bytes < whole; bytes++) {
        struct bytes cut;
        struct test_map test;
        struct tsl_memory_map *map = fresh_map(&test, 8);
        /* The buffer is shorter than the structure says ... */
        CHECK_REFUSED(map, tsl_map_import_multiboot2(map, cut_bytes(&cut, &data, bytes), bytes),
                      TSL_CORRUPT);
        /* ... and the structure says itself that it is shorter. */
        poke_u32(&data, 0, (uint32_t)bytes);
        CHECK_REFUSED(map, tsl_map_import_multiboot2(map, cut_bytes(&cut, &data, bytes), bytes),
                      TSL_CORRUPT);
        poke_u32(&data, 0, (uint32_t)whole);
    }
}

static void refuses_sizes_that_lie(void)
{
    static const uint32_t places[] = {MODULE_AT + 4, MAP_AT + 4, MAP_AT + 8};
    static const uint32_t sizes[] = {0, 7, 15, 0x7fffffff, 0xfffffff8, 0xffffffff};
    for (size_t i = 0; i < TSL_COUNT_OF(places); i++) {
        for (size_t j = 0; j < TSL_COUNT_OF(sizes); j++) {
            struct test_map test;
            struct bytes data = {.count = 0};
            struct tsl_memory_map *map = fresh_map(&test, 8);
            put_information(&data);
            poke_u32(&data, places[i], sizes[j]);
            CHECK_REFUSED(map, tsl_map_import_multiboot2(map, data.at, data.count), TSL_CORRUPT);
        }
    }
}

/* Small tags between good ones, so that only their own size can give them away. */
static void refuses_tags_that_are_too_small(void)
{
    for (uint32_t type = 1; type < 20; type++) {
        for (uint32_t size = 0; size < 16; size += 4) {
            struct test_map test;
            struct bytes data = {.count = 0};
            struct tsl_memory_map *map = fresh_map(&test, 8);
            bool has_content = type == 3 || type == 6 || type == 17;
            bool is_right = size >= (has_content ? 16u : 8u);
            put_u64(&data, 0);
            put_tag(&data, type, size);
            for (uint32_t i = 8; i < size; i += 4)
                put_u32(&data, 24);
            put_tag(&data, 6, 16 + 24);
            put_u32(&data, 24);
            put_u32(&data, 0);
            put_entry(&data, M, M, 1);
            put_end(&data);
            if (is_right) {
                CHECK_STATUS(tsl_map_import_multiboot2(map, data.at, data.count), TSL_OK);
            } else {
                CHECK_REFUSED(map, tsl_map_import_multiboot2(map, data.at, data.count),
                              TSL_CORRUPT);
            }
        }
    }
}

/* Entries of 25 bytes do not divide the tag; entries of 36 do, and are longer than we know. */
static void entry_size_is_the_tags(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_information(&data);
    poke_u32(&data, MAP_AT + 8, 25);
    CHECK_REFUSED(map, tsl_map_import_multiboot2(map, data.at, data.count), TSL_CORRUPT);
    poke_u32(&data, MAP_AT + 8, 36);
    CHECK_STATUS(tsl_map_import_multiboot2(map, data.at, data.count), TSL_OK);
    CHECK_EQ(map->counters.entries, 3u); /* two of the map, one module */
}

static void needs_a_map(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_u64(&data, 0);
    put_end(&data);
    CHECK_REFUSED(map, tsl_map_import_multiboot2(map, data.at, data.count), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_multiboot2(map, NULL, 16), TSL_INVALID);
    data.count = 8;
    put_tag(&data, 6, 16);
    put_u32(&data, 24);
    put_u32(&data, 0);
    put_end(&data);
    CHECK_REFUSED(map, tsl_map_import_multiboot2(map, data.at, data.count), TSL_NOT_FOUND);
}

static void takes_the_efi_map_instead(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    if (!TSL_IMPORT_UEFI)
        SKIP("no UEFI importer");
    put_u64(&data, 0);
    put_tag(&data, 17, 16 + 48);
    put_u32(&data, 48);
    put_u32(&data, 1);
    put_u64(&data, 7);
    put_u64(&data, M);
    put_u64(&data, 0);
    put_u64(&data, 256);
    put_u64(&data, 0xf);
    put_u64(&data, 0);
    put_end(&data);
    CHECK_STATUS(tsl_map_import_multiboot2(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {M, 2 * M, TSL_MEMORY_USABLE});
}

TAP_SUITE(import_multiboot2, TAP_TEST(takes_map_and_modules), TAP_TEST(refuses_cut_information),
          TAP_TEST(refuses_sizes_that_lie), TAP_TEST(refuses_tags_that_are_too_small),
          TAP_TEST(entry_size_is_the_tags), TAP_TEST(needs_a_map),
          TAP_TEST(takes_the_efi_map_instead));
