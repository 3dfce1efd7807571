/* SPDX-License-Identifier: MIT
 *
 * acpi_tables.c: what MADT, SRAT and SLIT say, as pure functions over bytes.
 *
 * Owns:    nothing but the list of CPU-to-node lines between the two tables.
 * Needs:   acpi_bytes.h.
 * Callers: acpi.c; tests.
 * Source:  ACPI 6.4, 5.2.12, 5.2.16 and 5.2.17. The first two are a header and a run of entries
 *          (type, length, body), the third a matrix of bytes.
 */
#include "acpi_bytes.h"

enum {
    MADT_LOCAL_APIC = 36,
    MADT_ENTRIES = 44,
    SRAT_ENTRIES = 48,
    SLIT_COUNT = 36,
    SLIT_MATRIX = 44,
    ENTRY_ENABLED = 1 << 0,
    SRAT_HOT_PLUGGABLE = 1 << 1,
    MADT_TYPE_APIC = 0,
    MADT_TYPE_ADDRESS = 5,
    MADT_TYPE_X2APIC = 9,
    SRAT_TYPE_APIC = 0,
    SRAT_TYPE_MEMORY = 1,
    APIC_BROADCAST = 0xFF,
};

static struct acpi_cpu places[ACPI_MAX_CPUS];
static unsigned place_count;

static void add_cpu(struct acpi_info *out, uint32_t apic_id, uint32_t flags)
{
    bool is_known = false;

    for (unsigned i = 0; i < out->cpu_count; i++)
        is_known = is_known || out->cpus[i].apic_id == apic_id;
    if (!(flags & ENTRY_ENABLED) || apic_id >= APIC_BROADCAST || is_known ||
        out->cpu_count == ACPI_MAX_CPUS) {
        out->cpus_ignored++;
        return;
    }
    out->cpus[out->cpu_count++] = (struct acpi_cpu){.apic_id = apic_id, .node = 0};
}

/* The entry at `at`, or NULL at the end or where an entry's length makes no sense: what follows is
 * then unreadable. */
static const uint8_t *entry_at(const uint8_t *table, size_t bytes, size_t at)
{
    if (bytes - at < 2 || table[at + 1] < 2 || table[at + 1] > bytes - at)
        return NULL;
    return table + at;
}

void acpi_read_madt(const uint8_t *table, size_t bytes, struct acpi_info *out)
{
    const uint8_t *entry;

    if (bytes < MADT_ENTRIES)
        return;
    out->local_apic = get32(table + MADT_LOCAL_APIC);
    for (size_t at = MADT_ENTRIES; (entry = entry_at(table, bytes, at)) != NULL; at += entry[1])
        if (entry[0] == MADT_TYPE_APIC && entry[1] >= 8)
            add_cpu(out, entry[3], get32(entry + 4));
        else if (entry[0] == MADT_TYPE_X2APIC && entry[1] >= 16)
            add_cpu(out, get32(entry + 4), get32(entry + 8));
        else if (entry[0] == MADT_TYPE_ADDRESS && entry[1] >= 12)
            out->local_apic = get64(entry + 4);
}

static void add_range(struct acpi_info *out, const uint8_t *entry)
{
    tsl_paddr start = get64(entry + 8), bytes = get64(entry + 16);
    uint32_t flags = get32(entry + 28);

    if (!(flags & ENTRY_ENABLED))
        return;
    if (bytes == 0 || start + bytes < start || out->range_count == ACPI_MAX_NODE_RANGES) {
        out->ranges_ignored++;
        return;
    }
    out->ranges[out->range_count++] =
        (struct acpi_node_range){.start = start,
                                 .end = start + bytes,
                                 .node = get32(entry + 2),
                                 .hot_pluggable = (flags & SRAT_HOT_PLUGGABLE) != 0};
}

static void add_place(const uint8_t *entry)
{
    uint32_t node =
        entry[2] | (uint32_t)entry[9] << 8 | (uint32_t)entry[10] << 16 | (uint32_t)entry[11] << 24;

    if ((get32(entry + 4) & ENTRY_ENABLED) && place_count < ACPI_MAX_CPUS)
        places[place_count++] = (struct acpi_cpu){.apic_id = entry[3], .node = node};
}

void acpi_read_srat(const uint8_t *table, size_t bytes, struct acpi_info *out)
{
    const uint8_t *entry;

    if (bytes < SRAT_ENTRIES)
        return;
    for (size_t at = SRAT_ENTRIES; (entry = entry_at(table, bytes, at)) != NULL; at += entry[1])
        if (entry[0] == SRAT_TYPE_MEMORY && entry[1] >= 40)
            add_range(out, entry);
        else if (entry[0] == SRAT_TYPE_APIC && entry[1] >= 16)
            add_place(entry);
}

/* A matrix that is not all there is not taken: half of it would order the nodes wrongly. */
void acpi_read_slit(const uint8_t *table, size_t bytes, struct acpi_info *out)
{
    uint64_t count = bytes < SLIT_MATRIX ? 0 : get64(table + SLIT_COUNT);

    if (count == 0 || count > bytes || count * count > bytes - SLIT_MATRIX)
        return;
    out->distance_count = count < ACPI_MAX_DISTANCES ? (unsigned)count : ACPI_MAX_DISTANCES;
    for (unsigned from = 0; from < out->distance_count; from++)
        for (unsigned to = 0; to < out->distance_count; to++)
            out->distances[from][to] = table[SLIT_MATRIX + from * count + to];
}

void acpi_join_nodes(struct acpi_info *info)
{
    for (unsigned i = 0; i < info->cpu_count; i++) {
        for (unsigned k = 0; k < place_count; k++)
            if (places[k].apic_id == info->cpus[i].apic_id)
                info->cpus[i].node = places[k].node;
    }
}
