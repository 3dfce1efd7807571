/* SPDX-License-Identifier: MIT
 *
 * fake_arch.h: a machine that is nothing but translation buffers, to see what flushes reach.
 *
 * Owns:    for each CPU one buffer of FAKE_PAGES entries, counters.
 * Needs:   base headers.
 * Callers: host-only tests of base.
 */
#ifndef FAKE_ARCH_H
#define FAKE_ARCH_H

#include <tesela/cpu.h>
#include <tesela/types.h>

/* Pages 0 .. FAKE_PAGES - 1; from FAKE_FIRST_GLOBAL on they are global. */
#define FAKE_PAGES        64u
#define FAKE_FIRST_GLOBAL 32u

static inline tsl_vaddr fake_address(unsigned page)
{
    return (tsl_vaddr)page << TSL_PAGE_SHIFT;
}

/* What the buffer of a CPU holds for a page; 0: nothing. Any thread may look. */
uint32_t fake_tlb_get(unsigned cpu, unsigned page);
void fake_tlb_set(unsigned cpu, unsigned page, uint32_t value);

/* Loads `value_of_page` into an empty entry, as a walk does, and returns what the entry then holds.
 */
uint32_t fake_tlb_walk(unsigned cpu, unsigned page, const uint32_t *value_of_page);

/* How often a CPU ran a request, and how often it dropped everything. */
unsigned fake_flushes(unsigned cpu);
unsigned fake_flush_alls(unsigned cpu);

/* Called on the CPU that runs a request, before it flushes; NULL: nothing. For tests that let
 * something happen at that moment. */
extern void (*fake_before_flush)(void);

#endif
