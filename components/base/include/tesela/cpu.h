/* SPDX-License-Identifier: MIT
 *
 * cpu.h: sets of CPUs, and which CPUs use the library.
 *
 * Owns:    struct tsl_cpu_set and the set of CPUs online.
 * Needs:   atomic.h, port.h (cpu_id, pin), flush.h.
 * Callers: everybody; join and leave only by the kernel, on the CPU itself.
 *
 * CPUs are numbered 0 .. TSL_CPUS - 1 by the port. Every operation on one member of a set is
 * atomic; an operation on the whole set sees each word at its own moment.
 */
#ifndef TESELA_CPU_H
#define TESELA_CPU_H

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/status.h>
#include <tesela/types.h>

#define TSL_CPU_SET_WORDS                                                                          \
    ((TSL_CPUS + sizeof(tsl_word) * CHAR_BIT - 1) / (sizeof(tsl_word) * CHAR_BIT))

/* All zero is the empty set. */
struct tsl_cpu_set {
    tsl_word bits[TSL_CPU_SET_WORDS];
};

/* Before: cpu < TSL_CPUS, here and below. Cost: add and remove are one locked instruction, or one
 * load if there is nothing to change. */
void tsl_cpu_set_add(struct tsl_cpu_set *self, unsigned cpu);
void tsl_cpu_set_remove(struct tsl_cpu_set *self, unsigned cpu);

static inline bool tsl_cpu_set_has(const struct tsl_cpu_set *self, unsigned cpu)
{
    return (tsl_atomic_load(&self->bits[cpu / TSL_WORD_BITS]) >> (cpu % TSL_WORD_BITS)) & 1;
}

/* Cost: the words of a set: TSL_CPUS / TSL_WORD_BITS, rounded up. */
bool tsl_cpu_set_is_empty(const struct tsl_cpu_set *self);
unsigned tsl_cpu_set_count(const struct tsl_cpu_set *self);

/* The lowest member >= from, or TSL_CPUS if there is none. from may be TSL_CPUS. Usage:
 *   for (cpu = tsl_cpu_set_next(s, 0); cpu < TSL_CPUS; cpu = tsl_cpu_set_next(s, cpu + 1)) */
unsigned tsl_cpu_set_next(const struct tsl_cpu_set *self, unsigned from);

/* out = a and b. out may be either. `out` must be private to the caller. */
void tsl_cpu_set_intersect(const struct tsl_cpu_set *a, const struct tsl_cpu_set *b,
                           struct tsl_cpu_set *out);

/*
 * This CPU starts to use the library: from now on flushes wait for it. Drops all its translations
 * itself, for it took part in no flush before. Joining twice has no further effect.
 * Context: on the CPU itself, after its port functions work and before it touches memory that the
 *          library maps.
 */
void tsl_cpu_join(void);

/*
 * This CPU stops using the library (idle power-off, unplug): flushes no longer wait for it, so from
 * now on it must not touch any memory that the library may unmap, until it joins again. Runs the
 * hooks of call.h, which give back what this CPU keeps for itself, and answers what is pending.
 * Context: on the CPU itself, holding no lock of the library.
 */
void tsl_cpu_leave(void);

/* The CPUs that have joined and not left. A live set: read it with the atomic operations. */
const struct tsl_cpu_set *tsl_cpus_online(void);

_Static_assert(TSL_CPUS >= 1 && TSL_CPUS <= 256, "TSL_CPUS is 1 to 256");

#endif
