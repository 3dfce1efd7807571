/* SPDX-License-Identifier: MIT
 *
 * yielding_atomic.h: atomics that now and then let another thread run first.
 *
 * Owns:    macros over the functions of atomic.h. Include it before the header under test, whose
 *          inline functions then use them.
 * Needs:   atomic.h; sched_yield of the C library.
 * Callers: host-only tests that look for what another CPU could do between two steps: on few cores
 *          that would otherwise hardly ever happen.
 */
#ifndef YIELDING_ATOMIC_H
#define YIELDING_ATOMIC_H

#include <tesela/atomic.h>

#include <sched.h>

static inline void yield_now_and_then(void)
{
    static _Thread_local uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    if (state >> 29 == 0) /* once in 8 */
        (void)sched_yield();
}

#define tsl_atomic_load(place)            (yield_now_and_then(), tsl_atomic_load(place))
#define tsl_atomic_store(place, value)    (yield_now_and_then(), tsl_atomic_store(place, value))
#define tsl_atomic_exchange(place, value) (yield_now_and_then(), tsl_atomic_exchange(place, value))
#define tsl_atomic_or(place, mask)        (yield_now_and_then(), tsl_atomic_or(place, mask))
#define tsl_atomic_and(place, mask)       (yield_now_and_then(), tsl_atomic_and(place, mask))

#endif
