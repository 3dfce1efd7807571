/* SPDX-License-Identifier: MIT
 *
 * smp.c: the other CPUs start, take work and answer flushes, also while they themselves flush.
 *
 * Owns:    the test kernel `smp`. cpus=N on the command line says how many CPUs the machine has.
 * Needs:   platform/pc on its boot tables (and one look inside: early_map_device, to change a
 *          mapping behind the other CPUs' backs), tap.h.
 * Callers: tests/kernel/meson.build.
 */
#include "tap.h"

#include <tesela/arch.h>
#include <tesela/table_format.h>
#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/port.h>
#include <platform/acpi.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include <platform/machine.h>
#include <x86/instructions.h>
#include "pc_internal.h"

enum { LIMIT_US = 20000000 };

/* An emulator with more CPUs than the host has spends its time between them: each answer of a
 * spinning CPU costs a time slice of the host. */
static unsigned rounds(void)
{
    unsigned cpus = platform_cpu_count();
    unsigned wanted = 256 / (cpus * cpus);

    return wanted < 2 ? 2 : wanted;
}

static unsigned machine_cpus(void)
{
    char text[8];
    unsigned number = 0;

    if (!platform_option("cpus", text, sizeof(text)))
        return 1;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        number = number * 10 + (unsigned)(*c - '0');
    return number;
}

static unsigned usable_cpus(void)
{
    return machine_cpus() < PLATFORM_CPUS ? machine_cpus() : PLATFORM_CPUS;
}

static void all_cpus_start(void)
{
    CHECK_EQ(platform_cpus_listed(), machine_cpus());
    CHECK_EQ(platform_cpu_count(), 1);
    CHECK_EQ(platform_start_cpus(), usable_cpus());
    CHECK_EQ(platform_cpu_count(), usable_cpus());
    CHECK_EQ(tsl_cpu_set_count(tsl_cpus_online()), usable_cpus());
    CHECK_EQ(platform_start_cpus(), usable_cpus());
}

/* ---- each answers for itself ---- */

struct answer {
    uint32_t runs;
    uint32_t id;
    uintptr_t stack;
    uintptr_t cr0, cr4;
    uint64_t pat, efer;
    tsl_paddr root;
    bool interrupts;
    bool faults_come_back;
};

static struct answer answers[PLATFORM_CPUS];
static struct tsl_cpu_features features;

static uintptr_t control_register_4(void)
{
    return x86_has_cpuid() ? x86_read_cr4() : 0;
}

static void answer(void *argument)
{
    struct answer *mine = (struct answer *)argument + tsl_port_cpu_id();
    struct platform_fault fault;

    (void)tsl_atomic_add_u32(&mine->runs, 1);
    mine->id = tsl_port_cpu_id();
    mine->stack = (uintptr_t)__builtin_frame_address(0);
    mine->cr0 = x86_read_cr0();
    mine->cr4 = control_register_4();
    mine->pat = features.pat ? x86_read_msr(X86_MSR_PAT) : 0;
    mine->efer = features.nx ? x86_read_msr(X86_MSR_EFER) : 0;
    mine->root = tsl_arch_root();
    mine->interrupts = (x86_read_flags() & X86_FLAG_INTERRUPTS) != 0;
    mine->faults_come_back = !platform_try_read((tsl_vaddr)DEVICES_START + 0x100000, &fault) &&
                             fault.vector == PLATFORM_VECTOR_PAGE_FAULT;
}

static void each_answers_on_its_own_stack(void)
{
    tsl_arch_features(&features);
    CHECK(platform_run_everywhere(answer, answers, LIMIT_US));
    for (unsigned i = 0; i < PLATFORM_CPUS; i++) {
        if (i >= platform_cpu_count()) {
            CHECK_EQ(answers[i].runs, 0);
            continue;
        }
        CHECK_EQ(answers[i].runs, 1);
        CHECK_EQ(answers[i].id, i);
        CHECK(answers[i].interrupts);
        CHECK(answers[i].faults_come_back);
        CHECK_EQ(answers[i].cr0, answers[0].cr0);
        CHECK_EQ(answers[i].cr4, answers[0].cr4);
        CHECK_EQ(answers[i].root, answers[0].root);
        CHECK(answers[i].stack < cpu_stack_top(i) && cpu_stack_top(i) - answers[i].stack < 4096);
    }
}

/* On each CPU, whoever started it. */
static void what_a_cpu_has_is_switched_on(void)
{
    const struct {
        bool has;
        uintptr_t bit;
    } switches[] = {{features.pse, X86_CR4_PSE},   {features.pge, X86_CR4_PGE},
                    {features.smep, X86_CR4_SMEP}, {features.smap, X86_CR4_SMAP},
                    {features.umip, X86_CR4_UMIP}, {features.pcid, X86_CR4_PCIDE}};
    for (unsigned i = 0; i < platform_cpu_count(); i++) {
        const struct answer *its = &answers[i];
        for (unsigned j = 0; j < sizeof(switches) / sizeof(switches[0]); j++)
            CHECK_EQ((its->cr4 & switches[j].bit) != 0, switches[j].has);
        CHECK_EQ((its->cr0 & X86_CR0_WP) != 0, features.wp);
        CHECK_EQ((its->efer & X86_EFER_NXE) != 0, features.nx);
        CHECK_EQ(its->pat, features.pat ? TSL_X86_PAT : 0);
    }
}

static void work_is_refused_where_it_must_be(void)
{
    CHECK(!platform_run_on(0, answer, answers));
    CHECK(!platform_run_on(platform_cpu_count(), answer, answers));
    CHECK(!platform_run_on(~0u, answer, answers));
    CHECK(!platform_wait_for(PLATFORM_CPUS, 1));
    CHECK(platform_wait_for(0, 1));
}

static uint32_t hold;

static void wait_for_release(void *argument)
{
    (void)argument;
    while (tsl_atomic_load_acquire_u32(&hold) != 0)
        x86_pause();
}

static void a_busy_cpu_takes_no_second_job(void)
{
    if (platform_cpu_count() < 2)
        SKIP("one CPU");
    tsl_atomic_store_release_u32(&hold, 1);
    CHECK(platform_run_on(1, wait_for_release, NULL));
    CHECK(!platform_run_on(1, wait_for_release, NULL));
    CHECK(!platform_wait_for(1, 1000));
    tsl_atomic_store_release_u32(&hold, 0);
    CHECK(platform_wait_for(1, LIMIT_US));
}

/* ---- flushes ---- */

static uint32_t flushes_done, watchers_stop;

static void flush_everywhere(void)
{
    const struct tsl_flush request = {.count = 1, .page = {(tsl_vaddr)DEVICES_START}};

    tsl_flush_cpus(tsl_cpus_online(), &request);
}

static void watch(void *argument)
{
    (void)argument;
    while (tsl_atomic_load_acquire_u32(&watchers_stop) == 0)
        x86_pause();
}

static void kicks_reach_busy_cpus(void)
{
    struct tsl_flush_counters before, after;
    unsigned others = platform_cpu_count() - 1;

    tsl_flush_counters(&before);
    tsl_atomic_store_release_u32(&watchers_stop, 0);
    for (unsigned i = 1; i <= others; i++)
        CHECK(platform_run_on(i, watch, NULL));
    for (unsigned i = 0; i < rounds(); i++)
        flush_everywhere();
    tsl_atomic_store_release_u32(&watchers_stop, 1);
    for (unsigned i = 1; i <= others; i++)
        CHECK(platform_wait_for(i, LIMIT_US));
    tsl_flush_counters(&after);
    CHECK_EQ(after.flushes - before.flushes, rounds());
    CHECK_EQ(after.kicks - before.kicks, rounds() * others);
}

static void flush_many(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < rounds(); i++) {
        tsl_pin pin = tsl_port_pin(); /* the hard case: nobody can interrupt this CPU */

        flush_everywhere();
        tsl_port_unpin(pin);
        flush_everywhere();
        (void)tsl_atomic_add_u32(&flushes_done, 2);
    }
}

static void all_flush_all_at_once(void)
{
    CHECK(platform_run_everywhere(flush_many, NULL, LIMIT_US));
    CHECK_EQ(flushes_done, 2 * rounds() * platform_cpu_count());
}

/* ---- a translation that must go ---- */

static uint8_t first_page[TSL_PAGE_BYTES] TSL_ALIGNED(TSL_PAGE_BYTES);
static uint8_t second_page[TSL_PAGE_BYTES] TSL_ALIGNED(TSL_PAGE_BYTES);
static uint32_t shots_seen, shot, stale_reads;

/* Follows the boss: each shot changes what is mapped, flushes, and then counts up. */
static void read_after_each_shot(void *argument)
{
    volatile uint8_t *mapped = argument;

    for (unsigned i = 1; i <= rounds(); i++) {
        while (tsl_atomic_load_acquire_u32(&shot) < i)
            (void)*mapped; /* fills the TLB again and again, with the old or the new page */
        if (*mapped != i % 2)
            (void)tsl_atomic_add_u32(&stale_reads, 1);
        (void)tsl_atomic_add_u32(&shots_seen, 1);
    }
}

static void show_page(tsl_vaddr at, const uint8_t *page)
{
    early_map_device(at, (tsl_paddr)((tsl_vaddr)page - platform_boot()->image.offset),
                     EARLY_FIRMWARE);
}

static void no_cpu_keeps_an_old_translation(void)
{
    const tsl_vaddr at = DEVICES_START + DEVICE_PAGE_FIRMWARE * TSL_PAGE_BYTES;
    const struct tsl_flush request = {.count = 1, .page = {at}};
    unsigned others = platform_cpu_count() - 1;

    first_page[0] = 0;
    second_page[0] = 1;
    show_page(at, first_page);
    for (unsigned i = 1; i <= others; i++)
        CHECK(platform_run_on(i, read_after_each_shot, (void *)at));
    for (unsigned i = 1; i <= rounds(); i++) {
        show_page(at, i % 2 == 1 ? second_page : first_page);
        tsl_flush_cpus(tsl_cpus_online(), &request);
        tsl_atomic_store_release_u32(&shot, i);
        while (tsl_atomic_load_acquire_u32(&shots_seen) < i * others)
            x86_pause();
    }
    for (unsigned i = 1; i <= others; i++)
        CHECK(platform_wait_for(i, LIMIT_US));
    early_map_device(at, 0, EARLY_NOTHING);
    tsl_flush_cpus(tsl_cpus_online(), &request);
    CHECK_EQ(stale_reads, 0);
}

static void the_clock_runs(void)
{
    uint64_t start = platform_now_us();

    platform_delay_us(2000);
    CHECK(platform_now_us() - start >= 2000);
    CHECK(platform_now_us() - start < 2000000);
}

TAP_SUITE(smp, TAP_TEST(all_cpus_start), TAP_TEST(each_answers_on_its_own_stack),
          TAP_TEST(what_a_cpu_has_is_switched_on), TAP_TEST(work_is_refused_where_it_must_be),
          TAP_TEST(a_busy_cpu_takes_no_second_job), TAP_TEST(kicks_reach_busy_cpus),
          TAP_TEST(all_flush_all_at_once), TAP_TEST(no_cpu_keeps_an_old_translation),
          TAP_TEST(the_clock_runs));

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_smp, NULL};

    (void)boot;
    x86_interrupts_on();
    return tap_run(suites, NULL, platform_console()).failed == 0;
}
