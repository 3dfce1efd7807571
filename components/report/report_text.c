/* SPDX-License-Identifier: MIT
 *
 * report_text.c: the snapshot as a page of text.
 *
 * Owns:    the form of the page.
 * Needs:   the components' queries.
 * Callers: anyone, see report.h.
 */
#include <tesela/report.h>

#include <tesela/heap_report.h>

enum { SIZE_TEXT = 16, BAR = 24 };

/* A bar of BAR characters, filled in proportion. */
static void print_bar(const struct tsl_sink *sink, uint64_t used, uint64_t total)
{
    char bar[BAR + 1];
    /* Both fall below 2^24, so that a 32-bit machine needs no 64-bit division. */
    while (total >> 24) {
        total >>= 1;
        used >>= 1;
    }
    unsigned filled = total ? (unsigned)((uint32_t)used * BAR / (uint32_t)total) : 0;
    for (unsigned i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR] = '\0';
    tsl_print(sink, " [%s]\n", bar);
}

static void print_use(const struct tsl_sink *sink, const char *name, uint64_t used, uint64_t total)
{
    char used_text[SIZE_TEXT], total_text[SIZE_TEXT];
    tsl_format_bytes(used_text, sizeof(used_text), used);
    tsl_format_bytes(total_text, sizeof(total_text), total);
    tsl_print(sink, "  %-10s %10s of %10s", name, used_text, total_text);
    print_bar(sink, used, total);
}

static void print_refusals(const struct tsl_sink *sink, const struct tsl_refusals *refusals)
{
    for (unsigned i = 1; i < TSL_STATUS_COUNT; i++) {
        tsl_word count = tsl_refusals_of(refusals, (enum tsl_status)i);
        if (count)
            tsl_print(sink, "  refused    %10lu  %s\n", count, tsl_status_name((enum tsl_status)i));
    }
}

static uint64_t frames_bytes(tsl_word frames)
{
    return (uint64_t)frames << TSL_PAGE_SHIFT;
}

static void print_frames(const struct tsl_frames *frames, const struct tsl_sink *sink)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    tsl_print(sink, "frames\n");
    for (unsigned zone = 0; zone < TSL_ZONE_COUNT; zone++) {
        struct tsl_frames_zone_stats one;
        if (tsl_frames_zone_stats(frames, (enum tsl_frames_zone)zone, &one) == TSL_OK && one.total)
            print_use(sink, one.name, frames_bytes(one.total - one.free), frames_bytes(one.total));
    }
    print_use(sink, "all", frames_bytes(stats.used), frames_bytes(stats.total));
    char peak[SIZE_TEXT], metadata[SIZE_TEXT];
    tsl_print(sink, "  peak       %10s; bookkeeping %s\n",
              tsl_format_bytes(peak, sizeof(peak), frames_bytes(stats.peak)),
              tsl_format_bytes(metadata, sizeof(metadata), stats.metadata_bytes));
    print_refusals(sink, &stats.refusals);
}

static void print_heap(const struct tsl_heap *heap, const struct tsl_sink *sink)
{
    struct tsl_heap_stats stats;
    tsl_heap_stats(heap, &stats);
    tsl_print(sink, "heap\n");
    print_use(sink, "live", stats.live_bytes, stats.taken_bytes);
    print_use(sink, "taken", stats.taken_bytes, stats.ceiling_bytes);
    char peak[SIZE_TEXT];
    tsl_print(sink, "  blocks     %10zu live; %s at the peak\n", stats.live_blocks,
              tsl_format_bytes(peak, sizeof(peak), stats.peak_bytes));
    print_refusals(sink, &stats.refusals);
}

static void print_ranges(struct tsl_ranges *ranges, const struct tsl_sink *sink)
{
    struct tsl_ranges_stats stats;
    tsl_ranges_stats(ranges, &stats);
    tsl_print(sink, "kernel ranges\n");
    print_use(sink, "memory", stats.bytes_memory, stats.bytes_window);
    tsl_print(sink, "  ranges     %10zu; %lu requests failed, %lu refused\n", stats.ranges,
              stats.failures, stats.refusals);
}

static void print_table(const struct tsl_table *table, const struct tsl_sink *sink)
{
    const struct tsl_table_counters *counters = &table->counters;
    tsl_print(sink, "page tables (%s)\n", table->format->name);
    tsl_print(sink, "  tables     %10lu; %lu splits, %lu flushes\n", counters->tables,
              counters->splits, counters->flushes);
    for (unsigned level = 0; level < table->format->levels; level++) {
        char size[SIZE_TEXT];
        tsl_format_bytes(size, sizeof(size), tsl_table_format_page_bytes(table->format, level));
        if (counters->pages[level])
            tsl_print(sink, "  pages      %10lu of %s\n", counters->pages[level], size);
    }
    print_refusals(sink, &table->refusals);
}

void tsl_report_text(const struct tsl_report_subject *subject, const struct tsl_sink *sink)
{
    if (subject->map)
        tsl_map_dump(subject->map, sink);
    if (subject->frames)
        print_frames(subject->frames, sink);
    if (subject->heap)
        print_heap(subject->heap, sink);
    if (subject->ranges)
        print_ranges(subject->ranges, sink);
    if (subject->table)
        print_table(subject->table, sink);
}
