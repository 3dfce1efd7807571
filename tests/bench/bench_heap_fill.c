/* SPDX-License-Identifier: MIT
 *
 * bench_heap_fill.c: how much of an array a heap can hand out, and what it keeps for itself.
 *
 * Owns:    the array.
 * Needs:   heap_allocator, bench_host.h.
 * Callers: ./bench heap: bench-heap-fill [MIB SUFFIX], by itself 64 MiB and no suffix; in an
 *          embedded build 4 MiB.
 *
 * Sizes are mixed as in the churn rows, 16 bytes to 8 KiB, each doubling equally likely; what
 * counts is what was asked for, when the first request fails. A second row does the same after each
 * block was replaced about three times, when holes have formed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tesela/cpu.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>

#include "bench_host.h"

#define ROUNDS 3u

struct filled {
    void **block;
    uint32_t *bytes;
    size_t count;
    size_t asked;
};

static size_t mixed_size(uint64_t *seed)
{
    size_t low = (size_t)16 << bench_below(seed, 9);
    return low + (size_t)bench_below(seed, low);
}

static int add(struct tsl_heap *heap, struct filled *self, uint64_t *seed)
{
    size_t bytes = mixed_size(seed);
    void *block = tsl_heap_alloc(heap, bytes);

    if (block == NULL)
        return 0;
    self->block[self->count] = block;
    self->bytes[self->count++] = (uint32_t)bytes;
    self->asked += bytes;
    return 1;
}

static void fill(struct tsl_heap *heap, struct filled *self, uint64_t *seed)
{
    while (add(heap, self, seed))
        continue;
}

static void drop(struct tsl_heap *heap, struct filled *self, size_t index)
{
    bench_require(tsl_heap_free(heap, self->block[index]) == TSL_OK, "a free was refused");
    self->asked -= self->bytes[index];
    self->count--;
    self->block[index] = self->block[self->count];
    self->bytes[index] = self->bytes[self->count];
}

/* As often as three times the blocks: one goes, one that is just as likely large comes if it can;
 * then the heap is filled again. */
static void replace(struct tsl_heap *heap, struct filled *self, uint64_t *seed)
{
    for (size_t i = 3 * self->count; i > 0; i--) {
        drop(heap, self, (size_t)bench_below(seed, self->count));
        (void)add(heap, self, seed);
    }
    fill(heap, self, seed);
}

static void percent(const char *name, const char *suffix, double part, double whole)
{
    printf("row %s%s percent %.2f %u\n", name, suffix, 100 * part / whole, ROUNDS);
}

int main(int count, char **words)
{
    size_t bytes = (size_t)(count > 1 ? atoi(words[1]) : 64) << 20;
    const char *suffix = count > 2 ? words[2] : "";
    void *array = aligned_alloc(TSL_PAGE_BYTES, bytes);
    struct filled self = {.block = malloc(bytes / 16 * sizeof(void *)),
                          .bytes = malloc(bytes / 16 * sizeof(uint32_t))};
    double first = 0, later = 0, own = 0;

    bench_require(array != NULL && self.block != NULL && self.bytes != NULL, "memory");
    tsl_cpu_join();
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tsl_heap *heap;
        struct tsl_heap_stats stats;
        uint64_t seed = 12345 + round;
        bench_require(tsl_heap_create_fixed(array, bytes, &heap) == TSL_OK, "the heap");
        fill(heap, &self, &seed);
        first += (double)self.asked / ROUNDS;
        tsl_heap_stats(heap, &stats);
        own += (double)stats.bookkeeping_bytes / ROUNDS;
        replace(heap, &self, &seed);
        later += (double)self.asked / ROUNDS;
        while (self.count > 0)
            drop(heap, &self, self.count - 1);
        bench_require(tsl_heap_destroy(heap) == TSL_OK, "the heap is not empty at the end");
    }
    percent("heap.fill", suffix, first, (double)bytes);
    percent("heap.fill_later", suffix, later, (double)bytes);
    percent("heap.bookkeeping", suffix, own, (double)bytes);
    return 0;
}
