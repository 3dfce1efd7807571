/* SPDX-License-Identifier: MIT
 *
 * platform/acpi.h: what the firmware's tables say about CPUs and memory nodes.
 *
 * Owns:    copies of what MADT, SRAT, SLIT and FADT say; nothing here points into firmware memory.
 * Needs:   the boot tables (the tables are read once, before kernel_main()).
 * Callers: anybody; constant from kernel_main() on. Every length in firmware tables is checked,
 *          none is trusted; a table with a wrong checksum or length is ignored with a log line.
 */
#ifndef PLATFORM_ACPI_H
#define PLATFORM_ACPI_H

#include <stdbool.h>
#include <stdint.h>
#include <tesela/types.h>

enum { ACPI_MAX_CPUS = 64, ACPI_MAX_NODE_RANGES = 64, ACPI_MAX_DISTANCES = 16 };

struct acpi_cpu {
    uint32_t apic_id;
    uint32_t node; /* SRAT's proximity domain; 0 without SRAT */
};

/* RAM of one node. end is exclusive. */
struct acpi_node_range {
    tsl_paddr start;
    tsl_paddr end;
    uint32_t node;
    bool hot_pluggable; /* may be absent */
};

struct acpi_info {
    struct acpi_cpu
        cpus[ACPI_MAX_CPUS]; /* enabled ones, as listed; CPU 0 of the port may be any of them */
    unsigned cpu_count;
    unsigned cpus_ignored; /* disabled, above the limits, or with an identifier that needs x2APIC */
    struct acpi_node_range ranges[ACPI_MAX_NODE_RANGES];
    unsigned range_count;
    unsigned ranges_ignored; /* empty, wrapping or too many */
    /* From the first node to the second, 10: its own memory; of the first distance_count nodes. */
    uint8_t distances[ACPI_MAX_DISTANCES][ACPI_MAX_DISTANCES];
    unsigned distance_count; /* 0: no SLIT */
    tsl_paddr local_apic;    /* 0: no MADT */
    uint16_t pm1a_control;   /* I/O port, 0: none */
};

const struct acpi_info *platform_acpi(void);

#endif
