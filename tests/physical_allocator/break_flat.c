/* SPDX-License-Identifier: MIT
 *
 * break_flat.c: break tests of the flat core: each rule of its tsl_frames_verify is broken in
 * exactly one place of a healthy allocator, found under its number, mended, and it is sound again.
 *
 * Owns:    nothing.
 * Needs:   the core's insides, frames_world.h.
 * Callers: the unit suite, over the flat core.
 */
#include "flat/frames_flat.h"
#include "frames_world.h"
#include "tap.h"

static struct world world;

/* Writes `value` to `place` (an integer), expects the rule, restores. */
#define BREAK(place, value, rule_number)                                                           \
    do {                                                                                           \
        __typeof__(place) saved_ = (place);                                                        \
        (place) = (__typeof__(place))(value);                                                      \
        CHECK_BROKEN(tsl_frames_verify(world.frames), (rule_number));                              \
        (place) = saved_;                                                                          \
        CHECK_SOUND(tsl_frames_verify(world.frames));                                              \
    } while (0)

/* A machine with one single frame and one huge block taken. */
static void each_rule_is_found(void)
{
    struct tsl_frame single, huge;
    REQUIRE(world_pc(&world, 24 * MIB) == TSL_OK);
    struct tsl_frames *frames = world.frames;
    REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_DMA, &single) == TSL_OK);
    REQUIRE(tsl_frames_alloc(frames, 9, 0, &huge) == TSL_OK);
    CHECK_SOUND(tsl_frames_verify(frames));
    tsl_word area = huge.number / TSL_FRAMES_PER_AREA;
    struct flat_zone *zone = &frames->zone[TSL_ZONE_DMA];

    BREAK(frames->magic, 0, 1);
    BREAK(frames->free[160 / TSL_WORD_BITS], saved_ | (tsl_word)1 << 160 % TSL_WORD_BITS, 31);
    BREAK(frames->huge[0], saved_ | 1, 32);
    BREAK(frames->huge[area / TSL_WORD_BITS], ~(tsl_word)0, 32);
    BREAK(frames->free[single.number / TSL_WORD_BITS],
          saved_ | (tsl_word)1 << single.number % TSL_WORD_BITS, 33);
    BREAK(zone->total, saved_ - 1, 33);
    BREAK(zone->free, saved_ - 1, 33);
    BREAK(zone->lowest, saved_ + 1, 34);
    BREAK(zone->lowest, zone->first - 1, 34);
    BREAK(frames->total, saved_ + 1, 35);
    BREAK(frames->free_count, saved_ - 1, 35);
    BREAK(frames->peak, 512, 35);
    BREAK(frames->peak, frames->total + 1, 35);
    BREAK(frames->reserved, 514, 35);
    world_end(&world);
}

TAP_SUITE(break_flat, TAP_TEST(each_rule_is_found));
