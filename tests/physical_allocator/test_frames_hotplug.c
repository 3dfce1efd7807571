/* SPDX-License-Identifier: MIT
 *
 * test_frames_hotplug.c: RAM is added and removed, and what stands against it changes nothing.
 *
 * Owns:    suite frames_hotplug; the broken rule 16.
 * Needs:   frames_world.h, rng.h, the test port; TSL_FRAME_HOTPLUG.
 * Callers: the unit suite.
 */
#include <tesela/frames_hotplug.h>

#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "rng.h"
#include "tap.h"

#include <tesela/frames_blocks.h>

static struct world world;

static const struct world_range ranges[] = {
    {1 * MIB, 63 * MIB, TSL_MEMORY_USABLE},
    {4 * GIB, 64 * MIB, TSL_MEMORY_USABLE},
};

/* The upper half of the low range, and all of the high one. */
static const struct tsl_memory_range absent[] = {
    {32 * MIB, 64 * MIB, TSL_MEMORY_USABLE},
    {4 * GIB, 4 * GIB + 64 * MIB, TSL_MEMORY_USABLE},
};

/* Banks that are off lose what is in them. */
static unsigned switched_off;

static bool switch_bank(void *context, unsigned bank, bool on)
{
    (void)context;
    switched_off += on ? 0u - 1u : 1u;
    __builtin_memset(tsl_port_phys_to_virt(16 * MIB + bank * 8 * MIB), 0x3c, 8 * MIB);
    return true;
}

static const struct tsl_frames_bank_switch wires = {switch_bank, NULL};

static struct tsl_frames *make(size_t count)
{
    switched_off = 0;
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    world.config.absent = absent;
    world.config.absent_count = count;
    return tsl_frames_create(&world.config, &world.frames) == TSL_OK ? world.frames : NULL;
}

static struct tsl_frames_stats stats_now(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    return stats;
}

static void what_is_absent_counts_nowhere(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    CHECK_SOUND(tsl_frames_verify(self));
    struct tsl_frames_stats stats = stats_now();
    tsl_word metadata = stats.metadata_bytes / TSL_PAGE_BYTES;
    CHECK_EQ(stats.total, 31 * MIB / TSL_PAGE_BYTES - metadata);
    CHECK_EQ(stats.used, 0);
    CHECK_EQ(stats.reserved, 0);
    CHECK_EQ(tsl_frames_absent_count(self), 96 * MIB / TSL_PAGE_BYTES);
    CHECK((char *)self < (char *)tsl_port_phys_to_virt(32 * MIB));
    struct tsl_frame frame;
    tsl_word count = 0;
    for (; tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK; count++)
        REQUIRE(tsl_frame_address(frame) < 32 * MIB);
    CHECK_EQ(count, stats.total);
    /* More than is there can never have been in use. */
    CHECK_EQ(stats_now().peak, stats.total);
}

static void added_ram_is_handed_out(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    tsl_word before = stats_now().total;
    struct tsl_frame frame;
    while (tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK)
        continue;
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB + 2 * MIB, 4 * MIB), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_EQ(stats_now().total, before + 1024);
    CHECK_EQ(stats_now().reserved, 0);
    CHECK_STATUS(tsl_frames_alloc(self, 9, 0, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), 4 * GIB + 2 * MIB);
    tsl_word count = 512;
    for (; tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK; count++)
        REQUIRE(tsl_frame_address(frame) >= 4 * GIB + 2 * MIB &&
                tsl_frame_address(frame) < 4 * GIB + 6 * MIB);
    CHECK_EQ(count, 1024);
    CHECK_STATUS(tsl_frames_add_range(self, 32 * MIB, 32 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(self, 10, TSL_FRAMES_LOW, &frame), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void free_ram_is_removed(void)
{
    struct tsl_frames *self = make(0);
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    tsl_word all = stats_now().total;
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 64 * MIB, false), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_EQ(stats_now().total, all - 64 * MIB / TSL_PAGE_BYTES);
    CHECK_EQ(stats_now().free, stats_now().total);
    while (tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK)
        REQUIRE(tsl_frame_address(frame) < 4 * GIB);
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB, 64 * MIB), TSL_OK);
    CHECK_EQ(tsl_frames_absent_count(self), 0);
    CHECK_EQ(stats_now().total, all);
    CHECK_SOUND(tsl_frames_verify(self));
}

static enum tsl_status second_status;

static void remove_again(void)
{
    second_status = tsl_frames_remove_range(world.frames, 4 * GIB + 1 * MIB, 2 * MIB, true);
}

/* The same by an interrupt at each moment at which one can come. */
static void reserved_ram_leaves_once(void)
{
    tsl_word moved = 0;
    for (unsigned moment = 0; moved != 512; moment++) {
        struct tsl_frames *self = make(0);
        REQUIRE(self != NULL && moment < 8);
        CHECK_STATUS(tsl_frames_reserve(self, 4 * GIB, 4 * MIB), TSL_OK);
        tsl_word all = stats_now().total;
        host_port_at_unpin(0, moment, remove_again);
        enum tsl_status status = tsl_frames_remove_range(self, 4 * GIB, 2 * MIB, true);
        bool is_met = host_port_was_unpinned();
        if (!is_met)
            second_status = TSL_NOT_FOUND;
        CHECK(status == TSL_OK || second_status == TSL_OK);
        CHECK(status != TSL_OK || second_status != TSL_OK);
        CHECK_EQ(tsl_frames_absent_count(self), 512);
        CHECK_EQ(stats_now().total, all - 512);
        CHECK_EQ(stats_now().reserved, 512);
        CHECK_SOUND(tsl_frames_verify(self));
        moved = is_met ? 0 : 512;
    }
}

/* Neighbours are one range, in whichever order they went. */
static void pieces_become_one_range(void)
{
    struct tsl_frames *self = make(0);
    REQUIRE(self != NULL);
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 8 * MIB, false), TSL_OK);
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB + 16 * MIB, 8 * MIB, false), TSL_OK);
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB, 24 * MIB), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB + 8 * MIB, 8 * MIB, false), TSL_OK);
    CHECK_EQ(self->absent.count, 1);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB, 24 * MIB), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void ram_in_use_stays(void)
{
    struct tsl_frames *self = make(0);
    REQUIRE(self != NULL);
    REQUIRE(tsl_frames_reserve(self, 4 * GIB + 20 * KIB, 1) == TSL_OK);
    struct tsl_frames_stats before = stats_now();
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 64 * MIB, false), TSL_BUSY);
    CHECK_EQ(stats_now().total, before.total);
    CHECK_EQ(stats_now().free, before.free);
    CHECK_SOUND(tsl_frames_verify(self));
    /* Given back, reserved wholly, removed. */
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 64 * MIB, true), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_release(self, 4 * GIB + 20 * KIB, 1), TSL_OK);
    CHECK_STATUS(tsl_frames_reserve(self, 4 * GIB, 64 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 64 * MIB, false), TSL_BUSY);
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 64 * MIB, true), TSL_OK);
    CHECK_EQ(stats_now().reserved, 0);
    CHECK_EQ(stats_now().used, 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void nonsense_changes_nothing(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    static const struct {
        tsl_paddr start;
        uint64_t bytes;
        enum tsl_status add, remove;
    } cases[] = {
        {32 * MIB, 0, TSL_INVALID, TSL_INVALID},
        {32 * MIB + 1, 4096, TSL_MISALIGNED, TSL_MISALIGNED},
        {32 * MIB, 4095, TSL_MISALIGNED, TSL_MISALIGNED},
        {0, 4096, TSL_NOT_FOUND, TSL_NOT_FOUND},
        {128 * MIB, 4096, TSL_NOT_FOUND, TSL_NOT_FOUND},
        {60 * MIB, 8 * MIB, TSL_NOT_FOUND, TSL_NOT_FOUND},
        {32 * MIB - 4096, 8192, TSL_NOT_FOUND, TSL_NOT_FOUND}, /* the metadata, or half absent */
        {~(uint64_t)4095, 8192, TSL_NOT_FOUND, TSL_NOT_FOUND},
        {40 * MIB, 4096, TSL_OK, TSL_NOT_FOUND}, /* absent: to be added only */
    };
    struct tsl_frames_stats before = stats_now();
    for (unsigned i = 0; i < TSL_COUNT_OF(cases); i++) {
        CHECK_STATUS(tsl_frames_remove_range(self, cases[i].start, cases[i].bytes, false),
                     cases[i].remove);
        if (cases[i].add != TSL_OK)
            CHECK_STATUS(tsl_frames_add_range(self, cases[i].start, cases[i].bytes), cases[i].add);
    }
    CHECK_EQ(stats_now().total, before.total);
    CHECK_STATUS(tsl_frames_add_range(self, 16 * MIB, 4096), TSL_NOT_FOUND); /* there already */
    CHECK_SOUND(tsl_frames_verify(self));
}

static void too_many_pieces_are_refused(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    for (unsigned i = 0; i < FRAMES_MOST_ABSENT - 2; i++)
        CHECK_STATUS(tsl_frames_add_range(self, 34 * MIB + i * 2 * MIB, 4096), TSL_OK);
    tsl_word total = stats_now().total;
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB + 2 * MIB, 4096), TSL_LIMIT);
    CHECK_STATUS(tsl_frames_remove_range(self, 8 * MIB, 4096, false), TSL_LIMIT);
    CHECK_EQ(stats_now().total, total);
    CHECK_STATUS(tsl_frames_add_range(self, 4 * GIB, 4096), TSL_OK); /* at an end: no new piece */
    CHECK_STATUS(tsl_frames_remove_range(self, 4 * GIB, 4096, false), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void absent_ram_is_checked_at_creation(void)
{
    static const struct tsl_memory_range bad[][2] = {
        {{0, 4096, 0}, {0, 0, 0}},
        {{32 * MIB, 32 * MIB, 0}, {0, 0, 0}},
        {{32 * MIB + 1, 33 * MIB, 0}, {0, 0, 0}},
        {{32 * MIB, 65 * MIB, 0}, {0, 0, 0}},
        {{128 * MIB, 129 * MIB, 0}, {0, 0, 0}},
        {{32 * MIB, 40 * MIB, 0}, {39 * MIB, 41 * MIB, 0}},
    };
    for (unsigned i = 0; i < TSL_COUNT_OF(bad); i++) {
        world_map(&world, ranges, TSL_COUNT_OF(ranges));
        world.config.absent = bad[i];
        world.config.absent_count = bad[i][1].end == 0 ? 1 : 2;
        CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
    }
    const struct tsl_memory_range everything[] = {{1 * MIB, 64 * MIB, 0}};
    world_map(&world, ranges, 1);
    world.config.absent = everything;
    world.config.absent_count = 1;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_NO_MEMORY);
}

/* ---- Places that the firmware tells of ---- */

static size_t plan(const struct tsl_memory_range *places, size_t count, tsl_paddr end,
                   uint64_t most_bytes, struct tsl_memory_range *out)
{
    return tsl_frames_plan_absent(&world.map, places, count, end, most_bytes, out);
}

static void places_become_absent_ranges(void)
{
    static const struct world_range known[] = {
        {1 * MIB, 63 * MIB, TSL_MEMORY_USABLE},
        {96 * MIB, 4 * MIB, TSL_MEMORY_RESERVED},
        {128 * MIB, 64 * MIB, TSL_MEMORY_USABLE},
    };
    static const struct tsl_memory_range places[] = {
        {32 * MIB, 160 * MIB, 0},                /* around what the map knows */
        {4 * GIB + 1, 4 * GIB + 3 * MIB + 5, 0}, /* no whole pages at its ends */
        {5 * GIB, 5 * GIB, 0},                   /* nothing */
        {~(uint64_t)0 - 100, ~(uint64_t)0, 0},   /* nearly nothing, at the end of all addresses */
        {7 * GIB, 6 * GIB, 0},                   /* nonsense */
    };
    static const struct tsl_memory_range expected[] = {
        {64 * MIB, 96 * MIB, 0},
        {100 * MIB, 128 * MIB, 0},
        {4 * GIB + 4096, 4 * GIB + 3 * MIB, 0},
    };
    struct tsl_memory_range out[TSL_FRAMES_MAX_ABSENT];
    world_map(&world, known, TSL_COUNT_OF(known));
    size_t count = plan(places, TSL_COUNT_OF(places), 1024 * GIB, 64 * GIB, out);
    CHECK_EQ(count, TSL_COUNT_OF(expected));
    for (size_t i = 0; i < count && i < TSL_COUNT_OF(expected); i++) {
        CHECK_EQ(out[i].start, expected[i].start);
        CHECK_EQ(out[i].end, expected[i].end);
    }
    CHECK_SOUND(tsl_map_verify(&world.map));
    CHECK_EQ(tsl_map_at(&world.map, 98 * MIB)->type, TSL_MEMORY_RESERVED);
    /* What was planned is what an allocator takes. */
    world.config.absent = out;
    world.config.absent_count = count;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_OK);
    CHECK_EQ(tsl_frames_absent_count(world.frames), (60 * MIB + 3 * MIB) / 4096 - 1);
    CHECK_STATUS(tsl_frames_add_range(world.frames, 64 * MIB, 32 * MIB), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    /* A second look finds them known. */
    struct tsl_memory_range again[TSL_FRAMES_MAX_ABSENT];
    CHECK_EQ(plan(places, TSL_COUNT_OF(places), 1024 * GIB, 64 * GIB, again), 0);
}

static void too_many_places_are_cut(void)
{
    struct tsl_memory_range places[TSL_FRAMES_MAX_ABSENT + 4], out[TSL_FRAMES_MAX_ABSENT];
    for (unsigned i = 0; i < TSL_COUNT_OF(places); i++)
        places[i] = (struct tsl_memory_range){(4 + i) * GIB, (4 + i) * GIB + 64 * MIB, 0};
    world_map(&world, ranges, 1);
    CHECK_EQ(plan(places, TSL_COUNT_OF(places), 1024 * GIB, 1024 * GIB, out),
             TSL_FRAMES_MAX_ABSENT);
    CHECK_EQ(tsl_map_bytes(&world.map, TSL_MEMORY_USABLE), (63 + 16 * 64) * MIB);
    world_map(&world, ranges, 1);
    CHECK_EQ(plan(places, TSL_COUNT_OF(places), 1024 * GIB, 100 * MIB + 17, out), 2);
    CHECK_EQ(out[1].end - out[1].start, 36 * MIB);
    world_map(&world, ranges, 1);
    CHECK_EQ(plan(places, TSL_COUNT_OF(places), 5 * GIB + 32 * MIB, 1024 * GIB, out), 2);
    CHECK_EQ(out[1].end, 5 * GIB + 32 * MIB);
    CHECK_SOUND(tsl_map_verify(&world.map));
}

/* Each place takes a range of the map, if not now then when it is forgotten: none gives up RAM. */
static void a_full_map_has_no_places(void)
{
    static const struct tsl_memory_range places[] = {
        {1 * MIB, 1 * MIB + 512 * KIB, 0}, /* would join the range behind it */
        {4 * GIB, 5 * GIB, 0},
        {6 * GIB, 7 * GIB, 0},
    };
    struct tsl_memory_range storage[TSL_MAP_MIN_CAPACITY + 1], out[TSL_FRAMES_MAX_ABSENT];
    struct tsl_memory_map map;
    for (unsigned room = 0; room < 3; room++) {
        size_t used = TSL_COUNT_OF(storage) - room;
        CHECK_STATUS(tsl_map_init(&map, storage, TSL_COUNT_OF(storage)), TSL_OK);
        for (size_t i = 0; i < used; i++)
            CHECK_STATUS(tsl_map_add(&map, i * 2 * MIB + MIB + 512 * KIB, MIB, TSL_MEMORY_USABLE),
                         TSL_OK);
        CHECK_EQ(map.count, used);
        size_t count = tsl_frames_plan_absent(&map, places, 3, 1024 * GIB, 1024 * GIB, out);
        CHECK_EQ(count, room);
        for (size_t i = 0; i < count; i++)
            CHECK_STATUS(
                tsl_map_reserve(&map, out[i].start, out[i].end - out[i].start, TSL_MEMORY_RESERVED),
                TSL_OK);
        CHECK_EQ(map.counters.given_up, 0);
        CHECK_EQ(tsl_map_bytes(&map, TSL_MEMORY_USABLE), used * MIB);
        CHECK_SOUND(tsl_map_verify(&map));
    }
}

/* Comes and goes at random, beside random allocations. */
static void comes_and_goes(void)
{
    struct rng rng = rng_start(0);
    struct tsl_frames *self = make(2);
    static struct tsl_frame had[2000];
    unsigned used = 0;
    REQUIRE(self != NULL);
    for (unsigned step = 0; step < tap_rounds(3000); step++) {
        tsl_paddr start = rng_below(&rng, 64) * MIB + (rng_below(&rng, 2) ? 4 * GIB : 0);
        uint64_t bytes = (1 + rng_below(&rng, 8)) * 512 * KIB;
        if (rng_below(&rng, 4) == 0) {
            tsl_word total = stats_now().total;
            bool is_added = rng_below(&rng, 2) == 0;
            enum tsl_status status = is_added ? tsl_frames_add_range(self, start, bytes)
                                              : tsl_frames_remove_range(self, start, bytes, false);
            tsl_word change = status == TSL_OK ? (tsl_word)(bytes / TSL_PAGE_BYTES) : 0;
            CHECK_EQ(stats_now().total, is_added ? total + change : total - change);
        } else if (used < TSL_COUNT_OF(had) && rng_below(&rng, 2) == 0) {
            if (tsl_frames_alloc(self, 0, 0, &had[used]) == TSL_OK)
                used++;
        } else if (used > 0) {
            unsigned i = rng_below(&rng, used);
            CHECK_STATUS(tsl_frames_free(self, had[i], 0), TSL_OK);
            had[i] = had[--used];
        }
        CHECK_EQ(stats_now().used, used);
        if (step % 64 == 0)
            CHECK_SOUND(tsl_frames_verify(self));
    }
}

/* RAM that was away holds anything, which is nobody's mistake; what is written to it later is. */
static void what_comes_back_raises_no_alarm(void)
{
    struct tsl_frames *self = make(1);
    const struct tsl_frames_run all = {.count = 32 * MIB / TSL_PAGE_BYTES, .flags = TSL_FRAMES_LOW};
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    unsigned char *bytes = tsl_port_phys_to_virt(32 * MIB);
    for (unsigned round = 0; round < 3; round++) {
        if (round > 0)
            CHECK_STATUS(tsl_frames_remove_range(self, 32 * MIB, 32 * MIB, false), TSL_OK);
        __builtin_memset(bytes, 0x5a, 32 * MIB);
        CHECK_STATUS(tsl_frames_add_range(self, 32 * MIB, 32 * MIB), TSL_OK);
        CHECK(bytes[0] == 0x5a && bytes[32 * MIB - 1] == 0x5a);
        CHECK_STATUS(tsl_frames_alloc_run(self, &all, &frame), TSL_OK);
        CHECK_EQ(tsl_frame_address(frame), 32 * MIB);
        CHECK_STATUS(tsl_frames_free_run(self, frame, all.count), TSL_OK);
    }
    CHECK_EQ(stats_now().refusals.by_status[TSL_CORRUPT], 0);
    bytes[5 * MIB] ^= 1;
    CHECK_STATUS(tsl_frames_alloc_run(self, &all, &frame),
                 TSL_FRAME_POISON ? TSL_NO_MEMORY : TSL_OK);
    CHECK_EQ(stats_now().refusals.by_status[TSL_CORRUPT], TSL_FRAME_POISON);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* What is kept in a bank that is off belongs to the bank, and RAM that is absent to no bank's
 * use. */
static void banks_and_absent_ram_keep_apart(void)
{
    struct tsl_frames *self = make(1);
    REQUIRE(self != NULL);
    if (!TSL_FRAME_BANKS)
        SKIP("no banks");
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, 8 * MIB, &wires), TSL_OK);
    /* Banks 2 to 5 are absent, 0 is empty, 1 has the metadata; those at 4 GiB are too many. */
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 1);
    CHECK_EQ(switched_off, 1);
    struct tsl_frames_stats before = stats_now();
    CHECK_STATUS(tsl_frames_remove_range(self, 18 * MIB, 2 * MIB, true), TSL_BUSY);
    CHECK_STATUS(tsl_frames_remove_range(self, 18 * MIB, 2 * MIB, false), TSL_BUSY);
    CHECK_EQ(stats_now().total, before.total);
    CHECK_STATUS(tsl_frames_add_range(self, 32 * MIB, 12 * MIB), TSL_OK);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 1); /* 2; the half of 3 that is absent keeps it on */
    CHECK_EQ(switched_off, 2);
    CHECK_SOUND(tsl_frames_verify(self));
    struct tsl_frame frame;
    tsl_word count = 0;
    while (tsl_frames_alloc(self, 0, TSL_FRAMES_LOW, &frame) == TSL_OK)
        count++;
    CHECK_EQ(switched_off, 0);
    CHECK_EQ(count, stats_now().total - 64 * MIB / TSL_PAGE_BYTES);
    CHECK_EQ(stats_now().refusals.by_status[TSL_CORRUPT], 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* A free of what is not there is found when it is to be added, and harms nobody else. */
static void a_wild_free_of_absent_ram(void)
{
    struct tsl_frames *self = make(2);
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    CHECK_STATUS(tsl_frames_alloc(self, 0, 0, &frame), TSL_OK);
    enum tsl_status status = tsl_frames_free(self, world_frame(40 * MIB), 0);
    CHECK_STATUS(status, FRAMES_GUARDED ? TSL_FOREIGN : TSL_OK);
    if (FRAMES_GUARDED) {
        CHECK_SOUND(tsl_frames_verify(self));
        return;
    }
    CHECK_BROKEN(tsl_frames_verify(self), 16);
    tsl_word absent_frames = tsl_frames_absent_count(self);
    CHECK_STATUS(tsl_frames_add_range(self, 36 * MIB, 8 * MIB), TSL_WRONG_SIZE);
    CHECK_EQ(tsl_frames_absent_count(self), absent_frames);
    CHECK_STATUS(tsl_frames_add_range(self, 48 * MIB, 8 * MIB), TSL_OK);
    CHECK_BROKEN(tsl_frames_verify(self), 16);
}

/* Nobody has reserved what is absent, whatever else is reserved. */
static void absent_ram_is_not_released(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    CHECK_STATUS(tsl_frames_reserve(self, 16 * MIB, 64 * KIB), TSL_OK);
    CHECK_STATUS(tsl_frames_reserve(self, 32 * MIB - 4096, 8192), TSL_BUSY);
    struct tsl_frames_stats before = stats_now();
    CHECK_STATUS(tsl_frames_release(self, 40 * MIB, 4096), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_frames_release(self, 4 * GIB, 32 * KIB), TSL_NOT_FOUND);
    CHECK_EQ(stats_now().free, before.free);
    CHECK_EQ(stats_now().reserved, before.reserved);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_STATUS(tsl_frames_release(self, 16 * MIB, 64 * KIB), TSL_OK);
    CHECK_STATUS(tsl_frames_add_range(self, 40 * MIB, 4096), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void rule_16_absent(void)
{
    struct tsl_frames *self = make(2);
    REQUIRE(self != NULL);
    struct frames_absent *list = &self->absent;
    list->list[1] = list->list[0];
    CHECK_EQ(tsl_frames_absent_verify(self).rule, 16);
    self = make(2);
    REQUIRE(self != NULL);
    list = &self->absent;
    list->frames++;
    CHECK_EQ(tsl_frames_absent_verify(self).rule, 16);
    list->frames--;
    list->moving = 1;
    CHECK_EQ(tsl_frames_absent_verify(self).rule, 16);
    list->moving = 0;
    CHECK_EQ(tsl_frames_absent_verify(self).rule, 0);
}

TAP_SUITE(frames_hotplug, TAP_TEST(what_is_absent_counts_nowhere),
          TAP_TEST(added_ram_is_handed_out), TAP_TEST(free_ram_is_removed),
          TAP_TEST(reserved_ram_leaves_once), TAP_TEST(pieces_become_one_range),
          TAP_TEST(ram_in_use_stays), TAP_TEST(nonsense_changes_nothing),
          TAP_TEST(too_many_pieces_are_refused), TAP_TEST(absent_ram_is_checked_at_creation),
          TAP_TEST(places_become_absent_ranges), TAP_TEST(too_many_places_are_cut),
          TAP_TEST(a_full_map_has_no_places), TAP_TEST(comes_and_goes),
          TAP_TEST(what_comes_back_raises_no_alarm), TAP_TEST(banks_and_absent_ram_keep_apart),
          TAP_TEST(a_wild_free_of_absent_ram), TAP_TEST(absent_ram_is_not_released),
          TAP_TEST(rule_16_absent));
