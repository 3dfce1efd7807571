/* SPDX-License-Identifier: MIT
 *
 * acpi_bytes.h: reading little-endian numbers at any address, and the two parsers that use it.
 *
 * Owns:    nothing.
 * Needs:   platform/acpi.h.
 * Callers: acpi.c and acpi_tables.c, and tests of the parsers: these are pure functions over bytes.
 */
#ifndef PLATFORM_PC_ACPI_BYTES_H
#define PLATFORM_PC_ACPI_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "include/platform/acpi.h"

static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}

static inline uint64_t get64(const uint8_t *at)
{
    return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32;
}

static inline bool same_bytes(const uint8_t *at, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (at[i] != (uint8_t)text[i])
            return false;
    return true;
}

/* `bytes` bytes at `table` are the whole table, header included, and readable. */
void acpi_read_madt(const uint8_t *table, size_t bytes, struct acpi_info *out);
void acpi_read_srat(const uint8_t *table, size_t bytes, struct acpi_info *out);
void acpi_read_slit(const uint8_t *table, size_t bytes, struct acpi_info *out);

/* Gives the CPUs the nodes that SRAT named, in whichever order the two tables came. */
void acpi_join_nodes(struct acpi_info *info);

#endif
