/* SPDX-License-Identifier: MIT
 *
 * test_trace.c: the flight recorder keeps the last events, in order.
 *
 * Owns:    the suite `trace`.
 * Needs:   trace.h.
 * Callers: the test runner, on the host and in kernels, with TSL_TRACE.
 */
#include "tap.h"

#include <tesela/trace.h>

static struct tsl_trace_entry ring[8];

/* A sink that looks at the lines instead of keeping them. */
static struct {
    unsigned lines;
    tsl_word first_a;
    char text[80];
    size_t length;
} seen;

/* The number behind the name of a line such as "       3 cpu 0 test 0x2a 0x0". */
static tsl_word number_in(const char *line)
{
    tsl_word value = 0;
    while (*line != 'x')
        line++;
    for (line++; *line != ' '; line++)
        value = value * 16 + (tsl_word)(*line <= '9' ? *line - '0' : *line - 'a' + 10);
    return value;
}

static void look(void *context, const char *text, size_t length)
{
    (void)context;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '\n') {
            seen.text[seen.length++ % sizeof(seen.text)] = text[i];
            continue;
        }
        tsl_word a = number_in(seen.text);
        if (seen.lines == 0)
            seen.first_a = a;
        CHECK_EQ(a, seen.first_a + seen.lines);
        seen.lines++;
        seen.length = 0;
    }
}

static unsigned dump(void)
{
    struct tsl_sink sink = {look, NULL};
    seen.lines = 0;
    seen.length = 0;
    seen.first_a = 0;
    tsl_trace_dump(&sink);
    return seen.lines;
}

static void keeps_the_last(void)
{
    CHECK_STATUS(tsl_trace_attach(ring, 8), TSL_OK);
    CHECK_EQ(dump(), 0);
    for (tsl_word i = 100; i < 105; i++)
        tsl_trace("test", i, 7);
    CHECK_EQ(dump(), 5);
    CHECK_EQ(seen.first_a, 100);
    for (tsl_word i = 105; i < 121; i++)
        tsl_trace("test", i, 7);
    CHECK_EQ(dump(), 8);
    CHECK_EQ(seen.first_a, 113);
    CHECK_STATUS(tsl_trace_attach(NULL, 0), TSL_OK);
}

static void an_unfinished_event_is_left_out(void)
{
    CHECK_STATUS(tsl_trace_attach(ring, 8), TSL_OK);
    tsl_trace("test", 1, 0);
    for (size_t i = 0; i < 8; i++)
        ring[i].sequence = 0;
    tsl_trace("test", 2, 0);
    CHECK_EQ(dump(), 1);
    CHECK_EQ(seen.first_a, 2);
    CHECK_STATUS(tsl_trace_attach(NULL, 0), TSL_OK);
}

static void records_nothing_when_stopped(void)
{
    CHECK_STATUS(tsl_trace_attach(ring, 8), TSL_OK);
    CHECK_STATUS(tsl_trace_attach(NULL, 0), TSL_OK);
    ring[0].sequence = 99;
    for (tsl_word i = 0; i < 20; i++)
        tsl_trace("test", i, 0);
    CHECK_EQ(dump(), 0);
    CHECK_EQ(ring[0].sequence, 99);
}

static void refuses_odd_rings(void)
{
    CHECK_STATUS(tsl_trace_attach(ring, 6), TSL_INVALID);
    CHECK_STATUS(tsl_trace_attach(ring, 0), TSL_INVALID);
    CHECK_STATUS(tsl_trace_attach(NULL, 8), TSL_INVALID);
}

TAP_SUITE(trace, TAP_TEST(keeps_the_last), TAP_TEST(an_unfinished_event_is_left_out),
          TAP_TEST(records_nothing_when_stopped), TAP_TEST(refuses_odd_rings));
