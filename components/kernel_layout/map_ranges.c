/* SPDX-License-Identifier: MIT
 *
 * map_ranges.c: the sorted array of ranges: laying one over the others, and what to do when full.
 *
 * Owns:    the order and disjointness of the ranges; the choice of what is lost for lack of room.
 * Needs:   nothing but the array.
 * Callers: memory_map.c.
 *
 * A new range is laid from left to right in steps. Each step either finishes a piece of it or frees
 * a slot of a full array, so that the loop ends.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

size_t tsl_map_index(const struct tsl_memory_map *map, tsl_paddr address)
{
    size_t low = 0;
    size_t high = map->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (map->ranges[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void tsl_map_remove(struct tsl_memory_map *map, size_t index)
{
    map->count--;
    for (size_t i = index; i < map->count; i++)
        map->ranges[i] = map->ranges[i + 1];
}

/* Before: there is room, and the neighbours keep the order. */
static void insert(struct tsl_memory_map *map, size_t index, struct tsl_memory_range range)
{
    TSL_ASSERT(map->count < map->capacity);
    for (size_t i = map->count; i > index; i--)
        map->ranges[i] = map->ranges[i - 1];
    map->ranges[index] = range;
    map->count++;
}

static bool belong_together(const struct tsl_memory_range *low, const struct tsl_memory_range *high)
{
    return low->end == high->start && low->type == high->type;
}

/* Joins ranges[index] with either neighbour if they touch and have its type. */
static void join_around(struct tsl_memory_map *map, size_t index)
{
    struct tsl_memory_range *r = map->ranges;
    if (index + 1 < map->count && belong_together(&r[index], &r[index + 1])) {
        r[index].end = r[index + 1].end;
        tsl_map_remove(map, index + 1);
    }
    if (index > 0 && belong_together(&r[index - 1], &r[index])) {
        r[index - 1].end = r[index].end;
        tsl_map_remove(map, index);
    }
}

void tsl_map_join_all(struct tsl_memory_map *map)
{
    size_t kept = 0;
    for (size_t i = 1; i < map->count; i++)
        if (belong_together(&map->ranges[kept], &map->ranges[i]))
            map->ranges[kept].end = map->ranges[i].end;
        else
            map->ranges[++kept] = map->ranges[i];
    map->count = map->count == 0 ? 0 : kept + 1;
}

static bool is_kernels_own(enum tsl_memory_type type)
{
    return type == TSL_MEMORY_KERNEL || type == TSL_MEMORY_MODULE;
}

/*
 * Joins the two neighbouring reservations with the smallest gap, but not those around `keep`, where
 * a range is about to go. What nobody spoke of between them becomes reserved with them: safe, since
 * nobody called it usable. The kernel's own ranges come last; their type is worth keeping.
 */
static bool join_reservations(struct tsl_memory_map *map, tsl_paddr keep)
{
    size_t best = map->count;
    tsl_paddr best_cost = 0;
    for (size_t i = 0; i + 1 < map->count; i++) {
        const struct tsl_memory_range *low = &map->ranges[i];
        const struct tsl_memory_range *high = low + 1;
        bool around_keep = low->end <= keep && keep < high->start;
        if (low->type == TSL_MEMORY_USABLE || high->type == TSL_MEMORY_USABLE || around_keep)
            continue;
        tsl_paddr cost = high->start - low->end;
        cost += is_kernels_own(low->type) || is_kernels_own(high->type) ? TSL_MAP_TOP : 0;
        if (best == map->count || cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    if (best == map->count)
        return false;
    struct tsl_memory_range *low = &map->ranges[best];
    enum tsl_memory_type type = low->type > low[1].type ? low->type : low[1].type;
    low->type = type > TSL_MEMORY_RESERVED ? type : TSL_MEMORY_RESERVED;
    low->end = low[1].end;
    tsl_map_remove(map, best + 1);
    join_around(map, best);
    map->counters.joined_when_full++;
    return true;
}

/* Logged at the powers of two only: a hostile map must not drown the log. */
static void count_given_up(struct tsl_memory_map *map, tsl_paddr start, tsl_paddr end)
{
    tsl_word count = ++map->counters.given_up;
    map->counters.given_up_bytes += end - start;
    if ((count & (count - 1)) == 0) {
        tsl_say(TSL_LOG_WARNING,
                "memory map: full at %zu ranges, usable 0x%llx..0x%llx given up (%lu so far)",
                map->capacity, (unsigned long long)start, (unsigned long long)end - 1, count);
    }
}

/* Gives up the smallest usable range if it has at most `most` bytes. */
static bool drop_smallest_usable(struct tsl_memory_map *map, uint64_t most)
{
    size_t best = map->count;
    uint64_t best_bytes = most;
    for (size_t i = 0; i < map->count; i++) {
        uint64_t bytes = map->ranges[i].end - map->ranges[i].start;
        if (map->ranges[i].type == TSL_MEMORY_USABLE && bytes <= best_bytes) {
            best = i;
            best_bytes = bytes;
        }
    }
    if (best == map->count)
        return false;
    count_given_up(map, map->ranges[best].start, map->ranges[best].end);
    tsl_map_remove(map, best);
    return true;
}

/* Frees one slot for a reservation. In a full map of eight or more one of the two always works. */
static void make_room(struct tsl_memory_map *map, tsl_paddr keep)
{
    bool made = join_reservations(map, keep) || drop_smallest_usable(map, UINT64_MAX);
    TSL_ASSERT(made);
}

/*
 * [at, stop) is a gap before ranges[i]. Returns stop when the piece is done, at when a slot was
 * freed and the place must be looked up again.
 */
static tsl_paddr fill_gap(struct tsl_memory_map *map, size_t i, tsl_paddr at, tsl_paddr stop,
                          enum tsl_memory_type type)
{
    struct tsl_memory_range piece = {at, stop, type};
    if (i > 0 && belong_together(&map->ranges[i - 1], &piece)) {
        map->ranges[i - 1].end = stop;
        join_around(map, i - 1);
        return stop;
    }
    if (i < map->count && belong_together(&piece, &map->ranges[i])) {
        map->ranges[i].start = at;
        return stop;
    }
    if (map->count < map->capacity) {
        insert(map, i, piece);
        return stop;
    }
    if (type != TSL_MEMORY_USABLE) {
        make_room(map, at);
        return at;
    }
    if (join_reservations(map, at) || drop_smallest_usable(map, stop - at))
        return at;
    count_given_up(map, at, stop);
    return stop;
}

/*
 * [at, stop) lies in ranges[i], which is weaker. Takes it out of that range, for fill_gap() to fill
 * in the next step, or makes room first when the rest of the range needs a slot that is not there.
 */
static void carve(struct tsl_memory_map *map, size_t i, tsl_paddr at, tsl_paddr stop)
{
    struct tsl_memory_range *range = &map->ranges[i];
    if (at == range->start && stop == range->end) {
        tsl_map_remove(map, i);
    } else if (at == range->start) {
        range->start = stop;
    } else if (stop == range->end) {
        range->end = at;
    } else if (map->count == map->capacity) {
        make_room(map, at);
    } else {
        struct tsl_memory_range rest = {stop, range->end, range->type};
        range->end = at;
        insert(map, i + 1, rest);
    }
}

void tsl_map_overlay(struct tsl_memory_map *map, tsl_paddr start, tsl_paddr end,
                     enum tsl_memory_type type)
{
    tsl_paddr at = start;
    while (at < end) {
        size_t i = tsl_map_index(map, at);
        const struct tsl_memory_range *range = &map->ranges[i];
        if (i == map->count || at < range->start) {
            tsl_paddr stop = i == map->count || end <= range->start ? end : range->start;
            at = fill_gap(map, i, at, stop, type);
        } else if (range->type >= type) {
            at = range->end;
        } else {
            carve(map, i, at, end < range->end ? end : range->end);
        }
    }
}
