/* SPDX-License-Identifier: MIT
 *
 * test_memory_map.c: the normaliser: rounding, strength, refusals, limits, full maps.
 *
 * Owns:    the suite memory_map.
 * Needs:   map_check.h. Each test compares the whole list of ranges.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

static void refuses_bad_storage(void)
{
    struct test_map test = {0};
    CHECK_STATUS(tsl_map_init(&test.map, NULL, 64), TSL_INVALID);
    CHECK_STATUS(tsl_map_init(&test.map, test.storage, TSL_MAP_MIN_CAPACITY - 1), TSL_INVALID);
    CHECK(test.map.ranges == NULL);
    CHECK_STATUS(tsl_map_init(&test.map, test.storage, TSL_MAP_MIN_CAPACITY), TSL_OK);
    CHECK_EQ(test.map.limit, TSL_MAP_TOP);
}

static void rounds_usable_inwards_and_the_rest_outwards(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 0x0, 0x9fc00, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 0x9fc00, 0x400, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 0x100001, 0x2fff, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_MAP(map, {0x0, 0x9f000, TSL_MEMORY_USABLE}, {0x9f000, 0xa0000, TSL_MEMORY_RESERVED},
              {0x101000, 0x103000, TSL_MEMORY_USABLE});
    CHECK_STATUS(tsl_map_add(map, 0x200800, 0x1000, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_EQ(map->counters.too_small, 1u);
    CHECK_EQ(map->count, 3u);
}

static void stronger_type_wins_in_any_order(void)
{
    const struct tsl_memory_range entries[] = {
        {1 * M, 9 * M, TSL_MEMORY_USABLE},
        {2 * M, 4 * M, TSL_MEMORY_KERNEL},
        {3 * M, 5 * M, TSL_MEMORY_RESERVED},
        {3 * M, 8 * M, TSL_MEMORY_BOOT_RECLAIM},
    };
    /* All 24 orders: in the factorial number system, digit d picks among the entries left. */
    for (unsigned order = 0; order < 24; order++) {
        struct test_map test;
        struct tsl_memory_map *map = fresh_map(&test, 16);
        unsigned left[4] = {0, 1, 2, 3};
        unsigned code = order;
        for (unsigned n = 4; n > 0; n--) {
            const struct tsl_memory_range *e = &entries[left[code % n]];
            CHECK_STATUS(tsl_map_add(map, e->start, e->end - e->start, e->type), TSL_OK);
            for (unsigned i = code % n; i + 1 < n; i++)
                left[i] = left[i + 1];
            code /= n;
        }
        CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE}, {2 * M, 3 * M, TSL_MEMORY_KERNEL},
                  {3 * M, 5 * M, TSL_MEMORY_RESERVED}, {5 * M, 8 * M, TSL_MEMORY_BOOT_RECLAIM},
                  {8 * M, 9 * M, TSL_MEMORY_USABLE});
    }
}

static void joins_what_touches(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 3 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 2 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_MAP(map, {1 * M, 4 * M, TSL_MEMORY_USABLE});
    CHECK_STATUS(tsl_map_reserve(map, 2 * M, 1 * M, TSL_MEMORY_MODULE), TSL_OK);
    CHECK_STATUS(tsl_map_reserve(map, 3 * M, 1 * M, TSL_MEMORY_MODULE), TSL_OK);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE}, {2 * M, 4 * M, TSL_MEMORY_MODULE});
}

static void refuses_empty_wrapping_and_unknown(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 0, TSL_MEMORY_RESERVED), TSL_INVALID);
    CHECK_STATUS(tsl_map_add(map, UINT64_MAX - 0xfff, 0x1001, TSL_MEMORY_USABLE), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_map_add(map, 2, UINT64_MAX, TSL_MEMORY_RESERVED), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 1 * M, TSL_MEMORY_TYPE_COUNT), TSL_INVALID);
    CHECK_STATUS(tsl_map_reserve(map, 1 * M, 1 * M, TSL_MEMORY_USABLE), TSL_INVALID);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE});
    CHECK_EQ(map->counters.entries, 5u);
    CHECK_EQ(map->counters.refused_empty, 1u);
    CHECK_EQ(map->counters.refused_wrapping, 2u);
    CHECK_EQ(map->counters.refused_type, 1u);
    CHECK_EQ(tsl_refusals_of(&map->refusals, TSL_INVALID), 3u);
    CHECK_EQ(tsl_refusals_of(&map->refusals, TSL_OUT_OF_RANGE), 2u);
}

/* The last byte of the address space does not wrap: it is only too high to keep. */
static void keeps_nothing_above_the_top(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, UINT64_MAX - 0xfff, 0x1000, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(map->count, 0u);
    CHECK_EQ(map->counters.ignored, 1u);
    CHECK_STATUS(tsl_map_add(map, 0, UINT64_MAX, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_MAP(map, {0, TSL_MAP_TOP, TSL_MEMORY_USABLE});
    CHECK_EQ(map->counters.clipped, 1u);
    CHECK_EQ(map->counters.above_limit_bytes, UINT64_MAX - TSL_MAP_TOP);
    CHECK_STATUS(tsl_map_add(map, TSL_MAP_TOP, UINT64_MAX - TSL_MAP_TOP, TSL_MEMORY_USABLE),
                 TSL_OK);
    CHECK_EQ(map->counters.above_limit_bytes, UINT64_MAX);
}

/* Entries that begin or end at the limit to the byte. */
static void limit_is_exact(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_EQ(tsl_map_limit(map, 16 * M), 0u);
    CHECK_STATUS(tsl_map_add(map, 16 * M, 1, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(map->counters.ignored, 1u);
    CHECK_EQ(map->counters.clipped, 0u);
    CHECK_STATUS(tsl_map_add(map, 15 * M, M, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(map->counters.clipped, 0u);
    CHECK_MAP(map, {15 * M, 16 * M, TSL_MEMORY_RESERVED});
    CHECK_STATUS(tsl_map_add(map, 15 * M, M + 1, TSL_MEMORY_BAD), TSL_OK);
    CHECK_EQ(map->counters.clipped, 1u);
    CHECK_MAP(map, {15 * M, 16 * M, TSL_MEMORY_BAD});
}

static void limit_cuts_now_and_later(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 3 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 5 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 6 * M, 1 * M, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(tsl_map_limit(map, 2 * M + 5), 3 * M);
    CHECK_MAP(map, {1 * M, 2 * M, TSL_MEMORY_USABLE});
    CHECK_EQ(map->counters.above_limit_bytes, 3 * M);
    CHECK_EQ(tsl_map_limit(map, 8 * M), 0u);
    CHECK_EQ(map->limit, 2 * M);
    CHECK_STATUS(tsl_map_add(map, 1 * M + 512 * K, 1 * M, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_MAP(map, {1 * M, 1 * M + 512 * K, TSL_MEMORY_USABLE},
              {1 * M + 512 * K, 2 * M, TSL_MEMORY_RESERVED});
    CHECK_EQ(tsl_map_limit(map, 0), 512 * K);
    CHECK_EQ(map->count, 0u);
}

static void reclaims_only_what_may_be(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 2 * M, 1 * M, TSL_MEMORY_BOOT_RECLAIM), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 3 * M, 1 * M, TSL_MEMORY_ACPI_RECLAIM), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 4 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_reclaim(map, TSL_MEMORY_RESERVED), TSL_INVALID);
    CHECK_STATUS(tsl_map_reclaim(map, TSL_MEMORY_BOOT_RECLAIM), TSL_OK);
    CHECK_MAP(map, {1 * M, 3 * M, TSL_MEMORY_USABLE}, {3 * M, 4 * M, TSL_MEMORY_ACPI_RECLAIM},
              {4 * M, 5 * M, TSL_MEMORY_USABLE});
    CHECK_STATUS(tsl_map_reclaim(map, TSL_MEMORY_ACPI_RECLAIM), TSL_OK);
    CHECK_MAP(map, {1 * M, 5 * M, TSL_MEMORY_USABLE});
}

static void answers_questions(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    tsl_paddr place = 7;
    CHECK_EQ(tsl_map_usable_end(map), 0u);
    CHECK_STATUS(tsl_map_add(map, 0, 0x3000, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 4 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 2 * G, 1 * G, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK(tsl_map_at(map, 0x3000) == NULL);
    CHECK(tsl_map_at(map, 0x2fff) == &map->ranges[0]);
    CHECK(tsl_map_at(map, 1 * M) == &map->ranges[1]);
    CHECK(tsl_map_at(map, 3 * G) == NULL);
    CHECK_EQ(tsl_map_usable_end(map), 5 * M);
    CHECK_EQ(tsl_map_bytes(map, TSL_MEMORY_USABLE), 4 * M + 0x3000);
    CHECK_STATUS(tsl_map_find_usable(map, 0x2000, 0x1000, 0, &place), TSL_OK);
    CHECK_EQ(place, 0x1000u); /* never frame 0 */
    CHECK_STATUS(tsl_map_find_usable(map, 0x3000, 0x1000, 0, &place), TSL_OK);
    CHECK_EQ(place, 1 * M);
    CHECK_STATUS(tsl_map_find_usable(map, 2 * M, 2 * M, 0, &place), TSL_OK);
    CHECK_EQ(place, 2 * M);
    place = 7;
    CHECK_STATUS(tsl_map_find_usable(map, 2 * M, 2 * M, 4 * M - 1, &place), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_map_find_usable(map, UINT64_MAX, 0x1000, 0, &place), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_map_find_usable(map, 0x1000, (uint64_t)1 << 63, 0, &place), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_map_find_usable(map, 0, 0x1000, 0, &place), TSL_INVALID);
    CHECK_STATUS(tsl_map_find_usable(map, 0x1000, 0x800, 0, &place), TSL_INVALID);
    CHECK_STATUS(tsl_map_find_usable(map, 0x1000, 0x3000, 0, &place), TSL_INVALID);
    CHECK_EQ(place, 7u);
}

/* Full of usable ranges: the smallest goes, also if it is the new one. */
static void full_map_gives_up_the_smallest(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    for (unsigned i = 0; i < 8; i++) {
        CHECK_STATUS(tsl_map_add(map, (2 * i + 1) * M, 64 * K + i * 4 * K, TSL_MEMORY_USABLE),
                     TSL_OK);
    }
    CHECK_STATUS(tsl_map_add(map, 100 * M, 4 * K, TSL_MEMORY_USABLE), TSL_OK);
    CHECK(tsl_map_at(map, 100 * M) == NULL);
    CHECK_EQ(map->counters.given_up, 1u);
    CHECK_EQ(map->counters.given_up_bytes, 4 * K);
    CHECK_STATUS(tsl_map_add(map, 100 * M, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK(tsl_map_at(map, 100 * M) != NULL);
    CHECK(tsl_map_at(map, 1 * M) == NULL);
    CHECK_EQ(map->counters.given_up_bytes, 68 * K);
    CHECK_STATUS(tsl_map_reserve(map, 200 * M, 4 * K, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK(tsl_map_at(map, 3 * M) == NULL);
    CHECK(tsl_map_at(map, 200 * M) != NULL);
    CHECK_EQ(map->counters.given_up, 3u);
    CHECK_EQ(tsl_map_verify(map).rule, 0u);
}

/* Every reservation is still reserved, as itself or stronger, however small the map. */
static void full_map_keeps_every_reservation(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 0, 4 * G, TSL_MEMORY_USABLE), TSL_OK);
    for (unsigned i = 0; i < 300; i++) {
        tsl_paddr at = (1 + (i * 37) % 300) * 4 * M;
        CHECK_STATUS(tsl_map_reserve(map, at, 4 * K, TSL_MEMORY_RESERVED), TSL_OK);
        CHECK_EQ(tsl_map_verify(map).rule, 0u);
    }
    for (unsigned i = 1; i <= 300; i++) {
        const struct tsl_memory_range *range = tsl_map_at(map, i * 4 * M);
        CHECK(range == NULL || range->type != TSL_MEMORY_USABLE);
    }
    CHECK(tsl_map_bytes(map, TSL_MEMORY_USABLE) > 2 * G);
    CHECK(map->counters.given_up > 0);
}

/* 300 reservations, then RAM between: the joined reservations leave the RAM that came first. */
static void full_map_joins_reservations_first(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    CHECK_STATUS(tsl_map_add(map, 1 * G, 1 * G, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_reserve(map, 1 * G, 1 * M, TSL_MEMORY_KERNEL), TSL_OK);
    for (unsigned i = 0; i < 300; i++)
        CHECK_STATUS(tsl_map_add(map, 3 * G + i * M, 4 * K, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(tsl_map_bytes(map, TSL_MEMORY_USABLE), 1 * G - 1 * M);
    CHECK_EQ(tsl_map_bytes(map, TSL_MEMORY_KERNEL), 1 * M);
    CHECK_EQ(map->counters.given_up, 0u);
    CHECK(map->counters.joined_when_full > 280);
    for (unsigned i = 0; i < 300; i++)
        CHECK(tsl_map_at(map, 3 * G + i * M) != NULL);
    CHECK_EQ(tsl_map_verify(map).rule, 0u);
}

/* Which pair is joined: the closest, but not the kernel's own, nor one around the new range. */
static void full_map_joins_the_right_pair(void)
{
    static const struct tsl_memory_range full[8] = {
        {1 * M, 2 * M, TSL_MEMORY_RESERVED},       {3 * M, 4 * M, TSL_MEMORY_RESERVED},
        {10 * M, 11 * M, TSL_MEMORY_BOOT_RECLAIM}, {13 * M, 14 * M, TSL_MEMORY_ACPI_RECLAIM},
        {30 * M, 31 * M, TSL_MEMORY_BAD},          {40 * M, 41 * M, TSL_MEMORY_KERNEL},
        {41 * M, 42 * M, TSL_MEMORY_MODULE},       {60 * M, 61 * M, TSL_MEMORY_NVS},
    };
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    for (size_t i = 0; i < 8; i++) {
        CHECK_STATUS(tsl_map_add(map, full[i].start, full[i].end - full[i].start, full[i].type),
                     TSL_OK);
    }
    /* Between the closest pair: the next closest is joined, reserved as a whole. */
    CHECK_STATUS(tsl_map_add(map, 2 * M, 64 * K, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_MAP(map, full[0], {2 * M, 2 * M + 64 * K, TSL_MEMORY_USABLE}, full[1],
              {10 * M, 14 * M, TSL_MEMORY_RESERVED}, full[4], full[5], full[6], full[7]);
    /* The kernel's own touch, and are still the last to be joined. */
    CHECK_STATUS(tsl_map_add(map, 70 * M, M, TSL_MEMORY_DEVICE), TSL_OK);
    CHECK_MAP(map, full[0], {2 * M, 2 * M + 64 * K, TSL_MEMORY_USABLE},
              {3 * M, 14 * M, TSL_MEMORY_RESERVED}, full[4], full[5], full[6], full[7],
              {70 * M, 71 * M, TSL_MEMORY_DEVICE});
    CHECK_EQ(map->counters.joined_when_full, 2u);
    CHECK_EQ(map->counters.given_up, 0u);
}

/* A loader that calls the kernel's and the modules' memory usable. */
static void usable_within_kernel_and_modules(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 16);
    CHECK_STATUS(tsl_map_reserve(map, 1 * M, 2 * M + 5, TSL_MEMORY_KERNEL), TSL_OK);
    CHECK_STATUS(tsl_map_reserve(map, 4 * M + 7, 100, TSL_MEMORY_MODULE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 0, 640 * K, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 7 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_MAP(map, {0, 640 * K, TSL_MEMORY_USABLE}, {1 * M, 3 * M + 4 * K, TSL_MEMORY_KERNEL},
              {3 * M + 4 * K, 4 * M, TSL_MEMORY_USABLE}, {4 * M, 4 * M + 4 * K, TSL_MEMORY_MODULE},
              {4 * M + 4 * K, 8 * M, TSL_MEMORY_USABLE});
    /* The kernel's and the module's ranges overlap each other, and the end of memory. */
    CHECK_STATUS(tsl_map_reserve(map, 2 * M, 7 * M, TSL_MEMORY_MODULE), TSL_OK);
    CHECK_MAP(map, {0, 640 * K, TSL_MEMORY_USABLE}, {1 * M, 2 * M, TSL_MEMORY_KERNEL},
              {2 * M, 9 * M, TSL_MEMORY_MODULE});
}

static size_t sink_bytes;

static void count_text(void *context, const char *text, size_t length)
{
    (void)context;
    (void)text;
    sink_bytes += length;
}

static void names_and_dump(void)
{
    struct test_map test;
    struct tsl_memory_map *map = fresh_map(&test, 8);
    const struct tsl_sink sink = {count_text, NULL};
    for (unsigned type = 0; type < TSL_MEMORY_TYPE_COUNT; type++) {
        CHECK(tsl_memory_type_name((enum tsl_memory_type)type)[0] != '?');
        CHECK_EQ(tsl_memory_is_ram((enum tsl_memory_type)type), type <= TSL_MEMORY_MODULE);
    }
    CHECK(tsl_memory_type_name(TSL_MEMORY_TYPE_COUNT)[0] == '?');
    CHECK_STATUS(tsl_map_add(map, 0, 1 * M, TSL_MEMORY_USABLE), TSL_OK);
    tsl_map_dump(map, &sink);
    size_t one = sink_bytes;
    CHECK(one > 80);
    CHECK_STATUS(tsl_map_add(map, 2 * M, 1 * M, TSL_MEMORY_BAD), TSL_OK);
    sink_bytes = 0;
    tsl_map_dump(map, &sink);
    CHECK(sink_bytes > one + 30);
}

TAP_SUITE(memory_map, TAP_TEST(refuses_bad_storage),
          TAP_TEST(rounds_usable_inwards_and_the_rest_outwards),
          TAP_TEST(stronger_type_wins_in_any_order), TAP_TEST(joins_what_touches),
          TAP_TEST(refuses_empty_wrapping_and_unknown), TAP_TEST(keeps_nothing_above_the_top),
          TAP_TEST(limit_is_exact), TAP_TEST(limit_cuts_now_and_later),
          TAP_TEST(reclaims_only_what_may_be), TAP_TEST(answers_questions),
          TAP_TEST(full_map_gives_up_the_smallest), TAP_TEST(full_map_keeps_every_reservation),
          TAP_TEST(full_map_joins_reservations_first), TAP_TEST(full_map_joins_the_right_pair),
          TAP_TEST(usable_within_kernel_and_modules), TAP_TEST(names_and_dump));
