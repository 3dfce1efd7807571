/* SPDX-License-Identifier: MIT
 *
 * prop_frames_maps.c: on maps and configurations made by chance, every usable frame can be had
 * once, however it is asked for and on whichever CPU.
 *
 * Owns:    suite prop_frames_maps; what was taken.
 * Needs:   frames_world.h, the test port, rng.h.
 * Callers: the unit suite. TSL_SEED and TSL_ROUNDS make it another or a longer run.
 *
 * Which frames there are is counted from the map itself. Ranges lie where zones, reach and spans
 * change, overlap, and begin and end in the middle of pages, words and areas.
 */
#include "frames_world.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <stdlib.h>
#include <tesela/bits.h>
#include <tesela/frames_hotplug.h>

enum {
    MOST_RANGES = 40,
    MOST_FRAMES = 1 << 16,
    MOST_RUN = 1500,
    CPUS = WORLD_CPUS < 4 ? WORLD_CPUS : 4
};

enum how { BLOCK, RUN };

struct piece {
    tsl_word number;
    tsl_word count;
    enum how how;
    unsigned order;
};

static struct world world;
static struct rng rng;
static struct piece piece[MOST_FRAMES];
static size_t pieces;
static tsl_word taken;
static struct tsl_memory_range absent[4];

static const uint64_t places[] = {
    0, 640 * KIB, 1 * MIB, 16 * MIB, 100 * MIB, WORLD_REACH, 4 * GIB, 64 * GIB, 1024 * GIB,
};

static uint64_t some_address(void)
{
    uint64_t place = places[rng_below(&rng, TSL_COUNT_OF(places))];
    uint64_t distance =
        rng_below(&rng, 3) == 0 ? rng_below(&rng, 5) * 2 * MIB : (uint64_t)rng_below(&rng, 5 << 20);
    return rng_below(&rng, 2) == 0 && distance < place ? place - distance : place + distance;
}

static uint64_t some_bytes(void)
{
    switch (rng_below(&rng, 4)) {
    case 0:
        return 1 + rng_below(&rng, 64 << 10);
    case 1:
        return (1 + rng_below(&rng, 64)) * TSL_PAGE_BYTES;
    case 2:
        return (1 + rng_below(&rng, 4)) * 2 * MIB;
    default:
        return 1 + rng_below(&rng, 6 << 20);
    }
}

static void some_map(void)
{
    unsigned count = 1 + rng_below(&rng, MOST_RANGES);
    world_map(&world, NULL, 0);
    for (unsigned i = 0; i < count; i++) {
        bool is_usable = rng_below(&rng, 4) != 0;
        enum tsl_status status = tsl_map_add(&world.map, some_address(), some_bytes(),
                                             is_usable ? TSL_MEMORY_USABLE : TSL_MEMORY_RESERVED);
        CHECK(status == TSL_OK || status == TSL_INVALID);
    }
    CHECK_SOUND(tsl_map_verify(&world.map));
}

/* Up to four parts of usable ranges, whole pages and apart. */
static void some_absent(void)
{
    size_t count = 0;
    for (size_t i = 0; i < world.map.count && count < TSL_COUNT_OF(absent); i++) {
        const struct tsl_memory_range *range = &world.map.ranges[i];
        uint64_t start = range->start;
        uint64_t bytes = (1 + rng_below(&rng, 700)) * TSL_PAGE_BYTES;
        if (range->type != TSL_MEMORY_USABLE || start == 0 || rng_below(&rng, 3) != 0 ||
            range->end < start + bytes)
            continue;
        absent[count++] = (struct tsl_memory_range){start, start + bytes, TSL_MEMORY_USABLE};
    }
    world.config.absent = absent;
    world.config.absent_count = count;
}

/* Nodes as they come: apart, in one another, without memory. */
static void some_nodes(void)
{
    static struct tsl_memory_nodes nodes;
    tsl_nodes_init(&nodes);
    for (unsigned i = rng_below(&rng, 20); i > 0; i--) {
        enum tsl_status status =
            tsl_nodes_add(&nodes, some_address(), some_bytes() << rng_below(&rng, 12),
                          rng_below(&rng, TSL_NODES + 1));
        CHECK(status == TSL_OK || status == TSL_LIMIT || status == TSL_OVERLAP);
    }
    CHECK_SOUND(tsl_nodes_verify(&nodes));
    world.config.nodes = &nodes;
}

static void some_config(void)
{
    struct tsl_frames_config *config = &world.config;
    if (TSL_NODES > 1 && rng_below(&rng, 4) != 0)
        some_nodes();
    if (rng_below(&rng, 2) == 0)
        config->direct_end = some_address();
    if (rng_below(&rng, 3) == 0)
        config->reach_end = 1 + some_address() % WORLD_REACH;
    if (rng_below(&rng, 4) == 0)
        config->ram_end = some_address();
    if (rng_below(&rng, 3) == 0)
        config->reserve_exit = rng_below(&rng, 300);
    if (rng_below(&rng, 3) == 0)
        config->reserve_reclaim = rng_below(&rng, 300);
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++)
        config->lowmem_reserve[zone] = rng_below(&rng, 4) == 0 ? rng_below(&rng, 500) : 0;
    config->descriptors = TSL_FRAME_DESCRIPTORS && rng_below(&rng, 2) == 0;
    if (TSL_FRAME_HOTPLUG && config->ram_end == 0)
        some_absent();
}

/* As the map has it: whole pages without frame 0, below ram_end. */
static bool is_usable(tsl_word number)
{
    tsl_paddr start = (tsl_paddr)number << TSL_PAGE_SHIFT;
    const struct tsl_memory_range *range = tsl_map_at(&world.map, start);
    return number != 0 && range != NULL && range->type == TSL_MEMORY_USABLE &&
           range->end - start >= TSL_PAGE_BYTES &&
           (world.config.ram_end == 0 || start + TSL_PAGE_BYTES <= world.config.ram_end);
}

static bool is_absent(tsl_word number)
{
    for (size_t i = 0; i < world.config.absent_count; i++)
        if (number >= absent[i].start >> TSL_PAGE_SHIFT && number < absent[i].end >> TSL_PAGE_SHIFT)
            return true;
    return false;
}

static tsl_word usable_frames(void)
{
    tsl_word count = 0;
    for (size_t i = 0; i < world.map.count; i++) {
        const struct tsl_memory_range *range = &world.map.ranges[i];
        for (tsl_paddr at = range->start; at < range->end; at += TSL_PAGE_BYTES)
            count += is_usable((tsl_word)(at >> TSL_PAGE_SHIFT));
    }
    return count;
}

static void note(tsl_word number, tsl_word count, enum how how, unsigned order)
{
    REQUIRE(pieces < MOST_FRAMES);
    piece[pieces++] = (struct piece){number, count, how, order};
    taken += count;
}

static unsigned some_flags(void)
{
    static const unsigned flags[] = {0,
                                     0,
                                     TSL_FRAMES_LOW,
                                     TSL_FRAMES_DMA32,
                                     TSL_FRAMES_DMA,
                                     TSL_FRAMES_RECLAIM,
                                     TSL_FRAMES_EXIT | TSL_FRAMES_LOW};
    return flags[rng_below(&rng, TSL_COUNT_OF(flags))];
}

static void check_place(tsl_word number, tsl_word count, unsigned flags, tsl_paddr limit)
{
    tsl_paddr end = (tsl_paddr)(number + count) << TSL_PAGE_SHIFT;
    tsl_paddr direct = world.config.direct_end;
    CHECK(limit == 0 || end <= limit);
    CHECK((flags & TSL_FRAMES_DMA) == 0 || end <= 16 * MIB);
    CHECK((flags & TSL_FRAMES_DMA32) == 0 || end <= 4 * GIB);
    CHECK((flags & TSL_FRAMES_LOW) == 0 || end <= world.config.reach_end);
    CHECK((flags & TSL_FRAMES_LOW) == 0 || direct == 0 || end <= direct);
}

static bool take_block(unsigned order, unsigned flags)
{
    struct tsl_frame frame;
    if (tsl_frames_alloc(world.frames, order, flags, &frame) != TSL_OK)
        return false;
    CHECK_EQ(frame.number % ((tsl_word)1 << order), 0);
    check_place(frame.number, (tsl_word)1 << order, flags, 0);
    note(frame.number, (tsl_word)1 << order, BLOCK, order);
    return true;
}

static void take_run(void)
{
    struct tsl_frames_run run = {.count = 1 + rng_below(&rng, MOST_RUN),
                                 .align_frames = (tsl_word)1 << rng_below(&rng, 11),
                                 .limit = rng_below(&rng, 2) == 0 ? some_address() : 0,
                                 .flags = some_flags()};
    struct tsl_frame frame;
    if (tsl_frames_alloc_run(world.frames, &run, &frame) != TSL_OK)
        return;
    CHECK_EQ(frame.number % run.align_frames, 0);
    check_place(frame.number, run.count, run.flags, run.limit);
    note(frame.number, run.count, RUN, 0);
}

static void take_many(void)
{
    static struct tsl_frame many[200];
    unsigned flags = some_flags();
    tsl_word count = tsl_frames_alloc_bulk(world.frames, flags, many, rng_below(&rng, 200));
    for (tsl_word i = 0; i < count; i++) {
        check_place(many[i].number, 1, flags, 0);
        note(many[i].number, 1, BLOCK, 0);
    }
}

static void take_word(void)
{
    struct tsl_frame first;
    unsigned flags = some_flags();
    tsl_word mask = tsl_frames_alloc_word(world.frames, flags, rng_below(&rng, 70), &first);
    for (; mask != 0; mask &= mask - 1) {
        tsl_word number = first.number + tsl_bits_lowest(mask);
        check_place(number, 1, flags, 0);
        note(number, 1, BLOCK, 0);
    }
}

static void give(size_t i)
{
    const struct piece *what = &piece[i];
    struct tsl_frame frame = {what->number};
    if (what->how == RUN)
        CHECK_STATUS(tsl_frames_free_run(world.frames, frame, what->count), TSL_OK);
    else
        CHECK_STATUS(tsl_frames_free(world.frames, frame, what->order), TSL_OK);
    taken -= what->count;
    piece[i] = piece[--pieces];
}

static void some_step(void)
{
    host_port_set_cpu(rng_below(&rng, CPUS));
    switch (rng_below(&rng, 7)) {
    case 0:
        (void)take_block(rng_below(&rng, TSL_FRAMES_MAX_ORDER + 1), some_flags());
        break;
    case 1:
        take_run();
        break;
    case 2:
        take_many();
        break;
    case 3:
        take_word();
        break;
    case 4:
        (void)take_block(0, some_flags());
        break;
    default:
        for (unsigned n = rng_below(&rng, 20); n > 0 && pieces > 0; n--)
            give(rng_below(&rng, (uint32_t)pieces));
    }
}

/* Each request on another CPU: what they have claimed must not keep anybody from the last frame. */
static void take_all(void)
{
    do
        host_port_set_cpu(rng_below(&rng, CPUS));
    while (take_block(0, TSL_FRAMES_EXIT));
}

static int by_number(const void *a, const void *b)
{
    tsl_word first = ((const struct piece *)a)->number, second = ((const struct piece *)b)->number;
    return first < second ? -1 : first > second;
}

/* All pieces are apart and made of usable frames. */
static void check_pieces(void)
{
    tsl_word end = 1, wrong = 0;
    qsort(piece, pieces, sizeof(piece[0]), by_number);
    for (size_t i = 0; i < pieces; i++) {
        wrong += piece[i].number < end;
        end = piece[i].number + piece[i].count;
        for (tsl_word n = piece[i].number; n < end; n++)
            wrong += !is_usable(n) || is_absent(n);
    }
    CHECK_EQ(wrong, 0);
}

static void use_up(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.total + stats.metadata_bytes / TSL_PAGE_BYTES +
                 tsl_frames_absent_count(world.frames),
             usable_frames());
    for (unsigned step = 0; step < 60; step++)
        some_step();
    CHECK_EQ(world_free(&world), stats.total - taken);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    take_all();
    CHECK_EQ(taken, stats.total);
    CHECK_EQ(world_free(&world), 0);
    check_pieces();
    for (unsigned n = rng_below(&rng, 200); n > 0 && pieces > 0; n--) {
        host_port_set_cpu(rng_below(&rng, CPUS));
        give(rng_below(&rng, (uint32_t)pieces));
    }
    take_all();
    CHECK_EQ(taken, stats.total);
    check_pieces();
    while (pieces > 0) {
        host_port_set_cpu(rng_below(&rng, CPUS));
        give(rng_below(&rng, (uint32_t)pieces));
    }
    CHECK_SOUND(tsl_frames_verify(world.frames));
    host_port_set_cpu(0);
    if (tsl_frames_destroy(world.frames) == TSL_OK)
        world.frames = NULL;
    CHECK(world.frames == NULL);
}

static void every_usable_frame_is_had_once(void)
{
    unsigned made = 0, rounds = tap_rounds(60);
    rng = rng_start(0);
    for (unsigned round = 0; round < rounds; round++) {
        some_map();
        some_config();
        world_join(CPUS);
        pieces = 0;
        taken = 0;
        enum tsl_status status = tsl_frames_create(&world.config, &world.frames);
        if (status != TSL_OK)
            CHECK_STATUS(status, TSL_NO_MEMORY);
        if (status == TSL_OK) {
            made++;
            use_up();
        }
        world_part(CPUS);
    }
    tap_note("%u of %u maps had room for an allocator", made, rounds);
    CHECK(made > rounds / 3);
}

TAP_SUITE(prop_frames_maps, TAP_TEST(every_usable_frame_is_had_once));
