/* SPDX-License-Identifier: MIT
 *
 * test_early.c: memory before the frame allocator, and how that takes it over.
 *
 * Owns:    suite early.
 * Needs:   frames_world.h, rng.h, the test port.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <string.h>

static struct world world;
static struct tsl_early early;

static const struct world_range ranges[] = {
    {0, 640 * KIB, TSL_MEMORY_USABLE},        {1 * MIB, 31 * MIB, TSL_MEMORY_USABLE},
    {40 * MIB, 8 * MIB, TSL_MEMORY_USABLE},   {4 * GIB, 1 * MIB, TSL_MEMORY_USABLE},
    {64 * MIB, 4 * MIB, TSL_MEMORY_RESERVED},
};

static void make(void)
{
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    tsl_early_init(&early, &world.map);
    world.config.early = &early;
}

static tsl_paddr take(uint64_t bytes, uint64_t align, tsl_paddr limit)
{
    tsl_paddr at = 0;
    CHECK_STATUS(tsl_early_alloc(&early, bytes, align, limit, &at), TSL_OK);
    return at;
}

static void bytes_come_from_the_top_downwards(void)
{
    make();
    CHECK_EQ(take(1, 1, 0), 4 * GIB + 1 * MIB - 1);
    CHECK_EQ(take(16, 16, 0), 4 * GIB + 1 * MIB - 32);
    CHECK_EQ(take(4096, 4096, 48 * MIB), 48 * MIB - 4096);
    CHECK_EQ(take(100, 8, 48 * MIB), 48 * MIB - 4096 - 104);
    CHECK_EQ(take(8 * MIB - 8192, 1, 48 * MIB), 40 * MIB + 4096 - 104);
    CHECK_EQ(take(8 * KIB, 4096, 48 * MIB), 32 * MIB - 8 * KIB);
    CHECK_EQ(take(64 * KIB, 64 * KIB, 1 * MIB), 576 * KIB);
    CHECK_EQ(early.piece_count, 4);
    CHECK_EQ(early.requests, 7);
}

static void a_limit_inside_a_piece_is_met(void)
{
    make();
    CHECK_EQ(take(2 * MIB, 4096, 48 * MIB), 46 * MIB);
    CHECK_EQ(take(4096, 4096, 47 * MIB), 46 * MIB - 4096);
    CHECK_EQ(take(4096, 4096, 48 * MIB - 1), 46 * MIB - 8192);
    CHECK_EQ(take(512, 1, 46 * MIB - 8192 - 5), 46 * MIB - 8192 - 517);
    CHECK_EQ(early.piece_count, 1);
}

static void nonsense_and_exhaustion_are_refused(void)
{
    tsl_paddr at = 77;
    make();
    CHECK_STATUS(tsl_early_alloc(&early, 0, 1, 0, &at), TSL_INVALID);
    CHECK_STATUS(tsl_early_alloc(&early, 1, 0, 0, &at), TSL_INVALID);
    CHECK_STATUS(tsl_early_alloc(&early, 1, 3, 0, &at), TSL_INVALID);
    CHECK_STATUS(tsl_early_alloc(&early, 31 * MIB + 1, 1, 0, &at), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_early_alloc(&early, ~(uint64_t)0, 1, 0, &at), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_early_alloc(&early, 1, (uint64_t)1 << 63, 0, &at), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_early_alloc(&early, 1, 1, 4096, &at), TSL_NO_MEMORY); /* frame 0 */
    CHECK_STATUS(tsl_early_alloc(&early, 2, 1, 4097, &at), TSL_NO_MEMORY);
    CHECK_EQ(at, 77);
    CHECK_EQ(early.piece_count, 0);
    CHECK_EQ(tsl_refusals_total(&early.refusals), 8);
    CHECK_EQ(take(1, 1, 4097), 4096);
    for (unsigned i = 1; i < TSL_EARLY_PIECES; i++)
        (void)take(4096, 4096, 1 * MIB + i * 64 * KIB);
    CHECK_STATUS(tsl_early_alloc(&early, 4096, 4096, 30 * MIB, &at), TSL_LIMIT);
    CHECK_EQ(early.piece_count, TSL_EARLY_PIECES);
}

static void the_frame_allocator_takes_over(void)
{
    make();
    tsl_paddr small = take(100, 4, 48 * MIB);
    tsl_paddr large = take(3 * MIB, 2 * MIB, 32 * MIB);
    (void)take(5000, 1, 0); /* two frames at the top, above 4 GiB */
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK(early.is_sealed);
    tsl_paddr at;
    CHECK_STATUS(tsl_early_alloc(&early, 1, 1, 0, &at), TSL_DENIED);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.reserved, 1 + 3 * MIB / TSL_PAGE_BYTES + 2);
    CHECK(tsl_frames_is_managed(world.frames, world_frame(small)));
    CHECK(!tsl_frames_is_free(world.frames, world_frame(small)));
    struct tsl_frame frame;
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK) {
        tsl_paddr address = tsl_frame_address(frame);
        CHECK(address < large || address >= large + 3 * MIB);
        CHECK(address != (small & ~(tsl_paddr)4095));
    }
    /* Boot is over. */
    CHECK_STATUS(tsl_frames_release(world.frames, large, 3 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_release(world.frames, small, 100), TSL_OK);
    CHECK_EQ(world_free(&world), 3 * MIB / TSL_PAGE_BYTES + 1);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void the_metadata_keeps_clear_of_it(void)
{
    make();
    tsl_paddr top = take(8 * MIB, 4096, WORLD_REACH);
    memset(tsl_port_phys_to_virt(top), 0x5a, 8 * MIB);
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK((char *)world.frames < (char *)tsl_port_phys_to_virt(32 * MIB));
    const unsigned char *bytes = tsl_port_phys_to_virt(top);
    size_t changed = 0;
    for (size_t i = 0; i < 8 * MIB; i++)
        changed += bytes[i] != 0x5a;
    CHECK_EQ(changed, 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void a_failed_take_over_changes_nothing(void)
{
    make();
    (void)take(4096, 4096, 0);
    struct tsl_early before = early;
    world.config.reach_end = 4 * KIB; /* room for no metadata */
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_NO_MEMORY);
    CHECK(!early.is_sealed);
    CHECK_EQ(early.piece_count, before.piece_count);
    world.config.reach_end = 8 * GIB; /* a lie: the highest RAM is not reachable */
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    CHECK(!early.is_sealed);
    CHECK_EQ(early.pieces[0].start, before.pieces[0].start);
    (void)take(1, 1, 0);
    world.config.reach_end = WORLD_REACH;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    struct tsl_memory_map other = world.map;
    tsl_early_init(&early, &other);
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
}

/* Random requests against the plain truth: usable, below the limit, aligned, never twice. */
static void whatever_comes_is_disjoint(void)
{
    struct rng rng = rng_start(0);
    static struct {
        tsl_paddr start, end;
    } had[200];
    for (unsigned round = 0; round < tap_rounds(100); round++) {
        unsigned count = 0;
        make();
        for (unsigned i = 0; i < 200; i++) {
            uint64_t bytes = (uint64_t)1 + rng_below(&rng, 1u << rng_below(&rng, 22));
            uint64_t align = (uint64_t)1 << rng_below(&rng, 16);
            tsl_paddr limit = rng_below(&rng, 4) == 0 ? rng_below(&rng, 50 << 20) : 0;
            tsl_paddr at;
            if (tsl_early_alloc(&early, bytes, align, limit, &at) != TSL_OK)
                continue;
            const struct tsl_memory_range *range = tsl_map_at(&world.map, at);
            CHECK(at % align == 0 && (limit == 0 || at + bytes <= limit) && at >= 4096);
            CHECK(range != NULL && range->type == TSL_MEMORY_USABLE && at + bytes <= range->end);
            for (unsigned k = 0; k < count; k++)
                CHECK(at + bytes <= had[k].start || had[k].end <= at);
            had[count].start = at;
            had[count++].end = at + bytes;
        }
        CHECK(count > 20);
        REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
        CHECK_SOUND(tsl_frames_verify(world.frames));
        for (unsigned k = 0; k < count; k++)
            CHECK(!tsl_frames_is_free(world.frames, world_frame(had[k].start)) &&
                  !tsl_frames_is_free(world.frames, world_frame(had[k].end - 1)));
    }
}

static tsl_word metadata_with(const struct world_range *range, tsl_word *total)
{
    make();
    world.config.early = NULL;
    if (range != NULL)
        CHECK_STATUS(tsl_map_add(&world.map, range->start, range->bytes, range->type), TSL_OK);
    if (tsl_frames_create(&world.config, &world.frames) != TSL_OK)
        return ~(tsl_word)0;
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    *total = stats.total;
    return stats.metadata_bytes;
}

static void what_is_not_ram_costs_nothing(void)
{
    const struct world_range high[] = {
        {1024 * GIB, 4 * KIB, TSL_MEMORY_RESERVED},
        {1024 * GIB, 512 * GIB, TSL_MEMORY_DEVICE},
        {2 * GIB, 1000 * GIB, TSL_MEMORY_PERSISTENT},
        {TSL_MAP_TOP - 4 * KIB, 4 * KIB, TSL_MEMORY_BAD},
    };
    tsl_word plain = 0, total = 0;
    tsl_word bytes = metadata_with(NULL, &plain);
    for (unsigned i = 0; i < TSL_COUNT_OF(high); i++) {
        tsl_word here = metadata_with(&high[i], &total);
        /* The third one covers the RAM at 4 GiB, which is 256 frames, and what kept book of it. */
        tsl_word lost = i == 2 ? 256 : 0;
        CHECK_EQ(total + here / TSL_PAGE_BYTES, plain - lost + bytes / TSL_PAGE_BYTES);
        CHECK(here <= bytes);
    }
}

TAP_SUITE(early, TAP_TEST(bytes_come_from_the_top_downwards),
          TAP_TEST(a_limit_inside_a_piece_is_met), TAP_TEST(nonsense_and_exhaustion_are_refused),
          TAP_TEST(the_frame_allocator_takes_over), TAP_TEST(the_metadata_keeps_clear_of_it),
          TAP_TEST(a_failed_take_over_changes_nothing), TAP_TEST(whatever_comes_is_disjoint),
          TAP_TEST(what_is_not_ram_costs_nothing));
