/* SPDX-License-Identifier: MIT
 *
 * memory_map.c: entries come in here: checked, cut, rounded, then laid into the ranges.
 *
 * Owns:    what is refused and what is counted; the limit; reclaiming.
 * Needs:   map_ranges.c for the array of ranges.
 * Callers: importers and boot code through <tesela/memory_map.h>.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

enum tsl_status tsl_map_init(struct tsl_memory_map *map, struct tsl_memory_range *storage,
                             size_t capacity)
{
    if (storage == NULL || capacity < TSL_MAP_MIN_CAPACITY) {
        return tsl_refuse(NULL, TSL_INVALID, "memory map: storage for %zu ranges, %u are needed",
                          storage == NULL ? (size_t)0 : capacity, TSL_MAP_MIN_CAPACITY);
    }
    *map = (struct tsl_memory_map){.ranges = storage, .capacity = capacity, .limit = TSL_MAP_TOP};
    return TSL_OK;
}

enum tsl_status tsl_map_refuse_wrapping(struct tsl_memory_map *map, tsl_paddr start, uint64_t bytes)
{
    map->counters.refused_wrapping++;
    return tsl_refuse(&map->refusals, TSL_OUT_OF_RANGE,
                      "memory map: entry at 0x%llx of 0x%llx bytes runs over 2^64",
                      (unsigned long long)start, (unsigned long long)bytes);
}

/* Refuses what makes no sense by itself; otherwise gives the address of the last byte. */
static enum tsl_status check_entry(struct tsl_memory_map *map, tsl_paddr start, uint64_t bytes,
                                   enum tsl_memory_type type, tsl_paddr *last)
{
    map->counters.entries++;
    if ((unsigned)type >= TSL_MEMORY_TYPE_COUNT) {
        map->counters.refused_type++;
        return tsl_refuse(&map->refusals, TSL_INVALID, "memory map: entry at 0x%llx has type %u",
                          (unsigned long long)start, (unsigned)type);
    }
    if (bytes == 0) {
        map->counters.refused_empty++;
        return tsl_refuse(&map->refusals, TSL_INVALID, "memory map: entry at 0x%llx is empty",
                          (unsigned long long)start);
    }
    if (!tsl_checked_last_paddr(start, bytes, last))
        return tsl_map_refuse_wrapping(map, start, bytes);
    return TSL_OK;
}

/* Usable bytes are missed by people, reserved ones are not. */
static void count_above_limit(struct tsl_memory_map *map, uint64_t bytes, enum tsl_memory_type type)
{
    if (type == TSL_MEMORY_USABLE)
        map->counters.above_limit_bytes = sum_saturating(map->counters.above_limit_bytes, bytes);
}

enum tsl_status tsl_map_add(struct tsl_memory_map *map, tsl_paddr start, uint64_t bytes,
                            enum tsl_memory_type type)
{
    tsl_paddr last = start;
    enum tsl_status status = check_entry(map, start, bytes, type, &last);
    if (status != TSL_OK)
        return status;
    if (start >= map->limit) {
        map->counters.ignored++;
        count_above_limit(map, bytes, type);
        return TSL_OK;
    }
    tsl_paddr end = last + 1;
    if (last >= map->limit) {
        map->counters.clipped++;
        count_above_limit(map, last - map->limit + 1, type);
        end = map->limit;
    }
    /* Both ends are at most the limit now, so that rounding cannot overflow or pass it. */
    if (type == TSL_MEMORY_USABLE) {
        start = tsl_align_up_paddr(start, TSL_PAGE_BYTES);
        end = tsl_align_down_paddr(end, TSL_PAGE_BYTES);
    } else {
        start = tsl_align_down_paddr(start, TSL_PAGE_BYTES);
        end = tsl_align_up_paddr(end, TSL_PAGE_BYTES);
    }
    if (start >= end) {
        map->counters.too_small++;
        return TSL_OK;
    }
    tsl_map_overlay(map, start, end, type);
    return TSL_OK;
}

enum tsl_status tsl_map_reserve(struct tsl_memory_map *map, tsl_paddr start, uint64_t bytes,
                                enum tsl_memory_type type)
{
    if (type == TSL_MEMORY_USABLE) {
        return tsl_refuse(&map->refusals, TSL_INVALID,
                          "memory map: reservation at 0x%llx asks for usable memory",
                          (unsigned long long)start);
    }
    return tsl_map_add(map, start, bytes, type);
}

uint64_t tsl_map_limit(struct tsl_memory_map *map, tsl_paddr end)
{
    end = tsl_align_down_paddr(end, TSL_PAGE_BYTES);
    if (end >= map->limit)
        return 0;
    uint64_t lost = 0;
    map->limit = end;
    while (map->count > 0 && map->ranges[map->count - 1].end > end) {
        struct tsl_memory_range *top = &map->ranges[map->count - 1];
        tsl_paddr from = top->start > end ? top->start : end;
        if (top->type == TSL_MEMORY_USABLE)
            lost += top->end - from;
        if (top->start >= end) {
            map->counters.ignored++;
            map->count--;
        } else {
            map->counters.clipped++;
            top->end = end;
        }
    }
    count_above_limit(map, lost, TSL_MEMORY_USABLE);
    if (lost > 0) {
        char text[16];
        tsl_say(TSL_LOG_WARNING, "memory map: %s of usable memory from 0x%llx on are ignored",
                tsl_format_bytes(text, sizeof text, lost), (unsigned long long)end);
    }
    return lost;
}

enum tsl_status tsl_map_reclaim(struct tsl_memory_map *map, enum tsl_memory_type type)
{
    if (type != TSL_MEMORY_BOOT_RECLAIM && type != TSL_MEMORY_ACPI_RECLAIM) {
        return tsl_refuse(&map->refusals, TSL_INVALID,
                          "memory map: memory of type %u cannot be reclaimed", (unsigned)type);
    }
    for (size_t i = 0; i < map->count; i++)
        if (map->ranges[i].type == type)
            map->ranges[i].type = TSL_MEMORY_USABLE;
    tsl_map_join_all(map);
    return TSL_OK;
}
