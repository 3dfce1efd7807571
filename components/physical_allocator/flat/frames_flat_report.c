/* SPDX-License-Identifier: MIT
 *
 * frames_flat_report.c: what flat bitmaps say of themselves: figures, a map as text, rules 31 to 35
 * of README.md, "Invariants".
 *
 * Owns:    nothing; reads only.
 * Needs:   frames_flat.c, base (format).
 * Callers: anyone.
 */
#include "frames_flat.h"

#define LINE_LETTERS 64u

bool tsl_frames_is_managed(const struct tsl_frames *self, struct tsl_frame frame)
{
    return frame.number < self->end && tsl_bits_test(self->managed, frame.number);
}

bool tsl_frames_is_free(const struct tsl_frames *self, struct tsl_frame frame)
{
    return frame.number < self->end && tsl_bits_test(self->free, frame.number);
}

tsl_word tsl_frames_free_count(const struct tsl_frames *self)
{
    return tsl_atomic_load(&self->free_count);
}

void tsl_frames_stats(const struct tsl_frames *self, struct tsl_frames_stats *out)
{
    tsl_word free = tsl_frames_free_count(self);

    *out = (struct tsl_frames_stats){.total = self->total,
                                     .free = free,
                                     .used = self->total - free,
                                     .peak = tsl_atomic_load(&self->peak),
                                     .reserved = tsl_atomic_load(&self->reserved),
                                     .metadata_bytes = self->metadata_frames * TSL_PAGE_BYTES,
                                     .ignored = self->ignored,
                                     .run_failures = tsl_atomic_load(&self->run_failures)};
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
        out->failures[order] = tsl_atomic_load(&self->failures[order]);
    for (unsigned i = 0; i < TSL_STATUS_COUNT; i++)
        out->refusals.by_status[i] = tsl_atomic_load(&self->refusals.by_status[i]);
}

enum tsl_status tsl_frames_zone_stats(const struct tsl_frames *self, enum tsl_frames_zone zone,
                                      struct tsl_frames_zone_stats *out)
{
    static const char *const names[] = {"DMA", "DMA32", "NORMAL", "HIGHMEM"};

    if ((unsigned)zone >= TSL_ZONE_COUNT)
        return tsl_refuse(NULL, TSL_INVALID, "frames: zone %u does not exist", (unsigned)zone);
    const struct flat_zone *place = &self->zone[zone];
    tsl_word first = place->first / TSL_FRAMES_PER_AREA * TSL_FRAMES_PER_AREA;
    tsl_word end = (place->end + TSL_FRAMES_PER_AREA - 1) / TSL_FRAMES_PER_AREA;
    *out = (struct tsl_frames_zone_stats){.name = names[zone],
                                          .start = (tsl_paddr)first << TSL_PAGE_SHIFT,
                                          .end = (tsl_paddr)(end * TSL_FRAMES_PER_AREA)
                                                 << TSL_PAGE_SHIFT,
                                          .total = place->total,
                                          .free = tsl_atomic_load(&place->free)};
    return TSL_OK;
}

enum tsl_status tsl_frames_node_stats(const struct tsl_frames *self, unsigned node,
                                      struct tsl_frames_node_stats *out)
{
    if (node > 0)
        return tsl_refuse(NULL, TSL_INVALID, "frames: node %u does not exist", node);
    *out =
        (struct tsl_frames_node_stats){.total = self->total, .free = tsl_frames_free_count(self)};
    return TSL_OK;
}

static struct tsl_defect broken(unsigned rule, tsl_word place, const char *sentence)
{
    return tsl_defect_at("frames", rule, place, sentence);
}

static struct tsl_defect check_bits(const struct tsl_frames *self)
{
    for (tsl_word i = 0; i < (self->end + TSL_WORD_BITS - 1) / TSL_WORD_BITS; i++)
        if ((self->free[i] & ~self->managed[i]) != 0)
            return broken(31, i * TSL_WORD_BITS, "only managed frames are free");
    for (tsl_word area = 0; area <= self->end / TSL_FRAMES_PER_AREA; area++) {
        tsl_word first = area * TSL_FRAMES_PER_AREA;
        if (tsl_bits_test(self->huge, area) &&
            (self->end - first < TSL_FRAMES_PER_AREA ||
             !tsl_bits_all_set(self->managed, first, TSL_FRAMES_PER_AREA) ||
             !tsl_bits_all_clear(self->free, first, TSL_FRAMES_PER_AREA)))
            return broken(32, area, "all frames of an area that was taken as a whole are taken");
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_frames_verify(const struct tsl_frames *self)
{
    tsl_word total = 0, free = 0;

    if (self->magic != FLAT_MAGIC)
        return broken(1, 0, "this is a frame allocator");
    struct tsl_defect defect = check_bits(self);
    if (defect.rule != 0)
        return defect;
    for (unsigned i = 0; i < TSL_ZONE_COUNT; i++) {
        const struct flat_zone *zone = &self->zone[i];
        tsl_word frames = zone->end - zone->first;
        if (zone->total != tsl_bits_count_range(self->managed, zone->first, frames) ||
            zone->free != tsl_bits_count_range(self->free, zone->first, frames))
            return broken(33, i, "a zone counts its frames right");
        if (zone->lowest < zone->first || zone->lowest > zone->end ||
            !tsl_bits_all_clear(self->free, zone->first, zone->lowest - zone->first))
            return broken(34, i, "no frame below the lowest one of its zone is free");
        total += zone->total;
        free += zone->free;
    }
    if (total != self->total || free != self->free_count || self->peak < total - free ||
        self->peak > total || self->reserved > total - free)
        return broken(35, free, "the zones have all frames, as many free as are counted");
    return TSL_NO_DEFECT;
}

/* How full an area is; holes count as used. */
static char letter_at(const struct tsl_frames *self, tsl_word area)
{
    tsl_word first = area * TSL_FRAMES_PER_AREA, room = self->end - first;
    tsl_word count = room < TSL_FRAMES_PER_AREA ? room : TSL_FRAMES_PER_AREA;
    tsl_word used = TSL_FRAMES_PER_AREA - tsl_bits_count_range(self->free, first, count);

    if (tsl_bits_test(self->huge, area))
        return 'H';
    if (used == 0)
        return '.';
    tsl_word tenths = used * 10 / TSL_FRAMES_PER_AREA;
    return used == TSL_FRAMES_PER_AREA ? '#' : (char)('0' + (tenths < 1 ? 1 : tenths));
}

static void dump_zone(const struct tsl_frames *self, const struct tsl_sink *sink, unsigned index)
{
    const struct flat_zone *zone = &self->zone[index];
    struct tsl_frames_zone_stats stats;
    char line[LINE_LETTERS + 1];

    if (tsl_frames_zone_stats(self, (enum tsl_frames_zone)index, &stats) != TSL_OK ||
        stats.total == 0)
        return;
    tsl_print(sink, "%s: %lu of %lu frames free\n", stats.name, (unsigned long)stats.free,
              (unsigned long)stats.total);
    tsl_word area = zone->first / TSL_FRAMES_PER_AREA;
    while (area * TSL_FRAMES_PER_AREA < zone->end) {
        unsigned long long start = (unsigned long long)area * TSL_FRAMES_PER_AREA * TSL_PAGE_BYTES;
        unsigned letters = 0;
        while (letters < LINE_LETTERS && area * TSL_FRAMES_PER_AREA < zone->end)
            line[letters++] = letter_at(self, area++);
        line[letters] = '\0';
        tsl_print(sink, "  %#13llx %s\n", start, line);
    }
}

void tsl_frames_dump(const struct tsl_frames *self, const struct tsl_sink *sink)
{
    struct tsl_frames_stats stats;
    char total[16], free[16], peak[16];

    tsl_frames_stats(self, &stats);
    tsl_print(sink, "frames: %s, %s free, peak %s in use; %lu reserved, %lu bytes of metadata\n",
              tsl_format_bytes(total, sizeof(total), (uint64_t)stats.total << TSL_PAGE_SHIFT),
              tsl_format_bytes(free, sizeof(free), (uint64_t)stats.free << TSL_PAGE_SHIFT),
              tsl_format_bytes(peak, sizeof(peak), (uint64_t)stats.peak << TSL_PAGE_SHIFT),
              (unsigned long)stats.reserved, (unsigned long)stats.metadata_bytes);
    tsl_print(sink,
              "a letter is 2 MiB: . free, 1 to 9 tenths in use or no RAM, # full, H one block\n");
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++)
        dump_zone(self, sink, zone);
}

void tsl_frames_drain(struct tsl_frames *self)
{
    (void)self; /* no CPU keeps anything for itself */
}
