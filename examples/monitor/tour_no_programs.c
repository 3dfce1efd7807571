/* SPDX-License-Identifier: MIT
 *
 * tour_no_programs.c: the step with programs where the configuration has no address spaces.
 *
 * Owns:    the step `programs`.
 * Needs:   monitor.h.
 * Callers: tour.c. Its twin is tour_programs.c.
 */
#include "monitor.h"

bool tour_programs(void)
{
    tsl_print(console(), "    this configuration has no address spaces (TSL_SPACES)\n");
    return true;
}
