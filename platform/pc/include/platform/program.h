/* SPDX-License-Identifier: MIT
 *
 * platform/program.h: what a program for user mode is made of.
 *
 * Owns:    the call instruction.
 * Needs:   platform/user_calls.h; platform/pc/program: start.S calls program_main(), program.ld
 *          lays it out.
 * Callers: programs, not kernels.
 */
#ifndef PLATFORM_PROGRAM_H
#define PLATFORM_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <platform/user_calls.h>

/* start.S: a call by SYSCALL (x86-64) or INT 0x80; the second always by INT 0x80. */
uintptr_t call(uintptr_t number, uintptr_t a, uintptr_t b, uintptr_t c);
uintptr_t call_by_interrupt(uintptr_t number, uintptr_t a, uintptr_t b, uintptr_t c);

/* What platform_user_load() was given; the return value is the exit code. */
uintptr_t program_main(uintptr_t first, uintptr_t second);

#endif
