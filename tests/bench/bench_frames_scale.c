/* SPDX-License-Identifier: MIT
 *
 * bench_frames_scale.c: what sharing costs the frame allocator, counted and not timed: 1 to 64
 * CPUs, 256 MiB to 1 TiB.
 *
 * Owns:    a list of live frames for each CPU.
 * Needs:   physical_allocator compiled with the counting atomics; bench_port_frames.c.
 * Callers: ./bench frames (target bench-frames-scale).
 *
 * The CPUs take turns in one thread, so that every run counts the same. Half of the memory is in
 * use, its free frames scattered. own: a CPU frees a random frame that it allocated and allocates
 * one; remote: it frees a random one that its neighbour allocated. Counted are, for each pair,
 * locked instructions, cache lines that came from another CPU, and words looked at or written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/physical_allocator.h>

#include "bench_host.h"
#include "bench_port.h"
#include "counting.h"

#define MIB          ((uint64_t)1 << 20)
#define GIB          ((uint64_t)1 << 30)
#define SAMPLE       ((uint32_t)1 << 16) /* live frames that take part in the churn */
#define WARM_UP      1000000u
#define COUNTED_EACH 100000u

static struct tsl_frames *frames;
static struct bench_live live[TSL_CPUS];
static unsigned cpus;
static uint64_t seed = 77;

static void start(unsigned cpu_count, uint64_t bytes)
{
    cpus = cpu_count;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        live[cpu] = (struct bench_live){malloc(SAMPLE * sizeof(uint32_t)), 0, SAMPLE};
        bench_require(live[cpu].number != NULL, "memory for a list of frames");
        bench_be_cpu(cpu);
        tsl_cpu_join();
    }
    bench_be_cpu(0);
    frames = bench_frames_create(bytes);
    bench_fill_half(frames, live, cpus, &seed);
}

/* The next allocator gets the same memory. All CPUs go off-line again. */
static void finish(void)
{
    tsl_frames_abandon(frames);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        bench_be_cpu(cpu);
        tsl_cpu_leave();
        free(live[cpu].number);
    }
}

static void churn_round(unsigned distance, unsigned pairs)
{
    for (unsigned i = 0; i < pairs; i++) {
        unsigned cpu = i % cpus;
        struct bench_live *other = &live[(cpu + distance) % cpus];
        uint32_t *victim = &other->number[bench_below(&seed, other->count)];
        bench_be_cpu(cpu);
        bench_give_frame(frames, *victim);
        bench_be_cpu((cpu + distance) % cpus);
        *victim = bench_take_frame(frames);
    }
}

static void hot_round(unsigned order, unsigned pairs)
{
    for (unsigned i = 0; i < pairs; i++) {
        struct tsl_frame frame;
        bench_be_cpu(i % cpus);
        bench_require(tsl_frames_alloc(frames, order, 0, &frame) == TSL_OK &&
                          tsl_frames_free(frames, frame, order) == TSL_OK,
                      "a hot pair failed");
    }
}

static void print_row(const char *name, const char *unit, uint64_t count)
{
    printf("row frames.%s %s %.3f 1\n", name, unit, (double)count / COUNTED_EACH);
    fflush(stdout);
}

/* Rows scale_<name> and transfers_<name>, counted when the CPUs have found their places. */
static void scale_rows(const char *name, void (*run)(unsigned argument, unsigned pairs),
                       unsigned argument)
{
    char text[64];
    run(argument, WARM_UP);
    counting = (struct counting){0};
    run(argument, COUNTED_EACH);
    struct counting counted = counting;
    snprintf(text, sizeof(text), "scale_%s", name);
    print_row(text, "atomics", counted.locked);
    snprintf(text, sizeof(text), "transfers_%s", name);
    print_row(text, "lines", counted.transfers);
}

static void scale_over_cpus(void)
{
    static const unsigned counts[] = {1, 4, 16, 64};
    for (unsigned i = 0; i < TSL_COUNT_OF(counts); i++) {
        char text[32];
        start(counts[i], 4 * GIB);
        snprintf(text, sizeof(text), "%u", counts[i]);
        scale_rows(text, churn_round, 0);
        snprintf(text, sizeof(text), "hot_%u", counts[i]);
        scale_rows(text, hot_round, 0);
        snprintf(text, sizeof(text), "remote_%u", counts[i]);
        if (counts[i] > 1)
            scale_rows(text, churn_round, 1);
        finish();
    }
}

static void words_row(const char *what, const char *size,
                      void (*run)(unsigned argument, unsigned pairs), unsigned argument)
{
    char text[64];
    run(argument, COUNTED_EACH);
    counting = (struct counting){0};
    run(argument, COUNTED_EACH);
    uint64_t accesses = counting.accesses;
    snprintf(text, sizeof(text), "words_%s_%s", what, size);
    print_row(text, "words", accesses);
}

/* One CPU; the frames exist as numbers only, the allocator touches none. */
static void scale_over_memory(void)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } sizes[] = {{"256m", 256 * MIB}, {"4g", 4 * GIB}, {"64g", 64 * GIB}, {"1t", 1024 * GIB}};
    for (unsigned i = 0; i < TSL_COUNT_OF(sizes); i++) {
        start(1, sizes[i].bytes);
        words_row("churn50", sizes[i].name, churn_round, 0);
        words_row("hot50", sizes[i].name, hot_round, 0);
        finish();
    }
}

int main(void)
{
    bench_ram_create(1024 * GIB);
    scale_over_cpus();
    scale_over_memory();
    return 0;
}
