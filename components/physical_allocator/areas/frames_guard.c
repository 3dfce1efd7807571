/* SPDX-License-Identifier: MIT
 *
 * frames_guard.c: fills frames that come back, and looks at them before they are given out again.
 *
 * Owns:    the pattern of free frames; which frames are filled, which are kept aside.
 * Needs:   frames_owners.c, frames_range.c, frames_area.c, the port's phys_to_virt.
 * Callers: the rest of the component, at its public functions, if FRAMES_GUARDED.
 *
 * Only what was filled is looked at: a frame that has never been free before, or whose contents
 * were lost with its bank, holds anything. A frame is filled before it is free, so that nobody can
 * be given it meanwhile; that it may be freed at all is looked at first.
 */
#include "frames_guard.h"

#define PAGE_WORDS (TSL_PAGE_BYTES / sizeof(tsl_word))

#define FILLS (TSL_FRAME_POISON || TSL_FRAME_ZERO_ON_FREE)

/* An odd factor, so that neighbours differ in all bytes: pages that were swapped show, too. */
static inline tsl_word pattern(tsl_word number, size_t word)
{
    if (TSL_FRAME_ZERO_ON_FREE)
        return 0;
    return (number * PAGE_WORDS + (tsl_word)word + 1) * (tsl_word)0x9e3779b1u ^
           (tsl_word)0xa5a5a5a5u;
}

static tsl_word *words_of(tsl_word number)
{
    return tsl_port_phys_to_virt((tsl_paddr)number << TSL_PAGE_SHIFT);
}

static bool is_reached(const struct tsl_frames *self, tsl_word area)
{
    unsigned node = 0;
    while (node + 1 < node_count(self) && area >= self->node[node].end_area)
        node++;
    return area < tsl_atomic_load(&self->node[node].low_limit);
}

static void fill(struct tsl_frames *self, tsl_word index, tsl_word number)
{
    if (!FILLS || !is_reached(self, index / AREA_FRAMES))
        return;
    tsl_word *words = words_of(number);
    for (size_t i = 0; i < PAGE_WORDS; i++)
        words[i] = pattern(number, i);
    tsl_atomic_store_release_u8(&self->guard->contents[index], FRAME_FILLED);
}

static bool has_contents(const struct tsl_frames *self, tsl_word index, unsigned contents)
{
    return tsl_atomic_load_u8(&self->guard->contents[index]) == contents;
}

/* Nobody who allocates can have it. */
static bool is_withheld(const struct tsl_frames *self, tsl_word index)
{
    unsigned contents = tsl_atomic_load_u8(&self->guard->contents[index]);
    return contents == FRAME_KEPT || contents == FRAME_RESERVED;
}

/* Whether a frame still holds what it was filled with; told if not. */
static enum tsl_status check_frame(struct tsl_frames *self, tsl_word index, tsl_word number)
{
    if (!TSL_FRAME_POISON || !has_contents(self, index, FRAME_FILLED) ||
        !is_reached(self, index / AREA_FRAMES))
        return TSL_OK;
    const tsl_word *words = words_of(number);
    size_t i = 0;
    while (i < PAGE_WORDS && words[i] == pattern(number, i))
        i++;
    if (i == PAGE_WORDS)
        return TSL_OK;
    (void)tsl_atomic_add(&self->guard->overwritten, 1);
    return tsl_refuse(&self->refusals, TSL_CORRUPT,
                      "frames: free frame %#lx was written to at offset %lu: %#lx, not %#lx",
                      (unsigned long)number, (unsigned long)(i * sizeof(tsl_word)),
                      (unsigned long)words[i], (unsigned long)pattern(number, i));
}

/* Keeps those aside that were overwritten; how many. */
static tsl_word keep_bad(struct tsl_frames *self, tsl_word index, tsl_word number, tsl_word count)
{
    tsl_word bad = 0;
    for (tsl_word i = 0; i < count; i++) {
        if (check_frame(self, index + i, number + i) == TSL_OK)
            continue;
        tsl_atomic_store_release_u8(&self->guard->contents[index + i], FRAME_KEPT);
        bad++;
    }
    if (bad > 0)
        (void)tsl_atomic_add(&self->guard->kept, bad);
    return bad;
}

/* Makes single frames of the huge blocks in a range of ours. */
static void split_huge(struct tsl_frames *self, tsl_word index, tsl_word count)
{
    for (tsl_word area = index / AREA_FRAMES; area * AREA_FRAMES < index + count; area++) {
        if (!state_is_huge(area_state(self, area)))
            continue;
        tsl_pin pin = tsl_cpu_pin();
        bool is_split = tsl_frames_huge_split(self, area);
        tsl_cpu_unpin(pin);
        TSL_ASSERT(is_split);
    }
}

/* Gives the frames back that are not kept; they still hold what they were filled with. */
static void give_good(struct tsl_frames *self, tsl_word index, tsl_word count)
{
    split_huge(self, index, count);
    for (tsl_word i = index; i < index + count; i++) {
        if (has_contents(self, i, FRAME_KEPT))
            continue;
        enum tsl_status status = tsl_frames_range_give(self, i, 1, RANGE_BITS);
        TSL_ASSERT(status == TSL_OK);
    }
    frames_watch(self);
}

bool tsl_frames_guard_took(struct tsl_frames *self, tsl_word number, tsl_word count, unsigned flags,
                           const struct frames_taker *taker)
{
    tsl_word index = number - tsl_frames_span_of(self, number)->shift;
    if (keep_bad(self, index, number, count) > 0) {
        give_good(self, index, count);
        return false;
    }
    for (tsl_word i = 0; i < count; i++) {
        bool is_zero = TSL_FRAME_ZERO_ON_FREE && has_contents(self, index + i, FRAME_FILLED);
        if ((flags & TSL_FRAMES_ZERO) != 0 && !is_zero)
            tsl_frames_fill_zero((struct tsl_frame){number + i}, 1);
        tsl_atomic_store_release_u8(&self->guard->contents[index + i], FRAME_UNKNOWN);
    }
    tsl_frames_owners_set(self, index, count, taker);
    return true;
}

bool tsl_frames_guard_gives(struct tsl_frames *self, tsl_word number, tsl_word count)
{
    const struct frames_span *span = tsl_frames_span_of(self, number);
    if (span == NULL || span->end - number < count)
        return true; /* refused by whoever asks, as the next ones */
    tsl_word index = number - span->shift;
    if (tsl_frames_range_check(self, index, count, RANGE_HUGE) != TSL_OK)
        return true;
    for (tsl_word i = 0; i < count; i++)
        if (is_withheld(self, index + i))
            return false;
    for (tsl_word i = 0; i < count; i++)
        fill(self, index + i, number + i);
    tsl_frames_owners_clear(self, index, count);
    return true;
}

void tsl_frames_guard_reserved(struct tsl_frames *self, tsl_word index, tsl_word count,
                               tsl_word site)
{
    tsl_word number = index + tsl_frames_shift_of(self, index / AREA_FRAMES);
    for (tsl_word i = 0; i < count; i++) {
        enum tsl_status status = check_frame(self, index + i, number + i);
        TSL_ASSERT(status == TSL_OK || status == TSL_CORRUPT); /* that very frame was asked for */
        tsl_atomic_store_release_u8(&self->guard->contents[index + i], FRAME_RESERVED);
    }
    const struct frames_taker taker = {site, 0, TSL_FRAMES_BY_RESERVE};
    if (site != 0)
        tsl_frames_owners_set(self, index, count, &taker);
}

void tsl_frames_guard_released(struct tsl_frames *self, tsl_word index, tsl_word count, bool fills)
{
    tsl_word number = index + tsl_frames_shift_of(self, index / AREA_FRAMES);
    for (tsl_word i = 0; i < count; i++) {
        if (has_contents(self, index + i, FRAME_KEPT))
            (void)tsl_atomic_sub(&self->guard->kept, 1);
        tsl_atomic_store_release_u8(&self->guard->contents[index + i], FRAME_UNKNOWN);
        if (fills)
            fill(self, index + i, number + i);
    }
    tsl_frames_owners_clear(self, index, count);
}

void tsl_frames_guard_stats(const struct tsl_frames *self, struct tsl_frames_guard_stats *out)
{
    *out = (struct tsl_frames_guard_stats){0};
    if (!FRAMES_GUARDED)
        return;
    out->overwritten = tsl_atomic_load(&self->guard->overwritten);
    out->kept_aside = tsl_atomic_load(&self->guard->kept);
}

struct tsl_defect tsl_frames_guard_verify(const struct tsl_frames *self)
{
    static const char sentence[] = "a free frame has no owner, is not kept aside or reserved";
    const struct frames_guard *guard = self->guard;
    for (tsl_word index = 0; index < self->area_count * AREA_FRAMES; index++) {
        bool is_somebodys = is_withheld(self, index) ||
                            (TSL_FRAME_OWNERS && tsl_atomic_load_u8(&guard->marks[index]) != 0);
        if (is_somebodys && tsl_frames_free_in(self, index, 1) == 1)
            return tsl_defect_at("frames", 17, index, sentence);
    }
    return TSL_NO_DEFECT;
}
