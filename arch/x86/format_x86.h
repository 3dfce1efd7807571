/* SPDX-License-Identifier: MIT
 *
 * format_x86.h: what the entries of all four x86 table formats have in common.
 *
 * Owns:    the names of the entry bits, and the encoding that 4- and 8-byte entries share.
 * Needs:   table_format.h and the CPU's features.
 * Callers: arch/x86_32/format_*.c, arch/x86_64/format_*.c.
 *
 * Source: Intel SDM volume 3, chapter 4 "Paging", tables 4-4 to 4-20.
 */
#ifndef TESELA_ARCH_X86_FORMAT_X86_H
#define TESELA_ARCH_X86_FORMAT_X86_H

#include <tesela/table_format.h>

#define X86_PRESENT       UINT64_C(0x001)
#define X86_WRITABLE      UINT64_C(0x002)
#define X86_USER          UINT64_C(0x004)
#define X86_WRITE_THROUGH UINT64_C(0x008)
#define X86_CACHE_DISABLE UINT64_C(0x010)
#define X86_ACCESSED      UINT64_C(0x020)
#define X86_DIRTY         UINT64_C(0x040)
#define X86_LARGE         UINT64_C(0x080) /* above level 0: this entry maps a page */
#define X86_PAT_SMALL     UINT64_C(0x080) /* at level 0 the same bit chooses the cache type */
#define X86_GLOBAL        UINT64_C(0x100)
#define X86_PAT_LARGE     UINT64_C(0x1000)
#define X86_NO_EXECUTE    (UINT64_C(1) << 63)

/* Bits 9 and 10 are ours: the CPU ignores them. */
#define X86_SOFT_NO_EXECUTE UINT64_C(0x200) /* not executable by wish, on a CPU that cannot */
#define X86_SOFT_ALLOW_WX   UINT64_C(0x400) /* writable and executable by permission */

#define X86_ADDRESS_8 UINT64_C(0x000ffffffffff000) /* bits 12..51 of an 8-byte entry */
#define X86_ADDRESS_4 UINT64_C(0xfffff000)         /* bits 12..31 of a 4-byte entry */

/*
 * Bits of a leaf at `level`, its address aside. `has_nx`: the entry has room for the bit.
 */
uint64_t tsl_x86_leaf_bits(unsigned level, unsigned attributes, bool has_nx,
                           const struct tsl_cpu_features *features);

/*
 * Decode everything of a present leaf but its target and `reserved`.
 */
void tsl_x86_decode_leaf(unsigned level, uint64_t raw, bool has_nx,
                         const struct tsl_cpu_features *features, struct tsl_table_entry *out);

/*
 * The functions that the three formats with 8-byte entries share; PAE's root differs.
 */
uint64_t tsl_x86_encode_table(unsigned level, tsl_paddr table, bool user);
uint64_t tsl_x86_encode_leaf8(unsigned level, tsl_paddr target, unsigned attributes,
                              const struct tsl_cpu_features *features);
void tsl_x86_decode8(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                     unsigned highest_leaf, struct tsl_table_entry *out);
uint64_t tsl_x86_with_history(uint64_t raw, bool accessed, bool dirty);

#endif
