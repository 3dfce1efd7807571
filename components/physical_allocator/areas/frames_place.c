/* SPDX-License-Identifier: MIT
 *
 * frames_place.c: from frame numbers to indexes and back, and what a request's flags mean.
 *
 * Owns:    the reading of spans, zone limits and reserves.
 * Needs:   base, the spans made by frames_create.c.
 * Callers: the other files of this component.
 */
#include "../physical_allocator_internal.h"

static const struct frames_span *span_in_node(const struct tsl_frames *self,
                                              const struct frames_node *node, tsl_word number)
{
    tsl_word low = node->first_span;
    tsl_word high = node->end_span;
    while (low < high) {
        tsl_word middle = low + (high - low) / 2;
        const struct frames_span *span = &self->spans[middle];
        if (number < span->first)
            high = middle;
        else if (number >= span->end)
            low = middle + 1;
        else
            return span;
    }
    return NULL;
}

const struct frames_span *tsl_frames_span_of(const struct tsl_frames *self, tsl_word number)
{
    const struct frames_span *span = &self->main;
    if (TSL_LIKELY(number >= span->first && number < span->end))
        return span;
    for (unsigned node = 0; node < node_count(self); node++) {
        span = span_in_node(self, &self->node[node], number);
        if (span != NULL)
            return span;
    }
    return NULL;
}

tsl_word tsl_frames_shift_of(const struct tsl_frames *self, tsl_word area)
{
    const struct frames_span *span = &self->main;
    if (TSL_LIKELY(area >= (span->first - span->shift) / AREA_FRAMES &&
                   area <= (span->end - 1 - span->shift) / AREA_FRAMES))
        return span->shift;
    tsl_word low = 0;
    tsl_word high = self->span_count - 1;
    while (low < high) {
        /* The first span that ends in this area or behind it. */
        tsl_word middle = low + (high - low) / 2;
        span = &self->spans[middle];
        if ((span->end - 1 - span->shift) / AREA_FRAMES < area)
            low = middle + 1;
        else
            high = middle;
    }
    return self->spans[low].shift;
}

tsl_word tsl_frames_area_limit(const struct tsl_frames *self, unsigned node, tsl_word number)
{
    tsl_word low = self->node[node].first_span;
    tsl_word high = self->node[node].end_span;
    while (low < high) {
        /* The first span that ends above `number`. */
        tsl_word middle = low + (high - low) / 2;
        if (self->spans[middle].end <= number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == self->node[node].end_span)
        return self->node[node].end_area;
    const struct frames_span *span = &self->spans[low];
    tsl_word first = span->first > number ? span->first : number;
    return (first - span->shift) / AREA_FRAMES;
}

tsl_word tsl_frames_flag_limit(const struct tsl_frames *self, unsigned node, unsigned flags)
{
    const struct frames_node *place = &self->node[node];
    tsl_word limit = place->end_area;
    if ((flags & TSL_FRAMES_LOW) != 0)
        limit = tsl_atomic_load(&place->low_limit);
    if ((flags & TSL_FRAMES_DMA32) != 0 && place->dma32_limit < limit)
        limit = place->dma32_limit;
    if ((flags & TSL_FRAMES_DMA) != 0 && place->dma_limit < limit)
        limit = place->dma_limit;
    return limit;
}

enum tsl_status tsl_frames_check_flags(struct tsl_frames *self, unsigned flags)
{
    const unsigned known = TSL_FRAMES_LOW | TSL_FRAMES_DMA | TSL_FRAMES_DMA32 | TSL_FRAMES_RECLAIM |
                           TSL_FRAMES_EXIT | TSL_FRAMES_ZERO | TSL_FRAMES_NODE_FLAGS;
    if ((flags & ~known) != 0)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: unknown flags %#x", flags);
    if ((flags & TSL_FRAMES_ZERO) != 0 && (flags & TSL_FRAMES_LOW) == 0) {
        return tsl_refuse(&self->refusals, TSL_INVALID,
                          "frames: only low frames can be zeroed (flags %#x)", flags);
    }
    if (TSL_NODES > 1 && (flags & TSL_FRAMES_NODE_FLAGS) != 0)
        return tsl_frames_check_nodes(self, flags);
    if (TSL_FRAMES_NODE(0) < (flags & ~0xffffu))
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: no such node (flags %#x)", flags);
    return TSL_OK;
}

void tsl_frames_set_rule(struct tsl_frames *self, enum frames_rule rule, bool holds)
{
    tsl_pin pin = tsl_cpu_pin();
    if (holds)
        word_or(&self->rules, (tsl_word)rule);
    else
        word_and(&self->rules, ~(tsl_word)rule);
    tsl_cpu_unpin(pin);
}

/* A zone's part of what all nodes' zones of its kind keep, rounded up. */
static tsl_word part_of_reserve(const struct tsl_frames *self, unsigned zone, tsl_word reserve)
{
    uint64_t total = 0;
    for (unsigned i = zone % TSL_ZONE_COUNT; i < zone_count(self); i += TSL_ZONE_COUNT)
        total += self->zone[i].total;
    if (TSL_NODES == 1 || total == 0 || reserve > total)
        return reserve;
    return (tsl_word)(((uint64_t)reserve * self->zone[zone].total + total - 1) / total);
}

void tsl_frames_lowmem_init(struct tsl_frames *self, const struct tsl_frames_config *config)
{
    for (unsigned zone = 0; zone < zone_count(self); zone++) {
        tsl_word reserve = config->lowmem_reserve[zone % TSL_ZONE_COUNT];
        self->zone[zone].kept = part_of_reserve(self, zone, reserve);
        /* The short way takes frames of a node's top zone without looking. */
        if (self->zone[zone].kept != 0 && self->node[zone_node(zone)].top_zone == zone &&
            tsl_frames_has_higher_zone(self, zone, 0))
            self->rules |= FRAMES_RULE_LOWMEM;
    }
}

bool tsl_frames_has_higher_zone(const struct tsl_frames *self, unsigned zone, unsigned flags)
{
    for (unsigned higher = 0; higher < zone_count(self); higher++) {
        const struct frames_zone *place = &self->zone[higher];
        if (higher % TSL_ZONE_COUNT > zone % TSL_ZONE_COUNT &&
            place->first_area < place->end_area &&
            place->first_area < tsl_frames_flag_limit(self, zone_node(higher), flags))
            return true;
    }
    return false;
}

/* Whether a request with these flags leaves a zone what it keeps. */
static bool keeps(const struct tsl_frames *self, unsigned zone, unsigned flags)
{
    return TSL_UNLIKELY(self->zone[zone].kept != 0) && (flags & TSL_FRAMES_EXIT) == 0 &&
           tsl_frames_has_higher_zone(self, zone, flags);
}

tsl_word tsl_frames_zone_spare(const struct tsl_frames *self, unsigned zone, unsigned flags)
{
    if (!keeps(self, zone, flags))
        return FRAMES_NONE;
    tsl_word kept = self->zone[zone].kept;
    tsl_word free = tsl_frames_zone_free(self, zone);
    return free > kept ? free - kept : 0;
}

bool tsl_frames_zone_is_kept(const struct tsl_frames *self, unsigned zone, unsigned flags)
{
    if (!keeps(self, zone, flags))
        return true;
    /* What was just taken is seen by others before what they took is looked at. */
    if (TSL_CPUS > 1)
        tsl_atomic_fence();
    return tsl_frames_zone_free(self, zone) >= self->zone[zone].kept;
}

static tsl_word all_shared_free(const struct tsl_frames *self)
{
    tsl_word free = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        free += tsl_frames_shared_free(self, zone);
    return free;
}

/* A claimed frame is given to anybody without a look at the reserves. So there are claims only as
 * long as the shared words alone hold more than all reserves, whatever the CPUs claim next. */
bool tsl_frames_reserve_allows(struct tsl_frames *self, tsl_word count, unsigned flags)
{
    tsl_word normal = kept_sum(self->reserve_exit, self->reserve_reclaim);
    if (TSL_LIKELY(normal == 0 || tsl_frames_is_plenty(self)))
        return true;
    if (TSL_CPUS > 1)
        tsl_atomic_fence(); /* as in tsl_frames_zone_is_kept() */
    tsl_word free = all_shared_free(self);
    tsl_word margin = (tsl_word)TSL_CPUS * TSL_WORD_BITS;
    tsl_word enough = kept_sum(normal, margin);
    if (free >= enough && free - enough >= count)
        return true;
    tsl_frames_tighten(self);
    (void)tsl_frames_revoke(self, 0, 0);
    tsl_word kept = normal;
    if ((flags & TSL_FRAMES_EXIT) != 0)
        kept = 0;
    else if ((flags & TSL_FRAMES_RECLAIM) != 0)
        kept = self->reserve_exit;
    free = all_shared_free(self);
    return free >= kept && free - kept >= count;
}

void tsl_frames_fill_zero(struct tsl_frame first, tsl_word count)
{
    void *memory = tsl_port_phys_to_virt(tsl_frame_address(first));
    TSL_ASSERT(memory != NULL);
    __builtin_memset(memory, 0, (size_t)count * TSL_PAGE_BYTES);
}
