/* SPDX-License-Identifier: MIT
 *
 * fake_arch.c: what base asks of a machine, on translation buffers made of atomics.
 *
 * Owns:    the buffers and counters of fake_arch.h.
 * Needs:   arch.h; sched_yield of the C library.
 * Callers: base, through arch.h; tests of base.
 */
#include "fake_arch.h"

#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/port.h>

#include <sched.h>

static uint32_t tlb[TSL_CPUS][FAKE_PAGES];
static uint32_t flushes[TSL_CPUS];
static uint32_t flush_alls[TSL_CPUS];

void (*fake_before_flush)(void);

uint32_t fake_tlb_get(unsigned cpu, unsigned page)
{
    return tsl_atomic_load_acquire_u32(&tlb[cpu][page]);
}

void fake_tlb_set(unsigned cpu, unsigned page, uint32_t value)
{
    tsl_atomic_store_release_u32(&tlb[cpu][page], value);
}

uint32_t fake_tlb_walk(unsigned cpu, unsigned page, const uint32_t *value_of_page)
{
    uint32_t value = fake_tlb_get(cpu, page);
    if (value == 0) {
        value = tsl_atomic_load_acquire_u32(value_of_page);
        fake_tlb_set(cpu, page, value);
    }
    return value;
}

unsigned fake_flushes(unsigned cpu)
{
    return tsl_atomic_load_u32(&flushes[cpu]);
}

unsigned fake_flush_alls(unsigned cpu)
{
    return tsl_atomic_load_u32(&flush_alls[cpu]);
}

void tsl_arch_flush_page(tsl_vaddr address)
{
    unsigned page = (unsigned)(address >> TSL_PAGE_SHIFT);
    if (page < FAKE_PAGES)
        fake_tlb_set(tsl_port_cpu_id(), page, 0);
}

void tsl_arch_flush_all(bool global_too)
{
    unsigned cpu = tsl_port_cpu_id();
    (void)tsl_atomic_add_u32(&flush_alls[cpu], 1);
    for (unsigned page = 0; page < (global_too ? FAKE_PAGES : FAKE_FIRST_GLOBAL); page++)
        fake_tlb_set(cpu, page, 0);
}

void tsl_arch_flush(const struct tsl_flush *request)
{
    if (fake_before_flush != NULL)
        fake_before_flush();
    (void)tsl_atomic_add_u32(&flushes[tsl_port_cpu_id()], 1);
    if (request->all) {
        tsl_arch_flush_all(request->global);
        return;
    }
    for (unsigned i = 0; i < request->count; i++)
        tsl_arch_flush_page(request->page[i]);
}

void tsl_arch_relax(void)
{
    (void)sched_yield();
}
