/* SPDX-License-Identifier: MIT
 *
 * terse.c: what a build without TSL_LOG_SENTENCES says: a name and a code address.
 *
 * Owns:    the terse halves of tsl_refuse, tsl_say, tsl_fail and TSL_ASSERT.
 * Needs:   status.c (names, counting), port.h (log, panic).
 * Callers: everybody, through the macros of status.h and format.h.
 *
 * Formatting is what such a build leaves out, so lines are put together by hand. The address is
 * that of the instruction behind the call: `addr2line` makes a source line of it.
 */
#include <tesela/config.h>
#include <tesela/format.h>
#include <tesela/status.h>
#include "base_internal.h"

/* Both return the end of what they wrote, which they also end with a zero byte. */
static char *append(char *place, const char *text)
{
    while (*text != '\0')
        *place++ = *text++;
    *place = '\0';
    return place;
}

static char *append_address(char *place, const void *address)
{
    uintptr_t value = (uintptr_t)address;
    place = append(place, " at code address 0x");
    for (unsigned shift = sizeof(value) * 8; shift > 0; shift -= 4)
        *place++ = "0123456789abcdef"[(value >> (shift - 4)) & 15];
    *place = '\0';
    return place;
}

TSL_NOINLINE enum tsl_status tsl_refuse_tersely(struct tsl_refusals *counter,
                                                enum tsl_status status)
{
    if (tsl_refusal_count(counter, status) == 0)
        return status;
    char line[TSL_LOG_LINE_BYTES];
    (void)append_address(append(line, tsl_status_name(status)), TSL_RETURN_ADDRESS());
    tsl_port_log(TSL_LOG_WARNING, line);
    return status;
}

TSL_NOINLINE void tsl_say_tersely(enum tsl_log_level level)
{
    if ((int)level > TSL_LOG_LEVEL)
        return;
    char line[TSL_LOG_LINE_BYTES];
    (void)append_address(append(line, "noted"), TSL_RETURN_ADDRESS());
    tsl_port_log(level, line);
}

TSL_NOINLINE void tsl_fail_tersely(void)
{
    char line[TSL_LOG_LINE_BYTES];
    (void)append_address(append(line, "assertion failed"), TSL_RETURN_ADDRESS());
    tsl_port_panic(line);
}
