/* SPDX-License-Identifier: MIT
 *
 * threads.h: CPUs that really run at the same time, for host tests.
 *
 * Owns:    starting one thread a CPU and ending a test that hangs.
 * Needs:   the C library with threads; host_port.h.
 * Callers: host-only tests of base.
 */
#ifndef THREADS_H
#define THREADS_H

#include "host_port.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/status.h>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

/* Enough to meet each other, few enough for two cores. */
#define THREADS (TSL_CPUS < 4u ? TSL_CPUS : 4u)

struct thread_start {
    void (*run)(unsigned cpu);
    uint32_t *missing; /* threads that have not started yet */
    unsigned cpu;
};

static void *thread_main(void *context)
{
    const struct thread_start *start = context;
    host_port_set_cpu(start->cpu);
    (void)tsl_atomic_sub_u32(start->missing, 1);
    while (tsl_atomic_load_u32(start->missing) != 0)
        (void)sched_yield();
    start->run(start->cpu);
    return NULL;
}

/* Runs `run` as CPUs 0 .. count - 1 at once and waits for all of them. A deadlock ends the program
 * by an alarm, which the harness counts as a failure. */
static inline void run_threads(unsigned count, void (*run)(unsigned cpu))
{
    pthread_t threads[THREADS];
    struct thread_start starts[THREADS];
    uint32_t missing = count;
    (void)alarm(60);
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    for (unsigned cpu = 0; cpu < count; cpu++) {
        starts[cpu] = (struct thread_start){run, &missing, cpu};
        TSL_ASSERT(pthread_create(&threads[cpu], NULL, thread_main, &starts[cpu]) == 0);
    }
    for (unsigned cpu = 0; cpu < count; cpu++)
        TSL_ASSERT(pthread_join(threads[cpu], NULL) == 0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
    (void)alarm(0);
}

#endif
