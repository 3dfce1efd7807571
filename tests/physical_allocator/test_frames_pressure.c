/* SPDX-License-Identifier: MIT
 *
 * test_frames_pressure.c: watermarks, what low zones keep back, and the reserve tiers beside them.
 *
 * Owns:    suite frames_pressure.
 * Needs:   frames_world.h, the test port; TSL_FRAME_WATERMARKS.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/config.h>
#include <tesela/frames_pressure.h>

#include <string.h>

#define IS_64 (sizeof(tsl_word) == 8)

static struct world world;
static struct tsl_frame taken[32768];
static size_t taken_count;

/* What the callback saw, a letter a call; whether the state was whole, and we unpinned, each
 * time. */
static char calls[64];
static unsigned bad_calls;

static void crossed(void *context, enum tsl_frames_level level)
{
    size_t length = strlen(calls);
    if (length + 1 < sizeof(calls))
        calls[length] = "PLM"[level];
    if (context != &world || host_port_pin_depth() != 0 || level != tsl_frames_level(world.frames))
        bad_calls++;
    if (tsl_frames_verify(world.frames).rule != 0)
        bad_calls++;
}

static void forget_calls(void)
{
    memset(calls, 0, sizeof(calls));
    bad_calls = 0;
}

static bool take(unsigned flags)
{
    struct tsl_frame frame;
    if (tsl_frames_alloc(world.frames, 0, flags, &frame) != TSL_OK)
        return false;
    taken[taken_count++] = frame; /* only now: the callback may have given some back */
    return true;
}

static void give(void)
{
    taken_count--;
    CHECK_STATUS(tsl_frames_free(world.frames, taken[taken_count], 0), TSL_OK);
}

static void take_until(tsl_word free)
{
    while (world_free(&world) > free)
        REQUIRE(take(0));
}

static void give_until(tsl_word free)
{
    while (world_free(&world) < free && taken_count > 0)
        give();
}

static const struct tsl_frames_watermarks marks = {
    .min = 100, .low = 200, .high = 300, .crossed = crossed, .context = &world};

static void make(void)
{
    taken_count = 0;
    forget_calls();
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &marks), TSL_OK);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_PLENTY);
}

static void each_crossing_is_told_once(void)
{
    make();
    take_until(0);
    CHECK_STRING(calls, "LM");
    CHECK(!take(0));
    give_until(99);
    CHECK_STRING(calls, "LM");
    give();
    CHECK_STRING(calls, "LML");
    take_until(99);
    CHECK_STRING(calls, "LMLM");
    give_until(299);
    CHECK_STRING(calls, "LMLML");
    take_until(201);
    CHECK_STRING(calls, "LMLML");
    give_until(300);
    CHECK_STRING(calls, "LMLMLP");
    give_until(600);
    CHECK_STRING(calls, "LMLMLP");
    CHECK_EQ(bad_calls, 0);
}

/* From LOW on every request is looked at: the marks are met to the frame. */
static void below_low_nothing_is_late(void)
{
    make();
    take_until(150);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_LOW);
    take_until(100);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_LOW);
    REQUIRE(take(0));
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_MIN);
    give();
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_LOW);
    give_until(299);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_LOW);
    give();
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_PLENTY);
}

static void every_way_of_taking_and_giving_counts(void)
{
    struct tsl_frame frame;
    tsl_word all;
    make();
    all = world_free(&world);
    struct tsl_frames_run run = {.count = 3000};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    tsl_word left = world_free(&world);
    REQUIRE(left > 512 && left < 1200);
    /* A reservation, a run, a large block: each crosses by itself. */
    CHECK_STATUS(tsl_frames_free_run(world.frames, frame, run.count), TSL_OK);
    CHECK_STRING(calls, "");
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, 16 * MIB), TSL_OK);
    CHECK_STRING(calls, "M");
    CHECK_STATUS(tsl_frames_release(world.frames, 0, 16 * MIB), TSL_OK);
    CHECK_STRING(calls, "MP");
    run.count = all - 700;
    while (run.count > 0 && tsl_frames_alloc_run(world.frames, &run, &frame) != TSL_OK)
        run.count--;
    take_until(600);
    forget_calls();
    struct tsl_frame block;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 8, 0, &block), TSL_OK);
    take_until(250);
    CHECK_STRING(calls, "");
    struct tsl_frames_run rest = {.count = 60};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &rest, &frame), TSL_OK);
    CHECK_STRING(calls, "L");
    CHECK_STATUS(tsl_frames_free(world.frames, block, 8), TSL_OK);
    CHECK_STRING(calls, "LP");
    CHECK_EQ(bad_calls, 0);
}

/* A kernel that reclaims from the callback itself. */
static unsigned depth, most_depth;

static void reclaim(void *context, enum tsl_frames_level level)
{
    (void)context;
    depth++;
    most_depth = depth > most_depth ? depth : most_depth;
    for (unsigned i = 0; level != TSL_LEVEL_PLENTY && i < 200 && taken_count > 0; i++)
        give();
    depth--;
}

static void a_callback_may_free(void)
{
    struct tsl_frames_watermarks reclaiming = marks;
    reclaiming.crossed = reclaim;
    make();
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &reclaiming), TSL_OK);
    for (unsigned i = 0; i < 20000; i++)
        REQUIRE(take(0));
    CHECK(world_free(&world) >= 100);
    CHECK(most_depth >= 1 && most_depth <= 3);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* One that needs memory to get memory: all of it, by each way. */
static void use_up(void *context, enum tsl_frames_level level)
{
    struct tsl_frame frame;
    tsl_word count = 0;
    crossed(context, level);
    depth++;
    most_depth = depth > most_depth ? depth : most_depth;
    while (level == TSL_LEVEL_LOW && count < 150 && take(0))
        count++;
    if (level == TSL_LEVEL_MIN) {
        const struct tsl_frames_run run = {.count = 3};
        while (take(0))
            count++;
        CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
        CHECK_STATUS(tsl_frames_alloc(world.frames, 9, 0, &frame), TSL_NO_MEMORY);
    }
    depth--;
}

static void a_callback_may_allocate(void)
{
    struct tsl_frames_watermarks using_up = marks;
    using_up.crossed = use_up;
    make();
    forget_calls();
    most_depth = 0;
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &using_up), TSL_OK);
    while (most_depth == 0)
        REQUIRE(take(0));
    CHECK_EQ(world_free(&world), 0);
    CHECK_STRING(calls, "LM");
    CHECK_EQ(most_depth, 2);
    CHECK_EQ(depth, 0);
    CHECK_EQ(bad_calls, 0);
    /* It would go on so as they come back. */
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, NULL), TSL_OK);
    give_until(400);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void marks_are_checked_and_taken_away(void)
{
    struct tsl_frames_watermarks bad = marks;
    make();
    bad.min = 0;
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &bad), TSL_INVALID);
    bad.min = 201;
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &bad), TSL_INVALID);
    bad = marks;
    bad.high = 199;
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &bad), TSL_INVALID);
    bad = marks;
    bad.crossed = NULL;
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &bad), TSL_INVALID);
    take_until(50);
    CHECK_STRING(calls, "LM");
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, NULL), TSL_OK);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_PLENTY);
    give_until(1000);
    CHECK_STRING(calls, "LM");
    take_until(50);
    forget_calls();
    /* Set when memory is short already: told at once. */
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &marks), TSL_OK);
    CHECK_STRING(calls, "M");
    CHECK_EQ(bad_calls, 0);
}

static void reserve_tiers_lie_below_the_marks(void)
{
    taken_count = 0;
    forget_calls();
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    world.config.reserve_exit = 30;
    world.config.reserve_reclaim = 50;
    world_end(&world);
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, &marks), TSL_OK);
    while (take(0))
        continue;
    CHECK_EQ(world_free(&world), 80);
    CHECK_STRING(calls, "LM");
    while (take(TSL_FRAMES_RECLAIM))
        continue;
    CHECK_EQ(world_free(&world), 30);
    while (take(TSL_FRAMES_EXIT))
        continue;
    CHECK_EQ(world_free(&world), 0);
    CHECK_STRING(calls, "LM");
    give_until(320);
    CHECK_STRING(calls, "LMLP");
    CHECK_EQ(bad_calls, 0);
}

/* DMA below 16 MiB, 16 MiB of another zone, and high memory from 48 MiB on. */
static void make_zones(tsl_word dma, tsl_word middle)
{
    const struct world_range ranges[] = {
        {1 * MIB, 31 * MIB, TSL_MEMORY_USABLE},
        {48 * MIB, 16 * MIB, TSL_MEMORY_USABLE},
    };
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    world.config.direct_end = 48 * MIB;
    world.config.lowmem_reserve[TSL_ZONE_DMA] = dma;
    world.config.lowmem_reserve[TSL_ZONE_DMA32] = middle;
    world.config.lowmem_reserve[TSL_ZONE_NORMAL] = middle;
    world.config.lowmem_reserve[TSL_ZONE_HIGHMEM] = 1000; /* nothing is higher: no effect */
    taken_count = 0;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
}

static tsl_word zone_free(enum tsl_frames_zone zone)
{
    struct tsl_frames_zone_stats stats = {0};
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, zone, &stats), TSL_OK);
    return stats.free;
}

static void low_zones_keep_frames_for_who_needs_them(void)
{
    enum tsl_frames_zone middle = IS_64 ? TSL_ZONE_DMA32 : TSL_ZONE_NORMAL;
    struct tsl_frame frame;
    make_zones(300, 200);
    while (take(0))
        continue;
    CHECK_EQ(zone_free(TSL_ZONE_HIGHMEM), 0);
    CHECK_EQ(zone_free(middle), 200);
    CHECK_EQ(zone_free(TSL_ZONE_DMA), 300);
    struct tsl_frames_run run = {.count = 1};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    /* LOW cannot go to high memory, DMA to nothing else. */
    while (take(TSL_FRAMES_LOW))
        continue;
    CHECK_EQ(zone_free(middle), 0);
    CHECK_EQ(zone_free(TSL_ZONE_DMA), 300);
    run.flags = TSL_FRAMES_DMA;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    while (zone_free(TSL_ZONE_DMA) > 100)
        REQUIRE(take(TSL_FRAMES_DMA));
    CHECK(!take(TSL_FRAMES_LOW));
    /* A dying process may have what is there. */
    while (take(TSL_FRAMES_EXIT))
        continue;
    CHECK_EQ(world_free(&world), 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void blocks_are_counted_whole_against_the_reserve(void)
{
    struct tsl_frame frame;
    make_zones(0, 3800);
    struct tsl_frames_zone_stats high;
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, TSL_ZONE_HIGHMEM, &high), TSL_OK);
    struct tsl_frames_run run = {.count = 16 * MIB / TSL_PAGE_BYTES - 1};
    while (tsl_frames_alloc_run(world.frames, &run, &frame) == TSL_OK &&
           tsl_frame_address(frame) >= 48 * MIB)
        run.count = 1;
    /* The last one came from below: at most 4096 - 3800 there, whatever the order. */
    for (unsigned order = TSL_FRAMES_MAX_ORDER + 1; order-- > 0;)
        while (tsl_frames_alloc(world.frames, order, 0, &frame) == TSL_OK)
            continue;
    CHECK_EQ(zone_free(IS_64 ? TSL_ZONE_DMA32 : TSL_ZONE_NORMAL), 3800);
    CHECK_EQ(zone_free(TSL_ZONE_DMA), 0);
}

TAP_SUITE(frames_pressure, TAP_TEST(each_crossing_is_told_once),
          TAP_TEST(below_low_nothing_is_late), TAP_TEST(every_way_of_taking_and_giving_counts),
          TAP_TEST(a_callback_may_free), TAP_TEST(a_callback_may_allocate),
          TAP_TEST(marks_are_checked_and_taken_away), TAP_TEST(reserve_tiers_lie_below_the_marks),
          TAP_TEST(low_zones_keep_frames_for_who_needs_them),
          TAP_TEST(blocks_are_counted_whole_against_the_reserve));
