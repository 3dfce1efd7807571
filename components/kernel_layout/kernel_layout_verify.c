/* SPDX-License-Identifier: MIT
 *
 * kernel_layout_verify.c: the invariants of a memory map, one rule after the other.
 *
 * Owns:    rules 21 to 28 of the component's README (the layout rules are in layout_check.c).
 * Needs:   nothing but the map; reads only, allocates nothing, prints nothing.
 * Callers: tests, the importers' fuzzer, and a kernel's own checks through <tesela/memory_map.h>.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

static struct tsl_defect broken(enum tsl_map_rule rule, size_t place, const char *sentence)
{
    return tsl_defect_at("kernel_layout", rule, place, sentence);
}

static struct tsl_defect verify_storage(const struct tsl_memory_map *map)
{
    if (map->ranges == NULL || map->capacity < TSL_MAP_MIN_CAPACITY || map->count > map->capacity ||
        map->limit > TSL_MAP_TOP || !tsl_is_aligned_paddr(map->limit, TSL_PAGE_BYTES)) {
        return broken(
            TSL_MAP_RULE_STORAGE, map->count,
            "A map has storage for its ranges, and a limit of whole pages below the top.");
    }
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_range(const struct tsl_memory_map *map, size_t i)
{
    const struct tsl_memory_range *range = &map->ranges[i];
    if ((unsigned)range->type >= TSL_MEMORY_TYPE_COUNT)
        return broken(TSL_MAP_RULE_TYPE, i, "A range has one of the known types.");
    if (range->start >= range->end)
        return broken(TSL_MAP_RULE_NOT_EMPTY, i, "A range ends above its start.");
    if (!tsl_is_aligned_paddr(range->start | range->end, TSL_PAGE_BYTES))
        return broken(TSL_MAP_RULE_WHOLE_PAGES, i, "A range is made of whole pages.");
    if (range->end > map->limit)
        return broken(TSL_MAP_RULE_BELOW_LIMIT, i, "A range lies below the map's limit.");
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_order(const struct tsl_memory_map *map, size_t i)
{
    const struct tsl_memory_range *low = &map->ranges[i];
    const struct tsl_memory_range *high = low + 1;
    if (low->end > high->start)
        return broken(TSL_MAP_RULE_SORTED, i + 1, "Ranges ascend and do not overlap.");
    if (low->end == high->start && low->type == high->type)
        return broken(TSL_MAP_RULE_JOINED, i + 1, "Ranges that touch differ in type.");
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_counters(const struct tsl_map_counters *counters)
{
    tsl_word refused =
        counters->refused_empty + counters->refused_wrapping + counters->refused_type;
    bool bytes_agree = (counters->given_up == 0) == (counters->given_up_bytes == 0);
    if (refused > counters->entries || !bytes_agree) {
        return broken(TSL_MAP_RULE_COUNTERS, 0,
                      "No more entries are refused than came, and what is given up has bytes.");
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_map_verify(const struct tsl_memory_map *map)
{
    struct tsl_defect defect = verify_storage(map);
    for (size_t i = 0; defect.rule == 0 && i < map->count; i++)
        defect = verify_range(map, i);
    for (size_t i = 0; defect.rule == 0 && i + 1 < map->count; i++)
        defect = verify_order(map, i);
    return defect.rule != 0 ? defect : verify_counters(&map->counters);
}
