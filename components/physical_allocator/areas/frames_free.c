/* SPDX-License-Identifier: MIT
 *
 * frames_free.c: blocks and runs come back, and huge blocks are split.
 *
 * Owns:    the checks of what a caller gives back, and which status each mistake gets.
 * Needs:   frames_area.c, frames_range.c, frames_place.c.
 * Callers: the public tsl_frames_free, _free_bulk, _free_word, _free_run, _split, and the questions
 *          about one frame.
 */
#include "frames_guard.h"

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
    return tsl_refuse(&self->refusals, status, "frames: %s of %lu frames from number %#lx on",
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

/* A single frame into its shared word. False, with nothing changed, if it is not managed, free, or
 * a part of a huge block. Before: pinned. */
static inline bool give_one(struct tsl_frames *self, tsl_word number)
{
    const struct frames_span *span = &self->main;
    if (TSL_UNLIKELY(number < span->first || number >= span->end)) {
        span = tsl_frames_span_of(self, number);
        if (span == NULL)
            return false;
    }
    tsl_word index = number - span->shift;
    tsl_word area = index / AREA_FRAMES;
    tsl_word *word = &self->words[index / TSL_WORD_BITS];
    unsigned bit = (unsigned)(index % TSL_WORD_BITS);
    unsigned state = area_state(self, area);
    if (TSL_UNLIKELY(state != AREA_OPEN)) {
        return !state_is_huge(state) &&
               tsl_frames_bits_give(self, this_cpu(self), area,
                                    (unsigned)(index % AREA_FRAMES) / TSL_WORD_BITS,
                                    (tsl_word)1 << bit);
    }
    /* The hint comes first: the barrier in between makes who removes the area from a tree see it,
     * or this the removal. */
    unsigned hint = hint_add(self, area, 1);
    if (TSL_UNLIKELY(!word_set_bit(word, bit))) {
        (void)hint_add(self, area, 0 - 1u);
        return false;
    }
    bits_given(self, area, word, hint);
    account(self, this_cpu(self), area, 1);
    return true;
}

/* A block into the claimed word; false, with nothing changed, if it is not in it or a part of it is
 * free. Before: pinned; the number is aligned to count, at most TSL_WORD_BITS. */
static inline bool give_claimed(struct frames_slot *slot, tsl_word number, tsl_word count)
{
    tsl_word offset = number - slot->number;
    if (offset >= slot->bits)
        return false;
    return slot_give(slot, (WORD_FULL >> (TSL_WORD_BITS - count)) << offset);
}

static bool is_aligned(tsl_word number, unsigned order)
{
    return (number & (((tsl_word)1 << order) - 1)) == 0;
}

/* A block that lies in the claimed word. Before: pinned, order > 0. */
static bool give_block(struct tsl_frames *self, tsl_word number, unsigned order)
{
    return TSL_FRAME_CLAIMS && order <= WORD_ORDER && is_aligned(number, order) &&
           give_claimed(hot_slot(self), number, (tsl_word)1 << order);
}

/* What the fast paths leave over: other places and sizes, and mistakes. */
TSL_NOINLINE static enum tsl_status free_slow(struct tsl_frames *self, struct tsl_frame frame,
                                              unsigned order)
{
    struct claim claim = {.number = frame.number, .what = "free"};
    if (order > TSL_FRAMES_MAX_ORDER) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: free with order %u, above %u",
                          order, TSL_FRAMES_MAX_ORDER);
    }
    claim.count = (tsl_word)1 << order;
    if (!is_aligned(frame.number, order))
        return refuse(self, &claim, TSL_MISALIGNED);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    if (order != 0)
        return give_checked(self, &claim);
    enum tsl_status status = tsl_frames_range_check(self, claim.index, claim.count, RANGE_HUGE);
    /* It was free when we tried; that somebody has taken it since does not make it the caller's. */
    return refuse(self, &claim, status == TSL_OK ? TSL_DOUBLE_FREE : status);
}

/* What the short way below leaves over. Before: pinned; undoes the pin. */
TSL_NOINLINE static enum tsl_status free_far(struct tsl_frames *self, struct tsl_frame frame,
                                             unsigned order, tsl_pin pin)
{
    bool is_given =
        order == 0 ? give_one(self, frame.number) : give_block(self, frame.number, order);
    tsl_cpu_unpin(pin);
    if (TSL_UNLIKELY(!is_given))
        return free_slow(self, frame, order);
    frames_watch_free(self);
    return TSL_OK;
}

/* A frame is in its shared word and booked: what is seldom to be done then. Before: pinned; undoes
 * the pin. */
TSL_NOINLINE static enum tsl_status free_end(struct tsl_frames *self, struct tsl_frame frame,
                                             tsl_pin pin)
{
    tsl_word index = frame.number - self->main.shift;
    tsl_word area = index / AREA_FRAMES;
    const tsl_word *word = &self->words[index / TSL_WORD_BITS];
    /* As a rule it is the one that makes the area roomy. */
    if (TSL_LIKELY(tree_has(&self->any, area) && area_state(self, area) == AREA_OPEN &&
                   tsl_atomic_load(word) != WORD_FULL)) {
        if (area_hint(self, area) >= ROOMY_FRAMES && !tree_has(&self->roomy, area))
            tsl_frames_tree_add(&self->roomy, area);
    } else {
        bits_given(self, area, word, area_hint(self, area));
    }
    struct frames_slot *slot = hot_slot(self);
    slot_account(self, slot_zone(self, slot), slot, 0);
    tsl_cpu_unpin(pin);
    frames_watch_free(self);
    return TSL_OK;
}

/* It was free: its hint counts one too many. Before: pinned; undoes the pin. */
TSL_COLD static enum tsl_status free_twice(struct tsl_frames *self, struct tsl_frame frame,
                                           tsl_pin pin)
{
    (void)hint_add(self, (frame.number - self->main.shift) / AREA_FRAMES, 0 - 1u);
    tsl_cpu_unpin(pin);
    return free_slow(self, frame, 0);
}

/* A single frame of a word that this CPU has not claimed: give_one for the largest span, the top
 * zone and an open area. All else is called at the end, so that nothing need be saved. Before:
 * pinned; undoes the pin. */
static inline enum tsl_status free_shared(struct tsl_frames *self, struct tsl_frame frame,
                                          struct frames_slot *slot, tsl_pin pin)
{
    tsl_word index = frame.number - self->main.shift;
    tsl_word area = index / AREA_FRAMES;
    if (TSL_UNLIKELY(frame.number - self->hot_first >= self->hot_frames) ||
        TSL_UNLIKELY(area_state(self, area) != AREA_OPEN))
        return free_far(self, frame, 0, pin);
    tsl_word *word = &self->words[index / TSL_WORD_BITS];
    unsigned hint = hint_add(self, area, 1);
    if (TSL_UNLIKELY(!word_set_bit(word, (unsigned)(index % TSL_WORD_BITS))))
        return free_twice(self, frame, pin);
    tsl_word delta = tsl_atomic_load(&slot->delta) + 1;
    tsl_atomic_store(&slot->delta, delta);
    if (TSL_UNLIKELY(!is_listed(self, area, hint)) ||
        TSL_UNLIKELY(tsl_atomic_load(word) == WORD_FULL) ||
        TSL_UNLIKELY(delta + SLOT_BATCH > 2 * SLOT_BATCH) ||
        (TSL_FRAME_WATERMARKS &&
         TSL_UNLIKELY((tsl_atomic_load(&self->rules) & FRAMES_RULE_PRESSURE) != 0)))
        return free_end(self, frame, pin);
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* A huge block that the trees may not list. Before: pinned; undoes the pin. */
TSL_NOINLINE static enum tsl_status
free_huge_unlisted(struct tsl_frames *self, struct tsl_frame frame, unsigned order, tsl_pin pin)
{
    tsl_word area = (frame.number - self->main.shift) / AREA_FRAMES;
    if (!state_swap(self, area, AREA_HUGE, AREA_WHOLE))
        return free_far(self, frame, order, pin);
    if (!is_whole_known(self, area))
        tsl_frames_publish(self, area);
    tsl_atomic_store(&hot_slot(self)->whole, frame.number);
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* A huge block in the largest span and the top zone. Before: pinned; undoes the pin. */
static inline enum tsl_status free_huge(struct tsl_frames *self, struct tsl_frame frame,
                                        unsigned order, tsl_pin pin)
{
    struct frames_slot *slot = hot_slot(self);
    tsl_word area = (frame.number - self->main.shift) / AREA_FRAMES;
    /* What is huge is an area of its span throughout, so its first frame is enough to look at. */
    if (TSL_UNLIKELY(!is_aligned(frame.number, TSL_FRAMES_HUGE_ORDER)) ||
        TSL_UNLIKELY(frame.number - self->hot_first >= self->hot_frames) ||
        TSL_UNLIKELY(tsl_atomic_load(&self->watched) != 0) || TSL_UNLIKELY(slot->whole != 0))
        return free_far(self, frame, order, pin);
    if (TSL_UNLIKELY(!state_swap(self, area, AREA_LISTED, AREA_WHOLE)))
        return free_huge_unlisted(self, frame, order, pin);
    tsl_atomic_store(&slot->whole, frame.number);
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* Nobody was given such a frame, so it is as if it were not managed. */
TSL_COLD static enum tsl_status refuse_withheld(struct tsl_frames *self, tsl_word number,
                                                tsl_word count)
{
    const struct claim claim = {.number = number, .count = count, .what = "free of withheld ones"};
    return refuse(self, &claim, TSL_FOREIGN);
}

/* False if the guard is against it; that order and place are wrong is for others to say. */
static bool guard_gives(struct tsl_frames *self, tsl_word number, unsigned order)
{
    return order > TSL_FRAMES_MAX_ORDER || !is_aligned(number, order) ||
           tsl_frames_guard_gives(self, number, (tsl_word)1 << order);
}

/* While memory is short nobody claims, so that what goes into a claimed word need not be
 * watched. */
enum tsl_status tsl_frames_free(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    if (FRAMES_GUARDED && !guard_gives(self, frame.number, order))
        return refuse_withheld(self, frame.number, (tsl_word)1 << order);
    tsl_pin pin = tsl_cpu_pin();
    if (TSL_LIKELY(order == 0)) {
        struct frames_slot *slot = hot_slot(self);
        tsl_word offset = frame.number - slot->number;
        if (!TSL_FRAME_CLAIMS || offset >= slot->bits)
            return free_shared(self, frame, slot, pin);
        tsl_word copy = tsl_atomic_load(&slot->copy);
        if (TSL_LIKELY(((copy | tsl_atomic_load(slot->word)) >> offset & 1) == 0)) {
            tsl_atomic_store(&slot->copy, copy | (tsl_word)1 << offset);
            tsl_cpu_unpin(pin);
            return TSL_OK;
        }
    } else if (TSL_FRAME_CLAIMS && order == TSL_FRAMES_HUGE_ORDER) {
        return free_huge(self, frame, order, pin);
    }
    return free_far(self, frame, order, pin);
}

/* Frees the frames of a mask in one step; false, with nothing changed, if that cannot be. */
static bool give_word(struct tsl_frames *self, tsl_word first, tsl_word mask)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_slot *slot = TSL_FRAME_CLAIMS ? hot_slot(self) : NULL;
    if (TSL_FRAME_CLAIMS && first == slot->number && slot->bits != 0) {
        bool is_given = slot_give(slot, mask);
        tsl_cpu_unpin(pin);
        return is_given;
    }
    const struct frames_span *span = tsl_frames_span_of(self, first);
    bool is_given = false;
    if (span != NULL && span->end - first >= TSL_WORD_BITS) {
        tsl_word index = first - span->shift;
        is_given = !state_is_huge(area_state(self, index / AREA_FRAMES)) &&
                   tsl_frames_bits_give(self, this_cpu(self), index / AREA_FRAMES,
                                        (unsigned)(index % AREA_FRAMES) / TSL_WORD_BITS, mask);
    }
    tsl_cpu_unpin(pin);
    if (is_given)
        frames_watch_free(self);
    return is_given;
}

enum tsl_status tsl_frames_free_word(struct tsl_frames *self, struct tsl_frame first, tsl_word mask)
{
    enum tsl_status status = TSL_OK;
    if ((first.number & (TSL_WORD_BITS - 1)) != 0)
        return refuse(self, &(struct claim){.number = first.number, .what = "free of a word"},
                      TSL_MISALIGNED);
    if (mask == 0 || (!FRAMES_GUARDED && give_word(self, first.number, mask)))
        return TSL_OK;
    for (; mask != 0; mask &= mask - 1) {
        struct tsl_frame frame = {first.number + tsl_bits_lowest(mask)};
        enum tsl_status freed = tsl_frames_free(self, frame, 0);
        status = status == TSL_OK ? freed : status;
    }
    return status;
}

/* Frees as many of the frames as lie in one word behind the first; 0 if that is refused. */
static tsl_word free_word(struct tsl_frames *self, const struct tsl_frame *frames, tsl_word count)
{
    tsl_word first = frames[0].number & ~(tsl_word)(TSL_WORD_BITS - 1);
    tsl_word mask = 0;
    tsl_word done = 0;
    while (done < count && frames[done].number - first < TSL_WORD_BITS &&
           (mask >> (frames[done].number - first) & 1) == 0)
        mask |= (tsl_word)1 << (frames[done++].number - first);
    return done >= 2 && give_word(self, first, mask) ? done : 0;
}

enum tsl_status tsl_frames_free_bulk(struct tsl_frames *self, const struct tsl_frame *frames,
                                     tsl_word count, tsl_word *out_freed)
{
    enum tsl_status status = TSL_OK;
    tsl_word freed = 0;
    while (freed < count && status == TSL_OK) {
        tsl_word done = FRAMES_GUARDED ? 0 : free_word(self, &frames[freed], count - freed);
        if (done == 0) {
            status = tsl_frames_free(self, frames[freed], 0);
            done = status == TSL_OK ? 1 : 0;
        }
        freed += done;
    }
    *out_freed = freed;
    return status;
}

enum tsl_status tsl_frames_free_run(struct tsl_frames *self, struct tsl_frame first, tsl_word count)
{
    struct claim claim = {.number = first.number, .count = count, .what = "free of a run"};
    if (count == 0)
        return refuse(self, &claim, TSL_INVALID);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    if (FRAMES_GUARDED && !tsl_frames_guard_gives(self, first.number, count))
        return refuse_withheld(self, first.number, count);
    return give_checked(self, &claim);
}

static bool split_area(struct tsl_frames *self, tsl_word area)
{
    tsl_pin pin = tsl_cpu_pin();
    bool is_split = tsl_frames_huge_split(self, area);
    tsl_cpu_unpin(pin);
    return is_split;
}

enum tsl_status tsl_frames_split(struct tsl_frames *self, struct tsl_frame frame, unsigned order)
{
    struct claim claim = {.number = frame.number, .what = "split"};
    if (order != TSL_FRAMES_HUGE_ORDER && order != TSL_FRAMES_HUGE_ORDER + 1)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: split of order %u", order);
    claim.count = (tsl_word)1 << order;
    if (!is_aligned(frame.number, order))
        return refuse(self, &claim, TSL_MISALIGNED);
    if (!locate(self, &claim))
        return refuse(self, &claim, TSL_FOREIGN);
    enum tsl_status status = tsl_frames_range_check(self, claim.index, claim.count, RANGE_HUGE);
    for (tsl_word done = 0; status == TSL_OK && done < claim.count; done += AREA_FRAMES)
        if (!split_area(self, (claim.index + done) / AREA_FRAMES))
            status = TSL_DOUBLE_FREE; /* another CPU was faster */
    if (FRAMES_GUARDED && status == TSL_OK)
        tsl_frames_owners_split(self, claim.index, claim.count);
    return status == TSL_OK ? TSL_OK : refuse(self, &claim, status);
}

bool tsl_frames_is_managed(const struct tsl_frames *self, struct tsl_frame frame)
{
    return tsl_frames_span_of(self, frame.number) != NULL;
}

bool tsl_frames_is_free(const struct tsl_frames *self, struct tsl_frame frame)
{
    const struct frames_span *span = tsl_frames_span_of(self, frame.number);
    if (span == NULL)
        return false;
    tsl_word index = frame.number - span->shift;
    tsl_word area = index / AREA_FRAMES;
    const tsl_word *word = &self->words[index / TSL_WORD_BITS];
    tsl_word free = word_free_now(self, area, word);
    return !state_is_huge(area_state(self, area)) && (free >> (index % TSL_WORD_BITS) & 1) != 0;
}
