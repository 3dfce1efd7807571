/* SPDX-License-Identifier: MIT
 *
 * atomic.h: atomics that now and then let another thread run first, in front of the real ones.
 *
 * Owns:    macros over the functions of the real atomic.h.
 * Needs:   that one (found further back on the include path); sched_yield of the C library.
 * Callers: physical_allocator, compiled once more for tests that look for what another CPU could do
 *          between two steps: on few cores that would otherwise hardly ever happen.
 */
#ifndef YIELDING_FRONT_ATOMIC_H
#define YIELDING_FRONT_ATOMIC_H

#include_next <tesela/atomic.h>

#include <sched.h>

/* Returns its argument. */
static inline const volatile void *yield_now_and_then(const volatile void *place)
{
    static _Thread_local uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    if (state >> 28 == 0) /* once in 16 */
        (void)sched_yield();
    return place;
}

#define YIELDING(place) ((__typeof__(place))(uintptr_t)yield_now_and_then(place))

#define tsl_atomic_load(place)                 tsl_atomic_load(YIELDING(place))
#define tsl_atomic_load_acquire(place)         tsl_atomic_load_acquire(YIELDING(place))
#define tsl_atomic_load_u32(place)             tsl_atomic_load_u32(YIELDING(place))
#define tsl_atomic_load_acquire_u32(place)     tsl_atomic_load_acquire_u32(YIELDING(place))
#define tsl_atomic_store(place, value)         tsl_atomic_store(YIELDING(place), value)
#define tsl_atomic_store_release(place, value) tsl_atomic_store_release(YIELDING(place), value)
#define tsl_atomic_store_u32(place, value)     tsl_atomic_store_u32(YIELDING(place), value)
#define tsl_atomic_exchange(place, value)      tsl_atomic_exchange(YIELDING(place), value)
#define tsl_atomic_or(place, mask)             tsl_atomic_or(YIELDING(place), mask)
#define tsl_atomic_and(place, mask)            tsl_atomic_and(YIELDING(place), mask)
#define tsl_atomic_add(place, value)           tsl_atomic_add(YIELDING(place), value)
#define tsl_atomic_compare_exchange(place, expected, desired)                                      \
    tsl_atomic_compare_exchange(YIELDING(place), expected, desired)
#define tsl_atomic_set_bit(place, index)   tsl_atomic_set_bit(YIELDING(place), index)
#define tsl_atomic_load_u8(place)          tsl_atomic_load_u8(YIELDING(place))
#define tsl_atomic_load_acquire_u8(place)  tsl_atomic_load_acquire_u8(YIELDING(place))
#define tsl_atomic_load_u16(place)         tsl_atomic_load_u16(YIELDING(place))
#define tsl_atomic_store_u16(place, value) tsl_atomic_store_u16(YIELDING(place), value)
#define tsl_atomic_store_release_u8(place, value)                                                  \
    tsl_atomic_store_release_u8(YIELDING(place), value)
#define tsl_atomic_exchange_u8(place, value) tsl_atomic_exchange_u8(YIELDING(place), value)
#define tsl_atomic_compare_exchange_u8(place, expected, desired)                                   \
    tsl_atomic_compare_exchange_u8(YIELDING(place), expected, desired)

#endif
