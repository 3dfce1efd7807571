/* SPDX-License-Identifier: MIT
 *
 * kernel_layout_dump.c: layouts and memory maps as tables for people.
 *
 * Owns:    how they look; addresses in fixed width, sizes in units that people read.
 * Needs:   the formatter of base; reads only.
 * Callers: monitors, reports and debuggers through the two tsl_..._dump() functions.
 */
#include "kernel_layout_internal.h"

/* ---- Layout ---- */

static void dump_line(const struct tsl_layout *layout, const struct tsl_sink *sink, tsl_vaddr start,
                      tsl_vaddr last, const char *size, const char *name)
{
    int digits = (int)((layout->va_bits + (layout->sign_extended ? 64 - layout->va_bits : 0)) / 4);
    tsl_print(sink, "  %0*llx..%0*llx  %10s  %s", digits, (unsigned long long)start, digits,
              (unsigned long long)last, size, name);
}

static void dump_range(const struct tsl_layout *layout, const struct tsl_sink *sink,
                       const struct tsl_layout_range *range)
{
    char size[16];
    unsigned bits = range->protection;
    tsl_format_bytes(size, sizeof size, (uint64_t)(range->last - range->start) + 1);
    dump_line(layout, sink, range->start, range->last, size, "");
    tsl_print(sink, "%-10s %c%c%c%s%s%s\n", tsl_layout_use_name(range->use),
              (bits & TSL_READ) != 0 ? 'r' : '-', (bits & TSL_WRITE) != 0 ? 'w' : '-',
              (bits & TSL_EXEC) != 0 ? 'x' : '-', (bits & TSL_USER) != 0 ? " user" : "",
              (bits & TSL_GLOBAL) != 0 ? " global" : "",
              (bits & TSL_CACHE_MASK) != TSL_CACHE_WRITE_BACK ? " uncached" : "");
}

/* Everything between two ranges that the CPU can form. */
static void dump_guard(const struct tsl_layout *layout, const struct tsl_sink *sink,
                       tsl_vaddr start, tsl_vaddr last)
{
    char size[16];
    tsl_format_bytes(size, sizeof size, (uint64_t)(last - start) + 1);
    dump_line(layout, sink, start, last, size, "(guard)\n");
}

/* Between two ranges: a guard, or guard, hole and guard where the halves meet; highest first. */
static void dump_gap(const struct tsl_layout *layout, const struct tsl_sink *sink, tsl_vaddr start,
                     tsl_vaddr last)
{
    tsl_vaddr hole = (tsl_vaddr)1 << (layout->va_bits - 1);
    tsl_vaddr hole_last = (tsl_vaddr)0 - hole - 1;
    if (!layout->sign_extended || last < hole || start > hole_last) {
        dump_guard(layout, sink, start, last);
        return;
    }
    if (last > hole_last)
        dump_guard(layout, sink, hole_last + 1, last);
    dump_line(layout, sink, hole, hole_last, "", "(hole: not canonical)\n");
    if (start < hole)
        dump_guard(layout, sink, start, hole - 1);
}

void tsl_layout_dump(const struct tsl_layout *layout, const struct tsl_sink *sink)
{
    tsl_vaddr top =
        (tsl_vaddr)(layout->sign_extended ? UINT64_MAX : UINT64_MAX >> (64 - layout->va_bits));
    tsl_print(sink, "%s: addresses of %u bits, image at physical + 0x%llx\n", layout->format_name,
              layout->va_bits, (unsigned long long)layout->image_offset);
    for (size_t i = layout->count; i > 0; i--) {
        const struct tsl_layout_range *range = &layout->ranges[i - 1];
        if (range->last < top)
            dump_gap(layout, sink, range->last + 1, top);
        dump_range(layout, sink, range);
        top = range->start - 1;
    }
    if (layout->count > 0 && layout->ranges[0].start > 0)
        dump_gap(layout, sink, 0, top);
}

/* ---- Memory map ---- */

static void dump_count(const struct tsl_sink *sink, tsl_word count, const char *what)
{
    if (count > 0)
        tsl_print(sink, "  %s: %lu\n", what, count);
}

static void dump_bytes(const struct tsl_sink *sink, uint64_t bytes, const char *what)
{
    char text[16];
    if (bytes > 0)
        tsl_print(sink, "  %s: %s\n", what, tsl_format_bytes(text, sizeof text, bytes));
}

static void dump_counters(const struct tsl_map_counters *counters, const struct tsl_sink *sink)
{
    dump_count(sink, counters->refused_empty, "refused, empty");
    dump_count(sink, counters->refused_wrapping, "refused, over 2^64");
    dump_count(sink, counters->refused_type, "refused, no such type");
    dump_count(sink, counters->too_small, "usable, but no whole page");
    dump_count(sink, counters->clipped, "cut at the limit");
    dump_count(sink, counters->ignored, "ignored above the limit");
    dump_bytes(sink, counters->above_limit_bytes, "usable bytes above the limit");
    dump_count(sink, counters->joined_when_full, "map full, pairs of reservations joined");
    dump_count(sink, counters->given_up, "map full, usable ranges given up");
    dump_bytes(sink, counters->given_up_bytes, "map full, usable bytes given up");
}

void tsl_map_dump(const struct tsl_memory_map *map, const struct tsl_sink *sink)
{
    char size[16];
    tsl_print(sink, "memory map: %zu ranges made of %lu entries, room for %zu\n", map->count,
              map->counters.entries, map->capacity);
    for (size_t i = 0; i < map->count; i++) {
        const struct tsl_memory_range *range = &map->ranges[i];
        tsl_format_bytes(size, sizeof size, range->end - range->start);
        tsl_print(sink, "  %013llx..%013llx  %10s  %s\n", (unsigned long long)range->start,
                  (unsigned long long)range->end - 1, size, tsl_memory_type_name(range->type));
    }
    tsl_format_bytes(size, sizeof size, tsl_map_bytes(map, TSL_MEMORY_USABLE));
    tsl_print(sink, "  %s usable; memory from 0x%llx on would be ignored\n", size,
              (unsigned long long)map->limit);
    dump_counters(&map->counters, sink);
}
