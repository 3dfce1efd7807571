/* SPDX-License-Identifier: MIT
 *
 * test_status.c: names of statuses and counted refusals.
 *
 * Owns:    the suite `status`.
 * Needs:   status.h.
 * Callers: the test runner, on the host and in kernels.
 *
 * Which of them are logged: test_die.c.
 */
#include "tap.h"

#include <tesela/status.h>

static bool differ(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a != *b;
}

static void names_are_distinct(void)
{
    for (int i = 0; i < TSL_STATUS_COUNT; i++) {
        CHECK(differ(tsl_status_name((enum tsl_status)i), "unknown"));
        for (int j = 0; j < i; j++)
            CHECK(differ(tsl_status_name((enum tsl_status)i), tsl_status_name((enum tsl_status)j)));
    }
    CHECK_STRING(tsl_status_name(TSL_OK), "ok");
    CHECK_STRING(tsl_status_name(TSL_DOUBLE_FREE), "double free");
    CHECK_STRING(tsl_status_name(TSL_SHOULD_WAIT), "should wait");
    CHECK_STRING(tsl_status_name(TSL_STATUS_COUNT), "unknown");
    CHECK_STRING(tsl_status_name((enum tsl_status)1000), "unknown");
}

static void refusals_count_by_status(void)
{
    struct tsl_refusals refusals = {{0}};
    CHECK_EQ(tsl_refusals_total(&refusals), 0);
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(tsl_refuse(&refusals, TSL_BUSY, "test: refused on purpose"), TSL_BUSY);
    CHECK_STATUS(tsl_refuse(&refusals, TSL_FOREIGN, "test: refused on purpose"), TSL_FOREIGN);
    CHECK_EQ(tsl_refusals_of(&refusals, TSL_BUSY), 5);
    CHECK_EQ(tsl_refusals_of(&refusals, TSL_FOREIGN), 1);
    CHECK_EQ(tsl_refusals_of(&refusals, TSL_INVALID), 0);
    CHECK_EQ(tsl_refusals_of(&refusals, TSL_STATUS_COUNT), 0);
    CHECK_EQ(tsl_refusals_total(&refusals), 6);
}

static void refuses_without_a_counter(void)
{
    CHECK_STATUS(tsl_refuse(NULL, TSL_INVALID, "test: refused on purpose"), TSL_INVALID);
}

static void no_defect_is_rule_zero(void)
{
    CHECK_EQ(TSL_NO_DEFECT.rule, 0);
    struct tsl_defect defect = tsl_defect_at("test", 3, 0x1000, "a sentence");
    CHECK_STRING(defect.component, "test");
    CHECK_EQ(defect.rule, 3);
    CHECK_EQ(defect.place, 0x1000);
    CHECK_STRING(defect.sentence, "a sentence");
}

TAP_SUITE(status, TAP_TEST(names_are_distinct), TAP_TEST(refusals_count_by_status),
          TAP_TEST(refuses_without_a_counter), TAP_TEST(no_defect_is_rule_zero));
