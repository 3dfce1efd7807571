/* SPDX-License-Identifier: MIT
 *
 * entry.c: reads and writes of single page-table entries, 4 or 8 bytes wide.
 *
 * Owns:    how entries change under CPUs that walk and mark them at the same time.
 * Needs:   atomic.h for words, arch.h for 8-byte entries on a 32-bit CPU.
 * Callers: page_table.
 */
#include "page_table_internal.h"

uint64_t tsl_entry_load_halves(const uint32_t *half)
{
    uint32_t low = tsl_atomic_load_acquire_u32(&half[0]);
    return (uint64_t)tsl_atomic_load_u32(&half[1]) << 32 | low;
}

void tsl_entry_publish_halves(uint32_t *low, uint32_t *high, uint64_t value)
{
    /* A walk between the two stores must not find the present bit, so it comes last. */
    tsl_atomic_store_release_u32(high, (uint32_t)(value >> 32));
    tsl_atomic_store_release_u32(low, (uint32_t)value);
}

uint64_t tsl_entry_take_halves(uint32_t *low, uint32_t *high)
{
    /* The other way round: absent first. The CPU marks the low half only, and an absent entry not
     * at all, so nothing is lost between the two. */
    uint32_t was = tsl_atomic_exchange_u32(low, 0);
    uint64_t value = (uint64_t)tsl_atomic_load_u32(high) << 32 | was;
    tsl_atomic_store_release_u32(high, 0);
    return value;
}

bool tsl_entry_change(const struct tsl_table_format *format, void *memory, unsigned index,
                      uint64_t *expected, uint64_t desired)
{
    if (!tsl_entries_are_narrow(format))
        return tsl_arch_entry_compare_exchange64((uint64_t *)memory + index, expected, desired);
    uint32_t seen = (uint32_t)*expected;
    bool done =
        tsl_atomic_compare_exchange_u32((uint32_t *)memory + index, &seen, (uint32_t)desired);
    *expected = seen;
    return done;
}
