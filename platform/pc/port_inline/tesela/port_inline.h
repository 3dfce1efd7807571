/* SPDX-License-Identifier: MIT
 *
 * port_inline.h: pin, unpin and the CPU's number on a PC, in a few instructions each.
 *
 * Owns:    nothing: the same as the functions 1 to 3 in port.c, without the call.
 * Needs:   port.h; %gs at this CPU's struct platform_cpu, whose second word is the CPU's number.
 * Callers: the components, when they are built with -Dport_inline=platform/pc/port_inline; cpu.c
 *          asserts where the number lies.
 */
#ifndef TESELA_PORT_INLINE_H
#define TESELA_PORT_INLINE_H

#include <tesela/port.h>

#define PORT_INLINE_ID_OFFSET      sizeof(uintptr_t)
#define PORT_INLINE_INTERRUPT_FLAG ((tsl_pin)0x200)

TSL_MUST_CHECK static inline tsl_pin tsl_cpu_pin(void)
{
    tsl_pin flags;
    __asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static inline void tsl_cpu_unpin(tsl_pin pin)
{
    if ((pin & PORT_INLINE_INTERRUPT_FLAG) != 0)
        __asm__ volatile("sti" : : : "memory");
    else
        __asm__ volatile("" : : : "memory");
}

static inline unsigned tsl_cpu_this(void)
{
    unsigned id;
    __asm__ volatile("movl %%gs:%c1, %0" : "=r"(id) : "i"(PORT_INLINE_ID_OFFSET));
    return id;
}

/* The same number in the width of an address: the load itself widens it. */
static inline size_t tsl_cpu_index(void)
{
    size_t index;
    __asm__ volatile("mov %%gs:%c1, %0" : "=r"(index) : "i"(PORT_INLINE_ID_OFFSET));
    return index;
}

#endif
