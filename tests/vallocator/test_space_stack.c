/* SPDX-License-Identifier: MIT
 *
 * test_space_stack.c: what becomes of a stack and its gap when parts of it go, change, are locked.
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

/* The same when it only becomes shorter: the gap is as long as there is room; no stack grows. */
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

static enum tsl_status get_nothing(void *context, size_t page, struct tsl_frame into,
                                   struct tsl_page_request *request)
{
    (void)context, (void)page, (void)into, (void)request;
    return TSL_CORRUPT;
}

/* What took the place of the end is taken out again, since it cannot be populated. */
static void a_failed_populate_gives_the_gap_back(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_PAGER, .bytes = PAGE, .pager = {get_nothing, NULL}};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = start,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_POPULATE,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_CORRUPT);
    tsl_object_put(object);
    check_gap(start + PAGE);
    finish();
}

static void the_rule_is_checked(void)
{
    begin();
    struct tsl_region *region = tsl_regions_find(&space->regions, start >> TSL_PAGE_SHIFT);
    region->guard_below--;
    region->gap_below++;
    tsl_tree_update(&space->regions.tree, &region->node);
    CHECK_BROKEN(tsl_space_verify(space), 10);
    tsl_regions_widen_guard(&space->regions, region, GAP);
    finish();
}

/* Whatever is done to stacks and their neighbours, within a window of some gaps. */
static void one_change(struct rng *rng)
{
    static const unsigned flags[] = {TSL_SPACE_FIXED, TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE,
                                     TSL_SPACE_FIXED | TSL_SPACE_GUARDED,
                                     TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                     TSL_SPACE_FIXED | TSL_SPACE_POPULATE};
    tsl_vaddr at = start + (tsl_vaddr)rng_below(rng, 40) * PAGE;
    size_t bytes = (1 + rng_below(rng, 6)) * PAGE;
    at -= rng_once_in(rng, 4) ? (tsl_vaddr)rng_below(rng, 2 * GAP) * PAGE : 20 * PAGE;
    tsl_vaddr out;
    struct tsl_map_request map = {.address = at,
                                  .bytes = bytes,
                                  .rights = rng_once_in(rng, 3) ? TSL_READ : RW,
                                  .flags = flags[rng_below(rng, TSL_COUNT_OF(flags))],
                                  .stack_bytes = 40 * PAGE};
    struct tsl_remap_request remap = {.start = at,
                                      .bytes = bytes,
                                      .new_bytes = (1 + rng_below(rng, 6)) * PAGE,
                                      .address = start + (tsl_vaddr)rng_below(rng, 40) * PAGE,
                                      .flags = rng_once_in(rng, 2) ? TSL_SPACE_FIXED
                                                                   : TSL_SPACE_MAY_MOVE};
    switch (rng_below(rng, 8)) {
    case 0:
        (void)!tsl_space_map(space, &map, &out);
        break;
    case 1:
    case 2:
        (void)!tsl_space_unmap(space, at, bytes);
        break;
    case 3:
        (void)!tsl_space_protect(space, at, bytes, map.rights);
        break;
    case 4:
        (void)!tsl_space_remap(space, &remap, &out);
        break;
    case 5:
        (void)!tsl_space_lock_pages(space, at, bytes);
        break;
    default:
        (void)!tsl_space_fault(space, at, map.rights & TSL_WRITE ? TSL_WRITE : TSL_READ, NULL);
    }
}

static void whatever_is_done_the_gap_is_kept(void)
{
    begin();
    struct rng rng = rng_start(6);
    for (unsigned i = 0; i < tap_rounds(3000); i++) {
        one_change(&rng);
        CHECK_SOUND(tsl_space_verify(space));
        if (!rng_once_in(&rng, 300))
            continue;
        struct tsl_space *copy;
        CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
        CHECK_SOUND(tsl_space_verify(copy));
        world_destroy(space);
        space = copy;
    }
    finish();
}

TAP_SUITE(space_stack, TAP_TEST(the_gap_follows_the_end), TAP_TEST(a_hole_is_no_room_to_grow),
          TAP_TEST(a_protected_end_is_part_of_the_stack), TAP_TEST(the_gap_comes_back),
          TAP_TEST(half_a_gap_is_kept_too), TAP_TEST(a_locked_stack_brings_what_it_gains),
          TAP_TEST(a_failed_populate_gives_the_gap_back), TAP_TEST(the_rule_is_checked),
          TAP_TEST(whatever_is_done_the_gap_is_kept));
