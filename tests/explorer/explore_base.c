/* SPDX-License-Identifier: MIT
 *
 * explore_base.c: locks, and calls to other CPUs, in every order.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, machine.h.
 * Callers: the test runner.
 */
#include "explorer.h"

#include <tesela/call.h>
#include <tesela/flush.h>
#include <tesela/lock.h>

#include "machine.h"
#include "tap.h"

static void open_machine(unsigned cpus)
{
    struct machine_config config = {.cpus = cpus};
    if (!machine_create(&config))
        explorer_require(false, "a machine");
}

/* ---- Nobody else is inside. ---- */

static struct tsl_lock lock;
static unsigned inside;
static unsigned counter;

static void lock_setup(void)
{
    open_machine(3);
    tsl_lock_init(&lock, TSL_RANK_HEAP);
    inside = counter = 0;
}

static void lock_body(unsigned cpu)
{
    tsl_pin pin;
    (void)cpu;
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0)
            pin = tsl_lock_acquire(&lock);
        else if (!tsl_lock_try(&lock, &pin))
            return;
        EXPLORER_REQUIRE(inside++ == 0);
        explorer_point();
        counter++;
        EXPLORER_REQUIRE(--inside == 0);
        tsl_lock_release(&lock, pin);
    }
}

static void lock_check(void)
{
    EXPLORER_REQUIRE(counter >= 3 && counter <= 6);
    machine_destroy();
}

static const struct explorer_case lock_case = {"lock", 3, 1, lock_setup, lock_check, lock_body};

static void a_lock_keeps_others_out(void)
{
    CHECK(!explorer_finds(&lock_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&lock_case, EXPLORER_TORN_ADD)); /* two draw one ticket */
    CHECK(explorer_finds(&lock_case, EXPLORER_TORN_COMPARE));
}

/* ---- Two CPUs call all, a third one leaves and comes back. ---- */

enum { CALLERS = 2, CALLED = 3 };

static unsigned ran[CALLERS][CALLED];

static void note_run(void *context)
{
    unsigned *mine = context;
    mine[tsl_port_cpu_id()]++;
}

static void call_setup(void)
{
    open_machine(CALLED);
    for (unsigned i = 0; i < CALLERS * CALLED; i++)
        ran[i / CALLED][i % CALLED] = 0;
}

static void call_body(unsigned cpu)
{
    if (cpu == CALLED - 1) {
        tsl_cpu_leave();
        tsl_cpu_join();
        return;
    }
    tsl_cpu_call(tsl_cpus_online(), note_run, ran[cpu]);
    EXPLORER_REQUIRE(ran[cpu][0] == 1 && ran[cpu][1] == 1);
    EXPLORER_REQUIRE(ran[cpu][2] <= 1);
    ran[cpu][2] += 10; /* whoever runs it from now on is too late */
}

static void call_check(void)
{
    for (unsigned i = 0; i < CALLERS; i++)
        EXPLORER_REQUIRE(ran[i][0] == 1 && ran[i][1] == 1 && ran[i][2] >= 10 && ran[i][2] <= 11);
    machine_destroy();
}

static const struct explorer_case call_case = {"call",     CALLED,     1,
                                               call_setup, call_check, call_body};

static void a_call_runs_once_on_each(void)
{
    CHECK(!explorer_finds(&call_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&call_case, EXPLORER_TORN_MASK));
}

/* ---- Requests that meet in a mailbox. ---- */

static bool may_return[CALLERS];

static void flush_setup(void)
{
    open_machine(CALLED);
    may_return[0] = may_return[1] = false;
}

/* A page that is no longer in any table; every CPU must have dropped it when this returns, so what
 * counts is how many requests it has run by then. */
static void flush_body(unsigned cpu)
{
    if (cpu == CALLED - 1) {
        tsl_pin pin = tsl_port_pin();
        for (unsigned i = 0; i < 4; i++)
            tsl_flush_receive();
        tsl_port_unpin(pin);
        return;
    }
    struct tsl_flush request = {.count = 1, .page = {0x1000u * (cpu + 1)}};
    tsl_flush_cpus(tsl_cpus_online(), &request);
    may_return[cpu] = true;
}

static void flush_check(void)
{
    for (unsigned cpu = 0; cpu < CALLED; cpu++)
        EXPLORER_REQUIRE(tsl_flush_posted(cpu) == tsl_flush_done(cpu));
    EXPLORER_REQUIRE(may_return[0] && may_return[1]);
    machine_destroy();
}

static const struct explorer_case flush_case = {"flush",     CALLED,      5,
                                                flush_setup, flush_check, flush_body};

static void two_flushes_end(void)
{
    CHECK(!explorer_finds(&flush_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&flush_case, EXPLORER_TORN_EXCHANGE)); /* two hold the latch */
}

TAP_SUITE(explore_base, TAP_TEST(a_lock_keeps_others_out), TAP_TEST(a_call_runs_once_on_each),
          TAP_TEST(two_flushes_end));
