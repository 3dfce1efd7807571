/* SPDX-License-Identifier: MIT
 *
 * frames_flat_ranges.c: runs, split blocks, reserved ranges, lists of single frames.
 *
 * Owns:    the count of reserved frames.
 * Needs:   frames_flat.c.
 * Callers: everybody who wants frames.
 */
#include "frames_flat.h"

/* => locked. Where a run must end that begins in this zone: its tail may lie in the next ones, but
 * leaves them what they keep. */
static tsl_word tail_end(const struct tsl_frames *self, unsigned zone, tsl_word limit,
                         unsigned flags)
{
    for (unsigned i = zone + 1; i < TSL_ZONE_COUNT; i++) {
        const struct flat_zone *next = &self->zone[i];
        tsl_word spare = tsl_flat_zone_spare(self, i, limit, flags);
        if (next->total > 0 && spare < next->end - next->first && next->first + spare < limit)
            return next->first + spare;
    }
    return limit;
}

/* => locked. The lowest run in the highest zone that has one; what begins in a zone may end in the
 * next one. 0: there is none. */
static tsl_word take_run(struct tsl_frames *self, const struct tsl_frames_run *run, tsl_word align)
{
    tsl_word limit = tsl_flat_limit(self, run->flags), kept = tsl_flat_kept(self, run->flags);
    tsl_paddr limit_frame = run->limit >> TSL_PAGE_SHIFT;

    if (run->limit != 0 && limit_frame < limit)
        limit = (tsl_word)limit_frame;
    if (self->free_count < kept || self->free_count - kept < run->count)
        return 0;
    for (unsigned i = TSL_ZONE_COUNT; i-- > 0;) {
        const struct flat_zone *zone = &self->zone[i];
        tsl_word spare = tsl_flat_zone_spare(self, i, limit, run->flags);
        tsl_word from = zone->lowest, end = tail_end(self, i, limit, run->flags);
        if (spare == 0 || from >= end)
            continue;
        /* With more frames than the zone has to spare only the head may lie in it. */
        if (spare < run->count && zone->end - from > spare)
            from = zone->end - spare;
        tsl_word first = tsl_bits_find_set_run(self->free, end, from, run->count, align);
        if (first != TSL_BITS_NONE && first < zone->end) {
            tsl_flat_take(self, first, run->count, true);
            return first;
        }
    }
    return 0;
}

enum tsl_status tsl_frames_alloc_run(struct tsl_frames *self, const struct tsl_frames_run *run,
                                     struct tsl_frame *out)
{
    tsl_word align = run->align_frames == 0 ? 1 : run->align_frames;

    if (run->count == 0 || (align & (align - 1)) != 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID,
                          "frames: a run of %lu frames, aligned to %lu", (unsigned long)run->count,
                          (unsigned long)align);
    }
    enum tsl_status status = tsl_flat_check_flags(self, run->flags);
    if (status != TSL_OK)
        return status;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_frame first = {take_run(self, run, align)};
    self->run_failures += first.number == 0;
    tsl_lock_release(&self->lock, pin);
    if (first.number == 0)
        return TSL_NO_MEMORY;
    if ((run->flags & TSL_FRAMES_ZERO) != 0)
        tsl_flat_fill_zero(first, run->count);
    *out = first;
    return TSL_OK;
}

enum tsl_status tsl_frames_free_run(struct tsl_frames *self, struct tsl_frame first, tsl_word count)
{
    if (count == 0)
        return tsl_flat_refuse(self, TSL_INVALID, first.number, count);
    return tsl_flat_free(self, first.number, count);
}

enum tsl_status tsl_frames_split(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    tsl_word count = (tsl_word)1 << (order & 31);

    if (order < TSL_FRAMES_HUGE_ORDER || order > TSL_FRAMES_MAX_ORDER)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: split of order %u", order);
    if (frame.number % count != 0)
        return tsl_flat_refuse(self, TSL_MISALIGNED, frame.number, count);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = tsl_flat_check(self, frame.number, count);
    if (status == TSL_OK)
        tsl_bits_clear_range(self->huge, frame.number / TSL_FRAMES_PER_AREA,
                             count / TSL_FRAMES_PER_AREA);
    tsl_lock_release(&self->lock, pin);
    return status == TSL_OK ? TSL_OK : tsl_flat_refuse(self, status, frame.number, count);
}

tsl_word tsl_frames_alloc_bulk(struct tsl_frames *self, unsigned flags, struct tsl_frame *out,
                               tsl_word count)
{
    for (tsl_word done = 0; done < count; done++)
        if (tsl_frames_alloc(self, 0, flags, &out[done]) != TSL_OK)
            return done;
    return count;
}

enum tsl_status tsl_frames_free_bulk(struct tsl_frames *self, const struct tsl_frame *frames,
                                     tsl_word count, tsl_word *out_freed)
{
    enum tsl_status status = TSL_OK;
    tsl_word done = 0;

    while (done < count && (status = tsl_frames_free(self, frames[done], 0)) == TSL_OK)
        done++;
    *out_freed = done;
    return status;
}

/* Frames come in order, so that a word is full before the next one begins. */
tsl_word tsl_frames_alloc_word(struct tsl_frames *self, unsigned flags, tsl_word count,
                               struct tsl_frame *out_first)
{
    struct tsl_frame frame;
    tsl_word mask = 0;

    while (tsl_bits_count(mask) < count &&
           tsl_flat_alloc(self, 0, flags, mask == 0, &frame) == TSL_OK) {
        tsl_word bit = frame.number % TSL_WORD_BITS;
        if (mask == 0)
            out_first->number = frame.number - bit;
        if (frame.number - bit != out_first->number) {
            enum tsl_status status = tsl_frames_free(self, frame, 0);
            TSL_ASSERT(status == TSL_OK);
            break;
        }
        mask |= (tsl_word)1 << bit;
        if (mask == ~(tsl_word)0)
            break;
    }
    return mask;
}

enum tsl_status tsl_frames_free_word(struct tsl_frames *self, struct tsl_frame first, tsl_word mask)
{
    enum tsl_status status = TSL_OK;

    if (first.number % TSL_WORD_BITS != 0)
        return tsl_flat_refuse(self, TSL_MISALIGNED, first.number, 0);
    for (; mask != 0; mask &= mask - 1) {
        struct tsl_frame frame = {first.number + tsl_bits_lowest(mask)};
        enum tsl_status freed = tsl_frames_free(self, frame, 0);
        status = status == TSL_OK ? freed : status;
    }
    return status;
}

/* The frames that a range of addresses touches and that the bitmaps have. */
static tsl_word window_of(const struct tsl_frames *self, tsl_paddr start, tsl_paddr last,
                          tsl_word *end)
{
    tsl_paddr first = start >> TSL_PAGE_SHIFT, behind = (last >> TSL_PAGE_SHIFT) + 1;

    *end = behind < self->end ? (tsl_word)behind : self->end;
    return first < *end ? (tsl_word)first : *end;
}

/* => locked. Managed frames of a window and how many of them are free; those of huge areas count as
 * taken. */
static tsl_word count_managed(const struct tsl_frames *self, tsl_word first, tsl_word end,
                              tsl_word *free)
{
    *free = tsl_bits_count_range(self->free, first, end - first);
    return tsl_bits_count_range(self->managed, first, end - first);
}

/* => locked. Takes or gives every managed frame of a window, all of which are free or taken. */
static void change_window(struct tsl_frames *self, tsl_word first, tsl_word end, bool is_taken)
{
    while ((first = tsl_bits_find_set(self->managed, end, first)) != TSL_BITS_NONE) {
        tsl_word stop = tsl_bits_find_clear(self->managed, end, first);
        tsl_word count = (stop == TSL_BITS_NONE ? end : stop) - first;
        if (is_taken)
            tsl_flat_take(self, first, count, false);
        else
            tsl_flat_give(self, first, count);
        first += count;
    }
}

/* => locked */
static enum tsl_status reserve_window(struct tsl_frames *self, tsl_word first, tsl_word end)
{
    tsl_word free, managed = count_managed(self, first, end, &free);

    if (managed == 0)
        return TSL_NOT_FOUND;
    if (free != managed)
        return TSL_BUSY;
    change_window(self, first, end, true);
    self->reserved += managed;
    return TSL_OK;
}

/* => locked */
static enum tsl_status release_window(struct tsl_frames *self, tsl_word first, tsl_word end)
{
    tsl_word free, managed = count_managed(self, first, end, &free);

    if (managed == 0)
        return TSL_NOT_FOUND;
    if (free == managed)
        return TSL_DOUBLE_FREE;
    tsl_word area = first / TSL_FRAMES_PER_AREA, last = (end - 1) / TSL_FRAMES_PER_AREA;
    if (free > 0 || managed > self->reserved ||
        !tsl_bits_all_clear(self->huge, area, last - area + 1))
        return TSL_WRONG_SIZE;
    change_window(self, first, end, false);
    self->reserved -= managed;
    return TSL_OK;
}

static enum tsl_status change_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                    bool is_taken)
{
    enum tsl_status status = TSL_INVALID;
    tsl_paddr last;

    if (bytes != 0 && !tsl_checked_last_paddr(start, bytes, &last))
        status = TSL_OUT_OF_RANGE;
    else if (bytes != 0) {
        tsl_word end, first = window_of(self, start, last, &end);
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        status = is_taken ? reserve_window(self, first, end) : release_window(self, first, end);
        tsl_lock_release(&self->lock, pin);
    }
    if (status == TSL_OK)
        return TSL_OK;
    return tsl_refuse(&self->refusals, status, "frames: cannot %s %#llx + %#llx",
                      is_taken ? "reserve" : "release", (unsigned long long)start,
                      (unsigned long long)bytes);
}

enum tsl_status tsl_frames_reserve(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    return change_range(self, start, bytes, true);
}

enum tsl_status tsl_frames_release(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    return change_range(self, start, bytes, false);
}

void tsl_flat_reserve_free(struct tsl_frames *self, tsl_paddr start, tsl_paddr end)
{
    tsl_word stop, first = window_of(self, start, end - 1, &stop);

    for (; first < stop; first++) {
        if (tsl_bits_test(self->free, first)) {
            tsl_flat_take(self, first, 1, false);
            self->reserved++;
        }
    }
}
