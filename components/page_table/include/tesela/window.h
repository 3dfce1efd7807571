/* SPDX-License-Identifier: MIT
 *
 * window.h: reach any frame for a moment, also one without a direct mapping.
 *
 * Owns:    struct tsl_windows: four pages of address space a CPU, and their level-0 tables.
 * Needs:   page_table.h; port (pinning, phys_to_virt).
 * Callers: whoever zeroes, copies or compresses a frame.
 *
 * A window belongs to one CPU and one use; it is opened, used and closed without anything else
 * happening on that CPU in between (the caller is pinned), so it needs no lock and no shootdown.
 */
#ifndef TESELA_WINDOW_H
#define TESELA_WINDOW_H

#include <stdint.h>

#include <tesela/config.h>
#include <tesela/kernel_layout.h>
#include <tesela/page_table.h>

/* What a window is for. Two uses at once on a CPU take two windows. */
enum tsl_window {
    TSL_WINDOW_SOURCE,
    TSL_WINDOW_DESTINATION,
    TSL_WINDOW_COMPRESSOR,
    TSL_WINDOW_INTERRUPT, /* for interrupt handlers: never taken by what they interrupt */
    TSL_WINDOW_COUNT
};

#define TSL_WINDOW_PAGES  (TSL_CPUS * TSL_WINDOW_COUNT)
#define TSL_WINDOW_TABLES ((TSL_WINDOW_PAGES + 511u) / 512u)

/* In the caller's storage. All members are private; state[cpu] is touched by that CPU only. */
struct tsl_windows {
    struct tsl_table *table;
    tsl_vaddr base;
    void *entries[TSL_WINDOW_TABLES]; /* memory of the level-0 tables */
    uint8_t state[TSL_CPUS][TSL_WINDOW_COUNT];
};

/*
 * Set up the windows of all CPUs at the start of `range` (the layout's WINDOWS range).
 * Errors:  TSL_OUT_OF_RANGE (the range is too small or not aligned to a level-0 table), else as
 *          tsl_table_fix.
 * Cost:    one or two table frames.
 */
TSL_MUST_CHECK enum tsl_status tsl_windows_init(struct tsl_windows *self, struct tsl_table *table,
                                                const struct tsl_layout_range *range);

/*
 * A pointer to the frame's 4096 bytes, readable and writable, until the window is closed. A frame
 * with a direct mapping costs no table write.
 * Before:  the caller is pinned and runs a table that contains the windows; this window of this CPU
 *          is closed (else it panics: windows do not nest).
 * Cost:    constant; one local flush of a page at close.
 */
void *tsl_window_open(struct tsl_windows *self, enum tsl_window window, struct tsl_frame frame);

/*
 * Close it again.
 * Before:  the same CPU has it open (else it panics).
 */
void tsl_window_close(struct tsl_windows *self, enum tsl_window window);

#endif
