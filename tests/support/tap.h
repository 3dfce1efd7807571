/* SPDX-License-Identifier: MIT
 *
 * tap.h: unit tests that run as a host program and inside a kernel alike.
 *
 * Owns:    the checks, the declaration of a suite, the runner.
 * Needs:   base (formatting, atomics). No C library.
 * Callers: test files; tap_host.c (a host program's main), the kernel test image's main.
 *
 * A test file is one suite:
 *     static void takes_lowest_bit(void) { CHECK_EQ(tsl_bits_take(&copy), 0); }
 *     TAP_SUITE(bits, TAP_TEST(takes_lowest_bit), TAP_TEST(...));
 * A failed check prints where and what, fails its test, and the test goes on; REQUIRE ends the
 * test. A test that checks nothing fails. Output is TAP 12: `ok 1 - bits.takes_lowest_bit`.
 */
#ifndef TAP_H
#define TAP_H

#include <tesela/compiler.h>
#include <tesela/format.h>
#include <tesela/status.h>

struct tap_test {
    const char *name;
    void (*run)(void);
};

struct tap_suite {
    const char *name;
    const struct tap_test *tests;
    size_t count;
};

#define TAP_TEST(function)                                                                         \
    {                                                                                              \
#function, function                                                                        \
    }

/* Defines tap_suite_<name>. A host program finds its suites through the section, the kernel image
 * by their names, in a list that the build makes. */
#define TAP_SUITE(suite, ...)                                                                      \
    static const struct tap_test tap_tests_##suite[] = {__VA_ARGS__};                              \
    extern const struct tap_suite tap_suite_##suite;                                               \
    const struct tap_suite tap_suite_##suite = {#suite, tap_tests_##suite,                         \
                                                TSL_COUNT_OF(tap_tests_##suite)};                  \
    extern const struct tap_suite *const tap_entry_##suite;                                        \
    TSL_SECTION("tap_suites")                                                                      \
    const struct tap_suite *const tap_entry_##suite = &tap_suite_##suite

/* ---- Checks. Each evaluates its arguments once. ---- */

#define CHECK(condition) ((void)tap_check((condition), TSL_FILE, __LINE__, #condition))

/* Integers of any type; both values are shown. */
#define CHECK_EQ(actual, expected)                                                                 \
    ((void)tap_check_equal((uint64_t)(actual), (uint64_t)(expected), TSL_FILE, __LINE__,           \
                           #actual " == " #expected))

/* Pointers. */
#define CHECK_SAME(actual, expected)                                                               \
    ((void)tap_check_equal((uintptr_t)(const void *)(actual), (uintptr_t)(const void *)(expected), \
                           TSL_FILE, __LINE__, #actual " == " #expected))

/* enum tsl_status; names are shown. */
#define CHECK_STATUS(call, expected)                                                               \
    ((void)tap_check_status((call), (expected), TSL_FILE, __LINE__, #call))

/* Strings, whole. */
#define CHECK_STRING(actual, expected)                                                             \
    ((void)tap_check_string((actual), (expected), TSL_FILE, __LINE__, #actual))

/* No defect: for the verifiers. The rule, its place and its sentence are shown. */
#define CHECK_SOUND(defect) ((void)tap_check_sound((defect), TSL_FILE, __LINE__, #defect))

/* A verifier found exactly this rule broken. */
#define CHECK_BROKEN(defect, expected_rule)                                                        \
    ((void)tap_check_equal((defect).rule, (expected_rule), TSL_FILE, __LINE__,                     \
                           #defect " finds rule " #expected_rule))

/* As CHECK, but ends the test at once if it fails. Only in the test function itself. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!tap_check((condition), TSL_FILE, __LINE__, #condition))                               \
            return;                                                                                \
    } while (0)

/* Ends the test as skipped. Only in the test function itself, before any check. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        tap_skip(reason);                                                                          \
        return;                                                                                    \
    } while (0)

/* Prints a remark (`# ...`) among the results. */
TSL_PRINTF(1, 2) void tap_note(const char *format, ...);

/* The halves behind the macros: true if the check holds. May be called by any thread or CPU. */
bool tap_check(bool holds, const char *file, int line, const char *text);
bool tap_check_equal(uint64_t actual, uint64_t expected, const char *file, int line,
                     const char *text);
bool tap_check_status(enum tsl_status actual, enum tsl_status expected, const char *file, int line,
                      const char *text);
bool tap_check_string(const char *actual, const char *expected, const char *file, int line,
                      const char *text);
bool tap_check_sound(struct tsl_defect defect, const char *file, int line, const char *text);
void tap_skip(const char *reason);

/* ---- Chance and length. ---- */

/* What rng_start starts from; tap_run prints it. The same seed gives the same run. */
extern uint64_t tap_seed;
/* Multiplies the rounds of random tests; 1 in a quick run. */
extern unsigned tap_scale;

static inline unsigned tap_rounds(unsigned quick)
{
    return quick * tap_scale;
}

/* Milliseconds since some moment; NULL (in a kernel): nobody is ever late. */
extern uint64_t (*tap_clock)(void);

/* Whether this test has run for 10 s, which is more than any loop of threads needs by itself, at any
 * length. Threads that wait for each other need a thousand times as long where other programs keep
 * the processors busy: their loops end then. Any thread; the first that is late says so among the
 * results. */
bool tap_is_late(void);

/* ---- Running. ---- */

struct tap_result {
    unsigned run;
    unsigned failed;
    unsigned skipped;
};

/*
 * Runs the tests of the NULL-ended list of suites whose name `suite.test` fits `pattern` (`*` and
 * `?`; NULL: all). A pattern without a dot is taken as the whole suite's. Results go to `out`, line
 * by line. Context: one run at a time.
 */
struct tap_result tap_run(const struct tap_suite *const *suites, const char *pattern,
                          const struct tsl_sink *out);

#endif
