/* SPDX-License-Identifier: MIT
 *
 * format_4level.c: 4-level paging: 48-bit addresses, 4 KiB, 2 MiB and (where the CPU has them) 1
 * GiB pages, no-execute.
 *
 * Owns:    tsl_table_format_4level.
 * Needs:   format_x86.h.
 * Callers: page_table, through tsl_arch_formats.
 *
 * Source: Intel SDM volume 3, 4.5 "4-Level Paging and 5-Level Paging".
 */
#include "../x86/format_x86.h"

#include <tesela/arch.h>

static bool leaf_at(unsigned level, const struct tsl_cpu_features *features)
{
    return level == 0 ||
           (!features->one_size && (level == 1 || (level == 2 && features->pages_1g)));
}

static void decode(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                   struct tsl_table_entry *out)
{
    tsl_x86_decode8(level, raw, features, features->pages_1g ? 2 : 1, out);
}

const struct tsl_table_format tsl_table_format_4level = {
    .name = "4level",
    .levels = 4,
    .entry_bytes = 8,
    .shift = {12, 21, 30, 39},
    .index_bits = {9, 9, 9, 9},
    .va_bits = 48,
    .sign_extended = true,
    .has_nx = true,
    .fixed_top = false,
    .history = X86_ACCESSED | X86_DIRTY,
    .writable = X86_WRITABLE,
    .target = X86_ADDRESS_8,
    .physical_bits = 52,
    .user_first = 0x0000000000100000,
    /* The last page under the hole stays unmapped: a SYSCALL there would return into the hole. */
    .user_last = 0x00007fffffffefff,
    .leaf_at = leaf_at,
    .encode_table = tsl_x86_encode_table,
    .encode_leaf = tsl_x86_encode_leaf8,
    .decode = decode,
    .with_history = tsl_x86_with_history,
};
