/* SPDX-License-Identifier: MIT
 *
 * prop_space.c: random operations on several spaces against a model that copies everything eagerly.
 *
 * Owns:    suite prop_space.
 * Needs:   naive_space.h.
 * Callers: the host test runner.
 */
#include "naive_space.h"

enum { SPACES = 4 };

static unsigned random_rights(struct rng *rng)
{
    static const unsigned rights[] = {0, TSL_READ, TSL_READ | TSL_WRITE, TSL_READ | TSL_WRITE,
                                      TSL_READ | TSL_EXEC};
    return rights[rng_below(rng, TSL_COUNT_OF(rights))];
}

static void random_range(struct rng *rng, size_t *first, size_t *end)
{
    *first = rng_below(rng, NAIVE_PAGES);
    *end = *first + 1 + rng_below(rng, rng_once_in(rng, 4) ? (uint32_t)(NAIVE_PAGES - *first) : 5);
    if (*end > NAIVE_PAGES)
        *end = NAIVE_PAGES;
}

static void random_map(struct rng *rng, unsigned which, size_t first, size_t end)
{
    struct tsl_map_request request = {.rights = random_rights(rng)};
    if (rng_once_in(rng, 2)) {
        request.object = naive.object[rng_below(rng, NAIVE_OBJECTS)];
        request.object_page = rng_below(rng, 4);
        request.flags |= rng_once_in(rng, 2) ? TSL_SPACE_SHARED : 0;
    }
    if (rng_once_in(rng, 6))
        request.flags |= TSL_SPACE_NO_COPY;
    if (rng_once_in(rng, 6))
        request.maximum = TSL_READ | TSL_EXEC | request.rights;
    if (rng_once_in(rng, 4)) {
        request.address = rng_once_in(rng, 2) ? rng_below(rng, NAIVE_PAGES) : 0;
        request.limit = rng_once_in(rng, 2) ? 1 + rng_below(rng, NAIVE_PAGES) : 0;
        request.align = rng_once_in(rng, 2) ? (size_t)1 << rng_below(rng, 4) : 0;
        naive_map_anywhere(which, end - first, request);
        return;
    }
    if (rng_once_in(rng, 6))
        request.flags |= TSL_SPACE_NO_REPLACE;
    naive_map(which, first, end, &request);
}

static void random_remap(struct rng *rng, unsigned which, size_t first, size_t end)
{
    static const unsigned flags[] = {0, TSL_SPACE_MAY_MOVE, TSL_SPACE_MAY_MOVE, TSL_SPACE_FIXED,
                                     TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE};
    size_t pages = 1 + rng_below(rng, 12);
    if (rng_once_in(rng, 2))
        end = naive_region_end(which, first);
    if (rng_once_in(rng, 3))
        pages = end - first;
    naive_remap(which, first, end, pages, flags[rng_below(rng, TSL_COUNT_OF(flags))],
                rng_below(rng, NAIVE_PAGES));
}

static void random_advice(struct rng *rng, unsigned which, size_t first, size_t end)
{
    static const enum tsl_advice all[] = {TSL_ADVISE_DONT_NEED, TSL_ADVISE_NO_COPY, TSL_ADVISE_COPY,
                                          TSL_ADVISE_NEED};
    naive_advise(which, first, end, all[rng_below(rng, TSL_COUNT_OF(all))]);
}

static void one_operation(struct rng *rng, unsigned which)
{
    size_t first, end;
    unsigned cpu = rng_below(rng, WORLD_CPUS);
    random_range(rng, &first, &end);
    switch (rng_below(rng, 16)) {
    case 0:
    case 1:
    case 2:
        random_map(rng, which, first, end);
        break;
    case 3:
        naive_unmap(which, first, end);
        break;
    case 4:
        naive_protect(which, first, end, random_rights(rng));
        break;
    case 5:
        random_advice(rng, which, first, end);
        break;
    case 6:
        if (rng_once_in(rng, 3))
            naive_copy(which, (which + 1 + rng_below(rng, SPACES - 1)) % SPACES);
        break;
    case 7:
    case 8:
        random_remap(rng, which, first, end);
        break;
    case 9:
        if (rng_once_in(rng, 2))
            end = naive_region_end(which, first);
        naive_lock(which, first, end, !rng_once_in(rng, 3));
        break;
    case 10:
    case 11:
        naive_load(cpu, which, first);
        break;
    default:
        naive_store(cpu, which, first, (unsigned char)rng_u32(rng));
    }
}

static void compare_all(struct rng *rng, unsigned round)
{
    if (round % 16 == 0)
        world_check_maps(naive.space, NAIVE_SPACES);
    if (round % 64 == 0)
        for (size_t page = 0; page < NAIVE_PAGES; page++)
            naive_load(rng_below(rng, WORLD_CPUS), rng_below(rng, SPACES), page);
}

static void random_operations_agree(void)
{
    struct rng rng = rng_start(3);
    const struct tsl_space_limits limits = {
        .pages = 40, .committed = 24, .regions = 9, .locked = 10};
    naive_start(SPACES, 48 + 90, &limits);
    bool same = true;
    const unsigned rounds = tap_scale > 1 ? 1000000 : 10000; /* however long the long run is */
    for (unsigned i = 0; i < rounds && same; i++) {
        unsigned which = rng_below(&rng, SPACES);
        naive.is_starved = rng_once_in(&rng, 8);
        if (naive.is_starved)
            world_leave_frames(rng_below(&rng, 6));
        one_operation(&rng, which);
        world_give_frames_back();
        naive.is_starved = false;
        same = naive_agrees(which);
        compare_all(&rng, i);
    }
    CHECK(naive.starvations > 0);
    naive_stop();
}

TAP_SUITE(prop_space, TAP_TEST(random_operations_agree));
