/* SPDX-License-Identifier: MIT
 *
 * trace.h: a flight recorder: the last events, in the caller's storage, cheap enough to leave on.
 *
 * Owns:    the one ring of the program.
 * Needs:   atomic.h, format.h (sinks), port.h (cpu_id).
 * Callers: everybody records; the kernel attaches and dumps.
 *
 * Compiled in by TSL_TRACE; without it tsl_trace() is nothing and attaching is refused.
 */
#ifndef TESELA_TRACE_H
#define TESELA_TRACE_H

#include <tesela/config.h>
#include <tesela/format.h>
#include <tesela/status.h>

/* One event; for the caller only a size. All zero is an unused entry. */
struct tsl_trace_entry {
    tsl_word sequence; /* number of the event, from 1; 0 while it is being written */
    tsl_word event;    /* const char *: the name */
    tsl_word cpu;
    tsl_word a;
    tsl_word b;
};

/* The compiled-in halves of the functions below, for these alone to call. */
TSL_MUST_CHECK enum tsl_status tsl_trace_start(struct tsl_trace_entry *ring, size_t entries);
void tsl_trace_record(const char *event, tsl_word a, tsl_word b);
void tsl_trace_print(const struct tsl_sink *sink);

/*
 * Records from now on into `ring`, older events are forgotten; NULL and 0 stop recording.
 * Owns:    the caller keeps the ring in place until it attaches another or stops, and until no CPU
 *          can be within tsl_trace any more.
 * Errors:  TSL_INVALID: entries is not a power of two; TSL_UNSUPPORTED: not compiled in.
 * Context: any, but one call at a time; the entries are cleared here. Events that meet the change
 *          are dropped.
 */
TSL_MUST_CHECK static inline enum tsl_status tsl_trace_attach(struct tsl_trace_entry *ring,
                                                              size_t entries)
{
    if (TSL_TRACE)
        return tsl_trace_start(ring, entries);
    (void)ring;
    (void)entries;
    return TSL_UNSUPPORTED;
}

/*
 * Records one event and two numbers of its choice. `event` is a string literal: a short name such
 * as "flush.post".
 * Context: any, also NMI.
 * Cost:    nothing if not compiled in, one load if not attached, otherwise a few loads, two locked
 *          instructions and a cache line.
 */
static inline void tsl_trace(const char *event, tsl_word a, tsl_word b)
{
    if (TSL_TRACE)
        tsl_trace_record(event, a, b);
}

/* Prints the events, oldest first, one a line: number, CPU, name, both numbers. Events that are
 * overwritten meanwhile are left out. Recording goes on. Prints nothing if not compiled in, or while
 * a ring is just being attached. */
static inline void tsl_trace_dump(const struct tsl_sink *sink)
{
    if (TSL_TRACE)
        tsl_trace_print(sink);
    (void)sink;
}

#endif
