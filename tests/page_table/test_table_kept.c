/* SPDX-License-Identifier: MIT
 *
 * test_table_kept.c: empty tables wait for the next page in their place, but are in nobody's way.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h; a look into struct tsl_table.
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <tesela/config.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)

static struct world world;

static void open(const struct tsl_table_format *format, bool kernel)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}}, .cpus = TSL_CPUS < 2 ? 1 : 2};
    REQUIRE(world_open(&world, format, &config));
    world.table.kernel = kernel;
}

static void close(void)
{
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    world_close(&world);
}

static void map(tsl_vaddr va)
{
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, 4096, RW), TSL_OK);
}

static void unmap(tsl_vaddr va)
{
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
}

/* The first address of the n-th table of 4 KiB pages in the heap's range. */
static tsl_vaddr span(unsigned n)
{
    return world_start(TSL_LAYOUT_HEAP) + n * tsl_table_format_page_bytes(world.table.format, 1);
}

static void again_of(const struct tsl_table_format *format)
{
    open(format, true);
    tsl_word empty = tsl_frames_free_count(world.frames);
    map(span(0));
    tsl_word used = tsl_frames_free_count(world.frames);
    tsl_word tables = world.table.counters.tables;
    for (unsigned i = 0; i < 20; i++) {
        unmap(span(0) + i * 4096);
        CHECK_EQ(tsl_frames_free_count(world.frames), used);
        CHECK_EQ(world.table.counters.tables, tables);
        CHECK(world_agrees(&world, span(0) + i * 4096, false, 0, 0));
        CHECK_SOUND(tsl_table_verify(&world.table));
        map(span(0) + (i + 1) * 4096);
        CHECK(world_agrees(&world, span(0) + (i + 1) * 4096, true, 0x100000, RW));
    }
    CHECK_EQ(world.table.kept_count, 1);
    tsl_table_trim(&world.table); /* in use: it stays, but is no longer noted */
    CHECK_EQ(world.table.kept_count, 0);
    CHECK_EQ(world.table.counters.tables, tables);
    unmap(span(0) + 20 * 4096);
    CHECK_EQ(world.table.kept_count, 1);
    tsl_table_trim(&world.table);
    CHECK_EQ(tsl_frames_free_count(world.frames), empty);
    close();
}

static void the_next_page_takes_no_frame(void)
{
    for_each_format(again_of);
}

/* The oldest makes room: it goes if it is empty, and stays if pages came back to it. */
static void few_of(const struct tsl_table_format *format, bool kernel)
{
    unsigned most = kernel ? TSL_TABLE_KEPT : 1;
    open(format, kernel);
    map(span(0));
    map(span(40));
    tsl_word tables = world.table.counters.tables; /* with those above, and two of level 0 */
    unmap(span(0));
    map(span(0)); /* noted, and in use again */
    for (unsigned n = 1; n < 20; n++) {
        map(span(n));
        unmap(span(n));
        CHECK(world.table.kept_count <= most);
        CHECK(world.table.counters.tables <= tables + most);
        CHECK_SOUND(tsl_table_verify(&world.table));
    }
    CHECK_EQ(world.table.kept_count, most);
    CHECK_EQ(world.table.counters.tables, tables + most);
    CHECK(world_agrees(&world, span(0), true, 0x100000, RW));
    unmap(span(0));
    unmap(span(40));
    CHECK_EQ(world.table.counters.tables, tables + most - 2);
    close();
}

static void kernel_few_of(const struct tsl_table_format *format)
{
    few_of(format, true);
}

static void user_few_of(const struct tsl_table_format *format)
{
    few_of(format, false);
}

static void only_a_few_are_kept(void)
{
    for_each_format(kernel_few_of);
    for_each_format(user_few_of);
}

/* A range that covers a table whole takes it along, noted or not. */
static void whole_of(const struct tsl_table_format *format)
{
    open(format, true);
    size_t bytes = tsl_table_format_page_bytes(format, 1);
    tsl_word empty = tsl_frames_free_count(world.frames);
    map(span(1));
    unmap(span(1));
    CHECK_EQ(world.table.kept_count, 1);
    map(span(1) + 8 * 4096);
    CHECK_STATUS(tsl_table_unmap(&world.table, span(0), 3 * bytes, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    CHECK_EQ(world.table.kept_count, 0);
    CHECK_EQ(tsl_frames_free_count(world.frames), empty);
    close();
}

static void a_whole_range_leaves_nothing(void)
{
    for_each_format(whole_of);
}

/* A large page comes where a kept table is: no CPU may still walk through that table. */
static void large_of(const struct tsl_table_format *format)
{
    if (!TSL_LARGE_PAGES)
        return;
    open(format, true);
    size_t bytes = tsl_table_format_page_bytes(format, 1);
    char byte = 1;
    unsigned order = format->shift[1] - TSL_PAGE_SHIFT;
    tsl_paddr block = world_frame(&world, order);
    CHECK_STATUS(tsl_table_map(&world.table, span(0), block, 4096, RW), TSL_OK);
    for (unsigned cpu = 0; cpu < 2 && cpu < TSL_CPUS; cpu++)
        CHECK_EQ(model_store(cpu, span(0), &byte, 1), MODEL_OK);
    unmap(span(0));
    CHECK_EQ(world.table.kept_count, 1);
    for (unsigned cpu = 0; cpu < 2 && cpu < TSL_CPUS; cpu++)
        model_speculate(cpu, span(0)); /* remembers the way to the kept table */
    CHECK_STATUS(tsl_table_map(&world.table, span(0), block, bytes, RW | TSL_MAP_LARGE), TSL_OK);
    CHECK_EQ(world.table.kept_count, 0);
    CHECK_EQ(world.table.counters.pages[1], 1);
    for (unsigned cpu = 0; cpu < 2 && cpu < TSL_CPUS; cpu++)
        CHECK_EQ(model_store(cpu, span(0) + 4096, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, span(0), bytes, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK(tsl_frames_is_free(world.frames, tsl_frame_of(block)));
    close();
}

static void a_large_page_gets_the_place(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(large_of);
}

static struct tsl_frame taken[16 * 256];

/* No frame is left: the kept table becomes the one that is needed. */
static void short_of(const struct tsl_table_format *format)
{
    unsigned count = 0;
    open(format, true);
    map(span(0));
    map(span(9)); /* the tables above stay */
    unmap(span(0));
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_HIGH, &taken[count]) == TSL_OK)
        count++;
    CHECK_EQ(world.table.kept_count, 1);
    map(span(5));
    CHECK_EQ(world.table.kept_count, 0);
    CHECK_STATUS(tsl_table_map(&world.table, span(6), 0x100000, 4096, RW), TSL_NO_MEMORY);
    CHECK_SOUND(tsl_table_verify(&world.table));
    while (count > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], 0), TSL_OK);
    unmap(span(5));
    unmap(span(9));
    close();
}

static void a_kept_table_serves_when_frames_are_short(void)
{
    for_each_format(short_of);
}

TAP_SUITE(table_kept, TAP_TEST(the_next_page_takes_no_frame), TAP_TEST(only_a_few_are_kept),
          TAP_TEST(a_whole_range_leaves_nothing), TAP_TEST(a_large_page_gets_the_place),
          TAP_TEST(a_kept_table_serves_when_frames_are_short));
