/* SPDX-License-Identifier: MIT
 *
 * test_commit.c: how many pages may be promised: each policy, changes of it, what is charged.
 *
 * Owns:    suite commit.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

#define MOST (~(size_t)0)

static struct tsl_space *space;

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
    CHECK_EQ(world_usage().committed, 0);
    world_stop();
}

static enum tsl_status set(enum tsl_commit_policy policy, size_t pages, unsigned percent)
{
    struct tsl_commit commit = {policy, pages, percent};
    return tsl_vm_set_commit(world.vm, &commit);
}

static size_t limit(void)
{
    struct tsl_vm_stats stats;
    tsl_vm_stats(world.vm, &stats);
    return stats.commit_limit_pages;
}

static enum tsl_status map(size_t pages, tsl_vaddr *out)
{
    struct tsl_map_request request = {.bytes = pages * PAGE, .rights = RW};
    return tsl_space_map(space, &request, out);
}

/* Exactly `pages` more can be promised. */
static void check_room(size_t pages)
{
    tsl_vaddr at = 0;
    CHECK_STATUS(map(pages + 1, &at), TSL_LIMIT);
    CHECK_EQ(at, 0);
    if (pages == 0)
        return;
    CHECK_STATUS(map(pages, &at), TSL_OK);
    tsl_vaddr more = 0;
    CHECK_STATUS(map(1, &more), TSL_LIMIT);
    CHECK_STATUS(tsl_space_unmap(space, at, pages * PAGE), TSL_OK);
}

static void strict_promises_what_there_is(void)
{
    begin();
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 500, 0), TSL_OK);
    CHECK_EQ(limit(), 500);
    check_room(500);
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 501, 0), TSL_OK); /* a page of swap comes */
    check_room(501);
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 0, 0), TSL_OK); /* nothing is not: without limit */
    CHECK_EQ(limit(), 0);
    check_room(0);
    finish();
}

static void ratio_promises_a_share(void)
{
    const struct {
        size_t pages;
        unsigned percent;
        size_t limit;
    } cases[] = {{400, 150, 600}, {400, 100, 400}, {400, 1, 4},   {399, 50, 199},
                 {99, 1, 0},      {1, 99, 0},      {1, 1000, 10}, {0, 150, 0}};
    begin();
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        CHECK_STATUS(set(TSL_COMMIT_RATIO, cases[i].pages, cases[i].percent), TSL_OK);
        CHECK_EQ(limit(), cases[i].limit);
        check_room(cases[i].limit);
    }
    /* Exact as far as a word goes; what is more is no limit at all, never a small one. */
    CHECK_STATUS(set(TSL_COMMIT_RATIO, MOST, 100), TSL_OK);
    CHECK_EQ(limit(), MOST);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, MOST, 50), TSL_OK);
    CHECK_EQ(limit(), MOST / 2);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, MOST / 2, 200), TSL_OK);
    CHECK_EQ(limit(), MOST - 1);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, MOST / 2 + 1, 200), TSL_OK);
    CHECK_EQ(limit(), MOST);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, MOST, TSL_COMMIT_PERCENT_MAX), TSL_OK);
    CHECK_EQ(limit(), MOST);
    finish();
}

/* What was promised without a limit may not be there: the fault says so, and nothing else
 * happens. */
static void none_promises_anything(void)
{
    const size_t pages = 2 * WORLD_RAM / PAGE;
    begin();
    CHECK_EQ(limit(), MOST);
    tsl_vaddr at = 0;
    CHECK_STATUS(map(pages, &at), TSL_OK);
    size_t touched = 0;
    enum tsl_status status = TSL_OK;
    while (touched < pages && status == TSL_OK)
        status = tsl_space_fault(space, at + touched++ * PAGE, TSL_WRITE, NULL);
    CHECK_STATUS(status, TSL_NO_MEMORY);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_unmap(space, at, PAGE), TSL_OK); /* one frame less, one page more */
    CHECK_STATUS(tsl_space_fault(space, at + (touched - 1) * PAGE, TSL_WRITE, NULL), TSL_OK);
    finish();
}

static void a_new_policy_keeps_old_promises(void)
{
    begin();
    tsl_vaddr at = 0, other = 0;
    CHECK_STATUS(map(300, &at), TSL_OK);
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 1, 0), TSL_OK);
    CHECK_EQ(world_usage().committed, 300);
    CHECK_STATUS(tsl_space_fault(space, at + 299 * PAGE, TSL_WRITE, NULL), TSL_OK);
    CHECK_STATUS(map(1, &other), TSL_LIMIT);
    /* What gives back as much as it takes goes on: a part is replaced by as many pages. */
    struct tsl_map_request request = {
        .address = at, .bytes = 10 * PAGE, .rights = RW, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &other), TSL_OK);
    CHECK_EQ(world_usage().committed, 300);
    CHECK_STATUS(tsl_space_unmap(space, at, 300 * PAGE), TSL_OK);
    check_room(1);
    finish();
}

static void bad_policies_change_nothing(void)
{
    begin();
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 7, 0), TSL_OK);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, 100, 0), TSL_INVALID);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, 100, TSL_COMMIT_PERCENT_MAX + 1), TSL_INVALID);
    CHECK_STATUS(set(TSL_COMMIT_RATIO, 100, ~0u), TSL_INVALID);
    CHECK_STATUS(set((enum tsl_commit_policy)3, 100, 100), TSL_INVALID);
    CHECK_STATUS(set((enum tsl_commit_policy) ~0u, 100, 100), TSL_INVALID);
    CHECK_EQ(limit(), 7);
    check_room(7);
    struct tsl_vm_config config = {.frames = world.frames,
                                   .heap = world.heap,
                                   .format = space->table.format,
                                   .features = space->table.features,
                                   .commit = {.policy = TSL_COMMIT_RATIO, .pages = 100}};
    struct tsl_vm *none = NULL;
    struct world_usage before = world_usage();
    CHECK_STATUS(tsl_vm_create(&config, &none), TSL_INVALID);
    CHECK(none == NULL);
    CHECK_EQ(world_usage().frames, before.frames);
    finish();
}

/* Private writable pages, those that a copy may write, shared memory as a whole; nothing else. */
static void what_can_be_written_is_charged(void)
{
    begin();
    tsl_vaddr at = 0, shown = 0;
    struct tsl_space *child = NULL;
    struct tsl_object *object = NULL;
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 20, 0), TSL_OK);
    CHECK_STATUS(map(8, &at), TSL_OK);
    struct tsl_map_request reading = {.bytes = 100 * PAGE, .rights = TSL_READ};
    CHECK_STATUS(tsl_space_map(space, &reading, &shown), TSL_OK);
    CHECK_EQ(world_usage().committed, 8);
    CHECK_STATUS(tsl_space_protect(space, shown, 13 * PAGE, RW), TSL_LIMIT);
    CHECK_STATUS(tsl_space_copy(space, &child), TSL_OK);
    CHECK_EQ(world_usage().committed, 16);
    struct tsl_object_config memory = {.kind = TSL_OBJECT_MEMORY, .bytes = 5 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &memory, &object), TSL_LIMIT);
    CHECK(object == NULL);
    memory.bytes = 4 * PAGE;
    CHECK_STATUS(tsl_object_create(world.vm, &memory, &object), TSL_OK);
    struct tsl_map_request sharing = {
        .bytes = 4 * PAGE, .rights = RW, .flags = TSL_SPACE_SHARED, .object = object};
    CHECK_STATUS(tsl_space_map(space, &sharing, &shown), TSL_OK); /* promised with the object */
    CHECK_EQ(world_usage().committed, 20);
    struct tsl_space *second = NULL;
    CHECK_STATUS(tsl_space_copy(space, &second), TSL_LIMIT);
    CHECK(second == NULL);
    CHECK_STATUS(tsl_space_destroy(child), TSL_OK);
    tsl_object_put(object);
    CHECK_EQ(world_usage().committed, 12); /* the region still shows it */
    finish();
}

/* What is left out of a copy needs no promise in it, also while it is made. */
static void what_is_not_copied_is_not_charged(void)
{
    begin();
    tsl_vaddr at = 0;
    struct tsl_space *child = NULL;
    CHECK_STATUS(map(10, &at), TSL_OK);
    for (size_t page = 0; page < 10; page++)
        CHECK_STATUS(tsl_space_fault(space, at + page * PAGE, TSL_WRITE, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_advise(space, at + 2 * PAGE, 6 * PAGE, TSL_ADVISE_NO_COPY), TSL_OK);
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 13, 0), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &child), TSL_LIMIT);
    CHECK(child == NULL);
    CHECK_EQ(world_usage().committed, 10);
    CHECK_STATUS(set(TSL_COMMIT_STRICT, 14, 0), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &child), TSL_OK);
    CHECK_EQ(world_usage().committed, 14);
    CHECK_EQ(child->committed, 4);
    CHECK_SOUND(tsl_space_verify(child));
    CHECK_STATUS(tsl_space_fault(child, at + 3 * PAGE, TSL_READ, NULL), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_space_destroy(child), TSL_OK);
    finish();
}

TAP_SUITE(commit, TAP_TEST(strict_promises_what_there_is), TAP_TEST(ratio_promises_a_share),
          TAP_TEST(none_promises_anything), TAP_TEST(a_new_policy_keeps_old_promises),
          TAP_TEST(bad_policies_change_nothing), TAP_TEST(what_can_be_written_is_charged),
          TAP_TEST(what_is_not_copied_is_not_charged));
