/* SPDX-License-Identifier: MIT
 *
 * test_hostile_maps.c: boot maps as bad firmware and bad loaders make them, in every format.
 *
 * Owns:    the suite hostile_maps and the table of maps with what must come out usable.
 * Needs:   map_check.h; the importers that are compiled in. Each map is added in its order and
 *          backwards, then through each importer; usable memory must be the same every time.
 * Callers: host and kernel test programs.
 */
#include <tesela/config.h>

#include "map_check.h"

#define T ((tsl_paddr)1 << 40)

enum kind { U, R, A, N, B, KINDS }; /* usable, reserved, ACPI, NVS, bad */

struct entry {
    uint64_t start;
    uint64_t bytes;
    enum kind kind;
};

struct span {
    tsl_paddr start;
    tsl_paddr end;
};

struct hostile_map {
    const char *name;
    struct entry entries[8];
    unsigned count;  /* of the entries: empty ones are tested too */
    tsl_paddr limit; /* 0: 1 TiB */
    struct span usable[4];
};

static const struct hostile_map maps[] = {
    {"an ordinary PC with 128 MiB",
     {{0, 0x9fc00, U},
      {0x9fc00, 0x400, R},
      {0xf0000, 0x10000, R},
      {1 * M, 0x7ee0000, U},
      {0x7fe0000, 0x20000, R},
      {0xfffc0000, 0x40000, R}},
     6,
     0,
     {{0, 0x9f000}, {1 * M, 0x7fe0000}}},
    {"unsorted",
     {{8 * M, M, U}, {0, 0xa0000, U}, {4 * M, M, U}, {1 * M, M, U}},
     4,
     0,
     {{0, 0xa0000}, {1 * M, 2 * M}, {4 * M, 5 * M}, {8 * M, 9 * M}}},
    {"usable entries overlap", {{0, 2 * M, U}, {M, 2 * M, U}}, 2, 0, {{0, 3 * M}}},
    {"the same usable entry three times", {{M, M, U}, {M, M, U}, {M, M, U}}, 3, 0, {{M, 2 * M}}},
    {"reserved within usable", {{M, 8 * M, U}, {4 * M, M, R}}, 2, 0, {{M, 4 * M}, {5 * M, 9 * M}}},
    {"reserved over both ends of usable",
     {{0, 2 * M, R}, {M, 8 * M, U}, {8 * M, 8 * M, R}},
     3,
     0,
     {{2 * M, 8 * M}}},
    {"reserved over all of usable", {{M, 8 * M, U}, {0, 16 * M, R}}, 2, 0, {{0, 0}}},
    {"reserved in reserved in usable",
     {{M, 15 * M, U}, {4 * M, 8 * M, R}, {6 * M, M, B}},
     3,
     0,
     {{M, 4 * M}, {12 * M, 16 * M}}},
    {"empty entries", {{0, 0, U}, {M, 4 * M, U}, {2 * M, 0, R}}, 3, 0, {{M, 5 * M}}},
    {"usable runs over 2^64", {{UINT64_MAX - 0xfff, 0x2000, U}, {M, M, U}}, 2, 0, {{M, 2 * M}}},
    {"reserved runs over 2^64 and would take everything",
     {{M, UINT64_MAX - 0xfff, R}, {M, M, U}},
     2,
     0,
     {{M, 2 * M}}},
    {"everything is reserved", {{0, UINT64_MAX - 0xfff, R}, {M, G, U}}, 2, 0, {{0, 0}}},
    {"no usable entry at all", {{0, M, R}, {G, G, A}}, 2, 0, {{0, 0}}},
    {"usable of 2^52 bytes", {{M, (uint64_t)1 << 52, U}}, 1, 64 * G, {{M, 64 * G}}},
    {"usable of nearly 2^64 bytes", {{0, UINT64_MAX - 0xfff, U}}, 1, 4 * G, {{0, 4 * G}}},
    {"usable wholly above the limit", {{M, M, U}, {64 * G, G, U}}, 2, 64 * G, {{M, 2 * M}}},
    {"usable up to the limit exactly", {{M, 64 * G - M, U}}, 1, 64 * G, {{M, 64 * G}}},
    {"12 GiB reserved below 1 TiB", {{M, G, U}, {0xfd00000000, 12 * G, R}}, 2, 0, {{M, G + M}}},
    {"a hole at 1 TiB",
     {{M, T - 12 * G, U}, {T, G, U}},
     2,
     2 * T,
     {{M, T - 12 * G + M}, {T, T + G}}},
    {"half of the address space reserved",
     {{M, M, U}, {T, (uint64_t)1 << 63, R}},
     2,
     0,
     {{M, 2 * M}}},
    {"only memory below 1 MiB", {{0, 0xa0000, U}, {0xa0000, 0x60000, R}}, 2, 0, {{0, 0xa0000}}},
    {"a machine of 2 MiB", {{0, 0xa0000, U}, {M, M, U}}, 2, 0, {{0, 0xa0000}, {M, 2 * M}}},
    {"a machine of 4 MiB with a bad page",
     {{M, 3 * M, U}, {2 * M, 4 * K, B}},
     2,
     0,
     {{M, 2 * M}, {2 * M + 4 * K, 4 * M}}},
    {"memory above 4 GiB",
     {{M, 3 * G - M, U}, {4 * G, 2 * G, U}},
     2,
     0,
     {{M, 3 * G}, {4 * G, 6 * G}}},
    {"memory above 4 GiB that cannot be named",
     {{M, 3 * G - M, U}, {4 * G, 2 * G, U}},
     2,
     4 * G,
     {{M, 3 * G}}},
    {"usable across 4 GiB", {{4 * G - 4 * K, 8 * K, U}}, 1, 0, {{4 * G - 4 * K, 4 * G + 4 * K}}},
    {"usable without a whole page",
     {{M + 1, 4 * K, U}, {2 * M, 1, U}, {3 * M - 1, 2, U}},
     3,
     0,
     {{0, 0}}},
    {"usable entries that meet within a page",
     {{M, 0x1800, U}, {M + 0x1800, 0x1800, U}},
     2,
     0,
     {{M, M + 0x1000}, {M + 0x2000, M + 0x3000}}},
    {"one reserved byte",
     {{M, 4 * M, U}, {2 * M + 5, 1, R}},
     2,
     0,
     {{M, 2 * M}, {2 * M + 4 * K, 5 * M}}},
    {"the last byte of all reserved", {{M, M, U}, {UINT64_MAX, 1, R}}, 2, 0, {{M, 2 * M}}},
    {"the last page of all usable",
     {{M, M, U}, {UINT64_MAX - 0xfff, 0x1000, U}},
     2,
     0,
     {{M, 2 * M}}},
    {"usable, NVS and ACPI on one place",
     {{M, 4 * M, U}, {2 * M, 2 * M, A}, {3 * M, 1 * M, N}, {3 * M, 1 * M, U}},
     4,
     0,
     {{M, 2 * M}, {4 * M, 5 * M}}},
    {"usable and reserved pages alternate",
     {{M, 32 * K, U},
      {M + 4 * K, 4 * K, R},
      {M + 12 * K, 4 * K, R},
      {M + 20 * K, 4 * K, R},
      {M + 28 * K, 4 * K, R}},
     5,
     0,
     {{M, M + 4 * K}, {M + 8 * K, M + 12 * K}, {M + 16 * K, M + 20 * K}, {M + 24 * K, M + 28 * K}}},
};

static const enum tsl_memory_type types[KINDS] = {
    [U] = TSL_MEMORY_USABLE, [R] = TSL_MEMORY_RESERVED, [A] = TSL_MEMORY_ACPI_RECLAIM,
    [N] = TSL_MEMORY_NVS,    [B] = TSL_MEMORY_BAD,
};
static const uint32_t codes_e820[KINDS] = {[U] = 1, [R] = 2, [A] = 3, [N] = 4, [B] = 5};
static const uint32_t codes_limine[KINDS] = {[U] = 0, [R] = 1, [A] = 2, [N] = 3, [B] = 4};
static const uint32_t codes_uefi[KINDS] = {[U] = 7, [R] = 0, [A] = 9, [N] = 10, [B] = 8};

/* The usable ranges of the map are the expected ones, and the map is sound. */
static void check_usable(const struct tsl_memory_map *map, const struct hostile_map *hostile,
                         const char *way)
{
    unsigned found = 0;
    bool same = tsl_map_verify(map).rule == 0;
    for (size_t i = 0; i < map->count; i++) {
        const struct tsl_memory_range *range = &map->ranges[i];
        if (range->type == TSL_MEMORY_USABLE) {
            same = same && found < 4 && hostile->usable[found].start == range->start &&
                   hostile->usable[found].end == range->end;
            found++;
        }
    }
    same = same && (found == 4 || hostile->usable[found].end == 0);
    if (!same)
        tap_note("map of \"%s\", %s", hostile->name, way);
    CHECK(same);
}

static struct tsl_memory_map *limited_map(struct test_map *test, const struct hostile_map *hostile)
{
    struct tsl_memory_map *map = fresh_map(test, TEST_CAPACITY);
    (void)tsl_map_limit(map, hostile->limit == 0 ? T : hostile->limit);
    return map;
}

static void in_any_order(void)
{
    CHECK(TSL_COUNT_OF(maps) >= 30);
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        for (unsigned backwards = 0; backwards < 2; backwards++) {
            struct test_map test;
            struct tsl_memory_map *map = limited_map(&test, &maps[i]);
            for (unsigned e = 0; e < maps[i].count; e++) {
                unsigned at = backwards != 0 ? maps[i].count - 1 - e : e;
                const struct entry *entry = &maps[i].entries[at];
                enum tsl_status status =
                    tsl_map_add(map, entry->start, entry->bytes, types[entry->kind]);
                bool empty = entry->bytes == 0;
                bool wraps = !empty && entry->start > UINT64_MAX - (entry->bytes - 1);
                CHECK_STATUS(status, wraps ? TSL_OUT_OF_RANGE : empty ? TSL_INVALID : TSL_OK);
            }
            check_usable(map, &maps[i], backwards != 0 ? "backwards" : "in order");
        }
    }
}

/* The limit may come after the entries as well. */
static void limited_afterwards(void)
{
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct tsl_memory_map *map = fresh_map(&test, TEST_CAPACITY);
        for (unsigned e = 0; e < maps[i].count; e++) {
            const struct entry *entry = &maps[i].entries[e];
            enum tsl_status status =
                tsl_map_add(map, entry->start, entry->bytes, types[entry->kind]);
            CHECK(status == TSL_OK || status == TSL_INVALID || status == TSL_OUT_OF_RANGE);
        }
        (void)tsl_map_limit(map, maps[i].limit == 0 ? T : maps[i].limit);
        check_usable(map, &maps[i], "limited afterwards");
    }
}

static void put_entry(struct bytes *out, const struct entry *entry, uint32_t code)
{
    put_u64(out, entry->start);
    put_u64(out, entry->bytes);
    put_u32(out, code);
}

static void through_e820(void)
{
    if (!TSL_IMPORT_E820)
        SKIP("no e820 importer");
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        for (unsigned e = 0; e < maps[i].count; e++)
            put_entry(&data, &maps[i].entries[e], codes_e820[maps[i].entries[e].kind]);
        CHECK_STATUS(tsl_map_import_e820(map, data.at, data.count, 20), TSL_OK);
        check_usable(map, &maps[i], "e820");
    }
}

static void through_multiboot1(void)
{
    if (!TSL_IMPORT_MULTIBOOT1)
        SKIP("no Multiboot 1 importer");
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        for (unsigned e = 0; e < maps[i].count; e++) {
            put_u32(&data, 20);
            put_entry(&data, &maps[i].entries[e], codes_e820[maps[i].entries[e].kind]);
        }
        CHECK_STATUS(tsl_map_import_multiboot1(map, data.at, data.count), TSL_OK);
        check_usable(map, &maps[i], "Multiboot 1");
    }
}

static void through_multiboot2(void)
{
    if (!TSL_IMPORT_MULTIBOOT2)
        SKIP("no Multiboot 2 importer");
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        put_u32(&data, 8 + 16 + 24 * maps[i].count + 8);
        put_u32(&data, 0);
        put_u32(&data, 6);
        put_u32(&data, 16 + 24 * maps[i].count);
        put_u32(&data, 24);
        put_u32(&data, 0);
        for (unsigned e = 0; e < maps[i].count; e++) {
            put_entry(&data, &maps[i].entries[e], codes_e820[maps[i].entries[e].kind]);
            put_u32(&data, 0);
        }
        put_u32(&data, 0);
        put_u32(&data, 8);
        CHECK_STATUS(tsl_map_import_multiboot2(map, data.at, data.count), TSL_OK);
        check_usable(map, &maps[i], "Multiboot 2");
    }
}

static void through_pvh(void)
{
    if (!TSL_IMPORT_PVH)
        SKIP("no PVH importer");
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        for (unsigned e = 0; e < maps[i].count; e++) {
            put_entry(&data, &maps[i].entries[e], codes_e820[maps[i].entries[e].kind]);
            put_u32(&data, 0);
        }
        CHECK_STATUS(tsl_map_import_pvh(map, data.at, data.count), TSL_OK);
        check_usable(map, &maps[i], "PVH");
    }
}

static void through_limine(void)
{
    if (!TSL_IMPORT_LIMINE)
        SKIP("no Limine importer");
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        const void *pointers[8];
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        for (unsigned e = 0; e < maps[i].count; e++) {
            pointers[e] = data.at + data.count;
            put_entry(&data, &maps[i].entries[e], codes_limine[maps[i].entries[e].kind]);
            put_u32(&data, 0);
        }
        CHECK_STATUS(tsl_map_import_limine(map, data.at, data.count), TSL_OK);
        check_usable(map, &maps[i], "Limine");
        map = limited_map(&test, &maps[i]);
        CHECK_STATUS(tsl_map_import_limine_pointers(map, pointers, maps[i].count), TSL_OK);
        check_usable(map, &maps[i], "Limine, pointers");
    }
}

/* UEFI speaks in pages: maps with anything else are left out. */
static void through_uefi(void)
{
    if (!TSL_IMPORT_UEFI)
        SKIP("no UEFI importer");
    unsigned used = 0;
    for (size_t i = 0; i < TSL_COUNT_OF(maps); i++) {
        struct test_map test;
        struct bytes data = {.count = 0};
        bool pages_only = true;
        struct tsl_memory_map *map = limited_map(&test, &maps[i]);
        for (unsigned e = 0; e < maps[i].count; e++) {
            const struct entry *entry = &maps[i].entries[e];
            pages_only = pages_only && ((entry->start | entry->bytes) & 0xfff) == 0;
            put_u64(&data, codes_uefi[entry->kind]);
            put_u64(&data, entry->start);
            put_u64(&data, 0);
            put_u64(&data, entry->bytes >> 12);
            put_u64(&data, 0xf);
            put_u64(&data, 0x5555555555555555); /* descriptors may be longer than we know */
        }
        if (pages_only) {
            used++;
            CHECK_STATUS(tsl_map_import_uefi(map, data.at, data.count, 48), TSL_OK);
            check_usable(map, &maps[i], "UEFI");
        }
    }
    CHECK(used > 20);
}

TAP_SUITE(hostile_maps, TAP_TEST(in_any_order), TAP_TEST(limited_afterwards),
          TAP_TEST(through_e820), TAP_TEST(through_multiboot1), TAP_TEST(through_multiboot2),
          TAP_TEST(through_pvh), TAP_TEST(through_limine), TAP_TEST(through_uefi));
