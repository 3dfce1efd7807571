/* SPDX-License-Identifier: MIT
 *
 * test_trace_threads.c: events that meet a change of rings stay within the ring they go to.
 *
 * Owns:    the suite `trace_threads`. Host only.
 * Needs:   trace.c, compiled once more with yielding_atomic.h in front.
 * Callers: the test runner, with TSL_TRACE.
 */
#include "host_port.h"
#include "tap.h"

#include <tesela/atomic.h>
#include <tesela/trace.h>

#include <pthread.h>

#define SMALL 4u
#define LARGE 64u

static struct {
    struct tsl_trace_entry ring[SMALL];
    struct tsl_trace_entry behind[LARGE - SMALL]; /* nobody's */
} small;
static struct tsl_trace_entry large[LARGE];
static uint32_t ends;
static unsigned lines;

static void *record(void *unused)
{
    host_port_set_cpu(TSL_CPUS > 1 ? 1 : 0);
    while (tsl_atomic_load_acquire_u32(&ends) == 0)
        tsl_trace("test", 1, 2);
    return unused;
}

static void count_lines(void *context, const char *text, size_t length)
{
    (void)context;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
}

static bool is_untouched(void)
{
    for (unsigned i = 0; i < TSL_COUNT_OF(small.behind); i++)
        if (tsl_atomic_load(&small.behind[i].sequence) != 0)
            return false;
    return true;
}

/* Events that meet the change, of which some have a place in the large ring only. */
static void nothing_is_written_behind_a_ring(void)
{
    pthread_t recorder;
    bool is_good = true;
    CHECK_STATUS(tsl_trace_attach(small.ring, SMALL), TSL_OK);
    REQUIRE(pthread_create(&recorder, NULL, record, NULL) == 0);
    for (unsigned round = 0; round < tap_rounds(20000) && is_good; round++) {
        CHECK_STATUS(tsl_trace_attach(large, LARGE), TSL_OK);
        CHECK_STATUS(tsl_trace_attach(small.ring, SMALL), TSL_OK);
        is_good = is_untouched();
    }
    tsl_atomic_store_release_u32(&ends, 1);
    (void)pthread_join(recorder, NULL);
    CHECK(is_good);
    /* And recording goes on. */
    CHECK_STATUS(tsl_trace_attach(large, LARGE), TSL_OK);
    for (unsigned i = 0; i < 10; i++)
        tsl_trace("test", 1, 2);
    const struct tsl_sink sink = {count_lines, NULL};
    tsl_trace_dump(&sink);
    CHECK_EQ(lines, 10);
    CHECK_STATUS(tsl_trace_attach(NULL, 0), TSL_OK);
}

TAP_SUITE(trace_threads, TAP_TEST(nothing_is_written_behind_a_ring));
