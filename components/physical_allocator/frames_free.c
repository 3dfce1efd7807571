/* SPDX-License-Identifier: MIT
 *
 * frames_free.c: blocks and runs come back, and huge blocks are split.
 *
 * Owns:    the checks of what a caller gives back, and which status each mistake gets.
 * Needs:   frames_area.c, frames_range.c, frames_place.c.
 * Callers: the public tsl_frames_free, _free_run, _split, and the questions about one frame.
 */
#include "physical_allocator_internal.h"

/* The largest order whose blocks lie in one word. */
#define WORD_ORDER (sizeof(tsl_word) == 8 ? 6u : 5u)

/* What a caller says it gives back, and where it lies. */
struct claim {
    tsl_word number;
    tsl_word count;
    tsl_word index;
    const char *what;
};

TSL_COLD static enum tsl_status refuse(struct tsl_frames *self, const struct claim *claim,
                                       enum tsl_status status)
{
    return tsl_refuse(&self->refusals, status, "frames: %s of %lu frames at frame %#lx",
                      claim->what, (unsigned long)claim->count, (unsigned long)claim->number);
}

/* Finds the index; false if a frame of it is not managed. */
static bool locate(const struct tsl_frames *self, struct claim *claim)
{
    const struct frames_span *span = tsl_frames_span_of(self, claim->number);
    if (span == NULL || span->end - claim->number < claim->count)
        return false;
    claim->index = claim->number - span->shift;
    return true;
}

static enum tsl_status give_checked(struct tsl_frames *self, const struct claim *claim)
{
    enum tsl_status status = tsl_frames_range_check(self, claim->index, claim->count, RANGE_HUGE);
    if (status == TSL_OK)
        status = tsl_frames_range_give(self, claim->index, claim->count, RANGE_HUGE);
    if (status == TSL_OK)
        frames_watch_free(self);
    return status == TSL_OK ? TSL_OK : refuse(self, claim, status);
}

enum fast {
    FAST_GIVEN,
    FAST_ELSEWHERE, /* larger than a word, or not managed; nothing done */
    FAST_REFUSED,   /* one of the frames is free; nothing done */
};

/* The common case: all of the block lies in one word. Before: order is at most WORD_ORDER, number
 * is aligned to it. */
static inline enum fast give_fast(struct tsl_frames *self, tsl_word number, unsigned order)
{
    tsl_word count = (tsl_word)1 << order;
    const struct frames_span *span = &self->main;
    if (TSL_UNLIKELY(number < span->first || number >= span->end))
        span = tsl_frames_span_of(self, number);
    if (TSL_UNLIKELY(span == NULL || span->end - number < count))
        return FAST_ELSEWHERE;
    tsl_word index = number - span->shift;
    tsl_word area = index / AREA_FRAMES;
    tsl_word *place = &self->words[index / TSL_WORD_BITS];
    tsl_word mask = (WORD_FULL >> (TSL_WORD_BITS - count)) << (index % TSL_WORD_BITS);
    tsl_pin pin = tsl_port_pin();
    tsl_word value = tsl_atomic_load(place);
    do {
        if (TSL_UNLIKELY((value & mask) != 0)) {
            tsl_port_unpin(pin);
            return FAST_REFUSED;
        }
    } while (TSL_UNLIKELY(!word_swap(place, &value, value | mask)));
    bits_given(self, area, value | mask);
    struct frames_cpu *cpu = this_cpu(self);
    unsigned zone = own_top_zone(self);
    struct frames_slot *slot = &cpu->slot[zone];
    if (area == slot->area) {
        uint32_t word = (uint32_t)(index / TSL_WORD_BITS) % AREA_WORDS;
        slot->word = word < slot->word ? word : slot->word;
        slot_account(self, zone, slot, (int)count);
    } else {
        tsl_frames_account(self, cpu, area, (int)count);
    }
    tsl_port_unpin(pin);
    return FAST_GIVEN;
}

/* What give_fast leaves over: other places, sizes and mistakes. */
TSL_NOINLINE static enum tsl_status free_slow(struct tsl_frames *self, struct tsl_frame frame,
                                              unsigned order, enum fast fast)
{
    struct claim claim = {.number = frame.number, .what = "free"};
    if (order > TSL_FRAMES_MAX_ORDER) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: free with order %u, above %u",
                          order, TSL_FRAMES_MAX_ORDER);
    }
    claim.count = (tsl_word)1 << order;
    if ((frame.number & (claim.count - 1)) != 0)
        return refuse(self, &claim, TSL_MISALIGNED);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    if (fast != FAST_REFUSED)
        return give_checked(self, &claim);
    enum tsl_status status = tsl_frames_range_check(self, claim.index, claim.count, RANGE_HUGE);
    /* It was free when we tried; that somebody has taken it since does not make it the caller's. */
    return refuse(self, &claim, status == TSL_OK ? TSL_DOUBLE_FREE : status);
}

enum tsl_status tsl_frames_free(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    enum fast fast = FAST_ELSEWHERE;
    if (TSL_LIKELY(order <= WORD_ORDER && (frame.number & (((tsl_word)1 << order) - 1)) == 0))
        fast = give_fast(self, frame.number, order);
    if (TSL_UNLIKELY(fast != FAST_GIVEN))
        return free_slow(self, frame, order, fast);
    frames_watch_free(self);
    return TSL_OK;
}

enum tsl_status tsl_frames_free_run(struct tsl_frames *self, struct tsl_frame first, tsl_word count)
{
    struct claim claim = {.number = first.number, .count = count, .what = "free of a run"};
    if (count == 0)
        return refuse(self, &claim, TSL_INVALID);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    return give_checked(self, &claim);
}

static bool split_area(struct tsl_frames *self, tsl_word area)
{
    tsl_pin pin = tsl_port_pin();
    bool is_split = tsl_frames_huge_split(self, area);
    tsl_port_unpin(pin);
    return is_split;
}

enum tsl_status tsl_frames_split(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    struct claim claim = {.number = frame.number, .what = "split"};
    if (order != TSL_FRAMES_HUGE_ORDER && order != TSL_FRAMES_HUGE_ORDER + 1)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: split of order %u", order);
    claim.count = (tsl_word)1 << order;
    if ((frame.number & (claim.count - 1)) != 0)
        return refuse(self, &claim, TSL_MISALIGNED);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    enum tsl_status status = tsl_frames_range_check(self, claim.index, claim.count, RANGE_HUGE);
    for (tsl_word done = 0; status == TSL_OK && done < claim.count; done += AREA_FRAMES)
        if (!split_area(self, (claim.index + done) / AREA_FRAMES))
            status = TSL_DOUBLE_FREE; /* another CPU was faster */
    return status == TSL_OK ? TSL_OK : refuse(self, &claim, status);
}

bool tsl_frames_is_managed(const struct tsl_frames *self, struct tsl_frame frame)
{
    return tsl_frames_span_of(self, frame.number) != NULL;
}

bool tsl_frames_is_free(const struct tsl_frames *self, struct tsl_frame frame)
{
    const struct frames_span *span = tsl_frames_span_of(self, frame.number);
    return span != NULL && tsl_frames_range_free(self, frame.number - span->shift, 1) == 1;
}
