/* SPDX-License-Identifier: MIT
 *
 * format.h: text out: bounded formatting, sinks for reports, lines for the log.
 *
 * Owns:    the formatter.
 * Needs:   port.h (log). No 64-bit division, no allocation, no state.
 * Callers: everybody; dumps take a sink from their caller.
 *
 * Formats: %s %c %d %i %u %x %X %p %% with the flags `-`, `0` and `#`, a width and a precision
 * (both also `*`), and the lengths l ll z j t (h and hh without effect). %p prints 0x and all
 * digits of an address; a NULL string prints (null). From any other conversion on, the format is
 * printed as it stands, since nobody knows what the argument is.
 */
#ifndef TESELA_FORMAT_H
#define TESELA_FORMAT_H

#include <stdarg.h>
#include <tesela/compiler.h>
#include <tesela/config.h>
#include <tesela/port.h>

/*
 * Formats into out, which has `size` bytes. Ended by a zero byte whenever size > 0. Returns the
 * length of the whole text, of which at most size - 1 bytes were stored: the text was cut if the
 * result >= size.
 * Context: any.
 * Cost:    linear in the text.
 */
TSL_PRINTF(3, 4) size_t tsl_format(char *out, size_t size, const char *format, ...);
TSL_PRINTF(3, 0)
size_t tsl_format_list(char *out, size_t size, const char *format, va_list arguments);

/* Writes a count of bytes as people read it into out: "512 B", "12.5 MiB"; cut off downward to one
 * decimal. Returns out. 16 bytes are always enough. */
const char *tsl_format_bytes(char *out, size_t size, uint64_t bytes);

/* Where a report goes. `write` takes `length` bytes, not ended by zero; it cannot fail. */
struct tsl_sink {
    void (*write)(void *context, const char *text, size_t length);
    void *context;
};

/* Formats into a sink, of any length, in pieces. */
TSL_PRINTF(2, 3) void tsl_print(const struct tsl_sink *sink, const char *format, ...);
TSL_PRINTF(2, 0)
void tsl_print_list(const struct tsl_sink *sink, const char *format, va_list arguments);

#define TSL_LOG_LINE_BYTES 160u

/*
 * One line for the log, without its line end, cut to TSL_LOG_LINE_BYTES - 1. Dropped if the level
 * is above TSL_LOG_LEVEL (a constant: 0 silences all).
 * Context: where the port may log; uses TSL_LOG_LINE_BYTES of stack.
 */
TSL_PRINTF(2, 3) void tsl_log(enum tsl_log_level level, const char *format, ...);
TSL_PRINTF(2, 0)
void tsl_log_list(enum tsl_log_level level, const char *format, va_list arguments);

/* As tsl_log, within the library: without TSL_LOG_SENTENCES the line has the code address that
 * wrote it, and no formatter is linked for it. */
#define tsl_say(level, ...)                                                                        \
    (TSL_LOG_SENTENCES ? tsl_log((level), __VA_ARGS__) : tsl_say_tersely(level))

/* The terse half of tsl_say. */
void tsl_say_tersely(enum tsl_log_level level);

#endif
