/* SPDX-License-Identifier: MIT
 *
 * features.c: what the CPU offers, by CPUID, and switching it on.
 *
 * Owns:    tsl_arch_features(), tsl_arch_runs(), tsl_arch_enable().
 * Needs:   x86/instructions.h. Never asks for a leaf, an MSR or CR4 that the CPU may not have: a
 *          486 has none of them.
 * Callers: through <tesela/arch.h>.
 * Source:  Intel SDM volume 2 (CPUID), volume 3, 2.5 (control registers), 4.1 (paging modes),
 *          4.10.1 (PCIDs), 12.12 (PAT); Linux, "x86/mm: Avoid incomplete Global INVLPG flushes";
 *          AMD, "Revision Guide for Family 10h Processors", erratum 383.
 */
#include <tesela/arch.h>
#include <tesela/table_format.h>
#include "x86_internal.h"

bool tsl_x86_has_global_pages;

/* The alignment-check flag came with the 486, as CR0.WP did. */
static bool is_486_or_later(void)
{
    uintptr_t flags = x86_read_flags();
    uintptr_t changed;

    x86_write_flags(flags ^ X86_FLAG_ALIGNMENT);
    changed = x86_read_flags() ^ flags;
    x86_write_flags(flags);
    return (changed & X86_FLAG_ALIGNMENT) != 0;
}

/* Alder Lake, Raptor Lake and their small relatives: with PCIDs on, INVLPG may leave global
 * translations alone. Microcode mends it, but some machines never load it. */
static bool invlpg_spares_globals(uint32_t signature)
{
    static const uint8_t models[] = {0x97, 0x9A, 0xB7, 0xBA, 0xBE, 0xBF};
    const uint32_t intel = 0x756E6547; /* "Genu" */
    unsigned family = signature >> 8 & 0xF;
    unsigned model = (signature >> 4 & 0xF) | (signature >> 12 & 0xF0);

    if (family != 6 || x86_cpuid(0, 0).ebx != intel)
        return false;
    for (unsigned i = 0; i < sizeof(models); i++)
        if (models[i] == model)
            return true;
    return false;
}

/* AMD's family 10h, erratum 383: two translations of one address, of different sizes, are a machine
 * check. The kernel's own pages cannot be absent while their size changes. */
static bool stops_on_two_sizes(uint32_t signature)
{
    const uint32_t amd = 0x68747541; /* "Auth" */

    return (signature >> 8 & 0xF) == 0xF && (signature >> 20 & 0xFF) == 1 &&
           x86_cpuid(0, 0).ebx == amd;
}

static void read_basic(struct tsl_cpu_features *out)
{
    struct x86_cpuid leaf = x86_cpuid(1, 0);

    out->pse = leaf.edx >> 3 & 1;
    out->pae = leaf.edx >> 6 & 1;
    out->pge = leaf.edx >> 13 & 1;
    out->pat = leaf.edx >> 16 & 1;
    out->one_size = stops_on_two_sizes(leaf.eax);
    out->pcid =
        sizeof(void *) == 8 && out->pge && (leaf.ecx >> 17 & 1) && !invlpg_spares_globals(leaf.eax);
    /* Before the extended leaves said it: 36 bits with PAE or with PSE-36. */
    if (out->pae || (leaf.edx >> 17 & 1))
        out->physical_bits = 36;
}

static void read_structured(struct tsl_cpu_features *out)
{
    struct x86_cpuid leaf = x86_cpuid(7, 0);

    out->smep = leaf.ebx >> 7 & 1;
    out->smap = leaf.ebx >> 20 & 1;
    out->umip = leaf.ecx >> 2 & 1;
    out->la57 = sizeof(void *) == 8 && (leaf.ecx >> 16 & 1);
}

static void read_extended(struct tsl_cpu_features *out)
{
    uint32_t last = x86_cpuid(0x80000000u, 0).eax;
    struct x86_cpuid leaf;

    if (last < 0x80000001u || last > 0x8000FFFFu)
        return;
    leaf = x86_cpuid(0x80000001u, 0);
    out->nx = leaf.edx >> 20 & 1;
    out->pages_1g = sizeof(void *) == 8 && (leaf.edx >> 26 & 1);
    if (last >= 0x80000008u) {
        leaf = x86_cpuid(0x80000008u, 0);
        if ((leaf.eax & 0xFF) >= 32 && (leaf.eax & 0xFF) <= 52)
            out->physical_bits = leaf.eax & 0xFF;
    }
}

void tsl_arch_features(struct tsl_cpu_features *out)
{
    *out = (struct tsl_cpu_features){.physical_bits = 32, .virtual_bits = 32};
    out->wp = sizeof(void *) == 8 || is_486_or_later();
    if (x86_has_cpuid()) {
        uint32_t last = x86_cpuid(0, 0).eax;

        if (last >= 1)
            read_basic(out);
        if (last >= 7)
            read_structured(out);
        read_extended(out);
    }
    if (sizeof(void *) == 8)
        out->virtual_bits = out->la57 ? 57 : 48;
    /* NX is a bit of 8-byte entries. */
    out->nx = out->nx && out->pae;
}

bool tsl_arch_runs(const struct tsl_table_format *format, const struct tsl_cpu_features *features)
{
    uintptr_t cr4 = features->pae ? x86_read_cr4() : 0;

    if (sizeof(void *) == 8)
        return format->va_bits == ((cr4 & X86_CR4_LA57) ? 57 : 48);
    return format->va_bits == 32 && format->entry_bytes == ((cr4 & X86_CR4_PAE) ? 8 : 4);
}

void tsl_arch_enable(const struct tsl_cpu_features *features)
{
    uintptr_t set = 0;

    if (features->wp)
        x86_write_cr0(x86_read_cr0() | X86_CR0_WP);
    if (features->nx)
        x86_write_msr(X86_MSR_EFER, x86_read_msr(X86_MSR_EFER) | X86_EFER_NXE);
    if (features->pat)
        x86_write_msr(X86_MSR_PAT, TSL_X86_PAT);
    set |= features->pse ? X86_CR4_PSE : 0;
    set |= features->pge ? X86_CR4_PGE : 0;
    set |= features->smep ? X86_CR4_SMEP : 0;
    set |= features->smap ? X86_CR4_SMAP : 0;
    set |= features->umip ? X86_CR4_UMIP : 0;
    if (features->pcid && !(x86_read_cr4() & X86_CR4_PCIDE)) {
        x86_write_cr3(x86_read_cr3() & ~(uintptr_t)0xFFF); /* else a general protection fault */
        set |= X86_CR4_PCIDE;
    }
    if (set != 0)
        x86_write_cr4(x86_read_cr4() | set);
    tsl_x86_has_global_pages = features->pge;
}
