/* SPDX-License-Identifier: MIT
 *
 * test_space_refusals.c: bad input and want of memory: the documented status, and nothing changed.
 *
 * Owns:    suite space_refusals.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "machine.h"

#include <tesela/checked.h>

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

/* ---- Every pair of numbers that tempts to overflow, as address and as length. ---- */

/* What the header says of a range, written down once more, in 128 bits where that helps. */
static enum tsl_status expected_of_range(uint64_t start, uint64_t bytes)
{
    const struct tsl_table_format *format = machine_format();
    uint64_t top = sizeof(tsl_vaddr) == 8 ? UINT64_MAX : UINT32_MAX;
    if (bytes == 0)
        return TSL_INVALID;
    if (start % PAGE || bytes % PAGE)
        return TSL_MISALIGNED;
    if (bytes - 1 > top - start)
        return TSL_OUT_OF_RANGE;
    uint64_t last = start + (bytes - 1);
    if (format->sign_extended) {
        uint64_t lower = UINT64_C(1) << (format->va_bits - 1);
        if ((start >= lower && start < -lower) || (last >= lower && last < -lower))
            return TSL_NOT_CANONICAL;
    }
    return start < format->user_first || last > format->user_last ? TSL_OUT_OF_RANGE : TSL_OK;
}

static size_t edges(tsl_vaddr *edge)
{
    const struct tsl_table_format *format = machine_format();
    static const uint64_t always[] = {
        0, 1, PAGE - 1, PAGE, UINT64_C(1) << 31, (UINT64_C(1) << 32) - PAGE};
    size_t count = 0;
    for (; count < TSL_COUNT_OF(always); count++)
        edge[count] = (tsl_vaddr)always[count];
    tsl_vaddr more[] = {format->user_first,
                        format->user_first - PAGE,
                        format->user_last + 1 - PAGE,
                        format->user_last + 1,
                        ((tsl_vaddr)1 << (TSL_WORD_BITS - 1)),
                        (tsl_vaddr)1 << (format->va_bits - 1),
                        ((tsl_vaddr)1 << (format->va_bits - 1)) - PAGE,
                        ~(((tsl_vaddr)1 << (format->va_bits - 1)) - 1),
                        world.base,
                        world.base + 4 * PAGE,
                        ~(tsl_vaddr)0 - PAGE,
                        ~(tsl_vaddr)0 - PAGE + 1,
                        ~(tsl_vaddr)0};
    for (size_t i = 0; i < TSL_COUNT_OF(more); i++)
        edge[count++] = more[i];
    return count;
}

static void check_pair(tsl_vaddr start, size_t bytes)
{
    enum tsl_status expected = expected_of_range(start, bytes);
    bool good = expected == TSL_OK;
    bool touches = good && start < world.base + 4 * PAGE && start + (bytes - 1) >= world.base;
    bool inside = good && start >= world.base && start + (bytes - 1) < world.base + 4 * PAGE;
    uint64_t image = world_image(space);
    CHECK_STATUS(tsl_space_protect(space, start, bytes, RW),
                 good && !inside ? TSL_NOT_FOUND : expected);
    CHECK_STATUS(tsl_space_populate(space, start, bytes),
                 good && !inside ? TSL_NOT_FOUND : expected);
    CHECK_STATUS(tsl_space_advise(space, start, bytes, TSL_ADVISE_COPY),
                 good && !inside ? TSL_NOT_FOUND : expected);
    CHECK_STATUS(tsl_space_advise(space, start, bytes, (enum tsl_advice)9),
                 good ? TSL_INVALID : expected);
    if (!inside)
        CHECK_STATUS(tsl_space_advise(space, start, bytes, TSL_ADVISE_DONT_NEED),
                     good ? TSL_NOT_FOUND : expected);
    if (!touches)
        CHECK_STATUS(tsl_space_unmap(space, start, bytes), good ? TSL_NOT_FOUND : expected);
    tsl_vaddr out = 1;
    struct tsl_map_request request = {
        .address = start, .bytes = bytes, .rights = RW, .flags = TSL_SPACE_FIXED};
    if (!touches) {
        enum tsl_status mapped = tsl_space_map(space, &request, &out);
        CHECK_STATUS(mapped, expected);
        if (mapped == TSL_OK)
            CHECK_STATUS(tsl_space_unmap(space, start, bytes), TSL_OK);
        else
            CHECK_EQ(out, 1);
    }
    request.flags |= TSL_SPACE_NO_REPLACE;
    if (touches)
        CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_EXISTS);
    if (inside)
        return; /* populating changed it, as it should */
    CHECK(world_image(space) == image);
}

static void every_pair_of_edges(void)
{
    begin();
    tsl_vaddr edge[24];
    size_t count = edges(edge);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            check_pair(edge[i], edge[j]);
    CHECK_SOUND(tsl_space_verify(space));
    finish();
}

/* Addresses that a program may come up with in a fault. */
static void faults_at_every_edge(void)
{
    begin();
    tsl_vaddr edge[24];
    size_t count = edges(edge);
    uint64_t image = world_image(space);
    for (size_t i = 0; i < count; i++) {
        bool inside = edge[i] >= world.base && edge[i] < world.base + 4 * PAGE;
        CHECK_STATUS(tsl_space_fault(space, edge[i], TSL_READ, NULL),
                     inside ? TSL_OK : TSL_NOT_FOUND);
        CHECK_STATUS(tsl_space_fault(space, edge[i], 0, NULL), TSL_INVALID);
        CHECK_STATUS(tsl_space_fault(space, edge[i], RW, NULL), TSL_INVALID);
    }
    CHECK(world_image(space) == image);
    finish();
}

static void senseless_requests(void)
{
    begin();
    static const struct {
        struct tsl_map_request request;
        enum tsl_status expected;
    } cases[] = {
        {{.bytes = PAGE, .rights = RW, .flags = 1u << 20}, TSL_INVALID},
        {{.bytes = PAGE, .rights = 1u << 20}, TSL_INVALID},
        {{.bytes = PAGE, .rights = TSL_WRITE}, TSL_INVALID},
        {{.bytes = PAGE, .rights = TSL_EXEC}, TSL_INVALID},
        {{.bytes = PAGE, .rights = TSL_READ | TSL_USER}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .maximum = TSL_READ}, TSL_DENIED},
        {{.bytes = PAGE, .rights = RW, .maximum = TSL_GLOBAL}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .flags = TSL_SPACE_NO_REPLACE}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .flags = TSL_SPACE_SHARED}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .object_page = 1}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .align = 3 * PAGE}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .flags = TSL_SPACE_GROWS_DOWN}, TSL_INVALID},
        {{.bytes = PAGE,
          .rights = RW,
          .flags = TSL_SPACE_GROWS_DOWN | TSL_SPACE_GUARDED,
          .stack_bytes = PAGE},
         TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .limit = PAGE + 1}, TSL_MISALIGNED},
        {{.bytes = PAGE, .rights = RW, .limit = PAGE}, TSL_LIMIT},
        {{.bytes = PAGE + 1, .rights = RW}, TSL_MISALIGNED},
        {{.bytes = 0, .rights = RW}, TSL_INVALID},
        {{.bytes = PAGE, .rights = RW, .address = PAGE - 1}, TSL_OK},
    };
    uint64_t image = world_image(space);
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        tsl_vaddr out = 1;
        enum tsl_status status = tsl_space_map(space, &cases[i].request, &out);
        CHECK_STATUS(status, cases[i].expected);
        if (status == TSL_OK)
            CHECK_STATUS(tsl_space_unmap(space, out, PAGE), TSL_OK);
        CHECK(world_image(space) == image);
    }
    struct tsl_space_stats stats;
    tsl_space_stats(space, &stats);
    CHECK_EQ(stats.refusals, TSL_COUNT_OF(cases) - 1);
    world_run(0, space);
    CHECK_STATUS(tsl_space_destroy(space), TSL_BUSY);
    finish();
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
    OBJECT,
    OPERATIONS
};

/* A space whose layer is shared with a copy, so that everything needs nodes. */
static struct tsl_space *other;
static struct tsl_object *object;
static struct tsl_frame pinned;

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
    /* This page of the object is there: what a failed fault brought into an object would stay. */
    CHECK_STATUS(tsl_space_fault(space, world.base + 9 * PAGE, TSL_READ, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &other), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_WRITE, NULL, &pinned), TSL_OK);
}

static enum tsl_status perform(enum operation operation, struct tsl_space **copy)
{
    tsl_vaddr out;
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
    default:
        request.flags = 0;
        request.address = 0;
        request.object = object;
        return tsl_space_map(space, &request, &out);
    }
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
        CHECK(status == TSL_OK || (world_image(space) == image && world_image(other) == twin));
        CHECK_SOUND(tsl_space_verify(space));
    }
    CHECK_STATUS(status, TSL_OK);
    while (!of_frames && world_give_heap_back(NULL)) {
    }
    if (copy)
        world_destroy(copy);
    CHECK_STATUS(tsl_space_unpin(space, pinned), TSL_OK);
    world_destroy(other);
    tsl_object_put(object);
    finish();
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

static void a_vm_needs_what_it_says(void)
{
    begin();
    struct tsl_vm *second = NULL;
    struct tsl_vm_config config = world.vm->config;
    CHECK_STATUS(tsl_vm_destroy(world.vm), TSL_BUSY);
    config.heap = NULL;
    CHECK_STATUS(tsl_vm_create(&config, &second), TSL_INVALID);
    config = world.vm->config;
    config.frames = NULL;
    CHECK_STATUS(tsl_vm_create(&config, &second), TSL_INVALID);
    CHECK(second == NULL);
    struct tsl_object *none = NULL;
    struct tsl_object_config bad[] = {{.bytes = 0},
                                      {.bytes = PAGE, .maximum = TSL_USER},
                                      {.bytes = PAGE, .kind = (enum tsl_object_kind)7},
                                      {.bytes = PAGE, .kind = TSL_OBJECT_PAGER}};
    for (size_t i = 0; i < TSL_COUNT_OF(bad); i++)
        CHECK_STATUS(tsl_object_create(world.vm, &bad[i], &none), TSL_INVALID);
    bad[0].bytes = PAGE + 1;
    CHECK_STATUS(tsl_object_create(world.vm, &bad[0], &none), TSL_MISALIGNED);
    CHECK(none == NULL);
    finish();
}

TAP_SUITE(space_refusals, TAP_TEST(every_pair_of_edges), TAP_TEST(faults_at_every_edge),
          TAP_TEST(senseless_requests), TAP_TEST(without_frames_nothing_changes),
          TAP_TEST(without_heap_nothing_changes), TAP_TEST(a_vm_needs_what_it_says));
