/* SPDX-License-Identifier: MIT
 *
 * atomic.h: the only place where atomic operations are spelled.
 *
 * Owns:    loads, stores and read-modify-writes on words, 32-bit words and pointers, and the few
 *          that are needed on bytes and 16-bit fields. There are none on 64 bits for x86-32: it has
 *          no cheap ones (page-table entries have their own in arch.h).
 * Needs:   types.h. A host build that explores interleavings puts its own atomic.h in front of
 *          this.
 * Callers: everybody.
 *
 * Orders: a plain load or store is relaxed, the suffix says when it is not. Every read-modify-write
 * is a full barrier; on x86 it is one in any case, and nobody has to argue about less.
 */
#ifndef TESELA_ATOMIC_H
#define TESELA_ATOMIC_H

#include <tesela/types.h>

static inline tsl_word tsl_atomic_load(const tsl_word *place)
{
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

static inline tsl_word tsl_atomic_load_acquire(const tsl_word *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static inline void tsl_atomic_store(tsl_word *place, tsl_word value)
{
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}

static inline void tsl_atomic_store_release(tsl_word *place, tsl_word value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* The read-modify-writes return the value from before. */
static inline tsl_word tsl_atomic_exchange(tsl_word *place, tsl_word value)
{
    return __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST);
}

/* Writes `desired` if *place equals *expected. Otherwise returns false and *expected is what was
 * there. Never fails without reason. */
static inline bool tsl_atomic_compare_exchange(tsl_word *place, tsl_word *expected,
                                               tsl_word desired)
{
    return __atomic_compare_exchange_n(place, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static inline tsl_word tsl_atomic_add(tsl_word *place, tsl_word value)
{
    return __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST);
}

static inline tsl_word tsl_atomic_sub(tsl_word *place, tsl_word value)
{
    return __atomic_fetch_sub(place, value, __ATOMIC_SEQ_CST);
}

static inline tsl_word tsl_atomic_or(tsl_word *place, tsl_word mask)
{
    return __atomic_fetch_or(place, mask, __ATOMIC_SEQ_CST);
}

static inline tsl_word tsl_atomic_and(tsl_word *place, tsl_word mask)
{
    return __atomic_fetch_and(place, mask, __ATOMIC_SEQ_CST);
}

static inline uint32_t tsl_atomic_load_u32(const uint32_t *place)
{
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

static inline uint32_t tsl_atomic_load_acquire_u32(const uint32_t *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static inline void tsl_atomic_store_u32(uint32_t *place, uint32_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}

static inline void tsl_atomic_store_release_u32(uint32_t *place, uint32_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

static inline uint32_t tsl_atomic_exchange_u32(uint32_t *place, uint32_t value)
{
    return __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST);
}

static inline bool tsl_atomic_compare_exchange_u32(uint32_t *place, uint32_t *expected,
                                                   uint32_t desired)
{
    return __atomic_compare_exchange_n(place, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static inline uint32_t tsl_atomic_add_u32(uint32_t *place, uint32_t value)
{
    return __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t tsl_atomic_sub_u32(uint32_t *place, uint32_t value)
{
    return __atomic_fetch_sub(place, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t tsl_atomic_or_u32(uint32_t *place, uint32_t mask)
{
    return __atomic_fetch_or(place, mask, __ATOMIC_SEQ_CST);
}

static inline uint32_t tsl_atomic_and_u32(uint32_t *place, uint32_t mask)
{
    return __atomic_fetch_and(place, mask, __ATOMIC_SEQ_CST);
}

/* Takes bit `index` (< TSL_WORD_BITS) from 0 to 1; false if it was 1. One instruction on x86. */
static inline bool tsl_atomic_set_bit(tsl_word *place, unsigned index)
{
    tsl_word bit = (tsl_word)1 << index;
    return (__atomic_fetch_or(place, bit, __ATOMIC_SEQ_CST) & bit) == 0;
}

/* Bytes and 16-bit fields of tables that are too long for a word an entry. */
static inline uint8_t tsl_atomic_load_u8(const uint8_t *place)
{
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

static inline uint8_t tsl_atomic_load_acquire_u8(const uint8_t *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static inline void tsl_atomic_store_release_u8(uint8_t *place, uint8_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

static inline uint8_t tsl_atomic_exchange_u8(uint8_t *place, uint8_t value)
{
    return __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST);
}

static inline bool tsl_atomic_compare_exchange_u8(uint8_t *place, uint8_t *expected,
                                                  uint8_t desired)
{
    return __atomic_compare_exchange_n(place, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static inline uint16_t tsl_atomic_load_u16(const uint16_t *place)
{
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

static inline void tsl_atomic_store_u16(uint16_t *place, uint16_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}

/* Publishing a pointer and what it points at: a release store that an acquire load sees. Macros,
 * since C has no pointer type that all others convert to and from through their address. */
#define TSL_ATOMIC_LOAD_POINTER(place)         __atomic_load_n((place), __ATOMIC_ACQUIRE)
#define TSL_ATOMIC_STORE_POINTER(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)

/* Nothing before it is seen after anything behind it, by any CPU: also not a load behind a store.
 */
static inline void tsl_atomic_fence(void)
{
    __sync_synchronize();
}

#endif
