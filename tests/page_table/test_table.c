/* SPDX-License-Identifier: MIT
 *
 * test_table.c: map, unmap, protect, query and next, each status and each format.
 *
 * Owns:    nothing.
 * Needs:   table_world.h.
 * Callers: the test runner.
 */
#include <stdint.h>

#include <tesela/bits.h>

#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)
#define RX (TSL_READ | TSL_EXEC)

static void one_page(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    CHECK(world_agrees(&world, va, false, 0, 0));
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x5000, 4096, RW), TSL_OK);
    CHECK(world_agrees(&world, va, true, 0x5000, RW));
    CHECK(world_agrees(&world, va + 4095, true, 0x5fff, RW));
    CHECK(world_agrees(&world, va + 4096, false, 0, 0));
    CHECK_SOUND(tsl_table_verify(&world.table));
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x6000, 4096, RW), TSL_EXISTS);
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, RX, NULL), TSL_OK);
    CHECK(world_agrees(&world, va, true, 0x5000, RX));
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    CHECK(world_agrees(&world, va, false, 0, 0));
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, ~0u, NULL), TSL_INVALID);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    world_close(&world);
}

static void maps_and_unmaps_a_page(void)
{
    for_each_format(one_page);
}

static void refuses_one(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    struct tsl_table *table = &world.table;
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr user = world_start(TSL_LAYOUT_USER);
    tsl_word frames = tsl_frames_free_count(world.frames);

    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 0, RW), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4096, 0), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4096, RW | 1u << 30), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4096, RW | 5u << 8), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, user, 0x5000, 4096, RW | TSL_GLOBAL), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, va + 1, 0x5000, 4096, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_table_map(table, va, 0x5001, 4096, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4097, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_table_map(table, 0, 0x5000, 4096, RW), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4096, RW | TSL_EXEC), TSL_DENIED);
    CHECK_STATUS(tsl_table_map(table, va, 0x5000, 4096, RW | TSL_USER), TSL_DENIED);
    CHECK_STATUS(tsl_table_map(table, format->user_last + 1 - 4096, 0x5000, 8192, RX | TSL_USER),
                 format->va_bits == 32 ? TSL_DENIED : TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_table_map(table, 0x1000, 0x5000, 4096, RW | TSL_USER), TSL_DENIED);
    tsl_paddr beyond = (tsl_paddr)1 << machine_features()->physical_bits;
    CHECK_STATUS(tsl_table_map(table, va, beyond, 4096, RW), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_table_map(table, va, beyond - 4096, 8192, RW), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_table_map(table, va, ~(tsl_paddr)0 - 4095, 8192, RW), TSL_OUT_OF_RANGE);

    CHECK_EQ(tsl_frames_free_count(world.frames), frames);
    CHECK_EQ(table->counters.tables, format->fixed_top ? 5 : 1);
    CHECK_STATUS(tsl_table_map(table, va, beyond - 4096, 4096, RW), TSL_OK);
    CHECK(world_agrees(&world, va, true, beyond - 4096, RW));
    CHECK_STATUS(tsl_table_unmap(table, va, 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void refuses_what_makes_no_sense(void)
{
    for_each_format(refuses_one);
}

/* What a range deserves, written down a second time and more slowly. */
static enum tsl_status range_deserves(const struct tsl_table_format *format, tsl_vaddr start,
                                      size_t bytes)
{
    if (bytes == 0)
        return TSL_INVALID;
    if (start % 4096 != 0 || bytes % 4096 != 0)
        return TSL_MISALIGNED;
    tsl_vaddr last = start + (bytes - 1);
    if (last < start)
        return TSL_OUT_OF_RANGE;
    if (format->va_bits == 32) {
        uint64_t top = UINT64_C(0xffffffff);
        if (start > top || last > top)
            return TSL_NOT_CANONICAL;
        return start == 0 ? TSL_OUT_OF_RANGE : TSL_OK;
    }
    uint64_t lower_last =
        format->va_bits == 48 ? UINT64_C(0x00007fffffffffff) : UINT64_C(0x00ffffffffffffff);
    uint64_t upper = ~lower_last;
    bool start_low = start <= lower_last;
    bool last_low = last <= lower_last;
    if ((!start_low && start < upper) || (!last_low && last < upper) || start_low != last_low)
        return TSL_NOT_CANONICAL;
    if (start == 0 || (start_low && last > lower_last - 4096))
        return TSL_OUT_OF_RANGE;
    return TSL_OK;
}

#define EDGES 24u

static size_t edge(unsigned index)
{
    static const uint64_t edges[EDGES] = {
        0,
        1,
        4095,
        4096,
        0x1000ff,
        0x80000000,
        0xbffef000,
        0xbfff0000,
        0xc0000000,
        0xfffff000,
        0xffffffff,
        UINT64_C(0x100000000),
        UINT64_C(0x00007fffffffe000),
        UINT64_C(0x00007ffffffff000),
        UINT64_C(0x0000800000000000),
        UINT64_C(0x00ffffffffffe000),
        UINT64_C(0x00fffffffffff000),
        UINT64_C(0x0100000000000000),
        UINT64_C(0xfeffffffffffe000),
        UINT64_C(0xff00000000000000),
        UINT64_C(0xffff7ffffffff000),
        UINT64_C(0xffff800000000000),
        UINT64_C(0xfffffffffffff000),
        UINT64_MAX,
    };
    return (size_t)edges[index];
}

static void edges_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    unsigned wrong = 0;
    for (unsigned i = 0; i < EDGES * EDGES; i++) {
        tsl_vaddr start = edge(i / EDGES);
        size_t bytes = edge(i % EDGES);
        enum tsl_status deserved = range_deserves(format, start, bytes);
        enum tsl_status absent = deserved == TSL_OK ? TSL_NOT_FOUND : deserved;
        struct tsl_mapping page;
        if (bytes <= 0x100000 || deserved != TSL_OK) {
            /* Too large to map a page at a time, but every refusal comes before any work. */
            enum tsl_status got = tsl_table_map(&world.table, start, 0x10000, bytes, TSL_READ);
            wrong += got != deserved;
            if (got == TSL_OK)
                wrong += tsl_table_unmap(&world.table, start, bytes, 0, NULL) != TSL_OK;
        }
        wrong += tsl_table_unmap(&world.table, start, bytes, 0, NULL) != absent;
        wrong += tsl_table_unmap(&world.table, start, bytes, TSL_UNMAP_SPARSE, NULL) != deserved;
        wrong += tsl_table_protect(&world.table, start, bytes, TSL_READ, NULL) != absent;
        wrong += tsl_table_query(&world.table, start, &page) == TSL_OK;
        wrong += tsl_table_next(&world.table, start, start + bytes, &page);
        if (wrong > 0) {
            tap_note("at %zx, %zx bytes", (size_t)start, bytes);
            break;
        }
    }
    CHECK_EQ(wrong, 0);
    tsl_table_trim(&world.table);
    CHECK_EQ(world.table.counters.tables, format->fixed_top ? 5 : 1);
    world_close(&world);
}

static void judges_every_pair_of_edges(void)
{
    for_each_format(edges_of);
}

static void next_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    struct tsl_table *table = &world.table;
    tsl_vaddr user = world_start(TSL_LAYOUT_USER);
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr top = format->va_bits == 32 ? (tsl_vaddr)0xfffff000 : ~(tsl_vaddr)0 - 4095;
    struct tsl_mapping page;
    CHECK(!tsl_table_next(table, 0, ~(tsl_vaddr)0, &page));
    CHECK_STATUS(tsl_table_map(table, user, 0x5000, 4096, RW | TSL_USER), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, va, 0x6000, 8192, RX), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, top, 0x9000, 4096, RW), TSL_OK);

    const tsl_vaddr expected[] = {user, va, va + 4096, top};
    tsl_vaddr from = 0;
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE(tsl_table_next(table, from, ~(tsl_vaddr)0, &page));
        CHECK_EQ(page.start, expected[i]);
        CHECK_EQ(page.bytes, 4096);
        from = page.start + page.bytes;
    }
    CHECK(from == 0 || !tsl_table_next(table, from, ~(tsl_vaddr)0, &page));
    CHECK(!tsl_table_next(table, user + 4096, va - 1, &page));
    CHECK(tsl_table_next(table, user + 4096, va, &page));
    CHECK(tsl_table_next(table, va + 1, va + 1, &page));
    CHECK_EQ(page.start, va);
    CHECK_STATUS(tsl_table_unmap(table, user, 4096, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(table, va, top - va + 4096, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    CHECK(!tsl_table_next(table, 0, ~(tsl_vaddr)0, &page));
    world_close(&world);
}

static void next_visits_what_exists(void)
{
    for_each_format(next_of);
}

/* A page in the middle is missing: nothing before it may change. */
static void partial_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    struct tsl_table *table = &world.table;
    tsl_vaddr va = world_start(TSL_LAYOUT_HEAP);
    CHECK_STATUS(tsl_table_map(table, va, 0x10000, 4 * 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, va + 5 * 4096, 0x20000, 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(table, va, 6 * 4096, 0, NULL), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_table_protect(table, va, 6 * 4096, TSL_READ, NULL), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_table_map(table, va + 4 * 4096, 0x30000, 2 * 4096, RW), TSL_EXISTS);
    for (unsigned i = 0; i < 4; i++)
        CHECK(world_agrees(&world, va + i * 4096, true, 0x10000 + i * 4096, RW));
    CHECK(world_agrees(&world, va + 4 * 4096, false, 0, 0));
    CHECK_STATUS(tsl_table_unmap(table, va, 6 * 4096, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    world_close(&world);
}

static void a_refused_call_changes_nothing(void)
{
    for_each_format(partial_of);
}

static void attributes_of(const struct tsl_table_format *format)
{
    static const unsigned rights[] = {TSL_READ, RW, RX,
                                      TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX};
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_DEVICES);
    for (unsigned i = 0; i < 4 * 4 * 2; i++) {
        unsigned cache = (i / 4 % 4) << 8;
        unsigned attributes = rights[i % 4] | cache | (i / 16 ? TSL_GLOBAL : 0u);
        struct tsl_mapping page;
        REQUIRE(tsl_table_map(&world.table, va, 0x7000, 4096, attributes) == TSL_OK);
        CHECK(world_agrees(&world, va, true, 0x7000, attributes));
        REQUIRE(tsl_table_query(&world.table, va, &page) == TSL_OK);
        CHECK_EQ(page.attributes, attributes);
        CHECK_SOUND(tsl_table_verify(&world.table));
        CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    }
    world_close(&world);
}

static void attributes_come_back(void)
{
    for_each_format(attributes_of);
}

/* Between the halves, which 32-bit formats have pages in: no other space shows what is there. */
static void between_of(const struct tsl_table_format *format)
{
    struct world world;
    if (format->sign_extended)
        return;
    REQUIRE(world_open(&world, format, NULL));
    struct tsl_table *table = &world.table;
    tsl_vaddr half = (tsl_vaddr)3 << 30, between = half - 4096;
    CHECK(between > format->user_last);
    CHECK_STATUS(tsl_table_map(table, between, 0x7000, 4096, RW | TSL_GLOBAL), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, between, 0x7000, 2 * 4096, RW | TSL_GLOBAL), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(table, between, 0x7000, 2 * 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_protect(table, between, 4096, RW | TSL_GLOBAL, NULL), TSL_INVALID);
    CHECK_STATUS(tsl_table_protect(table, half, 4096, RW | TSL_GLOBAL, NULL), TSL_OK);
    CHECK(world_agrees(&world, between, true, 0x7000, RW));
    CHECK(world_agrees(&world, half, true, 0x8000, RW | TSL_GLOBAL));
    CHECK_STATUS(tsl_table_unmap(table, between, 2 * 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void nothing_between_the_halves_is_global(void)
{
    CHECK(machine_format_count() > 0);
    for_each_format(between_of);
}

/* A CPU without NX, PGE and PAT: no bit may appear that it does not know. */
static void poor_cpu_of(const struct tsl_table_format *format)
{
    struct tsl_cpu_features poor = {.pae = format->entry_bytes == 8, .physical_bits = 32};
    poor.la57 = format->levels == 5;
    struct machine_config config = {.features = &poor};
    struct world world;
    REQUIRE(world_open(&world, format, &config));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    unsigned level;
    unsigned wanted = RW | TSL_GLOBAL | TSL_CACHE_WRITE_COMBINING;
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x7000, 4096, wanted), TSL_OK);
    uint64_t raw = world_entry_get(&world, world_entry(&world, va, &level));
    CHECK_EQ(raw & (UINT64_C(1) << 63), 0);
    CHECK_EQ(raw & 0x100, 0);   /* global */
    CHECK_EQ(raw & 0x80, 0);    /* PAT */
    CHECK_EQ(raw & 0x18, 0x18); /* so it is uncached */
    struct tsl_mapping page;
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK_EQ(page.attributes, RW | TSL_CACHE_UNCACHED);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void a_poor_cpu_gets_no_unknown_bit(void)
{
    for_each_format(poor_cpu_of);
}

static void refuses_a_format_the_cpu_lacks(void)
{
    const struct tsl_table_format *format = machine_format_at(0);
    struct machine_config config = {.format = format->name};
    REQUIRE(machine_create(&config));
    struct tsl_table table;
    struct tsl_table_config wanted = {.format = format, .frames = machine_frames()};
    CHECK(format->entry_bytes == 8);
    CHECK_STATUS(tsl_table_init(&table, &wanted), TSL_UNSUPPORTED);
    machine_destroy();
}

/* A running table is not taken from under its CPU. */
static void fini_waits_for_the_last_cpu(void)
{
    struct world world;
    REQUIRE(world_open(&world, machine_format_at(0), NULL));
    CHECK_STATUS(tsl_table_fini(&world.table), TSL_BUSY);
    CHECK_SOUND(tsl_table_verify(&world.table));
    world_close(&world);
}

/* The frames of a mask, scattered or not, on both sides of a border between two tables. */
static void one_word(const struct tsl_table_format *format)
{
    static const tsl_word masks[] = {1, 6, (tsl_word)0x8000a005, ~(tsl_word)0};
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr border = (world_start(TSL_LAYOUT_VALLOC) | ((tsl_vaddr)0x3fffff)) + 1u;
    struct tsl_frame first = {0x1000};
    for (unsigned i = 0; i < TSL_COUNT_OF(masks); i++) {
        size_t pages = tsl_bits_count(masks[i]);
        tsl_vaddr va = border - (pages / 2) * 4096, at = va;
        CHECK_STATUS(tsl_table_map_word(&world.table, va, first, masks[i], RW), TSL_OK);
        for (tsl_word left = masks[i]; left != 0; left &= left - 1, at += 4096)
            CHECK(world_agrees(&world, at, true, 0x1000000 + 4096 * tsl_bits_lowest(left), RW));
        CHECK(world_agrees(&world, at, false, 0, 0));
        CHECK_SOUND(tsl_table_verify(&world.table));
        CHECK_STATUS(tsl_table_map_word(&world.table, at - 4096, first, 3, RW), TSL_EXISTS);
        CHECK(world_agrees(&world, at, false, 0, 0));
        CHECK_STATUS(tsl_table_unmap(&world.table, va, pages * 4096, 0, NULL), TSL_OK);
        CHECK(world_agrees(&world, va, false, 0, 0));
    }
    tsl_word top = (tsl_word)(((tsl_paddr)1 << machine_features()->physical_bits) >> 12);
    CHECK_STATUS(tsl_table_map_word(&world.table, border, first, 0, RW), TSL_INVALID);
    CHECK_STATUS(tsl_table_map_word(&world.table, border, first, 1, RW | TSL_EXEC), TSL_DENIED);
    CHECK_STATUS(tsl_table_map_word(&world.table, border + 1, first, 1, RW), TSL_MISALIGNED);
    first.number = top - 2;
    CHECK_STATUS(tsl_table_map_word(&world.table, border, first, 4, RW), TSL_OUT_OF_RANGE);
    CHECK_STATUS(tsl_table_map_word(&world.table, border, first, 3, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, border, 8192, 0, NULL), TSL_OK);
    world_close(&world);
}

static void maps_the_frames_of_a_word(void)
{
    for_each_format(one_word);
}

/* The lock is let go now and then, with interrupts on; a page that is missing at the end is found
 * before anything goes. */
static void one_long_range(const struct tsl_table_format *format)
{
    enum { LONG_PAGES = 6 * 1024 };
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    size_t bytes = (size_t)LONG_PAGES * 4096;
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x1000000, bytes, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes + 4096, 0, NULL), TSL_NOT_FOUND);
    CHECK(world_agrees(&world, va, true, 0x1000000, RW));
    CHECK(world_agrees(&world, va + bytes - 4096, true, 0x1000000 + bytes - 4096, RW));
    CHECK_STATUS(tsl_table_protect(&world.table, va, bytes + 4096, TSL_READ, NULL), TSL_NOT_FOUND);
    CHECK(world_agrees(&world, va, true, 0x1000000, RW));
    /* Once for each 2,048 pages, to look and to change; the common case was tried first. */
    const uint32_t times = TSL_CPUS > 1 ? 1 + 2 * LONG_PAGES / 2048 : 0;
    uint32_t before = world.table.lock.next;
    CHECK_STATUS(tsl_table_protect(&world.table, va, bytes, TSL_READ, NULL), TSL_OK);
    CHECK_EQ(world.table.lock.next - before, times);
    for (tsl_vaddr at = 0; at < bytes; at += 64 * 4096)
        CHECK(world_agrees(&world, va + at, true, 0x1000000 + at, TSL_READ));
    CHECK(world_agrees(&world, va + bytes - 4096, true, 0x1000000 + bytes - 4096, TSL_READ));
    before = world.table.lock.next;
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes, 0, NULL), TSL_OK);
    CHECK_EQ(world.table.lock.next - before, times);
    CHECK(world_agrees(&world, va, false, 0, 0));
    CHECK(world_agrees(&world, va + bytes - 4096, false, 0, 0));
    CHECK_SOUND(tsl_table_verify(&world.table));
    CHECK_EQ(world.table.counters.pages[0], 0);
    world_close(&world);
}

static void long_ranges_let_interrupts_in(void)
{
    for_each_format(one_long_range);
}

TAP_SUITE(table, TAP_TEST(maps_and_unmaps_a_page), TAP_TEST(refuses_what_makes_no_sense),
          TAP_TEST(nothing_between_the_halves_is_global), TAP_TEST(judges_every_pair_of_edges),
          TAP_TEST(next_visits_what_exists), TAP_TEST(a_refused_call_changes_nothing),
          TAP_TEST(attributes_come_back), TAP_TEST(a_poor_cpu_gets_no_unknown_bit),
          TAP_TEST(refuses_a_format_the_cpu_lacks), TAP_TEST(fini_waits_for_the_last_cpu),
          TAP_TEST(maps_the_frames_of_a_word), TAP_TEST(long_ranges_let_interrupts_in));
