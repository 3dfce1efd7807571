/* SPDX-License-Identifier: MIT
 *
 * test_threads.c: locks and flushes between CPUs that run at the same time.
 *
 * Owns:    the suite `threads`. Host only, clean under ThreadSanitizer.
 * Needs:   lock.h, flush.h; fake_arch.h, threads.h. An interrupt comes when a CPU unpins or polls.
 * Callers: the test runner.
 */
#include "fake_arch.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"
#include "threads.h"

#include <tesela/arch.h>
#include <tesela/flush.h>
#include <tesela/lock.h>

#define LONG_ENOUGH 2000 /* yields after which a thread that could go on would have gone on */

static uint32_t flag_a;
static uint32_t flag_b;

static void raise_flag(uint32_t *flag)
{
    tsl_atomic_store_release_u32(flag, 1);
}

static void await(const uint32_t *flag)
{
    while (tsl_atomic_load_acquire_u32(flag) == 0)
        tsl_arch_relax();
}

static void lower_flags(void)
{
    tsl_atomic_store_u32(&flag_a, 0);
    tsl_atomic_store_u32(&flag_b, 0);
}

static void flush_page_of(unsigned cpu, unsigned page)
{
    struct tsl_cpu_set cpus = {{0}};
    struct tsl_flush request = {0};
    tsl_cpu_set_add(&cpus, cpu);
    tsl_flush_add(&request, fake_address(page));
    tsl_flush_cpus(&cpus, &request);
}

/* ---- Locks ---- */

static struct tsl_lock tables = TSL_LOCK_INIT(TSL_RANK_TABLES);
static unsigned plain_counter; /* tables */

static void count_under_lock(unsigned cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < tap_rounds(2000); i++) {
        tsl_pin pin;
        if (i % 4 != 0) {
            pin = tsl_lock_acquire(&tables);
        } else if (!tsl_lock_try(&tables, &pin)) {
            i--;
            continue;
        }
        plain_counter++;
        tsl_lock_release(&tables, pin);
    }
}

static void one_holder_at_a_time(void)
{
    plain_counter = 0;
    run_threads(THREADS, count_under_lock);
    CHECK_EQ(plain_counter, THREADS * tap_rounds(2000));
}

static void hold_or_try(unsigned cpu)
{
    if (cpu == 0) {
        tsl_pin pin = tsl_lock_acquire(&tables);
        raise_flag(&flag_a);
        await(&flag_b);
        tsl_lock_release(&tables, pin);
        return;
    }
    tsl_pin pin = 99;
    await(&flag_a);
    CHECK(!tsl_lock_is_held(&tables));
    CHECK(!tsl_lock_try(&tables, &pin));
    CHECK_EQ(pin, 99);
    CHECK_EQ(host_port_pin_depth(), 0);
    raise_flag(&flag_b);
}

static void try_fails_while_another_holds(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    lower_flags();
    run_threads(2, hold_or_try);
}

/* ---- The deadlock rule ---- */

/* CPU 0 holds the lock and flushes CPU 1, which spins for that lock, interrupts off. */
static void flush_under_the_lock_or_spin_for_it(unsigned cpu)
{
    tsl_cpu_join();
    if (cpu == 1) {
        fake_tlb_set(1, 5, 1);
        await(&flag_a);
        tsl_pin outer = tsl_port_pin();
        tsl_pin pin = tsl_lock_acquire(&tables);
        CHECK_EQ(fake_tlb_get(1, 5), 0);
        tsl_lock_release(&tables, pin);
        tsl_port_unpin(outer);
        tsl_cpu_leave();
        return;
    }
    tsl_pin pin = tsl_lock_acquire(&tables);
    raise_flag(&flag_a);
    while (tsl_atomic_load_u32(&tables.next) - tsl_atomic_load_u32(&tables.serving) < 2)
        tsl_arch_relax();
    unsigned taken = host_port_kicks_taken();
    flush_page_of(1, 5);
    CHECK_EQ(fake_tlb_get(1, 5), 0);
    CHECK_EQ(host_port_kicks_taken(), taken); /* it was the spin loop that answered */
    tsl_lock_release(&tables, pin);
    tsl_cpu_leave();
}

static void a_spinning_cpu_answers(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    lower_flags();
    run_threads(2, flush_under_the_lock_or_spin_for_it);
}

/* All flush all, pinned: each waits for the others and must answer them. */
static void flush_everybody(unsigned cpu)
{
    tsl_cpu_join();
    (void)tsl_atomic_add_u32(&flag_a, 1);
    while (tsl_atomic_load_u32(&flag_a) < THREADS)
        tsl_arch_relax();
    tsl_pin pin = tsl_port_pin();
    for (unsigned i = 0; i < tap_rounds(500); i++) {
        struct tsl_flush request = {0};
        fake_tlb_set(cpu, 1, 1);
        tsl_flush_add(&request, fake_address(1));
        tsl_flush_cpus(tsl_cpus_online(), &request);
        CHECK_EQ(fake_tlb_get(cpu, 1), 0);
    }
    tsl_port_unpin(pin);
    tsl_cpu_leave();
}

static void waiting_cpus_answer_each_other(void)
{
    lower_flags();
    run_threads(THREADS, flush_everybody);
}

/* ---- Posts that meet ---- */

/* On CPU 1 while it runs its first request: lets CPU 2 post, and sees that CPU 2 goes on waiting.
 */
static void let_another_post(void)
{
    if (tsl_port_cpu_id() != 1 || tsl_atomic_load_u32(&flag_a) != 0)
        return;
    uint32_t posted = tsl_flush_posted(1);
    raise_flag(&flag_a);
    while (tsl_flush_posted(1) == posted)
        tsl_arch_relax();
    for (unsigned i = 0; i < LONG_ENOUGH; i++)
        tsl_arch_relax();
    CHECK_EQ(tsl_atomic_load_u32(&flag_b), 0);
    /* The entry of the second request comes into the buffer again before the first is done. */
    fake_tlb_set(1, 8, 1);
}

static void post_while_another_is_run(unsigned cpu)
{
    tsl_cpu_join();
    if (cpu == 0) {
        while (fake_tlb_get(1, 7) == 0) /* until CPU 1 has joined */
            tsl_arch_relax();
        flush_page_of(1, 7);
        CHECK_EQ(fake_tlb_get(1, 7), 0);
        await(&flag_b);
    } else if (cpu == 1) {
        fake_tlb_set(1, 7, 1);
        while (tsl_atomic_load_u32(&flag_b) == 0) {
            host_port_poll();
            tsl_arch_relax();
        }
    } else {
        await(&flag_a);
        flush_page_of(1, 8);
        CHECK_EQ(fake_tlb_get(1, 8), 0);
        raise_flag(&flag_b);
    }
    tsl_cpu_leave();
}

static void a_post_during_a_flush_is_run_afterwards(void)
{
    if (TSL_CPUS < 3)
        SKIP("too few CPUs configured");
    lower_flags();
    fake_before_flush = let_another_post;
    run_threads(3, post_while_another_is_run);
    fake_before_flush = NULL;
    CHECK_EQ(tsl_flush_done(1), tsl_flush_posted(1));
}

/* CPU 1 does not answer until two posts of ten pages lie in its box. */
static void post_more_than_fits(unsigned cpu)
{
    tsl_cpu_join();
    if (cpu == 1) {
        tsl_pin pin = tsl_port_pin();
        for (unsigned page = 0; page < FAKE_PAGES; page++)
            fake_tlb_set(1, page, 1);
        uint32_t posted = tsl_flush_posted(1);
        unsigned flushes = fake_flushes(1);
        unsigned alls = fake_flush_alls(1);
        raise_flag(&flag_a);
        while (tsl_flush_posted(1) != posted + 2)
            tsl_arch_relax();
        tsl_port_unpin(pin);
        CHECK_EQ(fake_flushes(1), flushes + 1);
        CHECK_EQ(fake_flush_alls(1), alls + 1);
        tsl_cpu_leave();
        return;
    }
    struct tsl_flush request = {.global = cpu == 2};
    struct tsl_cpu_set cpus = {{0}};
    tsl_cpu_set_add(&cpus, 1);
    for (unsigned i = 0; i < 10; i++)
        tsl_flush_add(&request, fake_address(10 * cpu + i));
    await(&flag_a);
    tsl_flush_cpus(&cpus, &request);
    for (unsigned page = 0; page < FAKE_PAGES; page++)
        CHECK_EQ(fake_tlb_get(1, page), 0);
    tsl_cpu_leave();
}

static void posts_that_meet_become_one(void)
{
    if (TSL_CPUS < 3)
        SKIP("too few CPUs configured");
    lower_flags();
    unsigned sent = host_port_kicks_sent();
    run_threads(3, post_more_than_fits);
    CHECK_EQ(host_port_kicks_sent(), sent + 1);
}

/* CPU 1 never answers, it leaves. */
static void leave_or_wait(unsigned cpu)
{
    tsl_cpu_join();
    if (cpu == 1) {
        tsl_pin pin = tsl_port_pin();
        raise_flag(&flag_a);
        while (tsl_flush_posted(1) == tsl_flush_done(1))
            tsl_arch_relax();
        tsl_port_unpin(pin);
    } else {
        await(&flag_a);
        flush_page_of(1, 5);
    }
    tsl_cpu_leave();
    CHECK(!tsl_cpu_set_has(tsl_cpus_online(), cpu));
}

static void leaving_owes_nothing(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    lower_flags();
    run_threads(2, leave_or_wait);
    CHECK_EQ(tsl_flush_done(1), tsl_flush_posted(1));
}

/* ---- Everything at once ---- */

/* Page p maps to version[p], which only grows; 0 would be "not mapped". */
static uint32_t version[FAKE_PAGES];
static uint32_t is_using[THREADS]; /* this CPU has joined and may have translations */

static void use_pages(struct rng *rng, unsigned cpu)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned page = rng_below(rng, FAKE_PAGES);
        (void)fake_tlb_walk(cpu, page, &version[page]);
    }
}

/* Whoever uses the library after the flush has nothing older than what was written before it. */
static void check_nobody_is_behind(unsigned page, uint32_t written)
{
    for (unsigned cpu = 0; cpu < THREADS; cpu++) {
        if (tsl_atomic_load_acquire_u32(&is_using[cpu]) != 0) {
            uint32_t value = fake_tlb_get(cpu, page);
            CHECK(value == 0 || value >= written);
        }
    }
}

static void change_pages(struct rng *rng)
{
    struct tsl_flush request = {.global = true};
    unsigned pages[20];
    uint32_t written[20];
    unsigned count = 1 + rng_below(rng, rng_once_in(rng, 4) ? 20 : 3);
    tsl_pin pin = tsl_lock_acquire(&tables);
    for (unsigned i = 0; i < count; i++) {
        pages[i] = rng_below(rng, FAKE_PAGES);
        written[i] = tsl_atomic_add_u32(&version[pages[i]], 1) + 1;
        tsl_flush_add(&request, fake_address(pages[i]));
    }
    tsl_flush_cpus(tsl_cpus_online(), &request);
    for (unsigned i = 0; i < count; i++)
        check_nobody_is_behind(pages[i], written[i]);
    tsl_lock_release(&tables, pin);
}

static void live_as(unsigned cpu)
{
    struct rng rng = rng_start(cpu);
    for (unsigned life = 0; life < tap_rounds(40); life++) {
        tsl_cpu_join();
        tsl_atomic_store_release_u32(&is_using[cpu], 1);
        for (unsigned i = rng_below(&rng, 20); i > 0; i--) {
            use_pages(&rng, cpu);
            host_port_poll();
            if (rng_once_in(&rng, 3))
                change_pages(&rng);
        }
        /* Off first: a fence must keep later stores, of translations, from being seen before. */
        (void)tsl_atomic_exchange_u32(&is_using[cpu], 0);
        tsl_cpu_leave();
    }
}

static void no_stale_translation_survives(void)
{
    for (unsigned page = 0; page < FAKE_PAGES; page++)
        version[page] = 1;
    run_threads(THREADS, live_as);
    for (unsigned cpu = 0; cpu < THREADS; cpu++)
        CHECK(!tsl_cpu_set_has(tsl_cpus_online(), cpu));
}

TAP_SUITE(threads, TAP_TEST(one_holder_at_a_time), TAP_TEST(try_fails_while_another_holds),
          TAP_TEST(a_spinning_cpu_answers), TAP_TEST(waiting_cpus_answer_each_other),
          TAP_TEST(a_post_during_a_flush_is_run_afterwards), TAP_TEST(posts_that_meet_become_one),
          TAP_TEST(leaving_owes_nothing), TAP_TEST(no_stale_translation_survives));
