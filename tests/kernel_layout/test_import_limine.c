/* SPDX-License-Identifier: MIT
 *
 * test_import_limine.c: Limine entries in a row and behind pointers, right and broken.
 *
 * Owns:    the suite import_limine.
 * Needs:   map_check.h; built when TSL_IMPORT_LIMINE is set.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

static void put_entry(struct bytes *out, uint64_t start, uint64_t bytes, uint64_t type)
{
    put_u64(out, start);
    put_u64(out, bytes);
    put_u64(out, type);
}

static void takes_every_type(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    const void *pointers[10];
    for (uint32_t i = 0; i < 10; i++) {
        pointers[9 - i] = data.at + data.count; /* the order does not matter */
        put_entry(&data, i * M, M, i == 9 ? (uint64_t)1 << 32 : i);
    }
    for (unsigned behind_pointers = 0; behind_pointers < 2; behind_pointers++) {
        struct tsl_memory_map *map = fresh_map(&test, 16);
        if (behind_pointers != 0)
            CHECK_STATUS(tsl_map_import_limine_pointers(map, pointers, 10), TSL_OK);
        else
            CHECK_STATUS(tsl_map_import_limine(map, data.at, data.count), TSL_OK);
        CHECK_MAP(map, {0, 1 * M, TSL_MEMORY_USABLE}, {1 * M, 2 * M, TSL_MEMORY_RESERVED},
                  {2 * M, 3 * M, TSL_MEMORY_ACPI_RECLAIM}, {3 * M, 4 * M, TSL_MEMORY_NVS},
                  {4 * M, 5 * M, TSL_MEMORY_BAD}, {5 * M, 6 * M, TSL_MEMORY_BOOT_RECLAIM},
                  {6 * M, 7 * M, TSL_MEMORY_KERNEL}, {7 * M, 8 * M, TSL_MEMORY_FRAMEBUFFER},
                  {8 * M, 10 * M, TSL_MEMORY_RESERVED});
    }
}

static void refuses_broken_data(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_entry(&data, M, M, 0);
    put_entry(&data, 2 * M, M, 1);
    const void *pointers[2] = {data.at, NULL};
    for (size_t bytes = 1; bytes < data.count; bytes++) {
        struct bytes cut;
        if (bytes != 24) {
            CHECK_REFUSED(map, tsl_map_import_limine(map, cut_bytes(&cut, &data, bytes), bytes),
                          TSL_CORRUPT);
        }
    }
    CHECK_REFUSED(map, tsl_map_import_limine(map, data.at, 0), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_limine(map, NULL, 24), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_limine_pointers(map, pointers, 2), TSL_CORRUPT);
    CHECK_REFUSED(map, tsl_map_import_limine_pointers(map, pointers, 0), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_limine_pointers(map, NULL, 1), TSL_INVALID);
}

TAP_SUITE(import_limine, TAP_TEST(takes_every_type), TAP_TEST(refuses_broken_data));
