/* SPDX-License-Identifier: MIT
 *
 * workload_threads.c: workloads of several threads.
 *
 * Owns:    nothing lasting.
 * Needs:   workload.h, threads.
 * Callers: workload.c.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "workload.h"

#define THREADS 4u

static void start(pthread_t *thread, void *(*run)(void *), void *context)
{
    bench_require(pthread_create(thread, NULL, run, context) == 0, "no thread");
}

static void run_all(void *(*run)(void *))
{
    pthread_t thread[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        start(&thread[i], run, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

/* ---- server: threads replace random blocks of a set, then hand the set to a new thread ---- */

#define SETS       THREADS
#define SET_BLOCKS 2000u
#define HAND_OVERS 40u

static void *serve(void *context)
{
    void **block = context;
    uint64_t seed = (uint64_t)(uintptr_t)block[0] | 1;

    for (unsigned i = 0; i < 40000; i++) {
        void **place = &block[1 + bench_below(&seed, SET_BLOCKS)];
        free(*place);
        *place = workload_take(10 + bench_below(&seed, 490));
    }
    block[0] = (void *)(uintptr_t)seed;
    return NULL;
}

static void run_server(void)
{
    static void *set[SETS][1 + SET_BLOCKS];
    pthread_t thread[SETS];

    for (unsigned i = 0; i < SETS; i++)
        set[i][0] = (void *)(uintptr_t)(i + 1);
    for (unsigned round = 0; round < HAND_OVERS; round++) {
        for (unsigned i = 0; i < SETS; i++)
            start(&thread[i], serve, set[i]);
        for (unsigned i = 0; i < SETS; i++)
            pthread_join(thread[i], NULL);
    }
    for (unsigned i = 0; i < SETS; i++)
        for (unsigned j = 1; j <= SET_BLOCKS; j++)
            free(set[i][j]);
}

/* ---- remote: one thread allocates, another frees, batches through a ring ---- */

#define BATCH   256u
#define RING    64u
#define BATCHES 15000u

struct ring {
    void **batch[RING];
    uint32_t put;
    uint32_t taken;
};

static void wait_while(const uint32_t *place, uint32_t value)
{
    while (__atomic_load_n(place, __ATOMIC_ACQUIRE) == value)
        sched_yield();
}

static void *produce(void *context)
{
    struct ring *ring = context;
    uint64_t seed = 11;

    for (uint32_t i = 0; i < BATCHES; i++) {
        void **batch = workload_take(BATCH * sizeof(*batch));
        for (unsigned j = 0; j < BATCH; j++)
            batch[j] = workload_take(workload_size(&seed, 16, 5));
        while (i - __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE) >= RING)
            sched_yield();
        ring->batch[i % RING] = batch;
        __atomic_store_n(&ring->put, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume(void *context)
{
    struct ring *ring = context;

    for (uint32_t i = 0; i < BATCHES; i++) {
        wait_while(&ring->put, i);
        void **batch = ring->batch[i % RING];
        __atomic_store_n(&ring->taken, i + 1, __ATOMIC_RELEASE);
        for (unsigned j = 0; j < BATCH; j++)
            free(batch[j]);
        free(batch);
    }
    return NULL;
}

static void run_remote(void)
{
    static struct ring ring;
    pthread_t producer, consumer;

    start(&producer, produce, &ring);
    start(&consumer, consume, &ring);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
}

/* ---- neighbours: threads write small blocks that one thread allocated for all of them ---- */

static void *given[THREADS];

static void *scratch(void *context)
{
    unsigned number = (unsigned)(uintptr_t)context - 1;

    free(given[number]);
    for (unsigned i = 0; i < 200000; i++) {
        volatile char *block = workload_take(8);
        for (unsigned j = 0; j < 400; j++)
            block[j % 8]++;
        free((void *)(uintptr_t)block);
    }
    return NULL;
}

static void run_neighbours(void)
{
    for (unsigned i = 0; i < THREADS; i++)
        given[i] = workload_take(8);
    run_all(scratch);
}

/* ---- threads: each for itself, sizes and lifetimes mixed ---- */

static void *mix(void *context)
{
    uint64_t seed = (uint64_t)(uintptr_t)context;
    void **live = calloc(5000, sizeof(*live));

    bench_require(live != NULL, "out of memory");
    for (unsigned i = 0; i < 1500000; i++) {
        void **place = &live[bench_below(&seed, 5000)];
        free(*place);
        *place = workload_take(workload_size(&seed, 16, 7));
    }
    for (unsigned i = 0; i < 5000; i++)
        free(live[i]);
    free(live);
    return NULL;
}

static void run_mix(void)
{
    run_all(mix);
}

/* ---- exchange: every fourth block ends in another thread ---- */

#define EXCHANGE 4096u

static void *exchange[EXCHANGE];

static void *trade(void *context)
{
    uint64_t seed = (uint64_t)(uintptr_t)context;
    void *live[512] = {NULL};

    for (unsigned i = 0; i < 1000000; i++) {
        void **place = &live[bench_below(&seed, 512)];
        free(*place);
        *place = workload_take(workload_size(&seed, 16, 6));
        if (i % 4 == 0)
            *place = __atomic_exchange_n(&exchange[bench_below(&seed, EXCHANGE)], *place,
                                         __ATOMIC_ACQ_REL);
    }
    for (unsigned i = 0; i < 512; i++)
        free(live[i]);
    return NULL;
}

static void run_exchange(void)
{
    run_all(trade);
    for (unsigned i = 0; i < EXCHANGE; i++)
        free(exchange[i]);
}

const struct workload workloads_threads[] = {
    {"server", run_server, "4 threads replace blocks, each set moves on to a new thread"},
    {"remote", run_remote, "one thread allocates, another frees"},
    {"neighbours", run_neighbours, "4 threads write blocks of 8 bytes"},
    {"mix", run_mix, "4 threads, 16 B to 2 KiB, 5,000 live each"},
    {"exchange", run_exchange, "4 threads, every fourth block ends in another"},
    {NULL, NULL, NULL},
};
