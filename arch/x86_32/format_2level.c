/* SPDX-License-Identifier: MIT
 *
 * format_2level.c: 32-bit paging: two levels, 4-byte entries, 4 KiB and (with PSE) 4 MiB pages.
 *
 * Owns:    tsl_table_format_2level.
 * Needs:   format_x86.h.
 * Callers: page_table, through tsl_arch_formats.
 *
 * Source: Intel SDM volume 3, 4.3 "32-Bit Paging". PSE-36 is not used: addresses have 32 bits.
 */
#include "../x86/format_x86.h"

#include <tesela/arch.h>

static bool leaf_at(unsigned level, const struct tsl_cpu_features *features)
{
    return level == 0 || (level == 1 && features->pse && !features->one_size);
}

static uint64_t encode_leaf(unsigned level, tsl_paddr target, unsigned attributes,
                            const struct tsl_cpu_features *features)
{
    return target | tsl_x86_leaf_bits(level, attributes, false, features);
}

static void decode(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                   struct tsl_table_entry *out)
{
    *out = (struct tsl_table_entry){.present = (raw & X86_PRESENT) != 0};
    if (!out->present)
        return;
    out->user = (raw & X86_USER) != 0;
    out->target = raw & X86_ADDRESS_4;
    /* Without PSE the CPU ignores the large bit: such an entry points to a table. */
    bool large = level == 1 && (raw & X86_LARGE) && features->pse;
    if (level == 1 && !large)
        return;
    if (large) {
        /* Bits 13..20 would be address bits 32..39 under PSE-36, bit 21 is always reserved. */
        out->reserved = (raw & UINT64_C(0x003fe000)) != 0;
        out->target = raw & UINT64_C(0xffc00000);
    }
    tsl_x86_decode_leaf(level, raw, false, features, out);
}

const struct tsl_table_format tsl_table_format_2level = {
    .name = "2level",
    .levels = 2,
    .entry_bytes = 4,
    .shift = {12, 22},
    .index_bits = {10, 10},
    .va_bits = 32,
    .sign_extended = false,
    .has_nx = false,
    .fixed_top = false,
    .history = X86_ACCESSED | X86_DIRTY,
    .writable = X86_WRITABLE,
    .target = X86_ADDRESS_4,
    .physical_bits = 32,
    .user_first = 0x00100000,
    .user_last = 0xbffeffff,
    .leaf_at = leaf_at,
    .encode_table = tsl_x86_encode_table,
    .encode_leaf = encode_leaf,
    .decode = decode,
    .with_history = tsl_x86_with_history,
};
