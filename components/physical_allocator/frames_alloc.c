/* SPDX-License-Identifier: MIT
 *
 * frames_alloc.c: allocation of blocks of order 0..10.
 *
 * Owns:    where to look, and in which order.
 * Needs:   frames_area.c, frames_tree.c, frames_place.c.
 * Callers: the public tsl_frames_alloc.
 *
 * Single frames come from the CPU's present area of the zone, lowest first, until it is used up;
 * then the lowest area with ROOMY_FRAMES free ones that no other CPU is in, then any area with a
 * free frame. So areas fill up from below and empty ones stay empty.
 */
#include "physical_allocator_internal.h"

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
};

/* A free frame in words [from, to) of the slot's area; false if there is none. */
static bool take_in_words(struct search *search, struct frames_slot *slot, unsigned from,
                          unsigned to)
{
    tsl_word *words = slot->words;
    for (unsigned i = from; i < to; i++) {
        tsl_word value = tsl_atomic_load(&words[i]);
        while (value != 0) {
            if (!word_swap(&words[i], &value, value & (value - 1)))
                continue;
            if (TSL_UNLIKELY((entry_load(search->self, slot->area) & ENTRY_HUGE) != 0)) {
                word_or(&words[i], value & -value);
                tsl_frames_publish(search->self, slot->area);
                return false;
            }
            slot->word = i;
            search->number = slot->number + i * TSL_WORD_BITS + tsl_bits_lowest(value);
            slot_account(search->self, search->zone, slot, -1);
            return true;
        }
    }
    return false;
}

static bool take_in_slot(struct search *search, struct frames_slot *slot)
{
    if (slot->area < search->first_area || slot->area >= search->end_area)
        return false;
    unsigned start = slot->word;
    /* Others may have freed frames below `start` meanwhile: once round. */
    return take_in_words(search, slot, start, AREA_WORDS) || take_in_words(search, slot, 0, start);
}

/* The next area with ROOMY_FRAMES or more that nobody is in. Forgets those that are not roomy. */
static tsl_word find_roomy(struct search *search)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->roomy, search->first_area, search->end_area);
    while (area != FRAMES_NONE) {
        unsigned entry = entry_load(self, area);
        if ((entry & ENTRY_HUGE) != 0 || entry_count(entry) < (int)ROOMY_FRAMES ||
            !tsl_frames_area_has_free(self, area))
            tsl_frames_withdraw(self, &self->roomy, area);
        else if ((entry & ENTRY_CLAIMED) == 0)
            return area;
        area = tsl_frames_tree_find(&self->roomy, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

/* The next area with any free frame, also one that another CPU is in. Forgets those without. */
static tsl_word find_any(struct search *search, tsl_word from)
{
    struct tsl_frames *self = search->self;
    tsl_word area = tsl_frames_tree_find(&self->any, from, search->end_area);
    while (area != FRAMES_NONE) {
        if ((entry_load(self, area) & ENTRY_HUGE) == 0 && tsl_frames_area_has_free(self, area))
            return area;
        tsl_frames_withdraw(self, &self->any, area);
        area = tsl_frames_tree_find(&self->any, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

static bool take_one(struct search *search)
{
    struct tsl_frames *self = search->self;
    struct frames_slot *slot = &search->cpu->slot[search->zone];
    if (TSL_LIKELY(take_in_slot(search, slot)))
        return true;
    tsl_word area = find_roomy(search);
    tsl_word next = search->first_area;
    for (;;) {
        if (area == FRAMES_NONE) {
            area = find_any(search, next);
            if (area == FRAMES_NONE)
                return false;
            next = area + 1;
        }
        tsl_frames_slot_leave(self, search->zone, slot);
        tsl_frames_slot_enter(self, slot, area);
        if (take_in_slot(search, slot))
            return true;
        area = FRAMES_NONE;
    }
}

static void set_found(struct search *search, tsl_word area, tsl_word offset)
{
    search->number = area * AREA_FRAMES + tsl_frames_shift_of(search->self, area) + offset;
}

/* A block of 2^order frames within one word of an area. */
static bool take_in_word(struct search *search, tsl_word area, unsigned word)
{
    unsigned count = 1u << search->order;
    tsl_word *place = &area_words(search->self, area)[word];
    for (;;) {
        int bit = tsl_bits_find_run(tsl_atomic_load(place), count, count);
        if (bit < 0)
            return false;
        tsl_word mask = tsl_bits_mask((unsigned)bit, count);
        if (tsl_frames_bits_take(search->self, area, word, mask)) {
            set_found(search, area, word * TSL_WORD_BITS + (unsigned)bit);
            tsl_frames_account(search->self, search->cpu, area, -(int)count);
            return true;
        }
        if ((entry_load(search->self, area) & ENTRY_HUGE) != 0)
            return false;
    }
}

/* A block of 2^order frames, order 1..8, in this area. */
static bool take_in_area(struct search *search, tsl_word area)
{
    unsigned count = 1u << search->order;
    if (area == FRAMES_NONE || (entry_load(search->self, area) & ENTRY_HUGE) != 0)
        return false;
    if (count <= TSL_WORD_BITS) {
        for (unsigned word = 0; word < AREA_WORDS; word++)
            if (take_in_word(search, area, word))
                return true;
        return false;
    }
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

/* Tries a bounded number of partly used areas. */
static bool take_in_used_area(struct search *search)
{
    struct tsl_frames *self = search->self;
    tsl_word area = search->first_area;
    for (unsigned tries = 0; tries < BLOCK_TRIES; tries++) {
        area = tsl_frames_tree_find(&self->any, area, search->end_area);
        if (area == FRAMES_NONE)
            return false;
        if (entry_count(entry_load(self, area)) < (int)TSL_FRAMES_PER_AREA &&
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
        if ((entry_load(self, area) & ENTRY_HUGE) == 0 && tsl_frames_area_is_full_free(self, area))
            return area;
        tsl_frames_withdraw(self, &self->whole, area);
        area = tsl_frames_tree_find(&self->whole, area + 1, search->end_area);
    }
    return FRAMES_NONE;
}

static bool take_block(struct search *search)
{
    tsl_word present = search->cpu->slot[search->zone].area;
    if (present >= search->first_area && present < search->end_area &&
        take_in_area(search, present))
        return true;
    if (take_in_used_area(search))
        return true;
    tsl_word area = find_whole(search, search->first_area);
    while (area != FRAMES_NONE) {
        if (take_in_area(search, area))
            return true;
        area = find_whole(search, area + 1);
    }
    area = find_any(search, search->first_area);
    while (area != FRAMES_NONE) {
        if (take_in_area(search, area))
            return true;
        area = find_any(search, area + 1);
    }
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
        if (!tsl_frames_huge_take(self, search->cpu, area))
            continue;
        if (tsl_frames_huge_take(self, search->cpu, area + 1)) {
            set_found(search, area, 0);
            return true;
        }
        TSL_ASSERT(tsl_frames_huge_give(self, search->cpu, area));
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

/* Goes through the zones that the flags admit, on one node from the highest down. Before: pinned. */
static bool take_on_route(struct search *search)
{
    struct tsl_frames *self = search->self;
    struct frames_route route = route_of(self, search->flags);
    for (unsigned step = 0; step < zone_count(self); step++) {
        unsigned zone = route_zone(self, &route, step);
        const struct frames_zone *place = &self->zone[zone];
        tsl_word limit = tsl_frames_flag_limit(self, zone_node(zone), search->flags);
        if (place->first_area == place->end_area || place->first_area >= limit ||
            (route.is_bound && zone_node(zone) != route.node) ||
            !tsl_frames_zone_allows(self, zone, (tsl_word)1 << search->order, search->flags))
            continue;
        search->zone = zone;
        search->first_area = place->first_area;
        search->end_area = place->end_area < limit ? place->end_area : limit;
        if (take_in_zone(search)) {
            if (TSL_NODES > 1 && zone_node(zone) != route.node)
                tsl_frames_count_elsewhere(self, route.node);
            return true;
        }
    }
    return false;
}

/* The common case, without the search: a single frame of the present area in the highest zone.
 * Returns its number, or 0 after doing nothing. Before: pinned. */
static inline tsl_word take_fast(struct tsl_frames *self, struct frames_cpu *cpu)
{
    unsigned zone = own_top_zone(self);
    struct frames_slot *slot = &cpu->slot[zone];
    tsl_word *place = &slot->words[slot->word];
    tsl_word value = tsl_atomic_load(place);
    if (TSL_UNLIKELY(value == 0 || !word_swap(place, &value, value & (value - 1))))
        return 0;
    if (TSL_UNLIKELY((entry_load(self, slot->area) & ENTRY_HUGE) != 0)) {
        word_or(place, value & -value);
        tsl_frames_publish(self, slot->area);
        return 0;
    }
    slot_account(self, zone, slot, -1);
    return slot->number + slot->word * TSL_WORD_BITS + tsl_bits_lowest(value);
}

/* Any order, all zones; the first frame's number or 0. Before: pinned. */
TSL_NOINLINE static tsl_word take_slow(struct tsl_frames *self, struct frames_cpu *cpu,
                                       unsigned order, unsigned flags)
{
    struct search search = {.self = self, .cpu = cpu, .order = order, .flags = flags};
    return take_on_route(&search) ? search.number : 0;
}

static enum tsl_status fail(struct tsl_frames *self, unsigned order)
{
    (void)tsl_atomic_add(&self->failures[order], 1);
    return TSL_NO_MEMORY;
}

/* Everything but a single frame of the present area. */
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
    struct tsl_frame frame = {0};
    do {
        if (!tsl_frames_reserve_allows(self, (tsl_word)1 << order, flags))
            continue;
        tsl_pin pin = tsl_port_pin();
        frame.number = take_slow(self, this_cpu(self), order, flags);
        tsl_port_unpin(pin);
    } while (TSL_FRAME_BANKS && frame.number == 0 && tsl_frames_bank_wake(self));
    frames_watch(self);
    if (frame.number == 0)
        return fail(self, order);
    if ((flags & TSL_FRAMES_ZERO) != 0)
        tsl_frames_fill_zero(frame, (tsl_word)1 << order);
    *out = frame;
    return TSL_OK;
}

enum tsl_status tsl_frames_alloc(struct tsl_frames *self, unsigned order, unsigned flags,
                                 struct tsl_frame *out)
{
    if (TSL_UNLIKELY(flags != 0 || order != 0 || tsl_atomic_load(&self->rules) != 0))
        return alloc_long(self, order, flags, out);
    tsl_pin pin = tsl_port_pin();
    tsl_word number = take_fast(self, this_cpu(self));
    tsl_port_unpin(pin);
    if (TSL_UNLIKELY(number == 0))
        return alloc_long(self, order, flags, out);
    out->number = number;
    return TSL_OK;
}
