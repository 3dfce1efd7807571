/* SPDX-License-Identifier: MIT
 *
 * frames_flat.c: blocks out of flat bitmaps: zones from the highest down, the lowest place in each.
 *
 * Owns:    which frames are free, the counts of zones.
 * Needs:   base (bits.h, lock.h).
 * Callers: everybody who wants frames; the other files of this core.
 */
#include "frames_flat.h"

#include <string.h>

#define DMA_FRAMES   ((tsl_word)4096)
#define DMA32_FRAMES ((tsl_word)1 << 20)

tsl_word tsl_flat_limit(const struct tsl_frames *self, unsigned flags)
{
    tsl_word limit = self->end;

    if ((flags & TSL_FRAMES_LOW) != 0 && limit > self->low_end)
        limit = self->low_end;
    if ((flags & TSL_FRAMES_DMA32) != 0 && limit > DMA32_FRAMES)
        limit = DMA32_FRAMES;
    if ((flags & TSL_FRAMES_DMA) != 0 && limit > DMA_FRAMES)
        limit = DMA_FRAMES;
    return limit;
}

tsl_word tsl_flat_kept(const struct tsl_frames *self, unsigned flags)
{
    if ((flags & TSL_FRAMES_EXIT) != 0)
        return 0;
    tsl_word kept = self->reserves[0] + ((flags & TSL_FRAMES_RECLAIM) != 0 ? 0 : self->reserves[1]);
    return kept < self->reserves[0] ? ~(tsl_word)0 : kept;
}

enum tsl_status tsl_flat_check_flags(struct tsl_frames *self, unsigned flags)
{
    const unsigned known = TSL_FRAMES_LOW | TSL_FRAMES_DMA | TSL_FRAMES_DMA32 | TSL_FRAMES_RECLAIM |
                           TSL_FRAMES_EXIT | TSL_FRAMES_ZERO | TSL_FRAMES_NODE_FLAGS;

    /* There is one node, which all that is said about nodes is about. */
    if ((flags & ~known) != 0 || (flags & ~0xffffu) > TSL_FRAMES_NODE(0))
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: unknown flags %#x", flags);
    if ((flags & TSL_FRAMES_ZERO) != 0 && (flags & TSL_FRAMES_LOW) == 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID,
                          "frames: only low frames can be zeroed (flags %#x)", flags);
    }
    return TSL_OK;
}

tsl_word tsl_flat_zone_spare(const struct tsl_frames *self, unsigned zone, tsl_word limit,
                             unsigned flags)
{
    tsl_word kept = 0;

    for (unsigned i = zone + 1; i < TSL_ZONE_COUNT && (flags & TSL_FRAMES_EXIT) == 0; i++)
        if (self->zone[i].total > 0 && self->zone[i].first < limit)
            kept = self->zone[zone].reserve;
    tsl_word free = self->zone[zone].free;
    return free > kept ? free - kept : 0;
}

/* => locked. Counts are changed by `step` (1 or -1) for each frame. */
static void account(struct tsl_frames *self, tsl_word first, tsl_word count, tsl_word step)
{
    for (struct flat_zone *zone = self->zone; zone < self->zone + TSL_ZONE_COUNT; zone++) {
        tsl_word from = first > zone->first ? first : zone->first;
        tsl_word to = first + count < zone->end ? first + count : zone->end;
        if (from >= to)
            continue;
        zone->free += (to - from) * step;
        if (step != 1 ? zone->lowest == from : zone->lowest > from)
            zone->lowest = step != 1 ? to : from;
    }
    self->free_count += count * step;
    if (self->total - self->free_count > self->peak)
        self->peak = self->total - self->free_count;
}

/* Areas that lie wholly in a range: the first of them; how many. */
static tsl_word whole_areas(tsl_word first, tsl_word count, tsl_word *out)
{
    tsl_word area = (first + TSL_FRAMES_PER_AREA - 1) / TSL_FRAMES_PER_AREA;
    tsl_word end = (first + count) / TSL_FRAMES_PER_AREA;

    *out = end > area ? end - area : 0;
    return area;
}

void tsl_flat_take(struct tsl_frames *self, tsl_word first, tsl_word count, bool is_huge)
{
    tsl_word areas, area = whole_areas(first, count, &areas);

    tsl_bits_clear_range(self->free, first, count);
    if (is_huge)
        tsl_bits_set_range(self->huge, area, areas);
    account(self, first, count, ~(tsl_word)0);
}

void tsl_flat_give(struct tsl_frames *self, tsl_word first, tsl_word count)
{
    tsl_word areas, area = whole_areas(first, count, &areas);

    tsl_bits_set_range(self->free, first, count);
    tsl_bits_clear_range(self->huge, area, areas);
    account(self, first, count, 1);
}

enum tsl_status tsl_flat_check(const struct tsl_frames *self, tsl_word first, tsl_word count)
{
    if (first >= self->end || count > self->end - first ||
        !tsl_bits_all_set(self->managed, first, count))
        return TSL_FOREIGN;
    tsl_word free = tsl_bits_count_range(self->free, first, count);
    tsl_word end = first + count, areas, area = whole_areas(first, count, &areas);
    tsl_word last = (end - 1) / TSL_FRAMES_PER_AREA, begin = first / TSL_FRAMES_PER_AREA;

    if (free == count)
        return TSL_DOUBLE_FREE;
    /* Whole areas as what they were taken, parts of areas never out of such. */
    bool is_whole = tsl_bits_all_set(self->huge, area, areas) &&
                    (areas == last - begin + 1 ||
                     tsl_bits_count_range(self->huge, begin, last - begin + 1) == areas);
    return free == 0 && is_whole ? TSL_OK : TSL_WRONG_SIZE;
}

enum tsl_status tsl_flat_refuse(struct tsl_frames *self, enum tsl_status status, tsl_word first,
                                tsl_word count)
{
    return tsl_refuse(&self->refusals, status, "frames: %s of %lu frames from number %#lx on",
                      tsl_status_name(status), (unsigned long)count, (unsigned long)first);
}

void tsl_flat_fill_zero(struct tsl_frame first, tsl_word count)
{
    void *memory = tsl_port_phys_to_virt(tsl_frame_address(first));

    TSL_ASSERT(memory != NULL);
    memset(memory, 0, count << TSL_PAGE_SHIFT);
}

/* => locked. The first frame of a block; 0: there is none. */
static tsl_word take_block(struct tsl_frames *self, tsl_word count, unsigned flags)
{
    tsl_word limit = tsl_flat_limit(self, flags), kept = tsl_flat_kept(self, flags);

    if (self->free_count < kept || self->free_count - kept < count)
        return 0;
    for (unsigned i = TSL_ZONE_COUNT; i-- > 0;) {
        struct flat_zone *zone = &self->zone[i];
        tsl_word end = limit < zone->end ? limit : zone->end;
        if (end <= zone->lowest || tsl_flat_zone_spare(self, i, limit, flags) < count)
            continue;
        tsl_word first = tsl_bits_find_set_run(self->free, end, zone->lowest, count, count);
        if (first != TSL_BITS_NONE) {
            tsl_flat_take(self, first, count, true);
            return first;
        }
    }
    return 0;
}

enum tsl_status tsl_flat_alloc(struct tsl_frames *self, unsigned order, unsigned flags,
                               bool is_counted, struct tsl_frame *out)
{
    if (order > TSL_FRAMES_MAX_ORDER) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: order %u is above %u", order,
                          TSL_FRAMES_MAX_ORDER);
    }
    enum tsl_status status = tsl_flat_check_flags(self, flags);
    if (status != TSL_OK)
        return status;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_frame frame = {take_block(self, (tsl_word)1 << order, flags)};
    self->failures[order] += is_counted && frame.number == 0;
    tsl_lock_release(&self->lock, pin);
    if (frame.number == 0)
        return TSL_NO_MEMORY;
    if ((flags & TSL_FRAMES_ZERO) != 0)
        tsl_flat_fill_zero(frame, (tsl_word)1 << order);
    *out = frame;
    return TSL_OK;
}

enum tsl_status tsl_frames_alloc(struct tsl_frames *self, unsigned order, unsigned flags,
                                 struct tsl_frame *out)
{
    return tsl_flat_alloc(self, order, flags, true, out);
}

enum tsl_status tsl_flat_free(struct tsl_frames *self, tsl_word first, tsl_word count)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_flat_check(self, first, count);

    if (status == TSL_OK)
        tsl_flat_give(self, first, count);
    tsl_lock_release(&self->lock, pin);
    return status == TSL_OK ? TSL_OK : tsl_flat_refuse(self, status, first, count);
}

enum tsl_status tsl_frames_free(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    tsl_word count = (tsl_word)1 << (order & 31);

    if (order > TSL_FRAMES_MAX_ORDER)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: free with order %u, above %u",
                          order, TSL_FRAMES_MAX_ORDER);
    if (frame.number % count != 0)
        return tsl_flat_refuse(self, TSL_MISALIGNED, frame.number, count);
    return tsl_flat_free(self, frame.number, count);
}
