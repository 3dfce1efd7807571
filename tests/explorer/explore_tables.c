/* SPDX-License-Identifier: MIT
 *
 * explore_tables.c: changes of tables against CPUs that use them, in every order.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, table_world.h, model_cpu.h.
 * Callers: the test runner.
 */
#include "explorer.h"

#include <host/model_cpu.h>
#include <tesela/config.h>

#include "host_port.h"
#include "tap.h"
#include "../page_table/table_world.h"

#define RW (TSL_READ | TSL_WRITE)

enum { CPUS = 3, PAGES = 2 };

static const struct tsl_table_format *format;
static struct world world;
static tsl_vaddr va;
static bool gone[PAGES]; /* the operation on a page has returned */

static void open_world(void)
{
    struct machine_config config = {.cpus = CPUS, .ram = {{0, 4 * MIB}}};
    if (!world_open(&world, format, &config))
        explorer_require(false, "a world");
    va = world_start(TSL_LAYOUT_VALLOC);
    for (unsigned i = 0; i < PAGES; i++) {
        struct tsl_frame frame;
        gone[i] = false;
        if (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_HIGH, &frame) != TSL_OK ||
            tsl_table_map(&world.table, va + i * 4096, tsl_frame_address(frame), 4096, RW) !=
                TSL_OK)
            explorer_require(false, "a page");
    }
}

/* Nobody reached what was free; all is as it should be, and all frames come back. */
static void close_world(void)
{
    struct model_counters counters;
    model_counters(&counters);
    EXPLORER_REQUIRE(counters.freed_frames == 0);
    EXPLORER_REQUIRE(counters.freed_tables == 0);
    EXPLORER_REQUIRE(counters.reserved == 0);
    EXPLORER_REQUIRE(tsl_table_verify(&world.table).rule == 0);
    EXPLORER_REQUIRE(tsl_frames_verify(world.frames).rule == 0);
    EXPLORER_REQUIRE(world.table.open_gathers == 0);
    EXPLORER_REQUIRE(tsl_table_unmap(&world.table, va, PAGES * 4096,
                                     TSL_UNMAP_FREE | TSL_UNMAP_SPARSE, NULL) == TSL_OK);
    world_close(&world);
}

/* One store of a model CPU. */
static enum model_result store(unsigned cpu, tsl_vaddr address)
{
    char byte = 1;
    explorer_point();
    explorer_hold();
    enum model_result result = model_store(cpu, address, &byte, 1);
    explorer_release();
    return result;
}

static void speculate(unsigned cpu, tsl_vaddr address)
{
    explorer_point();
    explorer_hold();
    model_speculate(cpu, address);
    explorer_release();
}

/* Explore `subject` with each format, sound and with a fault that must be found. */
static void with_each_format(const struct explorer_case *subject, enum explorer_fault fault)
{
    for (size_t i = 0; i < machine_format_count(); i++) {
        format = machine_format_at(i);
        tap_note("format %s", format->name);
        CHECK(!explorer_finds(subject, EXPLORER_NO_FAULT));
        CHECK(explorer_finds(subject, fault));
    }
}

/* ---- Two CPUs take a page away each, a third one uses both. ---- */

static void unmap_body(unsigned cpu)
{
    if (cpu < PAGES) {
        EXPLORER_REQUIRE(
            tsl_table_unmap(&world.table, va + cpu * 4096, 4096, TSL_UNMAP_FREE, NULL) == TSL_OK);
        gone[cpu] = true;
        return;
    }
    for (unsigned i = 0; i < 2 * PAGES; i++) {
        bool is_gone = gone[i % PAGES];
        enum model_result result = store(cpu, va + i % PAGES * 4096);
        EXPLORER_REQUIRE(!is_gone || result == MODEL_NOT_PRESENT);
        EXPLORER_REQUIRE(result == MODEL_OK || result == MODEL_NOT_PRESENT);
    }
}

static const struct explorer_case unmap_case = {"unmap",    CPUS,        1,
                                                open_world, close_world, unmap_body};

static void no_cpu_uses_what_was_taken_away(void)
{
    with_each_format(&unmap_case, EXPLORER_LATE_FLUSH);
}

/* ---- Read-only for one CPU that flushes later, and for another that finds nothing to do. ---- */

static void protect_body(unsigned cpu)
{
    if (cpu == 0) {
        struct tsl_gather gather;
        tsl_gather_init(&gather, &world.table);
        EXPLORER_REQUIRE(tsl_table_protect(&world.table, va, 4096, TSL_READ, &gather) == TSL_OK);
        explorer_point();
        tsl_gather_finish(&gather);
        gone[0] = true;
    } else if (cpu == 1) {
        EXPLORER_REQUIRE(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL) == TSL_OK);
        gone[1] = true;
    } else {
        for (unsigned i = 0; i < 5; i++) {
            bool is_gone = gone[0] || gone[1];
            enum model_result result = store(cpu, va);
            EXPLORER_REQUIRE(result == (is_gone ? MODEL_PROTECTION : result));
        }
    }
}

static const struct explorer_case protect_case = {"protect",  CPUS,        1,
                                                  open_world, close_world, protect_body};

static void a_second_protect_waits_for_the_first(void)
{
    with_each_format(&protect_case, EXPLORER_LATE_FLUSH);
}

/* ---- The CPU marks a page as written while its entry is changed. ---- */

static bool stored;

static void dirty_setup(void)
{
    open_world();
    stored = false;
}

static void dirty_body(unsigned cpu)
{
    if (cpu == 0)
        EXPLORER_REQUIRE(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL) == TSL_OK);
    else if (cpu == 1)
        stored = store(cpu, va) == MODEL_OK;
}

static void dirty_check(void)
{
    struct tsl_mapping page;
    EXPLORER_REQUIRE(tsl_table_query(&world.table, va, &page) == TSL_OK);
    EXPLORER_REQUIRE(page.dirty == stored);
    close_world();
}

static const struct explorer_case dirty_case = {"dirty",     CPUS,        1,
                                                dirty_setup, dirty_check, dirty_body};

static void no_mark_is_lost(void)
{
    with_each_format(&dirty_case, EXPLORER_TORN_COMPARE);
}

/* ---- A kept table goes, while one CPU walks through it and another wants one like it. ---- */

static tsl_vaddr kept_page; /* in the table that is kept */
static tsl_vaddr other_page;

static void map_once(tsl_vaddr at)
{
    struct tsl_frame frame;
    EXPLORER_REQUIRE(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK);
    EXPLORER_REQUIRE(tsl_table_map(&world.table, at, tsl_frame_address(frame), 4096, RW) == TSL_OK);
}

static void unmap_once(tsl_vaddr at)
{
    EXPLORER_REQUIRE(tsl_table_unmap(&world.table, at, 4096, TSL_UNMAP_FREE, NULL) == TSL_OK);
}

static void table_setup(void)
{
    open_world();
    kept_page = va + tsl_table_format_page_bytes(format, 1);
    other_page = kept_page + tsl_table_format_page_bytes(format, 1);
    map_once(kept_page);
    unmap_once(kept_page);
    EXPLORER_REQUIRE(world.table.kept_count == 1);
}

static void table_body(unsigned cpu)
{
    if (cpu == 0) {
        for (unsigned i = 0; i < 5; i++)
            speculate(cpu, kept_page);
    } else if (cpu == 1) {
        tsl_table_trim(&world.table);
    } else {
        map_once(other_page);
        EXPLORER_REQUIRE(store(cpu, other_page) == MODEL_OK);
        unmap_once(other_page);
        EXPLORER_REQUIRE(store(cpu, other_page) == MODEL_NOT_PRESENT);
    }
}

static const struct explorer_case table_case = {"table",     CPUS,        1,
                                                table_setup, close_world, table_body};

static void no_cpu_walks_a_table_that_is_gone(void)
{
    with_each_format(&table_case, EXPLORER_LATE_FLUSH);
}

/* ---- Pages become one while others use them: in place, or absent for a moment. ---- */

static enum tsl_layout_use place;
static tsl_vaddr large;

static void promote_setup(void)
{
    struct machine_config config = {.cpus = CPUS, .ram = {{0, 16 * MIB}}};
    if (!world_open(&world, format, &config))
        explorer_require(false, "a world");
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    /* Both orders with entries of each width would take long: the orders take turns. */
    place = format->levels % 2 == 1 ? TSL_LAYOUT_VALLOC : TSL_LAYOUT_USER;
    large = (world_start(place) + bytes) & ~(bytes - 1);
    va = large - PAGES * 4096; /* nothing there */
    tsl_paddr block = world_frame(&world, format->shift[1] - TSL_PAGE_SHIFT);
    EXPLORER_REQUIRE(tsl_table_map(&world.table, large, block, bytes, RW) == TSL_OK);
}

static void promote_body(unsigned cpu)
{
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_table_promote(&world.table, large, bytes) == TSL_OK);
    } else if (cpu == 1) {
        enum model_result result = store(cpu, large + 3 * 4096);
        while (result == MODEL_NOT_PRESENT && place == TSL_LAYOUT_USER)
            result = store(cpu, large + 3 * 4096);
        EXPLORER_REQUIRE(result == MODEL_OK);
    } else {
        for (unsigned i = 0; i < 3; i++)
            speculate(cpu, large);
    }
}

static void promote_check(void)
{
    struct tsl_mapping page;
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    EXPLORER_REQUIRE(tsl_table_query(&world.table, large, &page) == TSL_OK);
    EXPLORER_REQUIRE(page.bytes == bytes);
    EXPLORER_REQUIRE(page.accessed && page.dirty);
    struct model_counters counters;
    model_counters(&counters);
    EXPLORER_REQUIRE(place != TSL_LAYOUT_USER || counters.two_sizes == 0);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        speculate(cpu, large);
        EXPLORER_REQUIRE(store(cpu, large + 3 * 4096) == MODEL_OK);
    }
    EXPLORER_REQUIRE(tsl_table_unmap(&world.table, large, bytes, TSL_UNMAP_FREE, NULL) == TSL_OK);
    close_world();
}

static const struct explorer_case promote_case = {"promote",     CPUS,          1,
                                                  promote_setup, promote_check, promote_body};

static void a_promotion_loses_no_mark_and_no_page(void)
{
    if (TSL_LARGE_PAGES)
        with_each_format(&promote_case, EXPLORER_LATE_FLUSH);
}

TAP_SUITE(explore_tables, TAP_TEST(no_cpu_uses_what_was_taken_away),
          TAP_TEST(a_second_protect_waits_for_the_first), TAP_TEST(no_mark_is_lost),
          TAP_TEST(no_cpu_walks_a_table_that_is_gone),
          TAP_TEST(a_promotion_loses_no_mark_and_no_page));
