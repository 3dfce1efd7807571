/* SPDX-License-Identifier: MIT
 *
 * test_space_refusals.c: bad input: the documented status, and nothing changed.
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

/* A pair as a range, and how it lies to the four pages that are mapped. */
struct pair {
    tsl_vaddr start;
    size_t bytes;
    enum tsl_status range; /* TSL_OK: it is one of the user half */
    bool touches;
    bool inside;
};

/* Of a call that wants all of the range mapped. */
static enum tsl_status expected_inside(const struct pair *pair)
{
    return pair->range == TSL_OK && !pair->inside ? TSL_NOT_FOUND : pair->range;
}

static void check_changes(const struct pair *pair)
{
    tsl_vaddr start = pair->start;
    size_t bytes = pair->bytes;
    bool good = pair->range == TSL_OK;
    CHECK_STATUS(tsl_space_protect(space, start, bytes, RW), expected_inside(pair));
    CHECK_STATUS(tsl_space_advise(space, start, bytes, TSL_ADVISE_COPY), expected_inside(pair));
    CHECK_STATUS(tsl_space_advise(space, start, bytes, (enum tsl_advice)9),
                 good ? TSL_INVALID : pair->range);
    CHECK_STATUS(tsl_space_unlock_pages(space, start, bytes), expected_inside(pair));
    if (!pair->inside) {
        CHECK_STATUS(tsl_space_populate(space, start, bytes), expected_inside(pair));
        CHECK_STATUS(tsl_space_advise(space, start, bytes, TSL_ADVISE_NEED), expected_inside(pair));
        CHECK_STATUS(tsl_space_advise(space, start, bytes, TSL_ADVISE_DONT_NEED),
                     expected_inside(pair));
        CHECK_STATUS(tsl_space_lock_pages(space, start, bytes), expected_inside(pair));
    }
    if (!pair->touches)
        CHECK_STATUS(tsl_space_unmap(space, start, bytes), good ? TSL_NOT_FOUND : pair->range);
}

static void check_map(const struct pair *pair)
{
    tsl_vaddr out = 1;
    struct tsl_map_request request = {
        .address = pair->start, .bytes = pair->bytes, .rights = RW, .flags = TSL_SPACE_FIXED};
    if (!pair->touches) {
        enum tsl_status mapped = tsl_space_map(space, &request, &out);
        CHECK_STATUS(mapped, pair->range);
        if (mapped == TSL_OK)
            CHECK_STATUS(tsl_space_unmap(space, pair->start, pair->bytes), TSL_OK);
        else
            CHECK_EQ(out, 1);
    }
    request.flags |= TSL_SPACE_NO_REPLACE;
    if (pair->touches)
        CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_EXISTS);
}

static void check_remap(const struct pair *pair)
{
    tsl_vaddr out = 1;
    struct tsl_remap_request request = {
        .start = pair->start, .bytes = pair->bytes, .new_bytes = PAGE, .flags = TSL_SPACE_MAY_MOVE};
    if (!pair->inside)
        CHECK_STATUS(tsl_space_remap(space, &request, &out), expected_inside(pair));
    CHECK_EQ(out, 1);
    /* The first page goes there, with that length, and comes back. */
    request = (struct tsl_remap_request){.start = world.base,
                                         .bytes = PAGE,
                                         .new_bytes = pair->bytes,
                                         .address = pair->start,
                                         .flags = TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE};
    bool overlaps = pair->touches && pair->start < world.base + PAGE;
    enum tsl_status expected = pair->range != TSL_OK ? pair->range
                               : overlaps            ? TSL_OVERLAP
                               : pair->touches       ? TSL_EXISTS
                                                     : TSL_OK;
    CHECK_STATUS(tsl_space_remap(space, &request, &out), expected);
    CHECK_EQ(out, expected == TSL_OK ? pair->start : 1);
    if (expected != TSL_OK)
        return;
    request = (struct tsl_remap_request){.start = pair->start,
                                         .bytes = pair->bytes,
                                         .new_bytes = PAGE,
                                         .address = world.base,
                                         .flags = TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE};
    CHECK_STATUS(tsl_space_remap(space, &request, &out), TSL_OK);
}

static void check_pair(tsl_vaddr start, size_t bytes)
{
    struct pair pair = {start, bytes, expected_of_range(start, bytes), false, false};
    if (pair.range == TSL_OK) {
        tsl_vaddr last = start + (bytes - 1), end = world.base + 4 * PAGE;
        pair.touches = start < end && last >= world.base;
        pair.inside = start >= world.base && last < end;
    }
    uint64_t image = world_image(space), entries = world_entries(space);
    check_changes(&pair);
    check_map(&pair);
    CHECK(pair.inside || world_entries(space) == entries); /* rights given afresh are taken first */
    check_remap(&pair);
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

/* The last page as long as each edge: in place, if it ends in the user half. */
static void lengths_at_every_edge(void)
{
    begin();
    tsl_vaddr edge[24], last = world.base + 3 * PAGE;
    size_t count = edges(edge);
    for (size_t i = 0; i < count; i++) {
        tsl_vaddr out = 1;
        struct tsl_remap_request request = {.start = last, .bytes = PAGE, .new_bytes = edge[i]};
        enum tsl_status expected = expected_of_range(machine_format()->user_first, edge[i]);
        if (expected == TSL_OK && expected_of_range(last, edge[i]) != TSL_OK)
            expected = TSL_LIMIT;
        uint64_t image = world_image(space);
        CHECK_STATUS(tsl_space_remap(space, &request, &out), expected);
        CHECK_EQ(out, expected == TSL_OK ? last : 1);
        request = (struct tsl_remap_request){
            .start = last, .bytes = expected == TSL_OK ? edge[i] : PAGE, .new_bytes = PAGE};
        CHECK_STATUS(tsl_space_remap(space, &request, &out), TSL_OK);
        CHECK(world_image(space) == image);
    }
    finish();
}

static enum tsl_status expected_of_align(tsl_vaddr align)
{
    const struct tsl_table_format *format = machine_format();
    if (align & (align - 1))
        return TSL_INVALID;
    tsl_vaddr start = align > format->user_first ? align : format->user_first;
    return start + (PAGE - 1) <= format->user_last ? TSL_OK : TSL_LIMIT;
}

static enum tsl_status expected_of_limit(tsl_vaddr limit)
{
    if (limit % PAGE)
        return TSL_MISALIGNED;
    return limit && limit < machine_format()->user_first + PAGE ? TSL_LIMIT : TSL_OK;
}

static enum tsl_status expected_of_stack(size_t bytes)
{
    if (bytes % PAGE)
        return TSL_MISALIGNED;
    return bytes < PAGE ? TSL_INVALID : TSL_OK;
}

static void check_request(const struct tsl_map_request *request, enum tsl_status expected)
{
    tsl_vaddr out = 1;
    uint64_t image = world_image(space);
    CHECK_STATUS(tsl_space_map(space, request, &out), expected);
    if (expected == TSL_OK)
        CHECK_STATUS(tsl_space_unmap(space, out, request->bytes), TSL_OK);
    else
        CHECK_EQ(out, 1);
    CHECK(world_image(space) == image);
}

/* Each edge as each number of a request. */
static void requests_at_every_edge(void)
{
    begin();
    tsl_vaddr edge[24];
    size_t count = edges(edge);
    struct tsl_object *shown = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 8 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &shown), TSL_OK);
    for (size_t i = 0; i < count; i++) {
        tsl_vaddr e = edge[i];
        check_request(&(struct tsl_map_request){.bytes = PAGE, .rights = RW, .align = e},
                      expected_of_align(e));
        check_request(&(struct tsl_map_request){.bytes = PAGE, .rights = RW, .limit = e},
                      expected_of_limit(e));
        check_request(
            &(struct tsl_map_request){
                .bytes = PAGE, .rights = RW, .object = shown, .object_page = e},
            e < 8 ? TSL_OK : TSL_OUT_OF_RANGE);
        check_request(&(struct tsl_map_request){.address = world.base + 512 * PAGE,
                                                .bytes = PAGE,
                                                .rights = RW,
                                                .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                                .stack_bytes = e},
                      expected_of_stack(e));
    }
    tsl_object_put(shown);
    finish();
}

/* Devices and memory objects of each length, at each place. */
static void objects_at_every_edge(void)
{
    begin();
    tsl_vaddr edge[24];
    size_t count = edges(edge);
    unsigned bits = machine_features()->physical_bits;
    if (bits > machine_format()->physical_bits)
        bits = machine_format()->physical_bits;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            struct tsl_object *made = NULL;
            struct tsl_object_config config = {
                .kind = TSL_OBJECT_DEVICE, .bytes = edge[j], .target = edge[i]};
            uint64_t last = (uint64_t)edge[i] + edge[j] - 1;
            enum tsl_status expected = edge[j] == 0                          ? TSL_INVALID
                                       : edge[i] % PAGE || edge[j] % PAGE    ? TSL_MISALIGNED
                                       : last < edge[i] || last >> bits != 0 ? TSL_OUT_OF_RANGE
                                                                             : TSL_OK;
            CHECK_STATUS(tsl_object_create(world.vm, &config, &made), expected);
            CHECK((made != NULL) == (expected == TSL_OK));
            if (made)
                tsl_object_put(made);
        }
    }
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
        struct tsl_page_info info;
        CHECK_STATUS(tsl_space_query(space, edge[i], &info), inside ? TSL_OK : TSL_NOT_FOUND);
        struct tsl_frame frame = {~(tsl_word)0};
        if (!inside)
            CHECK_STATUS(tsl_space_pin(space, edge[i], TSL_READ, NULL, &frame), TSL_NOT_FOUND);
        CHECK_EQ(frame.number, ~(tsl_word)0);
        frame.number = edge[i] >> TSL_PAGE_SHIFT;
        if (frame.number != world.vm->zero.number)
            CHECK_STATUS(tsl_space_unpin(space, frame), TSL_FOREIGN);
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

TAP_SUITE(space_refusals, TAP_TEST(every_pair_of_edges), TAP_TEST(lengths_at_every_edge),
          TAP_TEST(requests_at_every_edge), TAP_TEST(objects_at_every_edge),
          TAP_TEST(faults_at_every_edge), TAP_TEST(senseless_requests),
          TAP_TEST(a_vm_needs_what_it_says));
