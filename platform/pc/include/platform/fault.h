/* SPDX-License-Identifier: MIT
 *
 * platform/fault.h: exceptions: those that end the run, and those that a test expects.
 *
 * Owns:    the readable dump, the recovery from an expected fault.
 * Needs:   base.
 * Callers: kernels and tests.
 */
#ifndef PLATFORM_FAULT_H
#define PLATFORM_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tesela/types.h>

enum {
    PLATFORM_VECTOR_DIVIDE = 0,
    PLATFORM_VECTOR_NMI = 2,
    PLATFORM_VECTOR_BREAKPOINT = 3,
    PLATFORM_VECTOR_OVERFLOW = 4,
    PLATFORM_VECTOR_INVALID_OPCODE = 6,
    PLATFORM_VECTOR_DOUBLE_FAULT = 8,
    PLATFORM_VECTOR_PROTECTION = 13,
    PLATFORM_VECTOR_PAGE_FAULT = 14,
};

/* Error code of a page fault (Intel SDM volume 3, 4.7). */
enum {
    PLATFORM_FAULT_PRESENT = 1 << 0, /* the page was there, the right was not */
    PLATFORM_FAULT_WRITE = 1 << 1,
    PLATFORM_FAULT_USER = 1 << 2,
    PLATFORM_FAULT_RESERVED =
        1 << 3, /* a reserved bit is set in a table entry; QEMU then leaves PRESENT out */
    PLATFORM_FAULT_EXECUTE = 1 << 4,
};

struct platform_fault {
    unsigned vector;
    uintptr_t error;   /* 0 for exceptions without an error code */
    tsl_vaddr address; /* page faults: what was touched; else 0 */
    tsl_vaddr ip;      /* the instruction */
};

/*
 * Calls function(argument). True when it returned; false when it met an exception, which is then
 * described in *out (may be NULL) and nothing of the function's work is undone. Can be nested. A
 * double fault or an NMI is never caught.
 * Context: any, also with interrupts off.
 */
bool platform_try(void (*function)(void *argument), void *argument, struct platform_fault *out);

/* One access at `address`, caught as by platform_try(). Execute calls the address: a byte 0xC3
 * (ret) comes back. */
bool platform_try_read(tsl_vaddr address, struct platform_fault *out);
bool platform_try_write(tsl_vaddr address, uint8_t value, struct platform_fault *out);
bool platform_try_execute(tsl_vaddr address, struct platform_fault *out);

/*
 * Writes at most `most` return addresses of this CPU's stack, innermost first: the caller's own
 * place, that of its caller.. Result: how many. Follows frame pointers, so all code needs them.
 * Context: any.
 */
size_t platform_trace(uintptr_t *out, size_t most);

/* Who is asked, between cause and registers of a page fault that nobody caught, what lies at the
 * address; NULL: nobody. It runs in the exception's context, other CPUs stand still. */
void platform_explain_faults(void (*hook)(tsl_vaddr address));

/*
 * What to do after the dump of an exception that nobody caught, instead of ending the run as
 * failed. `hook` must not return; NULL takes it back. It runs in the exception's context: for a
 * double fault on that CPU's fault stack.
 */
void platform_on_fatal(void (*hook)(const struct platform_fault *fault));

#endif
