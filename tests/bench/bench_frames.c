/* SPDX-License-Identifier: MIT
 *
 * bench_frames.c: the rows frames.* over our allocator, 4 GiB of simulated memory.
 *
 * Owns:    the allocator.
 * Needs:   physical_allocator, kernel_layout, bench_frames_rows.h, bench_port.h.
 * Callers: ./bench frames (target bench-frames).
 */
#define _DEFAULT_SOURCE

#include <tesela/cpu.h>
#include <tesela/memory_map.h>
#include <tesela/physical_allocator.h>

#include "bench_frames_rows.h"
#include "bench_port.h"

#define RAM_BYTES ((uint64_t)ROWS_FRAMES * TSL_PAGE_BYTES)

static const struct rows_effort subject_effort = {
    .hot_pairs = 1000000,
    .churn_pairs = 1000000,
    .recovery_samples = 9,
    .recovery_more = 12u << 20,
    .threads = true,
};

static struct tsl_frames *frames;

static bool subject_alloc(unsigned order, uint32_t *out)
{
    struct tsl_frame frame;
    if (tsl_frames_alloc(frames, order, TSL_FRAMES_HIGH, &frame) != TSL_OK)
        return false;
    *out = (uint32_t)frame.number;
    return true;
}

static bool subject_free(uint32_t frame, unsigned order)
{
    return tsl_frames_free(frames, (struct tsl_frame){frame}, order) == TSL_OK;
}

static void subject_be_cpu(unsigned cpu)
{
    bench_be_cpu(cpu);
    tsl_cpu_join();
}

#define BATCH 64u

/* All memory in calls for BATCH frames, given back in the same batches: a frame. */
static void measure_batches(void)
{
    static struct tsl_frame taken[ROWS_FRAMES];
    struct bench_samples alloc = {.count = 0};
    struct bench_samples release = {.count = 0};
    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        tsl_word total = 0;
        tsl_word count = 0;
        double start = bench_now();
        while ((count = tsl_frames_alloc_bulk(frames, 0, &taken[total], BATCH)) > 0)
            total += count;
        bench_add(&alloc, start, (double)total);
        start = bench_now();
        for (tsl_word done = 0; done < total; done += count) {
            tsl_word batch = total - done < BATCH ? total - done : BATCH;
            enum tsl_status status = tsl_frames_free_bulk(frames, &taken[done], batch, &count);
            bench_require(status == TSL_OK, "a batch was refused");
        }
        bench_add(&release, start, (double)total);
    }
    bench_row("frames.batch_alloc", &alloc);
    bench_row("frames.batch_free", &release);
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
    subject_be_cpu(0);
    bench_ram_create(RAM_BYTES);
    frames = bench_frames_create(RAM_BYTES);
    report_metadata();
    measure_batches();
    bench_frames_rows();
    return 0;
}
