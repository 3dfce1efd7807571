/* SPDX-License-Identifier: MIT
 *
 * entry.c: 8-byte page-table entries on x86-64, where they are a machine word.
 *
 * Owns:    tsl_arch_entry_load64(), _exchange64, _compare_exchange64.
 * Needs:   the compiler.
 * Callers: through <tesela/arch.h>.
 */
#include <tesela/arch.h>

uint64_t tsl_arch_entry_load64(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_SEQ_CST);
}

uint64_t tsl_arch_entry_exchange64(uint64_t *entry, uint64_t value)
{
    return __atomic_exchange_n(entry, value, __ATOMIC_SEQ_CST);
}

bool tsl_arch_entry_compare_exchange64(uint64_t *entry, uint64_t *expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(entry, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
