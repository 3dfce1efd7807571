/* SPDX-License-Identifier: MIT
 *
 * test_log.c: which lines reach the log, and what they say.
 *
 * Owns:    the suite `log`. Host only: it looks at the lines that the host port kept.
 * Needs:   status.h, format.h; host_port.h.
 * Callers: the test runner.
 */
#include "host_port.h"
#include "tap.h"

#include <tesela/config.h>
#include <tesela/status.h>

#include <stdlib.h>
#include <string.h>

static void levels_above_the_configured_are_dropped(void)
{
    host_port_log_clear();
    tsl_log(TSL_LOG_ERROR, "error %d", 1);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_ERROR), TSL_LOG_LEVEL >= 1);
    tsl_log(TSL_LOG_WARNING, "warning %d", 2);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_WARNING), TSL_LOG_LEVEL >= 2);
    tsl_log(TSL_LOG_INFO, "info %d", 3);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_INFO), TSL_LOG_LEVEL >= 3);
    tsl_log(TSL_LOG_DEBUG, "debug %d", 4);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_DEBUG), TSL_LOG_LEVEL >= 4);
    CHECK_EQ(host_port_log_has("warning 2"), TSL_LOG_LEVEL >= 2);
}

static void long_lines_are_cut(void)
{
    if (TSL_LOG_LEVEL < 1)
        SKIP("the log is silent");
    host_port_log_clear();
    tsl_log(TSL_LOG_ERROR, "%300d", 1);
    CHECK_EQ(strlen(host_port_log_last()), TSL_LOG_LINE_BYTES - 1);
}

static void refusals_are_logged_ever_more_rarely(void)
{
    if (TSL_LOG_LEVEL < 2)
        SKIP("refusals are not logged at this level");
    struct tsl_refusals refusals = {{0}};
    host_port_log_clear();
    for (unsigned number = 1; number <= 1000; number++) {
        unsigned before = host_port_log_lines();
        CHECK_STATUS(tsl_refuse(&refusals, TSL_INVALID, "test: order %u", number), TSL_INVALID);
        bool expected = number <= 4 || (number & (number - 1)) == 0;
        CHECK_EQ(host_port_log_lines() - before, expected);
    }
    CHECK_EQ(host_port_log_lines(), 4 + 7);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_WARNING), 4 + 7);
    CHECK(host_port_log_has("invalid: test: order 4"));
    CHECK_STRING(host_port_log_last(), "invalid (512 times): test: order 512");
    /* Another status of the same counter starts anew. */
    CHECK_STATUS(tsl_refuse(&refusals, TSL_BUSY, "test: busy"), TSL_BUSY);
    CHECK_STRING(host_port_log_last(), "busy: test: busy");
}

static void refusals_without_a_counter_are_always_logged(void)
{
    if (TSL_LOG_LEVEL < 2)
        SKIP("refusals are not logged at this level");
    host_port_log_clear();
    for (unsigned number = 1; number <= 7; number++)
        CHECK_STATUS(tsl_refuse(NULL, TSL_FOREIGN, "test"), TSL_FOREIGN);
    CHECK_EQ(host_port_log_lines(), 7);
}

/* What follows the status' name in a line of a build without sentences. */
#define CODE_ADDRESS " at code address 0x"

static void terse_refusals_name_status_and_code(void)
{
    if (TSL_LOG_LEVEL < 2)
        SKIP("refusals are not logged at this level");
    struct tsl_refusals refusals = {{0}};
    host_port_log_clear();
    for (unsigned number = 1; number <= 6; number++)
        CHECK_STATUS(tsl_refuse_tersely(&refusals, TSL_DOUBLE_FREE), TSL_DOUBLE_FREE);
    CHECK_EQ(host_port_log_lines(), 4);
    CHECK_EQ(tsl_refusals_of(&refusals, TSL_DOUBLE_FREE), 6);
    const char *line = host_port_log_last();
    CHECK_EQ(strncmp(line, "double free" CODE_ADDRESS, strlen("double free" CODE_ADDRESS)), 0);
    uintptr_t code = (uintptr_t)strtoull(strstr(line, "0x"), NULL, 16);
    uintptr_t here = (uintptr_t)(void *)terse_refusals_name_status_and_code;
    CHECK(code > here && code - here < 4096);
}

static void terse_lines_keep_their_level(void)
{
    if (TSL_LOG_LEVEL < 2)
        SKIP("warnings are not logged at this level");
    host_port_log_clear();
    tsl_say_tersely(TSL_LOG_WARNING);
    CHECK_EQ(host_port_log_lines_of(TSL_LOG_WARNING), 1);
    CHECK_EQ(strncmp(host_port_log_last(), "noted" CODE_ADDRESS, strlen("noted" CODE_ADDRESS)), 0);
    tsl_say_tersely(TSL_LOG_DEBUG);
    CHECK_EQ(host_port_log_lines(), 1 + (TSL_LOG_LEVEL >= TSL_LOG_DEBUG));
}

TAP_SUITE(log, TAP_TEST(levels_above_the_configured_are_dropped), TAP_TEST(long_lines_are_cut),
          TAP_TEST(refusals_are_logged_ever_more_rarely),
          TAP_TEST(refusals_without_a_counter_are_always_logged),
          TAP_TEST(terse_refusals_name_status_and_code), TAP_TEST(terse_lines_keep_their_level));
