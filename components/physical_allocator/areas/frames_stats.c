/* SPDX-License-Identifier: MIT
 *
 * frames_stats.c: counts out of the zones and what the CPUs' slots hold.
 *
 * Owns:    nothing; reads only.
 * Needs:   base (atomics).
 * Callers: the public tsl_frames_stats, _zone_stats, _free_count.
 */
#include "../physical_allocator_internal.h"

static tsl_word zone_total(const struct tsl_frames *self, unsigned zone)
{
    return tsl_atomic_load(&self->zone[zone].total);
}

static const char *const zone_names[TSL_ZONE_COUNT] = {"DMA", "DMA32", "NORMAL", "HIGHMEM"};

/* Read while others write, a sum may be off by a batch: keep it a number of frames. */
static tsl_word clamp(const struct tsl_frames *self, unsigned zone, tsl_word free)
{
    if ((intptr_t)free < 0)
        return 0;
    tsl_word total = zone_total(self, zone);
    return free < total ? free : total;
}

tsl_word tsl_frames_shared_free(const struct tsl_frames *self, unsigned zone)
{
    if (zone_total(self, zone) == 0)
        return 0;
    tsl_word free = tsl_atomic_load(&self->zone[zone].free);
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
        free += slot_unbooked(&frames_cpu_at(self, cpu)->slot[zone]);
    return clamp(self, zone, free);
}

tsl_word tsl_frames_zone_free(const struct tsl_frames *self, unsigned zone)
{
    tsl_word free = tsl_frames_shared_free(self, zone);
    for (unsigned cpu = 0; zone_total(self, zone) != 0 && cpu < TSL_CPUS; cpu++) {
        tsl_word copy = tsl_atomic_load(&frames_cpu_at(self, cpu)->slot[zone].copy);
        if (copy != 0)
            free += tsl_bits_count(copy);
    }
    return clamp(self, zone, free);
}

tsl_word tsl_frames_free_count(const struct tsl_frames *self)
{
    tsl_word free = 0;
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        if (zone_total(self, zone) != 0)
            free += tsl_frames_zone_free(self, zone);
    return free;
}

void tsl_frames_stats(const struct tsl_frames *self, struct tsl_frames_stats *out)
{
    *out = (struct tsl_frames_stats){0};
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        out->total += zone_total(self, zone);
    out->free = tsl_frames_free_count(self);
    out->used = out->total - out->free;
    out->peak = tsl_atomic_load(&self->peak);
    if ((intptr_t)out->peak < (intptr_t)out->used)
        out->peak = out->used;
    out->reserved = tsl_atomic_load(&self->reserved);
    out->metadata_bytes = self->metadata_frames * TSL_PAGE_BYTES;
    out->ignored = self->ignored;
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
        out->failures[order] = tsl_atomic_load_u32(&self->failures[order]);
    out->run_failures = tsl_atomic_load(&self->run_failures);
    for (unsigned i = 0; i < TSL_STATUS_COUNT; i++)
        out->refusals.by_status[i] = tsl_atomic_load(&self->refusals.by_status[i]);
}

static void add_zone(const struct tsl_frames *self, unsigned zone,
                     struct tsl_frames_zone_stats *out)
{
    const struct frames_zone *place = &self->zone[zone];
    if (place->first_area == place->end_area)
        return;
    tsl_word first = place->first_area * AREA_FRAMES + tsl_frames_shift_of(self, place->first_area);
    tsl_word last =
        place->end_area * AREA_FRAMES - 1 + tsl_frames_shift_of(self, place->end_area - 1);
    tsl_paddr start = (tsl_paddr)first << TSL_PAGE_SHIFT;
    tsl_paddr end = ((tsl_paddr)last + 1) << TSL_PAGE_SHIFT;
    bool is_first = out->start == out->end;
    out->start = is_first || start < out->start ? start : out->start;
    out->end = is_first || end > out->end ? end : out->end;
    out->total += tsl_atomic_load(&place->total);
    out->free += tsl_frames_zone_free(self, zone);
}

enum tsl_status tsl_frames_node_stats(const struct tsl_frames *self, unsigned node,
                                      struct tsl_frames_node_stats *out)
{
    if (node >= node_count(self))
        return tsl_refuse(NULL, TSL_INVALID, "frames: node %u does not exist", node);
    *out = (struct tsl_frames_node_stats){0};
    for (unsigned kind = 0; kind < TSL_ZONE_COUNT; kind++) {
        out->total += zone_total(self, node * TSL_ZONE_COUNT + kind);
        out->free += tsl_frames_zone_free(self, node * TSL_ZONE_COUNT + kind);
    }
    if (TSL_NODES > 1)
        out->elsewhere = tsl_atomic_load(&self->numa->elsewhere[node]);
    return TSL_OK;
}

enum tsl_status tsl_frames_zone_stats(const struct tsl_frames *self, enum tsl_frames_zone zone,
                                      struct tsl_frames_zone_stats *out)
{
    if ((unsigned)zone >= TSL_ZONE_COUNT)
        return tsl_refuse(NULL, TSL_INVALID, "frames: zone %u does not exist", (unsigned)zone);
    *out = (struct tsl_frames_zone_stats){.name = zone_names[zone]};
    for (unsigned node = 0; node < node_count(self); node++)
        add_zone(self, node * TSL_ZONE_COUNT + (unsigned)zone, out);
    return TSL_OK;
}
