/* SPDX-License-Identifier: MIT
 *
 * frames_blocks.h: in what pieces the free memory lies, and what a CPU holds for itself.
 *
 * Owns:    nothing; reads only, takes no lock and waits for nobody: exact when no other CPU is in
 *          the allocator.
 * Needs:   physical_allocator.h.
 * Callers: reports, the monitor, whoever decides whether to compact.
 */
#ifndef TESELA_FRAMES_BLOCKS_H
#define TESELA_FRAMES_BLOCKS_H

#include <tesela/physical_allocator.h>

#define TSL_FRAMES_ALL (~0u) /* all nodes, all zones */

/* Each free frame is in the largest free block that it belongs to, and counted once, there. */
struct tsl_frames_blocks {
    tsl_word frames;
    tsl_word free[TSL_FRAMES_MAX_ORDER + 1]; /* blocks of each order */
};

struct tsl_frames_cpu_stats {
    unsigned node;
    tsl_word held; /* free frames that it has claimed; others get them when memory is short */
};

/*
 * Counts the free blocks of one node or all, one zone (enum tsl_frames_zone) or all.
 * Errors:  TSL_INVALID (no such node or zone), TSL_UNSUPPORTED (flat core), nothing written.
 * Cost:    O(bitmap words of those zones).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_count_blocks(const struct tsl_frames *self, unsigned node,
                                                       unsigned zone,
                                                       struct tsl_frames_blocks *out);

/*
 * Why a block of this order cannot be had, in thousandths: near 0 because there is little memory,
 * near 1000 because what there is lies in small pieces. -1000: it can be had.
 * Source:  Linux, mm/vmstat.c, fragmentation_index().
 */
int tsl_frames_fragmentation(const struct tsl_frames_blocks *blocks, unsigned order);

/* Fills *out for one CPU. Errors: TSL_INVALID (no such CPU). */
TSL_MUST_CHECK enum tsl_status tsl_frames_cpu_stats(const struct tsl_frames *self, unsigned cpu,
                                                    struct tsl_frames_cpu_stats *out);

#endif
