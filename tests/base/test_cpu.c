/* SPDX-License-Identifier: MIT
 *
 * test_cpu.c: sets of CPUs against an array of bools.
 *
 * Owns:    the suite `cpu`. Joining and leaving are in test_flush.c.
 * Needs:   cpu.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/cpu.h>

static bool model[TSL_CPUS];

static unsigned model_next(unsigned from)
{
    while (from < TSL_CPUS && !model[from])
        from++;
    return from < TSL_CPUS ? from : TSL_CPUS;
}

static void behaves_as_the_model(void)
{
    struct rng rng = rng_start(1);
    struct tsl_cpu_set set = {{0}};
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
        model[cpu] = false;
    CHECK(tsl_cpu_set_is_empty(&set));
    for (unsigned round = 0; round < tap_rounds(500); round++) {
        unsigned cpu = rng_below(&rng, TSL_CPUS);
        model[cpu] = rng_once_in(&rng, 2);
        (model[cpu] ? tsl_cpu_set_add : tsl_cpu_set_remove)(&set, cpu);
        unsigned count = 0;
        for (unsigned i = 0; i < TSL_CPUS; i++) {
            CHECK_EQ(tsl_cpu_set_has(&set, i), model[i]);
            CHECK_EQ(tsl_cpu_set_next(&set, i), model_next(i));
            count += model[i];
        }
        CHECK_EQ(tsl_cpu_set_count(&set), count);
        CHECK_EQ(tsl_cpu_set_is_empty(&set), count == 0);
        CHECK_EQ(tsl_cpu_set_next(&set, TSL_CPUS), TSL_CPUS);
    }
}

static void intersects(void)
{
    struct tsl_cpu_set a = {{0}};
    struct tsl_cpu_set b = {{0}};
    tsl_cpu_set_add(&a, 0);
    tsl_cpu_set_intersect(&a, &b, &b);
    CHECK(tsl_cpu_set_is_empty(&b));
    tsl_cpu_set_add(&b, 0);
    tsl_cpu_set_add(&b, TSL_CPUS - 1);
    tsl_cpu_set_intersect(&a, &b, &b);
    CHECK_EQ(tsl_cpu_set_count(&b), 1);
    CHECK(tsl_cpu_set_has(&b, 0));
}

TAP_SUITE(cpu, TAP_TEST(behaves_as_the_model), TAP_TEST(intersects));
