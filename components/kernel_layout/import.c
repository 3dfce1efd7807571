/* SPDX-License-Identifier: MIT
 *
 * import.c: what all importers share: walking entries, and putting them into a map.
 *
 * Owns:    the order of an import (check everything, then usable entries, then reservations), the
 *          readers of little-endian numbers, the e820 types.
 * Needs:   memory_map.c. A source only says how to step to its next entry.
 * Callers: import_<format>.c.
 */
#include "kernel_layout_internal.h"

uint32_t tsl_import_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t tsl_import_u64(const uint8_t *at)
{
    return tsl_import_u32(at) | (uint64_t)tsl_import_u32(at + 4) << 32;
}

/* ACPI 6.4, table 15-2 "Address range types"; 12 is what firmware before ACPI 6 used for 7. */
enum tsl_memory_type tsl_import_type_e820(uint32_t type)
{
    switch (type) {
    case 1:
        return TSL_MEMORY_USABLE;
    case 3:
        return TSL_MEMORY_ACPI_RECLAIM;
    case 4:
        return TSL_MEMORY_NVS;
    case 5:
        return TSL_MEMORY_BAD;
    case 7:
    case 12:
        return TSL_MEMORY_PERSISTENT;
    default:
        return TSL_MEMORY_RESERVED;
    }
}

void tsl_import_span(struct import_entry *out, uint64_t start, uint64_t end,
                     enum tsl_memory_type type)
{
    *out = (struct import_entry){.start = start, .bytes = end - start, .type = type};
    out->wraps = end < start;
}

enum import_step tsl_import_next_fixed(struct import_source *self, struct import_entry *out)
{
    size_t left = self->bytes - self->offset;
    if (left == 0)
        return IMPORT_END;
    if (left < self->stride)
        return IMPORT_BROKEN;
    *out = (struct import_entry){0};
    self->decode(self->data + self->offset, out);
    self->offset += self->stride;
    return IMPORT_ENTRY;
}

/* Walks to the end without touching the map. Refuses what is broken or has no entry at all. */
static enum tsl_status check_structure(struct tsl_memory_map *map,
                                       const struct import_source *source)
{
    struct import_source walk = *source;
    struct import_entry entry;
    enum import_step step;
    size_t entries = 0;
    while ((step = walk.next(&walk, &entry)) == IMPORT_ENTRY)
        entries++;
    if (step == IMPORT_BROKEN) {
        return tsl_refuse(&map->refusals, TSL_CORRUPT,
                          "%s memory map: broken at byte %zu of %zu, after %zu entries",
                          source->name, walk.offset, walk.bytes, entries);
    }
    if (entries == 0)
        return tsl_refuse(&map->refusals, TSL_NOT_FOUND, "%s memory map: no entries", source->name);
    return TSL_OK;
}

/* Adds either the usable entries or all others. Refusals of single entries do not end the walk:
 * tsl_map_add() has counted and logged them. */
static void add_entries(struct tsl_memory_map *map, const struct import_source *source, bool usable)
{
    struct import_source walk = *source;
    struct import_entry entry;
    while (walk.next(&walk, &entry) == IMPORT_ENTRY) {
        enum tsl_status status = TSL_OK;
        if (entry.skip || (entry.type == TSL_MEMORY_USABLE) != usable)
            continue;
        if (entry.wraps) {
            map->counters.entries++;
            status = tsl_map_refuse_wrapping(map, entry.start, entry.bytes);
        } else {
            status = tsl_map_add(map, entry.start, entry.bytes, entry.type);
        }
        (void)status;
    }
}

enum tsl_status tsl_import_run(struct tsl_memory_map *map, const struct import_source *source)
{
    if (source->data == NULL && source->pointers == NULL)
        return tsl_refuse(&map->refusals, TSL_INVALID, "%s memory map: no data", source->name);
    enum tsl_status status = check_structure(map, source);
    if (status != TSL_OK)
        return status;
    add_entries(map, source, true);
    add_entries(map, source, false);
    return TSL_OK;
}
