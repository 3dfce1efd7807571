/* SPDX-License-Identifier: MIT */
/*
 * report_on.c: the page about everything, from the component report. Built when TSL_REPORT is set.
 *
 * Owns: nothing.
 * Needs: report.
 * Called by: tour.c, prompt.c.
 */
#include "monitor.h"

#include <tesela/report.h>

#include <platform/memory.h>

void report(void)
{
    const struct tsl_system *system = tsl_system();
    struct tsl_report_subject subject = {.map = platform_memory_map(),
                                         .frames = system->frames,
                                         .table = system->table,
                                         .heap = system->heap,
                                         .ranges = system->ranges};
    tsl_report_text(&subject, console());
}
