/* SPDX-License-Identifier: MIT
 *
 * explore_heap.c: slabs that belong to CPUs, in every order: frees by others against the owner,
 * against a trim that takes the slab back, and against an owner that leaves.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, machine.h, the heap's insides, the page source of the heap's tests.
 * Callers: the test runner.
 */
#include "explorer.h"

#include <tesela/cpu.h>

#include "heap_allocator_internal.h"

#include "../heap_allocator/test_source.h"
#include "host_port.h"
#include "machine.h"

enum { CPUS = 3, BLOCK = 2048, MOST = 16 };

static struct test_source source;
static struct tsl_heap *heap;
static void *blocks[MOST];
static unsigned count; /* the blocks of one slab, which CPU 0 owns */
static enum tsl_status said[CPUS];

static void open_heap(void)
{
    struct machine_config machine = {.cpus = CPUS};
    struct tsl_heap_config config = {
        .source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
    };

    if (!machine_create(&machine))
        explorer_require(false, "a machine");
    EXPLORER_REQUIRE(tsl_heap_create(&config, &heap) == TSL_OK);
    test_heap_soften(heap);
    for (count = 0; count < MOST; count++) {
        blocks[count] = tsl_heap_alloc(heap, BLOCK);
        EXPLORER_REQUIRE(blocks[count] != NULL);
        struct heap_run *run = heap_map_at(heap, (uintptr_t)blocks[0]);
        EXPLORER_REQUIRE(heap_owner_of(run)->cpu == 0);
        if (count + 1 == run->blocks || count + 1 == MOST)
            break;
    }
    count++;
}

static void close_heap(void)
{
    struct tsl_heap_stats stats;

    for (unsigned i = 0; i < MOST; i++) {
        if (blocks[i] != NULL)
            EXPLORER_REQUIRE(tsl_heap_free(heap, blocks[i]) == TSL_OK);
        blocks[i] = NULL;
    }
    (void)tsl_heap_trim(heap);
    EXPLORER_REQUIRE(tsl_heap_verify(heap).rule == 0);
    tsl_heap_stats(heap, &stats);
    EXPLORER_REQUIRE(stats.live_blocks == 0);
    EXPLORER_REQUIRE(tsl_heap_destroy(heap) == TSL_OK);
    EXPLORER_REQUIRE(source.out == 0 && source.errors == 0);
    machine_destroy();
}

static void give(unsigned i)
{
    void *block = blocks[i];

    blocks[i] = NULL;
    EXPLORER_REQUIRE(tsl_heap_free(heap, block) == TSL_OK);
}

/* ---- The owner frees and takes, another frees, a third takes all back. ---- */

static void return_body(unsigned cpu)
{
    switch (cpu) {
    case 0:
        for (unsigned i = 0; i < count; i += 2)
            give(i);
        blocks[0] = tsl_heap_alloc(heap, BLOCK);
        EXPLORER_REQUIRE(blocks[0] != NULL);
        give(0);
        return;
    case 1:
        for (unsigned i = 1; i < count; i += 2)
            give(i);
        return;
    default:
        (void)tsl_heap_trim(heap);
        (void)tsl_heap_trim(heap);
    }
}

static const struct explorer_case return_case = {"return",  CPUS,       3,
                                                 open_heap, close_heap, return_body};

static void a_slab_goes_back_while_others_free_into_it(void)
{
    CHECK(!explorer_finds(&return_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&return_case, EXPLORER_TORN_COMPARE)); /* a push is lost */
}

/* ---- The owner leaves and comes back, while others free. ---- */

static void leave_body(unsigned cpu)
{
    if (cpu == 0) {
        tsl_cpu_leave();
        explorer_point();
        tsl_cpu_join();
        blocks[0] = tsl_heap_alloc(heap, BLOCK);
        EXPLORER_REQUIRE(blocks[0] != NULL);
        return;
    }
    for (unsigned i = cpu; i < count; i += 2)
        give(i);
    if (cpu == 2)
        tsl_heap_drain(heap);
}

static void leave_setup(void)
{
    open_heap();
    give(0);
}

static const struct explorer_case leave_case = {"leave",     CPUS,       3,
                                                leave_setup, close_heap, leave_body};

static void nothing_stays_with_a_cpu_that_leaves(void)
{
    CHECK(!explorer_finds(&leave_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&leave_case, EXPLORER_TORN_COMPARE));
}

/* ---- The last block is freed twice at once, while the slab goes back. ---- */

/* CPU 0 has an empty slab too, so that this one is superfluous when it is empty: then it goes back
 * without a call of the other CPUs. */
static void twice_setup(void)
{
    open_heap();
    void *other = tsl_heap_alloc(heap, BLOCK);
    EXPLORER_REQUIRE(heap_map_at(heap, (uintptr_t)other) !=
                     heap_map_at(heap, (uintptr_t)blocks[0]));
    void *third[MOST];
    for (unsigned i = 1; i < count; i++)
        EXPLORER_REQUIRE((third[i] = tsl_heap_alloc(heap, BLOCK)) != NULL);
    void *fourth = tsl_heap_alloc(heap, BLOCK);
    EXPLORER_REQUIRE(tsl_heap_free(heap, other) == TSL_OK);
    for (unsigned i = 1; i < count; i++) {
        EXPLORER_REQUIRE(tsl_heap_free(heap, third[i]) == TSL_OK);
        give(i);
    }
    EXPLORER_REQUIRE(tsl_heap_free(heap, fourth) == TSL_OK);
}

static void twice_body(unsigned cpu)
{
    if (cpu < 2)
        said[cpu] = tsl_heap_free(heap, blocks[0]);
    else
        (void)tsl_heap_trim(heap);
}

static void twice_check(void)
{
    EXPLORER_REQUIRE(said[0] == TSL_OK || said[1] == TSL_OK);
    blocks[0] = NULL;
    close_heap();
}

static const struct explorer_case twice_case = {"twice",     CPUS,        3,
                                                twice_setup, twice_check, twice_body};

/* Both may be told that all is well; the heap must be whole all the same. */
static void a_block_freed_twice_at_once_harms_nothing(void)
{
    CHECK(!explorer_finds(&twice_case, EXPLORER_NO_FAULT));
}

TAP_SUITE(explore_heap, TAP_TEST(a_slab_goes_back_while_others_free_into_it),
          TAP_TEST(nothing_stays_with_a_cpu_that_leaves),
          TAP_TEST(a_block_freed_twice_at_once_harms_nothing));
