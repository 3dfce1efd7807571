/* SPDX-License-Identifier: MIT
 *
 * port_inline.h: pin, unpin and the CPU's number in a host benchmark, in an instruction or none.
 *
 * Owns:    nothing; bench_cpu is in bench_port.c.
 * Needs:   port.h.
 * Callers: the components, in the build that ./bench makes (-Dport_inline=tests/bench/port_inline).
 *
 * A thread has no interrupts to keep out. What keeping them out would cost is the difference
 * between the rows frames.hot50_pinned and frames.hot50.
 */
#ifndef TESELA_PORT_INLINE_H
#define TESELA_PORT_INLINE_H

#include <stddef.h>
#include <tesela/port.h>

extern _Thread_local unsigned bench_cpu;

TSL_MUST_CHECK static inline tsl_pin tsl_cpu_pin(void)
{
    __asm__ volatile("" : : : "memory");
    return 0;
}

static inline void tsl_cpu_unpin(tsl_pin pin)
{
    (void)pin;
    __asm__ volatile("" : : : "memory");
}

static inline unsigned tsl_cpu_this(void)
{
    return bench_cpu;
}

static inline size_t tsl_cpu_index(void)
{
    return bench_cpu;
}

#endif
