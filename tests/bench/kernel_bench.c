/* SPDX-License-Identifier: MIT
 *
 * kernel_bench.c: the kernel behind the qemu rows of ./bench.
 *
 * Owns:    the list of rows.
 * Needs:   the facade, platform/pc; QEMU with -icount shift=0 and one CPU, where the time-stamp
 *          counter counts executed instructions.
 * Callers: platform/pc, on CPU 0.
 *
 * Each row is measured SAMPLES times with interrupts off, the cost of the empty loop subtracted;
 * the first round, which may fill caches and page tables, is thrown away.
 */
#include "kernel_bench.h"

#include <tesela/flush.h>
#include <tesela/heap_allocator.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/port.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/memory.h>

enum { BATCH = 2000 };

/* One operation, done `count` times; false when it failed. */
typedef bool (*operation)(unsigned count);

static void *batch[BATCH];
static unsigned short order_of_frees[BATCH];

static uint32_t instructions(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low;
}

static bool nothing(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        __asm__ volatile("" : : : "memory");
    return true;
}

static bool frame_pairs(unsigned count, unsigned order)
{
    struct tsl_frames *frames = tsl_system()->frames;
    struct tsl_frame frame;
    for (unsigned i = 0; i < count; i++)
        if (tsl_frames_alloc(frames, order, TSL_FRAMES_HIGH, &frame) != TSL_OK ||
            tsl_frames_free(frames, frame, order) != TSL_OK)
            return false;
    return true;
}

static bool frame_pair0(unsigned count)
{
    return frame_pairs(count, 0);
}

static bool frame_pair9(unsigned count)
{
    return frame_pairs(count, 9);
}

/* `count` frames in calls for 64, given back in the same calls. */
static bool frame_batches(unsigned count)
{
    static struct tsl_frame taken[64];
    struct tsl_frames *frames = tsl_system()->frames;
    tsl_word freed;
    for (unsigned i = 0; i < count; i += TSL_COUNT_OF(taken))
        if (tsl_frames_alloc_bulk(frames, 0, taken, TSL_COUNT_OF(taken)) != TSL_COUNT_OF(taken) ||
            tsl_frames_free_bulk(frames, taken, TSL_COUNT_OF(taken), &freed) != TSL_OK)
            return false;
    return true;
}

static bool kmalloc_pairs(unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        void *object = kmalloc(bytes);
        if (!object)
            return false;
        kfree(object);
    }
    return true;
}

static bool kmalloc_pair64(unsigned count)
{
    return kmalloc_pairs(count, 64);
}

static bool kmalloc_pair1k(unsigned count)
{
    return kmalloc_pairs(count, 1024);
}

static bool kmalloc_pair4k(unsigned count)
{
    return kmalloc_pairs(count, 4096);
}

static bool kmalloc_batch(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        batch[i] = kmalloc(64);
        if (!batch[i])
            return false;
    }
    return true;
}

static bool kfree_batch(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        kfree(batch[order_of_frees[i]]);
    return true;
}

static bool valloc_pairs(unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        void *memory = valloc(bytes, VM_READ | VM_WRITE);
        if (!memory)
            return false;
        vfree(memory);
    }
    return true;
}

static bool valloc_pair16k(unsigned count)
{
    return valloc_pairs(count, 16384);
}

static bool valloc_pair1m(unsigned count)
{
    return valloc_pairs(count, 1048576);
}

static bool valloc_pair4m(unsigned count)
{
    return valloc_pairs(count, 4194304);
}

/* Instructions of one call for `count` operations, the call itself not included. */
static bool measure(operation run, unsigned count, uint32_t *out)
{
    uint32_t start = instructions();
    bool good = nothing(count);
    uint32_t overhead = instructions() - start;
    start = instructions();
    good = run(count) && good;
    *out = instructions() - start - overhead;
    return good;
}

static uint32_t median(uint32_t *values)
{
    for (unsigned i = 1; i < SAMPLES; i++) {
        for (unsigned j = i; j > 0 && values[j] < values[j - 1]; j--) {
            uint32_t kept = values[j];
            values[j] = values[j - 1];
            values[j - 1] = kept;
        }
    }
    return values[SAMPLES / 2];
}

void bench_print_row(const char *name, uint32_t *values, unsigned count)
{
    tsl_print(platform_console(), "row %s instructions %u %u\n", name,
              (median(values) + count / 2) / count, (unsigned)SAMPLES);
}

void bench_print_flushes(const char *name, unsigned flushes, unsigned count)
{
    unsigned hundredths = flushes * 100 / (SAMPLES * count);
    if (flushes > 0)
        tsl_print(platform_console(), "note %s %u.%02u TLB flushes an operation\n", name,
                  hundredths / 100, hundredths % 100);
}

static bool row(const char *name, operation run, unsigned count)
{
    uint32_t values[SAMPLES];
    struct tsl_flush_counters before, after;
    tsl_pin pin = tsl_port_pin();
    bool good = measure(run, count, &values[0]);
    tsl_flush_counters(&before);
    for (unsigned i = 0; good && i < SAMPLES; i++)
        good = measure(run, count, &values[i]);
    tsl_flush_counters(&after);
    tsl_port_unpin(pin);
    if (!good) {
        tsl_print(platform_console(), "%s: an operation failed\n", name);
        return false;
    }
    bench_print_row(name, values, count);
    bench_print_flushes(name, (unsigned)(after.flushes - before.flushes), count);
    return true;
}

/* Allocations in a batch, then frees in random order: two rows out of the same rounds. */
static bool batch_rows(void)
{
    uint32_t allocs[SAMPLES], frees[SAMPLES];
    tsl_pin pin = tsl_port_pin();
    bool good = measure(kmalloc_batch, BATCH, &allocs[0]) && measure(kfree_batch, BATCH, &frees[0]);
    for (unsigned i = 0; good && i < SAMPLES; i++)
        good = measure(kmalloc_batch, BATCH, &allocs[i]) && measure(kfree_batch, BATCH, &frees[i]);
    tsl_port_unpin(pin);
    if (good) {
        bench_print_row("kmalloc.batch64", allocs, BATCH);
        bench_print_row("kfree.random64", frees, BATCH);
    }
    return good;
}

/* A fixed sequence, so that every run frees in the same order. Source: Fisher and Yates' shuffle
 * over a linear congruential generator (Numerical Recipes' constants). */
static void shuffle_frees(void)
{
    uint32_t seed = 12345;
    for (unsigned i = 0; i < BATCH; i++)
        order_of_frees[i] = (unsigned short)i;
    for (unsigned i = BATCH; i > 1; i--) {
        seed = seed * 1664525u + 1013904223u;
        unsigned other = (seed >> 8) % i;
        unsigned short kept = order_of_frees[i - 1];
        order_of_frees[i - 1] = order_of_frees[other];
        order_of_frees[other] = kept;
    }
}

static bool kmalloc_rows(void)
{
    return row("kmalloc.pair64", kmalloc_pair64, 1024) &&
           row("kmalloc.pair1k", kmalloc_pair1k, 1024) &&
           row("kmalloc.pair4k", kmalloc_pair4k, 1024) && batch_rows();
}

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    enum tsl_status status = platform_memory_start();
    if (status != TSL_OK) {
        tsl_print(platform_console(), "Tesela did not start: %s\n", tsl_status_name(status));
        return false;
    }
    char rows[8];
    shuffle_frees();
    /* For ./bench tiers, whatever the value. */
    if (platform_option("heap-only", rows, sizeof rows))
        return kmalloc_rows();
    return row("frames.pair0", frame_pair0, 1024) && row("frames.pair9", frame_pair9, 1024) &&
           row("frames.batch", frame_batches, 1024) && kmalloc_rows() &&
           row("valloc.pair16k", valloc_pair16k, 256) && row("valloc.pair1m", valloc_pair1m, 16) &&
           row("valloc.pair4m", valloc_pair4m, 16) && bench_space_rows() && bench_user_rows() &&
           bench_million_row();
}
