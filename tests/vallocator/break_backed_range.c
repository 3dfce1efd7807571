/* SPDX-License-Identifier: MIT
 *
 * break_backed_range.c: breaks each rule of tsl_backed_range_verify() by hand and sees it found.
 *
 * Owns:    suite break_backed_range.
 * Needs:   vm_fixture.h, ranges_internal.h.
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "ranges/ranges_internal.h"

#include <tesela/bits.h>

enum { PAGES = 100, OUT = 8 };

static struct tsl_backed_range *range;
static char *run;

static void start(void)
{
    vm_fixture_start();
    struct tsl_backed_range_config config = {.table = &vm.table,
                                             .frames = vm.frames,
                                             .start = vm.window,
                                             .bytes = PAGES * TSL_PAGE_BYTES,
                                             .attributes = TSL_READ | TSL_WRITE};
    CHECK_STATUS(tsl_backed_range_create(&config, &range), TSL_OK);
    run = tsl_backed_range_get(range, OUT);
    CHECK(run != NULL);
    CHECK_SOUND(tsl_backed_range_verify(range));
}

static void finish(void)
{
    CHECK_SOUND(tsl_backed_range_verify(range));
    tsl_backed_range_destroy(range);
    vm_fixture_stop();
}

static void b1_bits_behind_the_window(void)
{
    start();
    tsl_bits_set_range(range->free_pages, PAGES, 1);
    CHECK_BROKEN(tsl_backed_range_verify(range), 1);
    tsl_bits_clear_range(range->free_pages, PAGES, 1);
    tsl_bits_set_range(range->settled, PAGES, 1);
    CHECK_BROKEN(tsl_backed_range_verify(range), 1);
    tsl_bits_clear_range(range->settled, PAGES, 1);
    finish();
}

static void b2_count(void)
{
    start();
    range->used++;
    CHECK_BROKEN(tsl_backed_range_verify(range), 2);
    range->used--;
    finish();
}

static void b3_first_candidate(void)
{
    start();
    size_t kept = range->first_candidate;
    range->first_candidate = OUT + 1;
    CHECK_BROKEN(tsl_backed_range_verify(range), 3);
    range->first_candidate = kept;
    finish();
}

static void b4_mapped(void)
{
    start();
    range->first_candidate = 0; /* so that rule 3 has nothing to say */
    tsl_bits_set_range(range->free_pages, 2, 1);
    tsl_bits_clear_range(range->settled, 2, 1);
    CHECK_BROKEN(tsl_backed_range_verify(range), 4);
    tsl_bits_clear_range(range->free_pages, 2, 1);
    tsl_bits_set_range(range->settled, 2, 1);
    finish();
}

static void b5_free_or_settled(void)
{
    start();
    tsl_bits_clear_range(range->settled, 3, 1);
    CHECK_BROKEN(tsl_backed_range_verify(range), 5);
    tsl_bits_set_range(range->settled, 3, 1);
    finish();
}

TAP_SUITE(break_backed_range, TAP_TEST(b1_bits_behind_the_window), TAP_TEST(b2_count),
          TAP_TEST(b3_first_candidate), TAP_TEST(b4_mapped), TAP_TEST(b5_free_or_settled));
