/* SPDX-License-Identifier: MIT
 *
 * kernel_bench.h: how the files of the kernel `bench` print a row.
 *
 * Owns:    the form of rows and notes.
 * Needs:   nothing.
 * Callers: kernel_bench.c, kernel_bench_user.c, kernel_bench_space.c.
 */
#ifndef KERNEL_BENCH_H
#define KERNEL_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum { SAMPLES = 9 };

/* The median of SAMPLES values for `count` operations each; sorts them. */
void bench_print_row(const char *name, uint32_t *values, unsigned count);

/* A note, if there was one: flushes in SAMPLES runs of `count` operations. */
void bench_print_flushes(const char *name, unsigned flushes, unsigned count);

/* The rows of programs in user mode; false: one failed, and said so. */
bool bench_user_rows(void);

/* The rows of address spaces as calls of the library; the same. */
bool bench_space_rows(void);

/* The row of 1,000,000 regions, if the command line has "regions=million" and the word is wide
 * enough: making them takes longer than all other rows. The last of all; no limit of promises is
 * left behind it. */
bool bench_million_row(void);

#endif
