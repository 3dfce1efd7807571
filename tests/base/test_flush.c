/* SPDX-License-Identifier: MIT
 *
 * test_flush.c: flushes from CPU to CPU, all CPUs simulated in one thread.
 *
 * Owns:    the suite `flush`. Host only. CPUs that run at the same time are in test_threads.c.
 * Needs:   flush.h, cpu.h; fake_arch.h, host_port.h. A kick is an interrupt that comes at once.
 * Callers: the test runner.
 */
#include "fake_arch.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/flush.h>

#define FEW (TSL_CPUS < 4u ? TSL_CPUS : 4u) /* CPUs that take part */

static struct tsl_flush page_request(unsigned page)
{
    struct tsl_flush request = {0};
    tsl_flush_add(&request, fake_address(page));
    return request;
}

/* CPUs 0 .. FEW - 1 join; every buffer holds every page. */
static void start(void)
{
    for (unsigned cpu = FEW; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_join();
    }
    for (unsigned cpu = 0; cpu < FEW; cpu++)
        for (unsigned page = 0; page < FAKE_PAGES; page++)
            fake_tlb_set(cpu, page, 1);
}

static void stop(void)
{
    for (unsigned cpu = FEW; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
}

static struct tsl_cpu_set set_of(unsigned a, unsigned b, unsigned c)
{
    struct tsl_cpu_set set = {{0}};
    tsl_cpu_set_add(&set, a);
    tsl_cpu_set_add(&set, b);
    tsl_cpu_set_add(&set, c);
    return set;
}

/* How many pages the buffer of a CPU holds. */
static unsigned held(unsigned cpu)
{
    unsigned count = 0;
    for (unsigned page = 0; page < FAKE_PAGES; page++)
        count += fake_tlb_get(cpu, page) != 0;
    return count;
}

static void requests_collect_pages(void)
{
    struct tsl_flush request = {0};
    CHECK(tsl_flush_is_empty(&request));
    for (unsigned i = 0; i < TSL_FLUSH_PAGES; i++) {
        tsl_flush_add(&request, fake_address(i));
        CHECK(!request.all && !tsl_flush_is_empty(&request));
        CHECK_EQ(request.count, i + 1);
        CHECK_EQ(request.page[i], fake_address(i));
    }
    tsl_flush_add(&request, fake_address(50));
    CHECK(request.all);
    CHECK_EQ(request.count, 0);
    tsl_flush_add(&request, fake_address(51));
    CHECK(request.all);
    CHECK_EQ(request.count, 0);
    CHECK(!tsl_flush_is_empty(&request));
}

static void requests_merge(void)
{
    struct tsl_flush a = page_request(1);
    struct tsl_flush b = page_request(2);
    tsl_flush_merge(&a, &b);
    CHECK_EQ(a.count, 2);
    CHECK_EQ(a.page[1], fake_address(2));
    CHECK(!a.global && !a.all);
    b.global = true;
    tsl_flush_merge(&a, &b);
    CHECK(a.global && !a.all);
    struct tsl_flush everything = {.all = true};
    tsl_flush_merge(&a, &everything);
    CHECK(a.all && a.global);
    CHECK_EQ(a.count, 0);
    tsl_flush_merge(&everything, &b);
    CHECK(everything.all && everything.global);
    CHECK_EQ(everything.count, 0);
}

static void reaches_the_members_and_only_them(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    struct tsl_cpu_set cpus = set_of(0, 1, 3);
    struct tsl_flush request = page_request(7);
    tsl_flush_cpus(&cpus, &request);
    for (unsigned cpu = 0; cpu < FEW; cpu++) {
        CHECK_EQ(fake_tlb_get(cpu, 7) == 0, cpu != 2);
        CHECK_EQ(held(cpu), cpu == 2 ? FAKE_PAGES : FAKE_PAGES - 1);
        CHECK_EQ(tsl_flush_done(cpu), tsl_flush_posted(cpu));
    }
    CHECK_EQ(host_port_pin_depth(), 0);
    stop();
}

static void a_request_is_run_once(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    struct tsl_cpu_set cpus = set_of(1, 2, 3);
    struct tsl_flush request = page_request(7);
    tsl_flush_cpus(&cpus, &request);
    fake_tlb_set(1, 7, 2);
    request = page_request(8);
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(fake_tlb_get(1, 8), 0);
    CHECK_EQ(fake_tlb_get(1, 7), 2);
    stop();
}

static void the_caller_need_not_be_a_member(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    struct tsl_cpu_set cpus = set_of(1, 2, 3);
    struct tsl_flush request = page_request(7);
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(fake_tlb_get(0, 7), 1);
    CHECK_EQ(fake_tlb_get(1, 7), 0);
    stop();
}

static void all_spares_global_pages_unless_asked(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    struct tsl_cpu_set cpus = set_of(0, 1, 1);
    struct tsl_flush request = {.all = true};
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(held(0), FAKE_PAGES - FAKE_FIRST_GLOBAL);
    CHECK_EQ(held(1), FAKE_PAGES - FAKE_FIRST_GLOBAL);
    request.global = true;
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(held(0), 0);
    CHECK_EQ(held(1), 0);
    CHECK_EQ(held(2), FAKE_PAGES);
    stop();
}

static void alone_needs_no_kick(void)
{
    start();
    struct tsl_cpu_set cpus = {{0}};
    tsl_cpu_set_add(&cpus, 0);
    unsigned kicks = host_port_kicks_sent();
    struct tsl_flush request = page_request(3);
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(fake_tlb_get(0, 3), 0);
    CHECK_EQ(held(0), FAKE_PAGES - 1);
    CHECK_EQ(host_port_kicks_sent(), kicks);
    stop();
}

static void an_empty_request_does_nothing(void)
{
    start();
    struct tsl_flush_counters before;
    struct tsl_flush_counters after;
    tsl_flush_counters(&before);
    struct tsl_flush request = {0};
    unsigned flushes = fake_flushes(0);
    tsl_flush_cpus(tsl_cpus_online(), &request);
    tsl_flush_counters(&after);
    CHECK_EQ(after.flushes, before.flushes);
    CHECK_EQ(fake_flushes(0), flushes);
    stop();
}

static void who_left_is_not_waited_for_and_joins_empty(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    host_port_set_cpu(2);
    tsl_cpu_leave();
    CHECK(!tsl_cpu_set_has(tsl_cpus_online(), 2));
    host_port_set_cpu(0);
    uint32_t posted = tsl_flush_posted(2);
    struct tsl_cpu_set cpus = set_of(0, 1, 2);
    struct tsl_flush request = page_request(9);
    tsl_flush_cpus(&cpus, &request);
    CHECK_EQ(tsl_flush_posted(2), posted);
    CHECK_EQ(fake_tlb_get(1, 9), 0);
    CHECK_EQ(fake_tlb_get(2, 9), 1);
    host_port_set_cpu(2);
    tsl_cpu_join();
    CHECK(tsl_cpu_set_has(tsl_cpus_online(), 2));
    CHECK_EQ(held(2), 0);
    stop();
}

static void counts_what_it_does(void)
{
    if (TSL_CPUS < 4)
        SKIP("too few CPUs configured");
    start();
    struct tsl_flush_counters before;
    struct tsl_flush_counters after;
    tsl_flush_counters(&before);
    struct tsl_cpu_set cpus = set_of(0, 1, 3);
    struct tsl_flush request = page_request(1);
    tsl_flush_add(&request, fake_address(2));
    tsl_flush_cpus(&cpus, &request);
    request = (struct tsl_flush){.all = true};
    tsl_flush_cpus(&cpus, &request);
    tsl_flush_counters(&after);
    CHECK_EQ(after.flushes - before.flushes, 2);
    CHECK_EQ(after.pages - before.pages, 2);
    CHECK_EQ(after.alls - before.alls, 1);
    CHECK_EQ(after.kicks - before.kicks, 4);
    CHECK_EQ(after.received - before.received, 4);
    stop();
}

static void all_means_all_whatever_the_count_says(void)
{
    struct tsl_flush request;
    struct tsl_flush_counters before, after;
    __builtin_memset(&request, 0xa5, sizeof(request));
    request.all = request.global = true;
    start();
    tsl_flush_counters(&before);
    tsl_flush_cpus(tsl_cpus_online(), &request);
    tsl_flush_counters(&after);
    for (unsigned cpu = 0; cpu < FEW; cpu++)
        CHECK_EQ(held(cpu), 0);
    CHECK_EQ(after.alls - before.alls, 1);
    CHECK_EQ(after.pages, before.pages);
    stop();
}

static void receiving_with_an_empty_box_flushes_nothing(void)
{
    start();
    unsigned flushes = fake_flushes(0);
    tsl_flush_receive();
    CHECK_EQ(fake_flushes(0), flushes);
    CHECK_EQ(host_port_pin_depth(), 0);
    stop();
}

TAP_SUITE(flush, TAP_TEST(requests_collect_pages), TAP_TEST(requests_merge),
          TAP_TEST(reaches_the_members_and_only_them), TAP_TEST(a_request_is_run_once),
          TAP_TEST(the_caller_need_not_be_a_member), TAP_TEST(all_spares_global_pages_unless_asked),
          TAP_TEST(alone_needs_no_kick), TAP_TEST(an_empty_request_does_nothing),
          TAP_TEST(who_left_is_not_waited_for_and_joins_empty), TAP_TEST(counts_what_it_does),
          TAP_TEST(all_means_all_whatever_the_count_says),
          TAP_TEST(receiving_with_an_empty_box_flushes_nothing));
