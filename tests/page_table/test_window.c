/* SPDX-License-Identifier: MIT
 *
 * test_window.c: frames without a direct mapping are reached, one window at a time.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h; RAM above direct_end.
 * Callers: the test runner.
 */
#include <tesela/window.h>

#include <host/model_cpu.h>
#include <host/ram.h>
#include <string.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

static struct world world;
static struct tsl_windows windows;

static bool setup(const struct tsl_table_format *format)
{
    bool wide = format->entry_bytes == 8;
    struct machine_config config = {
        .ram = {{0, 16 * MIB}, {wide ? 5 * GIB : 32 * MIB, 4 * MIB}},
        .direct_end = 16 * MIB,
        .cpus = TSL_CPUS < 2 ? 1 : 2,
    };
    if (!world_open(&world, format, &config))
        return false;
    const struct tsl_layout_range *range = tsl_layout_find(machine_layout(), TSL_LAYOUT_WINDOWS);
    return tsl_windows_init(&windows, &world.table, range) == TSL_OK;
}

static struct tsl_frame high_frame(void)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_HIGH, &frame), TSL_OK);
    CHECK_SAME(tsl_port_phys_to_virt(tsl_frame_address(frame)), NULL);
    return frame;
}

static void reach_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    struct tsl_frame a = high_frame();
    struct tsl_frame b = high_frame();
    char *from = tsl_window_open(&windows, TSL_WINDOW_SOURCE, a);
    char *to = tsl_window_open(&windows, TSL_WINDOW_DESTINATION, b);
    CHECK(from != to);
    CHECK_SAME(from, host_ram_at(tsl_frame_address(a)));
    CHECK_SOUND(tsl_table_verify(&world.table));
    memset(from, 'x', TSL_PAGE_BYTES);
    memcpy(to, from, TSL_PAGE_BYTES);
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    tsl_window_close(&windows, TSL_WINDOW_DESTINATION);
    CHECK_EQ(*(char *)host_ram_at(tsl_frame_address(b) + 4095), 'x');

    /* The same window for another frame: nothing of the first is remembered. */
    struct tsl_frame c = high_frame();
    char *again = tsl_window_open(&windows, TSL_WINDOW_SOURCE, c);
    CHECK_SAME(again, host_ram_at(tsl_frame_address(c)));
    CHECK_EQ(*again, 0);
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    char byte;
    CHECK_EQ(model_load(0, windows.base, &byte, 1), MODEL_NOT_PRESENT);
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_STATUS(tsl_frames_free(world.frames, a, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, b, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, c, 0), TSL_OK);
    world_close(&world);
}

static void windows_reach_high_frames(void)
{
    for_each_format(reach_of);
}

static void cpus_have_windows_of_their_own(void)
{
    if (TSL_CPUS < 2)
        SKIP("one CPU is configured");
    REQUIRE(setup(machine_format_at(0)));
    struct tsl_frame a = high_frame();
    struct tsl_frame b = high_frame();
    char *first = tsl_window_open(&windows, TSL_WINDOW_SOURCE, a);
    host_port_set_cpu(1);
    char *second = tsl_window_open(&windows, TSL_WINDOW_SOURCE, b);
    CHECK_SAME(first, host_ram_at(tsl_frame_address(a)));
    CHECK_SAME(second, host_ram_at(tsl_frame_address(b)));
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    host_port_set_cpu(0);
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    CHECK_STATUS(tsl_frames_free(world.frames, a, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, b, 0), TSL_OK);
    world_close(&world);
}

static void a_direct_frame_needs_no_entry(void)
{
    REQUIRE(setup(machine_format_at(0)));
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &frame), TSL_OK);
    CHECK_SAME(tsl_window_open(&windows, TSL_WINDOW_SOURCE, frame),
               tsl_port_phys_to_virt(tsl_frame_address(frame)));
    char byte;
    CHECK_EQ(model_load(0, windows.base, &byte, 1), MODEL_NOT_PRESENT);
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, 0), TSL_OK);
    world_close(&world);
}

static void open_twice(void *frame)
{
    struct tsl_frame *wanted = frame;
    (void)tsl_window_open(&windows, TSL_WINDOW_COMPRESSOR, *wanted);
    (void)tsl_window_open(&windows, TSL_WINDOW_COMPRESSOR, *wanted);
}

static void close_closed(void *unused)
{
    (void)unused;
    tsl_window_close(&windows, TSL_WINDOW_COMPRESSOR);
}

static void nesting_panics(void)
{
    REQUIRE(setup(machine_format_at(0)));
    struct tsl_frame low = {1};
    struct tsl_frame high = tsl_frame_of(5 * GIB);
    CHECK_PANICS(open_twice, &low, "CLOSED");
    CHECK_PANICS(open_twice, &high, "CLOSED");
    CHECK_PANICS(close_closed, NULL, "CLOSED");
    world_close(&world);
}

static void refuses_a_range_too_small(void)
{
    struct tsl_windows other;
    REQUIRE(setup(machine_format_at(0)));
    struct tsl_layout_range range = *tsl_layout_find(machine_layout(), TSL_LAYOUT_WINDOWS);
    range.last = range.start + TSL_WINDOW_PAGES * 4096 - 2;
    CHECK_STATUS(tsl_windows_init(&other, &world.table, &range), TSL_OUT_OF_RANGE);
    range.last += 0x400000;
    range.start += 4096;
    CHECK_STATUS(tsl_windows_init(&other, &world.table, &range), TSL_OUT_OF_RANGE);
    world_close(&world);
}

/* The tables of the windows stay also when a page beside the windows was their only entry. */
static void neighbours_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    tsl_vaddr beside = windows.base + TSL_WINDOW_PAGES * TSL_PAGE_BYTES;
    CHECK_STATUS(tsl_table_map(&world.table, beside, 0x5000, 4096, TSL_READ), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, beside, 4096, 0, NULL), TSL_OK);
    CHECK_SOUND(tsl_table_verify(&world.table));
    struct tsl_frame frame = high_frame();
    CHECK_SAME(tsl_window_open(&windows, TSL_WINDOW_SOURCE, frame),
               host_ram_at(tsl_frame_address(frame)));
    tsl_window_close(&windows, TSL_WINDOW_SOURCE);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, 0), TSL_OK);
    world_close(&world);
}

static void a_page_beside_the_windows_may_go(void)
{
    for_each_format(neighbours_of);
}

TAP_SUITE(window, TAP_TEST(windows_reach_high_frames), TAP_TEST(cpus_have_windows_of_their_own),
          TAP_TEST(a_direct_frame_needs_no_entry), TAP_TEST(nesting_panics),
          TAP_TEST(refuses_a_range_too_small), TAP_TEST(a_page_beside_the_windows_may_go));
