/* SPDX-License-Identifier: MIT
 *
 * report_json.c: the snapshot as one JSON object.
 *
 * Owns:    the keys, which README.md lists.
 * Needs:   the components' queries.
 * Callers: anyone, see report.h.
 */
#include <tesela/report.h>

#include <tesela/heap_report.h>

/* Puts the commas where they belong. All names are ours: none needs escaping. */
struct writer {
    const struct tsl_sink *sink;
    bool first; /* nothing has been written since the last opening brace */
};

static void key(struct writer *to, const char *name)
{
    tsl_print(to->sink, "%s\"%s\":", to->first ? "" : ",", name);
    to->first = false;
}

static void open(struct writer *to, const char *name)
{
    if (name)
        key(to, name);
    tsl_print(to->sink, "{");
    to->first = true;
}

static void close(struct writer *to)
{
    tsl_print(to->sink, "}");
    to->first = false;
}

static void number(struct writer *to, const char *name, uint64_t value)
{
    key(to, name);
    tsl_print(to->sink, "%llu", (unsigned long long)value);
}

static void refusals(struct writer *to, const struct tsl_refusals *counter)
{
    open(to, "refused");
    for (unsigned i = 1; i < TSL_STATUS_COUNT; i++) {
        tsl_word count = tsl_refusals_of(counter, (enum tsl_status)i);
        if (count)
            number(to, tsl_status_name((enum tsl_status)i), count);
    }
    close(to);
}

static void map(struct writer *to, const struct tsl_memory_map *map)
{
    open(to, "map");
    for (unsigned type = 0; type < TSL_MEMORY_TYPE_COUNT; type++) {
        uint64_t bytes = tsl_map_bytes(map, (enum tsl_memory_type)type);
        if (bytes)
            number(to, tsl_memory_type_name((enum tsl_memory_type)type), bytes);
    }
    close(to);
}

static uint64_t frames_bytes(tsl_word frames)
{
    return (uint64_t)frames << TSL_PAGE_SHIFT;
}

static void frames(struct writer *to, const struct tsl_frames *frames)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    open(to, "frames");
    number(to, "total_bytes", frames_bytes(stats.total));
    number(to, "used_bytes", frames_bytes(stats.used));
    number(to, "peak_bytes", frames_bytes(stats.peak));
    number(to, "metadata_bytes", stats.metadata_bytes);
    open(to, "zones");
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++) {
        struct tsl_frames_zone_stats one;
        if (tsl_frames_zone_stats(frames, (enum tsl_frames_zone)zone, &one) != TSL_OK || !one.total)
            continue;
        open(to, one.name);
        number(to, "start", one.start);
        number(to, "end", one.end);
        number(to, "total_bytes", frames_bytes(one.total));
        number(to, "free_bytes", frames_bytes(one.free));
        close(to);
    }
    close(to);
    refusals(to, &stats.refusals);
    close(to);
}

static void heap(struct writer *to, const struct tsl_heap *heap)
{
    struct tsl_heap_stats stats;
    tsl_heap_stats(heap, &stats);
    open(to, "heap");
    number(to, "live_bytes", stats.live_bytes);
    number(to, "live_blocks", stats.live_blocks);
    number(to, "peak_bytes", stats.peak_bytes);
    number(to, "taken_bytes", stats.taken_bytes);
    number(to, "ceiling_bytes", stats.ceiling_bytes);
    number(to, "failures", stats.failures);
    refusals(to, &stats.refusals);
    close(to);
}

static void ranges(struct writer *to, struct tsl_ranges *ranges)
{
    struct tsl_ranges_stats stats;
    tsl_ranges_stats(ranges, &stats);
    open(to, "ranges");
    number(to, "count", stats.ranges);
    number(to, "memory_bytes", stats.bytes_memory);
    number(to, "mapped_bytes", stats.bytes_mapped);
    number(to, "peak_bytes", stats.bytes_peak);
    number(to, "window_bytes", stats.bytes_window);
    number(to, "largest_gap_bytes", stats.largest_gap);
    number(to, "failures", stats.failures);
    number(to, "refused", stats.refusals);
    close(to);
}

static void table(struct writer *to, const struct tsl_table *table)
{
    open(to, "tables");
    key(to, "format");
    tsl_print(to->sink, "\"%s\"", table->format->name);
    number(to, "tables", table->counters.tables);
    number(to, "splits", table->counters.splits);
    number(to, "promotions", table->counters.promotions);
    number(to, "flushes", table->counters.flushes);
    refusals(to, &table->refusals);
    close(to);
}

void tsl_report_json(const struct tsl_report_subject *subject, const struct tsl_sink *sink)
{
    struct writer to = {.sink = sink, .first = true};
    open(&to, NULL);
    if (subject->map)
        map(&to, subject->map);
    if (subject->frames)
        frames(&to, subject->frames);
    if (subject->heap)
        heap(&to, subject->heap);
    if (subject->ranges)
        ranges(&to, subject->ranges);
    if (subject->table)
        table(&to, subject->table);
    close(&to);
    tsl_print(sink, "\n");
}
