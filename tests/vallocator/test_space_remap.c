/* SPDX-License-Identifier: MIT
 *
 * test_space_remap.c: runs of pages that grow, shrink and move; pages that are locked; questions.
 *
 * Owns:    suite space_remap.
 * Needs:   space_world.h, model_cpu.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "machine.h"

#include <host/model_cpu.h>
#include <tesela/port.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_space *space;

static void begin_with(const struct tsl_space_limits *limits)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, limits, &space), TSL_OK);
}

static void begin(void)
{
    begin_with(NULL);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_check_maps(&space, 1);
    world_destroy(space);
    world_stop();
}

static void write_pages(tsl_vaddr at, size_t pages)
{
    for (size_t i = 0; i < pages; i++)
        CHECK_STATUS(world_store(0, space, at + i * PAGE, (unsigned char)(10 + i)), TSL_OK);
}

static void check_pages(struct tsl_space *of, tsl_vaddr at, size_t pages)
{
    for (size_t i = 0; i < pages; i++) {
        unsigned char byte = 0xEE;
        CHECK_STATUS(world_load(1, of, at + i * PAGE, &byte), TSL_OK);
        CHECK_EQ(byte, 10 + i);
    }
}

static struct tsl_frame frame_at(tsl_vaddr address)
{
    struct tsl_page_info info = {.is_present = false};
    CHECK_STATUS(tsl_space_query(space, address, &info), TSL_OK);
    CHECK_EQ(info.contents, TSL_SLOT_FRAME);
    return info.frame;
}

static tsl_vaddr remap(tsl_vaddr start, size_t pages, size_t new_pages, unsigned flags,
                       tsl_vaddr to)
{
    tsl_vaddr out = 0;
    struct tsl_remap_request request = {start, pages * PAGE, new_pages * PAGE, to, flags};
    CHECK_STATUS(tsl_space_remap(space, &request, &out), TSL_OK);
    return out;
}

static enum tsl_status try_remap(tsl_vaddr start, size_t pages, size_t new_pages, unsigned flags,
                                 tsl_vaddr to)
{
    tsl_vaddr out = 1;
    struct tsl_remap_request request = {start, pages * PAGE, new_pages * PAGE, to, flags};
    uint64_t image = world_image(space);
    enum tsl_status status = tsl_space_remap(space, &request, &out);
    CHECK_EQ(out, 1);
    CHECK(world_image(space) == image);
    return status;
}

/* The frames are the same before and after, nothing is copied, the next write does not fault. */
static void pages_move_without_being_copied(void)
{
    struct tsl_frame frame[5];
    struct tsl_space_stats before, after;
    begin();
    world_map(space, world.base, 5, RW);
    write_pages(world.base, 5);
    for (size_t i = 0; i < 5; i++)
        frame[i] = frame_at(world.base + i * PAGE);
    tsl_vaddr to =
        world.base + ((tsl_vaddr)PAGE << 12); /* in other tables, and another slot node */
    size_t counted = world_usage().counted;
    CHECK_EQ(remap(world.base, 5, 7, TSL_SPACE_FIXED, to), to);
    for (size_t i = 0; i < 5; i++)
        CHECK_EQ(frame_at(to + i * PAGE).number, frame[i].number);
    CHECK_EQ(world_usage().counted, counted);
    tsl_space_stats(space, &before);
    check_pages(space, to, 5);
    write_pages(to, 5);
    tsl_space_stats(space, &after);
    CHECK_EQ(after.faults, before.faults); /* the entries came along */
    unsigned char byte = 0xEE;
    CHECK_STATUS(world_load(0, space, to + 6 * PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 0);
    CHECK_STATUS(world_load(0, space, world.base, &byte), TSL_NOT_FOUND);
    /* One page more in place, and a shorter run: what is cut off is gone. */
    CHECK_EQ(remap(to, 7, 8, 0, 0), to);
    CHECK_EQ(remap(to, 8, 3, 0, 0), to);
    CHECK_EQ(remap(to, 3, 4, TSL_SPACE_MAY_MOVE, 0), to);
    CHECK_STATUS(world_load(0, space, to + 3 * PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 0);
    check_pages(space, to, 3);
    CHECK_EQ(world_usage().counted, 3);
    finish();
}

/* CVE-2018-18281: while the pages move, another CPU goes on writing where they were. */
static void no_cpu_writes_to_the_old_place(void)
{
    unsigned char byte = 99;
    begin();
    world_map(space, world.base, 2, RW);
    write_pages(world.base, 2);
    CHECK_STATUS(world_store(1, space, world.base, 10), TSL_OK); /* CPU 1 remembers the entry */
    tsl_vaddr to = remap(world.base, 2, 2, TSL_SPACE_FIXED, world.base + 8 * PAGE);
    CHECK_EQ(model_store(1, world.base, &byte, 1), MODEL_NOT_PRESENT);
    check_pages(space, to, 2);
    CHECK_STATUS(tsl_space_unmap(space, to, 2 * PAGE), TSL_OK);
    CHECK_EQ(model_store(1, to, &byte, 1), MODEL_NOT_PRESENT);
    finish();
}

/* What a copy shares stays shared, each side at its own address; what is pinned stays pinned. */
static void copies_and_pins_follow(void)
{
    struct tsl_frame pinned, found;
    begin();
    world_map(space, world.base, 4, RW);
    write_pages(world.base, 4);
    CHECK_STATUS(tsl_space_pin(space, world.base + PAGE, TSL_WRITE, NULL, &pinned), TSL_OK);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    tsl_vaddr to = world.base + 16 * PAGE;
    CHECK_EQ(remap(world.base, 4, 6, TSL_SPACE_FIXED, to), to);
    check_pages(copy, world.base, 4);
    check_pages(space, to, 4);
    found = frame_at(to + PAGE);
    CHECK_EQ(found.number, pinned.number);
    CHECK_STATUS(world_store(0, space, to + PAGE, 77), TSL_OK);
    CHECK_EQ(*(unsigned char *)tsl_port_phys_to_virt(tsl_frame_address(pinned)), 77);
    CHECK_STATUS(world_store(0, space, to, 78), TSL_OK);
    check_pages(copy, world.base, 4);
    CHECK_SOUND(tsl_space_verify(copy));
    CHECK_STATUS(tsl_space_unpin(space, pinned), TSL_OK);
    world_destroy(copy);
    finish();
}

static void an_object_shows_the_same_pages_elsewhere(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 6 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 4 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_SHARED,
                                      .object = object,
                                      .object_page = 1};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    write_pages(world.base, 4);
    CHECK_STATUS(try_remap(world.base, 4, 6, TSL_SPACE_MAY_MOVE, 0), TSL_OUT_OF_RANGE);
    /* The middle moves; the object's page number goes along with each piece. */
    tsl_vaddr to = remap(world.base + PAGE, 2, 2, TSL_SPACE_FIXED, world.base + 32 * PAGE);
    struct tsl_region_info info;
    CHECK(tsl_space_next(space, to, &info));
    CHECK_EQ(info.object_page, 2);
    unsigned char byte = 0;
    CHECK_STATUS(world_load(0, space, to, &byte), TSL_OK);
    CHECK_EQ(byte, 11);
    CHECK_STATUS(world_load(0, space, world.base + 3 * PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 13);
    /* Back between its neighbours: one region again. */
    CHECK_EQ(remap(to, 2, 2, TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE, world.base + PAGE),
             world.base + PAGE);
    struct tsl_space_stats stats;
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.regions, 1);
    check_pages(space, world.base, 4);
    tsl_object_put(object);
    finish();
}

static void guards_go_along(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 2 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GUARDED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    world_map(space, world.base + 3 * PAGE, 1, RW);
    /* The page between is the guard. */
    CHECK_STATUS(try_remap(out, 2, 3, 0, 0), TSL_LIMIT);
    tsl_vaddr to = remap(out, 2, 3, TSL_SPACE_MAY_MOVE, 0);
    CHECK_EQ(to, machine_format()->user_first + PAGE);
    request = (struct tsl_map_request){
        .address = to + 3 * PAGE, .bytes = PAGE, .rights = RW, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OVERLAP);
    CHECK_EQ(remap(to, 3, 2, 0, 0), to); /* shorter: the guard comes down with the end */
    request.address -= PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OVERLAP);
    request.address += PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    finish();
}

static void senseless_remaps_change_nothing(void)
{
    const struct tsl_space_limits limits = {.pages = 12, .committed = 9, .regions = 4};
    begin_with(&limits);
    const tsl_vaddr b = world.base;
    world_map(space, b, 4, RW);
    world_map(space, b + 4 * PAGE, 1, TSL_READ);
    write_pages(b, 4);
    CHECK_STATUS(try_remap(b, 0, 1, 0, 0), TSL_INVALID);
    CHECK_STATUS(try_remap(b, 1, 0, 0, 0), TSL_INVALID);
    CHECK_STATUS(try_remap(b + 1, 1, 1, 0, 0), TSL_MISALIGNED);
    CHECK_STATUS(try_remap(b, 1, 1, TSL_SPACE_FIXED, b + 1), TSL_MISALIGNED);
    CHECK_STATUS(try_remap(b, 1, 1, TSL_SPACE_FIXED, 0), TSL_OUT_OF_RANGE);
    CHECK_STATUS(try_remap(b, 1, 1, TSL_SPACE_NO_REPLACE, 0), TSL_INVALID);
    CHECK_STATUS(try_remap(b, 1, 1, TSL_SPACE_POPULATE, 0), TSL_INVALID);
    CHECK_STATUS(try_remap(b, 5, 6, TSL_SPACE_MAY_MOVE, 0), TSL_NOT_FOUND); /* two regions */
    CHECK_STATUS(try_remap(b + 8 * PAGE, 1, 2, TSL_SPACE_MAY_MOVE, 0), TSL_NOT_FOUND);
    CHECK_STATUS(try_remap(b, 4, 5, 0, 0), TSL_LIMIT); /* the next region is in the way */
    CHECK_STATUS(try_remap(b, 4, 10, TSL_SPACE_MAY_MOVE, 0), TSL_LIMIT); /* commitment */
    CHECK_STATUS(try_remap(b + 4 * PAGE, 1, 9, 0, 0), TSL_LIMIT);        /* pages */
    CHECK_STATUS(try_remap(b, 3, 3, TSL_SPACE_FIXED, b + PAGE), TSL_OVERLAP);
    CHECK_STATUS(try_remap(b, 2, 2, TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE, b + 3 * PAGE),
                 TSL_EXISTS);
    world_map(space, b + 8 * PAGE, 1, TSL_READ);
    CHECK_STATUS(try_remap(b + PAGE, 1, 1, TSL_SPACE_FIXED, b + 16 * PAGE),
                 TSL_LIMIT); /* regions */
    finish();
}

static void a_stack_only_becomes_shorter(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 4 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 16 * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(try_remap(out, 4, 5, TSL_SPACE_MAY_MOVE, 0), TSL_INVALID);
    CHECK_STATUS(try_remap(out, 4, 4, TSL_SPACE_FIXED, out + 64 * PAGE), TSL_INVALID);
    CHECK_EQ(remap(out, 4, 3, TSL_SPACE_MAY_MOVE, 0), out);
    CHECK_STATUS(world_store(0, space, out - PAGE, 1), TSL_OK); /* and grows down as before */
    finish();
}

/* The tail of one address space's private slots at another: the object's pages are not touched. */
static void a_private_view_keeps_its_own_pages(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 8 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 4 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(world_store(0, space, out + PAGE, 5), TSL_OK);
    tsl_vaddr to = remap(out, 4, 8, TSL_SPACE_FIXED, out + 64 * PAGE);
    unsigned char byte = 0xEE;
    CHECK_STATUS(world_load(0, space, to + PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 5);
    CHECK_STATUS(world_load(0, space, to + 7 * PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 0);
    struct tsl_page_info info;
    CHECK_STATUS(tsl_space_query(space, to + PAGE, &info), TSL_OK);
    CHECK(info.is_private);
    CHECK_STATUS(tsl_space_query(space, to + 7 * PAGE, &info), TSL_OK);
    CHECK(!info.is_private && info.contents == TSL_SLOT_FRAME);
    tsl_object_put(object);
    finish();
}

/* ---- Locked pages. ---- */

static void locked_pages_are_there_and_counted(void)
{
    const struct tsl_space_limits limits = {.locked = 6};
    begin_with(&limits);
    world_map(space, world.base, 8, RW);
    world_map(space, world.base + 8 * PAGE, 2, 0);
    CHECK_STATUS(tsl_space_lock_pages(space, world.base, 7 * PAGE), TSL_LIMIT);
    CHECK_STATUS(tsl_space_lock_pages(space, world.base + 9 * PAGE, 2 * PAGE), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_lock_pages(space, world.base, PAGE + 1), TSL_MISALIGNED);
    CHECK_STATUS(tsl_space_lock_pages(space, world.base, 4 * PAGE), TSL_OK);
    CHECK_STATUS(tsl_space_lock_pages(space, world.base + 2 * PAGE, 4 * PAGE), TSL_OK);
    struct tsl_space_stats stats;
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.locked, 6);
    tsl_word faults = stats.faults;
    write_pages(world.base, 6);
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.faults, faults);
    CHECK_STATUS(tsl_space_advise(space, world.base + 5 * PAGE, PAGE, TSL_ADVISE_DONT_NEED),
                 TSL_DENIED);
    CHECK_STATUS(tsl_space_advise(space, world.base + 6 * PAGE, PAGE, TSL_ADVISE_DONT_NEED),
                 TSL_OK);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    tsl_space_stats(copy, &stats);
    CHECK_EQ(stats.locked, 0);
    CHECK_EQ(stats.regions, 2);
    CHECK_SOUND(tsl_space_verify(copy));
    world_destroy(copy);
    CHECK_STATUS(tsl_space_unlock_pages(space, world.base + PAGE, PAGE), TSL_OK);
    CHECK_STATUS(tsl_space_unmap(space, world.base + 4 * PAGE, 4 * PAGE), TSL_OK);
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.locked, 3);
    CHECK_STATUS(tsl_space_unlock_pages(space, world.base, 4 * PAGE), TSL_OK);
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.locked, 0);
    CHECK_EQ(stats.regions, 2);
    finish();
}

static void a_locked_stack_grows_within_its_limit(void)
{
    const struct tsl_space_limits limits = {.locked = 3};
    begin_with(&limits);
    tsl_vaddr out;
    struct tsl_map_request request = {.address = world.base + 16 * PAGE,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 16 * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_lock_pages(space, out, PAGE), TSL_OK);
    CHECK_STATUS(world_store(0, space, out - PAGE, 1), TSL_OK);
    CHECK_STATUS(world_store(0, space, out - 3 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_store(0, space, out - 2 * PAGE, 1), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    finish();
}

/* ---- Questions. ---- */

static void a_page_tells_its_state(void)
{
    begin();
    struct tsl_page_info info;
    world_map(space, world.base, 3, RW);
    CHECK_STATUS(tsl_space_query(space, world.base - 1, &info), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_query(space, ~(tsl_vaddr)0, &info), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_query(space, world.base + 5, &info), TSL_OK);
    CHECK_EQ(info.region.start, world.base);
    CHECK_EQ(info.region.rights, RW);
    CHECK_EQ(info.contents, TSL_SLOT_EMPTY);
    CHECK(!info.is_present && !info.is_private && info.frame.number == 0);
    unsigned char byte;
    CHECK_STATUS(world_load(0, space, world.base, &byte), TSL_OK);
    CHECK_STATUS(tsl_space_query(space, world.base, &info), TSL_OK);
    CHECK(info.is_present && !info.is_writable && !info.is_private); /* the page of zeros */
    CHECK_STATUS(world_store(0, space, world.base, 1), TSL_OK);
    CHECK_STATUS(tsl_space_query(space, world.base, &info), TSL_OK);
    CHECK(info.is_present && info.is_writable && info.is_private && info.is_accessed &&
          info.is_dirty);
    CHECK_EQ(info.references, 1);
    CHECK_EQ(info.maps, 1);
    CHECK_EQ(info.pins, 0);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_READ, NULL, &frame), TSL_OK);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_STATUS(tsl_space_query(space, world.base, &info), TSL_OK);
    CHECK_EQ(info.frame.number, frame.number);
    CHECK_EQ(info.pins, 1);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    world_destroy(copy);
    finish();
}

/* Rights there and back again leave one region, whatever the order of the pieces. */
static void neighbours_become_one_again(void)
{
    begin();
    struct tsl_space_stats stats;
    world_map(space, world.base, 6, RW);
    write_pages(world.base, 6);
    for (unsigned order = 0; order < 6; order++) {
        for (size_t i = 0; i < 6; i += 2)
            CHECK_STATUS(tsl_space_protect(space, world.base + i * PAGE, PAGE, TSL_READ), TSL_OK);
        tsl_space_stats(space, &stats);
        CHECK_EQ(stats.regions, 6);
        for (size_t i = 0; i < 3; i++) {
            size_t which = (order + (order % 2 ? i : 2 * i)) % 3;
            CHECK_STATUS(tsl_space_protect(space, world.base + 2 * which * PAGE, PAGE, RW), TSL_OK);
        }
        tsl_space_stats(space, &stats);
        CHECK_EQ(stats.regions, 1);
        check_pages(space, world.base, 6);
    }
    /* What is mapped beside it joins too; what differs in its maximum does not. */
    world_map(space, world.base + 6 * PAGE, 2, RW);
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.regions, 1);
    tsl_vaddr out;
    struct tsl_map_request request = {.address = world.base + 8 * PAGE,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .maximum = RW,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.regions, 2);
    finish();
}

TAP_SUITE(space_remap, TAP_TEST(pages_move_without_being_copied),
          TAP_TEST(no_cpu_writes_to_the_old_place), TAP_TEST(copies_and_pins_follow),
          TAP_TEST(an_object_shows_the_same_pages_elsewhere), TAP_TEST(guards_go_along),
          TAP_TEST(senseless_remaps_change_nothing), TAP_TEST(a_stack_only_becomes_shorter),
          TAP_TEST(a_private_view_keeps_its_own_pages),
          TAP_TEST(locked_pages_are_there_and_counted),
          TAP_TEST(a_locked_stack_grows_within_its_limit), TAP_TEST(a_page_tells_its_state),
          TAP_TEST(neighbours_become_one_again));
