/* SPDX-License-Identifier: MIT
 *
 * rng.h: numbers that look random and come again with the same seed.
 *
 * Owns:    one generator (xorshift64*), 8 bytes, in the caller's storage.
 * Needs:   tap.h for the seed of the run. No C library, no 64-bit division.
 * Callers: tests. Not for secrets.
 * Source:  Marsaglia, "Xorshift RNGs", 2003; Vigna, "An experimental exploration of Marsaglia's
 *          xorshift generators, scrambled", 2016.
 */
#ifndef RNG_H
#define RNG_H

#include "tap.h"

#include <tesela/types.h>

struct rng {
    uint64_t state; /* never 0 */
};

static inline uint32_t rng_u32(struct rng *self)
{
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return (uint32_t)((self->state * UINT64_C(0x2545F4914F6CDD1D)) >> 32);
}

static inline struct rng rng_of(uint64_t seed)
{
    struct rng self = {(seed ^ UINT64_C(0x9E3779B97F4A7C15)) | 1};
    for (int i = 0; i < 4; i++)
        (void)rng_u32(&self);
    return self;
}

/* A generator that starts from the seed of the run; `stream` tells those of one test apart. */
static inline struct rng rng_start(uint32_t stream)
{
    return rng_of(tap_seed + ((uint64_t)stream << 32));
}

static inline uint64_t rng_u64(struct rng *self)
{
    uint64_t high = rng_u32(self);
    return high << 32 | rng_u32(self);
}

static inline tsl_word rng_word(struct rng *self)
{
    return (tsl_word)rng_u64(self);
}

/* 0 .. limit - 1; 0 if limit is 0. Uneven by less than limit / 2^32. */
static inline uint32_t rng_below(struct rng *self, uint32_t limit)
{
    return (uint32_t)(((uint64_t)rng_u32(self) * limit) >> 32);
}

/* True once in `n` times. */
static inline bool rng_once_in(struct rng *self, uint32_t n)
{
    return rng_below(self, n) == 0;
}

#endif
