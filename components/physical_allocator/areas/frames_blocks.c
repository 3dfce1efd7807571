/* SPDX-License-Identifier: MIT
 *
 * frames_blocks.c: free blocks by order, out of the bitmap; the fragmentation index.
 *
 * Owns:    nothing; reads only.
 * Needs:   frames_claim.c (claimed frames are free ones, too), base (bits).
 * Callers: the public functions of frames_blocks.h, the dump.
 *
 * A block is two free halves side by side: level by level, halves that have a free partner become
 * one block of the next order, the others are counted.
 */
#include "../physical_allocator_internal.h"

#include <tesela/frames_blocks.h>

/* Bits that are multiples of 2^order: where blocks of that order begin. */
static tsl_word starts_of(unsigned order)
{
    tsl_word starts = 1;
    for (unsigned step = 1u << order; step < TSL_WORD_BITS; step *= 2)
        starts |= starts << step;
    return starts;
}

/* Counts the blocks that end below a whole word; true if all of the word is free. */
static bool count_in_word(tsl_word word, struct tsl_frames_blocks *out)
{
    tsl_word blocks = word;
    for (unsigned order = 0; order < WORD_ORDER; order++) {
        tsl_word pairs = blocks & (blocks >> (1u << order)) & starts_of(order + 1);
        out->free[order] += tsl_bits_count(blocks) - 2 * tsl_bits_count(pairs);
        blocks = pairs;
    }
    return blocks != 0;
}

/* Counts one area; true if all of it is free: that is for the caller to count. */
static bool count_in_area(const struct tsl_frames *self, tsl_word area,
                          struct tsl_frames_blocks *out)
{
    bool is_full[AREA_WORDS];
    unsigned count = AREA_WORDS;
    for (unsigned i = 0; i < AREA_WORDS; i++) {
        const tsl_word *place = &area_words(self, area)[i];
        tsl_word word = word_free_about(self, area, place);
        out->frames += tsl_bits_count(word);
        is_full[i] = count_in_word(word, out);
    }
    for (unsigned order = WORD_ORDER; order < TSL_FRAMES_HUGE_ORDER; order++) {
        count /= 2;
        for (unsigned i = 0; i < count; i++) {
            bool is_pair = is_full[2 * i] && is_full[2 * i + 1];
            out->free[order] += is_pair ? 0 : (unsigned)is_full[2 * i] + is_full[2 * i + 1];
            is_full[i] = is_pair;
        }
    }
    return is_full[0];
}

static void count_in_zone(const struct tsl_frames *self, const struct frames_zone *zone,
                          struct tsl_frames_blocks *out)
{
    tsl_word low = FRAMES_NONE; /* the number of a free area whose upper neighbour comes next */
    for (tsl_word area = zone->first_area; area < zone->end_area; area++) {
        if (state_is_huge(area_state(self, area)) || !count_in_area(self, area, out))
            continue;
        tsl_word number = area * AREA_FRAMES + tsl_frames_shift_of(self, area);
        bool is_high = number % (2 * AREA_FRAMES) != 0;
        if (is_high && low == number - AREA_FRAMES) {
            out->free[TSL_FRAMES_HUGE_ORDER]--;
            out->free[TSL_FRAMES_HUGE_ORDER + 1]++;
        } else {
            out->free[TSL_FRAMES_HUGE_ORDER]++;
        }
        low = is_high ? FRAMES_NONE : number;
    }
}

enum tsl_status tsl_frames_count_blocks(const struct tsl_frames *self, unsigned node, unsigned zone,
                                        struct tsl_frames_blocks *out)
{
    if ((node != TSL_FRAMES_ALL && node >= node_count(self)) ||
        (zone != TSL_FRAMES_ALL && zone >= TSL_ZONE_COUNT))
        return tsl_refuse(NULL, TSL_INVALID, "frames: blocks of node %u, zone %u", node, zone);
    *out = (struct tsl_frames_blocks){0};
    for (unsigned i = 0; i < zone_count(self); i++) {
        bool is_meant = (node == TSL_FRAMES_ALL || node == zone_node(i)) &&
                        (zone == TSL_FRAMES_ALL || zone == i % TSL_ZONE_COUNT);
        if (is_meant)
            count_in_zone(self, &self->zone[i], out);
    }
    return TSL_OK;
}

enum tsl_status tsl_frames_cpu_stats(const struct tsl_frames *self, unsigned cpu,
                                     struct tsl_frames_cpu_stats *out)
{
    if (cpu >= TSL_CPUS)
        return tsl_refuse(NULL, TSL_INVALID, "frames: there is no CPU %u", cpu);
    *out = (struct tsl_frames_cpu_stats){.node = 0};
    if (TSL_NODES > 1)
        out->node = tsl_atomic_load_u32(&self->numa->home[cpu]) & 0xff;
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        out->held += tsl_bits_count(tsl_atomic_load(&frames_cpu_at(self, cpu)->slot[zone].copy));
    return TSL_OK;
}
