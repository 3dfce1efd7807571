/* SPDX-License-Identifier: MIT
 *
 * test_set_page.c: a page leads where it should, whatever was there, and no CPU uses what it
 * knew before.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h.
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <tesela/config.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

#define RO    TSL_READ
#define RW    (TSL_READ | TSL_WRITE)
#define CPUS  (TSL_CPUS < 2 ? (unsigned)TSL_CPUS : 2u)
#define OTHER (CPUS - 1u)

static struct world world;
static tsl_vaddr va;

static bool begin(const struct tsl_table_format *format)
{
    struct machine_config config = {.cpus = CPUS};
    if (!world_open(&world, format, &config))
        return false;
    va = format->user_first + 8 * tsl_table_format_page_bytes(format, 1);
    return true;
}

static void finish(void)
{
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE | TSL_UNMAP_SPARSE, NULL),
                 TSL_OK);
    world_close(&world);
}

/* Sets the page; what was there must be `kind`. */
static void set(tsl_paddr target, unsigned attributes, enum tsl_page_kind kind)
{
    struct tsl_page_change change = {.old = 1};
    CHECK_STATUS(tsl_table_set_page(&world.table, va, target, attributes, &change), TSL_OK);
    CHECK_EQ(change.kind, kind);
    CHECK(world_agrees(&world, va, true, target, attributes));
    CHECK_SOUND(tsl_table_verify(&world.table));
}

static tsl_word flushes(void)
{
    return world.table.counters.flushes;
}

static void new_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    tsl_paddr frame = world_frame(&world, 0);
    set(frame, RO, TSL_PAGE_NEW); /* no table is there */
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    tsl_word before = flushes();
    set(frame, RW, TSL_PAGE_NEW);
    CHECK_EQ(flushes(), before);
    CHECK_EQ(model_store(OTHER, va, "x", 1), MODEL_OK);
    finish();
}

static void what_was_absent_needs_no_flush(void)
{
    for_each_format(new_of);
}

/* The CPU's marks stay, and a CPU that knows the page as read-only is not asked. */
static void widened_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_mapping page;
    char byte;
    tsl_paddr frame = world_frame(&world, 0);
    set(frame, RO, TSL_PAGE_NEW);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        CHECK_EQ(model_load(cpu, va, &byte, 1), MODEL_OK);
    tsl_word before = flushes();
    host_port_set_cpu(0);
    set(frame, RW, TSL_PAGE_SAME);
    CHECK_EQ(flushes(), before);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && !page.dirty);
    CHECK_EQ(model_store(0, va, "a", 1), MODEL_OK);
    if (OTHER != 0) {
        host_port_set_cpu(OTHER);
        set(frame, RW, TSL_PAGE_SAME); /* a fault there changes nothing, and lets it go on */
        CHECK_EQ(model_store(OTHER, va, "b", 1), MODEL_OK);
        host_port_set_cpu(0);
    }
    CHECK_EQ(flushes(), before);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && page.dirty);
    finish();
}

/* The short way: only where nothing else changes, and only where the long way was last. */
static void short_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_mapping page;
    char byte;
    tsl_paddr frame = world_frame(&world, 0);
    CHECK(!tsl_table_widen_page(&world.table, va, frame, RW)); /* no table is there */
    set(frame, RW, TSL_PAGE_NEW);
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, RO, NULL), TSL_OK);
    CHECK_EQ(model_load(OTHER, va, &byte, 1), MODEL_OK);
    tsl_word before = flushes();
    CHECK(!tsl_table_widen_page(&world.table, va, frame + 4096, RW));
    CHECK(!tsl_table_widen_page(&world.table, va, frame, RW | TSL_EXEC | TSL_ALLOW_WX));
    CHECK(!tsl_table_widen_page(&world.table, va + 4096, frame, RW));
    CHECK(!tsl_table_widen_page(&world.table, va + ((tsl_vaddr)64 << format->shift[1]), frame, RW));
    CHECK(world_agrees(&world, va, true, frame, RO));
    CHECK(world_agrees(&world, va + 4096, false, 0, 0));
    CHECK(tsl_table_widen_page(&world.table, va, frame, RW));
    CHECK(tsl_table_widen_page(&world.table, va, frame, RW)); /* a CPU that was behind */
    CHECK_EQ(flushes(), before);
    CHECK(world_agrees(&world, va, true, frame, RW));
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed);
    CHECK_EQ(model_store(OTHER, va, "x", 1), MODEL_OK);
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, RO | TSL_EXEC, NULL), TSL_OK);
    CHECK(!tsl_table_widen_page(&world.table, va, frame, RW)); /* it would lose something */
    CHECK_SOUND(tsl_table_verify(&world.table));
    finish();
}

static void the_short_way_widens_and_nothing_else(void)
{
    for_each_format(short_of);
}

static void the_right_to_write_needs_no_flush(void)
{
    for_each_format(widened_of);
}

static void narrowed_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_mapping page;
    tsl_paddr frame = world_frame(&world, 0);
    set(frame, RW, TSL_PAGE_NEW);
    CHECK_EQ(model_store(OTHER, va, "x", 1), MODEL_OK);
    tsl_word before = flushes();
    set(frame, RO, TSL_PAGE_SAME);
    CHECK_EQ(flushes(), before + 1);
    CHECK_EQ(model_store(OTHER, va, "y", 1), MODEL_PROTECTION);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.dirty);
    set(frame, RO | TSL_EXEC, TSL_PAGE_SAME); /* more, but not the right to write */
    CHECK_EQ(model_fetch(OTHER, va), MODEL_OK);
    set(frame, RW | TSL_CACHE_UNCACHED, TSL_PAGE_SAME);
    CHECK_EQ(flushes(), before + 3);
    finish();
}

static void any_other_change_is_flushed(void)
{
    for_each_format(narrowed_of);
}

static void replaced_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    char byte = 0;
    struct tsl_page_change change;
    tsl_paddr old = world_frame(&world, 0), fresh = world_frame(&world, 0);
    set(old, RW, TSL_PAGE_NEW);
    CHECK_EQ(model_store(OTHER, va, "o", 1), MODEL_OK);
    CHECK_STATUS(tsl_table_set_page(&world.table, va, fresh, RW, &change), TSL_OK);
    CHECK_EQ(change.kind, TSL_PAGE_REPLACED);
    CHECK_EQ(change.old, old);
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(old), 0), TSL_OK);
    CHECK_EQ(model_store(0, va, "n", 1), MODEL_OK);
    CHECK_EQ(model_load(OTHER, va, &byte, 1), MODEL_OK);
    CHECK_EQ(byte, 'n');
    CHECK(world_agrees(&world, va, true, fresh, RW));
    CHECK_EQ(world.table.counters.pages[0], 1);
    finish();
}

static void nobody_reaches_a_page_that_was_replaced(void)
{
    for_each_format(replaced_of);
}

/* A gather of somebody else is open: its changes are not known here, so that all is dropped. */
static void gathered_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_gather gather;
    tsl_paddr frame = world_frame(&world, 0);
    set(frame, RW, TSL_PAGE_NEW);
    CHECK_STATUS(tsl_table_map(&world.table, va + 4096, frame, 4096, RW), TSL_OK);
    CHECK_EQ(model_store(OTHER, va + 4096, "x", 1), MODEL_OK);
    tsl_gather_init(&gather, &world.table);
    CHECK_STATUS(tsl_table_unmap(&world.table, va + 4096, 4096, 0, &gather), TSL_OK);
    set(frame, RO, TSL_PAGE_SAME);
    CHECK_EQ(model_store(OTHER, va + 4096, "y", 1), MODEL_NOT_PRESENT);
    tsl_gather_finish(&gather);
    finish();
}

static void what_others_have_gathered_is_flushed_too(void)
{
    for_each_format(gathered_of);
}

static void refuses(tsl_vaddr at, tsl_paddr target, unsigned attributes, enum tsl_status expected)
{
    struct tsl_page_change change = {.old = 1};
    CHECK_STATUS(tsl_table_set_page(&world.table, at, target, attributes, &change), expected);
    CHECK_EQ(change.old, 1);
    CHECK(world_agrees(&world, va, false, 0, 0));
}

static void refusals_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    tsl_paddr above = (tsl_paddr)1 << machine_features()->physical_bits;
    refuses(va + 1, 0x100000, RW, TSL_MISALIGNED);
    refuses(va, 0x100001, RW, TSL_MISALIGNED);
    refuses(va, above, RW, TSL_OUT_OF_RANGE);
    refuses(0, 0x100000, RW, TSL_OUT_OF_RANGE);
    refuses(world_start(TSL_LAYOUT_VALLOC), 0x100000, TSL_READ, TSL_OUT_OF_RANGE);
    refuses(va, 0x100000, 0, TSL_INVALID);
    refuses(va, 0x100000, TSL_USER, TSL_INVALID);
    refuses(va, 0x100000, RW | TSL_GLOBAL, TSL_INVALID);
    refuses(va, 0x100000, RW | TSL_MAP_LARGE, TSL_INVALID);
    refuses(va, 0x100000, RW | TSL_EXEC, TSL_DENIED);
    refuses(va, 0x100000, RW | TSL_EXEC, TSL_DENIED); /* nothing was learned the first time */
    set(world_frame(&world, 0), RW | TSL_EXEC | TSL_ALLOW_WX, TSL_PAGE_NEW);
    finish();
}

static void bad_pages_are_refused(void)
{
    for_each_format(refusals_of);
}

/* A range in which not every page is there; the CPU's marks stay, on other CPUs the right goes. */
static void sparse_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_gather gather;
    struct tsl_mapping page;
    tsl_paddr frame = world_frame(&world, 0);
    set(frame, RW, TSL_PAGE_NEW);
    CHECK_EQ(model_store(OTHER, va, "x", 1), MODEL_OK);
    tsl_gather_init(&gather, &world.table);
    CHECK_STATUS(tsl_table_protect_sparse(&world.table, va - 8 * 4096, 32 * 4096, RO, &gather),
                 TSL_OK);
    tsl_gather_finish(&gather);
    CHECK_EQ(model_store(OTHER, va, "y", 1), MODEL_PROTECTION);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && page.dirty);
    CHECK(world_agrees(&world, va, true, frame, RO));
    CHECK(world_agrees(&world, va + 4096, false, 0, 0));
    finish();
}

static void what_is_missing_is_no_mistake(void)
{
    for_each_format(sparse_of);
}

/* Up to the first page that is there, and never beyond a table. */
static void absent_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    unsigned entries = 1u << format->index_bits[0];
    va &= ~(tsl_table_format_page_bytes(format, 1) - 1u);
    CHECK_EQ(tsl_table_count_absent(&world.table, va, 0), 0);
    CHECK_EQ(tsl_table_count_absent(&world.table, va, 7), 7); /* no table is there */
    CHECK_EQ(tsl_table_count_absent(&world.table, va, 1), 1);
    tsl_vaddr kept = va;
    va += 5 * 4096;
    set(world_frame(&world, 0), RO, TSL_PAGE_NEW);
    CHECK_EQ(tsl_table_count_absent(&world.table, kept, 3), 3);
    CHECK_EQ(tsl_table_count_absent(&world.table, kept, 64), 5);
    CHECK_EQ(tsl_table_count_absent(&world.table, va, 1), 0);
    CHECK_EQ(tsl_table_count_absent(&world.table, va + 4096, 4 * entries), entries - 6);
    CHECK_EQ(tsl_table_count_absent(&world.table, kept + (tsl_vaddr)(entries - 1) * 4096, 9), 1);
    finish();
}

static void absent_pages_are_counted(void)
{
    for_each_format(absent_of);
}

static void large_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    struct tsl_page_change change;
    size_t bytes = (size_t)tsl_table_format_page_bytes(format, 1);
    va &= ~(tsl_vaddr)(bytes - 1);
    tsl_paddr target = 8 * (tsl_paddr)bytes;
    CHECK_STATUS(tsl_table_map(&world.table, va, target, bytes, RW | TSL_MAP_LARGE), TSL_OK);
    if (world.table.counters.pages[1] > 0) {
        CHECK_STATUS(tsl_table_set_page(&world.table, va, target, RO, &change), TSL_EXISTS);
        CHECK(world_agrees(&world, va, true, target, RW));
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes, 0, NULL), TSL_OK);
    finish();
}

static void a_larger_page_is_in_the_way(void)
{
    for_each_format(large_of);
}

static void fixed_of(const struct tsl_table_format *format)
{
    REQUIRE(begin(format));
    CHECK_STATUS(tsl_table_fix(&world.table, va, 4096), TSL_OK);
    refuses(va, 0x100000, RW, TSL_DENIED);
    world_close(&world);
}

static void the_fixed_range_is_refused(void)
{
    for_each_format(fixed_of);
}

/* Exactly R frames left for the tables that are missing. */
static void memory_of(const struct tsl_table_format *format)
{
    static struct tsl_frame taken[40000];
    REQUIRE(begin(format));
    struct tsl_page_change change;
    tsl_paddr frame = world_frame(&world, 0);
    tsl_word needed = format->levels - 1u - (format->fixed_top ? 1u : 0u);
    for (tsl_word left = 0; left <= needed; left++) {
        unsigned count = 0;
        while (tsl_frames_free_count(world.frames) > left && count < TSL_COUNT_OF(taken) &&
               tsl_frames_alloc(world.frames, 0, TSL_FRAMES_HIGH, &taken[count]) == TSL_OK)
            count++;
        CHECK_STATUS(tsl_table_set_page(&world.table, va, frame, RW, &change),
                     left < needed ? TSL_NO_MEMORY : TSL_OK);
        CHECK_EQ(tsl_frames_free_count(world.frames), left < needed ? left : 0);
        CHECK(world_agrees(&world, va, left == needed, frame, RW));
        CHECK_SOUND(tsl_table_verify(&world.table));
        while (count > 0)
            CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], 0), TSL_OK);
    }
    finish();
}

static void without_memory_nothing_changes(void)
{
    for_each_format(memory_of);
}

TAP_SUITE(set_page, TAP_TEST(what_was_absent_needs_no_flush),
          TAP_TEST(the_right_to_write_needs_no_flush),
          TAP_TEST(the_short_way_widens_and_nothing_else), TAP_TEST(any_other_change_is_flushed),
          TAP_TEST(nobody_reaches_a_page_that_was_replaced),
          TAP_TEST(what_others_have_gathered_is_flushed_too), TAP_TEST(bad_pages_are_refused),
          TAP_TEST(what_is_missing_is_no_mistake), TAP_TEST(absent_pages_are_counted),
          TAP_TEST(a_larger_page_is_in_the_way), TAP_TEST(the_fixed_range_is_refused),
          TAP_TEST(without_memory_nothing_changes));
