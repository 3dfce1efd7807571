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

#include <stdbool.h>
#include <tesela/format.h>
#include <x86/instructions.h>
#include "../early.h"

/* Lowest address first. The last two are there only if the interrupt came from user mode. */
struct interrupt_frame {
    uintptr_t gs, es, ds;
    uintptr_t di, si, bp, sp_unused, bx, dx, cx, ax;
    uintptr_t vector, error;
    uintptr_t ip, cs, flags;
    uintptr_t sp, ss;
};

static inline bool frame_is_from_user(const struct interrupt_frame *frame)
{
    return (frame->cs & 3) != 0;
}

/* Without a change of privilege the CPU pushes no stack pointer: it is where the frame ends. */
static inline uintptr_t frame_stack_pointer(const struct interrupt_frame *frame)
{
    return frame_is_from_user(frame) ? frame->sp : (uintptr_t)&frame->sp;
}

/* The registers that only one architecture has: none here. */
static inline void frame_print_rest(const struct interrupt_frame *frame, const struct tsl_sink *out)
{
    (void)frame;
    (void)out;
}

/* Where and with what a program begins. */
static inline void frame_begin(struct interrupt_frame *frame, uintptr_t ip, uintptr_t sp,
                               const uintptr_t argument[2])
{
    *frame = (struct interrupt_frame){.gs = SELECTOR_USER_DATA,
                                      .es = SELECTOR_USER_DATA,
                                      .ds = SELECTOR_USER_DATA,
                                      .bx = argument[0],
                                      .cx = argument[1],
                                      .ip = ip,
                                      .cs = SELECTOR_USER_CODE,
                                      .flags = X86_FLAG_INTERRUPTS | X86_FLAG_FIXED,
                                      .sp = sp,
                                      .ss = SELECTOR_USER_DATA};
}

/* What a program leaves in registers when it calls the kernel: number and arguments; the answer. */
static inline uintptr_t frame_call(const struct interrupt_frame *frame, uintptr_t argument[3])
{
    argument[0] = frame->bx;
    argument[1] = frame->cx;
    argument[2] = frame->dx;
    return frame->ax;
}

#endif
