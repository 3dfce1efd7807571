/* SPDX-License-Identifier: MIT
 *
 * test_space_populate.c: pages that come and go by the batch, among others that do not.
 *
 * Owns:    suite space_populate.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "rng.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, PAGES = 200 };

static struct tsl_space *space;

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    world_map(space, world.base, PAGES, RW);
}

static void finish(void)
{
    world_destroy(space);
    world_stop();
}

static tsl_vaddr at(unsigned page)
{
    return world.base + page * (tsl_vaddr)PAGE;
}

static tsl_word faults(void)
{
    struct tsl_space_stats stats;
    tsl_space_stats(space, &stats);
    return stats.faults;
}

/* Every page of the range takes a write without a fault, but those of which `kept` is not 0: they
 * hold that. All others were zero. */
static void check_pages(const unsigned char *kept)
{
    tsl_word before = faults();
    for (unsigned page = 0; page < PAGES; page++) {
        unsigned char byte = 0xff;
        CHECK_STATUS(world_load(1, space, at(page), &byte), TSL_OK);
        CHECK_EQ(byte, kept[page]);
        CHECK_STATUS(world_store(0, space, at(page), (unsigned char)(page + 1)), TSL_OK);
    }
    CHECK_EQ(faults(), before);
    for (unsigned page = 0; page < PAGES; page++) {
        unsigned char byte = 0;
        CHECK_STATUS(world_load(0, space, at(page), &byte), TSL_OK);
        CHECK_EQ(byte, (unsigned char)(page + 1));
    }
    CHECK_SOUND(tsl_space_verify(space));
    world_check_maps(&space, 1);
}

static void untouched_pages_come(void)
{
    static const unsigned char none[PAGES];
    begin();
    CHECK_STATUS(tsl_space_populate(space, world.base, PAGES * PAGE), TSL_OK);
    check_pages(none);
    finish();
}

/* Pages that were read show the page of zeros; pages that were written are there; some of them went
 * again, or only their entries did. */
static void touched_pages_are_left_alone(void)
{
    static unsigned char kept[PAGES];
    struct rng rng = rng_start(7);
    for (unsigned round = 0; round < tap_rounds(8); round++) {
        begin();
        for (unsigned page = 0; page < PAGES; page++) {
            unsigned char byte;
            unsigned what = rng_below(&rng, round % 2 ? 5 : 40);
            kept[page] = what == 1 || what == 3 ? (unsigned char)(page | 1u) : 0;
            if (what == 0)
                CHECK_STATUS(world_load(0, space, at(page), &byte), TSL_OK);
            if (what >= 1 && what <= 3)
                CHECK_STATUS(world_store(0, space, at(page), (unsigned char)(page | 1u)), TSL_OK);
            if (what == 3) /* the page stays, its entry goes */
                CHECK_STATUS(tsl_space_protect(space, at(page), PAGE, 0), TSL_OK);
            if (what == 3)
                CHECK_STATUS(tsl_space_protect(space, at(page), PAGE, RW), TSL_OK);
            if (what == 2)
                CHECK_STATUS(tsl_space_advise(space, at(page), PAGE, TSL_ADVISE_DONT_NEED), TSL_OK);
        }
        CHECK_STATUS(tsl_space_populate(space, world.base, PAGES * PAGE), TSL_OK);
        /* Nobody made a mistake, so there is nothing to be logged. */
        CHECK_EQ(tsl_refusals_total(&tsl_space_table(space)->refusals), 0);
        check_pages(kept);
        finish();
    }
}

/* The leaf of slots is a neighbour's, so no page needs a fault: the region knows of its pages all
 * the same, and they go with it. */
static void pages_that_no_fault_brought_go_too(void)
{
    static const unsigned char none[PAGES];
    begin();
    CHECK_STATUS(tsl_space_unmap(space, at(1), (PAGES - 1) * PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, at(0), 1), TSL_OK);
    world_map(space, at(2), 8, RW);
    CHECK_STATUS(tsl_space_populate(space, at(2), 8 * PAGE), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_unmap(space, at(2), 8 * PAGE), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(world_load(0, space, at(2), &(unsigned char){0}), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_unmap(space, at(0), PAGE), TSL_OK);
    world_map(space, world.base, PAGES, RW);
    CHECK_STATUS(tsl_space_populate(space, world.base, PAGES * PAGE), TSL_OK);
    check_pages(none);
    finish();
}

/* Other regions in the same leaf of slots: each gets what it may have. */
static void every_region_gets_its_own(void)
{
    struct tsl_object *object;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 9 * PAGE};
    tsl_vaddr out;
    begin();
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = at(20),
                                      .bytes = 9 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_SHARED,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, at(40), 5 * PAGE, TSL_READ), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, at(50), 5 * PAGE, 0), TSL_OK);
    CHECK_STATUS(tsl_space_populate(space, world.base, PAGES * PAGE), TSL_OK);
    struct tsl_object_info info;
    tsl_object_info(object, &info);
    CHECK_EQ(info.resident, 9);
    tsl_word before = faults();
    for (unsigned page = 0; page < PAGES; page++) {
        unsigned char byte = 0xff;
        bool closed = page >= 50 && page < 55, fixed = page >= 40 && page < 45;
        CHECK_STATUS(world_load(0, space, at(page), &byte), closed ? TSL_DENIED : TSL_OK);
        if (!closed)
            CHECK_EQ(byte, 0);
        CHECK_STATUS(world_store(0, space, at(page), 1), closed || fixed ? TSL_DENIED : TSL_OK);
    }
    CHECK_EQ(faults(), before);
    CHECK_SOUND(tsl_space_verify(space));
    tsl_object_put(object);
    finish();
}

static enum tsl_status populate(void)
{
    return tsl_space_populate(space, world.base, 60 * PAGE);
}

static enum tsl_status fault_each(void)
{
    enum tsl_status status = TSL_OK;
    for (unsigned page = 0; page < 60 && status == TSL_OK; page++)
        status = tsl_space_fault(space, at(page), TSL_WRITE, NULL);
    return status;
}

static enum tsl_status with_frames(tsl_word left, enum tsl_status (*bring)(void))
{
    begin();
    world_leave_frames(left);
    enum tsl_status status = bring();
    CHECK_SOUND(tsl_space_verify(space));
    world_check_maps(&space, 1);
    world_give_frames_back();
    finish();
    return status;
}

/* What a batch takes in advance may be what a table or the heap lacks: populate succeeds with as
 * many frames as faults do, one page after the other. */
static void just_enough_frames_are_enough(void)
{
    unsigned good = 0, bad = 0;
    for (tsl_word left = 0; left < 90; left++) {
        enum tsl_status expected = with_frames(left, fault_each);
        CHECK_STATUS(with_frames(left, populate), expected);
        *(expected == TSL_OK ? &good : &bad) += 1;
    }
    CHECK(good > 0 && bad > 60);
}

/* Frames go back by the word; those that a copy or a pin still has stay. */
static void frames_that_others_have_stay(void)
{
    struct tsl_space *copy;
    struct tsl_frame pinned;
    begin();
    struct world_usage before = world_usage();
    CHECK_STATUS(tsl_space_populate(space, world.base, PAGES * PAGE), TSL_OK);
    for (unsigned page = 0; page < PAGES; page++)
        CHECK_STATUS(world_store(0, space, at(page), (unsigned char)page), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, at(77), TSL_WRITE, NULL, &pinned), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    for (unsigned page = 0; page < PAGES; page += 3)
        CHECK_STATUS(world_store(0, space, at(page), 200), TSL_OK);
    CHECK_STATUS(tsl_space_unmap(space, world.base, PAGES * PAGE), TSL_OK);
    CHECK(!tsl_frames_is_free(world.frames, pinned));
    for (unsigned page = 0; page < PAGES; page++) {
        unsigned char byte = 0;
        CHECK_STATUS(world_load(0, copy, at(page), &byte), TSL_OK);
        CHECK_EQ(byte, (unsigned char)page);
    }
    CHECK_STATUS(tsl_space_unpin(space, pinned), TSL_OK);
    CHECK_SOUND(tsl_space_verify(copy));
    world_destroy(copy);
    tsl_table_trim(tsl_space_table(space));
    CHECK_EQ(world_usage().counted, before.counted);
    finish();
}

/* The last one that shares a page writes it where it is: that takes no flush, on no CPU. */
static void a_right_that_is_added_is_not_flushed(void)
{
    struct tsl_space *copy;
    begin();
    for (unsigned cpu = 0; cpu < 2; cpu++)
        world_run(cpu, space);
    CHECK_STATUS(world_store(0, space, at(0), 1), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    world_destroy(copy);
    unsigned char byte;
    for (unsigned cpu = 0; cpu < 2; cpu++)
        CHECK_STATUS(world_load(cpu, space, at(0), &byte), TSL_OK);
    tsl_word before = tsl_space_table(space)->counters.flushes;
    for (unsigned cpu = 0; cpu < 2; cpu++)
        CHECK_STATUS(world_store(cpu, space, at(0), (unsigned char)cpu), TSL_OK);
    /* A fault for what another CPU has done meanwhile. */
    CHECK_STATUS(tsl_space_fault(space, at(0), TSL_WRITE, NULL), TSL_OK);
    CHECK_EQ(tsl_space_table(space)->counters.flushes, before);
    world_check_maps(&space, 1);
    CHECK_SOUND(tsl_space_verify(space));
    finish();
}

TAP_SUITE(space_populate, TAP_TEST(untouched_pages_come), TAP_TEST(touched_pages_are_left_alone),
          TAP_TEST(pages_that_no_fault_brought_go_too),
          TAP_TEST(every_region_gets_its_own), TAP_TEST(just_enough_frames_are_enough),
          TAP_TEST(frames_that_others_have_stay), TAP_TEST(a_right_that_is_added_is_not_flushed));
