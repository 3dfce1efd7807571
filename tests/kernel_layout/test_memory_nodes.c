/* SPDX-License-Identifier: MIT
 *
 * test_memory_nodes.c: what becomes of the ranges and distances that a firmware tells of nodes.
 *
 * Owns:    suite memory_nodes; the broken rules 31 to 33.
 * Needs:   kernel_layout with TSL_NODES of more than 1.
 * Callers: the build. Runs on the host and in the kernel.
 */
#include <tesela/memory_nodes.h>

#include "tap.h"

#define M ((tsl_paddr)1 << 20)

static struct tsl_memory_nodes nodes;

/* Two domains with odd numbers, told out of order, and a hole between 5 and 6 MiB. */
static void make(void)
{
    tsl_nodes_init(&nodes);
    CHECK_STATUS(tsl_nodes_add(&nodes, 6 * M, 2 * M, 77), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 0, 4 * M, 5), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 4 * M, 1 * M, 5), TSL_OK);
    CHECK_SOUND(tsl_nodes_verify(&nodes));
}

static void domains_become_nodes_as_they_come(void)
{
    unsigned node = 9;
    make();
    CHECK_EQ(nodes.node_count, 2);
    CHECK(tsl_nodes_find(&nodes, 77, &node) && node == 0);
    CHECK(tsl_nodes_find(&nodes, 5, &node) && node == 1);
    CHECK(!tsl_nodes_find(&nodes, 0, &node) && node == 1);
    CHECK_STATUS(tsl_nodes_add_domain(&nodes, 77, &node), TSL_OK);
    CHECK_EQ(node, 0);
}

static void addresses_have_a_node_up_to_somewhere(void)
{
    static const struct {
        tsl_paddr at, last;
        unsigned node;
    } cases[] = {{0, 5 * M - 1, 1},         {4 * M, 5 * M - 1, 1},
                 {5 * M, 6 * M - 1, 0},     {6 * M, 8 * M - 1, 0},
                 {8 * M, ~(tsl_paddr)0, 0}, {~(tsl_paddr)0, ~(tsl_paddr)0, 0}};
    make();
    CHECK_EQ(nodes.range_count, 2); /* the two of domain 5 touch */
    for (unsigned i = 0; i < TSL_COUNT_OF(cases); i++) {
        tsl_paddr last = 1;
        CHECK_EQ(tsl_nodes_at(&nodes, cases[i].at, &last), cases[i].node);
        CHECK_EQ(last, cases[i].last);
    }
}

static void a_range_joins_both_neighbours(void)
{
    make();
    CHECK_STATUS(tsl_nodes_add(&nodes, 9 * M, ~(uint64_t)0 - 9 * M + 1, 77), TSL_OK);
    CHECK_EQ(nodes.range_count, 3);
    CHECK_STATUS(tsl_nodes_add(&nodes, 8 * M, 1 * M, 77), TSL_OK);
    CHECK_EQ(nodes.range_count, 2);
    CHECK_EQ(nodes.ranges[1].last, ~(tsl_paddr)0);
    CHECK_SOUND(tsl_nodes_verify(&nodes));
}

static void nonsense_changes_nothing(void)
{
    make();
    CHECK_STATUS(tsl_nodes_add(&nodes, 8 * M, 0, 5), TSL_INVALID);
    CHECK_STATUS(tsl_nodes_add(&nodes, 8 * M, ~(uint64_t)0, 5), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_nodes_add(&nodes, 0, 1, 5), TSL_OVERLAP);
    CHECK_STATUS(tsl_nodes_add(&nodes, 5 * M, 1 * M + 1, 77), TSL_OVERLAP);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 5, 6, 20), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 5, 77, 9), TSL_INVALID);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 5, 77, 255), TSL_INVALID);
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 5, 5, 11), TSL_INVALID);
    CHECK_EQ(tsl_refusals_total(&nodes.refusals), 8);
    CHECK_EQ(nodes.range_count, 2);
    CHECK_EQ(nodes.distance[0][1], TSL_DISTANCE_REMOTE);
    CHECK_SOUND(tsl_nodes_verify(&nodes));
}

static void too_many_are_refused(void)
{
    tsl_nodes_init(&nodes);
    for (unsigned i = 0; i < TSL_NODES; i++)
        CHECK_STATUS(tsl_nodes_add_domain(&nodes, 100 - i, NULL), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 0, M, 3), TSL_LIMIT);
    CHECK_EQ(nodes.range_count, 0);
    for (unsigned i = 0; i < TSL_NODE_RANGES; i++)
        CHECK_STATUS(tsl_nodes_add(&nodes, i * 2 * M, M, 100), TSL_OK);
    CHECK_STATUS(tsl_nodes_add(&nodes, 1000 * M, M, 100), TSL_LIMIT);
    CHECK_EQ(nodes.range_count, TSL_NODE_RANGES);
    CHECK_SOUND(tsl_nodes_verify(&nodes));
}

static void distances_are_one_way(void)
{
    make();
    CHECK_STATUS(tsl_nodes_set_distance(&nodes, 5, 77, 31), TSL_OK);
    CHECK_EQ(nodes.distance[1][0], 31);
    CHECK_EQ(nodes.distance[0][1], TSL_DISTANCE_REMOTE);
}

static void cpus_have_a_node(void)
{
    make();
    CHECK_STATUS(tsl_nodes_place_cpu(&nodes, TSL_CPUS - 1, 5), TSL_OK);
    CHECK_EQ(nodes.cpu_node[TSL_CPUS - 1], 1);
    CHECK_STATUS(tsl_nodes_place_cpu(&nodes, 0, 1234), TSL_OK); /* a node without memory */
    CHECK_EQ(nodes.cpu_node[0], 2);
    CHECK_STATUS(tsl_nodes_place_cpu(&nodes, TSL_CPUS, 5), TSL_INVALID);
    CHECK_SOUND(tsl_nodes_verify(&nodes));
}

static void rules_31_to_33(void)
{
    make();
    nodes.ranges[0].last = nodes.ranges[1].start;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 31);
    make();
    nodes.ranges[1].node = 2;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 31);
    make();
    nodes.range_count = TSL_NODE_RANGES + 1;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 31);
    make();
    nodes.cpu_node[TSL_CPUS - 1] = 2;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 31);
    make();
    nodes.domain[1] = nodes.domain[0];
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 32);
    make();
    nodes.distance[1][1] = 11;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 33);
    make();
    nodes.distance[1][0] = 9;
    CHECK_BROKEN(tsl_nodes_verify(&nodes), 33);
}

TAP_SUITE(memory_nodes, TAP_TEST(domains_become_nodes_as_they_come),
          TAP_TEST(addresses_have_a_node_up_to_somewhere), TAP_TEST(a_range_joins_both_neighbours),
          TAP_TEST(nonsense_changes_nothing), TAP_TEST(too_many_are_refused),
          TAP_TEST(distances_are_one_way), TAP_TEST(cpus_have_a_node), TAP_TEST(rules_31_to_33));
