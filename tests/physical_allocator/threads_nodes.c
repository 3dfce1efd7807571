/* SPDX-License-Identifier: MIT
 *
 * threads_nodes.c: a CPU moves to another node while it takes and gives frames.
 *
 * Owns:    nothing lasting.
 * Needs:   frames_world.h, the test port with threads as CPUs; TSL_NODES of more than 1.
 * Callers: the unit suite; once as it is, once with atomics that let other threads run in between.
 */
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/atomic.h>
#include <tesela/config.h>

#include <pthread.h>

#define ROUNDS  tap_rounds(60)
#define AT_ONCE 2048

static struct world world;
static struct tsl_memory_nodes nodes;
static struct tsl_frame taken[AT_ONCE];
static uint32_t ends, refused;

static enum tsl_status make(void)
{
    const struct world_range ranges[] = {{1 * MIB, 127 * MIB, TSL_MEMORY_USABLE}};
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    tsl_nodes_init(&nodes);
    for (unsigned node = 0; node < 2; node++)
        if (tsl_nodes_add(&nodes, node * 64 * MIB, 64 * MIB, node) != TSL_OK)
            return TSL_INVALID;
    world.config.nodes = &nodes;
    return tsl_frames_create(&world.config, &world.frames);
}

static void *move_to_and_fro(void *unused)
{
    host_port_set_cpu(1);
    for (unsigned node = 1; tsl_atomic_load_acquire_u32(&ends) == 0; node ^= 1)
        if (tsl_frames_set_cpu_node(world.frames, 0, node) != TSL_OK)
            (void)tsl_atomic_add_u32(&refused, 1);
    return unused;
}

static void take_and_give(void)
{
    for (unsigned i = 0; i < AT_ONCE; i++)
        REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &taken[i]) == TSL_OK);
    for (unsigned i = 0; i < AT_ONCE; i++)
        CHECK_STATUS(tsl_frames_free(world.frames, taken[i * 5 % AT_ONCE], 0), TSL_OK);
}

static void a_cpu_moves_while_it_takes_frames(void)
{
    pthread_t mover;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(make() == TSL_OK);
    REQUIRE(pthread_create(&mover, NULL, move_to_and_fro, NULL) == 0);
    struct tsl_defect defect = TSL_NO_DEFECT;
    for (unsigned round = 0; round < ROUNDS && defect.rule == 0; round++) {
        take_and_give();
        defect = tsl_frames_verify(world.frames);
    }
    tsl_atomic_store_release_u32(&ends, 1);
    (void)pthread_join(mover, NULL);
    CHECK_SOUND(defect);
    CHECK_EQ(refused, 0);
    world_end(&world);
}

TAP_SUITE(threads_nodes, TAP_TEST(a_cpu_moves_while_it_takes_frames));
