/* SPDX-License-Identifier: MIT
 *
 * bench_frames.c: the rows frames.* on the host, one thread, 4 GiB of simulated memory.
 *
 * Owns:    the list of frames that are live.
 * Needs:   physical_allocator, kernel_layout, bench_host.h.
 * Callers: ./bench frames (target bench-frames).
 *
 * hot: allocate, free at once. churn: free a random live frame, allocate one; the cost of choosing
 * it is included. 50 and 95 are per cent of memory in use, made by filling all of it and freeing at
 * random. bulk: every frame one by one, then freed in random order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tesela/cpu.h>
#include <tesela/memory_map.h>
#include <tesela/physical_allocator.h>

#include "bench_host.h"
#include "bench_port.h"

#define RAM_BYTES ((uint64_t)4 << 30)
#define PAIRS     1000000u

static struct tsl_frames *frames;
static uint32_t *live; /* frame numbers */
static uint32_t live_count;
static uint64_t seed = 0x2545f4914f6cdd1dull;

static void create_allocator(void)
{
    static struct tsl_memory_range storage[16];
    static struct tsl_memory_map map;
    bench_ram_create(RAM_BYTES);
    bench_require(tsl_map_init(&map, storage, 16) == TSL_OK, "map");
    bench_require(tsl_map_add(&map, 0, RAM_BYTES, TSL_MEMORY_USABLE) == TSL_OK, "map entry");
    struct tsl_frames_config config = {.map = &map, .reach_end = RAM_BYTES};
    bench_require(tsl_frames_create(&config, &frames) == TSL_OK, "allocator");
}

static uint32_t take(void)
{
    struct tsl_frame frame;
    bench_require(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK, "out of frames");
    return (uint32_t)frame.number;
}

static void give(uint32_t number)
{
    struct tsl_frame frame = {number};
    bench_require(tsl_frames_free(frames, frame, 0) == TSL_OK, "a free was refused");
}

static void fill(void)
{
    struct tsl_frame frame;
    while (tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK)
        live[live_count++] = (uint32_t)frame.number;
}

/* Frees random frames until `percent` of what the allocator manages is live. */
static void thin_to(unsigned percent)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    uint32_t target = (uint32_t)(stats.total * percent / 100);
    bench_shuffle(live, live_count, &seed);
    while (live_count > target)
        give(live[--live_count]);
}

static void measure_bulk(void)
{
    struct bench_samples alloc = {.count = 0};
    struct bench_samples release = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        fill();
        bench_add(&alloc, start, live_count);
        bench_shuffle(live, live_count, &seed);
        start = bench_now();
        uint32_t count = live_count;
        while (live_count > 0)
            give(live[--live_count]);
        bench_add(&release, start, count);
    }
    bench_row("frames.bulk_alloc", &alloc);
    bench_row("frames.bulk_free", &release);
}

static void measure_hot(const char *name, unsigned order, unsigned pairs)
{
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        struct tsl_frame frame;
        double start = bench_now();
        for (unsigned pair = 0; pair < pairs; pair++)
            if (tsl_frames_alloc(frames, order, TSL_FRAMES_HIGH, &frame) != TSL_OK ||
                tsl_frames_free(frames, frame, order) != TSL_OK)
                bench_require(0, "a hot pair failed");
        bench_add(&samples, start, pairs);
    }
    bench_row(name, &samples);
}

static void measure_churn(const char *name)
{
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        for (unsigned pair = 0; pair < PAIRS; pair++) {
            uint32_t *victim = &live[bench_below(&seed, live_count)];
            give(*victim);
            *victim = take();
        }
        bench_add(&samples, start, PAIRS);
    }
    bench_row(name, &samples);
}

static void report_metadata(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    printf("row frames.metadata bytes/GiB %llu 1\n",
           (unsigned long long)(stats.metadata_bytes / (RAM_BYTES >> 30)));
}

int main(void)
{
    tsl_cpu_join();
    live = malloc((size_t)(RAM_BYTES / TSL_PAGE_BYTES) * sizeof(*live));
    bench_require(live != NULL, "memory for the list of frames");
    create_allocator();
    report_metadata();
    measure_hot("frames.hot_2m", TSL_FRAMES_HUGE_ORDER, PAIRS);
    measure_bulk();
    fill();
    thin_to(95);
    measure_churn("frames.churn95");
    thin_to(50);
    measure_churn("frames.churn50");
    measure_hot("frames.hot50", 0, PAIRS);
    return 0;
}
