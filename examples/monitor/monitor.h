/* SPDX-License-Identifier: MIT
 *
 * monitor.h: what the files of the monitor share: the console, the tour and the prompt.
 *
 * Owns:    nothing.
 * Needs:   the facade, platform/pc.
 * Callers: examples/monitor only.
 */
#ifndef MONITOR_H
#define MONITOR_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/format.h>
#include <tesela/memory.h>
#include <tesela/memory_map.h>

/* Where everything is printed. */
const struct tsl_sink *console(void);

/* Runs every step, prints what each does, ends with the line `tour: PASS n/n` or `tour: FAIL k/n
 * (names)`. */
bool tour(void);

/* Reads and obeys commands until `quit`. */
void prompt(void);

/* One page about everything: report_on.c with the component report, report_off.c without. */
void report(void);

/* tour_smp.c: the steps that need several CPUs; with one they check that one CPU is enough. */
bool tour_cpus_share(void);
bool tour_use_everywhere(void); /* every CPU uses frames and heap; false if one does not end */
bool tour_shootdown(void);

/* tour_programs.c, or tour_no_programs.c where there are no address spaces. */
bool tour_programs(void);

/* Says why a step failed, and where; the result is false. */
bool failed_at(const char *file, int line, const char *what);

/* In a step: goes on if the condition holds, else the step has failed. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return failed_at(__FILE__, __LINE__, #condition);                                      \
    } while (0)

#endif
