/* SPDX-License-Identifier: MIT
 *
 * report.h: a snapshot of the whole subsystem, as text for people and as JSON for programs.
 *
 * Owns:    the form of both.
 * Needs:   the read-only queries of every component it shows; TSL_REPORT, without which the library
 *          is not there.
 * Callers: the kernel's monitor, a system call that shows memory, tests. Nothing needs it.
 */
#ifndef TESELA_REPORT_H
#define TESELA_REPORT_H

#include <tesela/format.h>
#include <tesela/heap_allocator.h>
#include <tesela/memory_map.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/vallocator.h>

/* What is to be reported; a part that is NULL is left out. */
struct tsl_report_subject {
    const struct tsl_memory_map *map;
    const struct tsl_frames *frames;
    const struct tsl_table *table;
    const struct tsl_heap *heap;
    struct tsl_ranges *ranges;
};

/*
 * Writes a page of text: memory by zone, heap, kernel ranges, page tables, and what was refused.
 * Context: takes each component's lock for a moment; other CPUs may go on, so that figures of
 *          different components are of slightly different moments. Allocates nothing.
 * Cost:    O(zones + map ranges).
 */
void tsl_report_text(const struct tsl_report_subject *subject, const struct tsl_sink *sink);

/*
 * Writes the same figures as one JSON object, all sizes in bytes. Keys are listed in README.md and
 * stay as they are.
 * Context, Cost: as tsl_report_text().
 */
void tsl_report_json(const struct tsl_report_subject *subject, const struct tsl_sink *sink);

#endif
