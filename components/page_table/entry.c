/* SPDX-License-Identifier: MIT
 *
 * entry.c: reads and writes of single page-table entries, 4 or 8 bytes wide.
 *
 * Owns:    how entries change under CPUs that walk and mark them at the same time.
 * Needs:   atomic.h for words, arch.h for 8-byte entries on a 32-bit CPU.
 * Callers: page_table.
 */
#include "page_table_internal.h"

#include <tesela/atomic.h>

static uint32_t *entry4(const void *memory, unsigned index)
{
    return (uint32_t *)(uintptr_t)memory + index;
}

static uint64_t *entry8(const void *memory, unsigned index)
{
    return (uint64_t *)(uintptr_t)memory + index;
}

uint64_t tsl_entry_load(const struct tsl_table_format *format, const void *memory, unsigned index)
{
    if (format->entry_bytes == 4)
        return tsl_atomic_load_u32(entry4(memory, index));
    return tsl_arch_entry_load64(entry8(memory, index));
}

void tsl_entry_publish_halves(uint32_t *low, uint32_t *high, uint64_t value)
{
    /* A walk between the two stores must not find the present bit, so it comes last. */
    tsl_atomic_store_release_u32(high, (uint32_t)(value >> 32));
    tsl_atomic_store_release_u32(low, (uint32_t)value);
}

/* For a 32-bit CPU, which has no plain store of 8 bytes. */
static void publish_narrow(uint32_t *half, uint64_t value)
{
    tsl_entry_publish_halves(&half[0], &half[1], value);
}

void tsl_entry_publish(const struct tsl_table_format *format, void *memory, unsigned index,
                       uint64_t value)
{
    if (format->entry_bytes == 4)
        tsl_atomic_store_release_u32(entry4(memory, index), (uint32_t)value);
    else if (sizeof(tsl_word) == 8)
        tsl_atomic_store_release((tsl_word *)(void *)entry8(memory, index), (tsl_word)value);
    else
        publish_narrow((uint32_t *)(void *)entry8(memory, index), value);
}

uint64_t tsl_entry_take(const struct tsl_table_format *format, void *memory, unsigned index)
{
    if (format->entry_bytes == 4)
        return tsl_atomic_exchange_u32(entry4(memory, index), 0);
    return tsl_arch_entry_exchange64(entry8(memory, index), 0);
}

bool tsl_entry_change(const struct tsl_table_format *format, void *memory, unsigned index,
                      uint64_t *expected, uint64_t desired)
{
    if (format->entry_bytes == 8)
        return tsl_arch_entry_compare_exchange64(entry8(memory, index), expected, desired);
    uint32_t seen = (uint32_t)*expected;
    bool done = tsl_atomic_compare_exchange_u32(entry4(memory, index), &seen, (uint32_t)desired);
    *expected = seen;
    return done;
}
