/* SPDX-License-Identifier: MIT
 *
 * physical_allocator_dump.c: the allocator's state for people: totals, nodes, zones, a heat map.
 *
 * Owns:    nothing; reads only, no memory of its own.
 * Needs:   base (format), the internal header.
 * Callers: the public tsl_frames_dump: the monitor, a debugger, a kernel that panics.
 *
 * Nothing here waits, takes a lock or believes that other CPUs go on.
 */
#include "../physical_allocator_internal.h"

#include <tesela/frames_blocks.h>
#include <tesela/frames_guard.h>

#define LINE_LETTERS 64u
#define MAP_LINES                                                                                  \
    32u /* at most so many lines of heat map: on large machines a letter is several                \
           areas */

/* '.' free, '1'..'9' tenths used, '#' full. */
static char letter_of(tsl_word free, tsl_word total)
{
    if (free >= total)
        return '.';
    if (free == 0)
        return '#';
    tsl_word tenths = (total - free) * 10 / total;
    return (char)('0' + (tenths < 1 ? 1 : tenths));
}

/* The letter of `count` areas: how full they are on average. Holes count as used. */
static char letter_at(const struct tsl_frames *self, tsl_word area, tsl_word count)
{
    tsl_word free = 0;
    tsl_word huge = 0;
    for (tsl_word i = area; i < area + count; i++) {
        if (state_is_huge(area_state(self, i)))
            huge++;
        else
            for (const tsl_word *word = area_words(self, i); word < area_words(self, i + 1); word++)
                free += tsl_bits_count(word_free_about(self, i, word));
    }
    return huge == count ? 'H' : letter_of(free, count * AREA_FRAMES);
}

/* Areas a letter: a power of two, so that the whole map has at most MAP_LINES full lines. */
static tsl_word areas_a_letter(const struct tsl_frames *self)
{
    tsl_word fold = 1;
    while (self->area_count / fold > LINE_LETTERS * MAP_LINES)
        fold *= 2;
    return fold;
}

/* One line: from `area` on, as long as physical memory has no hole and the zone goes on. */
static tsl_word dump_line(const struct tsl_frames *self, const struct tsl_sink *sink, tsl_word area,
                          tsl_word end, tsl_word fold)
{
    tsl_word shift = tsl_frames_shift_of(self, area);
    char line[LINE_LETTERS + 1];
    unsigned letters = 0;
    tsl_paddr start = (tsl_paddr)(area * AREA_FRAMES + shift) << TSL_PAGE_SHIFT;
    while (letters < LINE_LETTERS && area < end && tsl_frames_shift_of(self, area) == shift) {
        tsl_word count = 1;
        while (count < fold && area + count < end &&
               tsl_frames_shift_of(self, area + count) == shift)
            count++;
        line[letters++] = letter_at(self, area, count);
        area += count;
    }
    line[letters] = '\0';
    tsl_print(sink, "  %#13llx %s\n", (unsigned long long)start, line);
    return area;
}

/* The zones of one kind, of all nodes. */
static void dump_zones(const struct tsl_frames *self, const struct tsl_sink *sink, unsigned kind)
{
    struct tsl_frames_zone_stats stats;
    if (tsl_frames_zone_stats(self, (enum tsl_frames_zone)kind, &stats) != TSL_OK ||
        stats.start == stats.end)
        return;
    tsl_word fold = areas_a_letter(self);
    tsl_print(sink, "%s: %lu of %lu frames free\n", stats.name, (unsigned long)stats.free,
              (unsigned long)stats.total);
    for (unsigned node = 0; node < node_count(self); node++) {
        const struct frames_zone *place = &self->zone[node * TSL_ZONE_COUNT + kind];
        tsl_word area = place->first_area;
        while (area < place->end_area)
            area = dump_line(self, sink, area, place->end_area, fold);
    }
}

static void dump_blocks(const struct tsl_frames *self, const struct tsl_sink *sink)
{
    struct tsl_frames_blocks blocks;
    if (tsl_frames_count_blocks(self, TSL_FRAMES_ALL, TSL_FRAMES_ALL, &blocks) != TSL_OK)
        return;
    tsl_print(sink, "free blocks of order 0 to 10:");
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++)
        tsl_print(sink, " %lu", (unsigned long)blocks.free[order]);
    int index = tsl_frames_fragmentation(&blocks, TSL_FRAMES_HUGE_ORDER);
    if (index < 0 && blocks.free[TSL_FRAMES_HUGE_ORDER] + blocks.free[TSL_FRAMES_MAX_ORDER] > 0)
        tsl_print(sink, "; 2 MiB in one piece can be had\n");
    else
        tsl_print(sink, "; 2 MiB in one piece cannot: fragmentation index %d of 1000\n", index);
}

static void dump_node(const struct tsl_frames *self, const struct tsl_sink *sink, unsigned node)
{
    struct tsl_frames_node_stats stats;
    if (tsl_frames_node_stats(self, node, &stats) != TSL_OK)
        return;
    tsl_print(sink, "node %u: %lu of %lu frames free; %lu requests went elsewhere\n", node,
              (unsigned long)stats.free, (unsigned long)stats.total,
              (unsigned long)stats.elsewhere);
}

void tsl_frames_dump(const struct tsl_frames *self, const struct tsl_sink *sink)
{
    struct tsl_frames_stats stats;
    char total[16], free[16], peak[16];
    tsl_frames_stats(self, &stats);
    tsl_print(sink, "frames: %s, %s free, peak %s in use; %lu reserved, %lu bytes of metadata\n",
              tsl_format_bytes(total, sizeof(total), (uint64_t)stats.total * TSL_PAGE_BYTES),
              tsl_format_bytes(free, sizeof(free), (uint64_t)stats.free * TSL_PAGE_BYTES),
              tsl_format_bytes(peak, sizeof(peak), (uint64_t)stats.peak * TSL_PAGE_BYTES),
              (unsigned long)stats.reserved, (unsigned long)stats.metadata_bytes);
    if (stats.ignored != 0) {
        tsl_print(sink, "ignored: %lu frames above what can be named\n",
                  (unsigned long)stats.ignored);
    }
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
        if (stats.failures[order] != 0) {
            tsl_print(sink, "failed: order %u %lu times\n", order,
                      (unsigned long)stats.failures[order]);
        }
    }
    dump_blocks(self, sink);
    for (unsigned node = 0; TSL_NODES > 1 && node < node_count(self); node++)
        dump_node(self, sink, node);
    tsl_print(sink,
              "a letter is %lu MiB: . free, 1 to 9 tenths in use or no RAM, # full, H one block\n",
              (unsigned long)(areas_a_letter(self) * 2));
    for (unsigned kind = 0; kind < TSL_ZONE_COUNT; kind++)
        dump_zones(self, sink, kind);
    if (TSL_FRAME_POISON) {
        struct tsl_frames_guard_stats guard;
        tsl_frames_guard_stats(self, &guard);
        tsl_print(sink, "written to while free: %lu frames, %lu kept aside\n",
                  (unsigned long)guard.overwritten, (unsigned long)guard.kept_aside);
    }
    if (TSL_FRAME_OWNERS)
        tsl_frames_owners_dump(self, sink);
}
