/* SPDX-License-Identifier: MIT
 *
 * test_frames_nodes.c: memory nodes: who gets frames of which node, and what a policy changes.
 *
 * Owns:    suite frames_nodes; the broken rule 12.
 * Needs:   frames_world.h, the test port; TSL_NODES of more than 1.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "tap.h"

static struct world world;
static struct tsl_memory_nodes nodes;

#define FRAMES_OF(bytes) ((bytes) / TSL_PAGE_BYTES)
#define MOST_TAKEN       FRAMES_OF(32 * MIB)

/* Domains 0, 1 and 2 with 64 MiB each, the second below the first, and RAM above 4 GiB of each. */
static enum tsl_status make(void)
{
    const struct world_range ranges[] = {
        {1 * MIB, 191 * MIB, TSL_MEMORY_USABLE},
        {4 * GIB, 96 * MIB, TSL_MEMORY_USABLE},
    };
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    tsl_nodes_init(&nodes);
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned place[] = {1, 0, 2};
        CHECK_STATUS(tsl_nodes_add(&nodes, place[i] * 64 * MIB, 64 * MIB, i), TSL_OK);
        CHECK_STATUS(tsl_nodes_add(&nodes, 4 * GIB + i * 32 * MIB, 32 * MIB, i), TSL_OK);
    }
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 0, 1, 40), TSL_OK);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 1, 2, 40), TSL_OK);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 2, 0, 15), TSL_OK);
    world.config.nodes = &nodes;
    return tsl_frames_create(&world.config, &world.frames);
}

static unsigned node_of(struct tsl_frame frame)
{
    tsl_paddr last;
    return tsl_nodes_at(&nodes, tsl_frame_address(frame), &last);
}

static struct tsl_frames_node_stats node_stats(unsigned node)
{
    struct tsl_frames_node_stats stats = {0};
    CHECK_STATUS(tsl_frames_node_stats(world.frames, node, &stats), TSL_OK);
    return stats;
}

/* Takes all that a request can get, in this order of nodes; how often the node changed. */
static unsigned changes_of_node(unsigned order, unsigned flags, unsigned *seen, unsigned room)
{
    struct tsl_frame frame;
    unsigned count = 0;
    while (tsl_frames_alloc(world.frames, order, flags, &frame) == TSL_OK) {
        unsigned node = node_of(frame);
        if (count > 0 && seen[count - 1] == node)
            continue;
        if (count == room)
            return room + 1;
        seen[count++] = node;
    }
    return count;
}

static struct {
    tsl_word letters; /* of the heat map */
    unsigned column;
    bool is_map, is_letter;
} dumped;

/* Lines of the map begin with a blank and an address; all letters behind it are areas. */
static void count_letters(void *context, const char *text, size_t length)
{
    (void)context;
    for (size_t i = 0; i < length; i++) {
        if (dumped.column == 0)
            dumped.is_map = text[i] == ' ';
        if (text[i] == '\n')
            dumped.is_letter = false;
        dumped.letters += dumped.is_letter;
        if (dumped.is_map && text[i] == ' ')
            dumped.is_letter = dumped.column == 15;
        dumped.column = text[i] == '\n' ? 0 : dumped.column + 1;
    }
}

static void the_heat_map_shows_all_nodes(void)
{
    REQUIRE(make() == TSL_OK);
    dumped.letters = 0;
    tsl_frames_dump(world.frames, &(struct tsl_sink){count_letters, NULL});
    CHECK_EQ(dumped.letters, world.frames->area_count);
}

static bool switch_nothing(void *context, unsigned bank, bool on)
{
    (void)context;
    (void)bank;
    (void)on;
    return true;
}

/* The last node in the row is not the highest one in memory. */
static void banks_end_with_the_highest_ram(void)
{
    const struct world_range range = {1 * MIB, 127 * MIB, TSL_MEMORY_USABLE};
    const struct tsl_frames_bank_switch hardware = {switch_nothing, NULL};
    world_map(&world, &range, 1);
    tsl_nodes_init(&nodes);
    CHECK_STATUS(tsl_nodes_add(&nodes, 64 * MIB, 64 * MIB, 0), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 0, 64 * MIB, 1), TSL_OK);
    world.config.nodes = &nodes;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    if (!TSL_FRAME_BANKS)
        SKIP("no banks are compiled in");
    CHECK_STATUS(tsl_frames_set_banks(world.frames, 64 * MIB, 32 * MIB, &hardware), TSL_OK);
    CHECK_EQ(tsl_frames_bank_count(world.frames), 2);
    CHECK_STATUS(tsl_frames_set_banks(world.frames, 0, 32 * MIB, &hardware), TSL_OK);
    CHECK_EQ(tsl_frames_bank_count(world.frames), 4);
    CHECK_STATUS(tsl_frames_set_banks(world.frames, 128 * MIB, 32 * MIB, &hardware), TSL_INVALID);
}

static void each_node_is_one_stretch(void)
{
    REQUIRE(make() == TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    struct tsl_frames_stats all;
    tsl_frames_stats(world.frames, &all);
    tsl_word metadata = all.metadata_bytes / TSL_PAGE_BYTES;
    CHECK_EQ(node_stats(0).total, FRAMES_OF(96 * MIB));
    CHECK_EQ(node_stats(1).total, FRAMES_OF(95 * MIB));
    CHECK_EQ(node_stats(2).total, FRAMES_OF(96 * MIB) - metadata);
    CHECK_EQ(node_stats(0).total + node_stats(1).total + node_stats(2).total, all.total);
    struct tsl_frames_node_stats none;
    CHECK_STATUS(tsl_frames_node_stats(world.frames, 3, &none), TSL_INVALID);
    CHECK(world.frames->node[1].first_area > 0 &&
          world.frames->spans[world.frames->node[1].first_span].first == FRAMES_OF(1 * MIB));
}

static void a_cpu_is_served_from_its_own_node(void)
{
    REQUIRE(make() == TSL_OK);
    for (unsigned node = 0; node < 3; node++) {
        struct tsl_frame frame;
        CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, node), TSL_OK);
        for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
            tsl_word before = node_stats(node).free;
            CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_OK);
            CHECK_EQ(node_of(frame), node);
            CHECK_EQ(before - node_stats(node).free, (tsl_word)1 << order);
        }
        struct tsl_frames_run run = {.count = 700, .align_frames = 4};
        CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
        CHECK_EQ(node_of(frame), node);
        CHECK_EQ(node_stats(node).elsewhere, 0);
    }
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, TSL_CPUS, 0), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, 3), TSL_INVALID);
}

static void the_nearest_comes_next_and_the_lowest_16_mib_last(void)
{
    static const unsigned expected[3][4] = {{0, 2, 1, 1}, {1, 0, 2, 1}, {2, 0, 1, 1}};
    for (unsigned node = 0; node < 3; node++) {
        unsigned seen[8];
        REQUIRE(make() == TSL_OK);
        CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, node), TSL_OK);
        tsl_word total = world_free(&world);
        unsigned count = changes_of_node(0, 0, seen, 8);
        CHECK_EQ(count, node == 1 ? 4 : 3); /* node 1 has the DMA zone: there it comes back */
        for (unsigned i = 0; i < count; i++)
            CHECK_EQ(seen[i], expected[node][i]);
        CHECK_EQ(world_free(&world), 0);
        CHECK_EQ(node_stats(node).elsewhere, total - node_stats(node).total);
        CHECK_SOUND(tsl_frames_verify(world.frames));
    }
}

static void bound_requests_end_with_their_node(void)
{
    REQUIRE(make() == TSL_OK);
    unsigned seen[8];
    unsigned flags = TSL_FRAMES_BIND | TSL_FRAMES_NODE(1);
    CHECK_EQ(changes_of_node(0, flags, seen, 8), 1);
    CHECK_EQ(seen[0], 1);
    CHECK_EQ(node_stats(1).free, 0);
    CHECK_EQ(node_stats(1).elsewhere, 0);
    struct tsl_frames_run run = {.count = 1, .flags = flags};
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    /* Without the binding the same request goes on, and is counted. */
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_NODE(1), &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 0);
    run.flags = TSL_FRAMES_NODE(1);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(node_stats(1).elsewhere, 2);
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, 2), TSL_OK);
    CHECK_EQ(changes_of_node(0, TSL_FRAMES_BIND, seen, 8), 1);
    CHECK_EQ(seen[0], 2);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void interleaving_takes_turns(void)
{
    REQUIRE(make() == TSL_OK);
    tsl_word taken[3] = {0};
    for (unsigned i = 0; i < 300; i++) {
        struct tsl_frame frame = {0};
        CHECK_STATUS(tsl_frames_alloc(world.frames, i % 4, TSL_FRAMES_INTERLEAVE, &frame), TSL_OK);
        taken[node_of(frame)]++;
    }
    for (unsigned node = 0; node < 3; node++)
        CHECK_EQ(taken[node], 100);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void the_policy_of_the_allocator_is_for_who_says_nothing(void)
{
    REQUIRE(make() == TSL_OK);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_set_policy(world.frames, TSL_FRAMES_NODE(2)), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 2);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOCAL, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 0);
    CHECK_STATUS(tsl_frames_set_policy(world.frames, TSL_FRAMES_LOCAL), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 0);
    static const unsigned bad[] = {0, TSL_FRAMES_DMA, TSL_FRAMES_NODE(3),
                                   TSL_FRAMES_LOCAL | TSL_FRAMES_INTERLEAVE,
                                   TSL_FRAMES_NODE(1) | TSL_FRAMES_INTERLEAVE};
    for (unsigned i = 0; i < TSL_COUNT_OF(bad); i++)
        CHECK_STATUS(tsl_frames_set_policy(world.frames, bad[i]), TSL_INVALID);
    for (unsigned i = 2; i < TSL_COUNT_OF(bad); i++)
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, bad[i], &frame), TSL_INVALID);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 1u << 24, &frame), TSL_INVALID);
}

static void limits_hold_on_every_node(void)
{
    REQUIRE(make() == TSL_OK);
    unsigned seen[8];
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, 2), TSL_OK);
    CHECK_EQ(changes_of_node(0, TSL_FRAMES_DMA, seen, 8), 1);
    CHECK_EQ(seen[0], 1);
    CHECK_EQ(node_stats(1).free, FRAMES_OF(80 * MIB));
    CHECK_EQ(changes_of_node(0, TSL_FRAMES_DMA32, seen, 8), 3);
    for (unsigned node = 0; node < 3; node++)
        CHECK_EQ(node_stats(node).free, FRAMES_OF(32 * MIB));
    struct tsl_frames_run run = {
        .count = 1, .limit = 4 * GIB + 40 * MIB, .flags = TSL_FRAMES_BIND | TSL_FRAMES_NODE(2)};
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run.flags = TSL_FRAMES_NODE(1);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), 4 * GIB + 32 * MIB);
}

static void runs_stay_on_one_node(void)
{
    REQUIRE(make() == TSL_OK);
    struct tsl_frame frame;
    struct tsl_frames_run run = {.count = FRAMES_OF(70 * MIB)};
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    run.count = FRAMES_OF(64 * MIB);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), 64 * MIB);
    CHECK_STATUS(tsl_frames_free_run(world.frames, frame, run.count), TSL_OK);
    /* A reservation may lie on several. */
    CHECK_STATUS(tsl_frames_reserve(world.frames, 60 * MIB, 8 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_release(world.frames, 60 * MIB, 8 * MIB), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* Nodes that begin in the middle of an area, on both sides of a frame, and memory without a
 * node. */
static void an_area_of_two_nodes_is_the_lower_ones(void)
{
    const struct world_range ranges[] = {{1 * MIB, 63 * MIB, TSL_MEMORY_USABLE}};
    world_map(&world, ranges, 1);
    tsl_nodes_init(&nodes);
    CHECK_STATUS(tsl_nodes_add(&nodes, 0, 33 * MIB + 17, 8), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 33 * MIB + 17, 13 * MIB, 4), TSL_OK);
    world.config.nodes = &nodes;
    host_port_log_clear();
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK(host_port_log_has("two nodes"));
    CHECK_SOUND(tsl_frames_verify(world.frames));
    struct tsl_frames_stats all;
    tsl_frames_stats(world.frames, &all);
    /* 34 MiB on is node 1's, up to the area in which it ends at 46 MiB and 17 bytes. */
    CHECK_EQ(node_stats(1).total, FRAMES_OF(14 * MIB));
    CHECK_EQ(node_stats(0).total,
             FRAMES_OF(49 * MIB) - (tsl_word)(all.metadata_bytes / TSL_PAGE_BYTES));
}

static void a_node_without_memory_is_served_by_the_nearest(void)
{
    REQUIRE(make() == TSL_OK);
    CHECK_STATUS(tsl_nodes_add_domain(&nodes, 99, NULL), TSL_OK);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 99, 1, 12), TSL_OK);
    world_end(&world);
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, 3), TSL_OK);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 1);
    /* Bound to it, nothing can be had in any way. */
    const struct tsl_frames_run run = {.count = 2};
    CHECK_STATUS(tsl_frames_set_policy(world.frames, TSL_FRAMES_BIND | TSL_FRAMES_NODE(3)), TSL_OK);
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &frame), TSL_NO_MEMORY);
    CHECK_EQ(tsl_frames_alloc_bulk(world.frames, 0, &frame, 1), 0);
    CHECK_EQ(tsl_frames_alloc_word(world.frames, 0, 1, &frame), 0);
    CHECK_STATUS(tsl_frames_set_policy(world.frames, TSL_FRAMES_LOCAL), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_BIND, &frame), TSL_NO_MEMORY);
    for (unsigned i = 0; i < 8; i++)
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_INTERLEAVE, &frame), TSL_OK);
}

static void broken_nodes_are_refused(void)
{
    REQUIRE(make() == TSL_OK);
    nodes.ranges[0].node = 7;
    CHECK_STATUS(tsl_frames_create(&world.config, &world.frames), TSL_INVALID);
}

static void rule_12_nodes(void)
{
    REQUIRE(make() == TSL_OK);
    struct tsl_frames *self = world.frames;
    uint8_t kept = self->numa->order[1][0];
    self->numa->order[1][0] = self->numa->order[1][1];
    CHECK_BROKEN(tsl_frames_verify(self), 12);
    CHECK_EQ(tsl_frames_verify(self).place, 1);
    self->numa->order[1][0] = kept;
    self->node[2].end_area--;
    CHECK_BROKEN(tsl_frames_verify(self), 12);
    self->node[2].end_area++;
    self->node[1].first_area++;
    CHECK_BROKEN(tsl_frames_verify(self), 12);
    self->node[1].first_area--;
    CHECK_SOUND(tsl_frames_verify(self));
}

/* Where two nodes meet inside an area, its frames are one piece: blocks across that place come
 * back. */
static void blocks_across_two_nodes_come_back(void)
{
    const struct world_range range = {2 * MIB, 30 * MIB, TSL_MEMORY_USABLE};
    static struct tsl_frame taken[MOST_TAKEN];
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
        unsigned count = 0;
        world_map(&world, &range, 1);
        tsl_nodes_init(&nodes);
        CHECK_STATUS(tsl_nodes_add(&nodes, 0, 9 * MIB + 20 * KIB, 0), TSL_OK);
        CHECK_STATUS(tsl_nodes_add(&nodes, 9 * MIB + 20 * KIB, 32 * MIB, 1), TSL_OK);
        world.config.nodes = &nodes;
        REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
        while (count < MOST_TAKEN &&
               tsl_frames_alloc(world.frames, order, 0, &taken[count]) == TSL_OK)
            count++;
        while (count > 0)
            CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], order), TSL_OK);
        const struct tsl_frames_run run = {.count = 4 * MIB / TSL_PAGE_BYTES + 1};
        CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &taken[0]), TSL_OK);
        CHECK_STATUS(tsl_frames_free_run(world.frames, taken[0], run.count), TSL_OK);
        CHECK_SOUND(tsl_frames_verify(world.frames));
        CHECK_EQ(world_free(&world), node_stats(0).total + node_stats(1).total);
    }
}

TAP_SUITE(frames_nodes, TAP_TEST(each_node_is_one_stretch), TAP_TEST(the_heat_map_shows_all_nodes),
          TAP_TEST(banks_end_with_the_highest_ram), TAP_TEST(a_cpu_is_served_from_its_own_node),
          TAP_TEST(the_nearest_comes_next_and_the_lowest_16_mib_last),
          TAP_TEST(bound_requests_end_with_their_node), TAP_TEST(interleaving_takes_turns),
          TAP_TEST(the_policy_of_the_allocator_is_for_who_says_nothing),
          TAP_TEST(limits_hold_on_every_node), TAP_TEST(runs_stay_on_one_node),
          TAP_TEST(an_area_of_two_nodes_is_the_lower_ones),
          TAP_TEST(blocks_across_two_nodes_come_back),
          TAP_TEST(a_node_without_memory_is_served_by_the_nearest),
          TAP_TEST(broken_nodes_are_refused), TAP_TEST(rule_12_nodes));
