/* SPDX-License-Identifier: MIT
 *
 * frames_alloc.c: allocation of blocks of order 0..10.
 *
 * Owns:    where to look, and in which order.
 * Needs:   frames_area.c, frames_claim.c, frames_tree.c, frames_place.c.
 * Callers: the public tsl_frames_alloc and _alloc_bulk.
 *
 * Single frames come from the word that the CPU has claimed, then from the next word of the area
 * that it owns, until that is used up; then from the lowest open area with ROOMY_FRAMES free ones,
 * then from any area with a free frame. So areas fill up from below and empty ones stay empty. What
 * is not found at last is asked back from the CPUs that own areas.
 */
#include "frames_guard.h"

/* Partly used areas that a block of order 1..8 tries before a whole area is broken up for it. */
#define BLOCK_TRIES 32u

/* One request on its way through the zones. */
struct search {
    struct tsl_frames *self;
    struct frames_cpu *cpu;
    unsigned order;
    unsigned flags;
    unsigned zone;
    tsl_word first_area;
    tsl_word end_area;
    tsl_word number; /* out: the first frame */
    bool is_claimed; /* out: it comes from a claim, which the peak counts area by area */
};

static void set_found(struct search *search, tsl_word area, tsl_word offset)
{
    search->number = area * AREA_FRAMES + tsl_frames_shift_of(search->self, area) + offset;
}

/* A block of 2^order frames out of the claimed word; its first frame's number, or 0. */
static tsl_word take_claimed(struct frames_slot *slot, unsigned order)
{
    tsl_word copy = tsl_atomic_load(&slot->copy);
    unsigned count = 1u << order;
    int bit = copy == 0 ? -1 : tsl_bits_find_run(copy, count, count);
    if (bit < 0)
        return 0;
    tsl_atomic_store(&slot->copy, copy & ~tsl_bits_mask((unsigned)bit, count));
    return slot->number + (unsigned)bit;
}

/* A block of 2^order frames within one word of an area, past all claims. */
static bool take_in_word(struct search *search, tsl_word area, unsigned word)
{
    unsigned count = 1u << search->order;
    tsl_word *place = &area_words(search->self, area)[word];
    for (;;) {
        int bit = tsl_bits_find_run(tsl_atomic_load(place), count, count);
        if (bit < 0)
            return false;
        tsl_word mask = tsl_bits_mask((unsigned)bit, count);
        if (tsl_frames_bits_take(search->self, search->cpu, area, word, mask)) {
            set_found(search, area, word * TSL_WORD_BITS + (unsigned)bit);
            return true;
        }
        if (state_is_huge(area_state(search->self, area)))
            return false;
    }
}

static bool take_in_words(struct search *search, tsl_word area)
{
    for (unsigned word = 0; word < AREA_WORDS; word++)
        if (take_in_word(search, area, word))
            return true;
    return false;
}

/* The next open area with ROOMY_FRAMES or more. Forgets those that are not roomy. */
static tsl_word find_roomy(struct search *search, tsl_word from)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->roomy, from, search->end_area);
    while (area != FRAMES_NONE) {
        unsigned state = area_state(self, area);
        if (state_is_huge(state) || area_hint(self, area) < ROOMY_FRAMES ||
            !area_has_free(self, area))
            tsl_frames_withdraw(self, &self->roomy, area);
        else if (state_is_open(state))
            return area;
        area = tsl_frames_tree_find(&self->roomy, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

/* The next area with any free frame, also one that another CPU owns. Forgets those without. */
static tsl_word find_any(struct search *search, tsl_word from)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->any, from, search->end_area);
    while (area != FRAMES_NONE) {
        if (!state_is_huge(area_state(self, area)) && area_has_free(self, area))
            return area;
        tsl_frames_withdraw(self, &self->any, area);
        area = tsl_frames_tree_find(&self->any, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

/* A single frame of an area that the slot, which has none, is to own from now on. */
static bool take_entering(struct search *search, struct frames_slot *slot, tsl_word area)
{
    if (!tsl_frames_enter(search->self, slot, area))
        return false;
    if (tsl_frames_claim(search->self, search->zone, slot)) {
        search->number = take_claimed(slot, 0);
        search->is_claimed = true;
        return true;
    }
    tsl_frames_leave(search->self, search->zone, slot);
    return false;
}

/* A single frame without claiming: the lowest there is. */
static bool take_unclaimed(struct search *search)
{
    tsl_word area = find_any(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_any(search, area + 1))
        if (take_in_words(search, area))
            return true;
    return false;
}

/* A single frame out of what the slot has; what it has then is used up otherwise. */
static bool take_in_slot(struct search *search, struct frames_slot *slot, bool may_claim)
{
    if (slot->area < search->first_area || slot->area >= search->end_area)
        return false;
    search->number = take_claimed(slot, 0);
    if (search->number == 0 && may_claim && tsl_frames_claim(search->self, search->zone, slot))
        search->number = take_claimed(slot, 0);
    search->is_claimed = search->number != 0;
    return search->is_claimed;
}

static bool take_one(struct search *search)
{
    struct tsl_frames *self = search->self;
    struct frames_slot *slot = &search->cpu->slot[search->zone];
    if (!TSL_FRAME_CLAIMS)
        return take_unclaimed(search);
    bool may_claim = tsl_frames_may_claim(self);
    if (take_in_slot(search, slot, may_claim))
        return true;
    /* An area beyond the request's limit is kept for those that have none. */
    if (!may_claim || (slot->area != FRAMES_NONE && slot->area >= search->end_area))
        return take_unclaimed(search);
    tsl_frames_leave(self, search->zone, slot);
    tsl_word area = find_roomy(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_roomy(search, area + 1))
        if (take_entering(search, slot, area))
            return true;
    area = find_any(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_any(search, area + 1))
        if (take_entering(search, slot, area) || take_in_words(search, area))
            return true;
    return false;
}

/* A block of 2^order frames, order 1..8, in this area. */
static bool take_in_area(struct search *search, tsl_word area)
{
    unsigned count = 1u << search->order;
    if (state_is_huge(area_state(search->self, area)))
        return false;
    if (count <= TSL_WORD_BITS)
        return take_in_words(search, area);
    for (unsigned from = 0; from < TSL_FRAMES_PER_AREA; from += count) {
        tsl_word index = area * AREA_FRAMES + from;
        if (tsl_frames_range_free(search->self, index, count) == count &&
            tsl_frames_part_take(search->self, search->cpu, area, from, count)) {
            set_found(search, area, from);
            return true;
        }
    }
    return false;
}

/* Tries a bounded number of partly used areas that no CPU owns. */
static bool take_in_used_area(struct search *search)
{
    struct tsl_frames *self = search->self;
    tsl_word area = search->first_area;
    for (unsigned tries = 0; tries < BLOCK_TRIES; tries++) {
        area = tsl_frames_tree_find(&self->any, area, search->end_area);
        if (area == FRAMES_NONE)
            return false;
        if (state_is_open(area_state(self, area)) && area_hint(self, area) < TSL_FRAMES_PER_AREA &&
            take_in_area(search, area))
            return true;
        area++;
    }
    return false;
}

/* The next area whose frames are all free. Forgets those that are not. */
static tsl_word find_whole(struct search *search, tsl_word from)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->whole, from, search->end_area);
    while (area != FRAMES_NONE) {
        if (state_is_open(area_state(self, area)) && area_is_whole(self, area))
            return area;
        tsl_frames_withdraw(self, &self->whole, area);
        area = tsl_frames_tree_find(&self->whole, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

/* The present area, then partly used ones, then a whole one, then all there are. */
static bool take_block(struct search *search)
{
    struct frames_slot *slot = &search->cpu->slot[search->zone];
    if (TSL_FRAME_CLAIMS && slot->area >= search->first_area && slot->area < search->end_area) {
        search->number = search->order <= WORD_ORDER ? take_claimed(slot, search->order) : 0;
        if (search->number != 0 || take_in_area(search, slot->area))
            return true;
    }
    if (take_in_used_area(search))
        return true;
    tsl_word area = find_whole(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_whole(search, area + 1))
        if (take_in_area(search, area))
            return true;
    area = find_any(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_any(search, area + 1))
        if (take_in_area(search, area))
            return true;
    return false;
}

static bool take_huge(struct search *search)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->whole, search->first_area, search->end_area);
    while (area != FRAMES_NONE) {
        if (tsl_frames_huge_take(self, search->cpu, area)) {
            set_found(search, area, 0);
            return true;
        }
        tsl_frames_withdraw(self, &self->whole, area);
        area = tsl_frames_tree_find(&self->whole, area + 1, search->end_area);
    }
    return false;
}

/* Two neighbouring areas, the first with an even number in physical memory. */
static bool take_two_huge(struct search *search)
{
    struct tsl_frames *self = search->self;
    tsl_word area = find_whole(search, search->first_area);
    for (; area != FRAMES_NONE; area = find_whole(search, area + 1)) {
        tsl_word number = area * AREA_FRAMES + tsl_frames_shift_of(self, area);
        if (number % (2 * AREA_FRAMES) != 0 || find_whole(search, area + 1) != area + 1 ||
            tsl_frames_shift_of(self, area + 1) != tsl_frames_shift_of(self, area))
            continue;
        if (tsl_frames_huge_take_two(self, search->cpu, area)) {
            set_found(search, area, 0);
            return true;
        }
    }
    return false;
}

static bool take_in_zone(struct search *search)
{
    switch (search->order) {
    case 0:
        return take_one(search);
    case TSL_FRAMES_HUGE_ORDER:
        return take_huge(search);
    case TSL_FRAMES_HUGE_ORDER + 1:
        return take_two_huge(search);
    default:
        return take_block(search);
    }
}

/* Goes through the zones that the flags admit, on one node from the highest down. Before:
 * pinned. */
static bool take_on_route(struct search *search)
{
    struct tsl_frames *self = search->self;
    struct frames_route route = route_of(self, search->flags);
    tsl_word count = (tsl_word)1 << search->order;
    for (unsigned step = 0; step < zone_count(self); step++) {
        unsigned zone = route_zone(self, &route, step);
        const struct frames_zone *place = &self->zone[zone];
        tsl_word limit = tsl_frames_flag_limit(self, zone_node(zone), search->flags);
        if (place->first_area == place->end_area || place->first_area >= limit ||
            (route.is_bound && zone_node(zone) != route.node) ||
            tsl_frames_zone_spare(self, zone, search->flags) < count)
            continue;
        search->zone = zone;
        search->is_claimed = false;
        search->first_area = place->first_area;
        search->end_area = place->end_area < limit ? place->end_area : limit;
        if (!take_in_zone(search))
            continue;
        if (TSL_LIKELY(tsl_frames_zone_is_kept(self, zone, search->flags))) {
            if (TSL_NODES > 1 && zone_node(zone) != route.node)
                tsl_frames_count_elsewhere(self, route.node);
            return true;
        }
        tsl_frames_step_back(self, search->number, count);
    }
    return false;
}

/* Any order, all zones; the first frame's number or 0. */
static tsl_word take_pinned(struct tsl_frames *self, unsigned order, unsigned flags)
{
    tsl_pin pin = tsl_cpu_pin();
    struct search search = {.self = self, .cpu = this_cpu(self), .order = order, .flags = flags};
    bool is_found = take_on_route(&search);
    if (is_found && !search.is_claimed)
        tsl_frames_note_peak(self);
    tsl_cpu_unpin(pin);
    return is_found ? search.number : 0;
}

/*
 * What this CPU finds, or what the others give back. Who found nothing has seen each word at its
 * own moment: frames that came back meanwhile, or were claimed by a CPU that nobody asked, may have
 * been there all the time. For one frame it ends when there is nobody left to ask, since no CPU
 * claims while memory is tight; for more there may always be somebody.
 */
static tsl_word take_or_ask(struct tsl_frames *self, unsigned order, unsigned flags)
{
    for (unsigned tries = 0; order == 0 || tries < FRAMES_REQUESTS; tries++) {
        tsl_word seen = frames_returns(self);
        tsl_word number = take_pinned(self, order, flags);
        if (number != 0)
            return number;
        if (!frames_ask(self, (tsl_word)1 << order, flags, seen))
            return 0;
    }
    return 0;
}

/* As take_or_ask, but the reserves are left: who took at the same moment as others looks again. */
static tsl_word take_allowed(struct tsl_frames *self, unsigned order, unsigned flags)
{
    tsl_word count = (tsl_word)1 << order;
    for (unsigned tries = 0; tries < FRAMES_REQUESTS; tries++) {
        if (!tsl_frames_reserve_allows(self, count, flags))
            return 0;
        tsl_word number = take_or_ask(self, order, flags);
        if (number == 0 || TSL_LIKELY(tsl_frames_reserve_allows(self, 0, flags)))
            return number;
        tsl_frames_step_back(self, number, count);
    }
    return 0;
}

/* As take_allowed, or what a bank has that is switched on. */
static tsl_word take_anywhere(struct tsl_frames *self, unsigned order, unsigned flags)
{
    tsl_word number;
    bool may_wake;
    do {
        may_wake = frames_bank_sleeps(self);
        number = take_allowed(self, order, flags);
    } while (number == 0 && (may_wake || frames_bank_sleeps(self)) && tsl_frames_bank_wake(self));
    return number;
}

/* What needs more than what this CPU has at hand. */
TSL_NOINLINE static enum tsl_status alloc_long(struct tsl_frames *self, unsigned order,
                                               unsigned flags, struct tsl_frame *out)
{
    if (order > TSL_FRAMES_MAX_ORDER) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: order %u is above %u", order,
                          TSL_FRAMES_MAX_ORDER);
    }
    enum tsl_status status = tsl_frames_check_flags(self, flags);
    if (status != TSL_OK)
        return status;
    struct tsl_frame frame = {take_anywhere(self, order, flags)};
    frames_watch(self);
    if (frame.number == 0) {
        (void)tsl_atomic_add_u32(&self->failures[order], 1);
        return TSL_NO_MEMORY;
    }
    if ((flags & TSL_FRAMES_ZERO) != 0)
        tsl_frames_fill_zero(frame, (tsl_word)1 << order);
    *out = frame;
    return TSL_OK;
}

/* Not 0 if something stands against what this CPU has at hand. What is claimed is past all reserves
 * and watermarks: nobody claims while one is near. */
static inline tsl_word why_not_plain(const struct tsl_frames *self, unsigned flags)
{
    tsl_word special = flags & tsl_atomic_load_u32(&self->special_flags);
    return TSL_NODES == 1 ? special : special | tsl_atomic_load(&self->rules);
}

static inline bool is_plain(const struct tsl_frames *self, unsigned flags)
{
    return why_not_plain(self, flags) == 0;
}

/* When no word is left to do, or something is special. Before: pinned; undoes the pin. */
TSL_NOINLINE static enum tsl_status alloc_anew(struct tsl_frames *self, struct frames_slot *slot,
                                               unsigned flags, struct tsl_frame *out, tsl_pin pin)
{
    bool is_claimed = tsl_frames_claim_anew(self, slot);
    if (is_claimed)
        out->number = take_claimed(slot, 0);
    tsl_cpu_unpin(pin);
    return is_claimed ? TSL_OK : alloc_long(self, 0, flags, out);
}

/* When the claimed word is used up: the next one that is to do. Before: pinned; undoes the pin. */
TSL_NOINLINE static enum tsl_status alloc_next(struct tsl_frames *self, struct frames_slot *slot,
                                               unsigned flags, struct tsl_frame *out, tsl_pin pin)
{
    if (TSL_UNLIKELY(slot->todo == 0) ||
        TSL_UNLIKELY((tsl_atomic_load_u32(&self->tight) | tsl_atomic_load(&self->watched)) != 0))
        return alloc_anew(self, slot, flags, out, pin);
    tsl_word bits = slot_claim_lowest(self, slot);
    if (TSL_UNLIKELY(bits == 0))
        return alloc_anew(self, slot, flags, out, pin);
    tsl_atomic_store(&slot->copy, bits & (bits - 1));
    out->number = slot->number + tsl_bits_lowest(bits);
    slot_account(self, slot_zone(self, slot), slot, (tsl_word)0 - tsl_bits_count(bits));
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* When the block given back last is no longer there. Before: pinned; undoes the pin. */
TSL_NOINLINE static enum tsl_status alloc_huge_far(struct tsl_frames *self, tsl_pin pin,
                                                   unsigned flags, struct tsl_frame *out)
{
    struct frames_slot *slot = hot_slot(self);
    if (slot->whole != 0) {
        tsl_atomic_store(&slot->whole, 0);
        slot_account(self, slot_zone(self, slot), slot, TSL_FRAMES_PER_AREA);
    }
    tsl_cpu_unpin(pin);
    return alloc_long(self, TSL_FRAMES_HUGE_ORDER, flags, out);
}

/* The common case of a huge block: the one that was given back last, if nobody has touched it. */
static inline enum tsl_status alloc_huge(struct tsl_frames *self, unsigned flags,
                                         struct tsl_frame *out)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_slot *slot = hot_slot(self);
    tsl_word number = slot->whole;
    tsl_word area = (number - self->main.shift) / AREA_FRAMES;
    if (TSL_UNLIKELY(number == 0) || TSL_UNLIKELY(tsl_atomic_load(&self->watched) != 0) ||
        TSL_UNLIKELY(!state_swap(self, area, AREA_WHOLE, AREA_LISTED)))
        return alloc_huge_far(self, pin, flags, out);
    tsl_atomic_store(&slot->whole, 0);
    out->number = number;
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* All but a single frame without special flags. */
TSL_NOINLINE static enum tsl_status alloc_other(struct tsl_frames *self, unsigned order,
                                                unsigned flags, struct tsl_frame *out)
{
    return order == TSL_FRAMES_HUGE_ORDER && is_plain(self, flags)
               ? alloc_huge(self, flags, out)
               : alloc_long(self, order, flags, out);
}

/* The rest is out of line, so that the common cases need no registers saved. */
TSL_ALWAYS_INLINE static inline enum tsl_status alloc_block(struct tsl_frames *self, unsigned order,
                                                            unsigned flags, struct tsl_frame *out)
{
    if (!TSL_FRAME_CLAIMS)
        return alloc_long(self, order, flags, out);
    /* One test for both. */
    if (TSL_UNLIKELY((order | why_not_plain(self, flags)) != 0))
        return alloc_other(self, order, flags, out);
    tsl_pin pin = tsl_cpu_pin();
    struct frames_slot *slot = hot_slot(self);
    tsl_word copy = tsl_atomic_load(&slot->copy);
    if (copy == 0)
        return alloc_next(self, slot, flags, out, pin);
    tsl_atomic_store(&slot->copy, copy & (copy - 1));
    out->number = slot->number + tsl_bits_lowest(copy);
    tsl_cpu_unpin(pin);
    return TSL_OK;
}

/* As alloc_block, but only what the guard has nothing against. */
static enum tsl_status alloc_guarded(struct tsl_frames *self, unsigned flags,
                                     const struct frames_taker *taker, struct tsl_frame *out)
{
    struct tsl_frame frame = {0};
    enum tsl_status status;
    do {
        status = alloc_block(self, taker->order, guard_flags(flags), &frame);
        if (status != TSL_OK)
            return status;
    } while (!tsl_frames_guard_took(self, frame.number, (tsl_word)1 << taker->order, flags, taker));
    *out = frame;
    return TSL_OK;
}

enum tsl_status tsl_frames_alloc(struct tsl_frames *self, unsigned order, unsigned flags,
                                 struct tsl_frame *out)
{
    if (!FRAMES_GUARDED)
        return alloc_block(self, order, flags, out);
    const struct frames_taker taker = FRAMES_TAKER(TSL_FRAMES_BY_BLOCK, order);
    return alloc_guarded(self, flags, &taker, out);
}

/* As tsl_frames_alloc_bulk, for one taker. */
static tsl_word alloc_bulk_guarded(struct tsl_frames *self, unsigned flags,
                                   const struct frames_taker *taker, struct tsl_frame *out,
                                   tsl_word count)
{
    for (tsl_word taken = 0; taken < count; taken++)
        if (alloc_guarded(self, flags, taker, &out[taken]) != TSL_OK)
            return taken;
    return count;
}

tsl_word tsl_frames_alloc_bulk(struct tsl_frames *self, unsigned flags, struct tsl_frame *out,
                               tsl_word count)
{
    if (FRAMES_GUARDED) {
        const struct frames_taker taker = FRAMES_TAKER(TSL_FRAMES_BY_BULK, 0);
        return alloc_bulk_guarded(self, flags, &taker, out, count);
    }
    tsl_word taken = 0;
    while (taken < count) {
        /* The first of a word may need the search, the others are in the claimed word then. */
        if (alloc_block(self, 0, flags, &out[taken]) != TSL_OK)
            return taken;
        taken++;
        if (!TSL_FRAME_CLAIMS || !is_plain(self, flags))
            continue;
        tsl_pin pin = tsl_cpu_pin();
        struct frames_slot *slot = hot_slot(self);
        tsl_word copy = tsl_atomic_load(&slot->copy);
        for (; taken < count && copy != 0; copy &= copy - 1)
            out[taken++].number = slot->number + tsl_bits_lowest(copy);
        tsl_atomic_store(&slot->copy, copy);
        tsl_cpu_unpin(pin);
    }
    return taken;
}

/* The lowest `count` bits of a mask, or all if it has fewer. */
static tsl_word lowest_bits(tsl_word mask, tsl_word count)
{
    tsl_word rest = mask;
    if (count >= TSL_WORD_BITS)
        return mask;
    for (; count > 0; count--)
        rest &= rest - 1;
    return mask & ~rest;
}

/* Up to `count` frames of the claimed word. Before: pinned. */
static inline tsl_word take_bits(struct frames_slot *slot, tsl_word count)
{
    tsl_word copy = tsl_atomic_load(&slot->copy);
    tsl_word mask = lowest_bits(copy, count);
    tsl_atomic_store(&slot->copy, copy & ~mask);
    return mask;
}

tsl_word tsl_frames_alloc_word(struct tsl_frames *self, unsigned flags, tsl_word count,
                               struct tsl_frame *out_first)
{
    struct tsl_frame frame = {0};
    bool claims = TSL_FRAME_CLAIMS && !FRAMES_GUARDED && is_plain(self, flags);
    tsl_word mask = 0;
    if (claims) {
        tsl_pin pin = tsl_cpu_pin();
        struct frames_slot *slot = hot_slot(self);
        mask = take_bits(slot, count);
        out_first->number = mask != 0 ? slot->number : out_first->number;
        tsl_cpu_unpin(pin);
    }
    if (mask != 0)
        return mask;
    /* One by the search, and what is left of its word, which is claimed by now. */
    const struct frames_taker taker = FRAMES_TAKER(TSL_FRAMES_BY_BULK, 0);
    if (count == 0)
        return 0;
    enum tsl_status status = FRAMES_GUARDED ? alloc_guarded(self, flags, &taker, &frame)
                                            : alloc_block(self, 0, flags, &frame);
    if (status != TSL_OK)
        return 0;
    tsl_word first = frame.number & ~(tsl_word)(TSL_WORD_BITS - 1);
    mask = (tsl_word)1 << (frame.number - first);
    if (claims && count > 1) {
        tsl_pin pin = tsl_cpu_pin();
        struct frames_slot *slot = hot_slot(self);
        if (slot->number == first)
            mask |= take_bits(slot, count - 1);
        tsl_cpu_unpin(pin);
    }
    out_first->number = first;
    return mask;
}
