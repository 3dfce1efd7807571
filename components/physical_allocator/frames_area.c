/* SPDX-License-Identifier: MIT
 *
 * frames_area.c: one area: its words, its entry, its places in the search trees, the CPUs' slots.
 *
 * Owns:    every change of the bitmap and of the entries.
 * Needs:   base (atomics, bits), frames_tree.c, frames_place.c.
 * Callers: frames_alloc.c, frames_free.c, frames_range.c, all of them pinned.
 *
 * Who takes bits looks at the huge flag after taking them and gives them back if it is set; who
 * sets the huge flag looks at the bits after setting it and clears it if one is missing. Both are
 * full barriers, so of two that meet at least one steps back, and never do both go on.
 */
#include "physical_allocator_internal.h"

unsigned tsl_frames_entry_add(struct tsl_frames *self, tsl_word area, int change)
{
    uint32_t *place = &self->entries[area / 2];
    uint32_t shifted = (uint32_t)change << entry_shift(area);
    uint32_t before;
    if (TSL_CPUS == 1) {
        before = tsl_atomic_load_u32(place);
        tsl_atomic_store_u32(place, before + shifted);
    } else {
        before = tsl_atomic_add_u32(place, shifted);
    }
    return ((before + shifted) >> entry_shift(area)) & 0xffffu;
}

/* Replaces an entry; false, with *expected renewed, if it is no longer what was expected. */
static bool entry_swap(struct tsl_frames *self, tsl_word area, unsigned *expected, unsigned desired)
{
    uint32_t *place = &self->entries[area / 2];
    unsigned shift = entry_shift(area);
    uint32_t before = tsl_atomic_load_u32(place);
    while (((before >> shift) & 0xffffu) == *expected) {
        uint32_t after = (before & ~((uint32_t)0xffffu << shift)) | ((uint32_t)desired << shift);
        if (tsl_atomic_compare_exchange_u32(place, &before, after))
            return true;
    }
    *expected = (before >> shift) & 0xffffu;
    return false;
}

bool tsl_frames_area_is_full_free(const struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    tsl_word all = WORD_FULL;
    for (unsigned i = 0; i < AREA_WORDS; i++)
        all &= tsl_atomic_load(&words[i]);
    return all == WORD_FULL;
}

bool tsl_frames_area_has_free(const struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    tsl_word some = 0;
    for (unsigned i = 0; i < AREA_WORDS; i++)
        some |= tsl_atomic_load(&words[i]);
    return some != 0;
}

void tsl_frames_publish(struct tsl_frames *self, tsl_word area)
{
    unsigned entry = entry_load(self, area);
    if ((entry & ENTRY_HUGE) != 0 || !tsl_frames_area_has_free(self, area))
        return;
    tsl_frames_tree_add(&self->any, area);
    if (entry_count(entry) >= (int)ROOMY_FRAMES)
        tsl_frames_tree_add(&self->roomy, area);
    if (tsl_frames_area_is_full_free(self, area))
        tsl_frames_tree_add(&self->whole, area);
}

void tsl_frames_withdraw(struct tsl_frames *self, struct area_tree *tree, tsl_word area)
{
    tsl_frames_tree_remove(tree, area);
    tsl_frames_publish(self, area);
}

/* Keeps the greatest number of used frames seen. */
static void note_peak(struct tsl_frames *self)
{
    tsl_word used = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        used += self->zone[zone].total - tsl_atomic_load(&self->zone[zone].free);
    tsl_word peak = tsl_atomic_load(&self->peak);
    while ((intptr_t)used > (intptr_t)peak && !word_swap(&self->peak, &peak, used)) {
    }
}

static void zone_add(struct tsl_frames *self, unsigned zone, int change)
{
    (void)word_add(&self->zone[zone].free, (tsl_word)change);
    if (change < 0)
        note_peak(self);
}

unsigned tsl_frames_slot_flush(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    int change = (int)slot->area_delta;
    if (change == 0)
        return entry_load(self, slot->area);
    tsl_atomic_store_u32(&slot->area_delta, 0);
    zone_add(self, zone, change);
    return tsl_frames_entry_add(self, slot->area, change);
}

/* For an area that is not the slot's present one. */
static void zone_account(struct tsl_frames *self, unsigned zone, struct frames_slot *slot,
                         int change)
{
    uint32_t delta = slot->zone_delta + (uint32_t)change;
    if (TSL_LIKELY(!slot_reached_batch(delta))) {
        tsl_atomic_store_u32(&slot->zone_delta, delta);
        return;
    }
    tsl_atomic_store_u32(&slot->zone_delta, 0);
    zone_add(self, zone, (int)delta);
}

void tsl_frames_account(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area, int change)
{
    unsigned zone = zone_of(self, area);
    struct frames_slot *slot = &cpu->slot[zone];
    if (area == slot->area) {
        slot_account(self, zone, slot, change);
        return;
    }
    unsigned entry = tsl_frames_entry_add(self, area, change);
    if (change > 0 && entry_count(entry) >= (int)ROOMY_FRAMES && !tree_has(&self->roomy, area))
        tsl_frames_tree_add(&self->roomy, area);
    zone_account(self, zone, slot, change);
}

void tsl_frames_slot_leave(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    tsl_word area = slot->area;
    if (area == FRAMES_NONE)
        return;
    unsigned entry = tsl_frames_slot_flush(self, zone, slot);
    tsl_atomic_store(&slot->area, FRAMES_NONE);
    slot->words = &self->nothing;
    slot->word = 0;
    while (!entry_swap(self, area, &entry, entry & ~ENTRY_CLAIMED)) {
    }
    tsl_frames_publish(self, area);
}

void tsl_frames_slot_enter(struct tsl_frames *self, struct frames_slot *slot, tsl_word area)
{
    unsigned entry = entry_load(self, area);
    while (!entry_swap(self, area, &entry, entry | ENTRY_CLAIMED)) {
    }
    slot->number = area * AREA_FRAMES + tsl_frames_shift_of(self, area);
    slot->words = area_words(self, area);
    slot->word = 0;
    tsl_atomic_store(&slot->area, area);
}

/* Flag and count change in one step, so that the zone alone is left to be told. */
static void account_huge(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area, int change)
{
    unsigned zone = zone_of(self, area);
    zone_account(self, zone, &cpu->slot[zone], change);
}

bool tsl_frames_huge_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    unsigned entry = entry_load(self, area);
    do {
        /* With a count of 512 the look at the bits can wait until the flag is set. */
        if ((entry & ENTRY_HUGE) != 0 || (entry_count(entry) != (int)TSL_FRAMES_PER_AREA &&
                                          !tsl_frames_area_is_full_free(self, area)))
            return false;
    } while (!entry_swap(self, area, &entry, entry + ENTRY_HUGE - (unsigned)TSL_FRAMES_PER_AREA));
    if (TSL_UNLIKELY(!tsl_frames_area_is_full_free(self, area))) {
        (void)tsl_frames_entry_add(self, area, (int)TSL_FRAMES_PER_AREA - (int)ENTRY_HUGE);
        tsl_frames_publish(self, area);
        return false;
    }
    account_huge(self, cpu, area, -(int)TSL_FRAMES_PER_AREA);
    return true;
}

bool tsl_frames_huge_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area)
{
    unsigned entry = entry_load(self, area);
    do {
        if ((entry & ENTRY_HUGE) == 0)
            return false;
    } while (!entry_swap(self, area, &entry, entry - ENTRY_HUGE + (unsigned)TSL_FRAMES_PER_AREA));
    account_huge(self, cpu, area, (int)TSL_FRAMES_PER_AREA);
    tsl_frames_tree_add(&self->any, area);
    tsl_frames_tree_add(&self->roomy, area);
    tsl_frames_tree_add(&self->whole, area);
    return true;
}

/* Makes a word of a huge area 0. Who took a bit before it saw the flag gives it back within a few
 * instructions, for which this waits: a plain store would let that frame become free. False: the
 * flag is gone, and with it the reason for the word to become full again. */
static bool word_split(struct tsl_frames *self, tsl_word area, tsl_word *word)
{
    tsl_word expected = WORD_FULL;
    while (!word_swap(word, &expected, 0)) {
        if ((entry_load(self, area) & ENTRY_HUGE) == 0)
            return false;
        expected = WORD_FULL;
    }
    return true;
}

/* The bits go first and the flag last, and only who clears the flag has split: another CPU may be
 * splitting or freeing the same block, which is a mistake of one of the two and must end as one. */
bool tsl_frames_huge_split(struct tsl_frames *self, tsl_word area)
{
    tsl_word *words = area_words(self, area);
    unsigned entry = entry_load(self, area);
    unsigned done = 0;
    while ((entry & ENTRY_HUGE) != 0 && done < AREA_WORDS && word_split(self, area, &words[done]))
        done++;
    while (done == AREA_WORDS && (entry & ENTRY_HUGE) != 0)
        if (entry_swap(self, area, &entry, entry - ENTRY_HUGE))
            return true;
    while (done > 0) {
        done--;
        word_or(&words[done], WORD_FULL);
    }
    tsl_frames_publish(self, area);
    return false;
}

bool tsl_frames_bits_take(struct tsl_frames *self, tsl_word area, unsigned word, tsl_word mask)
{
    tsl_word *place = &area_words(self, area)[word];
    tsl_word value = tsl_atomic_load(place);
    do {
        if ((value & mask) != mask)
            return false;
    } while (!word_swap(place, &value, value & ~mask));
    if (TSL_UNLIKELY((entry_load(self, area) & ENTRY_HUGE) != 0)) {
        word_or(place, mask);
        tsl_frames_publish(self, area);
        return false;
    }
    return true;
}

bool tsl_frames_bits_give(struct tsl_frames *self, tsl_word area, unsigned word, tsl_word mask)
{
    tsl_word *place = &area_words(self, area)[word];
    tsl_word value = tsl_atomic_load(place);
    do {
        if ((value & mask) != 0)
            return false;
    } while (!word_swap(place, &value, value | mask));
    bits_given(self, area, value | mask);
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

bool tsl_frames_part_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count)
{
    unsigned first = from / TSL_WORD_BITS;
    unsigned last = (from + count - 1) / TSL_WORD_BITS;
    for (unsigned word = first; word <= last; word++) {
        if (tsl_frames_bits_take(self, area, word, part_mask(word, from, count)))
            continue;
        while (word > first) {
            word--;
            /* Ours: nobody else can have freed them. */
            TSL_ASSERT(tsl_frames_bits_give(self, area, word, part_mask(word, from, count)));
        }
        return false;
    }
    tsl_frames_account(self, cpu, area, -(int)count);
    return true;
}

bool tsl_frames_part_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count)
{
    unsigned last = (from + count - 1) / TSL_WORD_BITS;
    unsigned given = 0;
    bool is_whole = true;
    for (unsigned word = from / TSL_WORD_BITS; word <= last; word++) {
        tsl_word mask = part_mask(word, from, count);
        if (!tsl_frames_bits_give(self, area, word, mask)) {
            is_whole = false;
            break;
        }
        given += tsl_bits_count(mask);
    }
    if (given > 0)
        tsl_frames_account(self, cpu, area, (int)given);
    return is_whole;
}
