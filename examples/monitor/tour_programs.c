/* SPDX-License-Identifier: MIT
 *
 * tour_programs.c: the step with programs: a space, its copy, and one that reaches for the kernel.
 *
 * Owns:    the step `programs`.
 * Needs:   platform/user.h, the program visitor.c.
 * Callers: tour.c. Its twin is tour_no_programs.c.
 */
#include "monitor.h"

#include <tesela/space.h>
#include <tesela/vm.h>

#include <platform/user.h>

extern const unsigned char program_visitor[];
extern const size_t program_visitor_bytes;

static uint32_t kernel_word;

static enum tsl_status load(struct tsl_space **space, struct platform_user *user, uintptr_t target)
{
    const uintptr_t argument[2] = {target, 0};
    enum tsl_status status = tsl_space_create(tsl_system()->vm, NULL, space);
    return status == TSL_OK ? platform_user_load(user, "visitor", *space, program_visitor,
                                                 program_visitor_bytes, argument)
                            : status;
}

/* The program gave up the CPU; its copy and it go on from there, each in memory of its own. */
static bool both_sides(struct platform_user *user, struct tsl_space *space)
{
    struct tsl_space *copy = NULL;
    struct tsl_space_stats stats;
    REQUIRE(tsl_space_copy(space, &copy) == TSL_OK);
    struct platform_user other = *user;
    other.space = copy;
    REQUIRE(platform_user_run(&other) == PLATFORM_USER_EXITED && other.code == 2);
    REQUIRE(platform_user_run(user) == PLATFORM_USER_EXITED && user->code == 2);
    tsl_space_stats(copy, &stats);
    REQUIRE(stats.copied > 0);
    tsl_print(console(), "    it and a copy of it counted on separately, %lu pages copied\n",
              (unsigned long)stats.copied);
    REQUIRE(tsl_space_verify(space).rule == 0 && tsl_space_verify(copy).rule == 0);
    REQUIRE(tsl_space_destroy(copy) == TSL_OK);
    return true;
}

bool tour_programs(void)
{
    struct platform_user user;
    struct tsl_space *space = NULL;
    REQUIRE(load(&space, &user, 0) == TSL_OK);
    REQUIRE(platform_user_run(&user) == PLATFORM_USER_READY);
    REQUIRE(both_sides(&user, space));
    REQUIRE(tsl_space_destroy(space) == TSL_OK);

    REQUIRE(load(&space, &user, (uintptr_t)&kernel_word) == TSL_OK);
    REQUIRE(platform_user_run(&user) == PLATFORM_USER_KILLED && kernel_word == 0);
    REQUIRE(tsl_space_destroy(space) == TSL_OK);
    tsl_print(console(), "    one that wrote to the kernel was ended; the kernel goes on\n");
    return true;
}
