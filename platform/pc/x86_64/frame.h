/* SPDX-License-Identifier: MIT
 *
 * frame.h: what an interrupt leaves on the stack on x86-64.
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
    uintptr_t r15, r14, r13, r12, r11, r10, r9, r8, bp, di, si, dx, cx, bx, ax;
    uintptr_t vector, error;
    uintptr_t ip, cs, flags, sp, ss;
};

static inline uintptr_t frame_stack_pointer(const struct interrupt_frame *frame)
{
    return frame->sp;
}

/* The registers that only one architecture has. */
static inline void frame_print_rest(const struct interrupt_frame *frame, const struct tsl_sink *out)
{
    tsl_print(out, "# r8 %p r9 %p r10 %p r11 %p\n", (void *)frame->r8, (void *)frame->r9,
              (void *)frame->r10, (void *)frame->r11);
    tsl_print(out, "# r12 %p r13 %p r14 %p r15 %p\n", (void *)frame->r12, (void *)frame->r13,
              (void *)frame->r14, (void *)frame->r15);
}

#endif
