/* SPDX-License-Identifier: MIT
 *
 * test_space_pin.c: pinned pages stay what their program sees, and nobody else's.
 *
 * Owns:    suite space_pin.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include <string.h>

#include <tesela/port.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_space *space;

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

static unsigned char *memory_of(struct tsl_frame frame)
{
    return tsl_port_phys_to_virt(tsl_frame_address(frame));
}

static unsigned char read_byte(struct tsl_space *of, tsl_vaddr address)
{
    unsigned char byte = 0xEE;
    CHECK_STATUS(world_load(0, of, address, &byte), TSL_OK);
    return byte;
}

/* Pins the page for reading; it may be written only afterwards, and then in the pinned frame. */
static void check_stays(tsl_vaddr at, unsigned char contents)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(world_store(0, space, at, 9), TSL_DENIED);
    CHECK_STATUS(tsl_space_pin(space, at, TSL_READ, NULL, &frame), TSL_OK);
    CHECK_EQ(memory_of(frame)[0], contents);
    CHECK_STATUS(world_store(0, space, at, 9), TSL_DENIED); /* no right came with the pin */
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_protect(space, at, PAGE, RW), TSL_OK);
    CHECK_STATUS(world_store(0, space, at + 1, 7), TSL_OK);
    CHECK_EQ(memory_of(frame)[1], 7);
    memory_of(frame)[2] = 8;
    CHECK_EQ(read_byte(space, at + 2), 8);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
}

static void what_may_be_written_later_stays_pinned(void)
{
    begin();
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    tsl_vaddr out, at[] = {world.base, world.base + PAGE, world.base + 4 * PAGE};
    world_map(space, at[0], 1, TSL_READ); /* zeros that nobody has touched */
    world_map(space, at[1], 1, RW);       /* shared with a copy */
    CHECK_STATUS(world_store(0, space, at[1], 5), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, at[1], PAGE, TSL_READ), TSL_OK);
    struct tsl_map_request request = {.address = at[2],
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_SHARED,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(world_store(0, space, at[2], 6), TSL_OK);
    request.flags = TSL_SPACE_FIXED; /* of an object */
    request.rights = TSL_READ;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    struct tsl_space *copy = NULL;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    check_stays(at[0], 0);
    check_stays(at[1], 5);
    check_stays(at[2], 6);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(read_byte(copy, at[i] + 1), 0);
    world_destroy(copy);
    tsl_object_put(object);
    finish();
}

/* What can never be written needs no page of its own. */
static void what_is_never_written_is_pinned_as_it_is(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_frame frame = {0};
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = PAGE,
                                      .rights = TSL_READ,
                                      .maximum = TSL_READ,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, NULL, &frame), TSL_OK);
    CHECK_EQ(frame.number, world.vm->zero.number);
    CHECK_EQ(world_usage().counted, 0);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    finish();
}

/* One program pins a page that it shares with its parent, and unmaps it: what the parent writes
 * afterwards is none of the device's business. */
static void a_pin_lets_nobody_else_write(void)
{
    begin();
    struct tsl_frame frame = {0};
    struct tsl_space *child = NULL;
    world_map(space, world.base, 2, RW);
    CHECK_STATUS(world_store(0, space, world.base, 1), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, world.base, PAGE, TSL_READ), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &child), TSL_OK);
    CHECK_STATUS(tsl_space_pin(child, world.base, TSL_READ, NULL, &frame), TSL_OK);
    CHECK_STATUS(tsl_space_unmap(child, world.base, PAGE), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, world.base, PAGE, RW), TSL_OK);
    CHECK_STATUS(world_store(0, space, world.base, 2), TSL_OK);
    CHECK_EQ(memory_of(frame)[0], 1);
    memory_of(frame)[0] = 3;
    CHECK_EQ(read_byte(space, world.base), 2);
    CHECK_STATUS(tsl_space_unpin(child, frame), TSL_OK);
    world_destroy(child);
    finish();
}

/* A count of pins that ran full would never come back to zero. */
static void pins_of_a_page_have_a_limit(void)
{
    begin();
    struct tsl_frame frame = {0};
    enum tsl_status status = TSL_OK;
    unsigned long pins = 0;
    world_map(space, world.base, 1, RW);
    for (; status == TSL_OK && pins < 0x20000; pins += status == TSL_OK)
        status = tsl_space_pin(space, world.base, TSL_WRITE, NULL, &frame);
    CHECK_STATUS(status, TSL_LIMIT);
    CHECK_STATUS(world_store(0, space, world.base, 1), TSL_OK);
    CHECK_EQ(memory_of(frame)[0], 1); /* still in place */
    for (; pins > 0; pins--)
        CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_space_unmap(space, world.base, PAGE), TSL_OK);
    CHECK(tsl_frames_is_free(world.frames, frame));
    finish();
}

/* Two spaces have pinned one page; a third never has. */
static void a_space_undoes_only_its_own_pins(void)
{
    begin();
    struct tsl_object *object = NULL;
    struct tsl_space *second = NULL, *third = NULL;
    struct tsl_frame frame = {0}, own = {0};
    struct tsl_page_info info;
    tsl_vaddr out;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_SHARED,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    world_map(space, world.base + PAGE, 1, RW);
    CHECK_STATUS(tsl_space_copy(space, &second), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &third), TSL_OK);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_STATUS(tsl_space_pin(space, world.base, TSL_WRITE, NULL, &frame), TSL_OK);
        CHECK_STATUS(tsl_space_pin(second, world.base, TSL_READ, NULL, &frame), TSL_OK);
    }
    CHECK_STATUS(tsl_space_pin(space, world.base + PAGE, TSL_WRITE, NULL, &own), TSL_OK);
    CHECK_STATUS(tsl_space_pin(third, world.base + PAGE, TSL_WRITE, NULL, &own), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(third, frame), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_space_unpin(space, own), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_space_query(second, world.base, &info), TSL_OK);
    CHECK_EQ(info.pins, 2);
    CHECK_SOUND(tsl_space_verify(second));
    CHECK_STATUS(tsl_space_destroy(second), TSL_BUSY);
    CHECK_STATUS(tsl_space_unpin(second, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(second, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(third, own), TSL_OK);
    CHECK_STATUS(tsl_space_query(space, world.base + PAGE, &info), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(space, info.frame), TSL_OK);
    world_destroy(second);
    world_destroy(third);
    tsl_object_put(object);
    finish();
}

/* A buffer on a stack may lie where the stack has not been yet. */
static void a_stack_grows_for_a_pin(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_frame frame = {0};
    tsl_vaddr start = world.base + 1024 * (tsl_vaddr)PAGE;
    struct tsl_map_request request = {.address = start,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 8 * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, start - 8 * PAGE, TSL_READ, NULL, &frame), TSL_LIMIT);
    CHECK_STATUS(tsl_space_pin(space, start + PAGE, TSL_READ, NULL, &frame), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_pin(space, start - 2 * PAGE, TSL_READ, NULL, &frame), TSL_OK);
    CHECK_STATUS(world_store(0, space, start - 2 * PAGE, 4), TSL_OK);
    CHECK_EQ(memory_of(frame)[0], 4);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    finish();
}

static enum tsl_status get_and_protect(void *context, size_t page, struct tsl_frame into,
                                       struct tsl_page_request *request)
{
    (void)page, (void)request;
    bool *is_done = context;
    memset(memory_of(into), 0x44, PAGE);
    if (*is_done)
        return TSL_OK;
    *is_done = true;
    return tsl_space_protect(space, world.base, PAGE, TSL_READ);
}

/* While the page is brought, somebody takes the right to write, which the pin did not ask for. */
static void a_pin_asks_for_no_more_than_its_access(void)
{
    begin();
    struct tsl_frame frame = {0};
    struct tsl_object *object = NULL;
    bool is_done = false;
    tsl_vaddr out;
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_PAGER, .bytes = PAGE, .pager = {get_and_protect, &is_done}};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, NULL, &frame), TSL_OK);
    CHECK(is_done);
    CHECK_EQ(memory_of(frame)[0], 0x44);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    is_done = false;
    CHECK_STATUS(tsl_space_advise(space, out, PAGE, TSL_ADVISE_DONT_NEED), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, out, TSL_WRITE, NULL, &frame), TSL_DENIED);
    tsl_object_put(object);
    finish();
}

TAP_SUITE(space_pin, TAP_TEST(what_may_be_written_later_stays_pinned),
          TAP_TEST(what_is_never_written_is_pinned_as_it_is),
          TAP_TEST(a_pin_lets_nobody_else_write), TAP_TEST(pins_of_a_page_have_a_limit),
          TAP_TEST(a_space_undoes_only_its_own_pins), TAP_TEST(a_stack_grows_for_a_pin),
          TAP_TEST(a_pin_asks_for_no_more_than_its_access));
