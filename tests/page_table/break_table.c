/* SPDX-License-Identifier: MIT
 *
 * break_table.c: each rule of tsl_table_verify, broken by hand, is found, and it alone.
 *
 * Owns:    nothing.
 * Needs:   table_world.h. The rule numbers are those of the component's README.
 * Callers: the test runner.
 */
#include <host/ram.h>
#include <tesela/config.h>

#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)

static struct world world;
static tsl_vaddr va;

/* A table with one kernel page and one user page. */
static bool setup(const struct tsl_table_format *format)
{
    if (!world_open(&world, format, NULL))
        return false;
    va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr user = world_start(TSL_LAYOUT_USER);
    return tsl_table_map(&world.table, va, 0x5000, 4096, RW) == TSL_OK &&
           tsl_table_map(&world.table, user, 0x6000, 4096, RW | TSL_USER) == TSL_OK &&
           tsl_table_verify(&world.table).rule == 0;
}

/* Change an entry, see the rule, change it back, see that all is well. */
static void breaks(void *entry, uint64_t value, unsigned rule)
{
    uint64_t kept = world_entry_get(&world, entry);
    CHECK(kept != value);
    world_entry_set(&world, entry, value);
    CHECK_BROKEN(tsl_table_verify(&world.table), rule);
    world_entry_set(&world, entry, kept);
    CHECK_SOUND(tsl_table_verify(&world.table));
}

static void *leaf_of(tsl_vaddr address)
{
    unsigned level;
    return world_entry(&world, address, &level);
}

/* The entry above the leaf's table, found by its target. */
static void *parent_of(tsl_vaddr address)
{
    const struct tsl_table_format *format = world.table.format;
    char *memory = world.table.root_memory;
    for (unsigned level = format->levels - 1; level > 1; level--) {
        unsigned index = tsl_table_format_index(format, level, address);
        uint64_t raw = world_entry_get(&world, memory + index * format->entry_bytes);
        memory = host_ram_at(raw & UINT64_C(0x000ffffffffff000));
    }
    return memory + tsl_table_format_index(format, 1, address) * format->entry_bytes;
}

static void entries_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    char *leaf = leaf_of(va);
    char *user = leaf_of(world_start(TSL_LAYOUT_USER));
    char *parent = parent_of(va);
    char *next = leaf + format->entry_bytes;
    uint64_t raw = world_entry_get(&world, leaf);
    uint64_t table = world_entry_get(&world, parent);
    uint64_t no_execute = format->has_nx ? UINT64_C(1) << 63 : 0x200;
    struct tsl_frame unused = {0};

    breaks(next, 0x1000, 2);
    if (format->entry_bytes == 8)
        breaks(leaf, raw | UINT64_C(1) << 51, 3);
    else
        breaks(parent, 0x2083, 3);                   /* a large page at 8 KiB */
    breaks(parent, table + ((tsl_paddr)1 << 30), 4); /* nothing there */
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &unused), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, unused, 0), TSL_OK);
    breaks(parent, tsl_frame_address(unused) | 3, 4); /* a free frame */
    breaks(leaf, 0, 5);
    breaks(parent + format->entry_bytes, table, 6); /* a second parent */
    breaks(next, raw, 7);                           /* an uncounted page */
    breaks(leaf, raw & ~no_execute, 8);
    breaks(leaf, raw | 4, 9);
    breaks(parent, table | 4, 10);
    breaks(user, world_entry_get(&world, user) | 0x100, 11);
    world_close(&world);
}

static void rules_2_to_11(void)
{
    for_each_format(entries_of);
}

static void counters_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    world.table.counters.tables++;
    CHECK_BROKEN(tsl_table_verify(&world.table), 6);
    world.table.counters.tables--;
    world.table.counters.pages[0]--;
    CHECK_BROKEN(tsl_table_verify(&world.table), 7);
    world.table.counters.pages[0]++;

    tsl_paddr root = world.table.root;
    world.table.root += 4096;
    CHECK_BROKEN(tsl_table_verify(&world.table), 1);
    world.table.root = 0;
    CHECK_BROKEN(tsl_table_verify(&world.table), 1);
    world.table.root = root;
    world_close(&world);
}

static void rules_1_6_and_7(void)
{
    for_each_format(counters_of);
}

static void guards_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    CHECK_STATUS(tsl_table_map(&world.table, 0x1000, 0x7000, 4096, TSL_READ), TSL_OK);
    char *low = leaf_of(0x1000);
    uint64_t raw = world_entry_get(&world, low);
    breaks(low - format->entry_bytes, raw, 12); /* page 0 */
    if (format->sign_extended) {
        tsl_vaddr last = format->user_last + 1 - 4096;
        CHECK_STATUS(tsl_table_map(&world.table, last, 0x7000, 4096, TSL_READ), TSL_OK);
        breaks((char *)leaf_of(last) + format->entry_bytes, raw, 12);
    }
    world_close(&world);
}

static void rule_12(void)
{
    for_each_format(guards_of);
}

static void fixed_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    tsl_vaddr fixed = world_start(TSL_LAYOUT_WINDOWS);
    CHECK_STATUS(tsl_table_fix(&world.table, fixed, 4096), TSL_OK);
    CHECK_STATUS(tsl_table_fix(&world.table, fixed, 4096), TSL_OK);
    CHECK_STATUS(tsl_table_fix(&world.table, fixed, 8192), TSL_EXISTS);
    CHECK_SOUND(tsl_table_verify(&world.table));
    CHECK_STATUS(tsl_table_map(&world.table, fixed, 0x5000, 4096, RW), TSL_DENIED);
    CHECK_STATUS(tsl_table_unmap(&world.table, fixed - 4096, 8192, TSL_UNMAP_SPARSE, NULL),
                 TSL_DENIED);
    /* The range grows behind the back of its tables. */
    world.table.fixed_last += tsl_table_format_page_bytes(format, 1);
    CHECK_BROKEN(tsl_table_verify(&world.table), 13);
    world.table.fixed_last -= tsl_table_format_page_bytes(format, 1);
    world_close(&world);
}

static void rule_13(void)
{
    for_each_format(fixed_of);
}

/* An empty table that is not noted, and notes that name no table of 4 KiB pages, or one twice. */
static void kept_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format));
    tsl_vaddr other = va + 3 * tsl_table_format_page_bytes(format, 1);
    CHECK_STATUS(tsl_table_map(&world.table, other, 0x7000, 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, other, 4096, 0, NULL), TSL_OK);
    CHECK_EQ(world.table.kept_count, 1);
    CHECK_SOUND(tsl_table_verify(&world.table));
    world.table.kept_count = 0;
    CHECK_BROKEN(tsl_table_verify(&world.table), 5);
    world.table.kept_count = 2;
    world.table.kept[1] = other;
    CHECK_BROKEN(tsl_table_verify(&world.table), 14);
    world.table.kept[1] = va + 2 * tsl_table_format_page_bytes(format, 1);
    CHECK_BROKEN(tsl_table_verify(&world.table), 14);
    world.table.kept_count = 1;
    CHECK_SOUND(tsl_table_verify(&world.table));
    world_close(&world);
}

static void rules_5_and_14(void)
{
    for_each_format(kept_of);
}

TAP_SUITE(table_break, TAP_TEST(rules_2_to_11), TAP_TEST(rules_1_6_and_7), TAP_TEST(rule_12),
          TAP_TEST(rule_13), TAP_TEST(rules_5_and_14));
