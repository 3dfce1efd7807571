/* SPDX-License-Identifier: MIT
 *
 * break_memory_map.c: each rule of tsl_map_verify() broken from outside, and seen.
 *
 * Owns:    the suite break_memory_map.
 * Needs:   map_check.h; writes into a map's fields, which nobody else may.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"

/* usable, kernel, usable, reserved; sound. */
static struct tsl_memory_map *sound_map(struct test_map *test)
{
    struct tsl_memory_map *map = fresh_map(test, 8);
    CHECK_STATUS(tsl_map_add(map, 1 * M, 7 * M, TSL_MEMORY_USABLE), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 2 * M, 1 * M, TSL_MEMORY_KERNEL), TSL_OK);
    CHECK_STATUS(tsl_map_add(map, 9 * M, 1 * M, TSL_MEMORY_RESERVED), TSL_OK);
    CHECK_EQ(map->count, 4u);
    CHECK_EQ(tsl_map_verify(map).rule, 0u);
    return map;
}

static void expect(const struct tsl_memory_map *map, enum tsl_map_rule rule, size_t place)
{
    struct tsl_defect defect = tsl_map_verify(map);
    CHECK_EQ(defect.rule, rule);
    CHECK_EQ(defect.place, place);
    CHECK(defect.sentence != NULL && defect.component != NULL);
}

static void storage(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges = NULL;
    expect(map, TSL_MAP_RULE_STORAGE, 4);
    map = sound_map(&test);
    map->capacity = 7;
    expect(map, TSL_MAP_RULE_STORAGE, 4);
    map = sound_map(&test);
    map->count = 9;
    expect(map, TSL_MAP_RULE_STORAGE, 9);
    map = sound_map(&test);
    map->limit = TSL_MAP_TOP + TSL_PAGE_BYTES;
    expect(map, TSL_MAP_RULE_STORAGE, 4);
    map = sound_map(&test);
    map->limit = 16 * M + 1;
    expect(map, TSL_MAP_RULE_STORAGE, 4);
}

static void type(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges[2].type = TSL_MEMORY_TYPE_COUNT;
    expect(map, TSL_MAP_RULE_TYPE, 2);
}

static void not_empty(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges[1].end = map->ranges[1].start;
    expect(map, TSL_MAP_RULE_NOT_EMPTY, 1);
}

static void whole_pages(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges[3].end += 0x800;
    expect(map, TSL_MAP_RULE_WHOLE_PAGES, 3);
    map = sound_map(&test);
    map->ranges[0].start -= 1;
    expect(map, TSL_MAP_RULE_WHOLE_PAGES, 0);
}

static void below_limit(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->limit = 10 * M - TSL_PAGE_BYTES;
    expect(map, TSL_MAP_RULE_BELOW_LIMIT, 3);
}

static void sorted(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges[1].end += TSL_PAGE_BYTES;
    expect(map, TSL_MAP_RULE_SORTED, 2);
    map = sound_map(&test);
    struct tsl_memory_range first = map->ranges[0];
    map->ranges[0] = map->ranges[3];
    map->ranges[3] = first;
    expect(map, TSL_MAP_RULE_SORTED, 1);
}

static void joined(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->ranges[1].type = TSL_MEMORY_USABLE;
    expect(map, TSL_MAP_RULE_JOINED, 1);
}

static void counters(void)
{
    struct test_map test;
    struct tsl_memory_map *map = sound_map(&test);
    map->counters.refused_wrapping = 4;
    expect(map, TSL_MAP_RULE_COUNTERS, 0);
    map = sound_map(&test);
    map->counters.given_up_bytes = 4096;
    expect(map, TSL_MAP_RULE_COUNTERS, 0);
}

TAP_SUITE(break_memory_map, TAP_TEST(storage), TAP_TEST(type), TAP_TEST(not_empty),
          TAP_TEST(whole_pages), TAP_TEST(below_limit), TAP_TEST(sorted), TAP_TEST(joined),
          TAP_TEST(counters));
