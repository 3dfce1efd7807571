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

#include <stdbool.h>
#include <tesela/format.h>
#include <x86/instructions.h>
#include "../early.h"

/* Lowest address first. */
struct interrupt_frame {
    uintptr_t r15, r14, r13, r12, r11, r10, r9, r8, bp, di, si, dx, cx, bx, ax;
    uintptr_t vector, error;
    uintptr_t ip, cs, flags, sp, ss;
};

static inline bool frame_is_from_user(const struct interrupt_frame *frame)
{
    return (frame->cs & 3) != 0;
}

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

/* Where and with what a program begins. */
static inline void frame_begin(struct interrupt_frame *frame, uintptr_t ip, uintptr_t sp,
                               const uintptr_t argument[2])
{
    *frame = (struct interrupt_frame){.di = argument[0],
                                      .si = argument[1],
                                      .ip = ip,
                                      .cs = SELECTOR_USER_CODE,
                                      .flags = X86_FLAG_INTERRUPTS | X86_FLAG_FIXED,
                                      .sp = sp,
                                      .ss = SELECTOR_USER_DATA};
}

/* What a program leaves in registers when it calls the kernel: number and arguments; the answer. */
static inline uintptr_t frame_call(const struct interrupt_frame *frame, uintptr_t argument[3])
{
    argument[0] = frame->di;
    argument[1] = frame->si;
    argument[2] = frame->dx;
    return frame->ax;
}

#endif
