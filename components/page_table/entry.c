/* SPDX-License-Identifier: MIT
 *
 * entry.c: reads and writes of page-table entries, 4 or 8 bytes wide: one, or a run in one table.
 *
 * Owns:    how entries change under CPUs that walk and mark them at the same time.
 * Needs:   atomic.h for words, arch.h for 8-byte entries on a 32-bit CPU.
 * Callers: page_table.
 */
#include "page_table_internal.h"

#include <tesela/bits.h>

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

/* ---- Runs of entries: each loop is compiled once for each width. ---- */

enum width { NARROW, WORD, HALVES };

static inline enum width wide(void)
{
    return sizeof(tsl_word) == 8 ? WORD : HALVES;
}

/* Is there something in entry `index`? */
TSL_ALWAYS_INLINE static inline bool is_used(enum width width, const void *memory, unsigned index)
{
    if (width == WORD)
        return tsl_atomic_load((const tsl_word *)memory + index) != 0;
    return tsl_atomic_load_u32((const uint32_t *)memory + (width == HALVES ? 2u * index : index)) !=
           0;
}

TSL_ALWAYS_INLINE static inline unsigned count_alike(enum width width, const void *memory,
                                                     unsigned first, unsigned count, bool used)
{
    for (unsigned i = 0; i < count; i++)
        if (is_used(width, memory, first + i) != used)
            return i;
    return count;
}

unsigned tsl_entries_absent(const struct tsl_table_format *format, const void *memory,
                            unsigned first, unsigned count)
{
    return tsl_entries_are_narrow(format) ? count_alike(NARROW, memory, first, count, false)
                                          : count_alike(wide(), memory, first, count, false);
}

unsigned tsl_entries_present(const struct tsl_table_format *format, const void *memory,
                             unsigned first, unsigned count)
{
    return tsl_entries_are_narrow(format) ? count_alike(NARROW, memory, first, count, true)
                                          : count_alike(wide(), memory, first, count, true);
}

TSL_ALWAYS_INLINE static inline void put(enum width width, void *memory, unsigned index,
                                         uint64_t raw)
{
    uint32_t *half = (uint32_t *)memory + (width == HALVES ? 2u * index : index);
    if (width == WORD) {
        tsl_atomic_store_release((tsl_word *)memory + index, (tsl_word)raw);
    } else {
        if (width == HALVES)
            tsl_atomic_store_release_u32(&half[1], (uint32_t)(raw >> 32)); /* see publish_halves */
        tsl_atomic_store_release_u32(&half[0], (uint32_t)raw);
    }
}

TSL_ALWAYS_INLINE static inline void put_run(enum width width, void *memory, unsigned first,
                                             unsigned count, uint64_t raw, uint64_t step)
{
    for (unsigned i = 0; i < count; i++, raw += step)
        put(width, memory, first + i, raw);
}

void tsl_entries_publish(const struct tsl_table_format *format, void *memory, unsigned first,
                         unsigned count, uint64_t raw, uint64_t step)
{
    if (tsl_entries_are_narrow(format))
        put_run(NARROW, memory, first, count, raw, step);
    else
        put_run(wide(), memory, first, count, raw, step);
}

TSL_ALWAYS_INLINE static inline tsl_word put_word(enum width width, void *memory, unsigned first,
                                                  unsigned count, uint64_t raw, tsl_word frames)
{
    for (unsigned i = 0; i < count; i++, frames &= frames - 1)
        put(width, memory, first + i, raw + ((uint64_t)tsl_bits_lowest(frames) << TSL_PAGE_SHIFT));
    return frames;
}

tsl_word tsl_entries_publish_word(const struct tsl_table_format *format, void *memory,
                                  unsigned first, unsigned count, uint64_t raw, tsl_word frames)
{
    return tsl_entries_are_narrow(format) ? put_word(NARROW, memory, first, count, raw, frames)
                                          : put_word(wide(), memory, first, count, raw, frames);
}

TSL_ALWAYS_INLINE static inline uint64_t look(enum width width, const void *memory, unsigned index)
{
    if (width == WORD)
        return tsl_atomic_load((const tsl_word *)memory + index);
    const uint32_t *half = (const uint32_t *)memory + (width == HALVES ? 2u * index : index);
    uint64_t high = width == HALVES ? tsl_atomic_load_u32(&half[1]) : 0;
    return high << 32 | tsl_atomic_load_u32(&half[0]);
}

/* Nobody else writes but the CPU, which marks history in present entries only: what it marks
 * between our load and our store is of no interest, and it never makes an entry present. So this
 * needs no locked instruction. Absent first, as in tsl_entry_take_halves. */
TSL_ALWAYS_INLINE static inline void clear(enum width width, void *memory, unsigned index)
{
    uint32_t *half = (uint32_t *)memory + (width == HALVES ? 2u * index : index);
    if (width == WORD) {
        tsl_atomic_store_release((tsl_word *)memory + index, 0);
    } else {
        tsl_atomic_store_release_u32(&half[0], 0);
        if (width == HALVES)
            tsl_atomic_store_release_u32(&half[1], 0);
    }
}

TSL_ALWAYS_INLINE static inline unsigned take_run(enum width width, void *memory, unsigned first,
                                                  unsigned count, uint64_t history, uint64_t *out)
{
    uint64_t raw = look(width, memory, first) & ~history;
    unsigned taken = 0;
    *out = raw;
    do {
        clear(width, memory, first + taken);
        taken++;
        raw += TSL_PAGE_BYTES;
    } while (taken < count && (look(width, memory, first + taken) & ~history) == raw);
    return taken;
}

unsigned tsl_entries_take(const struct tsl_table_format *format, void *memory, unsigned first,
                          unsigned count, uint64_t *raw)
{
    return tsl_entries_are_narrow(format)
               ? take_run(NARROW, memory, first, count, format->history, raw)
               : take_run(wide(), memory, first, count, format->history, raw);
}
