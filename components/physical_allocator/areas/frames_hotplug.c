/* SPDX-License-Identifier: MIT
 *
 * frames_hotplug.c: frames that leave the allocator and come back.
 *
 * Owns:    the list of absent ranges, the zones' totals after creation.
 * Needs:   frames_run.c (taking and giving a range of addresses), a lock of base.
 * Callers: the public functions of frames_hotplug.h; frames_create.c.
 *
 * An absent frame is taken, as a reserved one is, but counted neither as reserved nor in its zone's
 * total. Removing takes first and counts afterwards, adding counts first and gives afterwards, so
 * that free frames are never more than the total.
 *
 * The lock is held for the steps on the list only: taking and giving gigabytes lasts too long for
 * that. What is on its way is taken, so that whoever else wants it finds it neither absent nor free;
 * it keeps a place in the list in case that it has to go back, and stands at the list's far end so
 * that nobody moves it a second time.
 */
#include "../physical_allocator_internal.h"

#include <tesela/checked.h>
#include <tesela/frames_hotplug.h>

_Static_assert(FRAMES_MOST_ABSENT == TSL_FRAMES_MAX_ABSENT, "the header says how many there are");

/* Where the next range of the map at or above an address begins; `end` if none does below that. */
static tsl_paddr next_start(const struct tsl_memory_map *map, tsl_paddr address, tsl_paddr end)
{
    for (size_t i = 0; i < map->count; i++)
        if (map->ranges[i].start >= address && map->ranges[i].start < end)
            end = map->ranges[i].start;
    return end;
}

/* What tsl_frames_plan_absent has found until now. */
struct absent_plan {
    struct tsl_memory_map *map;
    struct tsl_memory_range *out;
    size_t count;
    size_t most;        /* ranges: what the map and the list have room for */
    uint64_t left;      /* bytes that may still become absent */
    uint64_t forgotten; /* bytes that may not, or have no place in the map */
};

static void plan_hole(struct absent_plan *plan, tsl_paddr start, tsl_paddr end)
{
    tsl_paddr stop = end - start < plan->left ? end : start + plan->left;
    bool is_planned = start < stop && plan->count < plan->most &&
                      tsl_map_add(plan->map, start, stop - start, TSL_MEMORY_USABLE) == TSL_OK;
    if (!is_planned)
        stop = start;
    else
        plan->out[plan->count++] = (struct tsl_memory_range){start, stop, TSL_MEMORY_USABLE};
    plan->left -= stop - start;
    plan->forgotten += end - stop;
}

size_t tsl_frames_plan_absent(struct tsl_memory_map *map, const struct tsl_memory_range *places,
                              size_t count, tsl_paddr end, uint64_t most_bytes,
                              struct tsl_memory_range *out)
{
    struct absent_plan plan = {.map = map, .out = out, .count = 0};
    char text[16];
    if (!TSL_FRAME_HOTPLUG)
        return 0;
    /* Each takes a place in the map, now or when it is forgotten; a full one gives up RAM. */
    plan.most = map->capacity - map->count;
    if (plan.most > FRAMES_MOST_ABSENT)
        plan.most = FRAMES_MOST_ABSENT;
    plan.left = tsl_align_down_paddr(most_bytes, TSL_PAGE_BYTES);
    for (size_t i = 0; i < count; i++) {
        tsl_paddr stop = places[i].end < end ? places[i].end : end;
        stop = tsl_align_down_paddr(stop, TSL_PAGE_BYTES);
        tsl_paddr at = places[i].start + (TSL_PAGE_BYTES - 1);
        at = at < places[i].start ? stop : tsl_align_down_paddr(at, TSL_PAGE_BYTES);
        while (at < stop) {
            const struct tsl_memory_range *known = tsl_map_at(map, at);
            tsl_paddr hole_end = known != NULL ? at : next_start(map, at, stop);
            if (hole_end > at)
                plan_hole(&plan, at, hole_end);
            at = known != NULL ? known->end : hole_end;
        }
    }
    if (plan.forgotten > 0) {
        tsl_say(TSL_LOG_WARNING, "frames: %s of places for RAM are left out",
                tsl_format_bytes(text, sizeof(text), plan.forgotten));
    }
    return plan.count;
}

tsl_word tsl_frames_absent_count(const struct tsl_frames *self)
{
    return tsl_atomic_load(&self->absent.frames);
}

bool tsl_frames_is_absent_in(struct tsl_frames *self, tsl_paddr first, tsl_paddr last)
{
    const struct frames_absent *absent = &self->absent;
    bool is_absent = false;
    tsl_pin pin = tsl_lock_acquire(&self->absent.lock);
    /* The second bound is for the compiler, as below. */
    for (unsigned i = 0; i < absent->count && i < TSL_COUNT_OF(absent->list); i++)
        is_absent = is_absent || (absent->list[i].first <= last && first < absent->list[i].end);
    tsl_lock_release(&self->absent.lock, pin);
    return is_absent;
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
        (void)tsl_atomic_add(&zone->total, is_added ? part : (tsl_word)0 - part);
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

/* The ranges that are on their way; the one that went last is the first. */
static struct frames_range *on_their_way(struct frames_absent *absent)
{
    return &absent->list[TSL_COUNT_OF(absent->list) - absent->moving];
}

/* The range is on its way and has a place. Before: the lock is held. */
static enum tsl_status depart(struct frames_absent *absent, const struct frames_range *range,
                              bool is_one_more)
{
    unsigned used = absent->count + absent->moving;
    if (used >= TSL_COUNT_OF(absent->list) || (is_one_more && used >= FRAMES_MOST_ABSENT))
        return TSL_LIMIT;
    absent->moving++;
    *on_their_way(absent) = *range;
    return TSL_OK;
}

/* Before: depart() with this range; the lock is held. */
static void arrive(struct frames_absent *absent, const struct frames_range *range)
{
    struct frames_range *moving = on_their_way(absent);
    unsigned i = 0;
    while (moving[i].first != range->first)
        i++;
    moving[i] = moving[0];
    absent->moving--;
}

static bool overlaps_one(const struct frames_range *ranges, unsigned count,
                         const struct frames_range *range)
{
    for (unsigned i = 0; i < count; i++)
        if (ranges[i].first < range->end && range->first < ranges[i].end)
            return true;
    return false;
}

/* Takes a range out of the list; its neighbours stay. Before: the lock is held. */
static enum tsl_status forget(struct frames_absent *absent, const struct frames_range *range)
{
    for (unsigned i = 0; i < absent->count; i++) {
        struct frames_range *whole = &absent->list[i];
        if (range->first < whole->first || range->end > whole->end)
            continue;
        struct frames_range rest = {range->end, whole->end};
        bool has_both = whole->first < range->first && rest.first < rest.end;
        enum tsl_status status = depart(absent, range, has_both);
        if (status != TSL_OK)
            return status;
        whole->end = range->first;
        if (has_both)
            absent->list[absent->count++] = rest;
        else if (rest.first < rest.end)
            *whole = rest;
        else if (whole->first == whole->end)
            *whole = absent->list[--absent->count];
        (void)tsl_atomic_sub(&absent->frames, range->end - range->first);
        return TSL_OK;
    }
    return TSL_NOT_FOUND;
}

/* A range that is absent already and ends where this one begins, or begins where it ends; or
 * NULL. */
static struct frames_range *touching(struct frames_absent *absent, const struct frames_range *range)
{
    for (unsigned i = 0; i < absent->count; i++)
        if (absent->list[i].end == range->first || absent->list[i].first == range->end)
            return &absent->list[i];
    return NULL;
}

/* Whether a range may become absent; it has a place then. Before: the lock is held. */
static enum tsl_status announce(struct frames_absent *absent, const struct frames_range *range)
{
    if (overlaps_one(absent->list, absent->count, range))
        return TSL_NOT_FOUND; /* gone already */
    if (overlaps_one(on_their_way(absent), absent->moving, range))
        return TSL_BUSY;
    return depart(absent, range, touching(absent, range) == NULL);
}

/* Puts a range in, as one with those that it touches. Before: the lock is held. */
static void insert(struct frames_absent *absent, const struct frames_range *range)
{
    struct frames_range whole = *range;
    for (struct frames_range *next; (next = touching(absent, &whole)) != NULL;) {
        whole.first = next->first < whole.first ? next->first : whole.first;
        whole.end = next->end > whole.end ? next->end : whole.end;
        *next = absent->list[--absent->count];
    }
    absent->list[absent->count++] = whole;
    (void)tsl_atomic_add(&absent->frames, range->end - range->first);
}

/* Ends what forget() or announce() began. */
static void settle(struct tsl_frames *self, const struct frames_range *range, bool is_absent)
{
    struct frames_absent *absent = &self->absent;
    tsl_pin pin = tsl_lock_acquire(&absent->lock);
    arrive(absent, range);
    if (is_absent)
        insert(absent, range);
    tsl_lock_release(&absent->lock, pin);
}

enum tsl_status tsl_frames_add_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    struct frames_range range = {0, 0};
    enum tsl_status status = check(self, start, bytes, &range);
    if (status == TSL_OK) {
        tsl_pin pin = tsl_lock_acquire(&self->absent.lock);
        status = forget(&self->absent, &range);
        tsl_lock_release(&self->absent.lock, pin);
    }
    if (status != TSL_OK)
        return refuse(self, status, start, "added");
    tsl_word count = move_totals(self, &range, true);
    (void)tsl_atomic_add(&self->reserved, count);
    status = tsl_frames_give_window(self, start, bytes);
    if (status != TSL_OK) { /* somebody has freed what is not there */
        (void)tsl_atomic_sub(&self->reserved, count);
        (void)move_totals(self, &range, false);
    }
    settle(self, &range, status != TSL_OK);
    if (status != TSL_OK)
        return refuse(self, status, start, "added");
    frames_watch(self);
    return TSL_OK;
}

static enum tsl_status take_reserved(struct tsl_frames *self, const struct frames_range *range)
{
    tsl_word count = range->end - range->first;
    for (tsl_word number = range->first; number < range->end; number++)
        if (tsl_frames_is_free(self, (struct tsl_frame){number}))
            return TSL_WRONG_SIZE;
    return count <= tsl_atomic_load(&self->reserved) ? TSL_OK : TSL_WRONG_SIZE;
}

/* Takes a range that has a place in the list. */
static enum tsl_status take(struct tsl_frames *self, const struct frames_range *range,
                            bool is_reserved)
{
    tsl_paddr start = (tsl_paddr)range->first << TSL_PAGE_SHIFT;
    uint64_t bytes = (uint64_t)(range->end - range->first) << TSL_PAGE_SHIFT;
    if (TSL_FRAME_BANKS && tsl_frames_bank_is_off_in(self, start, start + bytes))
        return TSL_BUSY; /* its frames are reserved, but not the caller's */
    return is_reserved ? take_reserved(self, range) : tsl_frames_take_window(self, start, bytes);
}

enum tsl_status tsl_frames_remove_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                        bool is_reserved)
{
    struct frames_range range = {0, 0};
    enum tsl_status status = check(self, start, bytes, &range);
    if (status == TSL_OK) {
        tsl_pin pin = tsl_lock_acquire(&self->absent.lock);
        status = announce(&self->absent, &range);
        tsl_lock_release(&self->absent.lock, pin);
    }
    if (status != TSL_OK)
        return refuse(self, status, start, "removed");
    status = take(self, &range, is_reserved);
    if (status == TSL_OK) {
        tsl_word count = move_totals(self, &range, false);
        (void)tsl_atomic_sub(&self->reserved, count);
    }
    settle(self, &range, status == TSL_OK);
    if (status != TSL_OK)
        return refuse(self, status, start, "removed");
    frames_watch(self);
    return TSL_OK;
}

struct tsl_defect tsl_frames_absent_verify(const struct tsl_frames *self)
{
    static const char sentence[] = "absent ranges are managed, apart, counted, and not free";
    const struct frames_absent *absent = &self->absent;
    tsl_word frames = 0;
    /* The second bound is for the compiler, which sees an array of one where there is no
     * hotplug. */
    for (unsigned i = 0; i < absent->count && i < TSL_COUNT_OF(absent->list); i++) {
        const struct frames_range *range = &absent->list[i];
        bool is_good = range->first < range->end && is_managed(self, range);
        for (tsl_word number = range->first; is_good && number < range->end; number++)
            is_good = !tsl_frames_is_free(self, (struct tsl_frame){number});
        for (unsigned k = 0; k < i; k++)
            is_good = is_good &&
                      (absent->list[k].end <= range->first || range->end <= absent->list[k].first);
        if (!is_good)
            return tsl_defect_at("frames", 16, i, sentence);
        frames += range->end - range->first;
    }
    if (absent->moving != 0 || frames != absent->frames)
        return tsl_defect_at("frames", 16, absent->count, sentence);
    return TSL_NO_DEFECT;
}
