/* SPDX-License-Identifier: MIT
 *
 * platform/user_calls.h: what programs can ask of the kernel, and how a program's file begins.
 *
 * Owns:    the numbers of calls, struct platform_program.
 * Needs:   nothing: programs include it too.
 * Callers: platform/pc, kernels, programs.
 *
 * A call: number in AX, arguments in DI, SI, DX with SYSCALL or INT 0x80 (x86-64), in BX, CX, DX
 * with INT 0x80 (x86-32); the answer is in AX. SYSCALL loses CX and R11.
 */
#ifndef PLATFORM_USER_CALLS_H
#define PLATFORM_USER_CALLS_H

#include <stdint.h>

enum {
    USER_CALL_NULL, /* nothing: 0 */
    USER_CALL_EXIT, /* (code): does not come back */
    USER_CALL_WRITE, /* (address, at most 4096 bytes): to the console; how many, or USER_CALL_FAULT */
    USER_CALL_YIELD, /* back to whoever runs the program, who may run it on: 0 */
    USER_CALL_TOUCH, /* (address, write): the kernel copies that byte from (and, with `write`, back
                        to) the program: 0, or USER_CALL_FAULT */
    USER_CALL_MOST_WRITTEN = 4096,
    USER_CALL_OWN = 16 /* from here on: the kernel's own (struct platform_user, call) */
};

#define USER_CALL_FAULT   (~(uintptr_t)0) /* an address that the program could not use itself */
#define USER_CALL_UNKNOWN (~(uintptr_t)0 - 1u) /* no such call */

/* The first bytes of a flat image: addresses, whole pages, each part behind the one before. */
struct platform_program {
    uintptr_t start;      /* of the image: header and text, read and execute */
    uintptr_t text_end;   /* then constants, read */
    uintptr_t rodata_end; /* then data, read and write */
    uintptr_t data_end;   /* then zeros, which the file leaves out */
    uintptr_t end;
    uintptr_t entry;
};

#endif
