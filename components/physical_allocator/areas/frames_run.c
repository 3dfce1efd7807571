/* SPDX-License-Identifier: MIT
 *
 * frames_run.c: runs of any length and alignment, and reserved ranges of addresses.
 *
 * Owns:    the search for a run across areas; the count of reserved frames.
 * Needs:   frames_range.c, frames_tree.c, frames_place.c.
 * Callers: the public tsl_frames_alloc_run, _reserve, _release.
 *
 * The search looks at each bitmap word at most once a zone and skips areas without a free frame. It
 * starts in the highest zone that the request admits and goes down, so that the low zones, which
 * others cannot do without, are used last. A run begins in the zone that is searched and may end in a
 * higher one; it never crosses from one node to another.
 */
#include "frames_guard.h"

#include <tesela/checked.h>

/* Frame numbers from first to end (exclusive), out of which a run may be taken. */
struct window {
    tsl_word first;
    tsl_word stop; /* the run begins below it */
    tsl_word end;
};

/* The next number at or after `number` whose area may have free frames, `end` if there is none. */
static tsl_word skip_used_areas(const struct tsl_frames *self, const struct frames_span *span,
                                tsl_word number, tsl_word end)
{
    tsl_word area = (number - span->shift) / AREA_FRAMES;
    tsl_word last = (end - 1 - span->shift) / AREA_FRAMES;
    tsl_word found = tsl_frames_tree_find(&self->any, area, last + 1);
    if (found == area)
        return number;
    return found == FRAMES_NONE ? end : found * AREA_FRAMES + span->shift;
}

/* Rounds up; 0 if the result does not fit (frame 0 is never part of a span). */
static tsl_word align_number(tsl_word number, tsl_word align)
{
    return (number + (align - 1)) & ~(align - 1);
}

/* Takes the lowest run in one span. */
static bool take_in_span(struct tsl_frames *self, const struct frames_span *span,
                         const struct window *window, const struct tsl_frames_run *run,
                         tsl_word *out)
{
    tsl_word align = run->align_frames == 0 ? 1 : run->align_frames;
    tsl_word end = span->end < window->end ? span->end : window->end;
    tsl_word number = span->first > window->first ? span->first : window->first;
    while (number < end && number < window->stop) {
        tsl_word start = align_number(skip_used_areas(self, span, number, end), align);
        if (start < number || start >= end || start >= window->stop || end - start < run->count)
            return false;
        tsl_word index = start - span->shift;
        tsl_word free = tsl_frames_range_free(self, index, run->count);
        if (free == run->count && tsl_frames_range_take(self, index, run->count, RANGE_HUGE)) {
            *out = start;
            return true;
        }
        /* Behind what stops it; if another CPU was faster, behind the first frame. */
        number = start + (free < run->count ? free : 0) + 1;
    }
    return false;
}

static bool take_in_window(struct tsl_frames *self, const struct frames_node *node,
                           const struct window *window, const struct tsl_frames_run *run,
                           tsl_word *out)
{
    for (tsl_word i = node->first_span; i < node->end_span; i++) {
        const struct frames_span *span = &self->spans[i];
        if (span->end > window->first && span->first < window->end &&
            take_in_span(self, span, window, run, out))
            return true;
    }
    return false;
}

/* The first frame number of an area. */
static tsl_word area_number(const struct tsl_frames *self, tsl_word area)
{
    return area * AREA_FRAMES + tsl_frames_shift_of(self, area);
}

static struct frames_route run_route(struct tsl_frames *self, unsigned flags)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_route route = route_of(self, flags);
    tsl_cpu_unpin(pin);
    return route;
}

/* The first frame number behind a zone. Before: the zone has areas. */
static tsl_word zone_stop(const struct tsl_frames *self, const struct frames_zone *zone)
{
    return area_number(self, zone->end_area - 1) + AREA_FRAMES;
}

/* Where a run must end that begins in this zone: its tail may lie in the next ones of the node, but
 * leaves them what they keep. */
static tsl_word tail_end(const struct tsl_frames *self, unsigned zone, unsigned flags)
{
    unsigned end = (zone_node(zone) + 1) * TSL_ZONE_COUNT;
    for (unsigned next = zone + 1; next < end; next++) {
        const struct frames_zone *place = &self->zone[next];
        if (place->first_area == place->end_area)
            continue;
        tsl_word first = area_number(self, place->first_area);
        tsl_word spare = tsl_frames_zone_spare(self, next, flags);
        if (spare < zone_stop(self, place) - first)
            return first + spare;
    }
    return WORD_FULL;
}

/* Where a run may lie that begins in this zone; false: nowhere. */
static bool window_of_zone(const struct tsl_frames *self, unsigned zone,
                           const struct tsl_frames_run *run, struct window *out)
{
    const struct frames_zone *place = &self->zone[zone];
    tsl_word limit = tsl_frames_flag_limit(self, zone_node(zone), run->flags);
    tsl_word spare = tsl_frames_zone_spare(self, zone, run->flags);
    if (place->first_area == place->end_area || place->first_area >= limit || spare == 0)
        return false;
    out->first = area_number(self, place->first_area);
    out->stop = zone_stop(self, place);
    /* With more frames than the zone has to spare only the head may lie in it. */
    if (spare < run->count && out->stop - out->first > spare)
        out->first = out->stop - spare;
    out->end = tail_end(self, zone, run->flags);
    if (limit < self->node[zone_node(zone)].end_area && area_number(self, limit) < out->end)
        out->end = area_number(self, limit);
    tsl_paddr limit_frame = run->limit >> TSL_PAGE_SHIFT;
    if (run->limit != 0 && limit_frame < out->end)
        out->end = (tsl_word)limit_frame;
    return out->first < out->end;
}

/* Whether the zones in which a run lies that begins in this one still have what they keep. */
static bool zones_are_kept(const struct tsl_frames *self, unsigned zone,
                           const struct tsl_frames_run *run, tsl_word first)
{
    unsigned end = (zone_node(zone) + 1) * TSL_ZONE_COUNT;
    for (unsigned next = zone; next < end; next++) {
        const struct frames_zone *place = &self->zone[next];
        if (place->first_area == place->end_area)
            continue;
        if (area_number(self, place->first_area) >= first + run->count)
            break;
        if (!tsl_frames_zone_is_kept(self, next, run->flags))
            return false;
    }
    return true;
}

static bool take_run(struct tsl_frames *self, const struct tsl_frames_run *run, tsl_word *out)
{
    struct frames_route route = run_route(self, run->flags);
    for (unsigned step = 0; step < zone_count(self); step++) {
        unsigned zone = route_zone(self, &route, step);
        const struct frames_node *node = &self->node[zone_node(zone)];
        struct window window;
        if ((route.is_bound && zone_node(zone) != route.node) ||
            !window_of_zone(self, zone, run, &window) ||
            !take_in_window(self, node, &window, run, out))
            continue;
        if (TSL_LIKELY(zones_are_kept(self, zone, run, *out))) {
            if (TSL_NODES > 1 && zone_node(zone) != route.node)
                tsl_frames_count_elsewhere(self, route.node);
            return true;
        }
        tsl_frames_step_back(self, *out, run->count);
    }
    return false;
}

/* What is found, or what other CPUs give back: they may have claimed again what we look for. */
static bool take_run_or_ask(struct tsl_frames *self, const struct tsl_frames_run *run,
                            tsl_word *out)
{
    for (unsigned tries = 0; tries < FRAMES_REQUESTS; tries++) {
        tsl_word seen = frames_returns(self);
        if (take_run(self, run, out))
            return true;
        if (!frames_ask(self, 1, run->flags, seen))
            return false;
    }
    return false;
}

/* As take_run_or_ask, but the reserves are left: who took at the same moment as others looks
 * again. */
static bool take_allowed_run(struct tsl_frames *self, const struct tsl_frames_run *run,
                             tsl_word *out)
{
    for (unsigned tries = 0; tries < FRAMES_REQUESTS; tries++) {
        if (!tsl_frames_reserve_allows(self, run->count, run->flags) ||
            !take_run_or_ask(self, run, out))
            return false;
        if (TSL_LIKELY(tsl_frames_reserve_allows(self, 0, run->flags)))
            return true;
        tsl_frames_step_back(self, *out, run->count);
    }
    return false;
}

static void note_peak(struct tsl_frames *self)
{
    tsl_pin pin = tsl_cpu_pin();
    tsl_frames_note_peak(self);
    tsl_cpu_unpin(pin);
}

static enum tsl_status alloc_run(struct tsl_frames *self, const struct tsl_frames_run *run,
                                 struct tsl_frame *out)
{
    if (run->count == 0)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: a run of no frames");
    if ((run->align_frames & (run->align_frames - 1)) != 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID,
                          "frames: a run's alignment of %lu frames is no power of two",
                          (unsigned long)run->align_frames);
    }
    enum tsl_status status = tsl_frames_check_flags(self, run->flags);
    if (status != TSL_OK)
        return status;
    struct tsl_frame frame;
    bool is_taken, may_wake;
    do {
        may_wake = frames_bank_sleeps(self);
        is_taken = take_allowed_run(self, run, &frame.number);
    } while (!is_taken && (may_wake || frames_bank_sleeps(self)) && tsl_frames_bank_wake(self));
    if (is_taken)
        note_peak(self); /* before the kernel hears of it, which may free some */
    frames_watch(self);
    if (!is_taken) {
        (void)tsl_atomic_add(&self->run_failures, 1);
        return TSL_NO_MEMORY;
    }
    if ((run->flags & TSL_FRAMES_ZERO) != 0)
        tsl_frames_fill_zero(frame, run->count);
    *out = frame;
    return TSL_OK;
}

/* As alloc_run, but only what the guard has nothing against. */
static enum tsl_status alloc_run_guarded(struct tsl_frames *self, const struct tsl_frames_run *run,
                                         const struct frames_taker *taker, struct tsl_frame *out)
{
    struct tsl_frames_run bare = *run;
    bare.flags = guard_flags(run->flags);
    struct tsl_frame frame = {0};
    enum tsl_status status;
    do {
        status = alloc_run(self, &bare, &frame);
        if (status != TSL_OK)
            return status;
    } while (!tsl_frames_guard_took(self, frame.number, run->count, run->flags, taker));
    *out = frame;
    return TSL_OK;
}

enum tsl_status tsl_frames_alloc_run(struct tsl_frames *self, const struct tsl_frames_run *run,
                                     struct tsl_frame *out)
{
    if (!FRAMES_GUARDED)
        return alloc_run(self, run, out);
    const struct frames_taker taker = FRAMES_TAKER(TSL_FRAMES_BY_RUN, 0);
    return alloc_run_guarded(self, run, &taker, out);
}

/* A range of addresses as frame numbers, rounded outwards. */
static enum tsl_status window_of(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                 struct window *out)
{
    tsl_paddr last;
    if (bytes == 0)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: a range of 0 bytes");
    if (!tsl_checked_last_paddr(start, bytes, &last)) {
        return tsl_refuse(&self->refusals, TSL_OUT_OF_RANGE, "frames: range %#llx + %#llx wraps",
                          (unsigned long long)start, (unsigned long long)bytes);
    }
    tsl_paddr first = start >> TSL_PAGE_SHIFT;
    tsl_paddr end = (last >> TSL_PAGE_SHIFT) + 1;
    out->first = first < WORD_FULL ? (tsl_word)first : WORD_FULL;
    out->end = end < WORD_FULL ? (tsl_word)end : WORD_FULL;
    out->stop = out->end;
    return TSL_OK;
}

/* The part of a span within a window, as indexes; false if it is empty. */
static bool clip(const struct frames_span *span, const struct window *window, tsl_word *index,
                 tsl_word *count)
{
    tsl_word first = span->first > window->first ? span->first : window->first;
    tsl_word end = span->end < window->end ? span->end : window->end;
    if (first >= end)
        return false;
    *index = first - span->shift;
    *count = end - first;
    return true;
}

/* Gives back what lies in the spans before `end_span`. */
static void undo_reserve(struct tsl_frames *self, const struct window *window, tsl_word end_span)
{
    for (tsl_word i = 0; i < end_span; i++) {
        tsl_word index, count;
        if (clip(&self->spans[i], window, &index, &count))
            tsl_frames_range_return(self, index, count, RANGE_BITS);
    }
}

static enum tsl_status reserve_window(struct tsl_frames *self, const struct window *window,
                                      tsl_word *out)
{
    tsl_word total = 0;
    for (tsl_word i = 0; i < self->span_count; i++) {
        tsl_word index, count;
        if (!clip(&self->spans[i], window, &index, &count))
            continue;
        if (tsl_frames_range_free(self, index, count) != count ||
            !tsl_frames_range_take(self, index, count, RANGE_BITS)) {
            undo_reserve(self, window, i);
            return TSL_BUSY;
        }
        total += count;
    }
    *out = total;
    return total == 0 ? TSL_NOT_FOUND : TSL_OK;
}

static void guard_window(struct tsl_frames *self, const struct window *window, tsl_word site)
{
    for (tsl_word i = 0; i < self->span_count; i++) {
        tsl_word index, count;
        if (clip(&self->spans[i], window, &index, &count))
            tsl_frames_guard_reserved(self, index, count, site);
    }
}

/* site: who wants them; 0: we ourselves. */
static enum tsl_status take_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                   tsl_word site)
{
    struct window window = {0};
    tsl_word count = 0;
    enum tsl_status status = window_of(self, start, bytes, &window);
    for (unsigned tries = 0; status == TSL_OK && tries < FRAMES_REQUESTS; tries++) {
        tsl_word seen = frames_returns(self);
        status = reserve_window(self, &window, &count);
        if (status != TSL_BUSY || !frames_ask(self, 1, 0, seen))
            break;
        status = tries + 1 < FRAMES_REQUESTS ? TSL_OK : TSL_BUSY;
    }
    if (status == TSL_OK)
        (void)tsl_atomic_add(&self->reserved, count);
    if (FRAMES_GUARDED && status == TSL_OK)
        guard_window(self, &window, site);
    return status;
}

/* A refusal of a range, unless it was counted and logged where it arose. */
static enum tsl_status told(struct tsl_frames *self, enum tsl_status status, const char *what,
                            tsl_paddr start, uint64_t bytes)
{
    if (status == TSL_OK || status == TSL_INVALID || status == TSL_OUT_OF_RANGE)
        return status;
    return tsl_refuse(&self->refusals, status, "frames: cannot %s %#llx + %#llx", what,
                      (unsigned long long)start, (unsigned long long)bytes);
}

enum tsl_status tsl_frames_take_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    return take_window(self, start, bytes, 0);
}

enum tsl_status tsl_frames_reserve(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    enum tsl_status status = take_window(self, start, bytes, (tsl_word)TSL_RETURN_ADDRESS());
    if (status == TSL_OK) {
        note_peak(self);
        frames_watch(self);
    }
    return told(self, status, "reserve", start, bytes);
}

/* Whether the whole window may be released, and how many frames that are. */
static enum tsl_status check_release(const struct tsl_frames *self, const struct window *window,
                                     tsl_word *out)
{
    tsl_word total = 0;
    for (tsl_word i = 0; i < self->span_count; i++) {
        tsl_word index, count;
        if (!clip(&self->spans[i], window, &index, &count))
            continue;
        enum tsl_status status = tsl_frames_range_check(self, index, count, RANGE_BITS);
        if (status != TSL_OK)
            return status;
        total += count;
    }
    *out = total;
    if (total > tsl_atomic_load(&self->reserved))
        return TSL_WRONG_SIZE;
    return total == 0 ? TSL_NOT_FOUND : TSL_OK;
}

/* fills: the frames' contents were somebody's. */
static enum tsl_status give_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                   bool fills)
{
    struct window window = {0};
    tsl_word count = 0;
    enum tsl_status status = window_of(self, start, bytes, &window);
    if (status != TSL_OK)
        return status;
    status = check_release(self, &window, &count);
    for (tsl_word i = 0; status == TSL_OK && i < self->span_count; i++) {
        tsl_word index, part;
        if (!clip(&self->spans[i], &window, &index, &part))
            continue;
        if (FRAMES_GUARDED)
            tsl_frames_guard_released(self, index, part, fills);
        status = tsl_frames_range_give(self, index, part, RANGE_BITS);
    }
    if (status == TSL_OK)
        (void)tsl_atomic_sub(&self->reserved, count);
    return status;
}

enum tsl_status tsl_frames_give_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    return give_window(self, start, bytes, false);
}

void tsl_frames_return_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    struct window window = {0};
    TSL_ASSERT(window_of(self, start, bytes, &window) == TSL_OK);
    undo_reserve(self, &window, self->span_count);
    for (tsl_word i = 0; i < self->span_count; i++) {
        tsl_word index, count;
        if (clip(&self->spans[i], &window, &index, &count))
            (void)tsl_atomic_sub(&self->reserved, count);
    }
}

/* What counts as reserved for another reason than tsl_frames_reserve. A range that is no range is
 * for others to refuse. */
static enum tsl_status check_reserver(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    tsl_paddr last;
    if (bytes == 0 || !tsl_checked_last_paddr(start, bytes, &last))
        return TSL_OK;
    if (TSL_FRAME_BANKS &&
        tsl_frames_bank_is_off_in(self, start, last | (tsl_paddr)(TSL_PAGE_BYTES - 1)))
        return TSL_BUSY;
    if (TSL_FRAME_HOTPLUG &&
        tsl_frames_is_absent_in(self, start >> TSL_PAGE_SHIFT, last >> TSL_PAGE_SHIFT))
        return TSL_NOT_FOUND;
    return TSL_OK;
}

enum tsl_status tsl_frames_release(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    enum tsl_status status = check_reserver(self, start, bytes);
    if (status == TSL_OK)
        status = give_window(self, start, bytes, true);
    if (status == TSL_OK)
        frames_watch_free(self);
    return told(self, status, "release", start, bytes);
}
