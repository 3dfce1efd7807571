/* SPDX-License-Identifier: MIT
 *
 * bench_frames_sizes.c: the same rows at 256 MiB, 4 GiB, 64 GiB and 1 TiB of frames.
 *
 * Owns:    a sample of the live frames.
 * Needs:   physical_allocator, bench_port_frames.c.
 * Callers: ./bench frames (target bench-frames-sizes).
 *
 * Every second frame, by chance, is in use; frames exist as numbers only, nothing touches them.
 * Random frees over 1 TiB miss every cache whatever the allocator does, and the times hold that;
 * the rows frames.words_* of bench-frames-scale are the same workloads counted.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <tesela/cpu.h>
#include <tesela/physical_allocator.h>

#include "bench_host.h"
#include "bench_port.h"

#define GIB    ((uint64_t)1 << 30)
#define SAMPLE ((uint32_t)1 << 21)
#define PAIRS  150000u

static struct tsl_frames *frames;
static struct bench_live live;
static uint32_t next_victim;
static uint64_t seed = 99;

/* The sample is in random order already. Each of it is freed once before one is freed twice, so
 * that the frees stay spread over all memory. */
static void churn_pairs(unsigned pairs)
{
    for (unsigned pair = 0; pair < pairs; pair++) {
        uint32_t *victim = &live.number[next_victim];
        bench_give_frame(frames, *victim);
        *victim = bench_take_frame(frames);
        next_victim = next_victim + 1 < live.count ? next_victim + 1 : 0;
    }
}

static void hot_pairs(unsigned pairs)
{
    for (unsigned pair = 0; pair < pairs; pair++)
        bench_give_frame(frames, bench_take_frame(frames));
}

/* All memory is free. */
static void huge_pairs(unsigned pairs)
{
    struct tsl_frame frame;
    for (unsigned pair = 0; pair < pairs; pair++)
        bench_require(tsl_frames_alloc(frames, TSL_FRAMES_HUGE_ORDER, 0, &frame) == TSL_OK &&
                          tsl_frames_free(frames, frame, TSL_FRAMES_HUGE_ORDER) == TSL_OK,
                      "a pair of 2 MiB failed");
}

static void measure(const char *what, const char *size, void (*run)(unsigned pairs))
{
    char name[64];
    struct bench_samples samples = {.count = 0};
    snprintf(name, sizeof(name), "frames.%s_%s", what, size);
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        run(PAIRS);
        bench_add(&samples, start, PAIRS);
    }
    bench_row(name, &samples);
}

static void measure_size(const char *size, uint64_t bytes)
{
    frames = bench_frames_create(bytes);
    live.count = 0;
    next_victim = 0;
    measure("hot_2m", size, huge_pairs);
    bench_fill_half(frames, &live, 1, &seed);
    measure("churn50", size, churn_pairs);
    measure("hot50", size, hot_pairs);
    tsl_frames_abandon(frames); /* the next one gets the same memory */
}

int main(void)
{
    live = (struct bench_live){malloc(SAMPLE * sizeof(uint32_t)), 0, SAMPLE};
    bench_require(live.number != NULL, "memory for the list of frames");
    bench_ram_create(1024 * GIB);
    tsl_cpu_join();
    measure_size("256m", GIB / 4);
    measure_size("4g", 4 * GIB);
    measure_size("64g", 64 * GIB);
    measure_size("1t", 1024 * GIB);
    return 0;
}
