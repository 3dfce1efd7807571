/* SPDX-License-Identifier: MIT
 *
 * frame_counts.h: how many slots name a frame.
 *
 * Owns:    struct tsl_frame_counts: 32 bits for each frame in 4 MiB of which spaces use a part.
 * Needs:   physical_allocator, heap_allocator.
 * Callers: vm.c, space_*.c, object.c. No lock: counts are atomic.
 *
 * A count that reaches TSL_FRAME_COUNT_MAX stays there: such a frame is never freed, and always
 * counts as shared. Wrapping would free a page that is in use.
 */
#ifndef TESELA_FRAME_COUNTS_H
#define TESELA_FRAME_COUNTS_H

#include <tesela/heap_allocator.h>
#include <tesela/physical_allocator.h>

#define TSL_FRAME_COUNT_MAX UINT32_MAX

struct tsl_frame_counts {
    struct tsl_frames *frames;
    struct tsl_heap *heap;
    size_t chunks;
    tsl_word *chunk;  /* addresses of 1024 counts each; 0: none of them is counted yet */
    tsl_word counted; /* frames with a count */
};

TSL_MUST_CHECK enum tsl_status tsl_frame_counts_init(struct tsl_frame_counts *self,
                                                     struct tsl_frames *frames,
                                                     struct tsl_heap *heap);

/* Before: nothing is counted. */
void tsl_frame_counts_fini(struct tsl_frame_counts *self);

/* Makes the count of a frame that nobody names 1. Errors: TSL_NO_MEMORY. */
TSL_MUST_CHECK enum tsl_status tsl_frame_counts_begin(struct tsl_frame_counts *self,
                                                      struct tsl_frame frame);

/* Before, here and below: the frame is counted. */
uint32_t tsl_frame_counts_of(const struct tsl_frame_counts *self, struct tsl_frame frame);
void tsl_frame_counts_get(struct tsl_frame_counts *self, struct tsl_frame frame);

/* True: nobody names the frame any more, and the caller frees it. */
TSL_MUST_CHECK bool tsl_frame_counts_put(struct tsl_frame_counts *self, struct tsl_frame frame);

#endif
