/* SPDX-License-Identifier: MIT
 *
 * bench_port.h: the simulated machine of the host benchmarks.
 *
 * Owns:    struct bench_live.
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

/* Frames that are allocated, chosen evenly over all memory; `capacity` of them at most. */
struct bench_live {
    uint32_t *number;
    uint32_t count;
    uint32_t capacity;
};

/*
 * Takes all memory and frees each frame with probability 1/2. Of the others it keeps as many as
 * have room in live[0 .. cpus - 1], in random order; CPU i has allocated those of live[i].
 * Before:  those CPUs are online, all memory is free, live[...].capacity is set. Ends as CPU 0.
 */
void bench_fill_half(struct tsl_frames *frames, struct bench_live *live, unsigned cpus,
                     uint64_t *seed);

/* Takes a single frame; the program ends if there is none. */
uint32_t bench_take_frame(struct tsl_frames *frames);
/* Gives it back; the program ends if that is refused. */
void bench_give_frame(struct tsl_frames *frames, uint32_t number);

#endif
