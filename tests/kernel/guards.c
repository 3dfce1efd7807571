/* SPDX-License-Identifier: MIT
 *
 * guards.c: what the guards of page frames catch in a kernel, by mistakes made on purpose.
 *
 * Owns:    the test kernel `guards`.
 * Needs:   the facade (to start), physical_allocator with at least one guard, platform/pc, tap.h.
 * Callers: tests/kernel/meson.build, in kernels that have a guard.
 *
 * A write to free memory is made where a driver would make it: through the direct map, by a page
 * that is kept in mind after it was given back.
 */
#include "start.h"

#include <tesela/config.h>
#include <tesela/frames_guard.h>
#include <tesela/memory.h>
#include <tesela/port.h>
#include <tesela/vallocator.h>
#include <platform/boot.h>
#include <platform/cpu.h>

enum { LIMIT_US = 10000000, MANY = 64 };

static struct tsl_frames *frames(void)
{
    return tsl_system()->frames;
}

static tsl_word *words_of(struct tsl_frame frame)
{
    return tsl_port_phys_to_virt(tsl_frame_address(frame));
}

static struct tsl_frames_guard_stats stats_now(void)
{
    struct tsl_frames_guard_stats stats;
    tsl_frames_guard_stats(frames(), &stats);
    return stats;
}

static tsl_word told(enum tsl_status status)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames(), &stats);
    return stats.refusals.by_status[status];
}

static TSL_NOINLINE struct tsl_frame take_here(unsigned order)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(frames(), order, TSL_FRAMES_LOW, &frame), TSL_OK);
    return frame;
}

static TSL_NOINLINE struct tsl_frame take_there(unsigned order)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(frames(), order, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &frame),
                 TSL_OK);
    return frame;
}

static void give(struct tsl_frame frame, unsigned order)
{
    CHECK_STATUS(tsl_frames_free(frames(), frame, order), TSL_OK);
}

/* Whether one of many frames taken now is this one; all are given back. */
static bool is_given_again(struct tsl_frame frame)
{
    static struct tsl_frame taken[MANY];
    bool is_found = false;
    for (unsigned i = 0; i < MANY; i++) {
        taken[i] = take_here(0);
        is_found = is_found || taken[i].number == frame.number;
    }
    for (unsigned i = 0; i < MANY; i++)
        give(taken[i], 0);
    return is_found;
}

/* The word is written `write` words into the frame; the frame is free. */
static void check_write_is_caught(struct tsl_frame frame, unsigned word)
{
    struct tsl_frames_guard_stats before = stats_now();
    tsl_word corrupt = told(TSL_CORRUPT);
    words_of(frame)[word] ^= 0x80;
    CHECK_EQ(is_given_again(frame), !TSL_FRAME_POISON);
    CHECK_EQ(stats_now().overwritten - before.overwritten, TSL_FRAME_POISON);
    CHECK_EQ(stats_now().kept_aside - before.kept_aside, TSL_FRAME_POISON);
    CHECK_EQ(told(TSL_CORRUPT) - corrupt, TSL_FRAME_POISON);
}

static void a_write_after_free_is_caught(void)
{
    struct tsl_frame frame = take_here(0);
    give(frame, 0);
    check_write_is_caught(frame, TSL_PAGE_BYTES / sizeof(tsl_word) - 1);
}

/* By what another CPU gave back, which nobody has looked at on this one. */
static void take_and_give(void *argument)
{
    struct tsl_frame *frame = argument;
    *frame = take_here(0);
    words_of(*frame)[0] = 42;
    give(*frame, 0);
}

static void another_cpus_frame_is_looked_at(void)
{
    static struct tsl_frame frame;
    if (platform_cpu_count() < 2)
        SKIP("one CPU");
    CHECK(platform_run_on(1, take_and_give, &frame));
    CHECK(platform_wait_for(1, LIMIT_US));
    tsl_word bad = stats_now().overwritten;
    words_of(frame)[100] ^= 1;
    static struct tsl_frame second;
    CHECK(platform_run_on(1, take_and_give, &second));
    CHECK(platform_wait_for(1, LIMIT_US));
    CHECK_EQ(second.number == frame.number, !TSL_FRAME_POISON);
    CHECK_EQ(stats_now().overwritten - bad, TSL_FRAME_POISON);
}

static tsl_paddr physical_of(const void *memory)
{
    struct tsl_mapping found = {0};
    CHECK_STATUS(tsl_table_query(tsl_system()->table, (tsl_vaddr)memory, &found), TSL_OK);
    return found.target + ((tsl_vaddr)memory - found.start);
}

/* A page of valloc() that a device goes on writing to. */
static void a_freed_range_is_guarded(void)
{
    char *memory = valloc(TSL_PAGE_BYTES, VM_READ | VM_WRITE);
    REQUIRE(memory != NULL);
    __builtin_memset(memory, 0x55, TSL_PAGE_BYTES);
    struct tsl_frame frame = tsl_frame_of(physical_of(memory));
    vfree(memory);
    tsl_ranges_purge(tsl_system()->ranges); /* what was freed may wait for one flush of many */
    const unsigned char *bytes = (const unsigned char *)words_of(frame);
    bool holds_secret = bytes[0] == 0x55 || bytes[TSL_PAGE_BYTES - 1] == 0x55;
    CHECK_EQ(holds_secret, !TSL_FRAME_POISON && !TSL_FRAME_ZERO_ON_FREE);
    for (unsigned i = 0; TSL_FRAME_ZERO_ON_FREE && i < TSL_PAGE_BYTES; i++)
        REQUIRE(bytes[i] == 0);
    check_write_is_caught(frame, 0);
}

/* An address in a function, or the little of the one behind it. */
static bool is_in(struct tsl_frame (*function)(unsigned), uintptr_t site)
{
    return site - (uintptr_t)function < 512;
}

static void the_owner_is_named(void)
{
    struct tsl_frames_owner owner = {0};
    struct tsl_frame block = take_here(2);
    if (!TSL_FRAME_OWNERS) {
        CHECK_STATUS(tsl_frames_owner(frames(), block, &owner), TSL_UNSUPPORTED);
        give(block, 2);
        return;
    }
    CHECK_STATUS(tsl_frames_owner(frames(), block, &owner), TSL_OK);
    CHECK(is_in(take_here, owner.site));
    CHECK(!is_in(take_there, owner.site));
    CHECK_EQ(owner.order, 2);
    /* Who thinks it his still finds another one there. */
    give(block, 2);
    struct tsl_frame other = take_there(2);
    CHECK_EQ(other.number, block.number);
    CHECK_STATUS(tsl_frames_owner(frames(), block, &owner), TSL_OK);
    CHECK(is_in(take_there, owner.site));
    give(other, 2);
    CHECK_STATUS(tsl_frames_owner(frames(), block, &owner), TSL_NOT_FOUND);
}

/* Nobody can have taken what is reserved: to free it is to free somebody else's. */
static void frames_of_others_are_not_freed(void)
{
    struct tsl_frame frame = take_here(0);
    give(frame, 0);
    tsl_frames_drain(frames());
    tsl_word free = tsl_frames_free_count(frames());
    tsl_paddr address = tsl_frame_address(frame);
    CHECK_STATUS(tsl_frames_reserve(frames(), address, TSL_PAGE_BYTES), TSL_OK);
    words_of(frame)[3] = 77;
    CHECK_STATUS(tsl_frames_free(frames(), frame, 0), TSL_FOREIGN);
    CHECK_EQ(words_of(frame)[3], 77);
    CHECK_STATUS(tsl_frames_release(frames(), address, TSL_PAGE_BYTES), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(frames()), free);
}

static void zeros_are_zeros(void)
{
    struct tsl_frame frame = take_here(0);
    __builtin_memset(words_of(frame), 0x77, TSL_PAGE_BYTES);
    give(frame, 0);
    struct tsl_frame zeros = take_there(0);
    for (unsigned i = 0; i < TSL_PAGE_BYTES / sizeof(tsl_word); i++)
        REQUIRE(words_of(zeros)[i] == 0);
    give(zeros, 0);
}

static void the_system_is_sound(void)
{
    CHECK_SOUND(tsl_verify());
}

TAP_SUITE(guards, TAP_TEST(a_write_after_free_is_caught), TAP_TEST(another_cpus_frame_is_looked_at),
          TAP_TEST(a_freed_range_is_guarded), TAP_TEST(the_owner_is_named),
          TAP_TEST(frames_of_others_are_not_freed), TAP_TEST(zeros_are_zeros),
          TAP_TEST(the_system_is_sound));

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    return test_start() && test_run(&tap_suite_guards);
}
