/* SPDX-License-Identifier: MIT
 *
 * tap_host.c: the main program of a host test.
 *
 * Owns:    main; standard output as the sink.
 * Needs:   tap.h; the C library. Suites are found through the section that TAP_SUITE fills.
 * Callers: the shell:  ./base-bits [PATTERN] TSL_SEED=0x... starts random tests elsewhere,
 *          TSL_ROUNDS=N makes them N times as long. Exit status: 0 all passed, 1 a test failed, 2
 *          the pattern fits no test.
 */
#define _POSIX_C_SOURCE 199309L
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Made by the linker around the section's contents. */
extern const struct tap_suite *const __start_tap_suites[];
extern const struct tap_suite *const __stop_tap_suites[];

#define MOST_SUITES 64

static void write_out(void *context, const char *text, size_t length)
{
    (void)context;
    (void)fwrite(text, 1, length, stdout);
    /* What was printed is worth most when the next thing crashes. */
    (void)fflush(stdout);
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    const struct tap_suite *suites[MOST_SUITES + 1] = {NULL};
    size_t count = (size_t)(__stop_tap_suites - __start_tap_suites);
    if (count == 0 || count > MOST_SUITES) {
        (void)fprintf(stderr, "%zu suites in one program, 1 to %d expected\n", count, MOST_SUITES);
        return 2;
    }
    for (size_t i = 0; i < count; i++)
        suites[i] = __start_tap_suites[i];
    const char *seed = getenv("TSL_SEED");
    const char *scale = getenv("TSL_ROUNDS");
    tap_seed = seed != NULL ? strtoull(seed, NULL, 0) : tap_seed;
    tap_scale = scale != NULL ? (unsigned)strtoul(scale, NULL, 0) : tap_scale;
    tap_clock = milliseconds;
    struct tsl_sink out = {write_out, NULL};
    struct tap_result result = tap_run(suites, argc > 1 ? argv[1] : NULL, &out);
    if (result.run == 0)
        return 2;
    return result.failed == 0 ? 0 : 1;
}
