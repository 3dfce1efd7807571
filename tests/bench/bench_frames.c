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
    .recovery_more = 12000000,
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
    bench_frames_rows();
    return 0;
}
