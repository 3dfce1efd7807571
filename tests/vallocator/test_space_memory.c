/* SPDX-License-Identifier: MIT
 *
 * test_space_memory.c: want of memory at every step of every operation: nothing changes.
 *
 * Owns:    suite space_memory; which allocation fails (failing_alloc.h).
 * Needs:   space_world.h. vallocator and page_table are compiled once more with failing_alloc.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "failing_alloc.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_space *space;

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    world_map(space, world.base, 4, RW);
    CHECK_STATUS(world_store(0, space, world.base, 1), TSL_OK);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

/* ---- Want of memory, at every step of every operation. ---- */

enum operation {
    MAP,
    UNMAP,
    PROTECT,
    FORGET,
    MARK,
    WRITE,
    READ,
    POPULATE,
    COPY,
    GROW,
    MOVE,
    MOVE_OVER,
    LOCK,
    PIN,
    OBJECT,
    MAP_POPULATE,
    GROW_STACK,
    PIN_READABLE,
    OPERATIONS
};

/* A space whose layer is shared with a copy, so that everything needs nodes. */
static struct tsl_space *other;
static struct tsl_object *object;
static struct tsl_frame pinned;
#define STACK    (world.base + ((tsl_vaddr)PAGE << 12))
#define READABLE (world.base + 20 * (tsl_vaddr)PAGE) /* written before */

static void prepare(void)
{
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 8 * PAGE};
    begin();
    for (unsigned page = 1; page < 4; page++)
        CHECK_STATUS(world_store(0, space, world.base + page * PAGE, 1), TSL_OK);
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base + 8 * PAGE,
                                      .bytes = 8 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED,
                                      .object = object};
    tsl_vaddr out;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    request = (struct tsl_map_request){.address = STACK,
                                       .bytes = PAGE,
                                       .rights = RW,
                                       .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                       .stack_bytes = 8 * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    world_map(space, READABLE, 1, RW);
    CHECK_STATUS(world_store(0, space, READABLE, 1), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, READABLE, PAGE, TSL_READ), TSL_OK);
    /* This page of the object is there: what a failed fault brought into an object would stay. */
    CHECK_STATUS(tsl_space_fault(space, world.base + 9 * PAGE, TSL_READ, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &other), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_WRITE, NULL, &pinned), TSL_OK);
}

static enum tsl_status pin_once(tsl_vaddr at, unsigned access)
{
    struct tsl_frame frame;
    enum tsl_status status = tsl_space_pin(space, at, access, NULL, &frame);
    if (status == TSL_OK)
        CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    return status;
}

static enum tsl_status perform(enum operation operation, struct tsl_space **copy)
{
    tsl_vaddr out;
    struct tsl_remap_request remap = {.start = world.base + PAGE,
                                      .bytes = 2 * PAGE,
                                      .new_bytes = 4 * PAGE,
                                      .address = world.base + 8 * PAGE,
                                      .flags = TSL_SPACE_FIXED};
    struct tsl_map_request request = {.address = world.base + PAGE,
                                      .bytes = 2 * PAGE,
                                      .rights = TSL_READ,
                                      .flags = TSL_SPACE_FIXED};
    switch (operation) {
    case MAP:
        return tsl_space_map(space, &request, &out);
    case UNMAP:
        return tsl_space_unmap(space, world.base + PAGE, 2 * PAGE);
    case PROTECT:
        return tsl_space_protect(space, world.base + PAGE, 2 * PAGE, TSL_READ);
    case FORGET:
        return tsl_space_advise(space, world.base + PAGE, 2 * PAGE, TSL_ADVISE_DONT_NEED);
    case MARK:
        return tsl_space_advise(space, world.base + PAGE, PAGE, TSL_ADVISE_NO_COPY);
    case WRITE:
        return tsl_space_fault(space, world.base + PAGE, TSL_WRITE, NULL);
    case READ:
        return tsl_space_fault(space, world.base + 10 * PAGE, TSL_READ, NULL);
    case POPULATE:
        return tsl_space_populate(space, world.base + 9 * PAGE, PAGE);
    case COPY:
        return tsl_space_copy(space, copy);
    case GROW:
        remap.flags = TSL_SPACE_MAY_MOVE;
        return tsl_space_remap(space, &remap, &out);
    case MOVE:
        remap.address = world.base + ((tsl_vaddr)PAGE << 14);
        return tsl_space_remap(space, &remap, &out);
    case MOVE_OVER:
        return tsl_space_remap(space, &remap, &out);
    case LOCK:
        return tsl_space_lock_pages(space, world.base + PAGE, PAGE);
    case PIN:
        return pin_once(world.base + PAGE, TSL_WRITE);
    case PIN_READABLE:
        return pin_once(READABLE, TSL_READ);
    case GROW_STACK:
        return tsl_space_fault(space, STACK - 3 * (tsl_vaddr)PAGE, TSL_WRITE, NULL);
    case MAP_POPULATE: /* becomes one with its neighbour, and has to be taken out of it again */
        request = (struct tsl_map_request){.address = world.base + 4 * PAGE,
                                           .bytes = 3 * PAGE,
                                           .rights = RW,
                                           .flags = TSL_SPACE_FIXED | TSL_SPACE_POPULATE};
        return tsl_space_map(space, &request, &out);
    default:
        request.flags = 0;
        request.address = 0;
        request.object = object;
        return tsl_space_map(space, &request, &out);
    }
}

static void undo(struct tsl_space *copy)
{
    if (copy)
        world_destroy(copy);
    CHECK_STATUS(tsl_space_unpin(space, pinned), TSL_OK);
    world_destroy(other);
    tsl_object_put(object);
    finish();
}

/* Gives memory back bit by bit until the operation succeeds; until then nothing may change. */
static void starve(enum operation operation, bool of_frames, struct rng *rng)
{
    struct tsl_space *copy = NULL;
    prepare();
    uint64_t image = world_image(space), twin = world_image(other);
    enum tsl_status status = TSL_NO_MEMORY;
    if (!of_frames)
        world_eat_heap();
    for (tsl_word left = 0; status == TSL_NO_MEMORY; left++) {
        if (of_frames)
            world_leave_frames(left);
        else if (left > 0 && !world_give_heap_back(rng))
            break;
        status = perform(operation, &copy);
        world_give_frames_back();
        /* Pages that were brought to be locked stay. */
        CHECK(status == TSL_OK || operation == LOCK || world_image(space) == image);
        CHECK(status == TSL_OK ||
              (space->locked == 0 && (operation == LOCK || world_image(other) == twin)));
        CHECK_SOUND(tsl_space_verify(space));
    }
    CHECK_STATUS(status, TSL_OK);
    while (!of_frames && world_give_heap_back(NULL)) {
    }
    undo(copy);
}

static void without_frames_nothing_changes(void)
{
    for (unsigned operation = 0; operation < OPERATIONS; operation++)
        starve((enum operation)operation, true, NULL);
}

static void without_heap_nothing_changes(void)
{
    struct rng rng = rng_start(4);
    for (unsigned round = 0; round < tap_rounds(4); round++)
        for (unsigned operation = 0; operation < OPERATIONS; operation++)
            starve((enum operation)operation, false, &rng);
}

/* ---- One allocation fails, or all from one on. ---- */

static unsigned long until_failure; /* 0: none fails */
static bool goes_on;
static bool has_failed;

static void (*meanwhile)(void); /* done once, before the next allocation */

bool failing_alloc(void)
{
    void (*change)(void) = meanwhile;
    meanwhile = NULL;
    if (change)
        change();
    if (until_failure == 0 || --until_failure > 0)
        return false;
    until_failure = goes_on; /* the next one too */
    has_failed = true;
    return true;
}

/* One number after the other, until the operation gets all it asks for. An operation that found
 * another way around the failure may succeed. */
static void fail_each(enum operation operation, bool all_from_there)
{
    has_failed = true;
    for (unsigned long nth = 1; has_failed; nth++) {
        struct tsl_space *copy = NULL;
        prepare();
        uint64_t image = world_image(space), twin = world_image(other);
        until_failure = nth;
        goes_on = all_from_there;
        has_failed = false;
        enum tsl_status status = perform(operation, &copy);
        until_failure = 0;
        CHECK(status == TSL_OK || (status == TSL_NO_MEMORY && has_failed));
        CHECK(status == TSL_OK || operation == LOCK || world_image(space) == image);
        CHECK(status == TSL_OK ||
              (space->locked == 0 && (operation == LOCK || world_image(other) == twin)));
        CHECK_SOUND(tsl_space_verify(space));
        CHECK_SOUND(tsl_space_verify(other));
        if (status == TSL_NO_MEMORY && operation != COPY)
            CHECK_STATUS(perform(operation, &copy), TSL_OK);
        undo(copy);
    }
}

static void the_nth_allocation_fails(void)
{
    for (unsigned operation = 0; operation < OPERATIONS; operation++)
        fail_each((enum operation)operation, false);
}

static void all_from_the_nth_on_fail(void)
{
    for (unsigned operation = 0; operation < OPERATIONS; operation++)
        fail_each((enum operation)operation, true);
}

/* A page that has come for a pin is given up if there is no memory for the pin. */
static enum tsl_status wait(void *context, size_t page, struct tsl_frame into,
                            struct tsl_page_request *request)
{
    (void)context, (void)page, (void)into, (void)request;
    return TSL_SHOULD_WAIT;
}

static void a_pin_without_memory_ends_its_request(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_frame frame = {0};
    struct tsl_page_request request = {0};
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_PAGER, .bytes = PAGE, .pager = {wait, NULL}};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request shown = {.bytes = PAGE, .rights = RW, .object = object};
    CHECK_STATUS(tsl_space_map(space, &shown, &out), TSL_OK);
    goes_on = false;
    until_failure = 1;
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, &request, &frame), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, &request, &frame), TSL_SHOULD_WAIT);
    until_failure = 1;
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, &request, &frame), TSL_SHOULD_WAIT);
    CHECK(request.object == object);
    tsl_page_request_complete(&request, TSL_OK);
    until_failure = 1;
    CHECK_STATUS(tsl_space_pin(space, out, TSL_READ, &request, &frame), TSL_NO_MEMORY);
    CHECK(request.object == NULL);
    CHECK_EQ(frame.number, 0);
    tsl_object_put(object);
    finish();
}

/* ---- While memory is got, somebody else (reclaim, another thread) changes the space. ---- */

static void unmap_it(void)
{
    CHECK_STATUS(tsl_space_unmap(space, world.base + PAGE, PAGE), TSL_OK);
}

static void protect_it(void)
{
    CHECK_STATUS(tsl_space_protect(space, world.base + PAGE, PAGE, TSL_READ), TSL_OK);
}

static void write_it(void)
{
    CHECK_STATUS(tsl_space_fault(space, world.base + PAGE, TSL_WRITE, NULL), TSL_OK);
}

static void forget_it(void)
{
    CHECK_STATUS(tsl_space_advise(space, world.base + PAGE, PAGE, TSL_ADVISE_DONT_NEED), TSL_OK);
}

static void end_other(void)
{
    world_destroy(other);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &other), TSL_OK);
}

/* What is there by then counts, not what was there when the operation began. */
static void what_changes_meanwhile_counts(void)
{
    static void (*const changes[])(void) = {unmap_it, protect_it, write_it, forget_it, end_other};
    static const struct {
        enum operation operation;
        enum tsl_status expected[TSL_COUNT_OF(changes)];
    } cases[] = {
        {WRITE, {TSL_NOT_FOUND, TSL_DENIED, TSL_OK, TSL_OK, TSL_OK}},
        {PIN, {TSL_NOT_FOUND, TSL_DENIED, TSL_OK, TSL_OK, TSL_OK}},
        {MOVE, {TSL_NOT_FOUND, TSL_NOT_FOUND, TSL_OK, TSL_OK, TSL_OK}},
        {PROTECT, {TSL_NOT_FOUND, TSL_OK, TSL_OK, TSL_OK, TSL_OK}},
        {UNMAP, {TSL_OK, TSL_OK, TSL_OK, TSL_OK, TSL_OK}},
        {MAP, {TSL_OK, TSL_OK, TSL_OK, TSL_OK, TSL_OK}},
        {COPY, {TSL_OK, TSL_OK, TSL_OK, TSL_OK, TSL_OK}},
    };
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        for (size_t j = 0; j < TSL_COUNT_OF(changes); j++) {
            struct tsl_space *copy = NULL;
            prepare();
            meanwhile = changes[j];
            CHECK_STATUS(perform(cases[i].operation, &copy), cases[i].expected[j]);
            CHECK(meanwhile == NULL);
            CHECK_SOUND(tsl_space_verify(space));
            CHECK_SOUND(tsl_space_verify(other));
            undo(copy);
        }
    }
}

/* ---- A region that is populated and fails, while others change the space. ---- */

static struct space_operation theirs;

static enum tsl_status replace_it(void *context, size_t page, struct tsl_frame into,
                                  struct tsl_page_request *request)
{
    (void)context, (void)page, (void)into, (void)request;
    world_map(space, world.base + 5 * PAGE, 1, RW);
    CHECK_STATUS(tsl_space_fault(space, world.base + 5 * PAGE, TSL_WRITE, NULL), TSL_OK);
    return TSL_CORRUPT;
}

/* They have the regions in hand that unmapping would need, and there is no memory for more. */
static enum tsl_status take_spares(void *context, size_t page, struct tsl_frame into,
                                   struct tsl_page_request *request)
{
    (void)context, (void)page, (void)into, (void)request;
    CHECK_STATUS(tsl_space_begin(&theirs, space, SPACE_MOST_SPARES), TSL_OK);
    until_failure = 1;
    goes_on = true;
    return TSL_CORRUPT;
}

static enum tsl_status protect_part(void *context, size_t page, struct tsl_frame into,
                                    struct tsl_page_request *request)
{
    (void)context, (void)page, (void)into, (void)request;
    CHECK_STATUS(tsl_space_protect(space, world.base + 5 * PAGE, PAGE, TSL_READ), TSL_OK);
    return TSL_CORRUPT;
}

static enum tsl_status map_populated(enum tsl_status (*get)(void *, size_t, struct tsl_frame,
                                                            struct tsl_page_request *))
{
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_PAGER, .bytes = 3 * PAGE, .pager = {get, NULL}};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    struct tsl_map_request request = {.address = world.base + 4 * PAGE,
                                      .bytes = 3 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_POPULATE,
                                      .object = object};
    tsl_vaddr out = 0;
    enum tsl_status status = tsl_space_map(space, &request, &out);
    until_failure = 0;
    CHECK_EQ(out, 0);
    tsl_object_put(object);
    return status;
}

/* What is taken out again is what this map has put in, all of it, whatever memory there is. */
static void a_failed_populate_takes_out_its_own(void)
{
    struct tsl_region_info info;
    begin();
    uint64_t image = world_image(space);
    CHECK_STATUS(map_populated(take_spares), TSL_CORRUPT);
    tsl_space_end(&theirs);
    CHECK(world_image(space) == image);
    CHECK_STATUS(map_populated(protect_part), TSL_CORRUPT);
    CHECK(world_image(space) == image);
    CHECK_STATUS(map_populated(replace_it), TSL_CORRUPT);
    CHECK(tsl_space_next(space, world.base + 4 * PAGE, &info));
    CHECK_EQ(info.start, world.base + 5 * PAGE);
    CHECK_EQ(info.bytes, PAGE);
    CHECK_STATUS(tsl_space_unmap(space, world.base + 5 * PAGE, PAGE), TSL_OK);
    CHECK(world_image(space) == image);
    finish();
}

TAP_SUITE(space_memory, TAP_TEST(without_frames_nothing_changes),
          TAP_TEST(without_heap_nothing_changes), TAP_TEST(the_nth_allocation_fails),
          TAP_TEST(all_from_the_nth_on_fail), TAP_TEST(what_changes_meanwhile_counts),
          TAP_TEST(a_pin_without_memory_ends_its_request),
          TAP_TEST(a_failed_populate_takes_out_its_own));
