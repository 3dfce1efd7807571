/* SPDX-License-Identifier: MIT
 *
 * failing_alloc.h: allocations of which a test lets some fail.
 *
 * Owns:    macros over the allocating functions of heap and frames. The build includes it in front
 *          of each source that is compiled once more.
 * Needs:   a test that says which fail.
 * Callers: the compiler's command line.
 */
#ifndef FAILING_ALLOC_H
#define FAILING_ALLOC_H

#include <tesela/heap_allocator.h>
#include <tesela/physical_allocator.h>

/* Whether this one fails. */
bool failing_alloc(void);

static inline void *failing_heap_alloc(struct tsl_heap *heap, size_t bytes)
{
    return failing_alloc() ? NULL : tsl_heap_alloc(heap, bytes);
}

static inline void *failing_heap_alloc_array(struct tsl_heap *heap, size_t count, size_t bytes)
{
    return failing_alloc() ? NULL : tsl_heap_alloc_array(heap, count, bytes);
}

static inline enum tsl_status failing_frames_alloc(struct tsl_frames *frames, unsigned order,
                                                   unsigned flags, struct tsl_frame *out)
{
    return failing_alloc() ? TSL_NO_MEMORY : tsl_frames_alloc(frames, order, flags, out);
}

static inline tsl_word failing_frames_alloc_word(struct tsl_frames *frames, unsigned flags,
                                                 tsl_word count, struct tsl_frame *out)
{
    return failing_alloc() ? 0 : tsl_frames_alloc_word(frames, flags, count, out);
}

#define tsl_heap_alloc(heap, bytes)                 failing_heap_alloc(heap, bytes)
#define tsl_heap_alloc_array(heap, count, bytes)    failing_heap_alloc_array(heap, count, bytes)
#define tsl_frames_alloc(frames, order, flags, out) failing_frames_alloc(frames, order, flags, out)
#define tsl_frames_alloc_word(frames, flags, count, out)                                           \
    failing_frames_alloc_word(frames, flags, count, out)

#endif
