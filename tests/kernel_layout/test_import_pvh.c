/* SPDX-License-Identifier: MIT
 *
 * test_import_pvh.c: PVH: start information, map and modules, right and broken.
 *
 * Owns:    the suite import_pvh.
 * Needs:   map_check.h; built when TSL_IMPORT_PVH is set.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

static void put_start(struct bytes *out, uint32_t version, uint32_t entries)
{
    put_u32(out, 0x336ec578);
    put_u32(out, version);
    put_u32(out, 0);
    put_u32(out, 1);
    put_u64(out, 0x11000);
    put_u64(out, 0x12000);
    put_u64(out, 0x13000);
    put_u64(out, 0x14000);
    put_u32(out, entries);
    put_u32(out, 0);
}

static void reads_the_information(void)
{
    struct bytes data = {.count = 0};
    struct tsl_boot_info info = {0};
    put_start(&data, 1, 5);
    CHECK_EQ(data.count, 56u);
    CHECK_STATUS(tsl_boot_read_pvh(data.at, data.count, &info), TSL_OK);
    CHECK_EQ(info.map, 0x14000u);
    CHECK_EQ(info.map_bytes, 120u);
    CHECK_EQ(info.modules, 0x11000u);
    CHECK_EQ(info.module_count, 1u);
    CHECK_EQ(info.command_line, 0x12000u);
    CHECK_EQ(info.rsdp, 0x13000u);
}

static void version_0_has_no_map(void)
{
    struct bytes data = {.count = 0};
    struct tsl_boot_info info = {.map = 7};
    put_start(&data, 0, 5);
    CHECK_STATUS(tsl_boot_read_pvh(data.at, 40, &info), TSL_OK);
    CHECK_EQ(info.map, 0u);
    CHECK_EQ(info.map_bytes, 0u);
    CHECK_EQ(info.rsdp, 0x13000u);
}

static void refuses_broken_information(void)
{
    struct bytes data = {.count = 0};
    struct tsl_boot_info info = {.map = 7};
    put_start(&data, 1, 0xffffffff);
    CHECK_STATUS(tsl_boot_read_pvh(NULL, 56, &info), TSL_CORRUPT);
    CHECK_STATUS(tsl_boot_read_pvh(data.at, 39, &info), TSL_CORRUPT);
    CHECK_STATUS(tsl_boot_read_pvh(data.at, 55, &info), TSL_CORRUPT);
    if (sizeof(size_t) == 4) {
        /* 2^32 entries do not fit in any 32-bit memory. */
        CHECK_STATUS(tsl_boot_read_pvh(data.at, 56, &info), TSL_CORRUPT);
    }
    poke_u32(&data, 0, 0x2badb002);
    CHECK_STATUS(tsl_boot_read_pvh(data.at, 56, &info), TSL_CORRUPT);
    CHECK_EQ(info.map, 7u);
}

static void put_entry(struct bytes *out, uint64_t start, uint64_t bytes, uint32_t type)
{
    put_u64(out, start);
    put_u64(out, bytes);
    put_u32(out, type);
    put_u32(out, 0);
}

static void takes_every_type(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 16);
    for (uint32_t type = 0; type < 9; type++)
        put_entry(&data, type * M, M, type);
    CHECK_STATUS(tsl_map_import_pvh(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {0, M, TSL_MEMORY_RESERVED}, {M, 2 * M, TSL_MEMORY_USABLE},
              {2 * M, 3 * M, TSL_MEMORY_RESERVED}, {3 * M, 4 * M, TSL_MEMORY_ACPI_RECLAIM},
              {4 * M, 5 * M, TSL_MEMORY_NVS}, {5 * M, 6 * M, TSL_MEMORY_BAD},
              {6 * M, 7 * M, TSL_MEMORY_RESERVED}, {7 * M, 8 * M, TSL_MEMORY_PERSISTENT},
              {8 * M, 9 * M, TSL_MEMORY_RESERVED});
}

static void refuses_cut_maps(void)
{
    struct bytes data = {.count = 0};
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, M, M, 1);
    put_entry(&data, 2 * M, M, 2);
    for (size_t bytes = 1; bytes < data.count; bytes++) {
        struct bytes cut;
        if (bytes != 24) {
            CHECK_REFUSED(map, tsl_map_import_pvh(map, cut_bytes(&cut, &data, bytes), bytes),
                          TSL_CORRUPT);
        }
    }
    CHECK_REFUSED(map, tsl_map_import_pvh(map, data.at, 0), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_pvh(map, NULL, 24), TSL_INVALID);
}

static void modules_are_not_usable(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 0, 16 * M, TSL_MEMORY_USABLE), TSL_OK);
    put_u64(&data, 0x400001);
    put_u64(&data, 0x1000);
    put_u64(&data, 0);
    put_u64(&data, 0);
    CHECK_STATUS(tsl_map_import_pvh_modules(map, data.at, data.count), TSL_OK);
    CHECK_MAP(map, {0, 0x400000, TSL_MEMORY_USABLE}, {0x400000, 0x402000, TSL_MEMORY_MODULE},
              {0x402000, 16 * M, TSL_MEMORY_USABLE});
    CHECK_STATUS(tsl_map_import_pvh_modules(map, data.at, data.count - 1), TSL_CORRUPT);
}

TAP_SUITE(import_pvh, TAP_TEST(reads_the_information), TAP_TEST(version_0_has_no_map),
          TAP_TEST(refuses_broken_information), TAP_TEST(takes_every_type),
          TAP_TEST(refuses_cut_maps), TAP_TEST(modules_are_not_usable));
