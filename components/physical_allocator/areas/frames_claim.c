/* SPDX-License-Identifier: MIT
 *
 * frames_claim.c: what CPUs keep for themselves: owned areas, claimed words, and their return.
 *
 * Owns:    the slots, the ownership of areas, when CPUs may claim.
 * Needs:   base (bits, calls), frames_area.c, frames_tree.c.
 * Callers: frames_alloc.c and frames_free.c pinned; other CPUs through tsl_cpu_call.
 *
 * A CPU becomes the owner of an area and then claims its words one after the other: it exchanges
 * the word with 0 and has its bits for itself. The slot shows the area before the first claim, so
 * whoever finds a word empty sees afterwards who may have what was in it. Only CPUs that are online
 * own anything: then calling those that do brings everything back.
 */
#include "../physical_allocator_internal.h"

/* Requests without a claim after which it is asked again whether claims are allowed. */
#define TIGHT_REQUESTS 64u

/* How often who may not wait looks at a claim that is changing: a change takes some ten
 * instructions, and a CPU that was stopped in the middle of one never ends it. */
#define LOOKS 64u

static bool is_claim_affordable(const struct tsl_frames *self)
{
    tsl_word kept = kept_sum(self->reserve_exit, self->reserve_reclaim);
    tsl_word total = 0;
    tsl_word free = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        total += tsl_atomic_load(&self->zone[zone].total);
        free += tsl_frames_shared_free(self, zone);
    }
    tsl_word margin = (tsl_word)2 * TSL_CPUS * TSL_WORD_BITS;
    return free >= kept_sum(kept, margin < total / 4 ? margin : total / 4);
}

void tsl_frames_set_watched(struct tsl_frames *self)
{
    tsl_word wanted = kept_sum(self->reserve_exit, self->reserve_reclaim);
    if (TSL_FRAME_WATERMARKS && self->marks.crossed != NULL && self->marks.low > wanted)
        wanted = self->marks.low;
    tsl_word margin = (tsl_word)TSL_CPUS * (SLOT_BATCH + TSL_WORD_BITS);
    tsl_atomic_store(&self->watched, wanted == 0 ? 0 : kept_sum(wanted, margin));
}

bool tsl_frames_is_plenty(const struct tsl_frames *self)
{
    tsl_word watched = tsl_atomic_load(&self->watched);
    if (TSL_LIKELY(watched == 0))
        return true;
    tsl_word free = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        free += tsl_atomic_load(&self->zone[zone].free);
    return (intptr_t)free > 0 && free >= watched;
}

bool tsl_frames_may_claim(struct tsl_frames *self)
{
    if (!TSL_FRAME_CLAIMS || !tsl_cpu_is_online() ||
        (tsl_atomic_load(&self->rules) & FRAMES_RULES_NO_CLAIMS) != 0)
        return false;
    uint32_t tight = tsl_atomic_load_u32(&self->tight);
    if (TSL_LIKELY(tight == 0))
        return true;
    bool is_affordable = tight == 1 && is_claim_affordable(self);
    tsl_atomic_store_u32(&self->tight, is_affordable ? 0 : tight > 1 ? tight - 1 : TIGHT_REQUESTS);
    return is_affordable;
}

/* Whether an area from this frame number on is RAM of one span throughout. */
static bool is_solid(const struct tsl_frames *self, tsl_word number)
{
    const struct frames_span *span = tsl_frames_span_of(self, number);
    return span != NULL && span->end - number >= AREA_FRAMES;
}

/* This CPU owns the area from now on: no word is claimed yet. */
static void begin(struct tsl_frames *self, struct frames_slot *slot, tsl_word area)
{
    tsl_atomic_store_u16(&self->hints[area], 0);
    if (tree_has(&self->roomy, area))
        tsl_frames_tree_remove(&self->roomy, area);
    /* As if the first word had been claimed and used up. */
    tsl_word number = area * AREA_FRAMES + tsl_frames_shift_of(self, area);
    slot_turn(slot);
    TSL_ATOMIC_STORE_POINTER(&slot->word, area_words(self, area));
    slot->number = number;
    slot->bits = is_solid(self, number) ? TSL_WORD_BITS : 0;
    slot_turn(slot);
    slot->todo = area_free_words(self, area);
    tsl_frames_note_peak(self);
}

/* The state of an open area names this CPU; false if it is not open. A full barrier. */
static bool own(struct tsl_frames *self, tsl_word area)
{
    unsigned tag = tag_of(TSL_CPUS == 1 ? 0 : tsl_cpu_this());
    return state_swap(self, area, AREA_OPEN, tag) || state_swap(self, area, AREA_WHOLE, tag);
}

bool tsl_frames_enter(struct tsl_frames *self, struct frames_slot *slot, tsl_word area)
{
    tsl_atomic_store(&slot->area, area);
    if (!own(self, area)) {
        tsl_atomic_store(&slot->area, FRAMES_NONE);
        return false;
    }
    begin(self, slot, area);
    return true;
}

bool tsl_frames_claim(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    bool has_looked = false;
    for (;;) {
        if (slot->todo == 0) {
            slot->todo = has_looked ? 0 : area_free_words(self, slot->area);
            if (slot->todo == 0)
                return false;
            has_looked = true;
        }
        tsl_word bits = slot_claim_lowest(self, slot);
        if (bits != 0) {
            slot_account(self, zone, slot, (tsl_word)0 - tsl_bits_count(bits));
            return true;
        }
    }
}

/* Ends the claim of a word. */
static void unclaim(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    tsl_word copy = tsl_atomic_load(&slot->copy);
    slot->bits = 0;
    slot->todo = 0;
    if (copy == 0)
        return;
    slot_turn(slot);
    tsl_atomic_store(&slot->copy, 0);
    tsl_word twice = tsl_atomic_load(slot->word) & copy;
    word_or(slot->word, copy);
    slot_turn(slot);
    slot_account(self, zone, slot, tsl_bits_count(copy & ~twice));
    if (TSL_UNLIKELY(twice != 0)) {
        enum tsl_status status = tsl_refuse(&self->refusals, TSL_DOUBLE_FREE,
                                            "frames: frame %#lx was freed by two CPUs at once",
                                            (unsigned long)(slot->number + tsl_bits_lowest(twice)));
        (void)status; /* nobody to return it to: the second free may be long past */
    }
}

/* After an area was left open and a full barrier: what is free in it is for all, and they are told.
 * As a rule it is used up, and who frees into it now sees it open. False if so. */
static bool tell(struct tsl_frames *self, tsl_word area)
{
    if (TSL_LIKELY(!area_has_free(self, area))) {
        tsl_atomic_store_u16(&self->hints[area], 0);
        return false;
    }
    tsl_frames_recount(self, area);
    if (TSL_CPUS > 1)
        tsl_atomic_fence();
    tsl_frames_publish(self, area);
    return true;
}

void tsl_frames_leave(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    tsl_word area = slot->area;
    if (area == FRAMES_NONE)
        return;
    bool is_given_back = slot->copy != 0;
    unclaim(self, zone, slot);
    state_set(self, area, AREA_OPEN);
    /* Also where the copy was empty: while owned the area was no block, however free its words. */
    is_given_back |= tell(self, area);
    /* Only now: who sees no owner any more finds the frames, or sees that some came back. */
    if (is_given_back)
        word_add(&self->returns, FRAMES_RETURN);
    tsl_atomic_store_release(&slot->area, FRAMES_NONE);
}

/*
 * The lowest roomy area is the next one; false if there is none. The slot has nothing of its old
 * one, but shows it until everybody finds what others freed into it: who finds nothing asks whose
 * area may help. The new one is shown before the first claim in it.
 */
static bool move_on(struct tsl_frames *self, unsigned zone, struct frames_slot *slot)
{
    const struct frames_zone *place = &self->zone[zone];
    tsl_word old = slot->area;
    tsl_word area = tsl_frames_tree_find(&self->roomy, place->first_area, place->end_area);
    if (area == FRAMES_NONE || !state_is_open(area_state(self, area)))
        return false;
    slot->bits = 0;
    state_release(self, old);
    bool is_owned = own(self, area); /* and a barrier behind the old one's state */
    if (TSL_UNLIKELY(tell(self, old)))
        word_add(&self->returns, FRAMES_RETURN);
    tsl_atomic_store_release(&slot->area, is_owned ? area : FRAMES_NONE);
    if (TSL_LIKELY(is_owned))
        begin(self, slot, area);
    return is_owned;
}

bool tsl_frames_claim_anew(struct tsl_frames *self, struct frames_slot *slot)
{
    if (slot->area == FRAMES_NONE || tsl_atomic_load_u32(&self->tight) != 0 ||
        !tsl_frames_is_plenty(self))
        return false;
    unsigned zone = slot_zone(self, slot);
    bool is_used_up = slot->todo == 0 && !area_has_free(self, slot->area);
    if (!is_used_up && tsl_frames_claim(self, zone, slot))
        return true;
    return move_on(self, zone, slot) && tsl_frames_claim(self, zone, slot);
}

/* Whether the slot's claim is this word; what is left of it. In the middle of a change its frames
 * are in neither place, so the answer may be wrong; *out_sure says so. */
static bool look_into_slot(const struct frames_slot *slot, const tsl_word *word, tsl_word *out,
                           bool *out_sure)
{
    uint32_t before = tsl_atomic_load_acquire_u32(&slot->turn);
    const tsl_word *claimed = TSL_ATOMIC_LOAD_POINTER(&slot->word);
    *out = tsl_atomic_load_acquire(&slot->copy);
    *out_sure = before % 2 == 0 && tsl_atomic_load_u32(&slot->turn) == before;
    return claimed == word;
}

/* patience: how often an unsure answer is asked for again; 0: until it is sure. */
static tsl_word claimed_of(const struct tsl_frames *self, tsl_word area, const tsl_word *word,
                           unsigned patience)
{
    unsigned state = area_state(self, area);
    if (TSL_LIKELY(!state_is_owned(state)))
        return 0;
    unsigned zone = zone_of(self, area);
    tsl_word free = 0;
    /* A slot without an area still names the word it had last: it does not end the search. */
    for (unsigned cpu = state - 1; cpu < TSL_CPUS; cpu += AREA_TAGS) {
        const struct frames_slot *slot = &frames_cpu_at(self, cpu)->slot[zone];
        tsl_word copy = 0;
        bool is_claim, is_sure;
        unsigned tries = patience;
        do {
            is_claim = look_into_slot(slot, word, &copy, &is_sure);
        } while (!is_sure && (patience == 0 || --tries > 0));
        free |= is_claim ? copy : 0;
    }
    return free;
}

/* Waits the few instructions that a change of the claim takes. */
tsl_word tsl_frames_claimed(const struct tsl_frames *self, tsl_word area, const tsl_word *word)
{
    return claimed_of(self, area, word, 0);
}

tsl_word tsl_frames_claimed_about(const struct tsl_frames *self, tsl_word area,
                                  const tsl_word *word)
{
    return claimed_of(self, area, word, LOOKS);
}

/* ---- Bringing everything back ---- */

void tsl_frames_drain_cpu(void *frames)
{
    struct tsl_frames *self = frames;
    struct frames_cpu *cpu = this_cpu(self);
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        tsl_frames_leave(self, zone, &cpu->slot[zone]);
}

void tsl_frames_drain(struct tsl_frames *self)
{
    if (!TSL_FRAME_CLAIMS)
        return;
    tsl_pin pin = tsl_cpu_pin();
    tsl_frames_drain_cpu(self);
    tsl_cpu_unpin(pin);
}

/* Whether the area of a slot would be wholly free without its owner. */
static bool would_be_whole(const struct tsl_frames *self, const struct frames_slot *slot,
                           tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    const tsl_word *claimed = TSL_ATOMIC_LOAD_POINTER(&slot->word);
    for (unsigned i = 0; i < AREA_WORDS; i++) {
        tsl_word value = tsl_atomic_load(&words[i]);
        if (&words[i] == claimed)
            value |= tsl_atomic_load(&slot->copy);
        if (value != WORD_FULL)
            return false;
    }
    return true;
}

/* Whether giving this slot back may help a request for `count` neighbours below `limit`. A guess
 * where other CPUs are at work, exact otherwise. */
static bool may_help(const struct tsl_frames *self, const struct frames_slot *slot, tsl_word count,
                     tsl_word limit)
{
    tsl_word area = tsl_atomic_load_acquire(&slot->area);
    if (area >= limit) /* FRAMES_NONE, too */
        return false;
    if (count <= 1 || tsl_atomic_load_acquire_u32(&slot->turn) % 2 == 1)
        return true;
    if (count >= AREA_FRAMES)
        return would_be_whole(self, slot, area);
    const tsl_word *claimed = TSL_ATOMIC_LOAD_POINTER(&slot->word);
    if (claimed == NULL)
        return false; /* it is just entering its first area, and shows that before it claims */
    tsl_word value = tsl_atomic_load(claimed) | tsl_atomic_load(&slot->copy);
    unsigned need = count < TSL_WORD_BITS ? (unsigned)count : TSL_WORD_BITS;
    return tsl_atomic_load(&slot->copy) != 0 && tsl_bits_run_starts(value, need) != 0;
}

void tsl_frames_tighten(struct tsl_frames *self)
{
    tsl_atomic_store_u32(&self->tight, TIGHT_REQUESTS);
}

/* The CPUs that own areas which may help. */
static void find_owners(const struct tsl_frames *self, tsl_word count, unsigned flags,
                        struct tsl_cpu_set *out)
{
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        tsl_word limit = tsl_frames_flag_limit(self, zone_node(zone), flags);
        for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
            if (may_help(self, &frames_cpu_at(self, cpu)->slot[zone], count, limit))
                tsl_cpu_set_add(out, cpu);
    }
}

bool tsl_frames_revoke(struct tsl_frames *self, tsl_word count, unsigned flags)
{
    struct tsl_cpu_set owners = {{0}};
    if (!TSL_FRAME_CLAIMS)
        return false;
    /* What the caller found empty comes before the look at who has it. */
    if (TSL_CPUS > 1)
        tsl_atomic_fence();
    find_owners(self, count, flags, &owners);
    if (tsl_cpu_set_is_empty(&owners))
        return false;
    /* Who claims before it sees this is found by the caller's next question. */
    if (TSL_CPUS > 1 && count == 1)
        tsl_frames_tighten(self);
    (void)tsl_atomic_add(&self->revocations, 1);
    if (TSL_CPUS > 1)
        tsl_cpu_call(&owners, tsl_frames_drain_cpu, self);
    else
        tsl_frames_drain(self);
    return true;
}
