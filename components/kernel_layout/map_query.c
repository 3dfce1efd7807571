/* SPDX-License-Identifier: MIT
 *
 * map_query.c: questions to a finished memory map.
 *
 * Owns:    the search for a place, the totals, the names of the types.
 * Needs:   map_ranges.c for the lookup by address.
 * Callers: anybody, through <tesela/memory_map.h>; reads only.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

const struct tsl_memory_range *tsl_map_at(const struct tsl_memory_map *map, tsl_paddr address)
{
    size_t i = tsl_map_index(map, address);
    if (i == map->count || address < map->ranges[i].start)
        return NULL;
    return &map->ranges[i];
}

/* The lowest place of `bytes` in one range below `end`, 0 if there is none. */
static tsl_paddr place_in(const struct tsl_memory_range *range, uint64_t bytes, uint64_t align,
                          tsl_paddr end)
{
    tsl_paddr start = range->start < TSL_PAGE_BYTES ? TSL_PAGE_BYTES : range->start;
    tsl_paddr stop = range->end < end ? range->end : end;
    if (!tsl_checked_align_up_paddr(start, align, &start))
        return 0;
    return start < stop && stop - start >= bytes ? start : 0;
}

enum tsl_status tsl_map_find_usable(const struct tsl_memory_map *map, uint64_t bytes,
                                    uint64_t align, tsl_paddr end, tsl_paddr *out)
{
    if (bytes == 0 || align < TSL_PAGE_BYTES || (align & (align - 1)) != 0)
        return TSL_INVALID;
    if (end == 0)
        end = map->limit;
    for (size_t i = 0; i < map->count; i++) {
        if (map->ranges[i].type != TSL_MEMORY_USABLE)
            continue;
        tsl_paddr place = place_in(&map->ranges[i], bytes, align, end);
        if (place != 0) {
            *out = place;
            return TSL_OK;
        }
    }
    return TSL_NOT_FOUND;
}

uint64_t tsl_map_bytes(const struct tsl_memory_map *map, enum tsl_memory_type type)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < map->count; i++)
        if (map->ranges[i].type == type)
            sum += map->ranges[i].end - map->ranges[i].start;
    return sum;
}

tsl_paddr tsl_map_usable_end(const struct tsl_memory_map *map)
{
    for (size_t i = map->count; i > 0; i--)
        if (map->ranges[i - 1].type == TSL_MEMORY_USABLE)
            return map->ranges[i - 1].end;
    return 0;
}

bool tsl_memory_is_ram(enum tsl_memory_type type)
{
    switch (type) {
    case TSL_MEMORY_USABLE:
    case TSL_MEMORY_BOOT_RECLAIM:
    case TSL_MEMORY_ACPI_RECLAIM:
    case TSL_MEMORY_KERNEL:
    case TSL_MEMORY_MODULE:
        return true;
    default:
        return false;
    }
}

const char *tsl_memory_type_name(enum tsl_memory_type type)
{
    static const char *const names[TSL_MEMORY_TYPE_COUNT] = {
        [TSL_MEMORY_USABLE] = "usable",
        [TSL_MEMORY_BOOT_RECLAIM] = "boot loader",
        [TSL_MEMORY_ACPI_RECLAIM] = "acpi",
        [TSL_MEMORY_KERNEL] = "kernel",
        [TSL_MEMORY_MODULE] = "module",
        [TSL_MEMORY_PERSISTENT] = "persistent",
        [TSL_MEMORY_FRAMEBUFFER] = "framebuffer",
        [TSL_MEMORY_RUNTIME] = "firmware",
        [TSL_MEMORY_NVS] = "nvs",
        [TSL_MEMORY_RESERVED] = "reserved",
        [TSL_MEMORY_DEVICE] = "device",
        [TSL_MEMORY_BAD] = "bad",
    };
    return (unsigned)type < TSL_MEMORY_TYPE_COUNT ? names[type] : "?";
}
