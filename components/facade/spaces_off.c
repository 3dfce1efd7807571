/* SPDX-License-Identifier: MIT
 *
 * spaces_off.c: the last stage of the start where there are no address spaces: nothing to do.
 *
 * Owns:    nothing.
 * Needs:   nothing.
 * Callers: start.c. Its twin is spaces.c.
 */
#include "facade_internal.h"

enum tsl_status tsl_facade_start_spaces(void)
{
    return TSL_OK;
}

enum tsl_status tsl_facade_stop_spaces(void)
{
    return TSL_OK;
}
