/* SPDX-License-Identifier: MIT
 *
 * threads_ranges.c: CPUs that free, guess and allocate the same addresses at the same time.
 *
 * Owns:    suite threads_ranges.
 * Needs:   vm_fixture.h, host_port.h; threads of the C library.
 * Callers: the host test runner, also under the thread sanitizer.
 *
 * A block is disputed when several CPUs free it: a mistake, of which exactly one call may succeed.
 */
#include "vm_fixture.h"

#include "host_port.h"
#include "rng.h"

#include <tesela/atomic.h>
#include <tesela/backed_range.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/vallocator.h>

#include <pthread.h>
#include <unistd.h>

enum { RW = TSL_READ | TSL_WRITE, PAGES = 64 };

#define THREADS (TSL_CPUS < 3u ? TSL_CPUS : 3u)
#define ROUNDS  tap_rounds(400)

static struct tsl_ranges *ranges;
static struct tsl_backed_range *backed;
static void *disputed;
static uint32_t at_gate[3];
static uint32_t successes;
static uint32_t working;
/* What CPU 0 says before a round's first meeting, for all to read before its last: no more rounds.
 */
static bool ends;

/* All CPUs come here before one goes on; they take interrupts while they wait. */
static void meet(unsigned cpu, uint32_t step)
{
    tsl_atomic_store_release_u32(&at_gate[cpu], step);
    for (unsigned other = 0; other < THREADS; other++)
        while (tsl_atomic_load_acquire_u32(&at_gate[other]) < step)
            host_port_wait();
}

static void dispute(unsigned cpu, void *(*make)(void), enum tsl_status (*end)(void *))
{
    bool is_last = false;
    for (uint32_t round = 1; round <= ROUNDS && !is_last; round++) {
        if (cpu == 0) {
            ends = tap_is_late();
            tsl_atomic_store_u32(&successes, 0);
            disputed = make();
            CHECK(disputed != NULL);
        }
        meet(cpu, 3 * round - 2);
        is_last = ends;
        if (end(disputed) == TSL_OK)
            (void)tsl_atomic_add_u32(&successes, 1);
        meet(cpu, 3 * round - 1);
        if (cpu == 0)
            CHECK_EQ(tsl_atomic_load_u32(&successes), 1);
        meet(cpu, 3 * round);
    }
}

static void *make_range(void)
{
    void *start = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 3 * TSL_PAGE_BYTES, RW, &start), TSL_OK);
    return start;
}

static enum tsl_status end_range(void *start)
{
    return tsl_ranges_free(ranges, start);
}

static void dispute_ranges(unsigned cpu)
{
    dispute(cpu, make_range, end_range);
}

static void *make_pages(void)
{
    return tsl_backed_range_get(backed, 3);
}

static enum tsl_status end_pages(void *start)
{
    return tsl_backed_range_put(backed, start, 3);
}

static void dispute_pages(unsigned cpu)
{
    dispute(cpu, make_pages, end_pages);
}

/* CPU 0 gets and puts; the others put addresses that they guess, some of them not yet mapped. */
static void guess_pages(unsigned cpu)
{
    struct rng rng = rng_start(cpu);
    meet(cpu, 1);
    for (uint32_t round = 0; round < ROUNDS && !tap_is_late(); round++) {
        void *start = (void *)(vm.window + rng_below(&rng, 4) * 8 * TSL_PAGE_BYTES);
        if (cpu == 0)
            start = tsl_backed_range_get(backed, 8);
        if (start)
            (void)!tsl_backed_range_put(backed, start, 8);
    }
}

/* CPU 0 asks for more than there are frames, so that each get ends by taking back what it mapped;
 * the others guess single pages of it meanwhile. */
static void guess_pages_that_fail(unsigned cpu)
{
    struct rng rng = rng_start(cpu);
    meet(cpu, 1);
    for (uint32_t round = 0; round < ROUNDS && !tap_is_late(); round++) {
        void *guess = (void *)(vm.window + rng_below(&rng, 8) * TSL_PAGE_BYTES);
        if (cpu == 0)
            CHECK_SAME(tsl_backed_range_get(backed, 8), NULL);
        else
            CHECK_STATUS(tsl_backed_range_put(backed, guess, 1), TSL_DOUBLE_FREE);
    }
}

struct start {
    void (*run)(unsigned cpu);
    unsigned cpu;
};

static void *thread_main(void *argument)
{
    const struct start *start = argument;
    host_port_set_cpu(start->cpu);
    if (start->cpu != 0)
        tsl_cpu_join();
    start->run(start->cpu);
    (void)tsl_atomic_sub_u32(&working, 1);
    while (tsl_atomic_load_u32(&working) > 0)
        host_port_wait();
    if (start->cpu != 0)
        tsl_cpu_leave();
    return NULL;
}

static void run_on_all(void (*run)(unsigned cpu))
{
    pthread_t thread[3];
    struct start start[3];
    (void)alarm(tap_rounds(120)); /* a hang is a failure */
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    working = THREADS;
    for (unsigned cpu = 0; cpu < THREADS; cpu++) {
        at_gate[cpu] = 0;
        start[cpu] = (struct start){run, cpu};
    }
    for (unsigned cpu = 1; cpu < THREADS; cpu++)
        CHECK_EQ(pthread_create(&thread[cpu], NULL, thread_main, &start[cpu]), 0);
    (void)thread_main(&start[0]);
    for (unsigned cpu = 1; cpu < THREADS; cpu++)
        CHECK_EQ(pthread_join(thread[cpu], NULL), 0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
    (void)alarm(0);
}

static void start_backed(void)
{
    vm_fixture_start();
    struct tsl_backed_range_config config = {.table = &vm.table,
                                             .frames = vm.frames,
                                             .start = vm.window,
                                             .bytes = PAGES * TSL_PAGE_BYTES,
                                             .attributes = RW};
    CHECK_STATUS(tsl_backed_range_create(&config, &backed), TSL_OK);
}

static void finish_backed(void)
{
    struct tsl_backed_range_stats stats;
    tsl_backed_range_stats(backed, &stats);
    CHECK_SOUND(tsl_backed_range_verify(backed));
    CHECK_EQ(stats.pages_used, 0);
    tsl_backed_range_destroy(backed);
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

static void dispute_with(size_t lazy_pages)
{
    vm_fixture_start();
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window,
                                       .last = vm.window + PAGES * TSL_PAGE_BYTES - 1,
                                       .lazy_pages = lazy_pages};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    run_on_all(dispute_ranges);
    CHECK_SOUND(tsl_ranges_verify(ranges));
    tsl_ranges_destroy(ranges);
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

static void a_disputed_range_is_freed_once(void)
{
    dispute_with(0);
    dispute_with(8);
}

static void pages_of_a_failing_get_cannot_be_put(void)
{
    start_backed();
    vm_fixture_leave_frames(6);
    run_on_all(guess_pages_that_fail);
    vm_fixture_give_frames_back();
    finish_backed();
}

static void disputed_pages_are_put_once(void)
{
    start_backed();
    run_on_all(dispute_pages);
    finish_backed();
}

static void guessed_pages_are_put_whole_or_not_at_all(void)
{
    start_backed();
    run_on_all(guess_pages);
    finish_backed();
}

TAP_SUITE(threads_ranges, TAP_TEST(a_disputed_range_is_freed_once),
          TAP_TEST(disputed_pages_are_put_once), TAP_TEST(pages_of_a_failing_get_cannot_be_put),
          TAP_TEST(guessed_pages_are_put_whole_or_not_at_all));
