/* SPDX-License-Identifier: MIT
 *
 * platform/console.h: the serial console, COM1 at 115200 baud.
 *
 * Owns:    the line to the person or the test runner. One call of platform_console_write() is never
 *          mixed with another CPU's.
 * Needs:   base (sink).
 * Callers: anybody, also with interrupts off and from exception handlers. A missing or stuck port
 *          costs time, never a hang.
 */
#ifndef PLATFORM_CONSOLE_H
#define PLATFORM_CONSOLE_H

#include <stddef.h>
#include <tesela/format.h>

/* Writes `length` characters; '\n' goes out as CR LF. */
void platform_console_write(const char *text, size_t length);

/* The console as a sink for tsl_print() and the dumps. Each piece is written as it comes. */
const struct tsl_sink *platform_console(void);

/*
 * Reads a line into `line`, always terminated, without its end, and returns its length. Echoes;
 * backspace and DEL take a character back, Ctrl-U all of them, Ctrl-C gives an empty line; what
 * does not fit rings the bell.
 * Context: CPU 0, interrupts on: the CPU sleeps between characters.
 */
size_t platform_console_read_line(char *line, size_t size);

#endif
