/* SPDX-License-Identifier: MIT
 *
 * break_ranges.c: breaks each rule of tsl_ranges_verify() by hand and sees it found.
 *
 * Owns:    suite break_ranges.
 * Needs:   vm_fixture.h, ranges_internal.h.
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "ranges/ranges_internal.h"

static struct tsl_ranges *ranges;
static struct range *first, *second;
static char *memory[2];

static void start(void)
{
    vm_fixture_start();
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window,
                                       .last = vm.window + 64 * TSL_PAGE_BYTES - 1};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(
            tsl_ranges_alloc(ranges, 2 * TSL_PAGE_BYTES, TSL_READ | TSL_WRITE, (void **)&memory[i]),
            TSL_OK);
    first = range_of(tsl_tree_first(&ranges->tree));
    second = range_of(tsl_tree_next(&first->node));
    CHECK_SOUND(tsl_ranges_verify(ranges));
}

static void finish(void)
{
    CHECK_SOUND(tsl_ranges_verify(ranges));
    tsl_ranges_destroy(ranges);
    vm_fixture_stop();
}

static void r1_whole_pages(void)
{
    start();
    second->bytes -= 1;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 1);
    second->bytes += 1;
    finish();
}

static void r2_overlap(void)
{
    start();
    first->bytes += TSL_PAGE_BYTES;
    first->state = RANGE_MAKING; /* so that its pages are not looked at */
    CHECK_BROKEN(tsl_ranges_verify(ranges), 2);
    first->state = RANGE_SETTLED;
    first->bytes -= TSL_PAGE_BYTES;
    finish();
}

static void r3_gap(void)
{
    start();
    first->gap_below = TSL_PAGE_BYTES;
    tsl_tree_update(&ranges->tree, &first->node);
    CHECK_BROKEN(tsl_ranges_verify(ranges), 3);
    first->gap_below = 0;
    tsl_tree_update(&ranges->tree, &first->node);
    finish();
}

static void r4_largest_gap(void)
{
    start();
    struct range *root = range_of(ranges->tree.root);
    root->largest_gap += TSL_PAGE_BYTES;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 4);
    root->largest_gap -= TSL_PAGE_BYTES;
    finish();
}

static void r5_pages_and_guards(void)
{
    start();
    first->attributes = TSL_READ;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 5);
    first->attributes = TSL_READ | TSL_EXEC; /* says it may be executed, and it may not */
    CHECK_BROKEN(tsl_ranges_verify(ranges), 5);
    first->attributes = TSL_READ | TSL_WRITE;
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(vm.frames, 0, 0, &frame), TSL_OK);
    tsl_vaddr guard = (tsl_vaddr)memory[0] + 2 * TSL_PAGE_BYTES;
    CHECK_STATUS(tsl_table_map(&vm.table, guard, tsl_frame_address(frame), TSL_PAGE_BYTES,
                               TSL_READ | TSL_WRITE),
                 TSL_OK);
    CHECK_BROKEN(tsl_ranges_verify(ranges), 5);
    CHECK_STATUS(tsl_table_unmap(&vm.table, guard, TSL_PAGE_BYTES, TSL_UNMAP_FREE, NULL), TSL_OK);
    finish();
}

static void r6_counters(void)
{
    start();
    ranges->bytes_memory += 1;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 6);
    ranges->bytes_memory -= 1;
    finish();
}

static void r5_pages_of_freed_ranges(void)
{
    start();
    first->state = RANGE_PENDING; /* and its pages are still mapped */
    CHECK_BROKEN(tsl_ranges_verify(ranges), 5);
    first->state = RANGE_SETTLED;
    finish();
}

static void r7_lists_of_freed_ranges(void)
{
    start();
    ranges->config.lazy_pages = 4;
    CHECK_STATUS(tsl_ranges_free(ranges, memory[0]), TSL_OK);
    CHECK_SOUND(tsl_ranges_verify(ranges));
    ranges->pending_count = 0;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 7);
    ranges->pending_count = 1;
    ranges->config.lazy_pages = 1;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 7);
    ranges->config.lazy_pages = 4;
    first->state = RANGE_CACHED;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 7);
    first->state = RANGE_PENDING;
    finish();
}

static void r8_large_pages(void)
{
    start();
    first->large_pages = 1;
    CHECK_BROKEN(tsl_ranges_verify(ranges), 8);
    first->large_pages = 0;
    finish();
}

TAP_SUITE(break_ranges, TAP_TEST(r1_whole_pages), TAP_TEST(r2_overlap), TAP_TEST(r3_gap),
          TAP_TEST(r4_largest_gap), TAP_TEST(r5_pages_and_guards), TAP_TEST(r6_counters),
          TAP_TEST(r5_pages_of_freed_ranges), TAP_TEST(r7_lists_of_freed_ranges),
          TAP_TEST(r8_large_pages));
