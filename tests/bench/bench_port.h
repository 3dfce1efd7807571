/* SPDX-License-Identifier: MIT
 *
 * bench_port.h: simulated memory of the host benchmarks.
 *
 * Owns:    nothing.
 * Needs:   bench_port.c.
 * Callers: bench_frames.c.
 */
#ifndef TESELA_BENCH_PORT_H
#define TESELA_BENCH_PORT_H

#include <stdint.h>

/* Reserves simulated memory [0, bytes); ends the program when the machine refuses. */
void bench_ram_create(uint64_t bytes);

#endif
