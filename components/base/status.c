/* SPDX-License-Identifier: MIT
 *
 * status.c: names of statuses, counted refusals, the end of an assertion.
 *
 * Owns:    the names, and the rule which refusals are logged.
 * Needs:   atomic.h, checked.h, format.h.
 * Callers: everybody, through status.h.
 */
#include <tesela/atomic.h>
#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/format.h>
#include <tesela/status.h>
#include "base_internal.h"

#define ALWAYS_LOGGED 4

static const char *const names[] = {
    [TSL_OK] = "ok",
    [TSL_NO_MEMORY] = "no memory",
    [TSL_INVALID] = "invalid",
    [TSL_MISALIGNED] = "misaligned",
    [TSL_OUT_OF_RANGE] = "out of range",
    [TSL_NOT_CANONICAL] = "not canonical",
    [TSL_EXISTS] = "exists",
    [TSL_NOT_FOUND] = "not found",
    [TSL_DOUBLE_FREE] = "double free",
    [TSL_FOREIGN] = "foreign",
    [TSL_WRONG_SIZE] = "wrong size",
    [TSL_OVERLAP] = "overlap",
    [TSL_DENIED] = "denied",
    [TSL_LIMIT] = "limit",
    [TSL_BUSY] = "busy",
    [TSL_UNSUPPORTED] = "unsupported",
    [TSL_CORRUPT] = "corrupt",
    [TSL_SHOULD_WAIT] = "should wait",
};

_Static_assert(TSL_COUNT_OF(names) == TSL_STATUS_COUNT, "each status has a name");

const char *tsl_status_name(enum tsl_status status)
{
    return (unsigned)status < TSL_STATUS_COUNT ? names[status] : "unknown";
}

tsl_word tsl_refusal_count(struct tsl_refusals *counter, enum tsl_status status)
{
    TSL_ASSERT(status > TSL_OK && status < TSL_STATUS_COUNT);
    tsl_word number = 1;
    if (counter != NULL)
        number = tsl_atomic_add(&counter->by_status[status], 1) + 1;
    if (TSL_LOG_LEVEL < TSL_LOG_WARNING || (number > ALWAYS_LOGGED && !tsl_is_power_of_two(number)))
        return 0;
    return number;
}

enum tsl_status tsl_refuse_saying(struct tsl_refusals *counter, enum tsl_status status,
                                  const char *format, ...)
{
    tsl_word number = tsl_refusal_count(counter, status);
    if (number == 0)
        return status;
    char line[TSL_LOG_LINE_BYTES];
    size_t used =
        number > ALWAYS_LOGGED
            ? tsl_format(line, sizeof(line), "%s (%lu times): ", tsl_status_name(status), number)
            : tsl_format(line, sizeof(line), "%s: ", tsl_status_name(status));
    va_list arguments;
    va_start(arguments, format);
    (void)tsl_format_list(line + used, sizeof(line) - used, format, arguments);
    va_end(arguments);
    tsl_port_log(TSL_LOG_WARNING, line);
    return status;
}

tsl_word tsl_refusals_of(const struct tsl_refusals *counter, enum tsl_status status)
{
    return (unsigned)status < TSL_STATUS_COUNT ? tsl_atomic_load(&counter->by_status[status]) : 0;
}

tsl_word tsl_refusals_total(const struct tsl_refusals *counter)
{
    tsl_word total = 0;
    for (unsigned i = 0; i < TSL_STATUS_COUNT; i++)
        total += tsl_atomic_load(&counter->by_status[i]);
    return total;
}

void tsl_assert_failed(const char *file, int line, const char *condition)
{
    tsl_panic("assertion failed at %s:%d: %s", file, line, condition);
}

void tsl_panic(const char *format, ...)
{
    char line[TSL_LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)tsl_format_list(line, sizeof(line), format, arguments);
    va_end(arguments);
    tsl_port_panic(line);
}
