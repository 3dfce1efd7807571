/* SPDX-License-Identifier: MIT
 *
 * test_die.c: what panics, and with which message.
 *
 * Owns:    the suite `die`. Host only: every case dies in a process of its own.
 * Needs:   lock.h, list.h, cpu.h, status.h; host_port.h.
 * Callers: the test runner.
 */
#include "host_port.h"
#include "tap.h"

#include <tesela/cpu.h>
#include <tesela/list.h>
#include <tesela/lock.h>

static struct tsl_lock space = TSL_LOCK_INIT(TSL_RANK_SPACE);
static struct tsl_lock heap = TSL_LOCK_INIT(TSL_RANK_HEAP);
static struct tsl_lock other_heap = TSL_LOCK_INIT(TSL_RANK_HEAP);

/* Takes it for good: the process dies soon. */
static void take(struct tsl_lock *lock)
{
    static tsl_pin last_pin;
    last_pin = tsl_lock_acquire(lock);
    CHECK_EQ(last_pin, host_port_pin_depth() - 1);
}

static void take_space_under_heap(void *context)
{
    (void)context;
    take(&heap);
    take(&space);
}

static void take_two_heaps(void *context)
{
    (void)context;
    take(&heap);
    take(&other_heap);
}

static void try_two_heaps(void *context)
{
    (void)context;
    tsl_pin pin;
    take(&heap);
    CHECK(!tsl_lock_try(&other_heap, &pin));
}

static void wrong_order_names_both_ranks(void)
{
    if (!TSL_LOCK_CHECKS)
        SKIP("lock checks are off");
    CHECK_PANICS(take_space_under_heap, NULL, "lock order: space taken while heap is held");
    CHECK_PANICS(take_two_heaps, NULL, "lock order: heap taken while heap is held");
    CHECK_PANICS(try_two_heaps, NULL, "lock order: heap taken while heap is held");
}

static void take_twice(void *context)
{
    (void)context;
    take(&heap);
    take(&heap);
}

static void try_own(void *context)
{
    (void)context;
    tsl_pin pin;
    take(&heap);
    CHECK(!tsl_lock_try(&heap, &pin));
}

static void release_free_lock(void *context)
{
    (void)context;
    tsl_lock_release(&heap, tsl_port_pin());
}

static void a_lock_is_not_recursive(void)
{
    CHECK_PANICS(take_twice, NULL, "lock taken twice by CPU 0: heap");
    CHECK_PANICS(try_own, NULL, "lock taken twice by CPU 0: heap");
    CHECK_PANICS(release_free_lock, NULL, "does not hold it: heap");
}

static void remove_between_overwritten_links(void *context)
{
    (void)context;
    struct tsl_list list;
    struct tsl_list nodes[3];
    tsl_list_init(&list);
    for (int i = 0; i < 3; i++)
        tsl_list_push_back(&list, &nodes[i]);
    nodes[2].prev = &list;
    tsl_list_remove(&nodes[1]);
}

static void overwritten_links_are_found(void)
{
    CHECK_PANICS(remove_between_overwritten_links, NULL, "node->next->prev == node");
}

static void add_a_cpu_too_many(void *context)
{
    tsl_cpu_set_add(context, TSL_CPUS);
}

static void assert_something_false(void *context)
{
    TSL_ASSERT(context != NULL);
}

static void refuse_with_ok(void *context)
{
    (void)context;
    if (tsl_refuse(NULL, TSL_OK, "not a refusal") == TSL_OK)
        return;
}

static void assertions_tell_where_and_what(void)
{
    struct tsl_cpu_set set = {{0}};
    CHECK_PANICS(add_a_cpu_too_many, &set, "cpu.c:");
    CHECK_PANICS(assert_something_false, NULL, "assertion failed at test_die.c:");
    CHECK_PANICS(assert_something_false, NULL, ": context != NULL");
    CHECK_PANICS(refuse_with_ok, NULL, "status > TSL_OK");
}

static void do_nothing(void *context)
{
    (void)context;
}

static void crash(void *context)
{
    (void)context;
    __builtin_trap();
}

/* The helper itself: neither a return nor another death counts as a panic. */
static void only_a_panic_is_a_panic(void)
{
    char message[TSL_LOG_LINE_BYTES];
    CHECK(!host_port_panics(do_nothing, NULL, message, sizeof(message)));
    CHECK(!host_port_panics(crash, NULL, message, sizeof(message)));
    CHECK(host_port_panics(assert_something_false, NULL, message, sizeof(message)));
}

static void fail_tersely(void *context)
{
    (void)context;
    tsl_fail_tersely();
}

static void terse_assertions_tell_where(void)
{
    CHECK_PANICS(fail_tersely, NULL, "assertion failed at code address 0x");
}

TAP_SUITE(die, TAP_TEST(wrong_order_names_both_ranks), TAP_TEST(a_lock_is_not_recursive),
          TAP_TEST(overwritten_links_are_found), TAP_TEST(assertions_tell_where_and_what),
          TAP_TEST(terse_assertions_tell_where), TAP_TEST(only_a_panic_is_a_panic));
