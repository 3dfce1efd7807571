/* SPDX-License-Identifier: MIT
 *
 * kernel_bench_user.c: rows that a program measures in user mode: calls, faults, maps.
 *
 * Owns:    the list of these rows, the calls that the program makes for them.
 * Needs:   platform/user.h, programs/measure.c; QEMU with -icount shift=0.
 * Callers: kernel_bench.c.
 *
 * Each sample is a program and a space of its own; the first one, which may fill caches, is thrown
 * away.
 */
#include "kernel_bench.h"

#include <tesela/flush.h>
#include <tesela/memory.h>
#include <tesela/space.h>
#include <tesela/vm.h>

#include <platform/console.h>
#include <platform/user.h>

#include "../kernel/programs/measure.h"

extern const unsigned char program_measure[];
extern const size_t program_measure_bytes;

/* What one run of the program has to do with. */
struct run {
    struct tsl_space *copy;
    struct tsl_object *object;
    unsigned flushes; /* in what was measured */
};

static unsigned flushes_now(void)
{
    struct tsl_flush_counters counters;
    tsl_flush_counters(&counters);
    return (unsigned)counters.flushes;
}

static enum tsl_status map(struct tsl_space *space, struct tsl_object *object, tsl_vaddr at,
                           size_t bytes)
{
    tsl_vaddr start;
    struct tsl_map_request request = {.address = at,
                                      .bytes = bytes,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .object = object,
                                      .flags = TSL_SPACE_FIXED | (object ? TSL_SPACE_SHARED : 0)};
    return tsl_space_map(space, &request, &start);
}

static enum tsl_status share(struct platform_user *user, tsl_vaddr at, size_t bytes)
{
    struct run *run = user->context;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = bytes};
    enum tsl_status status = TSL_OK;
    if (!run->object)
        status = tsl_object_create(tsl_system()->vm, &config, &run->object);
    return status == TSL_OK ? map(user->space, run->object, at, bytes) : status;
}

static enum tsl_status drop_copy(struct run *run)
{
    struct tsl_space *copy = run->copy;
    run->copy = NULL;
    return copy ? tsl_space_destroy(copy) : TSL_OK;
}

/* Counts from the first mark to the second. */
static enum tsl_status mark(struct run *run)
{
    run->flushes = flushes_now() - run->flushes;
    return TSL_OK;
}

static uintptr_t answer(struct platform_user *user, uintptr_t number, const uintptr_t argument[3])
{
    struct run *run = user->context;
    switch (number) {
    case MEASURE_CALL_MAP:
        return map(user->space, NULL, argument[0], argument[1]);
    case MEASURE_CALL_SHARE:
        return share(user, argument[0], argument[1]);
    case MEASURE_CALL_UNMAP:
        return tsl_space_unmap(user->space, argument[0], argument[1]);
    case MEASURE_CALL_PROTECT:
        return tsl_space_protect(user->space, argument[0], argument[1], (unsigned)argument[2]);
    case MEASURE_CALL_POPULATE:
        return tsl_space_populate(user->space, argument[0], argument[1]);
    case MEASURE_CALL_COPY:
        return tsl_space_copy(user->space, &run->copy);
    case MEASURE_CALL_DROP:
        return drop_copy(run);
    case MEASURE_CALL_MARK:
        return mark(run);
    default:
        return USER_CALL_UNKNOWN;
    }
}

/* One program, from its space on. */
static bool sample(enum measure_row row, unsigned count, uint32_t *out, unsigned *flushes)
{
    struct run run = {.copy = NULL};
    struct platform_user user;
    struct tsl_space *space = NULL;
    const uintptr_t argument[2] = {row, count};
    if (tsl_space_create(tsl_system()->vm, NULL, &space) != TSL_OK)
        return false;
    bool good = platform_user_load(&user, "measure", space, program_measure, program_measure_bytes,
                                   argument) == TSL_OK;
    user.call = answer;
    user.context = &run;
    good = good && platform_user_run(&user) == PLATFORM_USER_EXITED && user.code != MEASURE_FAILED;
    *out = (uint32_t)user.code;
    *flushes += run.flushes;
    good = drop_copy(&run) == TSL_OK && good;
    good = tsl_space_destroy(space) == TSL_OK && good;
    if (run.object)
        tsl_object_put(run.object);
    return good;
}

static bool user_row(const char *name, enum measure_row row, unsigned count)
{
    uint32_t values[SAMPLES];
    unsigned flushes = 0;
    bool good = sample(row, count, &values[0], &flushes);
    flushes = 0;
    for (unsigned i = 0; good && i < SAMPLES; i++)
        good = sample(row, count, &values[i], &flushes);
    if (!good) {
        tsl_print(platform_console(), "%s: an operation failed\n", name);
        return false;
    }
    bench_print_row(name, values, count);
    bench_print_flushes(name, flushes, count);
    return true;
}

bool bench_user_rows(void)
{
    return user_row("syscall.null", MEASURE_NULL, 1024) &&
           user_row("fault.anon", MEASURE_ANON, 1024) &&
           user_row("fault.zero", MEASURE_ZERO, 1024) &&
           user_row("fault.shared_new", MEASURE_SHARED_NEW, 1024) &&
           user_row("fault.shared_old", MEASURE_SHARED_OLD, 1024) &&
           user_row("populate.page", MEASURE_POPULATE, 1024) &&
           user_row("unmap.page", MEASURE_UNMAP, 1024) &&
           user_row("map.pair", MEASURE_MAP_PAIR, 256) &&
           user_row("protect.flip", MEASURE_PROTECT, 256) &&
           user_row("cow.copy", MEASURE_COW_COPY, 1024) &&
           user_row("cow.reuse", MEASURE_COW_REUSE, 1024);
}
