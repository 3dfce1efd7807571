/* SPDX-License-Identifier: MIT
 *
 * report_on.c: the page about everything, from the component report.
 *
 * Owns:    nothing.
 * Needs:   report.
 * Callers: tour.c, prompt.c.
 *
 * Built when TSL_REPORT is set.
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
