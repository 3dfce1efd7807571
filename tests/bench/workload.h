/* SPDX-License-Identifier: MIT
 *
 * workload.h: the workloads of malloc: what they share.
 *
 * Owns:    nothing.
 * Needs:   bench_host.h, threads.
 * Callers: workload*.c.
 *
 * Each is a program of its own in spirit: it runs in a process of its own, allocates as one kind
 * of program does, writes what it allocates, and frees everything. All of them do the same work
 * under every malloc: random numbers are seeded, and nothing depends on addresses.
 */
#ifndef TESELA_BENCH_WORKLOAD_H
#define TESELA_BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "bench_host.h"

struct workload {
    const char *name;
    void (*run)(void);
    const char *meaning;
};

/* Ended by an entry without a name. */
extern const struct workload workloads_single[];
extern const struct workload workloads_threads[];

/* Memory whose first and last byte are written; the program ends if there is none. */
static inline void *workload_take(size_t bytes)
{
    char *block = malloc(bytes);
    bench_require(block != NULL, "out of memory");
    block[0] = 1;
    block[bytes - 1] = 1;
    return block;
}

/* Small sizes more often: each doubling from `least` on is equally likely. */
static inline size_t workload_size(uint64_t *seed, size_t least, unsigned doublings)
{
    size_t low = least << bench_below(seed, doublings);
    return low + (size_t)bench_below(seed, low);
}

#endif
