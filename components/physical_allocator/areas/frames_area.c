/* SPDX-License-Identifier: MIT
 *
 * frames_area.c: one area: its words, its state, its hint, its places in the search trees.
 *
 * Owns:    every change of shared words but claims, and of the states but ownership.
 * Needs:   base (atomics, bits), frames_tree.c, frames_place.c.
 * Callers: frames_alloc.c, frames_free.c, frames_claim.c, frames_range.c, all of them pinned.
 *
 * Who takes bits looks at the state after taking them; who wants the whole area sets the state to
 * `trying`, looks at the bits, and says `huge` or `open`. Both first steps are full barriers, so of
 * two that meet at least one sees the other. Who sees `trying` after it took bits waits the few
 * instructions until it is decided: so never do both step back, and a request for an area fails
 * only because another one succeeds.
 */
#include "../physical_allocator_internal.h"

void tsl_frames_recount(struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    unsigned free = 0;
    for (unsigned i = 0; i < AREA_WORDS; i++) {
        tsl_word word = tsl_atomic_load(&words[i]);
        if (word != 0)
            free += tsl_bits_count(word);
    }
    tsl_atomic_store_u16(&self->hints[area], (uint16_t)free);
}

/* A tree of several levels is written from below: who searches it meanwhile from above may not find
 * what is marked below already, also by others, who then rely on it. Hence FRAMES_WITHDRAWING. */
static void put_in(struct tsl_frames *self, struct area_tree *tree, tsl_word area)
{
    if (tree_has(tree, area))
        return;
    bool is_hidden = TSL_CPUS > 1 && tree != &self->roomy && tree->areas > TSL_WORD_BITS;
    if (is_hidden)
        word_add(&self->returns, FRAMES_WITHDRAWING);
    tsl_frames_tree_add(tree, area);
    if (is_hidden)
        word_add(&self->returns, FRAMES_RETURN - FRAMES_WITHDRAWING);
}

void tsl_frames_publish(struct tsl_frames *self, tsl_word area)
{
    unsigned state = area_state(self, area);
    /* Who calls may have removed it from a tree: its free is to look. */
    while (state == AREA_LISTED && !state_swap(self, area, AREA_LISTED, AREA_HUGE))
        state = area_state(self, area);
    if (state_is_huge(state) || !area_has_free(self, area))
        return;
    put_in(self, &self->any, area);
    if (state_is_owned(state))
        return; /* the owner publishes when it leaves */
    if (area_hint(self, area) >= ROOMY_FRAMES)
        put_in(self, &self->roomy, area);
    if (area_is_whole(self, area))
        put_in(self, &self->whole, area);
}

/*
 * For a moment this may hide an area that has free frames: this one, if some came back after the
 * look that found none, or one whose bit shares a word with this one's at a level above. Whoever
 * searches at that moment and finds nothing must not believe it, hence FRAMES_WITHDRAWING. Nobody
 * depends on `roomy`: what is not found there is found in `any`.
 */
void tsl_frames_withdraw(struct tsl_frames *self, struct area_tree *tree, tsl_word area)
{
    bool is_believed = TSL_CPUS > 1 && tree != &self->roomy;
    if (is_believed)
        word_add(&self->returns, FRAMES_WITHDRAWING);
    tsl_frames_tree_remove(tree, area);
    tsl_frames_publish(self, area);
    if (is_believed)
        word_add(&self->returns, FRAMES_RETURN - FRAMES_WITHDRAWING);
}

void tsl_frames_note_peak(struct tsl_frames *self)
{
    const struct frames_cpu *cpu = this_cpu(self);
    tsl_word used = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        tsl_word total = tsl_atomic_load(&self->zone[zone].total);
        if (total == 0)
            continue;
        used += total - tsl_atomic_load(&self->zone[zone].free);
        used -= slot_unbooked(&cpu->slot[zone]);
        if (cpu->slot[zone].copy != 0)
            used -= tsl_bits_count(cpu->slot[zone].copy);
    }
    tsl_word peak = tsl_atomic_load(&self->peak);
    while ((intptr_t)used > (intptr_t)peak && !word_swap(&self->peak, &peak, used)) {
    }
}

/* In the order that lets who adds up see rather too few than too many free frames, as long as the
 * delta is positive. */
void tsl_frames_flush_delta(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    tsl_word delta = tsl_atomic_load(&slot->delta);
    if ((intptr_t)delta > 0)
        tsl_atomic_store(&slot->delta, 0);
    (void)word_add(&self->zone[zone].free, delta);
    tsl_atomic_store(&slot->delta, 0);
}

/* ---- Huge blocks ---- */

/* An open area that is wholly free: nobody else gets any of it until it is decided. */
static bool try_whole(struct tsl_frames *self, tsl_word area)
{
    while (TSL_CPUS > 1 && TSL_UNLIKELY(area_state(self, area) == AREA_TRYING)) {
    }
    if (!area_is_whole(self, area) || (!state_swap(self, area, AREA_WHOLE, AREA_TRYING) &&
                                       !state_swap(self, area, AREA_OPEN, AREA_TRYING)))
        return false;
    if (TSL_CPUS == 1 || TSL_LIKELY(area_is_whole(self, area)))
        return true;
    state_set(self, area, AREA_OPEN);
    tsl_frames_publish(self, area);
    return false;
}

static void decide_huge(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    state_decide_huge(self, area);
    account(self, cpu, area, (tsl_word)0 - TSL_FRAMES_PER_AREA);
}

bool tsl_frames_huge_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    if (!try_whole(self, area))
        return false;
    decide_huge(self, cpu, area);
    return true;
}

bool tsl_frames_huge_take_two(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    if (!try_whole(self, area))
        return false;
    if (!try_whole(self, area + 1)) {
        state_set(self, area, AREA_OPEN);
        tsl_frames_publish(self, area);
        return false;
    }
    decide_huge(self, cpu, area);
    decide_huge(self, cpu, area + 1);
    return true;
}

/* From huge, listed or not; false if it is not. Whoever takes it out of the trees meanwhile changes
 * the one into the other. */
static bool leave_huge(struct tsl_frames *self, tsl_word area, unsigned to)
{
    unsigned state = area_state(self, area);
    while (state == AREA_HUGE || state == AREA_LISTED) {
        if (state_swap(self, area, state, to))
            return true;
        state = area_state(self, area);
    }
    return false;
}

bool tsl_frames_huge_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    if (!leave_huge(self, area, AREA_WHOLE))
        return false;
    if (TSL_UNLIKELY(!is_whole_known(self, area)))
        tsl_frames_publish(self, area);
    account(self, cpu, area, TSL_FRAMES_PER_AREA);
    return true;
}

/* Makes a word of a huge area 0. Who took a bit before it saw the state gives it back within a few
 * instructions, for which this waits: a plain store would let that frame become free. */
static void word_split(tsl_word *word)
{
    tsl_word expected = WORD_FULL;
    while (!word_swap(word, &expected, 0))
        expected = WORD_FULL;
}

bool tsl_frames_huge_split(struct tsl_frames *self, tsl_word area)
{
    tsl_word *words = area_words(self, area);
    if (!leave_huge(self, area, AREA_SPLITTING))
        return false;
    for (unsigned i = 0; i < AREA_WORDS; i++)
        word_split(&words[i]);
    tsl_atomic_store_u16(&self->hints[area], 0);
    state_set(self, area, AREA_OPEN);
    return true;
}

/* ---- Bits ---- */

/* After taking bits: whether they may be kept. */
static bool may_keep(struct tsl_frames *self, tsl_word area)
{
    unsigned state = area_state(self, area);
    while (state == AREA_TRYING ||
           (state == AREA_WHOLE && !state_swap(self, area, AREA_WHOLE, AREA_OPEN)))
        state = area_state(self, area);
    return !state_is_huge(state);
}

bool tsl_frames_bits_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned word, tsl_word mask)
{
    tsl_word *place = &area_words(self, area)[word];
    tsl_word value = tsl_atomic_load(place);
    do {
        if ((value & mask) != mask)
            return false;
    } while (!word_swap(place, &value, value & ~mask));
    if (TSL_UNLIKELY(!may_keep(self, area))) {
        word_or(place, mask);
        tsl_frames_publish(self, area);
        word_add(&self->returns, FRAMES_RETURN);
        return false;
    }
    unsigned count = tsl_bits_count(mask);
    unsigned hint = area_hint(self, area);
    tsl_atomic_store_u16(&self->hints[area], (uint16_t)(hint > count ? hint - count : 0));
    if (TSL_CPUS > 1 && hint >= ROOMY_FRAMES + count) {
        /* This may have overwritten a smaller hint, by which somebody removed the area. */
        tsl_atomic_fence();
        if (!tree_has(&self->roomy, area))
            tsl_frames_publish(self, area);
    }
    account(self, cpu, area, (tsl_word)0 - count);
    return true;
}

bool tsl_frames_bits_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned word, tsl_word mask)
{
    tsl_word *place = &area_words(self, area)[word];
    unsigned count = tsl_bits_count(mask);
    struct frames_slot *slot = &cpu->slot[zone_of(self, area)];
    if (TSL_FRAME_CLAIMS && slot->area == area && slot->word == place)
        return slot_give(slot, mask);
    tsl_word value = tsl_atomic_load(place);
    if (TSL_FRAME_CLAIMS && (tsl_frames_claimed(self, area, place) & mask) != 0)
        return false;
    unsigned hint = hint_add(self, area, count);
    do {
        if ((value & mask) != 0) {
            (void)hint_add(self, area, 0 - count);
            tsl_frames_publish(self, area);
            return false;
        }
    } while (!word_swap(place, &value, value | mask));
    bits_given(self, area, place, hint);
    account(self, cpu, area, count);
    return true;
}

/* The bits of [from, from + count) that lie in `word` of an area. */
static tsl_word part_mask(unsigned word, unsigned from, unsigned count)
{
    unsigned start = word * TSL_WORD_BITS;
    unsigned low = from > start ? from - start : 0;
    unsigned high = from + count < start + TSL_WORD_BITS ? from + count - start : TSL_WORD_BITS;
    return tsl_bits_mask(low, high - low);
}

/* Gives back what was taken a moment ago. One that is free again already was freed twice by
 * somebody who thinks it his: not our mistake, and it stays free. */
static void bits_return(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                        unsigned word, tsl_word mask)
{
    tsl_word *place = &area_words(self, area)[word];
    tsl_word present = word_or(place, mask);
    account(self, cpu, area, tsl_bits_count(mask & ~present));
    tsl_frames_recount(self, area);
    if (TSL_CPUS > 1)
        tsl_atomic_fence();
    tsl_frames_publish(self, area);
    word_add(&self->returns, FRAMES_RETURN);
}

void tsl_frames_part_return(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                            unsigned from, unsigned count)
{
    unsigned last = (from + count - 1) / TSL_WORD_BITS;
    for (unsigned word = from / TSL_WORD_BITS; word <= last; word++)
        bits_return(self, cpu, area, word, part_mask(word, from, count));
}

bool tsl_frames_part_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count)
{
    unsigned first = from / TSL_WORD_BITS;
    unsigned last = (from + count - 1) / TSL_WORD_BITS;
    for (unsigned word = first; word <= last; word++) {
        if (tsl_frames_bits_take(self, cpu, area, word, part_mask(word, from, count)))
            continue;
        if (word > first)
            tsl_frames_part_return(self, cpu, area, from, word * TSL_WORD_BITS - from);
        return false;
    }
    return true;
}

bool tsl_frames_part_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count)
{
    unsigned last = (from + count - 1) / TSL_WORD_BITS;
    for (unsigned word = from / TSL_WORD_BITS; word <= last; word++)
        if (!tsl_frames_bits_give(self, cpu, area, word, part_mask(word, from, count)))
            return false;
    return true;
}
