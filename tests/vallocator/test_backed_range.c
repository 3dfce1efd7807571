/* SPDX-License-Identifier: MIT
 *
 * test_backed_range.c: pages of a window with frames on demand.
 *
 * Owns:    suite backed_range.
 * Needs:   vm_fixture.h.
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "rng.h"

#include <tesela/flush.h>
#include <tesela/backed_range.h>
#include <tesela/config.h>

enum { PAGES = 200 };

static struct tsl_backed_range *range;

static void start(void)
{
    vm_fixture_start();
    vm_fixture_mark();
    struct tsl_backed_range_config config = {.table = &vm.table,
                                             .frames = vm.frames,
                                             .start = vm.window,
                                             .bytes = PAGES * TSL_PAGE_BYTES,
                                             .attributes = TSL_READ | TSL_WRITE};
    CHECK_STATUS(tsl_backed_range_create(&config, &range), TSL_OK);
}

static void finish(void)
{
    CHECK_SOUND(tsl_backed_range_verify(range));
    tsl_backed_range_destroy(range);
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

static void pages_are_there_while_they_are_out(void)
{
    start();
    char *run = tsl_backed_range_get(range, 7);
    CHECK(run != NULL);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run), TSL_READ | TSL_WRITE);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 7 * 4096 - 1), TSL_READ | TSL_WRITE);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 7 * 4096), 0);
    CHECK_STATUS(tsl_backed_range_put(range, run + 4096, 2), TSL_OK); /* a part, first */
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 4096), 0);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 3 * 4096), TSL_READ | TSL_WRITE);
    CHECK_STATUS(tsl_backed_range_put(range, run, 1), TSL_OK);
    CHECK_STATUS(tsl_backed_range_put(range, run + 3 * 4096, 4), TSL_OK);
    finish();
}

static void wrong_puts_are_refused(void)
{
    start();
    char *run = tsl_backed_range_get(range, 4);
    CHECK_STATUS(tsl_backed_range_put(range, run, 0), TSL_INVALID);
    CHECK_STATUS(tsl_backed_range_put(range, run + 1, 1), TSL_MISALIGNED);
    CHECK_STATUS(tsl_backed_range_put(range, run - 4096, 1), TSL_FOREIGN);
    CHECK_STATUS(tsl_backed_range_put(range, run + PAGES * 4096, 1), TSL_FOREIGN);
    CHECK_STATUS(tsl_backed_range_put(range, run, PAGES + 1), TSL_FOREIGN);
    CHECK_STATUS(tsl_backed_range_put(range, run, SIZE_MAX), TSL_FOREIGN);
    CHECK_STATUS(tsl_backed_range_put(range, run, 5), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_backed_range_put(range, run, 4), TSL_OK);
    CHECK_STATUS(tsl_backed_range_put(range, run, 1), TSL_DOUBLE_FREE);
    struct tsl_backed_range_stats stats;
    tsl_backed_range_stats(range, &stats);
    CHECK_EQ(stats.refusals, 8);
    CHECK_EQ(stats.pages_used, 0);
    CHECK_EQ(stats.pages_peak, 4);
    finish();
}

static void runs_grow_in_place(void)
{
    start();
    char *run = tsl_backed_range_get(range, 4);
    char *next = tsl_backed_range_get(range, 2);
    CHECK_SAME(next, run + 4 * 4096);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 4, 5), TSL_LIMIT);
    CHECK_STATUS(tsl_backed_range_put(range, next, 2), TSL_OK);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 4, 9), TSL_OK);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 9 * 4096 - 1), TSL_READ | TSL_WRITE);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 9 * 4096), 0);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 9, 9), TSL_INVALID);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 0, 9), TSL_INVALID);
    CHECK_STATUS(tsl_backed_range_extend(range, run + 1, 9, 10), TSL_MISALIGNED);
    CHECK_STATUS(tsl_backed_range_extend(range, run, PAGES + 1, PAGES + 2), TSL_FOREIGN);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 10, 11), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 9, PAGES + 1), TSL_LIMIT);
    CHECK_STATUS(tsl_backed_range_extend(range, run, 9, SIZE_MAX), TSL_LIMIT);
    for (tsl_word left = 0; left <= 24; left++) {
        vm_fixture_leave_frames(left);
        enum tsl_status status = tsl_backed_range_extend(range, run, 9, 29);
        CHECK(status == TSL_OK || status == TSL_NO_MEMORY);
        CHECK(left >= 20 || status == TSL_NO_MEMORY);
        if (status == TSL_OK)
            CHECK_STATUS(tsl_backed_range_put(range, run + 9 * 4096, 20), TSL_OK);
        vm_fixture_give_frames_back();
        CHECK_SOUND(tsl_backed_range_verify(range));
    }
    CHECK_STATUS(tsl_backed_range_put(range, run, 9), TSL_OK);
    finish();
}

static void shortage_loses_nothing(void)
{
    start();
    CHECK_SAME(tsl_backed_range_get(range, 0), NULL);
    CHECK_SAME(tsl_backed_range_get(range, PAGES + 1), NULL);
    CHECK_SAME(tsl_backed_range_get(range, SIZE_MAX), NULL);
    for (tsl_word left = 0; left <= 48; left++) {
        vm_fixture_leave_frames(left);
        void *run = tsl_backed_range_get(range, 33);
        CHECK(left >= 33 || !run);
        CHECK_SOUND(tsl_backed_range_verify(range));
        if (run)
            CHECK_STATUS(tsl_backed_range_put(range, run, 33), TSL_OK);
        vm_fixture_give_frames_back();
    }
    void *all = tsl_backed_range_get(range, PAGES);
    CHECK(all != NULL);
    CHECK_SAME(tsl_backed_range_get(range, 1), NULL);
    CHECK_STATUS(tsl_backed_range_put(range, all, PAGES), TSL_OK);
    finish();
}

static void random_runs_agree_with_a_model(void)
{
    start();
    struct rng rng = rng_start(2);
    bool used[PAGES] = {false};
    struct {
        size_t first, pages;
    } run[24] = {{0, 0}};
    for (unsigned round = 0; round < tap_rounds(4000); round++) {
        size_t slot = rng_below(&rng, TSL_COUNT_OF(run));
        if (run[slot].pages) {
            CHECK_STATUS(tsl_backed_range_put(range, (void *)(vm.window + run[slot].first * 4096),
                                              run[slot].pages),
                         TSL_OK);
            for (size_t i = 0; i < run[slot].pages; i++)
                used[run[slot].first + i] = false;
            run[slot].pages = 0;
        } else {
            size_t pages = 1 + rng_below(&rng, 20);
            char *at = tsl_backed_range_get(range, pages);
            size_t first = at ? ((tsl_vaddr)at - vm.window) / 4096 : 0, streak = 0;
            for (size_t i = 0; i < pages && at; i++) {
                CHECK(!used[first + i]);
                used[first + i] = true;
            }
            for (size_t i = 0; i < PAGES && !at; i++) {
                streak = used[i] ? 0 : streak + 1;
                CHECK(streak < pages); /* it said no although there was room */
            }
            run[slot].first = first;
            run[slot].pages = at ? pages : 0;
        }
        if (round % 16 == 0)
            CHECK_SOUND(tsl_backed_range_verify(range));
    }
    finish(); /* destroy takes back what is still out */
}

static void bad_configurations_are_refused(void)
{
    vm_fixture_start();
    struct tsl_backed_range_config good = {.table = &vm.table,
                                           .frames = vm.frames,
                                           .start = vm.window,
                                           .bytes = 4096,
                                           .attributes = TSL_READ | TSL_WRITE};
    struct tsl_backed_range_config bad = good;
    struct tsl_backed_range *made = NULL;
    bad.bytes = 0;
    CHECK_STATUS(tsl_backed_range_create(&bad, &made), TSL_INVALID);
    bad.bytes = 4095;
    CHECK_STATUS(tsl_backed_range_create(&bad, &made), TSL_MISALIGNED);
    bad = good;
    bad.start += 1;
    CHECK_STATUS(tsl_backed_range_create(&bad, &made), TSL_MISALIGNED);
    bad.start = UINTPTR_MAX - 4095;
    bad.bytes = 8192;
    CHECK_STATUS(tsl_backed_range_create(&bad, &made), TSL_OUT_OF_RANGE);
    bad = good;
    bad.frames = NULL;
    CHECK_STATUS(tsl_backed_range_create(&bad, &made), TSL_INVALID);
    CHECK_SAME(made, NULL);
    vm_fixture_stop();
}

#define CAN_CLOSE (TSL_HEAP_HARDENING >= 3 || TSL_HEAP_ZERO_FAULTS)

static size_t flushes(void)
{
    struct tsl_flush_counters counters;

    tsl_flush_counters(&counters);
    return counters.flushes;
}

static void closings_share_a_flush(void)
{
    if (!CAN_CLOSE)
        SKIP("nobody closes pages in this configuration");
    start();
    char *run = tsl_backed_range_get(range, 40);
    size_t before = flushes();
    for (size_t i = 0; i < 31; i++) {
        CHECK_STATUS(tsl_backed_range_close(range, run + i * 4096, 1), TSL_OK);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + i * 4096), 0);
    }
    CHECK_EQ(flushes(), before);
    CHECK_STATUS(tsl_backed_range_close(range, run + 31 * 4096, 1), TSL_OK);
    CHECK_EQ(flushes(), before + 1);
    /* Others may still reach what was closed since: no such address is used again before a
     * flush. */
    CHECK_STATUS(tsl_backed_range_close(range, run + 32 * 4096, 2), TSL_OK);
    CHECK_STATUS(tsl_backed_range_put(range, run, 32), TSL_OK);
    CHECK_EQ(flushes(), before + 1);
    CHECK_STATUS(tsl_backed_range_put(range, run + 33 * 4096, 1), TSL_OK);
    CHECK_EQ(flushes(), before + 2);
    CHECK_STATUS(tsl_backed_range_put(range, run + 32 * 4096, 1), TSL_OK);
    CHECK_EQ(flushes(), before + 2);
    CHECK_STATUS(tsl_backed_range_close(range, run + 34 * 4096, 6), TSL_OK);
    tsl_backed_range_destroy(range); /* with a flush due */
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

/* Only where the heap may ask for it. */
static void closed_pages_have_no_frames(void)
{
    start();
    char *run = tsl_backed_range_get(range, 6);
    if (!CAN_CLOSE) {
        CHECK_STATUS(tsl_backed_range_close(range, run, 1), TSL_UNSUPPORTED);
        CHECK_STATUS(tsl_backed_range_put(range, run, 6), TSL_OK);
        finish();
        return;
    }
    CHECK_STATUS(tsl_backed_range_close(range, run + 4096, 2), TSL_OK);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run), TSL_READ | TSL_WRITE);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 4096), 0);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run + 3 * 4096 - 1), 0);
    CHECK_SOUND(tsl_backed_range_verify(range));
    CHECK_STATUS(tsl_backed_range_close(range, run, 4), TSL_OK); /* two of them again */
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run), 0);
    CHECK_STATUS(tsl_backed_range_close(range, run, 7), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_backed_range_close(range, run + 1, 1), TSL_MISALIGNED);
    char *other = tsl_backed_range_get(range, 1);
    CHECK(other >= run + 6 * 4096);
    CHECK_STATUS(tsl_backed_range_put(range, run, 6), TSL_OK); /* closed and open ones */
    run = tsl_backed_range_get(range, 5);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)run), TSL_READ | TSL_WRITE);
    CHECK_STATUS(tsl_backed_range_close(range, run, 2), TSL_OK);
    CHECK_SOUND(tsl_backed_range_verify(range));
    tsl_backed_range_destroy(range); /* with closed pages out */
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

TAP_SUITE(backed_range, TAP_TEST(pages_are_there_while_they_are_out),
          TAP_TEST(closed_pages_have_no_frames), TAP_TEST(closings_share_a_flush),
          TAP_TEST(wrong_puts_are_refused), TAP_TEST(runs_grow_in_place),
          TAP_TEST(shortage_loses_nothing), TAP_TEST(random_runs_agree_with_a_model),
          TAP_TEST(bad_configurations_are_refused));
