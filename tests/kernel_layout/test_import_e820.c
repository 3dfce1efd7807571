/* SPDX-License-Identifier: MIT
 *
 * test_import_e820.c: BIOS entries of 20 and 24 bytes, right and broken.
 *
 * Owns:    the suite import_e820.
 * Needs:   map_check.h; built when TSL_IMPORT_E820 is set.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

static void put_entry(struct bytes *out, uint64_t start, uint64_t bytes, uint32_t type)
{
    put_u64(out, start);
    put_u64(out, bytes);
    put_u32(out, type);
}

static void takes_every_type(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 16);
    static const uint32_t types[] = {1, 2, 3, 4, 5, 7, 12, 6, 0xffffffff};
    for (uint32_t i = 0; i < TSL_COUNT_OF(types); i++)
        put_entry(&data, (1 + i) * M, M, types[i]);
    CHECK_STATUS(tsl_map_import_e820(map, data.at, data.count, 20), TSL_OK);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE}, {2 * M, 3 * M, TSL_MEMORY_RESERVED},
              {3 * M, 4 * M, TSL_MEMORY_ACPI_RECLAIM}, {4 * M, 5 * M, TSL_MEMORY_NVS},
              {5 * M, 6 * M, TSL_MEMORY_BAD}, {6 * M, 8 * M, TSL_MEMORY_PERSISTENT},
              {8 * M, 10 * M, TSL_MEMORY_RESERVED});
}

static void obeys_the_attributes(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, 1 * M, M, 1);
    put_u32(&data, 1); /* enabled */
    put_entry(&data, 2 * M, M, 1);
    put_u32(&data, 0); /* to be ignored */
    put_entry(&data, 3 * M, M, 1);
    put_u32(&data, 3); /* non-volatile */
    CHECK_STATUS(tsl_map_import_e820(map, data.at, data.count, 24), TSL_OK);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE}, {3 * M, 4 * M, TSL_MEMORY_PERSISTENT});
    CHECK_EQ(map->counters.entries, 2u);
}

static void refuses_broken_data(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, M, M, 1);
    put_entry(&data, M, M, 2);
    for (size_t bytes = 1; bytes < data.count; bytes++) {
        struct bytes cut;
        if (bytes != 20) {
            CHECK_REFUSED(map, tsl_map_import_e820(map, cut_bytes(&cut, &data, bytes), bytes, 20),
                          TSL_CORRUPT);
        }
    }
    CHECK_REFUSED(map, tsl_map_import_e820(map, data.at, 0, 20), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_e820(map, NULL, 20, 20), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_e820(map, data.at, 40, 0), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_e820(map, data.at, 40, 19), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_e820(map, data.at, 40, SIZE_MAX), TSL_INVALID);
}

TAP_SUITE(import_e820, TAP_TEST(takes_every_type), TAP_TEST(obeys_the_attributes),
          TAP_TEST(refuses_broken_data));
