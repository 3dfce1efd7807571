/* SPDX-License-Identifier: MIT
 *
 * workload_single.c: workloads of one thread.
 *
 * Owns:    nothing lasting.
 * Needs:   workload.h.
 * Callers: workload.c.
 *
 * What each stands for is in the table at the end. They are written for this, after the kinds of
 * program that collections of malloc benchmarks have; none is a copy.
 */
#include <string.h>

#include "workload.h"

/* ---- numbers: factoring with big numbers, a few words each, most dead at once ---- */

struct number {
    unsigned words;
    uint32_t word[];
};

static struct number *number_of(unsigned words)
{
    struct number *self = workload_take(sizeof(*self) + words * sizeof(uint32_t));
    self->words = words;
    return self;
}

/* (a * b + c) mod 2^(32 words): a new number, as such libraries do it. */
static struct number *multiply_add(const struct number *a, uint32_t b, uint32_t c)
{
    struct number *result = number_of(a->words);
    uint64_t carry = c;

    for (unsigned i = 0; i < a->words; i++) {
        carry += (uint64_t)a->word[i] * b;
        result->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return result;
}

static void run_numbers(void)
{
    struct number *kept[64];
    uint64_t seed = 1;

    for (unsigned i = 0; i < 64; i++) {
        kept[i] = number_of(1 + i % 12);
        memset(kept[i]->word, (int)i + 1, kept[i]->words * sizeof(uint32_t));
    }
    for (unsigned i = 0; i < 8000000; i++) {
        struct number **place = &kept[bench_below(&seed, 64)];
        struct number *product = multiply_add(*place, 2654435761u, i);
        struct number *sum = multiply_add(product, 1, (uint32_t)seed);
        free(product);
        free(*place);
        *place = sum;
    }
    for (unsigned i = 0; i < 64; i++)
        free(kept[i]);
}

/* ---- covers: logic minimising: sets of small arrays that are copied, split and merged ---- */

#define CUBES 400u

struct cover {
    unsigned count;
    uint64_t *cube[CUBES];
};

static uint64_t *cube_copy(const uint64_t *from, unsigned words, uint64_t change)
{
    uint64_t *copy = workload_take(words * sizeof(*copy));
    if (from != NULL)
        memcpy(copy, from, words * sizeof(*copy));
    else
        memset(copy, 0, words * sizeof(*copy));
    copy[change % words] ^= change;
    return copy;
}

static void run_covers(void)
{
    uint64_t seed = 2;

    for (unsigned round = 0; round < 12000; round++) {
        struct cover *cover = workload_take(sizeof(*cover));
        unsigned words = 2 + (unsigned)bench_below(&seed, 14);
        cover->count = 0;
        while (cover->count < CUBES / 2)
            cover->cube[cover->count++] = cube_copy(NULL, words, bench_random(&seed));
        for (unsigned i = 0; i < 2 * CUBES; i++) {
            unsigned victim = (unsigned)bench_below(&seed, cover->count);
            uint64_t *changed = cube_copy(cover->cube[victim], words, bench_random(&seed));
            free(cover->cube[victim]);
            cover->cube[victim] = changed;
        }
        while (cover->count > 0)
            free(cover->cube[--cover->count]);
        free(cover);
    }
}

/* ---- lifetimes: random sizes, most blocks live briefly, a few long ---- */

#define LIFETIMES_LOG2 16u

static void run_lifetimes(void)
{
    static void *slot[1u << LIFETIMES_LOG2];
    uint64_t seed = 3;

    for (unsigned i = 0; i < 6000000; i++) {
        /* A slot of a random power of two: low ones are replaced often, high ones seldom. */
        unsigned log2 = 1 + (unsigned)bench_below(&seed, LIFETIMES_LOG2);
        void **place = &slot[bench_below(&seed, 1u << log2)];
        free(*place);
        *place = workload_take(workload_size(&seed, 16, 7));
    }
    for (unsigned i = 0; i < 1u << LIFETIMES_LOG2; i++)
        free(slot[i]);
}

/* ---- batches: blocks of one size, allocated in a row and freed in a row ---- */

static void run_batches(void)
{
    static const size_t sizes[] = {16, 24, 64, 128, 256, 600, 1024, 2048};
    static void *block[1600];

    for (unsigned round = 0; round < 300; round++)
        for (unsigned kind = 0; kind < 8; kind++) {
            for (unsigned i = 0; i < 1600; i++)
                block[i] = workload_take(sizes[kind]);
            for (unsigned i = 0; i < 1600; i++)
                free(block[round % 2 ? i : 1599 - i]);
        }
}

/* ---- phases: sets of blocks live together; freed as a stack, as a queue, or at random ---- */

static void run_phases(void)
{
    static void *block[20000];
    static uint32_t order[20000];
    uint64_t seed = 5;

    for (unsigned phase = 0; phase < 600; phase++) {
        uint32_t count = 1000 + (uint32_t)bench_below(&seed, 19000);
        for (uint32_t i = 0; i < count; i++) {
            block[i] = workload_take(workload_size(&seed, 8, 6));
            order[i] = phase % 3 == 0 ? i : count - 1 - i;
        }
        if (phase % 3 == 2)
            bench_shuffle(order, count, &seed);
        for (uint32_t i = 0; i < count; i++)
            free(block[order[i]]);
    }
}

/* ---- vectors: arrays that grow by half again, small things in between ---- */

struct vector {
    uint32_t *item;
    size_t count;
    size_t room;
};

static void vector_add(struct vector *self, uint32_t item)
{
    if (self->count == self->room) {
        self->room += self->room / 2 + 8;
        self->item = realloc(self->item, self->room * sizeof(*self->item));
        bench_require(self->item != NULL, "out of memory");
    }
    self->item[self->count++] = item;
}

static void run_vectors(void)
{
    struct vector vector[64] = {{NULL, 0, 0}};
    void *between[256] = {NULL};
    uint64_t seed = 6;

    for (unsigned i = 0; i < 30000000; i++) {
        struct vector *self = &vector[bench_below(&seed, 64)];
        vector_add(self, i);
        if (self->count > 400000) {
            free(self->item);
            *self = (struct vector){NULL, 0, 0};
        }
        if (i % 64 == 0) {
            free(between[i / 64 % 256]);
            between[i / 64 % 256] = workload_take(workload_size(&seed, 32, 5));
        }
    }
    for (unsigned i = 0; i < 64; i++)
        free(vector[i].item);
    for (unsigned i = 0; i < 256; i++)
        free(between[i]);
}

/* ---- table: a table of strings with a bound: the oldest entry goes ---- */

#define BUCKETS 16384u
#define ENTRIES 40000u

struct entry {
    struct entry *next_in_bucket;
    char *key;
    char *value;
    uint64_t hash;
};

static void table_remove(struct entry **bucket, struct entry *entry)
{
    struct entry **link = &bucket[entry->hash % BUCKETS];

    while (*link != entry)
        link = &(*link)->next_in_bucket;
    *link = entry->next_in_bucket;
    free(entry->key);
    free(entry->value);
    free(entry);
}

static void run_table(void)
{
    static struct entry *bucket[BUCKETS];
    static struct entry *age[ENTRIES];
    uint64_t seed = 7;

    for (unsigned i = 0; i < 1200000; i++) {
        struct entry **place = &age[i % ENTRIES];
        if (*place != NULL)
            table_remove(bucket, *place);
        struct entry *entry = workload_take(sizeof(*entry));
        entry->hash = bench_random(&seed);
        entry->key = workload_take(8 + bench_below(&seed, 40));
        entry->value = workload_take(workload_size(&seed, 16, 6));
        entry->next_in_bucket = bucket[entry->hash % BUCKETS];
        bucket[entry->hash % BUCKETS] = entry;
        *place = entry;
    }
    for (unsigned i = 0; i < ENTRIES; i++)
        table_remove(bucket, age[i]);
}

/* ---- trees: many nodes of one size, built and torn down ---- */

struct node {
    struct node *child[2];
};

/* Without recursion: node i has the children 2i + 1 and 2i + 2. */
static void run_trees(void)
{
    static struct node *node[65535];

    for (unsigned round = 0; round < 240; round++) {
        unsigned count = (1u << (10 + round % 7)) - 1;
        for (unsigned again = 0; again < 65535 / count; again++) {
            for (unsigned i = count; i-- > 0;) {
                node[i] = workload_take(sizeof(struct node));
                node[i]->child[0] = 2 * i + 1 < count ? node[2 * i + 1] : NULL;
                node[i]->child[1] = 2 * i + 2 < count ? node[2 * i + 2] : NULL;
            }
            for (unsigned i = 0; i < count; i++)
                free(node[i]);
        }
    }
}

/* ---- buffers: large blocks of many sizes, partly written ---- */

static void run_buffers(void)
{
    void *live[32] = {NULL};
    uint64_t seed = 9;

    for (unsigned i = 0; i < 60000; i++) {
        void **place = &live[bench_below(&seed, 32)];
        free(*place);
        size_t bytes = workload_size(&seed, 16384, 7);
        *place = workload_take(bytes);
        memset(*place, 1, bytes / 4);
    }
    for (unsigned i = 0; i < 32; i++)
        free(live[i]);
}

const struct workload workloads_single[] = {
    {"numbers", run_numbers, "big numbers of a few words, two made for each that stays"},
    {"covers", run_covers, "sets of small arrays, copied and replaced"},
    {"lifetimes", run_lifetimes, "16 B to 2 KiB, most live briefly, some long"},
    {"batches", run_batches, "1,600 blocks of one size in a row, freed in a row"},
    {"phases", run_phases, "up to 20,000 blocks, freed as a stack, as a queue, at random"},
    {"vectors", run_vectors, "64 arrays that grow to 1.6 MB, small blocks between"},
    {"table", run_table, "40,000 strings with their keys, the oldest replaced"},
    {"trees", run_trees, "up to 65,535 nodes, built and torn down"},
    {"buffers", run_buffers, "16 KiB to 2 MiB, a quarter written"},
    {NULL, NULL, NULL},
};
