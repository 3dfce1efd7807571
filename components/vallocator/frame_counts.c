/* SPDX-License-Identifier: MIT
 *
 * frame_counts.c: a two-level table of reference counts, grown where frames are used.
 *
 * Owns:    the table.
 * Needs:   heap_allocator (both levels), physical_allocator (where frames end).
 * Callers: see frame_counts.h.
 */
#include "frame_counts.h"

#include <tesela/atomic.h>

enum { CHUNK_FRAMES = TSL_PAGE_BYTES / sizeof(uint32_t) };

/* Frame numbers end where the highest zone does. */
static tsl_word frames_end(struct tsl_frames *frames)
{
    tsl_paddr end = 0;
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++) {
        struct tsl_frames_zone_stats stats;
        if (tsl_frames_zone_stats(frames, (enum tsl_frames_zone)zone, &stats) == TSL_OK &&
            stats.end > end)
            end = stats.end;
    }
    return tsl_frame_of(end).number;
}

enum tsl_status tsl_frame_counts_init(struct tsl_frame_counts *self, struct tsl_frames *frames,
                                      struct tsl_heap *heap)
{
    size_t chunks = frames_end(frames) / CHUNK_FRAMES + 1u;
    tsl_word *chunk = tsl_heap_alloc_array(heap, chunks, sizeof(*chunk));
    if (!chunk)
        return TSL_NO_MEMORY;
    *self = (struct tsl_frame_counts){frames, heap, chunks, chunk, 0};
    return TSL_OK;
}

static void free_block(struct tsl_frame_counts *self, void *block)
{
    enum tsl_status status = tsl_heap_free(self->heap, block);
    TSL_ASSERT(status == TSL_OK);
}

void tsl_frame_counts_fini(struct tsl_frame_counts *self)
{
    for (size_t i = 0; i < self->chunks; i++)
        if (self->chunk[i])
            free_block(self, (void *)self->chunk[i]);
    free_block(self, self->chunk);
}

static uint32_t *place_of(const struct tsl_frame_counts *self, struct tsl_frame frame)
{
    uint32_t *chunk =
        (uint32_t *)tsl_atomic_load_acquire(&self->chunk[frame.number / CHUNK_FRAMES]);
    return chunk ? &chunk[frame.number % CHUNK_FRAMES] : NULL;
}

/* Two CPUs may want the same chunk: the one that comes second drops its own. */
static enum tsl_status add_chunk(struct tsl_frame_counts *self, size_t index)
{
    uint32_t *chunk = tsl_heap_alloc_array(self->heap, CHUNK_FRAMES, sizeof(uint32_t));
    if (!chunk)
        return TSL_NO_MEMORY;
    tsl_word none = 0;
    if (!tsl_atomic_compare_exchange(&self->chunk[index], &none, (tsl_word)chunk))
        free_block(self, chunk);
    return TSL_OK;
}

enum tsl_status tsl_frame_counts_begin(struct tsl_frame_counts *self, struct tsl_frame frame)
{
    TSL_ASSERT(frame.number / CHUNK_FRAMES < self->chunks);
    if (!place_of(self, frame) && add_chunk(self, frame.number / CHUNK_FRAMES) != TSL_OK)
        return TSL_NO_MEMORY;
    uint32_t before = tsl_atomic_exchange_u32(place_of(self, frame), 1);
    TSL_ASSERT(before == 0); /* a frame was freed while somebody named it */
    (void)tsl_atomic_add(&self->counted, 1);
    return TSL_OK;
}

uint32_t tsl_frame_counts_of(const struct tsl_frame_counts *self, struct tsl_frame frame)
{
    return tsl_atomic_load_acquire_u32(place_of(self, frame));
}

void tsl_frame_counts_get(struct tsl_frame_counts *self, struct tsl_frame frame)
{
    uint32_t *place = place_of(self, frame);
    uint32_t count = tsl_atomic_load_u32(place);
    while (count != TSL_FRAME_COUNT_MAX &&
           !tsl_atomic_compare_exchange_u32(place, &count, count + 1))
        ;
    TSL_ASSERT(count > 0);
}

bool tsl_frame_counts_put(struct tsl_frame_counts *self, struct tsl_frame frame)
{
    uint32_t *place = place_of(self, frame);
    uint32_t count = tsl_atomic_load_u32(place);
    while (count != TSL_FRAME_COUNT_MAX &&
           !tsl_atomic_compare_exchange_u32(place, &count, count - 1))
        ;
    TSL_ASSERT(count > 0);
    if (count != 1)
        return false;
    (void)tsl_atomic_sub(&self->counted, 1);
    return true;
}
