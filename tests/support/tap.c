/* SPDX-License-Identifier: MIT
 *
 * tap.c: the runner of the tests, and what a failed check prints.
 *
 * Owns:    the state of the one test that runs.
 * Needs:   base (format, atomics). No C library.
 * Callers: tap_host.c, the kernel test image's main; checks through the macros of tap.h.
 */
#include "tap.h"

#include <tesela/atomic.h>

#define LINE_BYTES 256

uint64_t tap_seed = 0x7465736C61ull;
unsigned tap_scale = 1;
uint64_t (*tap_clock)(void);

#define LATE_MS 10000u

/* The test that runs. Checks may come from several threads or CPUs, hence atomic. */
static struct {
    const struct tsl_sink *out;
    uint32_t checks;
    uint32_t failures;
    const char *skip_reason;
    uint64_t start; /* by tap_clock */
    uint32_t is_late;
} now;

/* A whole line in one piece, so that lines of several CPUs do not mix. */
static void write_line(const char *line, size_t length)
{
    if (now.out != NULL)
        now.out->write(now.out->context, line, length < LINE_BYTES ? length : LINE_BYTES - 1);
}

TSL_PRINTF(1, 2) static void print_line(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    size_t length = tsl_format_list(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    length = length < sizeof(line) - 2 ? length : sizeof(line) - 2;
    line[length++] = '\n';
    write_line(line, length);
}

void tap_note(const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)tsl_format_list(text, sizeof(text), format, arguments);
    va_end(arguments);
    print_line("# %s", text);
}

bool tap_is_late(void)
{
    if (tap_clock == NULL || tap_clock() - now.start < LATE_MS)
        return false;
    if (tsl_atomic_exchange_u32(&now.is_late, 1) == 0)
        tap_note("this machine is busy: loops of threads end early");
    return true;
}

/* Counts a check; true if it is to be reported. A loop that fails a million times reports ten. */
static bool count(bool holds)
{
    (void)tsl_atomic_add_u32(&now.checks, 1);
    return !holds && tsl_atomic_add_u32(&now.failures, 1) < 10;
}

bool tap_check(bool holds, const char *file, int line, const char *text)
{
    if (count(holds))
        print_line("# %s:%d: %s", file, line, text);
    return holds;
}

bool tap_check_equal(uint64_t actual, uint64_t expected, const char *file, int line,
                     const char *text)
{
    bool holds = actual == expected;
    if (count(holds)) {
        print_line("# %s:%d: %s: %lld (0x%llx), not %lld (0x%llx)", file, line, text,
                   (long long)actual, (unsigned long long)actual, (long long)expected,
                   (unsigned long long)expected);
    }
    return holds;
}

bool tap_check_status(enum tsl_status actual, enum tsl_status expected, const char *file, int line,
                      const char *text)
{
    bool holds = actual == expected;
    if (count(holds)) {
        print_line("# %s:%d: %s: %s, not %s", file, line, text, tsl_status_name(actual),
                   tsl_status_name(expected));
    }
    return holds;
}

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool tap_check_string(const char *actual, const char *expected, const char *file, int line,
                      const char *text)
{
    bool holds = actual != NULL && expected != NULL && same_text(actual, expected);
    if (count(holds))
        print_line("# %s:%d: %s: \"%s\", not \"%s\"", file, line, text, actual, expected);
    return holds;
}

bool tap_check_sound(struct tsl_defect defect, const char *file, int line, const char *text)
{
    bool holds = defect.rule == 0;
    if (count(holds)) {
        print_line("# %s:%d: %s: %s rule %u broken at 0x%llx: %s", file, line, text,
                   defect.component, defect.rule, (unsigned long long)defect.place,
                   defect.sentence);
    }
    return holds;
}

void tap_skip(const char *reason)
{
    now.skip_reason = reason;
}

/* Shell pattern without brackets. `*` is tried short first, and only the last one again: a longer
 * match for an earlier one cannot help. */
static bool fits(const char *pattern, const char *name)
{
    const char *star = NULL;
    const char *retry = NULL;
    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*name != '\0' && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (*name == '\0' && *pattern == '\0') {
            return true;
        } else if (star == NULL || *retry == '\0') {
            return false;
        } else {
            pattern = star;
            name = ++retry;
        }
    }
}

static bool is_chosen(const struct tap_suite *suite, const struct tap_test *test,
                      const char *pattern)
{
    char name[LINE_BYTES];
    (void)tsl_format(name, sizeof(name), "%s.%s", suite->name, test->name);
    return pattern == NULL || fits(pattern, suite->name) || fits(pattern, name);
}

static unsigned count_chosen(const struct tap_suite *const *suites, const char *pattern)
{
    unsigned chosen = 0;
    for (; *suites != NULL; suites++)
        for (size_t i = 0; i < (*suites)->count; i++)
            chosen += is_chosen(*suites, &(*suites)->tests[i], pattern);
    return chosen;
}

static void run_one(const struct tap_suite *suite, const struct tap_test *test,
                    struct tap_result *result)
{
    now.checks = 0;
    now.failures = 0;
    now.skip_reason = NULL;
    now.start = tap_clock != NULL ? tap_clock() : 0;
    now.is_late = 0;
    test->run();
    if (now.checks == 0 && now.skip_reason == NULL)
        (void)tap_check(false, suite->name, 0, "the test checked nothing");
    result->run++;
    bool failed = tsl_atomic_load_u32(&now.failures) != 0;
    result->failed += failed;
    if (now.skip_reason != NULL && !failed) {
        result->skipped++;
        print_line("ok %u - %s.%s # SKIP %s", result->run, suite->name, test->name,
                   now.skip_reason);
        return;
    }
    print_line("%s %u - %s.%s", failed ? "not ok" : "ok", result->run, suite->name, test->name);
}

struct tap_result tap_run(const struct tap_suite *const *suites, const char *pattern,
                          const struct tsl_sink *out)
{
    struct tap_result result = {0};
    now.out = out;
    print_line("1..%u", count_chosen(suites, pattern));
    print_line("# seed 0x%llx", (unsigned long long)tap_seed);
    for (; *suites != NULL; suites++) {
        for (size_t i = 0; i < (*suites)->count; i++)
            if (is_chosen(*suites, &(*suites)->tests[i], pattern))
                run_one(*suites, &(*suites)->tests[i], &result);
    }
    return result;
}
