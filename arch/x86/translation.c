/* SPDX-License-Identifier: MIT
 *
 * translation.c: the root of the tables and the translations that the CPU remembers.
 *
 * Owns:    tsl_arch_root(), switch_root, switch_tagged, tag, flush_page, flush_all, flush, relax,
 *          reach.
 * Needs:   x86/instructions.h, base.
 * Callers: through <tesela/arch.h>.
 * Source:  Intel SDM volume 3, 4.10 (caching translation information).
 */
#include <tesela/arch.h>
#include <tesela/flush.h>
#include "x86_internal.h"

/* Bits of CR3 that are no address: cache attributes, and the space's number when PCID is on. PAE
 * roots are 32-byte aligned only. */
#define ROOT_FLAGS ((uintptr_t)(sizeof(void *) == 8 ? 0xFFF : 0x1F))

tsl_paddr tsl_arch_root(void)
{
    return x86_read_cr3() & ~ROOT_FLAGS;
}

void tsl_arch_switch_root(tsl_paddr root)
{
    x86_write_cr3((uintptr_t)root);
}

#define KEEP (UINT64_C(1) << 63)

void tsl_arch_switch_tagged(tsl_paddr root, unsigned tag, bool keep)
{
    x86_write_cr3((uintptr_t)(root | tag | (keep ? KEEP : 0)));
}

unsigned tsl_arch_tag(void)
{
    return (unsigned)(x86_read_cr3() & ROOT_FLAGS);
}

void tsl_arch_flush_page(tsl_vaddr address)
{
    x86_invlpg(address);
}

void tsl_arch_flush_all(bool global_too)
{
    if (global_too && tsl_x86_has_global_pages) {
        uintptr_t cr4 = x86_read_cr4();

        x86_write_cr4(cr4 & ~(uintptr_t)X86_CR4_PGE);
        x86_write_cr4(cr4);
        return;
    }
    x86_write_cr3(x86_read_cr3());
}

void tsl_arch_flush(const struct tsl_flush *request)
{
    if (request->all) {
        tsl_arch_flush_all(request->global);
        return;
    }
    for (unsigned i = 0; i < request->count; i++)
        tsl_arch_flush_page(request->page[i]);
}

void tsl_arch_relax(void)
{
    x86_pause();
}

void *tsl_arch_reach(tsl_vaddr address)
{
    return (void *)address;
}
