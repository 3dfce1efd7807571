/* SPDX-License-Identifier: MIT
 *
 * resizes.c: a fork waits for the resizes that are under way.
 *
 * Owns:    how many resizes are under way, a counter for each CPU; the gate before them.
 * Needs:   mutex.h, threads.c (the CPU's number).
 * Callers: malloc.c around each resize; process.c around fork.
 *
 * To stop all CPUs is enough for what is done pinned. A resize that copies is neither pinned nor
 * does it hold a lock, and for that time the heap has a record of it that lies on the thread's
 * stack. The child of a fork does not have that thread: sooner or later the C library uses its
 * stack for another one, or unmaps it. So forks let resizes end, and new ones wait outside until
 * the fork is over.
 *
 * Who begins counts itself first and then looks at the gate; who forks shuts the gate first and
 * then looks at the counters. Both steps are full barriers, so that one of the two sees the other.
 */
#define _GNU_SOURCE
#include <sched.h>

#include <tesela/config.h>
#include <tesela/port_inline.h>

#include "malloc_internal.h"
#include "mutex.h"

struct counter {
    uint32_t count;
} TSL_ALIGNED(64);

static struct counter under_way[TSL_CPUS];
static uint32_t is_shut;
static struct mutex gate; /* of who forks, from stop to go; who has to wait outside waits for it */

/* Resizes of this thread: more than one if a signal handler interrupted one, which may also fork.
 * Counted before they are in under_way and until they are out of it. */
static _Thread_local unsigned own;
static _Thread_local unsigned own_counter;

void resize_begin(void)
{
    if (own++ > 0)
        return;
    own_counter = tsl_cpu_this();
    struct counter *counter = &under_way[own_counter];
    while (tsl_atomic_add_u32(&counter->count, 1), tsl_atomic_load_u32(&is_shut) != 0) {
        (void)tsl_atomic_sub_u32(&counter->count, 1);
        mutex_lock(&gate);
        mutex_unlock(&gate);
    }
}

void resize_end(void)
{
    if (own == 1)
        (void)tsl_atomic_sub_u32(&under_way[own_counter].count, 1);
    own--;
}

/* Those of other threads, or none if this thread has one itself. */
static bool are_others_under_way(void)
{
    uint32_t count = 0;

    for (unsigned i = 0; i < TSL_CPUS; i++)
        count += tsl_atomic_load_acquire_u32(&under_way[i].count);
    return count > (own > 0 ? 1u : 0u);
}

void resizes_stop(void)
{
    mutex_lock(&gate);
    (void)tsl_atomic_exchange_u32(&is_shut, 1);
    while (are_others_under_way())
        (void)sched_yield();
}

void resizes_go(void)
{
    tsl_atomic_store_release_u32(&is_shut, 0);
    mutex_unlock(&gate);
}

/* Threads that do not exist any more may have been counted on their way to the gate. */
void resizes_alone(void)
{
    for (unsigned i = 0; i < TSL_CPUS; i++)
        under_way[i].count = own > 0 && i == own_counter ? 1u : 0u;
    resizes_go();
}
