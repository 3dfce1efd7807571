/* SPDX-License-Identifier: MIT
 *
 * bench_frames_rows.h: the rows frames.* over any frame allocator: 4 GiB of frames, all free.
 *
 * Owns:    the list of blocks that are live.
 * Needs:   bench_host.h, threads.
 * Callers: bench_frames.c (ours), peer_frames_*.c (others); each defines the functions below.
 *
 * hot: allocate, free at once. churn: free a random live frame, allocate one; the cost of choosing
 * it is included. 50 and 95 are per cent of memory in use, made by filling all of it and freeing at
 * random. bulk: every frame one by one, then freed in random order. _2t: two threads, each a CPU of
 * its own, the slower one's CPU time in the quietest sample. recovery: all allocated, a random half
 * freed, then churn (M is 2^20 pairs); how many blocks of 2 MiB can be taken then, of 1,024 at
 * best.
 */
#ifndef TESELA_BENCH_FRAMES_ROWS_H
#define TESELA_BENCH_FRAMES_ROWS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_host.h"

#define ROWS_FRAMES ((uint32_t)1 << 20)
#define ROWS_HUGE   9u
#define ROWS_BURST  64u

/* How long a row is measured: slow allocators get less. */
struct rows_effort {
    unsigned hot_pairs;        /* a sample */
    unsigned churn_pairs;      /* a sample */
    unsigned recovery_samples; /* 4 M (2^22) pairs each */
    unsigned recovery_more;    /* pairs after those, for frames.recovery_16m; 0: no such row */
    bool threads;              /* it can be called by two CPUs at once */
};

/* Defined by the program that includes this header; static there, so that calls can be inlined. */
static const struct rows_effort subject_effort;
static bool subject_alloc(unsigned order, uint32_t *out);
static bool subject_free(uint32_t frame, unsigned order);
static void subject_be_cpu(unsigned cpu); /* 0 or 1: this thread from now on */

/* Live blocks: frame number, or frame number * 16 + order where orders are mixed. */
static uint32_t *live;
static uint32_t live_count;
static uint64_t rows_seed = 0x2545f4914f6cdd1dull;

static uint32_t rows_take(unsigned order)
{
    uint32_t frame = 0;
    bench_require(subject_alloc(order, &frame), "out of frames");
    return frame;
}

static void rows_give(uint32_t frame, unsigned order)
{
    bench_require(subject_free(frame, order), "a free was refused");
}

static void rows_fill(void)
{
    uint32_t frame;
    while (subject_alloc(0, &frame)) {
        bench_require(live_count < ROWS_FRAMES, "more frames than there are");
        live[live_count++] = frame;
    }
}

/* Frees random frames until `percent` of all are live. */
static void rows_thin_to(unsigned percent)
{
    uint32_t target = (uint32_t)((uint64_t)ROWS_FRAMES * percent / 100);
    bench_shuffle(live, live_count, &rows_seed);
    while (live_count > target)
        rows_give(live[--live_count], 0);
}

static void rows_bulk(void)
{
    struct bench_samples alloc = {.count = 0};
    struct bench_samples release = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        rows_fill();
        bench_add(&alloc, start, live_count);
        bench_shuffle(live, live_count, &rows_seed);
        start = bench_now();
        uint32_t count = live_count;
        while (live_count > 0)
            rows_give(live[--live_count], 0);
        bench_add(&release, start, count);
    }
    bench_row("frames.bulk_alloc", &alloc);
    bench_row("frames.bulk_free", &release);
}

/* ---- Pairs on one thread ---- */

static void hot_pairs(unsigned order, unsigned pairs)
{
    for (unsigned pair = 0; pair < pairs; pair++)
        rows_give(rows_take(order), order);
}

/* What a kernel adds that keeps interrupts out: saving the flags and restoring them, twice. Ring 3
 * may not switch interrupts off, but reading and writing the flags costs the same. */
static void hot_pairs_pinned(unsigned order, unsigned pairs)
{
    for (unsigned pair = 0; pair < pairs; pair++) {
        unsigned long long flags = __builtin_ia32_readeflags_u64();
        uint32_t frame = rows_take(order);
        __builtin_ia32_writeeflags_u64(flags);
        flags = __builtin_ia32_readeflags_u64();
        rows_give(frame, order);
        __builtin_ia32_writeeflags_u64(flags);
    }
}

static void rows_hot(const char *name, unsigned order, void (*run)(unsigned order, unsigned pairs))
{
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        run(order, subject_effort.hot_pairs);
        bench_add(&samples, start, subject_effort.hot_pairs);
    }
    bench_row(name, &samples);
}

static void churn_pairs(uint32_t *own, uint32_t count, uint64_t *seed, unsigned pairs)
{
    for (unsigned pair = 0; pair < pairs; pair++) {
        uint32_t *victim = &own[bench_below(seed, count)];
        rows_give(*victim, 0);
        *victim = rows_take(0);
    }
}

static void rows_churn(const char *name)
{
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        double start = bench_now();
        churn_pairs(live, live_count, &rows_seed, subject_effort.churn_pairs);
        bench_add(&samples, start, subject_effort.churn_pairs);
    }
    bench_row(name, &samples);
}

/* ---- Two threads ---- */

struct rows_thread {
    pthread_barrier_t *gate;
    unsigned cpu;
    bool is_churn;
    uint64_t seed;
    double ns[BENCH_SAMPLES];
};

static void *rows_run_thread(void *argument)
{
    struct rows_thread *self = argument;
    uint32_t half = live_count / 2;
    subject_be_cpu(self->cpu);
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        (void)pthread_barrier_wait(self->gate);
        unsigned pairs = self->is_churn ? subject_effort.churn_pairs : subject_effort.hot_pairs;
        double start = bench_now();
        if (self->is_churn)
            churn_pairs(live + self->cpu * half, half, &self->seed, pairs);
        else
            hot_pairs(0, pairs);
        self->ns[i] = (bench_now() - start) / pairs;
    }
    (void)pthread_barrier_wait(self->gate);
    return NULL;
}

static void rows_two_threads(const char *name, bool is_churn)
{
    pthread_barrier_t gate;
    struct rows_thread side[2] = {{.gate = &gate, .cpu = 0, .is_churn = is_churn, .seed = 11},
                                  {.gate = &gate, .cpu = 1, .is_churn = is_churn, .seed = 22}};
    pthread_t other;
    bench_require(pthread_barrier_init(&gate, NULL, 2) == 0, "a barrier");
    bench_require(pthread_create(&other, NULL, rows_run_thread, &side[1]) == 0, "a thread");
    (void)rows_run_thread(&side[0]);
    (void)pthread_join(other, NULL);
    struct bench_samples samples = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++)
        bench_add_value(&samples, side[0].ns[i] > side[1].ns[i] ? side[0].ns[i] : side[1].ns[i]);
    bench_row_least(name, &samples);
}

/* ---- Recovery from fragmentation ---- */

static unsigned rows_count_huge(void)
{
    static uint32_t taken[ROWS_FRAMES >> ROWS_HUGE];
    unsigned count = 0;
    while (count < (ROWS_FRAMES >> ROWS_HUGE) && subject_alloc(ROWS_HUGE, &taken[count]))
        count++;
    for (unsigned i = 0; i < count; i++)
        rows_give(taken[i], ROWS_HUGE);
    return count;
}

/* Frees k random frames, then takes k. */
static void churn_bursts(unsigned pairs)
{
    while (pairs > 0) {
        unsigned k = 1 + (unsigned)bench_below(&rows_seed, ROWS_BURST);
        k = k < pairs ? k : pairs;
        for (unsigned i = 0; i < k; i++) {
            uint32_t *victim = &live[bench_below(&rows_seed, live_count)];
            rows_give(*victim, 0);
            *victim = live[--live_count];
        }
        for (unsigned i = 0; i < k; i++)
            live[live_count++] = rows_take(0);
        pairs -= k;
    }
}

/* Frees a random block, then takes blocks of random small orders until as many frames are in use
 * as before. Orders 0 to 3; three of four blocks are single frames. */
static void churn_mixed(unsigned pairs)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < live_count; i++)
        live[i] *= 16;
    for (unsigned pair = 0; pair < pairs; pair++) {
        uint32_t *victim = &live[bench_below(&rows_seed, live_count)];
        rows_give(*victim / 16, *victim % 16);
        missing += 1u << *victim % 16;
        *victim = live[--live_count];
        while (missing > 0) {
            unsigned order =
                bench_below(&rows_seed, 4) == 0 ? (unsigned)bench_below(&rows_seed, 4) : 0;
            while (1u << order > missing)
                order--;
            live[live_count++] = rows_take(order) * 16 + order;
            missing -= 1u << order;
        }
    }
}

enum rows_recovery { ROWS_SINGLE, ROWS_BURSTS, ROWS_MIXED };

/* One sample: the blocks after 4 M pairs, and after `more` pairs. Ends with all memory free. */
static void rows_recover(enum rows_recovery kind, struct bench_samples *out,
                         struct bench_samples *out_more)
{
    const unsigned pairs = 4u << 20;
    rows_fill();
    rows_thin_to(50);
    if (kind == ROWS_SINGLE)
        churn_pairs(live, live_count, &rows_seed, pairs);
    else if (kind == ROWS_BURSTS)
        churn_bursts(pairs);
    else
        churn_mixed(pairs);
    bench_add_value(out, rows_count_huge());
    if (kind == ROWS_SINGLE && subject_effort.recovery_more > 0) {
        churn_pairs(live, live_count, &rows_seed, subject_effort.recovery_more);
        bench_add_value(out_more, rows_count_huge());
    }
    while (live_count > 0) {
        uint32_t block = live[--live_count];
        rows_give(kind == ROWS_MIXED ? block / 16 : block, kind == ROWS_MIXED ? block % 16 : 0);
    }
}

static void rows_recovery(void)
{
    static const char *const names[] = {"frames.recovery", "frames.recovery_bursts",
                                        "frames.recovery_mixed"};
    for (unsigned kind = ROWS_SINGLE; kind <= ROWS_MIXED; kind++) {
        struct bench_samples samples = {.count = 0};
        struct bench_samples more = {.count = 0};
        for (unsigned i = 0; i < subject_effort.recovery_samples; i++)
            rows_recover((enum rows_recovery)kind, &samples, &more);
        bench_row_in(names[kind], "blocks", &samples);
        if (more.count > 0)
            bench_row_in("frames.recovery_16m", "blocks", &more);
    }
}

/* All rows. Before: all frames are free; this thread is CPU 0. */
static void bench_frames_rows(void)
{
    live = malloc(ROWS_FRAMES * sizeof(*live));
    bench_require(live != NULL, "memory for the list of frames");
    rows_hot("frames.hot_2m", ROWS_HUGE, hot_pairs);
    rows_bulk();
    rows_fill();
    rows_thin_to(95);
    rows_churn("frames.churn95");
    rows_hot("frames.hot95", 0, hot_pairs);
    rows_thin_to(50);
    rows_churn("frames.churn50");
    rows_hot("frames.hot50", 0, hot_pairs);
    rows_hot("frames.hot50_pinned", 0, hot_pairs_pinned);
    if (subject_effort.threads) {
        rows_two_threads("frames.hot_2t", false);
        rows_two_threads("frames.churn_2t", true);
    }
    while (live_count > 0)
        rows_give(live[--live_count], 0);
    rows_recovery();
    free(live);
}

#endif
