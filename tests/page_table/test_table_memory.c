/* SPDX-License-Identifier: MIT
 *
 * test_table_memory.c: exactly R frames left, for every R: an operation works or changes nothing.
 *
 * Owns:    nothing.
 * Needs:   table_world.h.
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <tesela/config.h>
#include <tesela/kernel_table.h>

#include "tap.h"
#include "table_world.h"

#define RW    (TSL_READ | TSL_WRITE)
#define TAKEN 40000u

static struct tsl_frame taken[TAKEN];
static unsigned taken_count;

/* Take frames until exactly `left` are free. */
static void leave(struct world *world, tsl_word left)
{
    taken_count = 0;
    while (tsl_frames_free_count(world->frames) > left && taken_count < TAKEN) {
        if (tsl_frames_alloc(world->frames, 0, TSL_FRAMES_HIGH, &taken[taken_count]) != TSL_OK)
            break;
        taken_count++;
    }
    CHECK_EQ(tsl_frames_free_count(world->frames), left);
}

static void give_back(struct world *world)
{
    while (taken_count > 0)
        CHECK_STATUS(tsl_frames_free(world->frames, taken[--taken_count], 0), TSL_OK);
}

static void map_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}}};
    struct world world;
    REQUIRE(world_open(&world, format, &config));
    tsl_vaddr span = tsl_table_format_page_bytes(format, 1);
    tsl_vaddr va = world_start(TSL_LAYOUT_HEAP) + span - 4096;
    size_t bytes = span + 2 * 4096; /* three tables of level 0 */
    tsl_word needed = 3 + format->levels - 2 - (format->fixed_top ? 1 : 0);
    for (tsl_word left = 0; left <= needed; left++) {
        leave(&world, left);
        enum tsl_status expected = left < needed ? TSL_NO_MEMORY : TSL_OK;
        CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, bytes, RW), expected);
        CHECK_EQ(tsl_frames_free_count(world.frames), left < needed ? left : 0);
        CHECK(world_agrees(&world, va, left == needed, 0x100000, RW));
        CHECK_SOUND(tsl_table_verify(&world.table));
        give_back(&world);
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes, 0, NULL), TSL_OK);
    world_close(&world);
}

static void map_takes_all_its_frames_or_none(void)
{
    for_each_format(map_of);
}

static void split_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}}};
    struct world world;
    REQUIRE(world_open(&world, format, &config));
    /* The largest page there is; a hole in its middle splits it down to the bottom. */
    unsigned level = format->levels - 1;
    while (!format->leaf_at(level, machine_features()))
        level--;
    tsl_vaddr large = tsl_table_format_page_bytes(format, level);
    tsl_vaddr va = tsl_table_format_page_bytes(format, format->levels > 3 ? 2 : 1);
    va = (world_start(TSL_LAYOUT_HEAP) + va - 1) & ~(va - 1);
    CHECK_STATUS(tsl_table_map(&world.table, va, 0, large, RW | TSL_MAP_LARGE), TSL_OK);
    CHECK_EQ(world.table.counters.pages[level], 1);
    tsl_vaddr hole = va + tsl_table_format_page_bytes(format, 1) - 4096;
    size_t bytes = level > 1 ? 2 * 4096 : 4096; /* crosses a 2 MiB border in a 1 GiB page */
    tsl_word needed = level > 1 ? 3 : 1;
    for (tsl_word left = 0; left <= needed; left++) {
        tsl_word splits = world.table.counters.splits;
        leave(&world, left);
        enum tsl_status expected = left < needed ? TSL_NO_MEMORY : TSL_OK;
        CHECK_STATUS(tsl_table_protect(&world.table, hole, bytes, TSL_READ, NULL), expected);
        CHECK_EQ(world.table.counters.splits - splits, left < needed ? 0 : needed);
        CHECK_EQ(tsl_frames_free_count(world.frames), left < needed ? left : 0);
        CHECK(world_agrees(&world, hole, true, hole - va, left < needed ? RW : TSL_READ));
        CHECK(world_agrees(&world, hole - 4096, true, hole - va - 4096, RW));
        CHECK_SOUND(tsl_table_verify(&world.table));
        give_back(&world);
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, va, large, 0, NULL), TSL_OK);
    world_close(&world);
}

static void a_split_takes_all_its_frames_or_none(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(split_of);
}

static void init_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}}};
    struct world world;
    REQUIRE(world_open(&world, format, &config));
    struct tsl_table_config wanted = {
        .format = format, .features = *machine_features(), .frames = world.frames};
    tsl_word needed = format->fixed_top ? 5 : 1;
    for (tsl_word left = 0; left <= needed; left++) {
        struct tsl_table table;
        leave(&world, left);
        enum tsl_status expected = left < needed ? TSL_NO_MEMORY : TSL_OK;
        CHECK_STATUS(tsl_table_init(&table, &wanted), expected);
        CHECK_EQ(tsl_frames_free_count(world.frames), left < needed ? left : 0);
        if (left == needed)
            CHECK_STATUS(tsl_table_fini(&table), TSL_OK);
        give_back(&world);
    }
    world_close(&world);
}

static void init_takes_all_its_frames_or_none(void)
{
    for_each_format(init_of);
}

/* No frame below 4 GiB is left, and many above are. Only roots that 32 bits of CR3 must hold need
 * one: those of 32-bit formats, and the kernel's, which a CPU may load on its way to 64 bits. */
static void high_root_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}, {4 * GIB, 16 * MIB}}};
    struct tsl_table table;
    struct world world;
    if (format->va_bits <= 32)
        return;
    REQUIRE(world_open(&world, format, &config));
    taken_count = 0;
    while (taken_count < TAKEN &&
           tsl_frames_alloc(world.frames, 0, TSL_FRAMES_DMA32, &taken[taken_count]) == TSL_OK)
        taken_count++;
    struct tsl_table_config wanted = {
        .format = format, .features = *machine_features(), .frames = world.frames};
    REQUIRE(tsl_table_init(&table, &wanted) == TSL_OK);
    CHECK(table.root >= 4 * GIB);
    CHECK_STATUS(tsl_table_map(&table, world_start(TSL_LAYOUT_USER), 0x1000, 4096, RW), TSL_OK);
    CHECK_SOUND(tsl_table_verify(&table));
    tsl_table_switch_to(&table);
    char byte;
    CHECK_EQ(model_load(0, world_start(TSL_LAYOUT_USER), &byte, 1), MODEL_OK);
    tsl_table_switch_to(&world.table);
    tsl_table_left(&table);
    CHECK_STATUS(tsl_table_unmap(&table, world_start(TSL_LAYOUT_USER), 4096, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_fini(&table), TSL_OK);
    wanted.kernel = true;
    CHECK_STATUS(tsl_table_init(&table, &wanted), TSL_NO_MEMORY);
    give_back(&world);
    world_close(&world);
}

static void a_space_needs_no_low_root(void)
{
    CHECK(machine_format_count() > 0); /* a 32-bit program has no such formats */
    for_each_format(high_root_of);
}

static void build_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.ram = {{0, 16 * MIB}}};
    struct world world;
    REQUIRE(world_open(&world, format, &config));
    struct tsl_kernel_table_config kernel = {
        .layout = machine_layout(),
        .map = machine_map(),
        .image = {MIB, MIB + 0x5000, MIB + 0x5000, MIB + 0x7000, MIB + 0x7000, MIB + 0x20000},
    };
    unsigned left = 0;
    enum tsl_status status = TSL_NO_MEMORY;
    for (; status != TSL_OK && left < 100; left++) {
        leave(&world, left);
        status = tsl_table_build_kernel(&world.table, &kernel);
        if (status != TSL_OK) {
            CHECK_STATUS(status, TSL_NO_MEMORY);
            CHECK_EQ(tsl_frames_free_count(world.frames), left);
            CHECK_EQ(world.table.counters.tables, format->fixed_top ? 5 : 1);
        }
        give_back(&world);
        CHECK_SOUND(tsl_table_verify(&world.table));
    }
    CHECK_STATUS(status, TSL_OK);
    CHECK(left > 3);
    world_close(&world);
}

static void build_kernel_is_undone_at_every_step(void)
{
    for_each_format(build_of);
}

/* ---- Which frames come free: pages that go together in the gather, and those that must not.
 * ---- */

static tsl_word refused(struct world *world)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world->frames, &stats);
    return tsl_refusals_total(&stats.refusals);
}

static void free_of(const struct tsl_table_format *format)
{
    /* Page -> frame of a block of 16: neighbours in one, in the other, in both, in neither. */
    static const unsigned char frame_of[] = {0,  1,  2, 3, 99, 4,  9,  8,  7,
                                             99, 99, 5, 6, 10, 12, 13, 14, 15};
    enum { PAGES = sizeof(frame_of), NONE = 99, BLOCK = 16 };
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC) + 3 * 4096;
    tsl_paddr block = world_frame(&world, 4);
    for (unsigned i = 0; i < PAGES; i++)
        if (frame_of[i] != NONE)
            CHECK_STATUS(tsl_table_map(&world.table, va + i * 4096, block + frame_of[i] * 4096u,
                                       4096, i < 9 || i % 3 ? RW : TSL_READ),
                         TSL_OK);
    char byte;
    for (unsigned i = 0; i < PAGES; i++)
        CHECK_EQ(model_load(0, va + i * 4096, &byte, 1),
                 frame_of[i] == NONE ? MODEL_NOT_PRESENT : MODEL_OK);
    tsl_word before = tsl_frames_free_count(world.frames);
    CHECK_STATUS(
        tsl_table_unmap(&world.table, va, PAGES * 4096, TSL_UNMAP_SPARSE | TSL_UNMAP_FREE, NULL),
        TSL_OK);
    for (unsigned i = 0; i < BLOCK; i++)
        CHECK_EQ(tsl_frames_is_free(world.frames, tsl_frame_of(block + i * 4096u)), i != 11);
    CHECK_EQ(tsl_frames_free_count(world.frames), before + BLOCK - 1);
    for (unsigned i = 0; i < PAGES; i++)
        CHECK_EQ(model_load(0, va + i * 4096, &byte, 1), MODEL_NOT_PRESENT);
    CHECK_EQ(refused(&world), 0);
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(block + 11 * 4096u), 0), TSL_OK);
    world_close(&world);
}

static void each_frame_comes_free(void)
{
    for_each_format(free_of);
}

/* One of four neighbours is free already: it is refused, and the other three do not suffer. */
static void mistaken_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr block = world_frame(&world, 2);
    CHECK_STATUS(tsl_table_map(&world.table, va, block, 4 * 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(block + 4096), 0), TSL_OK);
    tsl_word before = tsl_frames_free_count(world.frames);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4 * 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(world.frames), before + 3);
    CHECK(refused(&world) > 0);
    world_close(&world);
}

static void a_mistaken_frame_is_alone(void)
{
    for_each_format(mistaken_of);
}

/* A huge block is freed as one although the frame behind it, mapped behind it, is a single one. */
static void block_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_gather gather;
    unsigned order = format->shift[1] - TSL_PAGE_SHIFT;
    size_t bytes = (size_t)4096 << order;
    if (!TSL_LARGE_PAGES)
        return;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = (world_start(TSL_LAYOUT_HEAP) + bytes) & ~(tsl_vaddr)(bytes - 1);
    tsl_paddr block = world_frame(&world, order);
    while (tsl_frames_reserve(world.frames, block + bytes, 4096) != TSL_OK) {
        block = world_frame(&world, order); /* never freed: the machine ends with the test */
        world.free_before -= (tsl_word)1 << order;
    }
    CHECK_STATUS(tsl_table_map(&world.table, va, block, bytes, RW | TSL_MAP_LARGE), TSL_OK);
    CHECK_STATUS(tsl_table_map(&world.table, va + bytes, block + bytes, 4096, RW), TSL_OK);
    CHECK_EQ(world.table.counters.pages[1], 1);
    tsl_gather_init(&gather, &world.table);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes + 4096, TSL_UNMAP_FREE, &gather), TSL_OK);
    tsl_gather_finish(&gather);
    CHECK_EQ(refused(&world), 0);
    CHECK(tsl_frames_is_free(world.frames, tsl_frame_of(block)));
    CHECK(tsl_frames_is_free(world.frames, tsl_frame_of(block + bytes)));
    world_close(&world);
}

static void a_huge_block_stays_one(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(block_of);
}

TAP_SUITE(table_memory, TAP_TEST(each_frame_comes_free), TAP_TEST(a_mistaken_frame_is_alone),
          TAP_TEST(a_huge_block_stays_one), TAP_TEST(map_takes_all_its_frames_or_none),
          TAP_TEST(a_split_takes_all_its_frames_or_none),
          TAP_TEST(init_takes_all_its_frames_or_none), TAP_TEST(a_space_needs_no_low_root),
          TAP_TEST(build_kernel_is_undone_at_every_step));
