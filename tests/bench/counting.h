/* SPDX-License-Identifier: MIT
 *
 * counting.h: what the counting atomics have counted.
 *
 * Owns:    the counters.
 * Needs:   nothing.
 * Callers: bench_frames_scale.c.
 */
#ifndef COUNTING_H
#define COUNTING_H

#include <stdint.h>

struct counting {
    uint64_t accesses;  /* loads, stores and locked instructions on words that CPUs may share */
    uint64_t locked;    /* of these, locked instructions */
    uint64_t transfers; /* accesses for which a cache line had to come from another CPU */
};

extern struct counting counting;

#endif
