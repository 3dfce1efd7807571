/* SPDX-License-Identifier: MIT
 *
 * explorer_atomic.h: atomics and table entries behind which another CPU may go on.
 *
 * Owns:    macros over the functions of atomic.h and arch.h, and the faults in them. The build
 *          includes it in front of each source under exploration.
 * Needs:   explorer.h.
 * Callers: the compiler's command line.
 */
#ifndef EXPLORER_ATOMIC_H
#define EXPLORER_ATOMIC_H

#include <tesela/arch.h>
#include <tesela/atomic.h>

#include "explorer.h"

static inline bool explorer_tears(enum explorer_fault fault)
{
    explorer_step();
    return explorer_fault == fault;
}

/* One read-modify-write of words and one of 32-bit words each: whole, or torn by the fault. */
#define EXPLORER_CHANGE(name, fault, expression)                                                   \
    static inline tsl_word explorer_##name(tsl_word *place, tsl_word value)                        \
    {                                                                                              \
        if (!explorer_tears(fault))                                                                \
            return tsl_atomic_##name(place, value);                                                \
        tsl_word seen = tsl_atomic_load(place);                                                    \
        explorer_step();                                                                           \
        tsl_atomic_store(place, expression);                                                       \
        return seen;                                                                               \
    }                                                                                              \
    static inline uint32_t explorer_##name##_u32(uint32_t *place, uint32_t value)                  \
    {                                                                                              \
        if (!explorer_tears(fault))                                                                \
            return tsl_atomic_##name##_u32(place, value);                                          \
        uint32_t seen = tsl_atomic_load_u32(place);                                                \
        explorer_step();                                                                           \
        tsl_atomic_store_u32(place, expression);                                                   \
        return seen;                                                                               \
    }

EXPLORER_CHANGE(add, EXPLORER_TORN_ADD, seen + value)
EXPLORER_CHANGE(sub, EXPLORER_TORN_ADD, seen - value)
EXPLORER_CHANGE(or, EXPLORER_TORN_MASK, seen | value)
EXPLORER_CHANGE(and, EXPLORER_TORN_MASK, seen &value)
EXPLORER_CHANGE(exchange, EXPLORER_TORN_EXCHANGE, value)

#define EXPLORER_COMPARE(name, type, load, store, whole)                                           \
    static inline bool name(type *place, type *expected, type desired)                             \
    {                                                                                              \
        if (!explorer_tears(EXPLORER_TORN_COMPARE))                                                \
            return whole(place, expected, desired);                                                \
        type seen = load(place);                                                                   \
        if (seen != *expected) {                                                                   \
            *expected = seen;                                                                      \
            return false;                                                                          \
        }                                                                                          \
        explorer_step();                                                                           \
        store(place, desired);                                                                     \
        return true;                                                                               \
    }

EXPLORER_COMPARE(explorer_compare, tsl_word, tsl_atomic_load, tsl_atomic_store,
                 tsl_atomic_compare_exchange)
EXPLORER_COMPARE(explorer_compare_u32, uint32_t, tsl_atomic_load_u32, tsl_atomic_store_u32,
                 tsl_atomic_compare_exchange_u32)

static inline void explorer_entry_store(uint64_t *entry, uint64_t value)
{
    (void)tsl_arch_entry_exchange64(entry, value);
}

EXPLORER_COMPARE(explorer_entry_compare, uint64_t, tsl_arch_entry_load64, explorer_entry_store,
                 tsl_arch_entry_compare_exchange64)

static inline uint64_t explorer_entry_exchange(uint64_t *entry, uint64_t value)
{
    if (!explorer_tears(EXPLORER_TORN_EXCHANGE))
        return tsl_arch_entry_exchange64(entry, value);
    uint64_t seen = tsl_arch_entry_load64(entry);
    explorer_step();
    explorer_entry_store(entry, value);
    return seen;
}

#define tsl_atomic_load(place)             (explorer_step(), tsl_atomic_load(place))
#define tsl_atomic_load_acquire(place)     (explorer_step(), tsl_atomic_load_acquire(place))
#define tsl_atomic_load_u32(place)         (explorer_step(), tsl_atomic_load_u32(place))
#define tsl_atomic_load_acquire_u32(place) (explorer_step(), tsl_atomic_load_acquire_u32(place))
#define tsl_atomic_store(place, value)     (explorer_step(), tsl_atomic_store(place, value))
#define tsl_atomic_store_release(place, value)                                                     \
    (explorer_step(), tsl_atomic_store_release(place, value))
#define tsl_atomic_store_u32(place, value) (explorer_step(), tsl_atomic_store_u32(place, value))
#define tsl_atomic_store_release_u32(place, value)                                                 \
    (explorer_step(), tsl_atomic_store_release_u32(place, value))

#define tsl_atomic_add(place, value)          explorer_add(place, value)
#define tsl_atomic_add_u32(place, value)      explorer_add_u32(place, value)
#define tsl_atomic_sub(place, value)          explorer_sub(place, value)
#define tsl_atomic_sub_u32(place, value)      explorer_sub_u32(place, value)
#define tsl_atomic_or(place, value)           explorer_or(place, value)
#define tsl_atomic_or_u32(place, value)       explorer_or_u32(place, value)
#define tsl_atomic_and(place, value)          explorer_and(place, value)
#define tsl_atomic_and_u32(place, value)      explorer_and_u32(place, value)
#define tsl_atomic_exchange(place, value)     explorer_exchange(place, value)
#define tsl_atomic_exchange_u32(place, value) explorer_exchange_u32(place, value)
#define tsl_atomic_compare_exchange(place, expected, desired)                                      \
    explorer_compare(place, expected, desired)
#define tsl_atomic_compare_exchange_u32(place, expected, desired)                                  \
    explorer_compare_u32(place, expected, desired)

/* Bytes, 16 bits and single bits cannot be torn, but another CPU may go on before each. */
#define tsl_atomic_set_bit(place, index)     (explorer_step(), tsl_atomic_set_bit(place, index))
#define tsl_atomic_load_u8(place)            (explorer_step(), tsl_atomic_load_u8(place))
#define tsl_atomic_load_acquire_u8(place)    (explorer_step(), tsl_atomic_load_acquire_u8(place))
#define tsl_atomic_load_u16(place)           (explorer_step(), tsl_atomic_load_u16(place))
#define tsl_atomic_store_u16(place, value)   (explorer_step(), tsl_atomic_store_u16(place, value))
#define tsl_atomic_exchange_u8(place, value) (explorer_step(), tsl_atomic_exchange_u8(place, value))
#define tsl_atomic_store_release_u8(place, value)                                                  \
    (explorer_step(), tsl_atomic_store_release_u8(place, value))
#define tsl_atomic_compare_exchange_u8(place, expected, desired)                                   \
    (explorer_step(), tsl_atomic_compare_exchange_u8(place, expected, desired))

#define tsl_arch_entry_load64(entry)            (explorer_step(), tsl_arch_entry_load64(entry))
#define tsl_arch_entry_exchange64(entry, value) explorer_entry_exchange(entry, value)
#define tsl_arch_entry_compare_exchange64(entry, expected, desired)                                \
    explorer_entry_compare(entry, expected, desired)
#define tsl_arch_relax()        explorer_wait()
#define tsl_arch_flush(request) explorer_flush(request)

#endif
