/* SPDX-License-Identifier: MIT
 *
 * test_kernel_table.c: the kernel's own table on machines with holes, high RAM and poor CPUs.
 *
 * Owns:    nothing.
 * Needs:   table_world.h; the walker checks what is built, page by page.
 * Callers: the test runner.
 */
#include <tesela/kernel_table.h>

#include <string.h>
#include <tesela/window.h>

#include "tap.h"
#include "table_world.h"

#define RW          (TSL_READ | TSL_WRITE)
#define RX          (TSL_READ | TSL_EXEC)
#define G           TSL_GLOBAL
#define TEXT        (MIB)
#define RODATA      (MIB + 0x23000)
#define DATA        (MIB + 0x31000)
#define DATA_END    (MIB + 0x345000)
#define ACPI        (30 * MIB)
#define DEVICE_PAGE ((tsl_paddr)0xfee00000)

static struct world world;
static struct tsl_memory_range storage[16];
static struct tsl_memory_map map;
static struct tsl_kernel_device devices[2];
static struct tsl_kernel_table_config config;

/* RAM with the hole of a PC, the image in it, firmware tables in the middle, some RAM high up. */
static bool setup(const struct tsl_table_format *format, const struct tsl_cpu_features *features)
{
    struct machine_config machine = {
        .ram = {{0, 0x9f000}, {MIB, 63 * MIB}, {66 * MIB, MIB}},
        .features = features,
    };
    if (!world_open(&world, format, &machine))
        return false;
    if (!machine_map_of(&map, storage, TSL_COUNT_OF(storage), machine.ram, 3) ||
        tsl_map_reserve(&map, TEXT, DATA_END - TEXT, TSL_MEMORY_KERNEL) != TSL_OK ||
        tsl_map_reserve(&map, ACPI, 0x3000, TSL_MEMORY_RESERVED) != TSL_OK)
        return false;
    tsl_vaddr direct = world_start(TSL_LAYOUT_DIRECT_MAP);
    devices[0] = (struct tsl_kernel_device){world_start(TSL_LAYOUT_DEVICES), DEVICE_PAGE, 0x2000,
                                            RW | TSL_CACHE_UNCACHED};
    devices[1] = (struct tsl_kernel_device){direct + (tsl_vaddr)ACPI - 0x1000, ACPI - 0x1000,
                                            0x4000, TSL_READ};
    config = (struct tsl_kernel_table_config){
        .layout = machine_layout(),
        .map = &map,
        .image = {TEXT, RODATA, RODATA, DATA, DATA, DATA_END},
        .devices = devices,
        .device_count = 2,
    };
    return true;
}

static unsigned direct_attributes(tsl_paddr address)
{
    bool constant = address >= TEXT && address < DATA;
    bool tables = address >= ACPI && address < ACPI + 0x3000;
    return constant || tables ? TSL_READ | G : RW | G;
}

static bool in_direct_map(tsl_paddr address)
{
    return address < 64 * MIB || (address >= 66 * MIB && address < 67 * MIB);
}

static void check_direct(void)
{
    tsl_vaddr direct = world_start(TSL_LAYOUT_DIRECT_MAP);
    unsigned wrong = 0;
    for (tsl_paddr at = 0; at < 70 * MIB && wrong == 0; at += 4096)
        wrong += !world_agrees(&world, direct + (tsl_vaddr)at, in_direct_map(at), at,
                               direct_attributes(at));
    CHECK_EQ(wrong, 0);
}

static void check_image(void)
{
    unsigned wrong = 0;
    for (tsl_paddr at = TEXT; at < DATA_END; at += 4096) {
        unsigned attributes = (at < RODATA ? RX : at < DATA ? TSL_READ : RW) | G;
        wrong += !world_agrees(&world, (tsl_vaddr)at + config.layout->image_offset, true, at,
                               attributes);
    }
    wrong += !world_agrees(&world, (tsl_vaddr)DATA_END + config.layout->image_offset, false, 0, 0);
    CHECK_EQ(wrong, 0);
}

/* The whole table once more, without knowing what should be in it. */
static void check_write_xor_execute(void)
{
    struct tsl_mapping page;
    unsigned both = 0;
    unsigned user = 0;
    for (tsl_vaddr from = 0; tsl_table_next(&world.table, from, ~(tsl_vaddr)0, &page);) {
        both += (page.attributes & TSL_WRITE) && (page.attributes & TSL_EXEC);
        user += (page.attributes & TSL_USER) != 0;
        from = page.start + page.bytes;
        if (from == 0)
            break;
    }
    CHECK_EQ(both, 0);
    CHECK_EQ(user, 0);
}

static void built_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format, NULL));
    CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_OK);
    CHECK_SOUND(tsl_table_verify(&world.table));
    CHECK(world_agrees(&world, 0, false, 0, 0));
    for (tsl_vaddr at = 0x1000; at < 0x100000; at += 0x1000)
        CHECK(world_agrees(&world, at, true, at, RX));
    check_image();
    check_direct();
    check_write_xor_execute();
    CHECK(world_agrees(&world, devices[0].at + 0x1000, true, DEVICE_PAGE + 0x1000,
                       RW | G | TSL_CACHE_UNCACHED));
    CHECK(world_agrees(&world, devices[0].at + 0x2000, false, 0, 0));
    CHECK_EQ(world.table.fixed_last - world.table.fixed_first + 1, TSL_WINDOW_PAGES * 4096);
    CHECK(!TSL_LARGE_PAGES || world.table.counters.pages[1] > 5);
    CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_EXISTS);
    CHECK_SOUND(tsl_table_verify(&world.table));
    world_close(&world);
}

static void builds_all_parts(void)
{
    for_each_format(built_of);
}

static void poor_of(const struct tsl_table_format *format)
{
    struct tsl_cpu_features poor = {.pae = format->entry_bytes == 8, .physical_bits = 32};
    poor.la57 = format->levels == 5;
    REQUIRE(setup(format, &poor));
    CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_OK);
    CHECK_SOUND(tsl_table_verify(&world.table));
    check_image();
    check_direct();
    if (format->levels == 2)
        CHECK_EQ(world.table.counters.pages[1], 0); /* no PSE */
    world_close(&world);
}

static void builds_for_a_cpu_without_nx_pge_pse(void)
{
    for_each_format(poor_of);
}

/* Nothing can be found under two sizes where there is one. */
static void one_size_of(const struct tsl_table_format *format)
{
    struct tsl_cpu_features one_size = {.pae = format->entry_bytes == 8,
                                        .pse = true,
                                        .pge = true,
                                        .pages_1g = format->va_bits > 32,
                                        .la57 = format->levels == 5,
                                        .one_size = true,
                                        .physical_bits = 32};
    REQUIRE(setup(format, &one_size));
    CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_OK);
    CHECK_SOUND(tsl_table_verify(&world.table));
    check_image();
    check_direct();
    tsl_vaddr direct = world_start(TSL_LAYOUT_DIRECT_MAP) + 8 * MIB;
    CHECK_STATUS(tsl_table_protect(&world.table, direct, 8 * MIB, RW | G | TSL_MAP_PROMOTE, NULL),
                 TSL_OK);
    CHECK_STATUS(tsl_table_promote(&world.table, direct, 8 * MIB), TSL_OK);
    CHECK_EQ(world.table.counters.promotions, 0);
    for (unsigned level = 1; level < format->levels; level++)
        CHECK_EQ(world.table.counters.pages[level], 0);
    world_close(&world);
}

static void builds_small_pages_where_two_sizes_stop_the_cpu(void)
{
    for_each_format(one_size_of);
}

static void unchanged_after(enum tsl_status status, enum tsl_status expected)
{
    struct tsl_mapping page;
    CHECK_STATUS(status, expected);
    CHECK(!tsl_table_next(&world.table, 0, ~(tsl_vaddr)0, &page));
    CHECK_EQ(world.table.counters.tables, world.table.format->fixed_top ? 5 : 1);
    CHECK_SOUND(tsl_table_verify(&world.table));
}

static void refusals_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format, NULL));
    struct tsl_kernel_image good = config.image;
    config.image.data_start += 1;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_MISALIGNED);
    config.image = good;
    config.image.data_start = RODATA;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_OVERLAP);
    config.image = good;
    config.image.text_end = 0x80000;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_INVALID);
    config.image = good;
    config.image.data_end = 3 * GIB;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_OUT_OF_RANGE);
    config.image = good;
    devices[0].attributes |= TSL_EXEC;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_DENIED);
    devices[0].attributes = RW;
    devices[0].at = world_start(TSL_LAYOUT_HEAP);
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_OUT_OF_RANGE);
    devices[0].at = world_start(TSL_LAYOUT_DEVICES);
    devices[0].bytes = 0;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_OUT_OF_RANGE);
    devices[0].bytes = 0x1001;
    unchanged_after(tsl_table_build_kernel(&world.table, &config), TSL_MISALIGNED);
    devices[0].bytes = 0x1000;
    CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_OK);
    world_close(&world);
}

static void refuses_and_undoes(void)
{
    for_each_format(refusals_of);
}

static char text[8192];
static size_t text_length;

static void keep(void *context, const char *part, size_t length)
{
    (void)context;
    if (length > sizeof(text) - 1 - text_length)
        length = sizeof(text) - 1 - text_length;
    memcpy(text + text_length, part, length);
    text_length += length;
    text[text_length] = '\0';
}

static void dump_shows_runs(void)
{
    const struct tsl_sink sink = {keep, NULL};
    for (size_t i = 0; i < machine_format_count(); i++) {
        REQUIRE(setup(machine_format_at(i), NULL));
        text_length = 0;
        tsl_table_dump(&world.table, &sink);
        CHECK(strstr(text, "nothing is mapped") != NULL);
        CHECK_STATUS(tsl_table_build_kernel(&world.table, &config), TSL_OK);
        text_length = 0;
        tsl_table_dump(&world.table, &sink);
        unsigned lines = 0;
        for (size_t at = 0; at < text_length; at++)
            lines += text[at] == '\n';
        CHECK(lines > 8);
        CHECK(lines < 30); /* 16384 pages of RAM in a few runs */
        CHECK(strstr(text, " r-x global -> 0x100000\n") != NULL);
        CHECK(strstr(text, "2 x 4K rw- global uncached -> 0xfee00000\n") != NULL);
        CHECK(!TSL_LARGE_PAGES || strstr(text, "M rw- global -> 0x") != NULL);
        world_close(&world);
    }
}

TAP_SUITE(kernel_table, TAP_TEST(builds_all_parts), TAP_TEST(builds_for_a_cpu_without_nx_pge_pse),
          TAP_TEST(builds_small_pages_where_two_sizes_stop_the_cpu), TAP_TEST(refuses_and_undoes),
          TAP_TEST(dump_shows_runs));
