/* SPDX-License-Identifier: MIT
 *
 * acpi.c: finds the firmware's tables and copies what MADT, SRAT, SLIT and FADT say.
 *
 * Owns:    struct acpi_info; the firmware pages of the devices range, through which it looks at
 *          tables wherever they lie.
 * Needs:   the boot tables (early_map.c).
 * Callers: start.c, once. No length, count or address in a table is believed before it has been
 *          checked.
 * Source:  ACPI 6.4, 5.2.5 (RSDP), 5.2.6 (header), 5.2.9 (FADT), 5.2.12 (MADT), 5.2.16 (SRAT),
 *          5.2.17 (SLIT).
 */
#include <tesela/arch.h>
#include <tesela/checked.h>
#include <tesela/format.h>
#include <platform/acpi.h>
#include "acpi_bytes.h"
#include "pc_internal.h"

enum {
    BIOS_START = 0xE0000,
    BIOS_END = 0x100000,
    EBDA_SEGMENT = 0x40E,
    EBDA_BYTES = 1024,
    RSDP_BYTES = 20,
    RSDP_BYTES_2 = 36,
    HEADER_BYTES = 36,
    TABLE_MAX = (FIRMWARE_PAGES - 1) * 4096, /* a table need not start on a page */
    TABLES_MAX = 128,
};

static struct acpi_info info;
static tsl_paddr physical_end;
static unsigned pages_shown;

const struct acpi_info *platform_acpi(void)
{
    return &info;
}

static bool sums_to_zero(const uint8_t *bytes, size_t count)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

/* Shows [start, start + bytes) through the devices range until the next call; NULL if that is no
 * address or too long. */
static const uint8_t *show(tsl_paddr start, size_t bytes)
{
    const tsl_vaddr window = DEVICES_START + DEVICE_PAGE_FIRMWARE * TSL_PAGE_BYTES;
    size_t offset = start % TSL_PAGE_BYTES;
    unsigned pages = (unsigned)((offset + bytes + TSL_PAGE_BYTES - 1) / TSL_PAGE_BYTES);

    if (start == 0 || start >= physical_end || bytes > TABLE_MAX || physical_end - start < bytes)
        return NULL;
    for (unsigned i = 0; i < pages || i < pages_shown; i++) {
        early_map_device(window + i * TSL_PAGE_BYTES, start - offset + i * TSL_PAGE_BYTES,
                         i < pages ? EARLY_FIRMWARE : EARLY_NOTHING);
    }
    pages_shown = pages;
    return (const uint8_t *)(window + offset);
}

/* A whole table with a sound header: its length fits and its checksum is right. */
static const uint8_t *show_table(tsl_paddr start, size_t *bytes)
{
    const uint8_t *header = show(start, HEADER_BYTES);
    uint32_t length;

    if (header == NULL) {
        tsl_log(TSL_LOG_WARNING, "acpi: a table at %#llx is out of reach",
                (unsigned long long)start);
        return NULL;
    }
    length = get32(header + 4);
    if (length < HEADER_BYTES || (header = show(start, length)) == NULL) {
        tsl_log(TSL_LOG_WARNING, "acpi: the table at %#llx has a wrong length (%u)",
                (unsigned long long)start, length);
        return NULL;
    }
    if (!sums_to_zero(header, length)) {
        tsl_log(TSL_LOG_WARNING, "acpi: the table at %#llx has a wrong checksum",
                (unsigned long long)start);
        return NULL;
    }
    *bytes = length;
    return header;
}

struct root {
    tsl_paddr table;
    size_t pointer_bytes; /* 4: RSDT, 8: XSDT, 0: not found */
};

static struct root find_root(const uint8_t *bytes, size_t count)
{
    struct root none = {0, 0};

    for (size_t i = 0; i + RSDP_BYTES <= count; i += 16) {
        const uint8_t *rsdp = bytes + i;

        if (!same_bytes(rsdp, "RSD PTR ", 8) || !sums_to_zero(rsdp, RSDP_BYTES))
            continue;
        if (rsdp[15] >= 2 && i + RSDP_BYTES_2 <= count && get32(rsdp + 20) == RSDP_BYTES_2 &&
            sums_to_zero(rsdp, RSDP_BYTES_2) && get64(rsdp + 24) != 0)
            return (struct root){get64(rsdp + 24), 8};
        return (struct root){get32(rsdp + 16), 4};
    }
    return none;
}

static struct root search_root(void)
{
    const uint8_t *low = tsl_port_phys_to_virt(0);
    tsl_paddr area = (tsl_paddr)get16(low + EBDA_SEGMENT) << 4;
    struct root root = {0, 0};

    if (area >= 0x80000 && area <= 0xA0000 - EBDA_BYTES)
        root = find_root(low + area, EBDA_BYTES);
    return root.pointer_bytes != 0 ? root : find_root(low + BIOS_START, BIOS_END - BIOS_START);
}

/* Copies the root's pointers, since reading a table takes the root table out of sight. */
static unsigned list_tables(const struct root *root, tsl_paddr *tables)
{
    size_t bytes;
    const uint8_t *table = show_table(root->table, &bytes);
    unsigned count = 0;

    if (table == NULL)
        return 0;
    for (size_t i = HEADER_BYTES; i + root->pointer_bytes <= bytes && count < TABLES_MAX;
         i += root->pointer_bytes)
        tables[count++] = root->pointer_bytes == 8 ? get64(table + i) : get32(table + i);
    return count;
}

static void read_table(tsl_paddr start)
{
    size_t bytes;
    const uint8_t *table = show_table(start, &bytes);

    if (table == NULL)
        return;
    if (same_bytes(table, "APIC", 4))
        acpi_read_madt(table, bytes, &info);
    else if (same_bytes(table, "SRAT", 4))
        acpi_read_srat(table, bytes, &info);
    else if (same_bytes(table, "SLIT", 4))
        acpi_read_slit(table, bytes, &info);
    else if (same_bytes(table, "FACP", 4) && bytes >= 68 && get32(table + 64) <= UINT16_MAX)
        info.pm1a_control = (uint16_t)get32(table + 64);
}

void acpi_read(void)
{
    static tsl_paddr tables[TABLES_MAX];
    struct tsl_cpu_features features;
    struct root root = search_root();
    unsigned count;

    if (root.pointer_bytes == 0) {
        tsl_log(TSL_LOG_INFO, "acpi: no tables; one CPU, one node");
        return;
    }
    tsl_arch_features(&features);
    physical_end = (tsl_paddr)1 << features.physical_bits;
    if (platform_boot()->format_name[0] == '2')
        physical_end = (tsl_paddr)1 << 32;
    count = list_tables(&root, tables);
    for (unsigned i = 0; i < count; i++)
        read_table(tables[i]);
    acpi_join_nodes(&info);
    (void)show(TSL_PAGE_BYTES, 0);
}
