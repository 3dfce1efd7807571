/* SPDX-License-Identifier: MIT
 *
 * tour_smp.c: the steps of the tour in which all CPUs work at once.
 *
 * Owns:    nothing that lasts.
 * Needs:   the facade, platform/pc to run a function on every CPU.
 * Callers: tour.c.
 */
#include "monitor.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/port.h>
#include <tesela/vallocator.h>

#include <platform/cpu.h>
#include <platform/fault.h>

enum { ROUNDS = 200, HELD = 16, TIMEOUT_US = 20000000 };

static tsl_word mistakes;

static void note_mistake(void)
{
    tsl_atomic_add(&mistakes, 1);
}

/* Takes frames and heap objects, signs them, and checks that nobody else wrote into them. */
static void share(void *unused)
{
    (void)unused;
    tsl_word sign = tsl_port_cpu_id() + 1;
    tsl_word *object[HELD] = {NULL};
    uintptr_t page[HELD] = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned slot = round % HELD;
        if (object[slot] && *object[slot] != (sign << 16 | slot))
            note_mistake();
        kfree(object[slot]);
        free_physical_page(page[slot]);
        object[slot] = kmalloc(16 + round % 300);
        page[slot] = allocate_physical_page();
        if (!object[slot] || !page[slot])
            note_mistake();
        else
            *object[slot] = sign << 16 | slot;
    }
    for (unsigned slot = 0; slot < HELD; slot++) {
        kfree(object[slot]);
        free_physical_page(page[slot]);
    }
}

bool tour_use_everywhere(void)
{
    mistakes = 0;
    return platform_run_everywhere(share, NULL, TIMEOUT_US);
}

bool tour_cpus_share(void)
{
    REQUIRE(tour_use_everywhere());
    REQUIRE(mistakes == 0);
    tsl_print(console(), "    %u CPU%s, %d rounds each on frames and heap, nobody met a stranger\n",
              platform_cpu_count(), platform_cpu_count() == 1 ? "" : "s", ROUNDS);
    return true;
}

/* What the other CPUs look at: `stage` says whether the page must be there. */
enum { PAGE_MAPPED, PAGE_GONE };
static tsl_word stage, seen;
static volatile unsigned char *watched;

/* Reads the page until it is told that the page is gone; a read that still works afterwards is a
 * stale translation. */
static void watch(void *unused)
{
    (void)unused;
    if (tsl_port_cpu_id() == 0)
        return;
    if (!platform_try_read((tsl_vaddr)watched, NULL))
        note_mistake();
    tsl_atomic_add(&seen, 1);
    while (tsl_atomic_load(&stage) == PAGE_MAPPED)
        (void)platform_try_read((tsl_vaddr)watched, NULL);
    if (platform_try_read((tsl_vaddr)watched, NULL))
        note_mistake();
}

bool tour_shootdown(void)
{
    unsigned others = platform_cpu_count() - 1;
    mistakes = seen = 0;
    stage = PAGE_MAPPED;
    watched = valloc(TSL_PAGE_BYTES, VM_READ | VM_WRITE);
    REQUIRE(watched);
    *watched = 1;
    for (unsigned cpu = 1; cpu <= others; cpu++)
        REQUIRE(platform_run_on(cpu, watch, NULL));
    while (tsl_atomic_load(&seen) < others)
        tsl_arch_relax();
    vfree((void *)watched);
    tsl_ranges_purge(tsl_system()->ranges); /* else CPUs may remember the page for a while */
    tsl_atomic_store(&stage, PAGE_GONE);
    bool gone_here = !platform_try_read((tsl_vaddr)watched, NULL);
    for (unsigned cpu = 1; cpu <= others; cpu++)
        REQUIRE(platform_wait_for(cpu, TIMEOUT_US));
    REQUIRE(gone_here && mistakes == 0);
    if (others == 0)
        tsl_print(console(), "    a page that is freed is gone; there is no other CPU to ask\n");
    else
        tsl_print(console(), "    a page freed here is gone on %u other CPU%s\n", others,
                  others == 1 ? "" : "s");
    return true;
}
