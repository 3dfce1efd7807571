/* SPDX-License-Identifier: MIT
 *
 * early_map.c: the few changes that C makes to the boot tables: guard pages, the image's
 * protection, device pages.
 *
 * Owns:    the last-level boot tables of boot.S. They stay valid for good: other CPUs start on
 *          them, and so does the double-fault task of x86-32.
 * Needs:   the format that boot.S chose: 4-byte entries with 2 levels, 8-byte entries otherwise.
 * Callers: platform/pc, CPU 0, before the kernel has built tables of its own.
 */
#include <tesela/arch.h>
#include "early.h"
#include "pc_internal.h"

enum {
    ENTRY_PRESENT = 1 << 0,
    ENTRY_WRITE = 1 << 1,
    ENTRY_WRITE_THROUGH = 1 << 3,
    ENTRY_UNCACHED = 1 << 4,
    TABLE_ENTRIES =
        1024, /* pages in the two tables for the image, or in the first one with 4-byte entries */
    DEVICE_TABLE_ENTRIES = 512, /* what every format has */
};
#define ENTRY_NO_EXECUTE ((uint64_t)1 << 63)

union early_table {
    uint32_t narrow[TABLE_ENTRIES];
    uint64_t wide[TABLE_ENTRIES];
};

extern union early_table early_image_tables, early_device_table;

static void write_entry(union early_table *table, size_t index, uint64_t entry, tsl_vaddr page)
{
    if (boot_format == FORMAT_2LEVEL)
        table->narrow[index] = (uint32_t)entry;
    else
        table->wide[index] = entry;
    tsl_arch_flush_page(page);
}

static void protect(const struct platform_range *range, tsl_vaddr offset, uint64_t flags)
{
    for (tsl_vaddr page = range->start; page < range->end; page += TSL_PAGE_BYTES) {
        size_t index = (page - offset) / TSL_PAGE_BYTES;

        if (index < TABLE_ENTRIES)
            write_entry(&early_image_tables, index, (tsl_paddr)(page - offset) | flags, page);
    }
}

/* Text is not writable, the rest not executable, in the first 4 MiB of the image (beyond, large
 * pages stay as they are). */
void early_protect_image(const struct platform_image *image, bool no_execute)
{
    uint64_t data = ENTRY_PRESENT | (no_execute ? ENTRY_NO_EXECUTE : 0);

    protect(&image->text, image->offset, ENTRY_PRESENT);
    protect(&image->rodata, image->offset, data);
    protect(&image->data, image->offset, data | ENTRY_WRITE);
    protect(&image->bss, image->offset, data | ENTRY_WRITE);
}

void early_guard_stacks(void)
{
    tsl_vaddr page;

    for (unsigned i = 0; platform_guard_page(i, &page); i++) {
        write_entry(&early_image_tables, (page - (tsl_vaddr)IMAGE_OFFSET) / TSL_PAGE_BYTES, 0,
                    page);
    }
}

/* Maps or unmaps one page of the devices range. `cached` is for tables that firmware left in RAM.
 * Before: `at` is one of the first 512 pages of that range. */
void early_map_device(tsl_vaddr at, tsl_paddr target, enum early_device kind)
{
    size_t index = (at - DEVICES_START) / TSL_PAGE_BYTES;
    uint64_t entry = 0;

    if (index >= DEVICE_TABLE_ENTRIES)
        tsl_port_panic("early_map_device: outside of the boot tables' device page table");
    if (kind == EARLY_REGISTERS)
        entry = target | ENTRY_PRESENT | ENTRY_WRITE | ENTRY_UNCACHED | ENTRY_WRITE_THROUGH;
    else if (kind == EARLY_FIRMWARE)
        entry = target | ENTRY_PRESENT;
    write_entry(&early_device_table, index, entry, at);
}

tsl_paddr early_root(void)
{
    return boot_root;
}
