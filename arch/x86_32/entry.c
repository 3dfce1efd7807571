/* SPDX-License-Identifier: MIT
 *
 * entry.c: 8-byte page-table entries on x86-32, where only CMPXCHG8B reads or writes eight bytes in
 * one piece.
 *
 * Owns:    tsl_arch_entry_load64(), _exchange64, _compare_exchange64.
 * Needs:   a CPU with PAE, which always has CMPXCHG8B (Intel SDM volume 2); tables of 4-byte
 *          entries never come here.
 * Callers: through <tesela/arch.h>.
 */
#include <tesela/arch.h>

bool tsl_arch_entry_compare_exchange64(uint64_t *entry, uint64_t *expected, uint64_t desired)
{
    bool done;

    __asm__ volatile("lock cmpxchg8b %1\n\tsete %0"
                     : "=q"(done), "+m"(*entry), "+A"(*expected)
                     : "b"((uint32_t)desired), "c"((uint32_t)(desired >> 32))
                     : "memory", "cc");
    return done;
}

uint64_t tsl_arch_entry_load64(const uint64_t *entry)
{
    uint64_t value = 0;

    /* Writes back what is there, or leaves it alone: whatever happens, `value` is then what was
     * there. The cast is sound since table memory is never read-only. */
    (void)tsl_arch_entry_compare_exchange64((uint64_t *)(uintptr_t)entry, &value, 0);
    return value;
}

uint64_t tsl_arch_entry_exchange64(uint64_t *entry, uint64_t value)
{
    uint64_t seen =
        *(volatile uint64_t *)entry; /* may be torn: the comparison then fails and corrects it */

    while (!tsl_arch_entry_compare_exchange64(entry, &seen, value)) {
    }
    return seen;
}
