/* SPDX-License-Identifier: MIT
 *
 * format_pae.c: PAE paging: three levels, 8-byte entries, 4 KiB and 2 MiB pages, no-execute.
 *
 * Owns:    tsl_table_format_pae.
 * Needs:   format_x86.h.
 * Callers: page_table, through tsl_arch_formats.
 *
 * The root holds four entries that the CPU loads into registers together with CR3, and most of
 * whose bits are reserved; they are made once and never change. Source: Intel SDM volume 3, 4.4.
 */
#include "../x86/format_x86.h"

#include <tesela/arch.h>

/*
 * A root entry may only carry: present, the two cache bits, the address; bits 9..11 are ignored.
 * Bit 5 is reserved too, but never ours: QEMU's TCG marks root entries as accessed, which no
 * processor does, so it is let pass when tables are read.
 */
#define ROOT_RESERVED (UINT64_C(0x1c6) | X86_NO_EXECUTE)

static bool leaf_at(unsigned level, const struct tsl_cpu_features *features)
{
    /* 2 MiB pages come with PAE itself, whatever PSE says. */
    return level == 0 || (level == 1 && !features->one_size);
}

static uint64_t encode_table(unsigned level, tsl_paddr table, bool user)
{
    if (level == 2)
        return table | X86_PRESENT;
    return tsl_x86_encode_table(level, table, user);
}

static void decode(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                   struct tsl_table_entry *out)
{
    tsl_x86_decode8(level, raw, features, 1, out);
    if (level == 2 && out->present) {
        out->user = true; /* it has no such bit: it allows what lies below */
        out->reserved = out->reserved || (raw & ROOT_RESERVED) != 0;
    }
}

const struct tsl_table_format tsl_table_format_pae = {
    .name = "pae",
    .levels = 3,
    .entry_bytes = 8,
    .shift = {12, 21, 30},
    .index_bits = {9, 9, 2},
    .va_bits = 32,
    .sign_extended = false,
    .has_nx = true,
    .fixed_top = true,
    .history = X86_ACCESSED | X86_DIRTY,
    .writable = X86_WRITABLE,
    .target = X86_ADDRESS_8,
    .physical_bits = 52,
    .user_first = 0x00100000,
    .user_last = 0xbffeffff,
    .leaf_at = leaf_at,
    .encode_table = encode_table,
    .encode_leaf = tsl_x86_encode_leaf8,
    .decode = decode,
    .with_history = tsl_x86_with_history,
};
