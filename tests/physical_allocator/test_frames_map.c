/* SPDX-License-Identifier: MIT
 *
 * test_frames_map.c: what the memory map makes of the allocator: zones, limits, holes, odd maps.
 *
 * Owns:    the cases of maps and zones, and the bound on metadata.
 * Needs:   frames_world.h, the test port.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/config.h>

static struct world world;

#define IS_64 (sizeof(tsl_word) == 8)

static tsl_word zone_total(enum tsl_frames_zone zone)
{
    struct tsl_frames_zone_stats stats = {0};
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, zone, &stats), TSL_OK);
    return stats.total;
}

/* Takes single frames with these flags until there are none; the highest address end. */
static uint64_t highest_end(unsigned flags, tsl_word *count)
{
    struct tsl_frame frame;
    uint64_t end = 0;
    *count = 0;
    while (tsl_frames_alloc(world.frames, 0, flags, &frame) == TSL_OK) {
        uint64_t here = tsl_frame_address(frame) + TSL_PAGE_BYTES;
        end = here > end ? here : end;
        *count += 1;
    }
    return end;
}

/* RAM on both sides of 16 MiB, 4 GiB and of the direct map's end. */
static const struct world_range wide[] = {
    {1 * MIB, 31 * MIB, TSL_MEMORY_USABLE},
    {64 * MIB, 64 * MIB, TSL_MEMORY_USABLE},
    {4 * GIB - 8 * MIB, 16 * MIB, TSL_MEMORY_USABLE},
};

static void zones_lie_between_their_limits(void)
{
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.direct_end = 96 * MIB;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_EQ(zone_total(TSL_ZONE_DMA), 15 * MIB / TSL_PAGE_BYTES);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    tsl_word metadata = stats.metadata_bytes / TSL_PAGE_BYTES;
    /* The metadata is at the top of the highest range below reach_end, which is above 96 MiB. */
    tsl_word middle = (16 * MIB + 32 * MIB) / TSL_PAGE_BYTES;
    CHECK_EQ(zone_total(TSL_ZONE_DMA32), IS_64 ? middle : 0);
    CHECK_EQ(zone_total(TSL_ZONE_NORMAL), IS_64 ? 0 : middle);
    CHECK_EQ(zone_total(TSL_ZONE_HIGHMEM), (32 * MIB + 16 * MIB) / TSL_PAGE_BYTES - metadata);
    struct tsl_frames_zone_stats zone;
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, TSL_ZONE_DMA, &zone), TSL_OK);
    CHECK_EQ(zone.end, 16 * MIB);
    CHECK_STRING(zone.name, "DMA");
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, TSL_ZONE_HIGHMEM, &zone), TSL_OK);
    CHECK_EQ(zone.start, 96 * MIB);
}

static void normal_zone_begins_at_4_gib_on_64_bits(void)
{
    REQUIRE(world_make(&world, wide, TSL_COUNT_OF(wide)) == TSL_OK);
    struct tsl_frames_zone_stats zone;
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, TSL_ZONE_NORMAL, &zone), TSL_OK);
    CHECK_EQ(zone.start, IS_64 ? 4 * GIB : 16 * MIB);
    CHECK_EQ(zone_total(TSL_ZONE_HIGHMEM), 0);
}

static void flags_keep_their_address_limits(void)
{
    static const struct {
        unsigned flags;
        uint64_t end;
    } cases[] = {
        {TSL_FRAMES_DMA, 16 * MIB},
        {TSL_FRAMES_LOW, 96 * MIB},
        {TSL_FRAMES_DMA32, 4 * GIB},
        {TSL_FRAMES_HIGH, 4 * GIB + 8 * MIB},
        {TSL_FRAMES_LOW | TSL_FRAMES_DMA, 16 * MIB},
        {TSL_FRAMES_LOW | TSL_FRAMES_DMA32, 96 * MIB},
    };
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        world_map(&world, wide, TSL_COUNT_OF(wide));
        world.config.direct_end = 96 * MIB;
        REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
        tsl_word count;
        CHECK_EQ(highest_end(cases[i].flags, &count), cases[i].end);
        struct tsl_frames_run run = {.count = 1, .flags = cases[i].flags};
        struct tsl_frame frame;
        CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
        tsl_word below = 0;
        for (size_t r = 0; r < TSL_COUNT_OF(wide); r++)
            for (uint64_t at = wide[r].start; at < wide[r].start + wide[r].bytes; at += 4096)
                below += at < cases[i].end && tsl_frames_is_managed(world.frames, world_frame(at));
        CHECK_EQ(count, below);
    }
}

static void high_zones_are_used_first(void)
{
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.direct_end = 96 * MIB;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    struct tsl_frame frame;
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_OK);
        CHECK(tsl_frame_address(frame) >= 96 * MIB);
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, TSL_FRAMES_LOW, &frame), TSL_OK);
        CHECK(tsl_frame_address(frame) >= 16 * MIB && tsl_frame_address(frame) < 96 * MIB);
    }
    struct tsl_frames_run run = {.count = 700};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK(tsl_frame_address(frame) >= 96 * MIB);
}

static void reach_grows_when_the_direct_map_does(void)
{
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.reach_end = 32 * MIB;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    tsl_word count;
    /* What lies above 32 MiB is managed, but not reachable yet. */
    CHECK(highest_end(TSL_FRAMES_LOW, &count) <= 32 * MIB);
    CHECK(count > 0);
    tsl_frames_extend_reach(world.frames, 16 * MIB);
    CHECK_EQ(highest_end(TSL_FRAMES_LOW, &count), 0);
    tsl_frames_extend_reach(world.frames, 96 * MIB);
    CHECK_EQ(highest_end(TSL_FRAMES_LOW, &count), 96 * MIB);
    CHECK_EQ(count, 32 * MIB / TSL_PAGE_BYTES);
}

/* Also for frames that this CPU has at hand already. */
static void reach_shrinks_when_the_direct_map_goes(void)
{
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.reach_end = 96 * MIB;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    struct tsl_frame frame;
    tsl_word count;
    do {
        REQUIRE(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &frame) == TSL_OK);
    } while (tsl_frame_address(frame) < 64 * MIB);
    tsl_frames_limit_reach(world.frames, 128 * MIB); /* more than before: ignored */
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &frame), TSL_OK);
    CHECK(tsl_frame_address(frame) >= 64 * MIB);
    tsl_frames_limit_reach(world.frames, 32 * MIB);
    CHECK(highest_end(TSL_FRAMES_LOW, &count) <= 32 * MIB);
    CHECK(count > 0); /* of the first 16 MiB */
    CHECK_EQ(highest_end(0, &count), 4 * GIB + 8 * MIB);
}

static void a_run_crosses_areas_and_zones(void)
{
    REQUIRE(world_pc(&world, 64 * MIB) == TSL_OK);
    struct tsl_frame frame;
    /* More than DMA or what is above it has by itself: it must cross 16 MiB. */
    struct tsl_frames_run run = {.count = 60 * MIB / TSL_PAGE_BYTES};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK(tsl_frame_address(frame) < 16 * MIB);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_free_run(world.frames, frame, run.count), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    run = (struct tsl_frames_run){.count = 5000, .align_frames = 1024, .limit = 40 * MIB};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(frame.number % 1024, 0);
    CHECK(frame.number + 5000 <= 40 * MIB / TSL_PAGE_BYTES);
    run.limit = 1 * MIB;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.run_failures, 1);
}

static void a_gigabyte_of_four(void)
{
    const struct world_range ranges[] = {
        {1 * MIB, 3 * GIB - 1 * MIB, TSL_MEMORY_USABLE},
        {4 * GIB, 1 * GIB, TSL_MEMORY_USABLE},
    };
    REQUIRE(world_make(&world, ranges, TSL_COUNT_OF(ranges)) == TSL_OK);
    struct tsl_frames_run run = {.count = 1 * GIB / TSL_PAGE_BYTES,
                                 .align_frames = 1 * GIB / TSL_PAGE_BYTES};
    struct tsl_frame first, second, third;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &first), TSL_OK);
    CHECK_EQ(tsl_frame_address(first), IS_64 ? 4 * GIB : 1 * GIB);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &second), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &third), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &third), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_frames_free_run(world.frames, first, run.count), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void reserves_and_releases_ranges(void)
{
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    tsl_word before = world_free(&world);
    /* From inside a frame to inside a frame, over the hole below 1 MiB. */
    CHECK_STATUS(tsl_frames_reserve(world.frames, 600 * KIB + 1, 1 * MIB), TSL_OK);
    CHECK(!tsl_frames_is_free(world.frames, world_frame(600 * KIB)));
    CHECK(!tsl_frames_is_free(world.frames, world_frame(1624 * KIB)));
    CHECK(tsl_frames_is_free(world.frames, world_frame(1628 * KIB)));
    CHECK(tsl_frames_is_free(world.frames, world_frame(596 * KIB)));
    CHECK_EQ(before - world_free(&world), 10 + 600 / 4 + 1);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 604 * KIB, 1), TSL_BUSY);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 700 * KIB, 4096), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, 0), TSL_INVALID);
    CHECK_STATUS(tsl_frames_reserve(world.frames, UINT64_MAX, 2), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_frames_release(world.frames, 596 * KIB, 8 * KIB), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_release(world.frames, 20 * MIB, 4096), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_frames_release(world.frames, 600 * KIB + 1, 1 * MIB), TSL_OK);
    CHECK_EQ(world_free(&world), before);
    struct tsl_frame frame;
    REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK);
    CHECK_STATUS(tsl_frames_release(world.frames, tsl_frame_address(frame), 4096), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, UINT64_MAX), TSL_BUSY);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void ram_above_ram_end_is_ignored_loudly(void)
{
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.ram_end = 4 * GIB;
    host_port_log_clear();
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.ignored, 8 * MIB / TSL_PAGE_BYTES);
    CHECK(host_port_log_has("ignored"));
    tsl_word count;
    CHECK_EQ(highest_end(0, &count), 4 * GIB);
    CHECK(!tsl_frames_is_managed(world.frames, world_frame(4 * GIB)));
}

static void the_highest_ram_that_a_map_holds_works(void)
{
    const struct world_range ranges[] = {
        {1 * MIB, 15 * MIB, TSL_MEMORY_USABLE},
        {TSL_MAP_TOP - 4 * MIB, 4 * MIB, TSL_MEMORY_USABLE},
    };
    if (TSL_FRAME_CORE_FLAT) { /* its bitmaps have holes too */
        CHECK_STATUS(world_make(&world, ranges, TSL_COUNT_OF(ranges)), TSL_NO_MEMORY);
        return;
    }
    REQUIRE(world_make(&world, ranges, TSL_COUNT_OF(ranges)) == TSL_OK);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 10, 0, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), TSL_MAP_TOP - 4 * MIB);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, 10), TSL_OK);
    struct tsl_frames_run run = {.count = 1024};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), TSL_MAP_TOP - 4 * MIB);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void maps_without_room_are_refused(void)
{
    const struct world_range none[] = {{0, 64 * MIB, TSL_MEMORY_RESERVED}};
    CHECK_STATUS(world_make(&world, none, 1), TSL_NO_MEMORY);
    CHECK(world.frames == NULL);
    const struct world_range frame_0[] = {{0, 4 * KIB, TSL_MEMORY_USABLE}};
    CHECK_STATUS(world_make(&world, frame_0, 1), TSL_NO_MEMORY);
    const struct world_range above[] = {{WORLD_REACH, 64 * MIB, TSL_MEMORY_USABLE}};
    CHECK_STATUS(world_make(&world, above, 1), TSL_NO_MEMORY);
    CHECK(host_port_log_has("metadata"));
    const struct world_range one[] = {{1 * MIB, 4 * KIB, TSL_MEMORY_USABLE}};
    CHECK_STATUS(world_make(&world, one, 1), TSL_NO_MEMORY);
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.config.reach_end = 0;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    world.config.reach_end = TSL_PAGE_BYTES - 1;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_NO_MEMORY);
    world.config = (struct tsl_frames_config){.reach_end = WORLD_REACH};
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    world_map(&world, wide, TSL_COUNT_OF(wide));
    world.storage[1].start = 0;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    CHECK(world.frames == NULL);
}

/* From no room to plenty, a frame at a time: a status or a working allocator, never less. */
static void every_small_machine_works_or_says_why(void)
{
    unsigned working = 0;
    for (uint64_t frames = 1; frames < 40; frames++) {
        const struct world_range ranges[] = {{1 * MIB, frames * 4 * KIB, TSL_MEMORY_USABLE}};
        enum tsl_status status = world_make(&world, ranges, 1);
        if (status != TSL_OK) {
            CHECK_STATUS(status, TSL_NO_MEMORY);
            CHECK_EQ(working, 0);
            continue;
        }
        working++;
        tsl_word count, expected = world_free(&world);
        CHECK_SOUND(tsl_frames_verify(world.frames));
        (void)highest_end(0, &count);
        CHECK_EQ(count, expected);
    }
    CHECK(working > 20);
}

static void metadata_lies_at_the_top_of_what_is_reachable(void)
{
    const struct world_range ranges[] = {
        {1 * MIB, 63 * MIB, TSL_MEMORY_USABLE},
        {WORLD_REACH - 4 * MIB, 1 * GIB, TSL_MEMORY_USABLE},
    };
    REQUIRE(world_make(&world, ranges, TSL_COUNT_OF(ranges)) == TSL_OK);
    CHECK((char *)world.frames > (char *)tsl_port_phys_to_virt(WORLD_REACH - 4 * MIB));
    CHECK(!tsl_frames_is_managed(world.frames, world_frame(WORLD_REACH - 4 * KIB)));
    CHECK(tsl_frames_is_managed(world.frames, world_frame(WORLD_REACH)));
    CHECK(tsl_frames_is_managed(world.frames, world_frame(WORLD_REACH - 4 * MIB)));
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static tsl_word metadata_of(const struct world_range *ranges, size_t count)
{
    struct tsl_frames_stats stats = {0};
    if (world_make(&world, ranges, count) == TSL_OK)
        tsl_frames_stats(world.frames, &stats);
    return stats.metadata_bytes;
}

/* And that is all of it, but for less than a page, holes included. */
static void flat_bitmaps_have_two_bits_a_frame(void)
{
    const struct world_range ranges[] = {
        {1 * MIB, 1 * MIB, TSL_MEMORY_USABLE},
        {1 * GIB - 1 * MIB, 1 * MIB, TSL_MEMORY_USABLE},
    };
    struct tsl_frames_stats stats;
    REQUIRE(world_make(&world, ranges, TSL_COUNT_OF(ranges)) == TSL_OK);
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.metadata_bytes, 1 * GIB / TSL_PAGE_BYTES / 4 + TSL_PAGE_BYTES);
}

static void metadata_keeps_its_bound(void)
{
    if (TSL_FRAME_CORE_FLAT) {
        flat_bitmaps_have_two_bits_a_frame();
        return;
    }
    const tsl_word fixed = TSL_CPUS * 256 + 2 * TSL_PAGE_BYTES;
    const uint64_t sizes[] = {1, 2, 4, IS_64 ? 64 : 7, IS_64 ? 1024 : 8};
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        const struct world_range ranges[] = {
            {2 * MIB, 200 * MIB, TSL_MEMORY_USABLE},
            {4 * GIB, sizes[i] * GIB - 200 * MIB, TSL_MEMORY_USABLE},
        };
        tsl_word bytes = metadata_of(ranges, TSL_COUNT_OF(ranges));
        tap_note("%lu GiB: %lu bytes of metadata", (unsigned long)sizes[i], (unsigned long)bytes);
        CHECK(bytes > 0);
        CHECK(bytes <= sizes[i] * 34816 + fixed);
    }
}

/* What the README promises of 4 GiB, in whole pages. */
static void the_fixed_part_is_small(void)
{
    if (TSL_FRAME_CORE_FLAT) {
        flat_bitmaps_have_two_bits_a_frame();
        return;
    }
    const struct world_range ranges[] = {
        {2 * MIB, 200 * MIB, TSL_MEMORY_USABLE},
        {4 * GIB, 4 * GIB - 200 * MIB, TSL_MEMORY_USABLE},
    };
    if (!IS_64 || TSL_NODES > 1)
        SKIP("the figure is that of 64 bits and one node");
    tsl_word bytes = metadata_of(ranges, TSL_COUNT_OF(ranges));
    CHECK(bytes > 0);
    const tsl_word pages = (4 * 34816 + TSL_CPUS * 256 + TSL_PAGE_BYTES - 1) / TSL_PAGE_BYTES;
    CHECK(bytes <= pages * TSL_PAGE_BYTES);
}

/* Firmware that claims more than a word of 32 bits can count the metadata of. */
static void metadata_beyond_a_word_is_refused(void)
{
    static const unsigned gib[] = {511, 512, 513, 600, 1024, 4096};
    if (!TSL_FRAME_DESCRIPTORS)
        SKIP("no descriptors are compiled in");
    for (unsigned i = 0; i < TSL_COUNT_OF(gib); i++) {
        const struct world_range range = {0, gib[i] * GIB, TSL_MEMORY_USABLE};
        world_map(&world, &range, 1);
        world.config.descriptors = true;
        CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_NO_MEMORY);
    }
}

static void what_is_not_ram_costs_nothing(void)
{
    if (TSL_FRAME_CORE_FLAT) {
        flat_bitmaps_have_two_bits_a_frame();
        return;
    }
    const struct world_range plain[] = {{16 * MIB, 48 * MIB, TSL_MEMORY_USABLE}};
    const struct world_range apart[] = {
        {16 * MIB, 48 * MIB, TSL_MEMORY_USABLE},
        {64 * MIB, 64 * MIB, TSL_MEMORY_RESERVED},
        {1024 * GIB, 1 * GIB, TSL_MEMORY_RESERVED},
        {(uint64_t)1 << 51, 1 * GIB, TSL_MEMORY_DEVICE},
    };
    const struct world_range spread[] = {
        {16 * MIB, 24 * MIB, TSL_MEMORY_USABLE},
        {1024 * GIB, 24 * MIB, TSL_MEMORY_USABLE},
    };
    tsl_word bytes = metadata_of(plain, 1);
    CHECK(bytes > 0);
    CHECK_EQ(metadata_of(apart, TSL_COUNT_OF(apart)), bytes);
    CHECK_EQ(metadata_of(spread, TSL_COUNT_OF(spread)), bytes);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 10, 0, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), IS_64 ? 1024 * GIB : 16 * MIB);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

TAP_SUITE(frames_map, TAP_TEST(zones_lie_between_their_limits),
          TAP_TEST(normal_zone_begins_at_4_gib_on_64_bits),
          TAP_TEST(flags_keep_their_address_limits), TAP_TEST(high_zones_are_used_first),
          TAP_TEST(reach_grows_when_the_direct_map_does),
          TAP_TEST(reach_shrinks_when_the_direct_map_goes), TAP_TEST(a_run_crosses_areas_and_zones),
          TAP_TEST(a_gigabyte_of_four), TAP_TEST(reserves_and_releases_ranges),
          TAP_TEST(ram_above_ram_end_is_ignored_loudly),
          TAP_TEST(the_highest_ram_that_a_map_holds_works), TAP_TEST(maps_without_room_are_refused),
          TAP_TEST(every_small_machine_works_or_says_why),
          TAP_TEST(metadata_lies_at_the_top_of_what_is_reachable),
          TAP_TEST(metadata_keeps_its_bound), TAP_TEST(the_fixed_part_is_small),
          TAP_TEST(metadata_beyond_a_word_is_refused), TAP_TEST(what_is_not_ram_costs_nothing));
