/* SPDX-License-Identifier: MIT
 *
 * test_call.c: functions run on other CPUs, hooks of CPUs that leave; all CPUs in one thread.
 *
 * Owns:    the suite `call`. Host only. CPUs that run at the same time are in test_threads.c.
 * Needs:   call.h, lock.h; host_port.h. A kick is an interrupt that comes at once.
 * Callers: the test runner.
 */
#include "host_port.h"
#include "tap.h"

#include <tesela/call.h>
#include <tesela/flush.h>
#include <tesela/lock.h>

#define FEW (TSL_CPUS < 4u ? TSL_CPUS : 4u) /* CPUs that take part */

static unsigned runs[TSL_CPUS];

static void start(void)
{
    for (unsigned cpu = FEW; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_join();
        runs[cpu] = 0;
    }
}

static void stop(void)
{
    for (unsigned cpu = FEW; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
}

static void note_run(void *context)
{
    CHECK(context == runs);
    CHECK(host_port_pin_depth() > 0);
    runs[tsl_port_cpu_id()]++;
}

static void runs_once_on_each_member(void)
{
    start();
    struct tsl_cpu_set cpus = {{0}};
    for (unsigned cpu = 0; cpu < FEW; cpu++)
        if (cpu != 2)
            tsl_cpu_set_add(&cpus, cpu);
    tsl_cpu_call(&cpus, note_run, runs);
    for (unsigned cpu = 0; cpu < FEW; cpu++)
        CHECK_EQ(runs[cpu], cpu == 2 ? 0 : 1);
    tsl_cpu_set_remove(&cpus, 0);
    tsl_cpu_call(&cpus, note_run, runs);
    CHECK_EQ(runs[0], 1);
    CHECK_EQ(runs[FEW - 1], FEW == 1 ? 1 : 2);
    CHECK_EQ(host_port_pin_depth(), 0);
    for (unsigned cpu = 0; cpu < FEW; cpu++)
        CHECK_EQ(tsl_flush_done(cpu), tsl_flush_posted(cpu));
    stop();
}

static void all_online_are_called_and_none_else(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    host_port_set_cpu(1);
    tsl_cpu_leave();
    host_port_set_cpu(3);
    tsl_cpu_call(tsl_cpus_online(), note_run, runs);
    CHECK_EQ(runs[0], 1);
    CHECK_EQ(runs[1], 0);
    CHECK_EQ(runs[2], 1);
    CHECK_EQ(runs[3], 1);
    host_port_set_cpu(1);
    tsl_cpu_join();
    CHECK_EQ(runs[1], 0);
    stop();
}

static void a_call_flushes_nothing(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    start();
    struct tsl_flush_counters before;
    struct tsl_flush_counters after;
    tsl_flush_counters(&before);
    tsl_cpu_call(tsl_cpus_online(), note_run, runs);
    tsl_flush_counters(&after);
    CHECK_EQ(after.received, before.received);
    CHECK_EQ(after.flushes, before.flushes);
    stop();
}

/* ---- Hooks ---- */

struct watch {
    struct tsl_cpu_hook hook;
    unsigned leaves;
    unsigned number; /* of the last CPU that left */
    bool was_online;
    bool was_keeper;
    struct watch *before; /* must not have run yet */
};

static void note_leave(void *context)
{
    struct watch *watch = context;
    watch->leaves++;
    watch->number = tsl_port_cpu_id();
    watch->was_online = tsl_cpu_set_has(tsl_cpus_online(), watch->number);
    watch->was_keeper = tsl_cpu_is_online();
    CHECK(host_port_pin_depth() > 0);
    if (watch->before != NULL)
        CHECK(watch->before->leaves < watch->leaves);
}

static void hooks_run_before_a_cpu_is_gone(void)
{
    if (TSL_CPUS < 2)
        SKIP("one CPU has nobody to give back to");
    struct watch first = {.hook = {.leave = note_leave}};
    struct watch second = {.hook = {.leave = note_leave}, .before = &first};
    first.hook.context = &first;
    second.hook.context = &second;
    start();
    tsl_cpu_hook_add(&first.hook);
    tsl_cpu_hook_add(&second.hook);
    host_port_set_cpu(1);
    CHECK(tsl_cpu_is_online());
    tsl_cpu_leave();
    CHECK(!tsl_cpu_is_online());
    CHECK_EQ(first.leaves, 1);
    CHECK_EQ(second.leaves, 1);
    CHECK_EQ(first.number, 1);
    CHECK(first.was_online && !first.was_keeper);
    tsl_cpu_leave(); /* again: nothing is kept any more */
    CHECK_EQ(first.leaves, 1);
    tsl_cpu_join();
    CHECK(tsl_cpu_is_online());
    tsl_cpu_hook_remove(&second.hook);
    tsl_cpu_leave();
    CHECK_EQ(first.leaves, 2);
    CHECK_EQ(second.leaves, 1);
    tsl_cpu_hook_remove(&first.hook);
    stop();
    CHECK_EQ(first.leaves, 2);
}

TAP_SUITE(call, TAP_TEST(runs_once_on_each_member), TAP_TEST(all_online_are_called_and_none_else),
          TAP_TEST(a_call_flushes_nothing), TAP_TEST(hooks_run_before_a_cpu_is_gone));
