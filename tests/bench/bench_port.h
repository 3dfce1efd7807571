/* SPDX-License-Identifier: MIT
 *
 * bench_port.h: the simulated machine of the host benchmarks.
 *
 * Owns:    nothing.
 * Needs:   bench_port.c, bench_port_frames.c.
 * Callers: bench_frames*.c.
 */
#ifndef TESELA_BENCH_PORT_H
#define TESELA_BENCH_PORT_H

#include <stdint.h>

/* Reserves simulated memory [0, bytes); ends the program when the machine refuses. */
void bench_ram_create(uint64_t bytes);

/* This thread is CPU `cpu` from now on: 0 at first. */
void bench_be_cpu(unsigned cpu);

struct tsl_frames;

/* A frame allocator over memory [0, bytes), all of it usable. Before: bench_ram_create. */
struct tsl_frames *bench_frames_create(uint64_t bytes);

#endif
