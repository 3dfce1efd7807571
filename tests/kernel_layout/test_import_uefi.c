/* SPDX-License-Identifier: MIT
 *
 * test_import_uefi.c: UEFI descriptors of any size, every type and attribute, right and broken.
 *
 * Owns:    the suite import_uefi.
 * Needs:   map_check.h; built when TSL_IMPORT_UEFI is set.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

#define WRITE_BACK       0xfu
#define SPECIFIC_PURPOSE ((uint64_t)1 << 18)
#define RUNTIME          ((uint64_t)1 << 63)

static void put_descriptor(struct bytes *out, uint32_t type, uint64_t start, uint64_t pages,
                           uint64_t attributes)
{
    put_u32(out, type);
    put_u32(out, 0xeeeeeeee);
    put_u64(out, start);
    put_u64(out, 0xeeeeeeeeeeeeeeee);
    put_u64(out, pages);
    put_u64(out, attributes);
}

static void takes_every_type(void)
{
    static const enum tsl_memory_type expected[17] = {
        TSL_MEMORY_RESERVED,     TSL_MEMORY_BOOT_RECLAIM, TSL_MEMORY_BOOT_RECLAIM,
        TSL_MEMORY_BOOT_RECLAIM, TSL_MEMORY_BOOT_RECLAIM, TSL_MEMORY_RUNTIME,
        TSL_MEMORY_RUNTIME,      TSL_MEMORY_USABLE,       TSL_MEMORY_BAD,
        TSL_MEMORY_ACPI_RECLAIM, TSL_MEMORY_NVS,          TSL_MEMORY_DEVICE,
        TSL_MEMORY_DEVICE,       TSL_MEMORY_RESERVED,     TSL_MEMORY_PERSISTENT,
        TSL_MEMORY_RESERVED,     TSL_MEMORY_RESERVED,
    };
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 32);
    for (uint32_t i = 0; i < 17; i++)
        put_descriptor(&data, i == 16 ? 0x80000000 : i, (1 + i) * M, 256, WRITE_BACK);
    CHECK_STATUS(tsl_map_import_uefi(map, data.at, data.count, 40), TSL_OK);
    CHECK_EQ(tsl_map_verify(map).rule, 0u);
    for (unsigned i = 0; i < 17; i++) {
        const struct tsl_memory_range *range = tsl_map_at(map, (1 + i) * M);
        REQUIRE(range != NULL);
        CHECK_EQ(range->type, expected[i]);
    }
}

static void attributes_overrule_the_type(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_descriptor(&data, 7, 1 * M, 256, WRITE_BACK);
    put_descriptor(&data, 7, 2 * M, 256, WRITE_BACK | RUNTIME);
    put_descriptor(&data, 4, 3 * M, 256, WRITE_BACK | RUNTIME);
    put_descriptor(&data, 7, 4 * M, 256, WRITE_BACK | SPECIFIC_PURPOSE);
    CHECK_STATUS(tsl_map_import_uefi(map, data.at, data.count, 40), TSL_OK);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE}, {2 * M, 4 * M, TSL_MEMORY_RUNTIME},
              {4 * M, 5 * M, TSL_MEMORY_RESERVED});
}

static void boot_services_come_back_only_when_asked(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_descriptor(&data, 2, 1 * M, 256, WRITE_BACK);
    put_descriptor(&data, 7, 2 * M, 256, WRITE_BACK);
    put_descriptor(&data, 3, 3 * M, 256, WRITE_BACK);
    CHECK_STATUS(tsl_map_import_uefi(map, data.at, data.count, 40), TSL_OK);
    CHECK_EQ(tsl_map_bytes(map, TSL_MEMORY_USABLE), M);
    CHECK_STATUS(tsl_map_reclaim(map, TSL_MEMORY_BOOT_RECLAIM), TSL_OK);
    CHECK_MAP(map, {1 * M, 4 * M, TSL_MEMORY_USABLE});
}

/* 2^52 pages and more are more bytes than 64 bits can count. */
static void page_counts_that_overflow_are_refused(void)
{
    static const uint64_t pages[] = {(uint64_t)1 << 52, UINT64_MAX, ((uint64_t)1 << 52) + 1};
    for (size_t i = 0; i < TSL_COUNT_OF(pages); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        struct tsl_memory_map *map = fresh_map(&test, 8);
        put_descriptor(&data, 7, 0, pages[i], WRITE_BACK);
        put_descriptor(&data, 7, 2 * M, 256, WRITE_BACK);
        CHECK_STATUS(tsl_map_import_uefi(map, data.at, data.count, 40), TSL_OK);
        CHECK_MAP(map, {2 * M, 3 * M, TSL_MEMORY_USABLE});
        CHECK_EQ(map->counters.refused_wrapping, 1u);
        CHECK_EQ(map->counters.entries, 2u);
    }
}

static void refuses_broken_data(void)
{
    struct test_map test;
    struct bytes data = {.count = 0};
    struct tsl_memory_map *map = fresh_map(&test, 8);
    put_descriptor(&data, 7, M, 256, WRITE_BACK);
    put_descriptor(&data, 0, 2 * M, 256, WRITE_BACK);
    for (size_t bytes = 1; bytes < data.count; bytes++) {
        struct bytes cut;
        if (bytes != 40) {
            CHECK_REFUSED(map, tsl_map_import_uefi(map, cut_bytes(&cut, &data, bytes), bytes, 40),
                          TSL_CORRUPT);
        }
    }
    CHECK_REFUSED(map, tsl_map_import_uefi(map, data.at, 0, 40), TSL_NOT_FOUND);
    CHECK_REFUSED(map, tsl_map_import_uefi(map, NULL, 80, 40), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_uefi(map, data.at, 80, 0), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_uefi(map, data.at, 80, 39), TSL_INVALID);
    CHECK_REFUSED(map, tsl_map_import_uefi(map, data.at, 80, 48), TSL_CORRUPT);
    CHECK_REFUSED(map, tsl_map_import_uefi(map, data.at, 80, SIZE_MAX), TSL_CORRUPT);
}

TAP_SUITE(import_uefi, TAP_TEST(takes_every_type), TAP_TEST(attributes_overrule_the_type),
          TAP_TEST(boot_services_come_back_only_when_asked),
          TAP_TEST(page_counts_that_overflow_are_refused), TAP_TEST(refuses_broken_data));
