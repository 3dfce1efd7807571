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
    const uint32_t *attention; /* of its slot: not 0, pin and unpin take the slow path */
    uint32_t inside;           /* depth of pins; others read whether it is 0 */
    unsigned cpu;
    struct malloc_slot *slot;
    bool is_over; /* its destructor ran */
};

extern _Thread_local struct malloc_thread malloc_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

tsl_pin malloc_pin_slowly(tsl_pin depth);
void malloc_unpin_slowly(tsl_pin pin);

TSL_MUST_CHECK static inline tsl_pin tsl_cpu_pin(void)
{
    uint32_t depth = malloc_thread.inside;

    tsl_atomic_store_u32(&malloc_thread.inside, depth + 1);
    __asm__ volatile("" : : : "memory");
    if (TSL_LIKELY(tsl_atomic_load_u32(malloc_thread.attention) == 0))
        return depth;
    return malloc_pin_slowly(depth);
}

/* `pin` is the depth, or more than any depth if the slow path has to undo something. */
static inline void tsl_cpu_unpin(tsl_pin pin)
{
    if (TSL_UNLIKELY(pin > UINT16_MAX)) {
        malloc_unpin_slowly(pin);
        return;
    }
    tsl_atomic_store_release_u32(&malloc_thread.inside, (uint32_t)pin);
    __asm__ volatile("" : : : "memory");
    if (TSL_UNLIKELY(tsl_atomic_load_u32(malloc_thread.attention) != 0) && pin == 0)
        malloc_unpin_slowly(pin);
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
