/* SPDX-License-Identifier: MIT
 *
 * atomic.h: atomics that count, in front of the real ones.
 *
 * Owns:    macros over the functions of the real atomic.h.
 * Needs:   that one (found further back on the include path), counting.c.
 * Callers: the components, compiled once more for bench-frames-scale.
 */
#ifndef COUNTING_ATOMIC_H
#define COUNTING_ATOMIC_H

#include_next <tesela/atomic.h>

enum counting_access { COUNTING_READ, COUNTING_WRITE, COUNTING_LOCKED };

/* Books an access by the running CPU; returns its argument. */
void *counting_access(const volatile void *place, enum counting_access access);

#define COUNTED(place, access) ((__typeof__(place))counting_access((place), (access)))

#define tsl_atomic_load(place)         tsl_atomic_load(COUNTED(place, COUNTING_READ))
#define tsl_atomic_load_acquire(place) tsl_atomic_load_acquire(COUNTED(place, COUNTING_READ))
#define tsl_atomic_load_u32(place)     tsl_atomic_load_u32(COUNTED(place, COUNTING_READ))
#define tsl_atomic_load_acquire_u32(place)                                                         \
    tsl_atomic_load_acquire_u32(COUNTED(place, COUNTING_READ))
#define tsl_atomic_store(place, value) tsl_atomic_store(COUNTED(place, COUNTING_WRITE), value)
#define tsl_atomic_store_u32(place, value)                                                         \
    tsl_atomic_store_u32(COUNTED(place, COUNTING_WRITE), value)
#define tsl_atomic_store_release(place, value)                                                     \
    tsl_atomic_store_release(COUNTED(place, COUNTING_WRITE), value)
#define tsl_atomic_store_release_u32(place, value)                                                 \
    tsl_atomic_store_release_u32(COUNTED(place, COUNTING_WRITE), value)
#define tsl_atomic_exchange(place, value)                                                          \
    tsl_atomic_exchange(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_exchange_u32(place, value)                                                      \
    tsl_atomic_exchange_u32(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_compare_exchange(place, expected, desired)                                      \
    tsl_atomic_compare_exchange(COUNTED(place, COUNTING_LOCKED), expected, desired)
#define tsl_atomic_compare_exchange_u32(place, expected, desired)                                  \
    tsl_atomic_compare_exchange_u32(COUNTED(place, COUNTING_LOCKED), expected, desired)
#define tsl_atomic_add(place, value)     tsl_atomic_add(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_add_u32(place, value) tsl_atomic_add_u32(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_sub(place, value)     tsl_atomic_sub(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_sub_u32(place, value) tsl_atomic_sub_u32(COUNTED(place, COUNTING_LOCKED), value)
#define tsl_atomic_or(place, mask)       tsl_atomic_or(COUNTED(place, COUNTING_LOCKED), mask)
#define tsl_atomic_or_u32(place, mask)   tsl_atomic_or_u32(COUNTED(place, COUNTING_LOCKED), mask)
#define tsl_atomic_and(place, mask)      tsl_atomic_and(COUNTED(place, COUNTING_LOCKED), mask)
#define tsl_atomic_and_u32(place, mask)  tsl_atomic_and_u32(COUNTED(place, COUNTING_LOCKED), mask)

#endif
