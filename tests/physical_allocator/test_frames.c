/* SPDX-License-Identifier: MIT
 *
 * test_frames.c: blocks, statuses, statistics and zones of the frame allocator.
 *
 * Owns:    the cases that can be named one by one.
 * Needs:   frames_world.h, the test port.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/bits.h>
#include <tesela/config.h>
#include <tesela/frames_banks.h>
#include <tesela/frames_pressure.h>

#include <string.h>

static struct world world;

static tsl_word refusals(enum tsl_status status)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    return stats.refusals.by_status[status];
}

static void hands_out_aligned_blocks_of_each_order(void)
{
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    tsl_word before = world_free(&world);
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
        struct tsl_frame block = {0};
        tsl_word count = (tsl_word)1 << order;
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &block), TSL_OK);
        CHECK_EQ(block.number % count, 0);
        CHECK(block.number != 0);
        CHECK_EQ(world_free(&world), before - count);
        for (tsl_word i = 0; i < count; i++)
            CHECK(!tsl_frames_is_free(world.frames, (struct tsl_frame){block.number + i}));
        CHECK_SOUND(tsl_frames_verify(world.frames));
        CHECK_STATUS(tsl_frames_free(world.frames, block, order), TSL_OK);
        CHECK_EQ(world_free(&world), before);
        CHECK_SOUND(tsl_frames_verify(world.frames));
    }
}

static void every_frame_is_given_once_and_comes_back(void)
{
    static unsigned char given[8192];
    memset(given, 0, sizeof(given));
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    tsl_word total = world_free(&world);
    tsl_word count = 0;
    struct tsl_frame frame;
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK) {
        REQUIRE(frame.number > 0 && frame.number < 8192 && given[frame.number] == 0);
        given[frame.number] = 1;
        count++;
    }
    CHECK_EQ(count, total);
    CHECK_EQ(world_free(&world), 0);
    CHECK_EQ(given[0], 0);
    for (unsigned i = 160; i < 256; i++)
        CHECK_EQ(given[i], 0); /* 640 KiB .. 1 MiB is not RAM */
    CHECK_SOUND(tsl_frames_verify(world.frames));
    for (tsl_word i = 0; i < 8192; i++)
        if (given[i])
            CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){i}, 0), TSL_OK);
    CHECK_EQ(world_free(&world), total);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_alloc(world.frames, TSL_FRAMES_MAX_ORDER, 0, &frame), TSL_OK);
}

static void exhaustion_is_a_status_and_counted(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frame frame = {0}, last = {0};
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK)
        last = frame;
    frame.number = 77;
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_NO_MEMORY);
    CHECK_EQ(frame.number, 77);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.failures[0], 2);
    CHECK_EQ(stats.failures[5], 1);
    CHECK_EQ(stats.failures[10], 1);
    CHECK_EQ(stats.used, stats.total);
    CHECK_EQ(stats.peak, stats.total);
    CHECK_STATUS(tsl_frames_free(world.frames, last, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(frame.number, last.number);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void refuses_each_misuse_with_its_status(void)
{
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    struct tsl_frame one, eight, huge;
    REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &one) == TSL_OK);
    /* Aligned to sixteen, and behind it room: so that freeing sixteen is wrong by its size alone.
     */
    struct tsl_frames_run run = {.count = 8, .align_frames = 16};
    REQUIRE(tsl_frames_alloc_run(world.frames, &run, &eight) == TSL_OK);
    REQUIRE(tsl_frames_alloc(world.frames, 9, 0, &huge) == TSL_OK);
    tsl_word free = world_free(&world);
    host_port_log_clear();

    struct tsl_frame none = {0};
    CHECK_STATUS(tsl_frames_free(world.frames, none, 0), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free(world.frames, world_frame(700 * KIB), 0), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free(world.frames, world_frame(1 * GIB), 0), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){~(tsl_word)0}, 0), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){eight.number + 1}, 3),
                 TSL_MISALIGNED);
    CHECK_STATUS(tsl_frames_free(world.frames, eight, 4), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free(world.frames, huge, 0), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free(world.frames, huge, 8), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free(world.frames, one, 11), TSL_INVALID);
    CHECK_STATUS(tsl_frames_free_run(world.frames, one, 0), TSL_INVALID);
    CHECK_STATUS(tsl_frames_free_run(world.frames, huge, 511), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free_run(world.frames, one, ~(tsl_word)0), TSL_FOREIGN);
    CHECK_EQ(world_free(&world), free);
    CHECK_SOUND(tsl_frames_verify(world.frames));

    CHECK_STATUS(tsl_frames_free(world.frames, one, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, one, 0), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_frames_free(world.frames, eight, 3), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, eight, 3), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_frames_free(world.frames, huge, 9), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, huge, 9), TSL_DOUBLE_FREE);
    CHECK_EQ(refusals(TSL_FOREIGN), 5);
    CHECK_EQ(refusals(TSL_DOUBLE_FREE), 3);
    CHECK_EQ(refusals(TSL_WRONG_SIZE), 4);
    CHECK_EQ(refusals(TSL_MISALIGNED), 1);
    CHECK_EQ(refusals(TSL_INVALID), 2);
    CHECK(host_port_log_has("double free"));
    CHECK(host_port_log_has("foreign"));
    CHECK_EQ(world_free(&world), free + 1 + 8 + 512);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void eight_single_frames_are_no_huge_block(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frames_run run = {.count = 511, .align_frames = 512};
    struct tsl_frame first;
    REQUIRE(tsl_frames_alloc_run(world.frames, &run, &first) == TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, first, 9), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free_run(world.frames, first, 512), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free_run(world.frames, first, 511), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void refuses_bad_requests(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frame frame = {5};
    CHECK_STATUS(tsl_frames_alloc(world.frames, 11, 0, &frame), TSL_INVALID);
    CHECK_STATUS(tsl_frames_alloc(world.frames, ~0u, 0, &frame), TSL_INVALID);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 1u << 20, &frame), TSL_INVALID);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_ZERO, &frame), TSL_INVALID);
    struct tsl_frames_run run = {.count = 0};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_INVALID);
    run = (struct tsl_frames_run){.count = 1, .align_frames = 3};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_INVALID);
    run = (struct tsl_frames_run){.count = ~(tsl_word)0};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run = (struct tsl_frames_run){.count = 2, .align_frames = (tsl_word)1 << (TSL_WORD_BITS - 1)};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    CHECK_EQ(frame.number, 5);
    struct tsl_frames_zone_stats zone;
    CHECK_STATUS(tsl_frames_zone_stats(world.frames, TSL_ZONE_COUNT, &zone), TSL_INVALID);
}

static void zeroed_frames_are_zero(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frame frame;
    for (unsigned order = 0; order < 3; order++) {
        REQUIRE(tsl_frames_alloc(world.frames, order, TSL_FRAMES_LOW, &frame) == TSL_OK);
        memset(tsl_port_phys_to_virt(tsl_frame_address(frame)), 0x5a, TSL_PAGE_BYTES << order);
        CHECK_STATUS(tsl_frames_free(world.frames, frame, order), TSL_OK);
        struct tsl_frame again;
        REQUIRE(tsl_frames_alloc(world.frames, order, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &again) ==
                TSL_OK);
        CHECK_EQ(again.number, frame.number);
        const unsigned char *bytes = tsl_port_phys_to_virt(tsl_frame_address(again));
        size_t sum = 0;
        for (size_t i = 0; i < (size_t)TSL_PAGE_BYTES << order; i++)
            sum += bytes[i];
        CHECK_EQ(sum, 0);
    }
}

/* What a configuration leaves out says so, instead of doing nothing. */
static void what_is_not_compiled_in_is_refused(void)
{
    const struct tsl_frames_watermarks marks = {.min = 1, .low = 1, .high = 1};
    const struct tsl_frames_bank_switch no_wires = {NULL, NULL};
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frames *frames = world.frames;
    CHECK_STATUS(tsl_frames_set_policy(frames, TSL_FRAMES_BIND),
                 TSL_NODES > 1 ? TSL_OK : TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_set_cpu_node(frames, 0, 0), TSL_NODES > 1 ? TSL_OK : TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_set_watermarks(frames, &marks),
                 TSL_FRAME_WATERMARKS ? TSL_INVALID : TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_set_banks(frames, 0, 0, &no_wires),
                 TSL_FRAME_BANKS ? TSL_INVALID : TSL_UNSUPPORTED);
    CHECK_SOUND(tsl_frames_verify(frames));
}

static void reserves_are_kept_for_their_tiers(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    world_end(&world);
    world.config.reserve_reclaim = 10;
    world.config.reserve_exit = 5;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    struct tsl_frame frame;
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK) {
    }
    CHECK_EQ(world_free(&world), 15);
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_RECLAIM, &frame) == TSL_OK) {
    }
    CHECK_EQ(world_free(&world), 5);
    struct tsl_frames_run run = {.count = 1, .flags = TSL_FRAMES_RECLAIM};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_EXIT, &frame) == TSL_OK) {
    }
    CHECK_EQ(world_free(&world), 0);
}

/* What the highest zone could serve leaves the reserve of a lower one alone. */
static void low_zones_keep_their_reserve(void)
{
    REQUIRE(world_pc(&world, 24 * MIB) == TSL_OK);
    world_end(&world);
    world.config.lowmem_reserve[TSL_ZONE_DMA] = 100;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    struct tsl_frame frame;
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK) {
    }
    CHECK_EQ(world_free(&world), 100);
    struct tsl_frames_run run = {.count = 2};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    for (unsigned i = 0; i < 50; i++)
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_DMA, &frame), TSL_OK);
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_EXIT, &frame) == TSL_OK) {
    }
    CHECK_EQ(world_free(&world), 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* 16 MiB that are kept for nobody, 48 MiB of which `spare` frames are not, 2 MiB above both. */
static bool make_with_kept_middle(tsl_word spare)
{
    const struct world_range range = {0, 66 * MIB, TSL_MEMORY_USABLE};
    world_map(&world, &range, 1);
    world.config.direct_end = 64 * MIB;
    world.config.lowmem_reserve[TSL_ZONE_DMA32] = 48 * MIB / TSL_PAGE_BYTES - spare;
    world.config.lowmem_reserve[TSL_ZONE_NORMAL] = 48 * MIB / TSL_PAGE_BYTES - spare;
    return tsl_frames_create(&world.config, &world.frames) == TSL_OK;
}

static void runs_leave_low_zones_their_reserve(void)
{
    const tsl_word low = 16 * MIB / TSL_PAGE_BYTES - 1;
    struct tsl_frame frame = {0};
    REQUIRE(make_with_kept_middle(0));
    tsl_word total = world_free(&world);
    /* Where the search for it begins low, its only places are in the middle. */
    struct tsl_frames_run run = {.count = 4096, .align_frames = 4096};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run = (struct tsl_frames_run){.count = low + 1};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    CHECK_EQ(world_free(&world), total);
    run.flags = TSL_FRAMES_EXIT;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    /* A run that begins low ends where the reserve of the middle does. */
    REQUIRE(make_with_kept_middle(700));
    run = (struct tsl_frames_run){.count = low + 701};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run.count = low + 700;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(frame.number, 1);
    CHECK_EQ(world_free(&world), total - run.count);
    CHECK_STATUS(tsl_frames_free_run(world.frames, frame, run.count), TSL_OK);
    /* One that begins in the middle takes no more of it than that. */
    run.count = 701;
    run.align_frames = 8192;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run.count = 700;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(frame.number, 8192);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void splits_huge_blocks(void)
{
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    tsl_word before = world_free(&world);
    struct tsl_frame block;
    REQUIRE(tsl_frames_alloc(world.frames, 10, 0, &block) == TSL_OK);
    CHECK_STATUS(tsl_frames_split(world.frames, block, 8), TSL_INVALID);
    CHECK_STATUS(tsl_frames_split(world.frames, (struct tsl_frame){block.number + 1}, 9),
                 TSL_MISALIGNED);
    CHECK_STATUS(tsl_frames_split(world.frames, block, 10), TSL_OK);
    CHECK_EQ(world_free(&world), before - 1024);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_split(world.frames, block, 10), TSL_WRONG_SIZE);
    for (tsl_word i = 0; i < 1024; i++) {
        CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){block.number + i}, 0),
                     TSL_OK);
    }
    CHECK_EQ(world_free(&world), before);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_split(world.frames, block, 10), TSL_DOUBLE_FREE);
    struct tsl_frame again;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 10, 0, &again), TSL_OK);
}

static void peak_and_used_follow(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frame block;
    REQUIRE(tsl_frames_alloc(world.frames, 9, 0, &block) == TSL_OK);
    REQUIRE(tsl_frames_free(world.frames, block, 9) == TSL_OK);
    REQUIRE(tsl_frames_alloc(world.frames, 2, 0, &block) == TSL_OK);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.used, 4);
    CHECK_EQ(stats.peak, 512);
    CHECK_EQ(stats.free + stats.used, stats.total);
    CHECK(stats.metadata_bytes > 0 && stats.metadata_bytes % TSL_PAGE_BYTES == 0);
    CHECK_EQ(stats.total + 1 + 96 + stats.metadata_bytes / TSL_PAGE_BYTES, 4096);
}

static tsl_word peak_now(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    return stats.peak;
}

/* Whatever took the frames, they are back before anybody asks. */
static void peak_is_noted_whatever_is_taken(void)
{
    static struct tsl_frame taken[3000];
    struct tsl_frame run;
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &(struct tsl_frames_run){.count = 3000}, &run),
                 TSL_OK);
    CHECK_STATUS(tsl_frames_free_run(world.frames, run, 3000), TSL_OK);
    CHECK_EQ(peak_now(), 3000);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 4 * MIB, 14 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_release(world.frames, 4 * MIB, 14 * MIB), TSL_OK);
    CHECK_EQ(peak_now(), 14 * MIB / TSL_PAGE_BYTES);
    /* Single frames of a CPU that claims nothing. */
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    world_part(1);
    for (unsigned i = 0; i < TSL_COUNT_OF(taken); i++)
        REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &taken[i]) == TSL_OK);
    for (unsigned i = 0; i < TSL_COUNT_OF(taken); i++)
        CHECK_STATUS(tsl_frames_free(world.frames, taken[i], 0), TSL_OK);
    /* An only CPU claims all the same, and is as exact as is promised. */
    CHECK(peak_now() <= TSL_COUNT_OF(taken));
    CHECK(peak_now() + (TSL_CPUS == 1 ? TSL_FRAMES_PER_AREA : 0) >= TSL_COUNT_OF(taken));
    world_join(1);
}

/* More than there is, up to the greatest word. */
static void reserves_of_any_size_are_kept(void)
{
    const tsl_word all = ~(tsl_word)0;
    const struct tsl_frames_config kept[] = {
        {.reserve_exit = all - 10},
        {.reserve_exit = all},
        {.reserve_exit = all / 2 + 1, .reserve_reclaim = all / 2 + 1},
        {.reserve_exit = 20, .reserve_reclaim = all - 10},
    };
    for (unsigned i = 0; i < TSL_COUNT_OF(kept); i++) {
        struct tsl_frame frame;
        REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
        world_end(&world);
        world.config.reserve_exit = kept[i].reserve_exit;
        world.config.reserve_reclaim = kept[i].reserve_reclaim;
        REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
        for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order += TSL_FRAMES_HUGE_ORDER)
            CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_NO_MEMORY);
        CHECK_STATUS(
            tsl_frames_alloc_run(world.frames, &(struct tsl_frames_run){.count = 1}, &frame),
            TSL_NO_MEMORY);
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_EXIT, &frame), TSL_OK);
    }
}

/* A word that ends in the middle because there is no more is no failure. */
static void the_last_word_counts_no_failure(void)
{
    struct tsl_frame frame, first;
    struct tsl_frames_stats stats;
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK) {
    }
    CHECK_STATUS(tsl_frames_free(world.frames, world_frame(8 * MIB), 0), TSL_OK);
    CHECK_EQ(tsl_frames_alloc_word(world.frames, 0, 8, &first), 1);
    CHECK_EQ(first.number, 8 * MIB / TSL_PAGE_BYTES);
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.failures[0], 1);
}

static void destroy_needs_all_frames_back(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    struct tsl_frame frame;
    REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK);
    CHECK_STATUS(tsl_frames_destroy(world.frames), TSL_BUSY);
    REQUIRE(tsl_frames_free(world.frames, frame, 0) == TSL_OK);
    CHECK_STATUS(tsl_frames_destroy(world.frames), TSL_OK);
    CHECK_BROKEN(tsl_frames_verify(world.frames), 1);
    world.frames = NULL;
}

static char dumped[16384];
static size_t dumped_length;

static void keep(void *context, const char *text, size_t length)
{
    (void)context;
    for (size_t i = 0; i < length && dumped_length + 1 < sizeof(dumped); i++)
        dumped[dumped_length++] = text[i];
    dumped[dumped_length] = '\0';
}

static void dump_shows_a_heat_map(void)
{
    const struct world_range ranges[] = {{16 * MIB, 16 * MIB, TSL_MEMORY_USABLE}};
    REQUIRE(world_make(&world, ranges, 1) == TSL_OK);
    struct tsl_frame first, half;
    struct tsl_frames_run run = {.count = 256, .align_frames = 512};
    REQUIRE(tsl_frames_alloc(world.frames, 9, 0, &first) == TSL_OK);
    REQUIRE(tsl_frames_alloc_run(world.frames, &run, &half) == TSL_OK);
    run = (struct tsl_frames_run){.count = 512 + 256, .align_frames = 512};
    REQUIRE(tsl_frames_alloc_run(world.frames, &run, &half) == TSL_OK);
    REQUIRE(tsl_frames_split(world.frames, half, 9) == TSL_OK);
    dumped_length = 0;
    tsl_frames_dump(world.frames, &(struct tsl_sink){keep, NULL});
    CHECK(strstr(dumped, "a letter is 2 MiB: . free, ") != NULL);
    CHECK(strstr(dumped, "0x1000000 H5#5...1\n") != NULL);
    CHECK(strstr(dumped, sizeof(tsl_word) == 8 ? "\nDMA32: " : "\nNORMAL: ") != NULL);
    CHECK(strstr(dumped, "\nDMA: ") == NULL);
}

/* The example of the component's README, word for word; the map is a PC's. */
static void the_example_works(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    world_end(&world);
    struct tsl_memory_map map = world.map;
    const tsl_paddr direct_map_bytes = WORLD_REACH;
    struct tsl_frames *frames;
    struct tsl_frames_config config = {.map = &map, .reach_end = direct_map_bytes};
    if (tsl_frames_create(&config, &frames) != TSL_OK)
        return;
    struct tsl_frame frame;
    if (tsl_frames_alloc(frames, 0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &frame) == TSL_OK) {
        uint64_t *table = tsl_port_phys_to_virt(tsl_frame_address(frame));
        table[0] = 0;
        enum tsl_status status = tsl_frames_free(frames, frame, 0);
        TSL_ASSERT(status == TSL_OK);
    }
    CHECK_STATUS(tsl_frames_destroy(frames), TSL_OK);
}

/* All frames by the word, in every core. */
static void words_of_frames_come_and_go(void)
{
    static struct tsl_frame first[8192];
    static tsl_word mask[8192];
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    tsl_word total = world_free(&world), got = 0;
    unsigned words = 0;
    while ((mask[words] = tsl_frames_alloc_word(world.frames, 0, 20, &first[words])) != 0) {
        CHECK_EQ(first[words].number % TSL_WORD_BITS, 0);
        CHECK(tsl_bits_count(mask[words]) <= 20);
        got += tsl_bits_count(mask[words++]);
    }
    CHECK_EQ(got, total);
    CHECK_EQ(world_free(&world), 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    tsl_word lowest = mask[0] & (0 - mask[0]);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first[0], lowest), TSL_OK);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first[0], mask[0]), TSL_DOUBLE_FREE);
    struct tsl_frame odd = {first[1].number + 1};
    CHECK_STATUS(tsl_frames_free_word(world.frames, odd, mask[1]), TSL_MISALIGNED);
    for (unsigned i = 1; i < words; i++)
        CHECK_STATUS(tsl_frames_free_word(world.frames, first[i], mask[i]), TSL_OK);
    CHECK_EQ(world_free(&world), total);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

TAP_SUITE(frames, TAP_TEST(hands_out_aligned_blocks_of_each_order),
          TAP_TEST(every_frame_is_given_once_and_comes_back),
          TAP_TEST(exhaustion_is_a_status_and_counted),
          TAP_TEST(refuses_each_misuse_with_its_status),
          TAP_TEST(eight_single_frames_are_no_huge_block), TAP_TEST(refuses_bad_requests),
          TAP_TEST(zeroed_frames_are_zero), TAP_TEST(reserves_are_kept_for_their_tiers),
          TAP_TEST(low_zones_keep_their_reserve), TAP_TEST(runs_leave_low_zones_their_reserve),
          TAP_TEST(what_is_not_compiled_in_is_refused), TAP_TEST(splits_huge_blocks),
          TAP_TEST(peak_and_used_follow), TAP_TEST(peak_is_noted_whatever_is_taken),
          TAP_TEST(reserves_of_any_size_are_kept), TAP_TEST(the_last_word_counts_no_failure),
          TAP_TEST(destroy_needs_all_frames_back), TAP_TEST(dump_shows_a_heat_map),
          TAP_TEST(the_example_works), TAP_TEST(words_of_frames_come_and_go));
