/* SPDX-License-Identifier: MIT
 *
 * frames_hotplug.c: frames that leave the allocator and come back.
 *
 * Owns:    the list of absent ranges, the zones' totals after creation.
 * Needs:   frames_run.c (taking and giving a range of addresses).
 * Callers: the public functions of frames_hotplug.h; frames_create.c.
 *
 * An absent frame is taken, as a reserved one is, but counted neither as reserved nor in its zone's
 * total. Removing takes first and counts afterwards, adding counts first and gives afterwards, so
 * that free frames are never more than the total.
 */
#include "physical_allocator_internal.h"

#include <tesela/checked.h>
#include <tesela/frames_hotplug.h>

tsl_word tsl_frames_absent_count(const struct tsl_frames *self)
{
    tsl_word count = 0;
    for (unsigned i = 0; i < self->absent_count; i++)
        count += self->absent[i].end - self->absent[i].first;
    return count;
}

/* Adds the frames of a range to the totals of their zones, or takes them away; how many. */
static tsl_word move_totals(struct tsl_frames *self, const struct frames_range *range,
                            bool is_added)
{
    tsl_word count = 0;
    for (tsl_word number = range->first; number < range->end;) {
        const struct frames_span *span = tsl_frames_span_of(self, number);
        TSL_ASSERT(span != NULL);
        tsl_word index = number - span->shift;
        tsl_word part = AREA_FRAMES - index % AREA_FRAMES;
        part = part < span->end - number ? part : span->end - number;
        part = part < range->end - number ? part : range->end - number;
        struct frames_zone *zone = &self->zone[zone_of(self, index / AREA_FRAMES)];
        tsl_atomic_store(&zone->total, is_added ? zone->total + part : zone->total - part);
        number += part;
        count += part;
    }
    return count;
}

static bool is_managed(const struct tsl_frames *self, const struct frames_range *range)
{
    for (tsl_word number = range->first; number < range->end;) {
        const struct frames_span *span = tsl_frames_span_of(self, number);
        if (span == NULL)
            return false;
        number = span->end;
    }
    return true;
}

static enum tsl_status check(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                             struct frames_range *out)
{
    tsl_paddr last;
    if (!TSL_FRAME_HOTPLUG)
        return TSL_UNSUPPORTED;
    if (bytes == 0)
        return TSL_INVALID;
    if ((start | bytes) % TSL_PAGE_BYTES != 0)
        return TSL_MISALIGNED;
    if (!tsl_checked_last_paddr(start, bytes, &last) || last >= TSL_MAP_TOP)
        return TSL_NOT_FOUND;
    out->first = (tsl_word)(start >> TSL_PAGE_SHIFT);
    out->end = (tsl_word)(last >> TSL_PAGE_SHIFT) + 1;
    return is_managed(self, out) ? TSL_OK : TSL_NOT_FOUND;
}

TSL_COLD static enum tsl_status refuse(struct tsl_frames *self, enum tsl_status status,
                                       tsl_paddr start, const char *what)
{
    return tsl_refuse(&self->refusals, status, "frames: RAM at %#llx cannot be %s",
                      (unsigned long long)start, what);
}

/* Takes [range] out of the list of absent ones; its neighbours stay. */
static enum tsl_status forget(struct tsl_frames *self, const struct frames_range *range)
{
    for (unsigned i = 0; i < self->absent_count; i++) {
        struct frames_range *whole = &self->absent[i];
        if (range->first < whole->first || range->end > whole->end)
            continue;
        struct frames_range rest = {range->end, whole->end};
        bool has_both = whole->first < range->first && rest.first < rest.end;
        if (has_both && self->absent_count == FRAMES_MOST_ABSENT)
            return TSL_LIMIT;
        whole->end = range->first;
        if (has_both)
            self->absent[self->absent_count++] = rest;
        else if (rest.first < rest.end)
            *whole = rest;
        else if (whole->first == whole->end)
            *whole = self->absent[--self->absent_count];
        return TSL_OK;
    }
    return TSL_NOT_FOUND;
}

enum tsl_status tsl_frames_add_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    struct frames_range range = {0, 0};
    enum tsl_status status = check(self, start, bytes, &range);
    if (status == TSL_OK)
        status = forget(self, &range);
    if (status != TSL_OK)
        return refuse(self, status, start, "added");
    tsl_word count = move_totals(self, &range, true);
    (void)tsl_atomic_add(&self->reserved, count);
    TSL_ASSERT(tsl_frames_give_window(self, start, bytes) == TSL_OK);
    frames_watch(self);
    return TSL_OK;
}

/* The end of a range that is absent already, where another may grow; NULL if there is none. */
static struct frames_range *touching(struct tsl_frames *self, const struct frames_range *range)
{
    for (unsigned i = 0; i < self->absent_count; i++)
        if (self->absent[i].end == range->first || self->absent[i].first == range->end)
            return &self->absent[i];
    return NULL;
}

static enum tsl_status take_reserved(struct tsl_frames *self, const struct frames_range *range)
{
    tsl_word count = range->end - range->first;
    for (tsl_word number = range->first; number < range->end; number++)
        if (tsl_frames_is_free(self, (struct tsl_frame){number}))
            return TSL_WRONG_SIZE;
    return count <= tsl_atomic_load(&self->reserved) ? TSL_OK : TSL_WRONG_SIZE;
}

enum tsl_status tsl_frames_remove_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                        bool is_reserved)
{
    struct frames_range range = {0, 0};
    enum tsl_status status = check(self, start, bytes, &range);
    for (unsigned i = 0; status == TSL_OK && i < self->absent_count; i++)
        if (self->absent[i].first < range.end && range.first < self->absent[i].end)
            status = TSL_NOT_FOUND; /* gone already */
    struct frames_range *grown = touching(self, &range);
    if (status == TSL_OK && grown == NULL && self->absent_count == FRAMES_MOST_ABSENT)
        status = TSL_LIMIT;
    if (status == TSL_OK)
        status =
            is_reserved ? take_reserved(self, &range) : tsl_frames_take_window(self, start, bytes);
    if (status != TSL_OK)
        return refuse(self, status, start, "removed");
    tsl_word count = move_totals(self, &range, false);
    (void)tsl_atomic_sub(&self->reserved, count);
    if (grown == NULL)
        self->absent[self->absent_count++] = range;
    else if (grown->end == range.first)
        grown->end = range.end;
    else
        grown->first = range.first;
    frames_watch(self);
    return TSL_OK;
}

struct tsl_defect tsl_frames_absent_verify(const struct tsl_frames *self)
{
    /* The second bound is for the compiler, which sees an array of one where there is no hotplug. */
    for (unsigned i = 0; i < self->absent_count && i < TSL_COUNT_OF(self->absent); i++) {
        const struct frames_range *range = &self->absent[i];
        bool is_good = range->first < range->end && is_managed(self, range);
        for (tsl_word number = range->first; is_good && number < range->end; number++)
            is_good = !tsl_frames_is_free(self, (struct tsl_frame){number});
        for (unsigned k = 0; k < i; k++)
            is_good = is_good &&
                      (self->absent[k].end <= range->first || range->end <= self->absent[k].first);
        if (!is_good)
            return tsl_defect_at("frames", 16, i, "absent ranges are managed, apart, and not free");
    }
    return TSL_NO_DEFECT;
}
