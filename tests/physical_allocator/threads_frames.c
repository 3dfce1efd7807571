/* SPDX-License-Identifier: MIT
 *
 * threads_frames.c: several CPUs at once, each a thread: no frame has two owners, none is lost.
 *
 * Owns:    a stamp a frame, written by whoever allocated it and cleared before it is freed.
 * Needs:   frames_world.h, the test port with threads as CPUs.
 * Callers: the unit suite, and the same program under a thread sanitizer.
 *
 * Memory is scarce on purpose, so that the CPUs meet in the same areas, huge blocks collide with
 * single frames, and each CPU frees what others allocated.
 */
#include "frames_world.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>

#include <pthread.h>
#include <unistd.h>

#define THREADS (TSL_CPUS < 4 ? TSL_CPUS : 4)
#define FRAMES  (24 * MIB / TSL_PAGE_BYTES)
#define SHELF   64

struct held {
    tsl_word number;
    unsigned order;
};

static struct world world;
static uint32_t owner[FRAMES]; /* 0: nobody */

/* Where CPUs leave blocks for others to free; a word is number * 16 + order, 0: empty. */
static tsl_word shelf[SHELF];

static void stamp(struct held block, uint32_t from, uint32_t to)
{
    for (tsl_word i = 0; i < (tsl_word)1 << block.order; i++)
        CHECK_EQ(tsl_atomic_exchange_u32(&owner[block.number + i], to), from);
}

static bool take(struct rng *rng, uint32_t me, struct held *out)
{
    static const unsigned orders[] = {0, 0, 0, 0, 0, 0, 1, 2, 5, 7, 8, 9, 10};
    out->order = orders[rng_below(rng, TSL_COUNT_OF(orders))];
    struct tsl_frame frame;
    if (tsl_frames_alloc(world.frames, out->order, 0, &frame) != TSL_OK)
        return false;
    out->number = frame.number;
    stamp(*out, 0, me);
    return true;
}

static void give(struct held block, uint32_t me)
{
    stamp(block, me, 0);
    CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){block.number}, block.order),
                 TSL_OK);
}

/* Frees what lies at some place of the shelf, whoever put it there, and leaves `packed` there. */
static void swap_shelf(struct rng *rng, tsl_word packed)
{
    packed = tsl_atomic_exchange(&shelf[rng_below(rng, SHELF)], packed);
    if (packed != 0)
        give((struct held){packed / 16, (unsigned)(packed % 16)}, 1000);
}

static void *work(void *argument)
{
    unsigned cpu = *(const unsigned *)argument;
    struct rng rng = rng_start(100 + cpu);
    struct held held[64];
    unsigned count = 0;
    host_port_set_cpu(cpu);
    tsl_cpu_join();
    for (unsigned round = 0; round < tap_rounds(60000) && !tap_is_late(); round++) {
        struct held block;
        host_port_poll();
        if (rng_once_in(&rng, 500)) { /* away for a moment */
            tsl_cpu_leave();
            tsl_cpu_join();
        }
        if (count < TSL_COUNT_OF(held) && rng_once_in(&rng, 2)) {
            if (take(&rng, cpu + 1, &block))
                held[count++] = block;
            else
                swap_shelf(&rng, 0);
        } else if (count > 0) {
            unsigned which = rng_below(&rng, count);
            block = held[which];
            held[which] = held[--count];
            if (rng_once_in(&rng, 3)) {
                give(block, cpu + 1);
            } else {
                stamp(block, cpu + 1, 1000);
                swap_shelf(&rng, block.number * 16 + block.order);
            }
        }
    }
    while (count > 0)
        give(held[--count], cpu + 1);
    tsl_cpu_leave();
    return NULL;
}

static void no_frame_has_two_owners(void)
{
    REQUIRE(world_pc(&world, FRAMES * TSL_PAGE_BYTES) == TSL_OK);
    tsl_word before = world_free(&world);
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
    CHECK_SOUND(tsl_frames_verify(world.frames));
    for (unsigned i = 0; i < SHELF; i++) {
        if (shelf[i] != 0) {
            give((struct held){shelf[i] / 16, (unsigned)(shelf[i] % 16)}, 1000);
            shelf[i] = 0;
        }
    }
    CHECK_EQ(world_free(&world), before);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, UINT64_MAX), TSL_OK);
    CHECK_EQ(world_free(&world), 0);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.refusals.by_status[TSL_DOUBLE_FREE], 0);
    tap_note("%lu allocations of order 9 failed, %lu of order 0", (unsigned long)stats.failures[9],
             (unsigned long)stats.failures[0]);
}

/* Two CPUs that both believe a huge block theirs; a round is one block. */
#define ROUNDS tap_rounds(1000)

static struct tsl_frame disputed;
static uint32_t at_gate[2];
static enum tsl_status verdict[2];
/* What CPU 0 says before a round's first meeting, for both to read before the last: no more rounds.
 */
static bool ends;

static void meet(unsigned me, uint32_t round)
{
    tsl_atomic_store_release_u32(&at_gate[me], round);
    while (tsl_atomic_load_acquire_u32(&at_gate[1 - me]) < round)
        host_port_wait();
}

static void *split_each(void *argument)
{
    unsigned me = *(const unsigned *)argument;
    host_port_set_cpu(me);
    bool is_last = false;
    for (uint32_t round = 1; round <= ROUNDS && !is_last; round++) {
        if (me == 0) {
            ends = tap_is_late();
            CHECK_STATUS(tsl_frames_alloc(world.frames, 9, 0, &disputed), TSL_OK);
        }
        meet(me, 3 * round - 2);
        is_last = ends;
        bool frees = me == 1 && round % 2 == 0;
        verdict[me] = frees ? tsl_frames_free(world.frames, disputed, 9)
                            : tsl_frames_split(world.frames, disputed, 9);
        meet(me, 3 * round - 1);
        if (me == 0) {
            CHECK_EQ((verdict[0] == TSL_OK) + (verdict[1] == TSL_OK), 1);
            bool is_split = round % 2 == 1 || verdict[0] == TSL_OK;
            for (tsl_word i = 0; is_split && i < TSL_FRAMES_PER_AREA; i++) {
                CHECK_STATUS(
                    tsl_frames_free(world.frames, (struct tsl_frame){disputed.number + i}, 0),
                    TSL_OK);
            }
            CHECK_SOUND(tsl_frames_verify(world.frames));
        }
        meet(me, 3 * round);
    }
    return NULL;
}

static void one_of_two_gets_a_disputed_block(void)
{
    if (TSL_CPUS < 2)
        SKIP("one CPU is configured");
    REQUIRE(world_pc(&world, 8 * MIB) == TSL_OK);
    tsl_word before = world_free(&world);
    unsigned cpu[2] = {0, 1};
    pthread_t other;
    (void)alarm(tap_rounds(120)); /* a hang is a failure */
    REQUIRE(pthread_create(&other, NULL, split_each, &cpu[1]) == 0);
    (void)split_each(&cpu[0]);
    CHECK_EQ(pthread_join(other, NULL), 0);
    (void)alarm(0);
    CHECK_EQ(world_free(&world), before);
}

TAP_SUITE(threads_frames, TAP_TEST(no_frame_has_two_owners),
          TAP_TEST(one_of_two_gets_a_disputed_block));
