/* SPDX-License-Identifier: MIT
 *
 * physical_allocator_verify.c: the rules of the README, checked on a quiet allocator.
 *
 * Owns:    nothing; reads only, allocates nothing, stops at the first broken rule.
 * Needs:   the internal header.
 * Callers: the public tsl_frames_verify: tests, the monitor, a debugger.
 */
#include "frames_guard.h"

#include <tesela/frames_hotplug.h>

static struct tsl_defect broken(unsigned rule, uintptr_t place, const char *sentence)
{
    return tsl_defect_at("frames", rule, place, sentence);
}

/* Rule 1. */
static struct tsl_defect check_header(const struct tsl_frames *self)
{
    bool is_good = self->magic == FRAMES_MAGIC && self->area_count > 0 && self->span_count > 0 &&
                   self->metadata_frames > 0;
    return is_good ? TSL_NO_DEFECT
                   : broken(1, self->magic, "the header is that of a living allocator");
}

/* Whether span i belongs behind the one before it: only a new node may begin at lower addresses. */
static bool are_in_order(const struct tsl_frames *self, tsl_word i)
{
    bool is_new_node = false;
    for (unsigned node = 1; node < node_count(self); node++)
        is_new_node = is_new_node || self->node[node].first_span == i;
    return is_new_node || self->spans[i - 1].end <= self->spans[i].first;
}

/* Whether the frames of the short ways are of the largest span and of the top zone. */
static bool is_hot_range_right(const struct tsl_frames *self)
{
    if (TSL_NODES > 1 || self->hot_frames == 0)
        return self->hot_frames == 0;
    return self->hot_first >= self->main.first && self->hot_first < self->main.end &&
           self->hot_frames == self->main.end - self->hot_first &&
           zone_of(self, (self->hot_first - self->main.shift) / AREA_FRAMES) ==
               self->node[0].top_zone;
}

/* Rule 2: spans are sorted, apart, and fill the row of areas without a gap. */
static struct tsl_defect check_spans(const struct tsl_frames *self)
{
    tsl_word next_area = 0;
    bool is_copied = false;
    for (tsl_word i = 0; i < self->span_count; i++) {
        const struct frames_span *span = &self->spans[i];
        bool is_good = span->first > 0 && span->first < span->end &&
                       span->shift % AREA_FRAMES == 0 && (i == 0 || are_in_order(self, i));
        tsl_word area = (span->first - span->shift) / AREA_FRAMES;
        bool is_shared = i > 0 && area + 1 == next_area && self->spans[i - 1].shift == span->shift;
        if (!is_good || (area != next_area && !is_shared))
            return broken(2, i, "spans are sorted, apart, and fill the row of areas");
        next_area = (span->end - 1 - span->shift) / AREA_FRAMES + 1;
        is_copied = is_copied || (self->main.first == span->first && self->main.end == span->end &&
                                  self->main.shift == span->shift);
    }
    return next_area == self->area_count && is_copied && is_hot_range_right(self)
               ? TSL_NO_DEFECT
               : broken(2, self->span_count, "spans are sorted, apart, and fill the row of areas");
}

/* Rule 3: what no span has is never free. */
static struct tsl_defect check_holes(const struct tsl_frames *self)
{
    tsl_word next = 0; /* the first index that no span so far has */
    for (tsl_word i = 0; i <= self->span_count; i++) {
        tsl_word index = self->area_count * AREA_FRAMES;
        if (i < self->span_count)
            index = self->spans[i].first - self->spans[i].shift;
        if (!tsl_bits_all_clear(self->words, next, index - next))
            return broken(3, i, "a frame outside of all spans is not free");
        if (i < self->span_count)
            next = self->spans[i].end - self->spans[i].shift;
    }
    return TSL_NO_DEFECT;
}

/* Whether the state names an owner exactly when some CPU's slot has the area. */
static bool is_state_right(const struct tsl_frames *self, unsigned zone, tsl_word area)
{
    unsigned state = area_state(self, area);
    unsigned owners = 0;
    unsigned tag = AREA_OPEN;
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++) {
        if (frames_cpu_at(self, cpu)->slot[zone].area == area) {
            owners++;
            tag = tag_of(cpu);
        }
    }
    if (owners == 0)
        return state_is_open(state) || state == AREA_HUGE || state == AREA_LISTED;
    return owners == 1 && state == tag;
}

/* Rules 4, 5, 6: one area. *free grows by the free frames of its words. */
static struct tsl_defect check_area(const struct tsl_frames *self, unsigned zone, tsl_word area,
                                    tsl_word *free)
{
    unsigned state = area_state(self, area);
    size_t ones = tsl_bits_count_range(self->words, area * AREA_FRAMES, AREA_FRAMES);
    if (!is_state_right(self, zone, area))
        return broken(5, area, "an area is open, huge, or owned by the one CPU whose slot has it");
    if ((state_is_huge(state) || state == AREA_WHOLE) && ones != AREA_FRAMES)
        return broken(4, area, "the bits of a huge or whole area are all 1");
    size_t expected = state_is_huge(state) ? 0 : ones;
    *free += expected;
    bool is_roomy = ones > 0 && area_hint(self, area) >= ROOMY_FRAMES;
    bool is_missing =
        (expected > 0 && !tree_has(&self->any, area)) ||
        (state_is_open(state) && expected == AREA_FRAMES && !tree_has(&self->whole, area)) ||
        (state_is_open(state) && is_roomy && !tree_has(&self->roomy, area)) ||
        (state == AREA_LISTED && (!tree_has(&self->any, area) || !tree_has(&self->whole, area)));
    return is_missing ? broken(6, area, "an area is in every tree in which it must be found")
                      : TSL_NO_DEFECT;
}

/* Rules 4 to 8: zones and the areas in them. */
static struct tsl_defect check_zones(const struct tsl_frames *self)
{
    tsl_word next_area = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        const struct frames_zone *place = &self->zone[zone];
        if (place->first_area != next_area || place->end_area < next_area ||
            place->end_area > self->area_count)
            return broken(7, zone, "zones divide the row of areas");
        next_area = place->end_area;
        tsl_word free = 0;
        for (tsl_word area = place->first_area; area < place->end_area; area++) {
            struct tsl_defect defect = check_area(self, zone, area, &free);
            if (defect.rule != 0)
                return defect;
        }
        tsl_word booked = place->free;
        for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
            booked += slot_unbooked(&frames_cpu_at(self, cpu)->slot[zone]);
        if (booked != free || free > place->total)
            return broken(8, zone, "a zone's count, with the CPUs' deltas, is what its words hold");
    }
    return next_area == self->area_count
               ? TSL_NO_DEFECT
               : broken(7, TSL_ZONE_COUNT, "zones divide the row of areas");
}

/* Rule 9: a word that is not 0 has its bit in the level above. */
static struct tsl_defect check_tree(const struct area_tree *tree, unsigned which)
{
    const tsl_word *below = tree->words;
    for (tsl_word bits = tree->areas; bits > TSL_WORD_BITS; bits = tree_words(bits)) {
        const tsl_word *above = below + tree_words(bits);
        for (tsl_word i = 0; i < tree_words(bits); i++)
            if (below[i] != 0 && !tsl_bits_test(above, i))
                return broken(9, which, "a search tree shows every word that is not 0");
        below = above;
    }
    return TSL_NO_DEFECT;
}

/* Whether what a slot keeps of its claimed word agrees with it. */
static bool is_slot_right(const struct tsl_frames *self, unsigned zone,
                          const struct frames_slot *slot)
{
    const struct frames_zone *place = &self->zone[zone];
    if (slot->turn % 2 != 0)
        return false;
    if (slot->whole != 0 &&
        (slot->whole % AREA_FRAMES != 0 || slot->whole - self->hot_first >= self->hot_frames))
        return false;
    if (slot->area == FRAMES_NONE)
        return slot->copy == 0 && slot->bits == 0 && slot->todo == 0;
    if (slot->todo >> AREA_WORDS != 0 || slot->area < place->first_area ||
        slot->area >= place->end_area || slot->word < area_words(self, slot->area) ||
        slot->word >= area_words(self, slot->area + 1))
        return false;
    tsl_word index = (tsl_word)(slot->word - self->words) * TSL_WORD_BITS;
    return slot->number == index + tsl_frames_shift_of(self, slot->area) &&
           (slot->bits == 0 || slot->bits == TSL_WORD_BITS);
}

/* Whether all frames of a copy are managed, and none is free in the shared word as well. */
static bool is_copy_right(const struct tsl_frames *self, const struct frames_slot *slot)
{
    for (tsl_word copy = slot->copy; copy != 0; copy &= copy - 1)
        if (tsl_frames_span_of(self, slot->number + tsl_bits_lowest(copy)) == NULL)
            return false;
    tsl_word first = slot->number / AREA_FRAMES * AREA_FRAMES;
    const struct frames_span *span = tsl_frames_span_of(self, first);
    bool is_solid = span != NULL && span->end - first >= AREA_FRAMES;
    return (slot->copy == 0 || (*slot->word & slot->copy) == 0) && (slot->bits == 0 || is_solid);
}

/* Rules 10 and 15. */
static struct tsl_defect check_slots(const struct tsl_frames *self)
{
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++) {
        for (unsigned zone = 0; zone < zone_count(self); zone++) {
            const struct frames_slot *slot = &frames_cpu_at(self, cpu)->slot[zone];
            if (!is_slot_right(self, zone, slot))
                return broken(10, cpu, "a slot's area and word are of its zone and agree");
            if (!is_copy_right(self, slot))
                return broken(15, cpu, "a free frame is in the shared word or in one copy");
        }
    }
    return TSL_NO_DEFECT;
}

/* Rule 11. */
static struct tsl_defect check_totals(const struct tsl_frames *self)
{
    tsl_word managed = 0;
    tsl_word total = 0;
    for (tsl_word i = 0; i < self->span_count; i++)
        managed += self->spans[i].end - self->spans[i].first;
    if (TSL_FRAME_HOTPLUG)
        managed -= tsl_frames_absent_count(self);
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        total += self->zone[zone].total;
    tsl_word used = total - tsl_frames_free_count(self);
    return managed == total && self->reserved <= used
               ? TSL_NO_DEFECT
               : broken(11, total, "spans and zones have the same frames; reserved ones are used");
}

/* Whether each zone is once on the way of every node's CPUs. */
static bool orders_are_whole(const struct tsl_frames *self, unsigned node)
{
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        unsigned found = 0;
        for (unsigned step = 0; step < zone_count(self); step++)
            found += self->numa->order[node][step] == zone ? 1 : 0;
        if (found != 1)
            return false;
    }
    return true;
}

/* Rule 12: nodes divide the row, the spans and the zones, and each finds its way to all zones. */
static struct tsl_defect check_nodes(const struct tsl_frames *self)
{
    const struct frames_node *before = NULL;
    for (unsigned i = 0; i < node_count(self); i++) {
        const struct frames_node *node = &self->node[i];
        const struct frames_zone *zone = &self->zone[i * TSL_ZONE_COUNT];
        bool is_good = node->first_area == (before == NULL ? 0 : before->end_area) &&
                       node->first_span == (before == NULL ? 0 : before->end_span) &&
                       zone[0].first_area == node->first_area &&
                       zone[TSL_ZONE_COUNT - 1].end_area == node->end_area;
        if (!is_good || (TSL_NODES > 1 && !orders_are_whole(self, i)))
            return broken(12, i, "nodes divide the row, and each finds its way to all zones");
        before = node;
    }
    return before->end_area == self->area_count && before->end_span == self->span_count
               ? TSL_NO_DEFECT
               : broken(12, TSL_NODES, "nodes divide the row, and each finds its way to all zones");
}

/* Rule 14: nobody has an account of a free frame. */
static struct tsl_defect check_descriptors(const struct tsl_frames *self)
{
    for (tsl_word index = 0; index < self->area_count * AREA_FRAMES; index++) {
        const struct tsl_frame_descriptor *descriptor = &self->descriptors[index];
        bool is_free = tsl_frames_free_in(self, index, 1) == 1;
        if (is_free && (tsl_descriptor_state(descriptor) != TSL_FRAME_FREE ||
                        !tsl_descriptor_is_idle(descriptor)))
            return broken(14, index, "a free frame has a free descriptor without counts");
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_frames_verify(const struct tsl_frames *self)
{
    struct tsl_defect defect = check_header(self);
    if (defect.rule == 0)
        defect = check_spans(self);
    if (defect.rule == 0)
        defect = check_holes(self);
    if (defect.rule == 0)
        defect = check_slots(self);
    if (defect.rule == 0)
        defect = check_zones(self);
    const struct area_tree *const trees[] = {&self->any, &self->roomy, &self->whole};
    for (unsigned i = 0; defect.rule == 0 && i < TSL_COUNT_OF(trees); i++)
        defect = check_tree(trees[i], i);
    if (defect.rule == 0)
        defect = check_nodes(self);
    if (TSL_FRAME_DESCRIPTORS && defect.rule == 0 && self->descriptors != NULL)
        defect = check_descriptors(self);
    if (TSL_FRAME_HOTPLUG && defect.rule == 0)
        defect = tsl_frames_absent_verify(self);
    if (FRAMES_GUARDED && defect.rule == 0)
        defect = tsl_frames_guard_verify(self);
    if (TSL_FRAME_BANKS && defect.rule == 0)
        defect = tsl_frames_banks_verify(self);
    return defect.rule == 0 ? check_totals(self) : defect;
}
