/* SPDX-License-Identifier: MIT
 *
 * test_import_multiboot1.c: Multiboot 1: what is right is taken, what is broken refused whole.
 *
 * Owns:    the suite import_multiboot1.
 * Needs:   map_check.h; built when TSL_IMPORT_MULTIBOOT1 is set.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

static void put_entry(struct bytes *out, uint32_t size, uint64_t start, uint64_t bytes,
                      uint32_t type)
{
    put_u32(out, size);
    put_u64(out, start);
    put_u64(out, bytes);
    put_u32(out, type);
}

static void reads_the_information(void)
{
    struct bytes data = {.count = 0};
    struct tsl_boot_info info = {.map = 7};
    put_u32(&data, 1u << 0 | 1u << 2 | 1u << 3 | 1u << 6);
    put_u32(&data, 639);
    put_u32(&data, 0xffffffff); /* in KiB: nearly 4 TiB */
    put_u32(&data, 0);
    put_u32(&data, 0x5000);
    put_u32(&data, 2);
    put_u32(&data, 0x6000);
    data.count = 44;
    put_u32(&data, 144);
    put_u32(&data, 0x9000);
    CHECK_STATUS(tsl_boot_read_multiboot1(data.at, 51, &info), TSL_CORRUPT);
    CHECK_STATUS(tsl_boot_read_multiboot1(NULL, 52, &info), TSL_CORRUPT);
    CHECK_EQ(info.map, 7u);
    CHECK_STATUS(tsl_boot_read_multiboot1(data.at, 52, &info), TSL_OK);
    CHECK_EQ(info.map, 0x9000u);
    CHECK_EQ(info.map_bytes, 144u);
    CHECK_EQ(info.modules, 0x6000u);
    CHECK_EQ(info.module_count, 2u);
    CHECK_EQ(info.command_line, 0x5000u);
    CHECK_EQ(info.lower_bytes, 639 * K);
    CHECK_EQ(info.upper_bytes, 0xffffffff * K);
    poke_u32(&data, 0, 0); /* nothing is said to be valid */
    CHECK_STATUS(tsl_boot_read_multiboot1(data.at, 52, &info), TSL_OK);
    CHECK_EQ(info.map + info.map_bytes + info.modules + info.module_count, 0u);
    CHECK_EQ(info.command_line + info.lower_bytes + info.upper_bytes, 0u);
}

static void takes_entries_of_any_size(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, 20, 0, 640 * K, 1);
    put_entry(&data, 28, M, 15 * M, 1);
    put_u64(&data, 0xffffffffffffffff); /* what a later version may add */
    put_entry(&data, 20, 2 * M, M, 20); /* a type that nobody knows */
    put_entry(&data, 20, 3 * M, M, 3);
    CHECK_STATUS(tsl_map_import_multiboot1(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {0, 640 * K, TSL_MEMORY_USABLE}, {M, 2 * M, TSL_MEMORY_USABLE},
              {2 * M, 3 * M, TSL_MEMORY_RESERVED}, {3 * M, 4 * M, TSL_MEMORY_ACPI_RECLAIM},
              {4 * M, 16 * M, TSL_MEMORY_USABLE});
}

/* Cut at every byte: only a cut between two entries leaves a map that can be believed. */
static void refuses_cut_maps(void)
{
    struct bytes data = {.count = 0};
    put_entry(&data, 20, 0, 640 * K, 1);
    put_entry(&data, 20, M, 15 * M, 1);
    for (size_t bytes = 0; bytes < data.count; bytes++) {
        struct bytes cut;
        struct test_map test;
        struct tsl_memory_map *map = fresh_map(&test, 8);
        if (bytes == 24) {
            CHECK_STATUS(tsl_map_import_multiboot1(map, cut_bytes(&cut, &data, bytes), bytes),
                         TSL_OK);
        } else {
            CHECK_REFUSED(map, tsl_map_import_multiboot1(map, cut_bytes(&cut, &data, bytes), bytes),
                          bytes == 0 ? TSL_NOT_FOUND : TSL_CORRUPT);
        }
    }
}

static void refuses_sizes_that_lie(void)
{
    static const uint32_t sizes[] = {0, 1, 19, 21, 0x7fffffff, 0xffffffec, 0xfffffffc, 0xffffffff};
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        struct bytes data = {.count = 0};
        put_entry(&data, 20, M, M, 1);
        put_entry(&data, sizes[i], 2 * M, M, 2);
        CHECK_REFUSED(map, tsl_map_import_multiboot1(map, data.at, data.count), TSL_CORRUPT);
    }
    CHECK_REFUSED(map, tsl_map_import_multiboot1(map, NULL, 24), TSL_INVALID);
    struct bytes data = {.count = 0};
    put_u32(&data, 0); /* an entry of nothing but its size, then a good one */
    put_entry(&data, 20, M, M, 1);
    CHECK_REFUSED(map, tsl_map_import_multiboot1(map, data.at, data.count), TSL_CORRUPT);
}

static void absurd_entries_do_not_stop_the_others(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, 20, 0xffffffffffff0000, 0x20000, 2);
    put_entry(&data, 20, M, 0, 1);
    put_entry(&data, 20, M, M, 1);
    CHECK_STATUS(tsl_map_import_multiboot1(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {M, 2 * M, TSL_MEMORY_USABLE});
    CHECK_EQ(map->counters.entries, 3u);
    CHECK_EQ(map->counters.refused_wrapping, 1u);
    CHECK_EQ(map->counters.refused_empty, 1u);
}

static void modules_are_not_usable(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 0, 16 * M, TSL_MEMORY_USABLE), TSL_OK);
    put_u32(&data, 0x200123);
    put_u32(&data, 0x200fff);
    put_u64(&data, 0);
    put_u32(&data, 0x500000);
    put_u32(&data, 0x4fffff); /* ends before it starts */
    put_u64(&data, 0);
    CHECK_STATUS(tsl_map_import_multiboot1_modules(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {0, 0x200000, TSL_MEMORY_USABLE}, {0x200000, 0x201000, TSL_MEMORY_MODULE},
              {0x201000, 16 * M, TSL_MEMORY_USABLE});
    CHECK_EQ(map->counters.refused_wrapping, 1u);
    CHECK_STATUS(tsl_map_import_multiboot1_modules(map, data.at, 31), TSL_CORRUPT);
}

/* More than any fixed table of a boot loader: 312 entries, in a map with room for 64. */
static void many_entries(void)
{
    static uint8_t many[312 * 24];
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, TEST_CAPACITY);
    for (unsigned i = 0; i < 312; i++) {
        struct bytes one = {.count = 0};
        unsigned at = i * 85 % 312; /* 85 and 312 have no common divisor: every place once */
        put_entry(&one, 20, M + at * M, at % 2 == 0 ? M : 4 * K, at % 2 == 0 ? 1 : 2);
        for (size_t b = 0; b < 24; b++)
            many[i * 24 + b] = one.at[b];
    }
    CHECK_STATUS(tsl_map_import_multiboot1(map, many, sizeof many), TSL_OK);
    CHECK_EQ(map->counters.entries, 312u);
    CHECK_EQ(tsl_map_verify(map).rule, 0u);
    CHECK(tsl_map_bytes(map, TSL_MEMORY_USABLE) >= 30 * M);
    CHECK_EQ(tsl_map_bytes(map, TSL_MEMORY_USABLE) + map->counters.given_up_bytes, 156 * M);
    for (unsigned at = 1; at < 312; at += 2) {
        const struct tsl_memory_range *range = tsl_map_at(map, M + at * M);
        CHECK(range != NULL && range->type == TSL_MEMORY_RESERVED);
    }
}

TAP_SUITE(import_multiboot1, TAP_TEST(reads_the_information), TAP_TEST(takes_entries_of_any_size),
          TAP_TEST(refuses_cut_maps), TAP_TEST(refuses_sizes_that_lie),
          TAP_TEST(absurd_entries_do_not_stop_the_others), TAP_TEST(modules_are_not_usable),
          TAP_TEST(many_entries));
