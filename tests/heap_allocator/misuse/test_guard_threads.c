/* SPDX-License-Identifier: MIT
 *
 * test_guard_threads.c: CPUs that allocate and free each other's blocks, in each tier: no false
 * alarm, no block lost, and of two that free one block at once only one succeeds.
 *
 * Owns:    nothing.
 * Needs:   a heap with the debug tier compiled in; host_port.h, misuse_heap.h, threads.
 * Callers: host.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <pthread.h>

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_report.h>

#include "host_port.h"
#include "misuse_heap.h"
#include "rng.h"

#define THREADS 3
#define SHELF   64u
#define STEPS   3000u

static struct tsl_heap *heap;
static tsl_word shelf[SHELF]; /* blocks that anybody may take down and free */
static tsl_word ends;         /* frees that succeeded, of one block */
static tsl_word arrived;

static struct tsl_heap *heap_of(enum tsl_heap_tier tier)
{
    struct tsl_heap_hardening how = {.tier = tier};

    return misuse_heap(&how);
}

static void run_on_cpus(void *(*run)(void *))
{
    pthread_t threads[THREADS];

    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, (void *)(i + 1)) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
}

/* Puts blocks on the shelf and frees what lay there, whoever put it. */
static void *trade(void *number)
{
    struct rng rng = rng_start((uint32_t)(uintptr_t)number);
    unsigned steps = tap_rounds(STEPS);

    host_port_set_cpu((unsigned)(uintptr_t)number);
    tsl_cpu_join();
    for (unsigned i = 0; i < steps && !tap_is_late(); i++) {
        size_t bytes = rng_once_in(&rng, 20) ? 40000 : rng_below(&rng, 600);
        tsl_word block = (tsl_word)tsl_heap_alloc(heap, bytes);
        CHECK(block != 0);
        block = tsl_atomic_exchange(&shelf[rng_below(&rng, SHELF)], block);
        CHECK_STATUS(tsl_heap_free(heap, (void *)block), TSL_OK);
        host_port_poll();
    }
    tsl_cpu_leave();
    return NULL;
}

static void blocks_of_others(void)
{
    if (TSL_CPUS <= THREADS)
        SKIP("too few CPUs");
    for (int tier = TSL_HEAP_TIER_BASIC; tier <= TSL_HEAP_TIER_DEBUG; tier++) {
        heap = heap_of((enum tsl_heap_tier)tier);
        run_on_cpus(trade);
        for (size_t i = 0; i < SHELF; i++) {
            CHECK_STATUS(tsl_heap_free(heap, (void *)shelf[i]), TSL_OK);
            shelf[i] = 0;
        }
        struct tsl_heap_stats stats;
        tsl_heap_stats(heap, &stats);
        CHECK_EQ(tsl_refusals_total(&stats.refusals), 0);
        CHECK_SOUND(tsl_heap_verify(heap));
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
}

static void *free_at_once(void *number)
{
    host_port_set_cpu((unsigned)(uintptr_t)number);
    (void)tsl_atomic_add(&arrived, 1);
    while (tsl_atomic_load(&arrived) < THREADS)
        ;
    if (tsl_heap_free(heap, opaque((void *)tsl_atomic_load(&shelf[0]))) == TSL_OK)
        (void)tsl_atomic_add(&ends, 1);
    return NULL;
}

/* From moderate on the block itself decides; nothing is left to the chance that bits in two places
 * are looked at together. */
static void one_of_many_frees_succeeds(void)
{
    if (TSL_CPUS <= THREADS)
        SKIP("too few CPUs");
    heap = heap_of(TSL_HEAP_TIER_MODERATE);
    for (unsigned i = 0; i < tap_rounds(50); i++) {
        shelf[0] = (tsl_word)tsl_heap_alloc(heap, 100);
        ends = arrived = 0;
        run_on_cpus(free_at_once);
        CHECK_EQ(ends, 1);
    }
    shelf[0] = 0;
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

TAP_SUITE(guard_threads, TAP_TEST(blocks_of_others), TAP_TEST(one_of_many_frees_succeeds));
