/* SPDX-License-Identifier: MIT
 *
 * frame.h: what an interrupt leaves on the stack on x86-32.
 *
 * Owns:    struct interrupt_frame and what only this architecture's frame can answer.
 * Needs:   vectors.S pushes in this order.
 * Callers: platform/pc.
 */
#ifndef PLATFORM_PC_FRAME_H
#define PLATFORM_PC_FRAME_H

#include <tesela/format.h>

/* Lowest address first. */
struct interrupt_frame {
    uintptr_t di, si, bp, sp_unused, bx, dx, cx, ax;
    uintptr_t vector, error;
    uintptr_t ip, cs, flags;
};

/* Without a change of privilege the CPU pushes no stack pointer: it is where the frame ends. */
static inline uintptr_t frame_stack_pointer(const struct interrupt_frame *frame)
{
    return (uintptr_t)(frame + 1);
}

/* The registers that only one architecture has: none here. */
static inline void frame_print_rest(const struct interrupt_frame *frame, const struct tsl_sink *out)
{
    (void)frame;
    (void)out;
}

#endif
