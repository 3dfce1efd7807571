/* SPDX-License-Identifier: MIT
 *
 * test_call_threads.c: calls between CPUs that run at the same time, and that come and go.
 *
 * Owns:    the suite `call_threads`. Host only, clean under ThreadSanitizer.
 * Needs:   call.h, lock.h; fake_arch.h, threads.h. An interrupt comes when a CPU unpins or polls.
 * Callers: the test runner.
 */
#include "fake_arch.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"
#include "threads.h"

#include <tesela/arch.h>
#include <tesela/call.h>
#include <tesela/flush.h>
#include <tesela/lock.h>

static uint32_t arrived;

static void meet_all(void)
{
    (void)tsl_atomic_add_u32(&arrived, 1);
    while (tsl_atomic_load_acquire_u32(&arrived) % THREADS != 0)
        tsl_arch_relax();
}

/* ---- Everybody calls everybody, pinned ---- */

static unsigned plain_runs[TSL_CPUS]; /* each by its CPU alone */
static uint32_t calls_made;

static void run_plainly(void *context)
{
    (void)context;
    plain_runs[tsl_port_cpu_id()]++;
}

static void call_everybody(unsigned cpu)
{
    plain_runs[cpu] = 0;
    tsl_cpu_join();
    meet_all();
    tsl_pin pin = tsl_port_pin();
    for (unsigned i = 0; i < tap_rounds(300); i++) {
        tsl_cpu_call(tsl_cpus_online(), run_plainly, NULL);
        (void)tsl_atomic_add_u32(&calls_made, 1);
    }
    tsl_port_unpin(pin);
    while (tsl_atomic_load_u32(&calls_made) < THREADS * tap_rounds(300)) {
        host_port_poll();
        tsl_arch_relax();
    }
    tsl_cpu_leave();
}

static void waiting_cpus_run_each_others_calls(void)
{
    tsl_atomic_store_u32(&arrived, 0);
    tsl_atomic_store_u32(&calls_made, 0);
    run_threads(THREADS, call_everybody);
    for (unsigned cpu = 0; cpu < THREADS; cpu++)
        CHECK_EQ(plain_runs[cpu], THREADS * tap_rounds(300));
}

/* ---- A CPU that spins for the caller's lock ---- */

static struct tsl_lock tables = TSL_LOCK_INIT(TSL_RANK_TABLES);
static uint32_t is_locked;

static void call_under_the_lock_or_spin_for_it(unsigned cpu)
{
    tsl_cpu_join();
    plain_runs[cpu] = 0;
    if (cpu == 1) {
        while (tsl_atomic_load_acquire_u32(&is_locked) == 0)
            tsl_arch_relax();
        tsl_pin outer = tsl_port_pin();
        tsl_lock_release(&tables, tsl_lock_acquire(&tables));
        CHECK_EQ(plain_runs[1], 1);
        tsl_port_unpin(outer);
    } else {
        tsl_pin pin = tsl_lock_acquire(&tables);
        tsl_atomic_store_release_u32(&is_locked, 1);
        while (tsl_atomic_load_u32(&tables.next) - tsl_atomic_load_u32(&tables.serving) < 2)
            tsl_arch_relax();
        unsigned taken = host_port_kicks_taken();
        tsl_cpu_call(tsl_cpus_online(), run_plainly, NULL);
        CHECK_EQ(plain_runs[1], 1);
        CHECK_EQ(host_port_kicks_taken(), taken);
        tsl_lock_release(&tables, pin);
    }
    tsl_cpu_leave();
}

static void a_cpu_that_spins_for_a_lock_runs_calls(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    tsl_atomic_store_u32(&is_locked, 0);
    run_threads(2, call_under_the_lock_or_spin_for_it);
}

/* ---- Things kept by CPUs that come and go ---- */

#define THINGS 64u

static uint32_t shared_things;
static uint32_t kept[THREADS]; /* written by its CPU alone */
static uint32_t lives;         /* of threads that have ended all their lives */

struct asking {
    uint32_t is_asked; /* 1 until the call returns: nobody runs it later */
};

static void give_back(void)
{
    uint32_t *own = &kept[tsl_port_cpu_id()];
    uint32_t count = tsl_atomic_load_u32(own);
    tsl_atomic_store_u32(own, 0);
    (void)tsl_atomic_add_u32(&shared_things, count);
}

static void give_back_when_asked(void *context)
{
    struct asking *asking = context;
    CHECK_EQ(tsl_atomic_load_u32(&asking->is_asked), 1);
    give_back();
}

static void give_back_on_leaving(void *context)
{
    (void)context;
    give_back();
}

/* Keeps one more thing, if it may and there is one. */
static bool keep_one(void)
{
    tsl_pin pin = tsl_port_pin();
    uint32_t there = tsl_atomic_load_u32(&shared_things);
    bool is_taken = false;
    while (tsl_cpu_is_online() && there > 0 && !is_taken)
        is_taken = tsl_atomic_compare_exchange_u32(&shared_things, &there, there - 1);
    if (is_taken) {
        uint32_t *own = &kept[tsl_port_cpu_id()];
        tsl_atomic_store_u32(own, tsl_atomic_load_u32(own) + 1);
    }
    tsl_port_unpin(pin);
    return is_taken;
}

static void ask_all(void)
{
    struct asking asking = {.is_asked = 1};
    tsl_cpu_call(tsl_cpus_online(), give_back_when_asked, &asking);
    tsl_atomic_store_u32(&asking.is_asked, 0);
}

static void live_and_keep(unsigned cpu)
{
    struct rng rng = rng_start(cpu);
    for (unsigned life = 0; life < tap_rounds(60); life++) {
        tsl_cpu_join();
        for (unsigned i = rng_below(&rng, 40); i > 0; i--) {
            if (!keep_one())
                ask_all();
            host_port_poll();
        }
        tsl_cpu_leave();
        CHECK_EQ(tsl_atomic_load_u32(&kept[cpu]), 0);
        if (rng_once_in(&rng, 4))
            ask_all(); /* also by a CPU that is not online */
    }
    (void)tsl_atomic_add_u32(&lives, 1);
}

static void nothing_is_lost_with_cpus_that_come_and_go(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    struct tsl_cpu_hook hook = {.leave = give_back_on_leaving};
    tsl_atomic_store_u32(&shared_things, THINGS);
    tsl_atomic_store_u32(&lives, 0);
    tsl_cpu_hook_add(&hook);
    run_threads(THREADS, live_and_keep);
    tsl_cpu_hook_remove(&hook);
    CHECK_EQ(tsl_atomic_load_u32(&shared_things), THINGS);
    CHECK_EQ(tsl_atomic_load_u32(&lives), THREADS);
}

/* ---- A CPU that is gone before it looks ---- */

static struct asking late;
static uint32_t is_ready;
static uint32_t is_withdrawn;
static uint32_t late_runs;

static void run_late(void *context)
{
    CHECK_EQ(tsl_atomic_load_u32(&((struct asking *)context)->is_asked), 1);
    (void)tsl_atomic_add_u32(&late_runs, 1);
}

/* On CPU 1, offline already, between the look into its mailbox and the one at its askers. */
static void wait_for_withdrawal(void)
{
    while (tsl_port_cpu_id() == 1 && tsl_atomic_load_acquire_u32(&is_withdrawn) == 0)
        tsl_arch_relax();
}

static void call_who_leaves(unsigned cpu)
{
    struct tsl_cpu_set cpus = {{0}};
    tsl_cpu_set_add(&cpus, 1);
    tsl_cpu_join();
    if (cpu == 1) {
        tsl_pin pin = tsl_port_pin();
        uint32_t posted = tsl_flush_posted(1);
        tsl_atomic_store_release_u32(&is_ready, 1);
        while (tsl_flush_posted(1) != posted + 2)
            tsl_arch_relax();
        tsl_cpu_leave();
        tsl_port_unpin(pin);
        return;
    }
    while (tsl_atomic_load_acquire_u32(&is_ready) == 0)
        tsl_arch_relax();
    if (cpu == 0) {
        tsl_atomic_store_u32(&late.is_asked, 1);
        tsl_cpu_call(&cpus, run_late, &late);
        tsl_atomic_store_u32(&late.is_asked, 0);
        tsl_atomic_store_release_u32(&is_withdrawn, 1);
    } else {
        struct tsl_flush request = {.all = true};
        tsl_flush_cpus(&cpus, &request);
    }
    tsl_cpu_leave();
}

static void a_call_is_withdrawn_from_who_is_gone(void)
{
    if (TSL_CPUS < 3)
        SKIP("too few CPUs configured");
    fake_before_flush = wait_for_withdrawal;
    run_threads(3, call_who_leaves);
    fake_before_flush = NULL;
    CHECK_EQ(tsl_atomic_load_u32(&late_runs), 0);
}

TAP_SUITE(call_threads, TAP_TEST(waiting_cpus_run_each_others_calls),
          TAP_TEST(a_cpu_that_spins_for_a_lock_runs_calls),
          TAP_TEST(a_call_is_withdrawn_from_who_is_gone),
          TAP_TEST(nothing_is_lost_with_cpus_that_come_and_go));
