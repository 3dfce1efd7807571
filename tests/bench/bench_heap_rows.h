/* SPDX-License-Identifier: MIT
 *
 * bench_heap_rows.h: the rows heap.* over any allocator.
 *
 * Owns:    nothing.
 * Needs:   bench_host.h.
 * Callers: bench_heap.c (ours), bench_malloc.c (malloc).
 *
 * hot64: a block of 64 bytes, allocated and freed at once. churn: a random one of N live blocks is
 * freed and another allocated, sizes from 16 bytes to 8 KiB, small ones more often (each doubling
 * equally likely); the first and last byte of each block are written; the cost of choosing is
 * included.
 */
#ifndef TESELA_BENCH_HEAP_ROWS_H
#define TESELA_BENCH_HEAP_ROWS_H

#include <stdint.h>
#include <stdlib.h>

#include "bench_host.h"

#define BENCH_PAIRS 500000u

/* Defined by the program that includes this header; static there, so that calls can be inlined. */
static void *bench_alloc(size_t bytes);
static void bench_free(void *block);

static void *bench_alloc_touched(uint64_t *seed)
{
    unsigned doubling = (unsigned)bench_below(seed, 9);
    size_t bytes = (size_t)((16u << doubling) + bench_below(seed, 16u << doubling));
    char *block = bench_alloc(bytes);
    bench_require(block != NULL, "out of heap");
    block[0] = 1;
    block[bytes - 1] = 1;
    return block;
}

static void bench_hot(void)
{
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        for (unsigned pair = 0; pair < BENCH_PAIRS; pair++) {
            char *volatile block = bench_alloc(64);
            *block = 1;
            bench_free(block);
        }
        bench_add(&samples, start, BENCH_PAIRS);
    }
    bench_row("heap.hot64", &samples);
}

static void bench_churn(const char *name, uint32_t count)
{
    struct bench_samples samples = {.count = 0};
    uint64_t seed = 0x9e3779b97f4a7c15ull;
    void **live = malloc(count * sizeof(*live));
    bench_require(live != NULL, "memory for the list of blocks");
    for (uint32_t i = 0; i < count; i++)
        live[i] = bench_alloc_touched(&seed);
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        for (unsigned pair = 0; pair < BENCH_PAIRS; pair++) {
            void **victim = &live[bench_below(&seed, count)];
            bench_free(*victim);
            *victim = bench_alloc_touched(&seed);
        }
        bench_add(&samples, start, BENCH_PAIRS);
    }
    for (uint32_t i = 0; i < count; i++)
        bench_free(live[i]);
    free(live);
    bench_row(name, &samples);
}

static void bench_heap_rows(void)
{
    bench_hot();
    bench_churn("heap.churn1k", 1000);
    bench_churn("heap.churn10k", 10000);
    bench_churn("heap.churn80k", 80000);
}

#endif
