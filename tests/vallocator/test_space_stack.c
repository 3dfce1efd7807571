/* SPDX-License-Identifier: MIT
 *
 * test_space_stack.c: what becomes of a stack and its gap when parts of it go, change or are locked.
 *
 * Owns:    suite space_stack.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, GAP = TSL_SPACE_STACK_GAP_BYTES / PAGE };

static struct tsl_space *space;
static tsl_vaddr start; /* of a stack of ten pages, with much room below it */

static void begin_with(const struct tsl_space_limits *limits)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, limits, &space), TSL_OK);
    start = world.base + 4 * GAP * (tsl_vaddr)PAGE;
    tsl_vaddr out = 0;
    struct tsl_map_request request = {.address = start,
                                      .bytes = 10 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 1000 * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
}

static void begin(void)
{
    begin_with(NULL);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

static enum tsl_status map_page(tsl_vaddr at)
{
    tsl_vaddr out;
    struct tsl_map_request request = {
        .address = at, .bytes = PAGE, .rights = RW, .flags = TSL_SPACE_FIXED};
    return tsl_space_map(space, &request, &out);
}

/* Nothing can be put closer than the gap below `bottom`; there something can. */
static void check_gap(tsl_vaddr bottom)
{
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(map_page(bottom - PAGE), TSL_OVERLAP);
    CHECK_STATUS(map_page(bottom - GAP * (tsl_vaddr)PAGE), TSL_OVERLAP);
    CHECK_STATUS(map_page(bottom - (GAP + 1) * (tsl_vaddr)PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, bottom - PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(tsl_space_unmap(space, bottom - (GAP + 1) * (tsl_vaddr)PAGE, PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, bottom - PAGE, 1), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
}

static void the_gap_follows_the_end(void)
{
    begin();
    CHECK_STATUS(tsl_space_unmap(space, start, 4 * PAGE), TSL_OK);
    check_gap(start + 4 * PAGE);
    finish();
}

/* Two pieces: the upper one must not grow down to the lower one. */
static void a_hole_is_no_room_to_grow(void)
{
    begin();
    CHECK_STATUS(tsl_space_unmap(space, start + 4 * PAGE, 3 * PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, start + 6 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_store(0, space, start + 4 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_store(0, space, start - PAGE, 1), TSL_OK);
    CHECK_STATUS(tsl_space_unmap(space, start - PAGE, 5 * PAGE), TSL_OK); /* the lower one */
    check_gap(start + 7 * PAGE);
    finish();
}

/* Other rights for the lowest page, as a guard: the rest is a stack of its own when it goes. */
static void a_protected_end_is_part_of_the_stack(void)
{
    begin();
    CHECK_STATUS(tsl_space_protect(space, start, PAGE, 0), TSL_OK);
    CHECK_STATUS(world_store(0, space, start, 1), TSL_DENIED);
    CHECK_STATUS(world_store(0, space, start - PAGE, 1), TSL_DENIED);
    CHECK_STATUS(tsl_space_unmap(space, start, PAGE), TSL_OK);
    check_gap(start + PAGE);
    finish();
}

/* What was put in the place of the end takes the gap with it, and gives it back. */
static void the_gap_comes_back(void)
{
    begin();
    CHECK_STATUS(map_page(start), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, start, PAGE, TSL_READ), TSL_OK);
    CHECK_STATUS(world_store(0, space, start, 1), TSL_DENIED);
    struct tsl_remap_request request = {.start = start,
                                        .bytes = PAGE,
                                        .new_bytes = PAGE,
                                        .address = world.base,
                                        .flags = TSL_SPACE_FIXED};
    tsl_vaddr out;
    CHECK_STATUS(tsl_space_remap(space, &request, &out), TSL_OK);
    check_gap(start + PAGE);
    finish();
}

/* The same when it only becomes shorter: the gap is as long as there is room, and no stack grows. */
static void half_a_gap_is_kept_too(void)
{
    begin();
    world_map(space, start, 4, TSL_READ);
    struct tsl_remap_request request = {.start = start, .bytes = 4 * PAGE, .new_bytes = PAGE};
    tsl_vaddr out;
    CHECK_STATUS(tsl_space_remap(space, &request, &out), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(map_page(start + PAGE), TSL_OVERLAP);
    CHECK_STATUS(world_store(0, space, start + 3 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(tsl_space_unmap(space, start, PAGE), TSL_OK);
    check_gap(start + 4 * PAGE);
    finish();
}

/* A locked stack that grows by many pages has them all, if there is memory. */
static void a_locked_stack_brings_what_it_gains(void)
{
    begin_with(&(struct tsl_space_limits){.locked = 20});
    struct tsl_page_info info;
    CHECK_STATUS(tsl_space_lock_pages(space, start, 10 * PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, start - 11 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_store(0, space, start - 6 * PAGE, 1), TSL_OK);
    for (unsigned page = 1; page <= 6; page++) {
        CHECK_STATUS(tsl_space_query(space, start - page * PAGE, &info), TSL_OK);
        CHECK(info.is_present && info.is_writable);
    }
    finish();
}

TAP_SUITE(space_stack, TAP_TEST(the_gap_follows_the_end), TAP_TEST(a_hole_is_no_room_to_grow),
          TAP_TEST(a_protected_end_is_part_of_the_stack), TAP_TEST(the_gap_comes_back),
          TAP_TEST(half_a_gap_is_kept_too), TAP_TEST(a_locked_stack_brings_what_it_gains));
