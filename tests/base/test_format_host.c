/* SPDX-License-Identifier: MIT
 *
 * test_format_host.c: random formats and values, against the C library's snprintf.
 *
 * Owns:    the suite `format_host`. Host only.
 * Needs:   format.h; snprintf.
 * Callers: the test runner.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/format.h>

#include <stdio.h>
#include <string.h>

static char ours[400];
static char theirs[400];

/* A flag, a width and a precision, or none of them. */
static char *put_options(struct rng *rng, char *at, bool numeric)
{
    *at++ = '%';
    if (rng_once_in(rng, 3))
        *at++ = numeric ? "-0#"[rng_below(rng, 3)] : '-';
    if (rng_once_in(rng, 2))
        at += sprintf(at, "%u", 1 + rng_below(rng, 40));
    if (rng_once_in(rng, 3))
        at += sprintf(at, ".%u", rng_below(rng, 30));
    return at;
}

/* A value whose length in digits is random, not only its digits. */
static uint64_t some_value(struct rng *rng)
{
    uint64_t value = rng_u64(rng) >> rng_below(rng, 64);
    return rng_once_in(rng, 2) ? value : 0 - value;
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

static void compare(const char *format, size_t our_length, int their_length)
{
    CHECK_EQ(our_length, their_length);
    if (strcmp(ours, theirs) != 0)
        tap_note("format %s", format);
    CHECK_STRING(ours, theirs);
}

static void compare_number(struct rng *rng, size_t size)
{
    char format[32];
    char *at = put_options(rng, format, true);
    uint64_t value = some_value(rng);
    char letter = "duxXi"[rng_below(rng, 5)];
    if (memchr(format, '#', (size_t)(at - format)) != NULL &&
        (letter == 'd' || letter == 'u' || letter == 'i'))
        letter = 'x'; /* elsewhere # is undefined */
    switch (rng_below(rng, 4)) {
    case 0:
        (void)sprintf(at, "%c", letter);
        compare(format, tsl_format(ours, size, format, (unsigned)value),
                snprintf(theirs, size, format, (unsigned)value));
        break;
    case 1:
        (void)sprintf(at, "l%c", letter);
        compare(format, tsl_format(ours, size, format, (unsigned long)value),
                snprintf(theirs, size, format, (unsigned long)value));
        break;
    case 2:
        (void)sprintf(at, "z%c", letter);
        compare(format, tsl_format(ours, size, format, (size_t)value),
                snprintf(theirs, size, format, (size_t)value));
        break;
    default:
        (void)sprintf(at, "ll%c", letter);
        compare(format, tsl_format(ours, size, format, (unsigned long long)value),
                snprintf(theirs, size, format, (unsigned long long)value));
        break;
    }
}

static void numbers_like_the_c_library(void)
{
    struct rng rng = rng_start(1);
    for (unsigned round = 0; round < tap_rounds(20000); round++) {
        /* Now and then too little room. */
        compare_number(&rng, rng_once_in(&rng, 4) ? 1 + rng_below(&rng, 30) : sizeof(ours));
    }
}

static void strings_like_the_c_library(void)
{
    static const char *const words[] = {"", "a", "frames", "a much longer text than the others"};
    struct rng rng = rng_start(2);
    for (unsigned round = 0; round < tap_rounds(5000); round++) {
        char format[40];
        char *at = put_options(&rng, format, false);
        (void)strcpy(at, rng_once_in(&rng, 2) ? "s" : "s and %d");
        const char *word = words[rng_below(&rng, 4)];
        compare(format, tsl_format(ours, sizeof(ours), format, word, 5),
                snprintf(theirs, sizeof(theirs), format, word, 5));
    }
}

TAP_SUITE(format_host, TAP_TEST(numbers_like_the_c_library), TAP_TEST(strings_like_the_c_library));
