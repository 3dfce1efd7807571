/* SPDX-License-Identifier: MIT
 *
 * nodes.c: a machine with three memory nodes, told by its firmware, and four CPUs on them.
 *
 * Owns:    the test kernel `nodes`. The machine is made by tests/kernel/meson.build: 128 MiB a
 *          node, CPUs 0, 1, and 2 with 3, node 2 nearer to node 0 than node 1 is.
 * Needs:   platform/pc, the facade, TSL_NODES of more than 1, tap.h.
 * Callers: the QEMU tests.
 */
#include "start.h"

#include <tesela/memory_nodes.h>
#include <tesela/physical_allocator.h>
#include <platform/boot.h>
#include <platform/cpu.h>
#include <platform/memory.h>

enum { NODES = 3, CPUS = 4, LIMIT_US = 20000000, LOCAL_FRAMES = 200, MOST_BLOCKS = 4096 };

static const unsigned node_of_cpu[CPUS] = {0, 1, 2, 2};

static unsigned node_of(struct tsl_frame frame)
{
    tsl_paddr last;
    return tsl_nodes_at(platform_memory_nodes(), tsl_frame_address(frame), &last);
}

static struct tsl_frames_node_stats stats_of(unsigned node)
{
    struct tsl_frames_node_stats stats = {0};
    CHECK_STATUS(tsl_frames_node_stats(tsl_system()->frames, node, &stats), TSL_OK);
    return stats;
}

static void the_firmware_tells_nodes_and_distances(void)
{
    const struct tsl_memory_nodes *nodes = platform_memory_nodes();
    REQUIRE(nodes != NULL);
    CHECK_SOUND(tsl_nodes_verify(nodes));
    CHECK_EQ(nodes->node_count, NODES);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        CHECK_EQ(nodes->cpu_node[cpu], node_of_cpu[cpu]);
    CHECK_EQ(nodes->distance[0][1], 40);
    CHECK_EQ(nodes->distance[0][2], 15);
    for (unsigned node = 0; node < NODES; node++) {
        CHECK(stats_of(node).total > 100 * 256);
        CHECK(stats_of(node).total <= 128 * 256);
    }
}

/* What a CPU got: taken and given back on that CPU, looked at afterwards. */
static struct {
    unsigned others;
    unsigned failures;
} seen[CPUS];

static void take_local(void *argument)
{
    struct tsl_frame frames[LOCAL_FRAMES];
    unsigned cpu = platform_cpu_id(), count = 0;
    (void)argument;
    for (unsigned i = 0; i < LOCAL_FRAMES; i++) {
        if (tsl_frames_alloc(tsl_system()->frames, i % 4, 0, &frames[count]) != TSL_OK) {
            seen[cpu].failures++;
            continue;
        }
        seen[cpu].others += node_of(frames[count]) != node_of_cpu[cpu];
        count++;
    }
    /* With the same orders: nothing fails here, or it has been counted. */
    for (unsigned i = 0; i < count; i++)
        if (tsl_frames_free(tsl_system()->frames, frames[i], i % 4) != TSL_OK)
            seen[cpu].failures++;
}

static void every_cpu_is_served_from_its_own_node(void)
{
    REQUIRE(platform_cpu_count() == CPUS);
    CHECK(platform_run_everywhere(take_local, NULL, LIMIT_US));
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        CHECK_EQ(seen[cpu].others, 0);
        CHECK_EQ(seen[cpu].failures, 0);
    }
    CHECK_SOUND(tsl_verify());
}

static struct {
    struct tsl_frame frame;
    unsigned order;
} taken[MOST_BLOCKS];
static unsigned taken_count;

/* The largest blocks first, until nothing is left that the flags admit. */
static void take_all(unsigned flags)
{
    taken_count = 0;
    for (unsigned order = TSL_FRAMES_MAX_ORDER + 1; order-- > 0;)
        while (taken_count < MOST_BLOCKS && tsl_frames_alloc(tsl_system()->frames, order, flags,
                                                             &taken[taken_count].frame) == TSL_OK)
            taken[taken_count++].order = order;
}

static void give_all_back(void)
{
    while (taken_count > 0) {
        taken_count--;
        CHECK_STATUS(tsl_frames_free(tsl_system()->frames, taken[taken_count].frame,
                                     taken[taken_count].order),
                     TSL_OK);
    }
}

static void a_bound_request_is_refused_when_its_node_is_empty(void)
{
    tsl_word others = stats_of(0).free + stats_of(2).free;
    struct tsl_frame frame;
    take_all(TSL_FRAMES_BIND | TSL_FRAMES_NODE(1));
    REQUIRE(taken_count < MOST_BLOCKS);
    for (unsigned i = 0; i < taken_count; i++)
        if (node_of(taken[i].frame) != 1)
            CHECK_EQ(i, MOST_BLOCKS); /* names the block */
    CHECK_EQ(stats_of(1).free, 0);
    CHECK_EQ(stats_of(0).free + stats_of(2).free, others);
    CHECK_STATUS(
        tsl_frames_alloc(tsl_system()->frames, 0, TSL_FRAMES_BIND | TSL_FRAMES_NODE(1), &frame),
        TSL_NO_MEMORY);
    give_all_back();
    CHECK_SOUND(tsl_verify());
}

static void the_nearest_node_comes_next(void)
{
    tsl_word before = stats_of(0).elsewhere;
    struct tsl_frame frame;
    take_all(TSL_FRAMES_BIND | TSL_FRAMES_NODE(0));
    CHECK_STATUS(tsl_frames_alloc(tsl_system()->frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 2);
    CHECK_STATUS(tsl_frames_free(tsl_system()->frames, frame, 0), TSL_OK);
    CHECK_EQ(stats_of(0).elsewhere, before + 1);
    give_all_back();
    CHECK_STATUS(tsl_frames_alloc(tsl_system()->frames, 0, 0, &frame), TSL_OK);
    CHECK_EQ(node_of(frame), 0);
    CHECK_STATUS(tsl_frames_free(tsl_system()->frames, frame, 0), TSL_OK);
    CHECK_SOUND(tsl_verify());
}

TAP_SUITE(nodes, TAP_TEST(the_firmware_tells_nodes_and_distances),
          TAP_TEST(every_cpu_is_served_from_its_own_node),
          TAP_TEST(a_bound_request_is_refused_when_its_node_is_empty),
          TAP_TEST(the_nearest_node_comes_next));

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    return test_start() && test_run(&tap_suite_nodes);
}
