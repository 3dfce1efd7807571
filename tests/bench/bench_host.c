/* SPDX-License-Identifier: MIT
 *
 * bench_host.c: clock, random numbers, medians, rows of the host benchmarks.
 *
 * Owns:    nothing lasting.
 * Needs:   libc.
 * Callers: bench_*.c in this folder.
 */
#define _POSIX_C_SOURCE 200809L

#include "bench_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Source: G. Marsaglia, "Xorshift RNGs", 2003 (the 64-bit triple 13, 7, 17). */
uint64_t bench_random(uint64_t *state)
{
    uint64_t value = *state;
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
    *state = value;
    return value;
}

/* By multiplication: a division would cost as much as what is measured. */
uint64_t bench_below(uint64_t *state, uint64_t bound)
{
    return ((bench_random(state) >> 32) * bound) >> 32;
}

void bench_add(struct bench_samples *samples, double start, double operations)
{
    bench_add_value(samples, (bench_now() - start) / operations);
}

void bench_add_value(struct bench_samples *samples, double value)
{
    bench_require(samples->count < BENCH_SAMPLES, "too many samples in one row");
    samples->value[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print_row(const char *name, const char *unit, double value, unsigned samples)
{
    printf("row %s %s %.2f %u\n", name, unit, value, samples);
    fflush(stdout);
}

void bench_row_in(const char *name, const char *unit, struct bench_samples *samples)
{
    qsort(samples->value, samples->count, sizeof(samples->value[0]), compare);
    print_row(name, unit, samples->value[samples->count / 2], samples->count);
}

void bench_row(const char *name, struct bench_samples *samples)
{
    bench_row_in(name, "ns", samples);
}

void bench_row_least(const char *name, struct bench_samples *samples)
{
    qsort(samples->value, samples->count, sizeof(samples->value[0]), compare);
    print_row(name, "ns", samples->value[0], samples->count);
}

void bench_shuffle(uint32_t *numbers, uint32_t count, uint64_t *state)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)bench_below(state, i);
        uint32_t kept = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = kept;
    }
}

void bench_require(int good, const char *sentence)
{
    if (!good) {
        fprintf(stderr, "benchmark: %s\n", sentence);
        exit(1);
    }
}
