/* SPDX-License-Identifier: MIT
 *
 * test_frames_blocks.c: free blocks by order against a count frame by frame; the fragmentation
 * index.
 *
 * Owns:    suite frames_blocks.
 * Needs:   frames_world.h, rng.h, the test port.
 * Callers: the unit suite.
 */
#include <tesela/frames_blocks.h>

#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "rng.h"
#include "tap.h"

#include <string.h>
#include <unistd.h>

#define END_FRAME (40 * MIB / TSL_PAGE_BYTES)

static struct world world;
static struct tsl_frames_blocks blocks;

static void count(void)
{
    CHECK_STATUS(tsl_frames_count_blocks(world.frames, TSL_FRAMES_ALL, TSL_FRAMES_ALL, &blocks),
                 TSL_OK);
}

/* The zone that a frame number belongs to, for blocks that two zones share. */
static unsigned zone_of_number(tsl_word number)
{
    return number < 16 * MIB / TSL_PAGE_BYTES;
}

/* Asks for every frame by itself, and joins from the largest order down. */
static void count_naively(struct tsl_frames_blocks *out)
{
    static bool is_free[END_FRAME];
    *out = (struct tsl_frames_blocks){0};
    for (tsl_word i = 0; i < END_FRAME; i++) {
        is_free[i] = tsl_frames_is_free(world.frames, (struct tsl_frame){i});
        out->frames += is_free[i];
    }
    for (unsigned order = TSL_FRAMES_MAX_ORDER + 1; order-- > 0;) {
        tsl_word size = (tsl_word)1 << order;
        for (tsl_word first = 0; first + size <= END_FRAME; first += size) {
            tsl_word free = 0;
            while (free < size && is_free[first + free])
                free++;
            if (free < size || zone_of_number(first) != zone_of_number(first + size - 1))
                continue;
            out->free[order]++;
            memset(&is_free[first], 0, size);
        }
    }
}

static void counts_are_those_of_a_naive_count(void)
{
    struct rng rng = rng_start(0);
    static struct {
        struct tsl_frame frame;
        unsigned order;
    } had[4000];
    unsigned used = 0;
    REQUIRE(world_pc(&world, 40 * MIB) == TSL_OK);
    for (unsigned step = 0; step < tap_rounds(6000); step++) {
        if (rng_below(&rng, 5) < 3 && used < TSL_COUNT_OF(had)) {
            had[used].order =
                rng_below(&rng, 40) == 0 ? 9 + rng_below(&rng, 2) : rng_below(&rng, 9);
            if (rng_below(&rng, 3) != 0)
                had[used].order = 0;
            if (tsl_frames_alloc(world.frames, had[used].order, 0, &had[used].frame) == TSL_OK)
                used++;
        } else if (used > 0) {
            unsigned i = rng_below(&rng, used);
            CHECK_STATUS(tsl_frames_free(world.frames, had[i].frame, had[i].order), TSL_OK);
            had[i] = had[--used];
        }
        if (step % 50 != 0)
            continue;
        struct tsl_frames_blocks expected;
        count_naively(&expected);
        count();
        CHECK_EQ(blocks.frames, world_free(&world));
        CHECK_EQ(blocks.frames, expected.frames);
        for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
            CHECK_EQ(blocks.free[order], expected.free[order]);
    }
}

static void zones_and_nodes_add_up(void)
{
    struct tsl_frames_blocks part;
    REQUIRE(world_pc(&world, 40 * MIB) == TSL_OK);
    count();
    tsl_word frames = 0;
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++) {
        CHECK_STATUS(tsl_frames_count_blocks(world.frames, 0, zone, &part), TSL_OK);
        frames += part.frames;
    }
    CHECK_EQ(frames, blocks.frames);
    CHECK_STATUS(tsl_frames_count_blocks(world.frames, TSL_FRAMES_ALL, TSL_ZONE_COUNT, &part),
                 TSL_INVALID);
    CHECK_STATUS(tsl_frames_count_blocks(world.frames, 1, TSL_FRAMES_ALL, &part), TSL_INVALID);
}

/* Figures worked out by hand from the source's formula. */
static void the_index_tells_lack_from_pieces(void)
{
    struct tsl_frames_blocks some = {.frames = 1024};
    some.free[0] = 1024;
    CHECK_EQ(tsl_frames_fragmentation(&some, 0), -1000);
    CHECK_EQ(tsl_frames_fragmentation(&some, 9), 1000 - (1000 + 2000) / 1024);
    some = (struct tsl_frames_blocks){.frames = 4};
    some.free[2] = 1;
    CHECK_EQ(tsl_frames_fragmentation(&some, 2), -1000);
    CHECK_EQ(tsl_frames_fragmentation(&some, 3), 1000 - (1000 + 500));
    CHECK_EQ(tsl_frames_fragmentation(&some, 9), 1000 - (1000 + 7));
    some = (struct tsl_frames_blocks){.frames = 0};
    CHECK_EQ(tsl_frames_fragmentation(&some, 0), 0);
}

static void what_a_cpu_holds_is_free_all_the_same(void)
{
    struct tsl_frames_cpu_stats stats;
    struct tsl_frame frame;
    REQUIRE(world_pc(&world, 40 * MIB) == TSL_OK);
    tsl_word before = world_free(&world);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_STATUS(tsl_frames_cpu_stats(world.frames, 0, &stats), TSL_OK);
    CHECK(stats.held < TSL_WORD_BITS);
    count();
    CHECK_EQ(blocks.frames, before - 1);
    tsl_frames_drain(world.frames);
    CHECK_STATUS(tsl_frames_cpu_stats(world.frames, 0, &stats), TSL_OK);
    CHECK_EQ(stats.held, 0);
    count();
    CHECK_EQ(blocks.frames, before - 1);
    CHECK_STATUS(tsl_frames_cpu_stats(world.frames, ~0u, &stats), TSL_INVALID);
}

static char text[8192];

static void write_text(void *context, const char *bytes, size_t length)
{
    size_t used = strlen(text);
    (void)context;
    if (used + length < sizeof(text))
        memcpy(text + used, bytes, length);
}

static void the_dump_shows_them(void)
{
    const struct tsl_sink sink = {.write = write_text};
    REQUIRE(world_pc(&world, 40 * MIB) == TSL_OK);
    memset(text, 0, sizeof(text));
    tsl_frames_dump(world.frames, &sink);
    CHECK(strstr(text, "free blocks of order 0 to 10:") != NULL);
    CHECK(strstr(text, "; 2 MiB in one piece can be had\n") != NULL);
    struct tsl_frame frame;
    while (tsl_frames_alloc(world.frames, 9, 0, &frame) == TSL_OK)
        continue;
    memset(text, 0, sizeof(text));
    tsl_frames_dump(world.frames, &sink);
    CHECK(strstr(text, "; 2 MiB in one piece cannot: fragmentation index ") != NULL);
}

/* A CPU was stopped between the two halves of a claim, and will never end it: a report out of a
 * panic shows the rest, and ends. */
static void reports_wait_for_nobody(void)
{
    struct tsl_frame frame;
    const struct tsl_sink sink = {.write = write_text};
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    if (!TSL_FRAME_CLAIMS)
        SKIP("nobody claims");
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    tsl_word free = world_free(&world);
    struct frames_cpu *cpu = frames_cpu_at(world.frames, 0);
    for (unsigned zone = 0; zone < zone_count(world.frames); zone++)
        cpu->slot[zone].turn++;
    (void)alarm(20); /* a hang is a failure */
    memset(text, 0, sizeof(text));
    tsl_frames_dump(world.frames, &sink);
    count();
    (void)alarm(0);
    CHECK(strstr(text, "free blocks of order 0 to 10:") != NULL);
    CHECK(blocks.frames <= free && free - blocks.frames <= TSL_WORD_BITS);
    for (unsigned zone = 0; zone < zone_count(world.frames); zone++)
        cpu->slot[zone].turn++;
    count();
    CHECK_EQ(blocks.frames, free);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

TAP_SUITE(frames_blocks, TAP_TEST(counts_are_those_of_a_naive_count),
          TAP_TEST(zones_and_nodes_add_up), TAP_TEST(the_index_tells_lack_from_pieces),
          TAP_TEST(what_a_cpu_holds_is_free_all_the_same), TAP_TEST(the_dump_shows_them),
          TAP_TEST(reports_wait_for_nobody));
