/* SPDX-License-Identifier: MIT
 *
 * report_off.c: a few figures in place of the component report.
 *
 * Owns:    nothing.
 * Needs:   the components' statistics.
 * Callers: tour.c, prompt.c.
 *
 * Built when TSL_REPORT is not set.
 */
#include "monitor.h"

#include <tesela/heap_report.h>
#include <tesela/physical_allocator.h>

void report(void)
{
    struct tsl_frames_stats frames;
    struct tsl_heap_stats heap;
    tsl_frames_stats(tsl_system()->frames, &frames);
    tsl_heap_stats(tsl_system()->heap, &heap);
    tsl_print(console(), "frames: %lu of %lu used, %lu at the peak\n", frames.used, frames.total,
              frames.peak);
    tsl_print(console(), "heap: %zu bytes live in %zu blocks, %zu of %zu bytes taken\n",
              heap.live_bytes, heap.live_blocks, heap.taken_bytes, heap.ceiling_bytes);
}
