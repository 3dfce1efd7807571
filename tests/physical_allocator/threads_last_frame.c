/* SPDX-License-Identifier: MIT
 *
 * threads_last_frame.c: a CPU that is told that there is no memory is told the truth, whatever the
 * others keep for themselves, take and give back at that moment.
 *
 * Owns:    nothing lasting.
 * Needs:   frames_world.h, the test port with threads as CPUs.
 * Callers: the unit suite; once as it is, once with atomics that let other threads run in between.
 *
 * While all CPUs take frames nobody frees any. So if a request for one frame has failed, none that
 * begins later may succeed.
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
#define ROUNDS  tap_rounds(600)
#define RAM     (4 * MIB)

struct cpu {
    unsigned number;
    struct tsl_frame taken[RAM / TSL_PAGE_BYTES];
    unsigned count;
};

static struct world world;
static struct cpu cpus[THREADS];
/* What CPU 0 says at a round's first meeting, for all to read before the last: no more rounds. */
static bool ends;
static uint32_t arrived, somebody_failed, too_late, lost;
static tsl_word all; /* frames that are free at first */

/* Waits for all threads, and answers other CPUs meanwhile. */
static void meet(uint32_t target)
{
    (void)tsl_atomic_add_u32(&arrived, 1);
    while (tsl_atomic_load_acquire_u32(&arrived) < target)
        host_port_wait();
}

static void take_until_none(struct cpu *self)
{
    for (;;) {
        uint32_t failed_before = tsl_atomic_load_acquire_u32(&somebody_failed);
        struct tsl_frame frame;
        if (tsl_frames_alloc(world.frames, 0, 0, &frame) != TSL_OK)
            break;
        if (failed_before != 0)
            (void)tsl_atomic_add_u32(&too_late, 1);
        if (self->count < TSL_COUNT_OF(self->taken))
            self->taken[self->count++] = frame;
    }
    (void)tsl_atomic_exchange_u32(&somebody_failed, 1);
}

static void give_all(struct cpu *self)
{
    while (self->count > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, self->taken[--self->count], 0), TSL_OK);
}

/* Takes a few frames and frees them again, so that words are claimed when the race begins. */
static void warm_up(struct cpu *self, struct rng *rng)
{
    for (unsigned i = rng_below(rng, 40); i > 0 && self->count < TSL_COUNT_OF(self->taken); i--)
        if (tsl_frames_alloc(world.frames, 0, 0, &self->taken[self->count]) == TSL_OK)
            self->count++;
    give_all(self);
}

static void *run(void *argument)
{
    struct cpu *self = argument;
    struct rng rng = rng_start(self->number);
    uint32_t meeting = 0;
    host_port_set_cpu(self->number);
    tsl_cpu_join();
    bool is_last = false;
    for (unsigned round = 0; round < ROUNDS && !is_last; round++) {
        if (self->number == 0)
            ends = tap_is_late();
        warm_up(self, &rng);
        meet(meeting += THREADS);
        if (self->number == 0) {
            tsl_atomic_store_u32(&somebody_failed, 0);
            lost += tsl_frames_free_count(world.frames) != all;
        }
        meet(meeting += THREADS);
        is_last = ends;
        take_until_none(self);
        meet(meeting += THREADS);
        if (self->number == 0)
            lost += tsl_frames_free_count(world.frames) != 0;
        meet(meeting += THREADS);
        give_all(self);
    }
    meet(meeting += THREADS);
    tsl_cpu_leave();
    return NULL;
}

static void no_memory_means_that_there_is_none(void)
{
    pthread_t thread[THREADS];
    REQUIRE(world_pc(&world, RAM) == TSL_OK);
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    all = world_free(&world);
    (void)alarm(tap_rounds(240)); /* a hang is a failure */
    for (unsigned i = 0; i < THREADS; i++) {
        cpus[i].number = i;
        REQUIRE(pthread_create(&thread[i], NULL, run, &cpus[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    (void)alarm(0);
    CHECK_EQ(too_late, 0);
    CHECK_EQ(lost, 0);
    CHECK_EQ(world_free(&world), all);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

TAP_SUITE(threads_last_frame, TAP_TEST(no_memory_means_that_there_is_none));
