/* SPDX-License-Identifier: MIT
 *
 * test_descriptor.c: frame descriptors: counts that saturate, states, freezing against pinning.
 *
 * Owns:    suite descriptor; the broken rule 14.
 * Needs:   frames_world.h, the test port, threads; TSL_FRAME_DESCRIPTORS.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "rng.h"
#include "tap.h"

#include <pthread.h>
#include <sched.h>

static struct world world;

static struct tsl_frames *make(void)
{
    const struct world_range ranges[] = {{1 * MIB, 3 * MIB, TSL_MEMORY_USABLE},
                                         {12 * MIB, 20 * MIB, TSL_MEMORY_USABLE},
                                         {1024 * GIB, 4 * MIB, TSL_MEMORY_USABLE}};
    world_map(&world, ranges, TSL_COUNT_OF(ranges));
    world.config.descriptors = true;
    return tsl_frames_create(&world.config, &world.frames) == TSL_OK ? world.frames : NULL;
}

static struct tsl_frame_descriptor *one(struct tsl_frames *self)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(self, 0, 0, &frame), TSL_OK);
    return tsl_descriptor_of(self, frame);
}

static void every_frame_has_its_own(void)
{
    struct tsl_frames *self = make();
    static const uint64_t places[] = {1 * MIB, 4 * MIB - 4096, 12 * MIB, 1024 * GIB};
    REQUIRE(self != NULL);
    const struct tsl_frame_descriptor *before = NULL;
    for (unsigned i = 0; i < TSL_COUNT_OF(places); i++) {
        struct tsl_frame frame = world_frame(places[i]);
        struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(self, frame);
        REQUIRE(descriptor != NULL && descriptor != before);
        CHECK_EQ(tsl_descriptor_frame(self, descriptor).number, frame.number);
        CHECK(tsl_descriptor_at(self, tsl_descriptor_index(self, descriptor)) == descriptor);
        CHECK_EQ(tsl_descriptor_state(descriptor), TSL_FRAME_FREE);
        before = descriptor;
    }
    CHECK(tsl_descriptor_of(self, world_frame(0)) == NULL);
    CHECK(tsl_descriptor_of(self, world_frame(8 * MIB)) == NULL);
    /* They are metadata: in low memory, and nobody's. */
    const char *low = (const char *)tsl_descriptor_at(self, 0);
    CHECK(low >= (char *)self && low < (char *)tsl_port_phys_to_virt(32 * MIB - 4096));
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    CHECK(tsl_descriptor_of(world.frames, world_frame(8 * MIB)) == NULL);
}

static void states_change_only_from_what_they_are(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    tsl_descriptor_set_heat(frame, 0xab);
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_FREE, TSL_FRAME_BUSY));
    CHECK(!tsl_descriptor_change(frame, TSL_FRAME_FREE, TSL_FRAME_TABLE));
    frame->as.pool.slots = ~(uint64_t)0;
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_BUSY, TSL_FRAME_POOL));
    CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_POOL);
    CHECK_EQ(tsl_descriptor_heat(frame), 0xab);
    CHECK_EQ(tsl_descriptor_references(frame), 0);
    CHECK_EQ(tsl_descriptor_pins(frame), 0);
    CHECK(frame->as.pool.slots == ~(uint64_t)0);
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_POOL, TSL_FRAME_FREE));
}

/* The three counts and the heat do not run into each other. */
static void counts_are_apart(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_FREE, TSL_FRAME_PAGE));
    frame->as.page.owner = self;
    frame->as.page.index = 0x12345678;
    for (unsigned i = 1; i <= 300; i++) {
        tsl_descriptor_get(frame);
        CHECK(tsl_descriptor_map(frame));
        CHECK(tsl_descriptor_pin(frame));
        tsl_descriptor_set_heat(frame, i);
    }
    CHECK_EQ(tsl_descriptor_references(frame), 300);
    CHECK_EQ(tsl_descriptor_maps(frame), 300);
    CHECK_EQ(tsl_descriptor_pins(frame), 300);
    CHECK_EQ(tsl_descriptor_heat(frame), 300 & 0xff);
    CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_PAGE);
    CHECK(frame->as.page.owner == self);
    CHECK_EQ(frame->as.page.index, 0x12345678);
    for (unsigned i = 300; i > 0; i--) {
        CHECK_EQ(tsl_descriptor_put(frame), i == 1);
        CHECK_EQ(tsl_descriptor_unmap(frame), i == 1);
        tsl_descriptor_unpin(frame);
    }
    CHECK(tsl_descriptor_is_idle(frame));
    CHECK_SOUND(tsl_frames_verify(self));
}

/* Writes the fields as if that many had come. */
/* What a fresh frame gets and a last reference takes is what the single steps come to. */
static void pages_begin_and_end(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    tsl_descriptor_set_heat(frame, 0xcd);
    for (unsigned maps = 0; maps < 2; maps++) {
        tsl_descriptor_begin_page(frame, maps);
        CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_PAGE);
        CHECK_EQ(tsl_descriptor_references(frame), 1);
        CHECK_EQ(tsl_descriptor_maps(frame), maps);
        CHECK_EQ(tsl_descriptor_pins(frame), 0);
        CHECK_EQ(tsl_descriptor_heat(frame), 0xcd);
        tsl_descriptor_get(frame);
        CHECK(!tsl_descriptor_end_page(frame));
        CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_PAGE);
        CHECK(maps == 0 || tsl_descriptor_unmap(frame));
        frame->as.page.owner = self;
        CHECK(tsl_descriptor_end_page(frame));
        CHECK(frame->as.page.owner == NULL);
        CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_FREE);
        CHECK(tsl_descriptor_is_idle(frame));
    }
    /* Maps that were full once: nobody knows whether there are any. */
    tsl_descriptor_begin_page(frame, 1);
    frame->counts[TSL_FRAME_COUNT_WORDS - 1] = TSL_FRAME_DESCRIPTORS_SMALL
                                                   ? (TSL_FRAME_COUNT_MAX - 1u) << 16 | 1u
                                                   : TSL_FRAME_COUNT_MAX - 1u;
    CHECK_EQ(tsl_descriptor_references(frame), 1);
    CHECK(!tsl_descriptor_end_page(frame));
    CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_PAGE);
    /* The same with pins. */
    frame = one(self);
    tsl_descriptor_begin_page(frame, 0);
    for (unsigned i = 0; i < 0x10002; i++)
        CHECK(tsl_descriptor_pin(frame));
    for (unsigned i = 0; i < 0x10002; i++)
        tsl_descriptor_unpin(frame);
    CHECK(!tsl_descriptor_end_page(frame));
    CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_PAGE);
}

static void set_counts(struct tsl_frame_descriptor *frame, uint32_t count)
{
    for (unsigned i = 0; i < TSL_FRAME_COUNT_WORDS; i++)
        frame->counts[i] = TSL_FRAME_DESCRIPTORS_SMALL ? count << 16 | count : count;
}

static void counts_saturate(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    set_counts(frame, TSL_FRAME_COUNT_MAX - 2);
    for (unsigned i = 0; i < 4; i++) {
        tsl_descriptor_get(frame);
        CHECK(tsl_descriptor_map(frame));
    }
    CHECK_EQ(tsl_descriptor_references(frame), TSL_FRAME_COUNT_MAX);
    CHECK_EQ(tsl_descriptor_maps(frame), TSL_FRAME_COUNT_MAX - 1);
    for (unsigned i = 0; i < 4; i++) {
        CHECK(!tsl_descriptor_put(frame));
        CHECK(!tsl_descriptor_unmap(frame));
    }
    CHECK_EQ(tsl_descriptor_references(frame), TSL_FRAME_COUNT_MAX); /* for good */
    CHECK_EQ(tsl_descriptor_maps(frame), TSL_FRAME_COUNT_MAX - 1);
    CHECK(!tsl_descriptor_freeze(frame));
    for (unsigned i = 0; i < 0x10002; i++)
        CHECK(tsl_descriptor_pin(frame));
    tsl_descriptor_unpin(frame);
    CHECK_EQ(tsl_descriptor_pins(frame), 0xffff);
    CHECK_EQ(tsl_descriptor_state(frame), TSL_FRAME_FREE);
}

static void put_none(void *context)
{
    CHECK(!tsl_descriptor_put(context));
}

static void unmap_none(void *context)
{
    CHECK(!tsl_descriptor_unmap(context));
}

static void unpin_none(void *context)
{
    tsl_descriptor_unpin(context);
}

static void thaw_none(void *context)
{
    tsl_descriptor_thaw(context);
}

static void free_mapped(void *context)
{
    if (tsl_descriptor_map(context))
        CHECK(!tsl_descriptor_change(context, TSL_FRAME_FREE, TSL_FRAME_FREE));
}

static void taking_from_nothing_is_our_mistake(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    CHECK_PANICS(put_none, frame, "assertion");
    CHECK_PANICS(unmap_none, frame, "assertion");
    CHECK_PANICS(unpin_none, frame, "assertion");
    CHECK_PANICS(thaw_none, frame, "assertion");
    CHECK_PANICS(free_mapped, frame, "assertion");
    CHECK(tsl_descriptor_freeze(frame));
    CHECK_PANICS(unmap_none, frame, "assertion");
}

static void what_is_frozen_is_left_alone(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    CHECK(tsl_descriptor_map(frame));
    CHECK(!tsl_descriptor_freeze(frame));
    CHECK(tsl_descriptor_unmap(frame));
    CHECK(tsl_descriptor_pin(frame));
    CHECK(!tsl_descriptor_freeze(frame));
    CHECK(!tsl_descriptor_is_frozen(frame));
    tsl_descriptor_unpin(frame);
    CHECK(tsl_descriptor_freeze(frame));
    CHECK(tsl_descriptor_is_frozen(frame));
    CHECK_EQ(tsl_descriptor_maps(frame), 0);
    CHECK(!tsl_descriptor_freeze(frame));
    CHECK(!tsl_descriptor_map(frame));
    CHECK(!tsl_descriptor_pin(frame));
    CHECK_EQ(tsl_descriptor_pins(frame), 0);
    tsl_descriptor_get(frame); /* references do not care */
    CHECK(tsl_descriptor_put(frame));
    tsl_descriptor_thaw(frame);
    CHECK(tsl_descriptor_map(frame));
}

/* Two threads map, pin and count; the third freezes. While it is frozen nobody is in. */
enum { ROUNDS = 20000 };
static struct tsl_frame_descriptor *shared;
static uint32_t inside, clashes, frozen_times;

static void *user(void *argument)
{
    struct rng rng = rng_start((uint32_t)(uintptr_t)argument);
    unsigned last = 0; /* how often this thread was the last: no matter */
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool by_pin = rng_below(&rng, 2) == 0;
        tsl_descriptor_get(shared);
        if (by_pin ? tsl_descriptor_pin(shared) : tsl_descriptor_map(shared)) {
            (void)tsl_atomic_add_u32(&inside, 1);
            (void)tsl_atomic_sub_u32(&inside, 1);
            if (by_pin)
                tsl_descriptor_unpin(shared);
            else
                last += tsl_descriptor_unmap(shared);
        }
        last += tsl_descriptor_put(shared);
    }
    return last <= 2 * ROUNDS ? argument : NULL;
}

static void *evictor(void *argument)
{
    (void)argument;
    while (frozen_times < ROUNDS / 20) {
        if (!tsl_descriptor_freeze(shared)) {
            (void)sched_yield();
            continue;
        }
        frozen_times++;
        for (unsigned look = 0; look < 10; look++)
            clashes += tsl_atomic_load_u32(&inside);
        tsl_descriptor_thaw(shared);
    }
    return NULL;
}

static void freezing_excludes_pins_and_maps(void)
{
    struct tsl_frames *self = make();
    pthread_t threads[3];
    REQUIRE(self != NULL);
    shared = one(self);
    inside = clashes = frozen_times = 0;
    for (uintptr_t i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, i == 2 ? evictor : user, (void *)i) == 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(clashes, 0);
    CHECK(tsl_descriptor_is_idle(shared));
}

static void rule_14_descriptors(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame_descriptor *frame = one(self);
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_FREE, TSL_FRAME_KERNEL));
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_STATUS(tsl_frames_free(self, tsl_descriptor_frame(self, frame), 0), TSL_OK);
    CHECK_BROKEN(tsl_frames_verify(self), 14);
    CHECK_EQ(tsl_frames_verify(self).place, tsl_descriptor_index(self, frame));
    CHECK(tsl_descriptor_change(frame, TSL_FRAME_KERNEL, TSL_FRAME_FREE));
    CHECK_SOUND(tsl_frames_verify(self));
    tsl_descriptor_get(frame);
    CHECK_BROKEN(tsl_frames_verify(self), 14);
}

TAP_SUITE(descriptor, TAP_TEST(every_frame_has_its_own),
          TAP_TEST(states_change_only_from_what_they_are), TAP_TEST(counts_are_apart),
          TAP_TEST(pages_begin_and_end), TAP_TEST(counts_saturate),
          TAP_TEST(taking_from_nothing_is_our_mistake), TAP_TEST(what_is_frozen_is_left_alone),
          TAP_TEST(freezing_excludes_pins_and_maps), TAP_TEST(rule_14_descriptors));
