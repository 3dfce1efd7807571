/* SPDX-License-Identifier: MIT
 *
 * test_lock.c: locks on one CPU: pins, nesting in order, trying.
 *
 * Owns:    the suite `lock`. What panics is in test_die.c, several CPUs in test_threads.c.
 * Needs:   lock.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "tap.h"

#include <tesela/lock.h>

static struct tsl_lock space = TSL_LOCK_INIT(TSL_RANK_SPACE);
static struct tsl_lock heap = TSL_LOCK_INIT(TSL_RANK_HEAP);

static void holds_what_it_acquires(void)
{
    struct tsl_lock lock;
    tsl_lock_init(&lock, TSL_RANK_FRAMES);
    CHECK(!tsl_lock_is_held(&lock));
    tsl_pin pin = tsl_lock_acquire(&lock);
    CHECK(tsl_lock_is_held(&lock));
    tsl_lock_release(&lock, pin);
    CHECK(!tsl_lock_is_held(&lock));
}

static void nests_in_order_and_again(void)
{
    for (unsigned round = 0; round < 3; round++) {
        tsl_pin outer = tsl_lock_acquire(&space);
        tsl_pin inner = tsl_lock_acquire(&heap);
        CHECK(tsl_lock_is_held(&space) && tsl_lock_is_held(&heap));
        tsl_lock_release(&heap, inner);
        CHECK(tsl_lock_is_held(&space) && !tsl_lock_is_held(&heap));
        inner = tsl_lock_acquire(&heap);
        tsl_lock_release(&heap, inner);
        tsl_lock_release(&space, outer);
    }
    /* After the inner one alone, the outer one may be taken again: nothing stays noted. */
    tsl_lock_release(&heap, tsl_lock_acquire(&heap));
    tsl_lock_release(&space, tsl_lock_acquire(&space));
    CHECK(!tsl_lock_is_held(&space) && !tsl_lock_is_held(&heap));
}

static void try_may_go_against_the_order(void)
{
    tsl_pin inner = tsl_lock_acquire(&heap);
    tsl_pin outer = 0;
    CHECK(tsl_lock_try(&space, &outer));
    CHECK(tsl_lock_is_held(&space));
    tsl_lock_release(&space, outer);
    tsl_lock_release(&heap, inner);
    CHECK(tsl_lock_try(&heap, &inner));
    tsl_lock_release(&heap, inner);
    CHECK(!tsl_lock_is_held(&heap));
}

static void ranks_have_names(void)
{
    CHECK_STRING(tsl_lock_rank_name(TSL_RANK_PROCESSES), "processes");
    CHECK_STRING(tsl_lock_rank_name(TSL_RANK_FLUSH), "flush");
    CHECK_STRING(tsl_lock_rank_name(TSL_RANK_COUNT), "unknown");
}

TAP_SUITE(lock, TAP_TEST(holds_what_it_acquires), TAP_TEST(nests_in_order_and_again),
          TAP_TEST(try_may_go_against_the_order), TAP_TEST(ranks_have_names));
