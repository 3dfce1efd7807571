/* SPDX-License-Identifier: MIT
 *
 * port_inline.h: pin, unpin and the CPU's number where CPUs are threads: a few plain instructions.
 *
 * Owns:    what of a thread and of its slot these need; threads.c owns the rest, and the theory.
 * Needs:   port.h.
 * Callers: the components, as they are compiled into libtesela-malloc.so; threads.c.
 */
#ifndef TESELA_PORT_INLINE_H
#define TESELA_PORT_INLINE_H

#include <tesela/atomic.h>
#include <tesela/port.h>

struct malloc_slot;

/* One for each thread. */
struct malloc_thread {
    const uint32_t *attention; /* not 0: pin and unpin take the slow path. Of its slot, mostly */
    uint32_t inside;           /* depth of pins; others read whether it is 0 */
    unsigned cpu;
    struct malloc_slot *slot;
    bool is_over;   /* its destructor ran */
    bool has_mutex; /* the outermost pin took the slot's, and the outermost unpin will open it */
};

extern _Thread_local struct malloc_thread malloc_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* What is left to do when there is attention: `inside` is counted already. They keep all registers,
 * and the compiler does not know of the calls, so that who pins needs no stack frame; for that the
 * library keeps to general registers and leaves nothing below the stack pointer (meson.build). */
#define MALLOC_KEEPS_REGISTERS                                                                     \
    __attribute__((used, no_caller_saved_registers, force_align_arg_pointer))
MALLOC_KEEPS_REGISTERS void malloc_pin_slowly(void);
MALLOC_KEEPS_REGISTERS void malloc_unpin_slowly(void);

TSL_MUST_CHECK static inline tsl_pin tsl_cpu_pin(void)
{
    uint32_t depth = malloc_thread.inside;

    tsl_atomic_store_u32(&malloc_thread.inside, depth + 1);
    __asm__ volatile("" : : : "memory");
    if (TSL_UNLIKELY(tsl_atomic_load_u32(malloc_thread.attention) != 0))
        __asm__ volatile("call malloc_pin_slowly" : : : "memory", "cc");
    return depth;
}

static inline void tsl_cpu_unpin(tsl_pin depth)
{
    tsl_atomic_store_release_u32(&malloc_thread.inside, (uint32_t)depth);
    __asm__ volatile("" : : : "memory");
    if (TSL_UNLIKELY(tsl_atomic_load_u32(malloc_thread.attention) != 0))
        __asm__ volatile("call malloc_unpin_slowly" : : : "memory", "cc");
}

static inline unsigned tsl_cpu_this(void)
{
    return malloc_thread.cpu;
}

static inline size_t tsl_cpu_index(void)
{
    return malloc_thread.cpu;
}

#endif
