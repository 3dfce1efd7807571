/* SPDX-License-Identifier: MIT
 *
 * break_frames.c: breaks each rule of tsl_frames_verify by hand, and nothing else.
 *
 * Owns:    one test a rule.
 * Needs:   the component's internal header, frames_world.h.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "tap.h"

#include <tesela/cpu.h>

static struct world world;

/* 32 MiB with a hole, some of it in use, one area huge. */
static struct tsl_frames *make(void)
{
    struct tsl_frame frame;
    host_port_set_cpu(0);
    tsl_cpu_join();
    if (world_pc(&world, 32 * MIB) != TSL_OK ||
        tsl_frames_alloc(world.frames, 9, 0, &frame) != TSL_OK)
        return NULL;
    for (unsigned i = 0; i < 40; i++)
        if (tsl_frames_alloc(world.frames, i % 3, 0, &frame) != TSL_OK)
            return NULL;
    return tsl_frames_verify(world.frames).rule == 0 ? world.frames : NULL;
}

static tsl_word huge_area(const struct tsl_frames *self)
{
    tsl_word area = 0;
    while (area_state(self, area) != AREA_HUGE)
        area++;
    return area;
}

/* An area with all frames free that is no CPU's present one. */
static tsl_word free_area(const struct tsl_frames *self)
{
    return tsl_frames_tree_find(&self->whole, huge_area(self) + 2, self->area_count);
}

/* CPU 0's slot with a claimed word. */
static struct frames_slot *own_slot(struct tsl_frames *self)
{
    struct frames_slot *slot = self->cpus[0].slot;
    while (slot->copy == 0)
        slot++;
    return slot;
}

static void rule_1_header(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    self->magic++;
    CHECK_BROKEN(tsl_frames_verify(self), 1);
    self->magic--;
    tsl_word kept = self->span_count;
    self->span_count = 0;
    CHECK_BROKEN(tsl_frames_verify(self), 1);
    self->span_count = kept;
    CHECK_SOUND(tsl_frames_verify(self));
}

static void rule_2_spans(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct frames_span kept = self->spans[1];
    self->spans[1].shift += 1;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
    self->spans[1] = kept;
    self->spans[1].first = self->spans[0].end - 1;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
    self->spans[1] = kept;
    self->spans[1].end = kept.first;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
    self->spans[1] = kept;
    self->main.end--;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
    self->main.end++;
    CHECK_SOUND(tsl_frames_verify(self));
    self->hot_frames++;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
    self->hot_frames--;
    CHECK_SOUND(tsl_frames_verify(self));
    self->area_count++;
    CHECK_BROKEN(tsl_frames_verify(self), 2);
}

static void rule_3_holes(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    tsl_bits_set_range(self->words, 200, 1); /* 800 KiB: not RAM */
    CHECK_BROKEN(tsl_frames_verify(self), 3);
    tsl_bits_clear_range(self->words, 200, 1);
    tsl_bits_set_range(self->words, 0, 1); /* frame 0 */
    CHECK_BROKEN(tsl_frames_verify(self), 3);
}

static void rule_4_huge_bits(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    area_words(self, huge_area(self))[1] &= ~(tsl_word)8;
    CHECK_BROKEN(tsl_frames_verify(self), 4);
    CHECK_EQ(tsl_frames_verify(self).place, huge_area(self));
}

static void rule_5_states(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    tsl_word area = free_area(self);
    self->states[area] = AREA_TRYING;
    CHECK_BROKEN(tsl_frames_verify(self), 5);
    self->states[area] = 1; /* CPU 0's, which has another one */
    CHECK_BROKEN(tsl_frames_verify(self), 5);
    CHECK_EQ(tsl_frames_verify(self).place, area);
    self->states[area] = AREA_OPEN;
    CHECK_SOUND(tsl_frames_verify(self));
    self->states[own_slot(self)->area] = AREA_OPEN;
    CHECK_BROKEN(tsl_frames_verify(self), 5);
}

static void rule_6_trees(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct area_tree *const trees[] = {&self->any, &self->roomy, &self->whole};
    tsl_word area = free_area(self);
    for (unsigned i = 0; i < TSL_COUNT_OF(trees); i++) {
        tsl_frames_tree_remove(trees[i], area);
        CHECK_BROKEN(tsl_frames_verify(self), 6);
        CHECK_EQ(tsl_frames_verify(self).place, area);
        tsl_frames_tree_add(trees[i], area);
        CHECK_SOUND(tsl_frames_verify(self));
    }
}

static void rule_7_zones(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    self->zone[TSL_ZONE_HIGHMEM].end_area++;
    CHECK_BROKEN(tsl_frames_verify(self), 7);
    self->zone[TSL_ZONE_HIGHMEM].end_area--;
    self->zone[TSL_ZONE_DMA].first_area++;
    CHECK_BROKEN(tsl_frames_verify(self), 7);
}

static void rule_8_zone_count(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    self->zone[TSL_ZONE_DMA].free++;
    CHECK_BROKEN(tsl_frames_verify(self), 8);
    self->zone[TSL_ZONE_DMA].free--;
    self->cpus[0].slot[TSL_ZONE_DMA].delta++;
    CHECK_BROKEN(tsl_frames_verify(self), 8);
}

static void rule_9_tree_levels(void)
{
    /* Enough areas for two levels of either word size. */
    const struct world_range ranges[] = {{16 * MIB, 224 * MIB, TSL_MEMORY_USABLE}};
    REQUIRE(world_make(&world, ranges, 1) == TSL_OK);
    struct tsl_frames *self = world.frames;
    REQUIRE(self->any.areas > TSL_WORD_BITS);
    tsl_word second = tree_words(self->any.areas); /* where the second level begins */
    CHECK_SOUND(tsl_frames_verify(self));
    self->any.words[second] &= ~(tsl_word)1;
    CHECK_BROKEN(tsl_frames_verify(self), 9);
    CHECK_EQ(tsl_frames_verify(self).place, 0);
    self->any.words[second] |= 1;
    self->whole.words[second] = 0;
    CHECK_BROKEN(tsl_frames_verify(self), 9);
    CHECK_EQ(tsl_frames_verify(self).place, 2);
}

static void rule_10_slots(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct frames_slot *slot = own_slot(self);
    slot->number += AREA_FRAMES;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->number -= AREA_FRAMES;
    slot->word += AREA_WORDS;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->word -= AREA_WORDS;
    slot->turn++;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->turn--;
    slot->bits = 3;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->bits = TSL_WORD_BITS;
    CHECK_SOUND(tsl_frames_verify(self));
    uint32_t todo = slot->todo;
    slot->todo = (uint32_t)1 << AREA_WORDS;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->todo = todo;
    slot->whole = 1;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    slot->whole = 0;
    CHECK_SOUND(tsl_frames_verify(self));
    self->cpus[0].slot[TSL_ZONE_HIGHMEM].area = 0;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    self->cpus[0].slot[TSL_ZONE_HIGHMEM].area = FRAMES_NONE;
    self->cpus[0].slot[TSL_ZONE_HIGHMEM].copy = 1;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
    self->cpus[0].slot[TSL_ZONE_HIGHMEM].copy = 0;
    self->cpus[0].slot[TSL_ZONE_HIGHMEM].todo = 1;
    CHECK_BROKEN(tsl_frames_verify(self), 10);
}

static void rule_11_totals(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    self->zone[TSL_ZONE_DMA].total++;
    CHECK_BROKEN(tsl_frames_verify(self), 11);
    self->zone[TSL_ZONE_DMA].total--;
    self->reserved = world.frames->zone[TSL_ZONE_DMA].total * 4;
    CHECK_BROKEN(tsl_frames_verify(self), 11);
}

static void rule_15_one_place_a_frame(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct frames_slot *slot = own_slot(self);
    tsl_word bit = slot->copy & -slot->copy;
    *slot->word |= bit; /* freed by somebody while this CPU has it free */
    CHECK_BROKEN(tsl_frames_verify(self), 15);
    CHECK_EQ(tsl_frames_verify(self).place, 0);
    *slot->word &= ~bit;
    CHECK_SOUND(tsl_frames_verify(self));
    /* The first word of all has frame 0, which is not managed. */
    struct tsl_frame frame;
    REQUIRE(tsl_frames_alloc(self, 0, TSL_FRAMES_DMA, &frame) == TSL_OK);
    slot = &self->cpus[0].slot[TSL_ZONE_DMA];
    REQUIRE(slot->number == 0 && slot->bits == 0);
    CHECK_SOUND(tsl_frames_verify(self));
    slot->copy |= 1;
    CHECK_BROKEN(tsl_frames_verify(self), 15);
    slot->copy &= ~(tsl_word)1;
    slot->bits = TSL_WORD_BITS;
    CHECK_BROKEN(tsl_frames_verify(self), 15);
}

TAP_SUITE(break_frames, TAP_TEST(rule_1_header), TAP_TEST(rule_2_spans), TAP_TEST(rule_3_holes),
          TAP_TEST(rule_4_huge_bits), TAP_TEST(rule_5_states), TAP_TEST(rule_6_trees),
          TAP_TEST(rule_7_zones), TAP_TEST(rule_8_zone_count), TAP_TEST(rule_9_tree_levels),
          TAP_TEST(rule_10_slots), TAP_TEST(rule_11_totals), TAP_TEST(rule_15_one_place_a_frame));
