/* SPDX-License-Identifier: MIT
 *
 * threads_hotplug.c: several CPUs add and remove RAM at once, beside others that allocate.
 *
 * Owns:    what of the RAM is there, piece by piece, as the calls' statuses told it.
 * Needs:   frames_world.h, rng.h, the test port with threads as CPUs; TSL_FRAME_HOTPLUG.
 * Callers: the unit suite, and the same program under a thread sanitizer.
 *
 * The pieces are everybody's, so that two CPUs often want the same one, or neighbours that become
 * one range in the list. Each piece is added as often as it is removed, and the other way round.
 */
#include "frames_world.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/frames_hotplug.h>

#include <pthread.h>

#define THREADS      (TSL_CPUS < 4 ? TSL_CPUS : 4)
#define PIECES       24u
#define PIECE        (16 * KIB)
#define PIECE_FRAMES ((tsl_word)(PIECE / TSL_PAGE_BYTES))
#define PIECES_START (32 * MIB)

static struct world world;
static tsl_word present[PIECES]; /* 1: there; anything but 0 and 1 is told and not true */
static uint32_t changes, limits;

static tsl_paddr start_of(unsigned piece)
{
    return PIECES_START + piece * PIECE;
}

static void change_pieces(struct rng *rng)
{
    unsigned piece = rng_below(rng, PIECES);
    unsigned count = 1 + rng_below(rng, piece + 3 <= PIECES ? 3 : PIECES - piece);
    bool is_added = rng_once_in(rng, 2);
    enum tsl_status status =
        is_added ? tsl_frames_add_range(world.frames, start_of(piece), count * PIECE)
                 : tsl_frames_remove_range(world.frames, start_of(piece), count * PIECE, false);
    if (status == TSL_LIMIT)
        (void)tsl_atomic_add_u32(&limits, 1);
    if (status != TSL_OK)
        return;
    (void)tsl_atomic_add_u32(&changes, 1);
    for (unsigned i = piece; i < piece + count; i++)
        (void)tsl_atomic_add(&present[i], is_added ? 1 : (tsl_word)0 - 1);
}

static void *work(void *argument)
{
    unsigned cpu = *(const unsigned *)argument;
    struct rng rng = rng_start(100 + cpu);
    struct tsl_frame held[40];
    unsigned count = 0;
    host_port_set_cpu(cpu);
    tsl_cpu_join();
    for (unsigned round = 0; round < tap_rounds(60000) && !tap_is_late(); round++) {
        host_port_poll();
        if (!rng_once_in(&rng, 4))
            change_pieces(&rng);
        else if (count < TSL_COUNT_OF(held) && rng_once_in(&rng, 2))
            count += tsl_frames_alloc(world.frames, 0, 0, &held[count]) == TSL_OK ? 1 : 0;
        else if (count > 0)
            CHECK_STATUS(tsl_frames_free(world.frames, held[--count], 0), TSL_OK);
    }
    while (count > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, held[--count], 0), TSL_OK);
    tsl_cpu_leave();
    return NULL;
}

static void run_threads(void)
{
    pthread_t thread[THREADS];
    unsigned cpu[THREADS];
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    for (unsigned i = 0; i < THREADS; i++) {
        cpu[i] = i;
        REQUIRE(pthread_create(&thread[i], NULL, work, &cpu[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
}

static void ranges_come_and_go_at_once(void)
{
    static const struct world_range ranges[] = {
        {1 * MIB, 15 * MIB, TSL_MEMORY_USABLE},
        {PIECES_START, PIECES * PIECE, TSL_MEMORY_USABLE},
    };
    struct tsl_frames_stats stats;
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    world.config.reach_end = PIECES_START; /* the metadata is below */
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    tsl_word all = world_free(&world);
    for (unsigned i = 0; i < PIECES; i++)
        present[i] = 1;
    run_threads();
    CHECK_SOUND(tsl_frames_verify(world.frames));
    tsl_word absent = 0;
    for (unsigned i = 0; i < PIECES; i++) {
        CHECK(present[i] <= 1);
        absent += present[i] == 0 ? PIECE_FRAMES : 0;
    }
    CHECK_EQ(tsl_frames_absent_count(world.frames), absent);
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.total, all - absent);
    CHECK_EQ(stats.free, all - absent);
    CHECK_EQ(stats.reserved, 0);
    for (unsigned i = 0; i < PIECES; i++)
        if (present[i] == 0)
            CHECK_STATUS(tsl_frames_add_range(world.frames, start_of(i), PIECE), TSL_OK);
    CHECK_EQ(world_free(&world), all);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK(changes > 0);
    tap_note("%u ranges came or went, %u were one too many", changes, limits);
}

TAP_SUITE(threads_hotplug, TAP_TEST(ranges_come_and_go_at_once));
