/* SPDX-License-Identifier: MIT
 *
 * test_frames_banks.c: banks of RAM fill in order, are switched off when empty and on when wanted.
 *
 * Owns:    suite frames_banks; the broken rule 13; the pretended hardware.
 * Needs:   frames_world.h, the test port; TSL_FRAME_BANKS.
 * Callers: the unit suite.
 */
#define _GNU_SOURCE
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BANK        (4 * MIB)
#define BANK_FRAMES (BANK / TSL_PAGE_BYTES)

static struct world world;

static struct {
    unsigned off; /* a bit a bank */
    unsigned calls;
    unsigned broken; /* banks that cannot be switched */
    unsigned mistakes;
} hardware;

static bool switch_bank(void *context, unsigned bank, bool on)
{
    unsigned bit = 1u << bank;
    hardware.calls++;
    if (context != &hardware || ((hardware.off & bit) != 0) != on)
        hardware.mistakes++;
    if ((hardware.broken & bit) != 0)
        return false;
    hardware.off ^= bit;
    /* What was in it is lost. */
    __builtin_memset(tsl_port_phys_to_virt(16 * MIB + bank * BANK), 0xc3, BANK);
    return true;
}

static const struct tsl_frames_bank_switch wires = {switch_bank, &hardware};

/* Six banks from 16 MiB to 40 MiB; the last one has the metadata. */
static struct tsl_frames *make(void)
{
    const struct world_range ranges[] = {{16 * MIB, 24 * MIB, TSL_MEMORY_USABLE}};
    hardware.off = hardware.calls = hardware.broken = hardware.mistakes = 0;
    if (world_make(&world, ranges, 1) != TSL_OK ||
        tsl_frames_set_banks(world.frames, 16 * MIB, BANK, &wires) != TSL_OK)
        return NULL;
    return world.frames;
}

static struct tsl_frames_bank_stats stats_of(unsigned bank)
{
    struct tsl_frames_bank_stats stats = {0};
    CHECK_STATUS(tsl_frames_bank_stats(world.frames, bank, &stats), TSL_OK);
    return stats;
}

static void banks_fill_in_order(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    CHECK_EQ(tsl_frames_bank_count(self), 6);
    for (unsigned bank = 0; bank < 5; bank++) {
        CHECK_EQ(stats_of(bank).start, 16 * MIB + bank * BANK);
        CHECK_EQ(stats_of(bank).total, BANK_FRAMES);
        for (unsigned i = 0; i < BANK_FRAMES; i++) {
            REQUIRE(tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK);
            REQUIRE(stats_of(bank).free == BANK_FRAMES - i - 1);
        }
        CHECK_EQ(stats_of(bank + 1).free, stats_of(bank + 1).total);
    }
    CHECK(stats_of(5).total < BANK_FRAMES);
    struct tsl_frames_bank_stats none;
    CHECK_STATUS(tsl_frames_bank_stats(self, 6, &none), TSL_INVALID);
}

static enum tsl_status second_status;
static bool second_has_ended;

static void *second_cpu(void *unused)
{
    struct tsl_frame frame;
    host_port_set_cpu(1);
    second_status = tsl_frames_alloc(world.frames, TSL_FRAMES_MAX_ORDER, 0, &frame);
    __atomic_store_n(&second_has_ended, true, __ATOMIC_RELEASE);
    return unused;
}

static bool switch_large_bank(void *context, unsigned bank, bool on)
{
    (void)context;
    (void)bank;
    (void)on;
    return true;
}

static const struct tsl_frames_bank_switch twice = {switch_large_bank, NULL};
static pthread_t second_thread;

/* Either it waits for the bank, of which this CPU has given a part, or it says at once that it gets
 * nothing. */
static void start_second_cpu(void)
{
    if (pthread_create(&second_thread, NULL, second_cpu, NULL) != 0)
        abort();
    for (unsigned i = 0; i < 20 && !__atomic_load_n(&second_has_ended, __ATOMIC_ACQUIRE); i++)
        usleep(1000);
}

static void who_finds_a_bank_on_its_way_waits_for_it(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    /* The first of three larger banks is off, all frames of the others are taken. */
    REQUIRE(self != NULL && tsl_frames_set_banks(self, 16 * MIB, 2 * BANK, &twice) == TSL_OK);
    CHECK_STATUS(tsl_frames_reserve(self, 16 * MIB + 2 * BANK, 4 * BANK), TSL_OK);
    REQUIRE(tsl_frames_banks_rest(self, 0) == 1);
    second_has_ended = false;
    host_port_at_unpin(1, 0, start_second_cpu);
    CHECK_STATUS(tsl_frames_alloc(self, 0, 0, &frame), TSL_OK);
    REQUIRE(host_port_was_unpinned());
    (void)pthread_join(second_thread, NULL);
    CHECK_STATUS(second_status, TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void empty_banks_are_switched_off_the_highest_first(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    REQUIRE(tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK); /* in bank 0 */
    tsl_word before = world_free(&world);
    CHECK_EQ(tsl_frames_banks_rest(self, 3 * BANK_FRAMES + 200), 2);
    CHECK_EQ(hardware.off, 3u << 3);
    CHECK_EQ(world_free(&world), before - 2 * BANK_FRAMES);
    CHECK(!stats_of(4).is_on);
    CHECK_EQ(stats_of(4).free, 0);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 2); /* 0 is in use, 5 has the metadata */
    CHECK_EQ(hardware.off, 0x1e);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 0);
    CHECK_EQ(hardware.mistakes, 0);
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, BANK, &wires), TSL_BUSY);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void who_finds_nothing_switches_one_on(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    tsl_word all = world_free(&world);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 5);
    CHECK_EQ(hardware.off, 0x1f);
    tsl_word count = 0;
    for (; tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK; count++) {
        uint64_t at = tsl_frame_address(frame);
        REQUIRE((hardware.off >> ((at - 16 * MIB) / BANK) & 1) == 0);
    }
    CHECK_EQ(count, all);
    CHECK_EQ(hardware.off, 0);
    CHECK_EQ(hardware.mistakes, 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* What was lost with a bank is no write to a free frame, and its frames cannot be freed
 * meanwhile. */
static void contents_are_lost_without_alarm(void)
{
    struct tsl_frames *self = make();
    static struct tsl_frame taken[5 * BANK_FRAMES];
    struct tsl_frames_stats stats;
    tsl_word freed, count = world_free(&world);
    REQUIRE(self != NULL && count < TSL_COUNT_OF(taken) + BANK_FRAMES);
    for (unsigned round = 0; round < 2; round++) {
        count = tsl_frames_alloc_bulk(self, TSL_FRAMES_LOW, taken, TSL_COUNT_OF(taken));
        CHECK_EQ(count, TSL_COUNT_OF(taken));
        CHECK_STATUS(tsl_frames_free_bulk(self, taken, count, &freed), TSL_OK);
        tsl_frames_drain(self);
        CHECK_EQ(tsl_frames_banks_rest(self, 0), 5);
        if (FRAMES_GUARDED)
            CHECK_STATUS(tsl_frames_free(self, world_frame(20 * MIB), 0), TSL_FOREIGN);
        CHECK_SOUND(tsl_frames_verify(self));
    }
    count = tsl_frames_alloc_bulk(self, TSL_FRAMES_LOW, taken, TSL_COUNT_OF(taken));
    CHECK_EQ(count, TSL_COUNT_OF(taken));
    tsl_frames_stats(self, &stats);
    CHECK_EQ(stats.refusals.by_status[TSL_CORRUPT], 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void runs_and_huge_blocks_wake_as_many_as_they_need(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 5);
    struct tsl_frames_run run = {.count = 2 * BANK_FRAMES};
    CHECK_STATUS(tsl_frames_alloc_run(self, &run, &frame), TSL_OK);
    CHECK_EQ(tsl_frame_address(frame), 16 * MIB);
    CHECK_EQ(hardware.off, 0x1c);
    struct tsl_frame huge;
    CHECK_STATUS(tsl_frames_alloc(self, 10, 0, &huge), TSL_OK);
    CHECK_EQ(tsl_frame_address(huge), 24 * MIB);
    CHECK_STATUS(tsl_frames_free(self, huge, 10), TSL_OK);
    CHECK_STATUS(tsl_frames_free_run(self, frame, run.count), TSL_OK);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 3);
    CHECK_EQ(hardware.mistakes, 0);
}

static void a_bank_that_cannot_be_switched_stays_as_it_is(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    tsl_word all = world_free(&world);
    hardware.broken = 1u << 2;
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 4);
    CHECK_EQ(stats_of(2).free, BANK_FRAMES);
    CHECK(stats_of(2).is_on);
    CHECK_SOUND(tsl_frames_verify(self));
    hardware.broken = 1u << 1; /* and that one does not come back */
    struct tsl_frame frame;
    tsl_word count = 0;
    while (tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK)
        count++;
    CHECK_EQ(count, all - BANK_FRAMES);
    CHECK_EQ(hardware.off, 2);
    hardware.broken = 0;
    CHECK_STATUS(tsl_frames_alloc(self, 0, 0, &frame), TSL_OK);
    CHECK_EQ(hardware.off, 0);
}

/* The bank goes off at this moment: the second CPU finds no frame and waits until it is known. */
static bool switch_while_another_asks(void *context, unsigned bank, bool on)
{
    (void)context;
    (void)bank;
    if (!on)
        start_second_cpu();
    return true;
}

static void who_finds_a_bank_going_off_gets_it_back(void)
{
    if (TSL_CPUS < 2)
        SKIP("one CPU is configured");
    static const struct tsl_frames_bank_switch slow = {switch_while_another_asks, NULL};
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, BANK, &slow), TSL_OK);
    /* Only the first bank is left, of which nothing is used. */
    CHECK_STATUS(tsl_frames_reserve(self, 20 * MIB, 5 * BANK), TSL_OK);
    second_status = TSL_OK;
    second_has_ended = false;
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 1);
    CHECK_EQ(pthread_join(second_thread, NULL), 0);
    CHECK_STATUS(second_status, TSL_OK);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void nonsense_is_refused(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    const struct tsl_frames_bank_switch no_wires = {NULL, NULL};
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, 0, &wires), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, 3 * MIB, &wires), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_banks(self, 1 * MIB, BANK, &wires), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_banks(self, 40 * MIB, BANK, &wires), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, BANK, NULL), TSL_INVALID);
    CHECK_STATUS(tsl_frames_set_banks(self, 16 * MIB, BANK, &no_wires), TSL_INVALID);
    CHECK_EQ(tsl_frames_bank_count(self), 6);
}

/* What is reserved because its bank is off is nobody's to release. */
static void a_bank_that_is_off_is_not_released(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    CHECK_STATUS(tsl_frames_reserve(self, 18 * MIB, 4096), TSL_OK); /* keeps bank 0 on */
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 4);
    tsl_word free = world_free(&world);
    CHECK_STATUS(tsl_frames_release(self, 20 * MIB, 4096), TSL_BUSY);
    CHECK_STATUS(tsl_frames_release(self, 20 * MIB, 4 * BANK), TSL_BUSY);
    CHECK_STATUS(tsl_frames_release(self, 18 * MIB, 2 * MIB + 1), TSL_BUSY); /* reaches into it */
    CHECK_EQ(world_free(&world), free);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_STATUS(tsl_frames_release(self, 18 * MIB, 4096), TSL_OK);
    while (tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK)
        continue;
    CHECK_EQ(hardware.off, 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* A free of what nobody has is found at the latest when its bank is switched on, and ends
 * nothing. */
static void a_wild_free_in_a_bank_that_is_off(void)
{
    struct tsl_frames *self = make();
    struct tsl_frames_stats stats;
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    tsl_word all = world_free(&world), count = 0;
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 5);
    enum tsl_status status = tsl_frames_free(self, world_frame(20 * MIB), 0);
    CHECK_STATUS(status, FRAMES_GUARDED ? TSL_FOREIGN : TSL_OK);
    for (; tsl_frames_alloc(self, TSL_FRAMES_HUGE_ORDER, 0, &frame) == TSL_OK; count += 512)
        continue;
    CHECK_EQ(hardware.off, 0);
    CHECK(count > 10 * 512);
    for (; tsl_frames_alloc(self, 0, 0, &frame) == TSL_OK; count++)
        continue;
    CHECK_EQ(count, all);
    tsl_frames_stats(self, &stats);
    CHECK_EQ(stats.reserved, 0);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void rule_13_banks(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 5);
    CHECK_STATUS(tsl_frames_give_window(self, 20 * MIB, 4096), TSL_OK);
    CHECK_BROKEN(tsl_frames_verify(self), 13);
    CHECK_EQ(tsl_frames_verify(self).place, 1);
}

TAP_SUITE(frames_banks, TAP_TEST(banks_fill_in_order),
          TAP_TEST(empty_banks_are_switched_off_the_highest_first),
          TAP_TEST(who_finds_a_bank_on_its_way_waits_for_it),
          TAP_TEST(who_finds_a_bank_going_off_gets_it_back),
          TAP_TEST(who_finds_nothing_switches_one_on), TAP_TEST(contents_are_lost_without_alarm),
          TAP_TEST(runs_and_huge_blocks_wake_as_many_as_they_need),
          TAP_TEST(a_bank_that_cannot_be_switched_stays_as_it_is), TAP_TEST(nonsense_is_refused),
          TAP_TEST(a_bank_that_is_off_is_not_released), TAP_TEST(a_wild_free_in_a_bank_that_is_off),
          TAP_TEST(rule_13_banks));
