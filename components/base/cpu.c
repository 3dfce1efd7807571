/* SPDX-License-Identifier: MIT
 *
 * cpu.c: sets of CPUs, and the CPUs online.
 *
 * Owns:    the set of CPUs online, and of those that may keep things for themselves.
 * Needs:   arch.h (flush), bits.h, flush.h, port.h, call.c (hooks).
 * Callers: everybody, through cpu.h.
 */
#include <tesela/arch.h>
#include <tesela/bits.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>
#include <tesela/port.h>
#include "base_internal.h"

static struct tsl_cpu_set online;
static struct tsl_cpu_set keepers; /* of them, those that may keep things for themselves */

void tsl_cpu_set_add(struct tsl_cpu_set *self, unsigned cpu)
{
    TSL_ASSERT(cpu < TSL_CPUS);
    if (!tsl_cpu_set_has(self, cpu))
        (void)tsl_atomic_or(&self->bits[cpu / TSL_WORD_BITS], (tsl_word)1 << (cpu % TSL_WORD_BITS));
}

void tsl_cpu_set_remove(struct tsl_cpu_set *self, unsigned cpu)
{
    TSL_ASSERT(cpu < TSL_CPUS);
    if (tsl_cpu_set_has(self, cpu)) {
        (void)tsl_atomic_and(&self->bits[cpu / TSL_WORD_BITS],
                             ~((tsl_word)1 << (cpu % TSL_WORD_BITS)));
    }
}

bool tsl_cpu_set_is_empty(const struct tsl_cpu_set *self)
{
    return tsl_cpu_set_next(self, 0) == TSL_CPUS;
}

unsigned tsl_cpu_set_count(const struct tsl_cpu_set *self)
{
    unsigned count = 0;
    for (size_t i = 0; i < TSL_CPU_SET_WORDS; i++)
        count += tsl_bits_count(tsl_atomic_load(&self->bits[i]));
    return count;
}

unsigned tsl_cpu_set_next(const struct tsl_cpu_set *self, unsigned from)
{
    while (from < TSL_CPUS) {
        tsl_word word =
            tsl_atomic_load(&self->bits[from / TSL_WORD_BITS]) >> (from % TSL_WORD_BITS);
        if (word != 0)
            return from + tsl_bits_lowest(word);
        from = (from / TSL_WORD_BITS + 1) * TSL_WORD_BITS;
    }
    return TSL_CPUS;
}

void tsl_cpu_set_intersect(const struct tsl_cpu_set *a, const struct tsl_cpu_set *b,
                           struct tsl_cpu_set *out)
{
    for (size_t i = 0; i < TSL_CPU_SET_WORDS; i++)
        out->bits[i] = tsl_atomic_load(&a->bits[i]) & tsl_atomic_load(&b->bits[i]);
}

void tsl_cpu_join(void)
{
    tsl_pin pin = tsl_port_pin();
    tsl_cpu_set_add(&online, tsl_port_cpu_id());
    /* In this order: whoever does not see this CPU online took its entries away before we flush;
     * whoever sees it posts. The barrier pairs with the one in tsl_flush_cpus. */
    tsl_atomic_fence();
    tsl_arch_flush_all(true);
    tsl_flush_receive();
    tsl_cpu_set_add(&keepers, tsl_port_cpu_id());
    tsl_port_unpin(pin);
}

void tsl_cpu_leave(void)
{
    tsl_pin pin = tsl_port_pin();
    if (tsl_cpu_set_has(&online, tsl_port_cpu_id())) {
        /* Still online for those who call all CPUs: they wait until everything is given back. */
        tsl_cpu_set_remove(&keepers, tsl_port_cpu_id());
        tsl_cpu_run_hooks();
    }
    tsl_cpu_set_remove(&online, tsl_port_cpu_id());
    /* Not for those who wait for this CPU, they see that it left; but what was posted while it was
     * online is owed. */
    tsl_flush_receive();
    tsl_port_unpin(pin);
}

bool tsl_cpu_is_online(void)
{
    return TSL_CPUS == 1 || tsl_cpu_set_has(&keepers, tsl_port_cpu_id());
}

const struct tsl_cpu_set *tsl_cpus_online(void)
{
    return &online;
}
