/* SPDX-License-Identifier: MIT
 *
 * bench_host.h: what the host benchmarks share: clock, random numbers, medians, rows.
 *
 * Owns:    the sample arrays.
 * Needs:   libc.
 * Callers: bench_*.c in this folder.
 *
 * Times are CPU time of the thread, so that a busy machine blurs them less. A row is the median of
 * BENCH_SAMPLES samples; each sample is long enough that the clock itself does not count.
 */
#ifndef TESELA_BENCH_HOST_H
#define TESELA_BENCH_HOST_H

#include <stdint.h>

#define BENCH_SAMPLES 11u

struct bench_samples {
    double value[BENCH_SAMPLES];
    unsigned count;
};

/* CPU time of this thread in nanoseconds. */
double bench_now(void);

/* The next number of a seeded sequence; state must not be 0. */
uint64_t bench_random(uint64_t *state);

/* A number in [0, bound). */
uint64_t bench_below(uint64_t *state, uint64_t bound);

/* Adds (now - start) / operations. */
void bench_add(struct bench_samples *samples, double start, double operations);

/* Adds a figure that is no time. */
void bench_add_value(struct bench_samples *samples, double value);

/* Prints `row NAME ns MEDIAN SAMPLES`; in another unit; or the least of the samples. */
void bench_row(const char *name, struct bench_samples *samples);
void bench_row_in(const char *name, const char *unit, struct bench_samples *samples);
void bench_row_least(const char *name, struct bench_samples *samples);

/* Puts `count` numbers into random order. */
void bench_shuffle(uint32_t *numbers, uint32_t count, uint64_t *state);

/* Ends the program with a sentence unless `good`. */
void bench_require(int good, const char *sentence);

#endif
