/* SPDX-License-Identifier: MIT
 *
 * test_table_flush.c: model CPUs that remember: nothing stale may be used after an operation.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h.
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <string.h>
#include <tesela/config.h>

#include "host_port.h"
#include "rng.h"
#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)

/* Three CPUs, or as many as the configuration has; CPU(n) is one of them. */
#define CPUS   (TSL_CPUS < 3 ? (unsigned)TSL_CPUS : 3u)
#define CPU(n) ((n) % CPUS)

static bool open_cpus(struct world *world, const struct tsl_table_format *format)
{
    struct machine_config config = {.cpus = CPUS};
    return world_open(world, format, &config);
}

static void store_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    char text[6] = "";
    CHECK_EQ(model_store(0, va, "hello", 6), MODEL_NOT_PRESENT);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, RW), TSL_OK);
    CHECK_EQ(model_store(0, va, "hello", 6), MODEL_OK);
    CHECK_EQ(model_load(CPU(1), va, text, 6), MODEL_OK);
    CHECK_STRING(text, "hello");
    bool has_nx = format->has_nx;
    CHECK_EQ(model_fetch(CPU(2), va), has_nx ? MODEL_PROTECTION : MODEL_OK);

    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL), TSL_OK);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        CHECK_EQ(model_store(cpu, va, "world", 6), MODEL_PROTECTION);
        CHECK_EQ(model_load(cpu, va, text, 6), MODEL_OK);
    }
    CHECK_STRING(text, "hello");
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        CHECK_EQ(model_load(cpu, va, text, 6), MODEL_NOT_PRESENT);
    world_nothing_stale();
    world_close(&world);
}

static void every_cpu_sees_each_change(void)
{
    for_each_format(store_of);
}

/* The frame of a global page too, and while another root is loaded in between. */
static void global_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    char byte;
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, RW | TSL_GLOBAL), TSL_OK);
    CHECK_EQ(model_load(CPU(1), va, &byte, 1), MODEL_OK);
    host_port_set_cpu(CPU(1));
    tsl_table_switch_to(&world.table); /* keeps the global translation */
    struct model_counters before;
    struct model_counters after;
    model_counters(&before);
    CHECK_EQ(model_load(CPU(1), va, &byte, 1), MODEL_OK);
    model_counters(&after);
    CHECK_EQ(after.hits - before.hits, 1);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK_EQ(model_load(CPU(1), va, &byte, 1), MODEL_NOT_PRESENT);

    /* More pages than a request names: everything is flushed, and global ones with it. */
    const size_t bytes = (TSL_FLUSH_PAGES + 1u) * TSL_PAGE_BYTES;
    frame = world_frame(&world, 5);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, bytes, RW | TSL_GLOBAL), TSL_OK);
    for (size_t at = 0; at < bytes; at += TSL_PAGE_BYTES)
        CHECK_EQ(model_load(CPU(1), va + at, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes, 0, NULL), TSL_OK);
    for (size_t at = 0; at < bytes; at += TSL_PAGE_BYTES)
        CHECK_EQ(model_load(CPU(1), va + at, &byte, 1), MODEL_NOT_PRESENT);
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(frame), 5), TSL_OK);
    world_nothing_stale();
    world_close(&world);
}

static void global_pages_are_flushed_too(void)
{
    for_each_format(global_of);
}

/* Until the gather is finished, frames stay allocated, whoever still writes to them. */
static void gather_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_gather gather;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, RW), TSL_OK);
    CHECK_EQ(model_store(CPU(1), va, "x", 1), MODEL_OK);
    tsl_word free_frames = tsl_frames_free_count(world.frames);
    tsl_gather_init(&gather, &world.table);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, &gather), TSL_OK);
    CHECK(!tsl_frames_is_free(world.frames, tsl_frame_of(frame)));
    CHECK_EQ(tsl_frames_free_count(world.frames), free_frames);
    CHECK_EQ(model_store(CPU(1), va, "y", 1),
             MODEL_OK); /* the CPU still may: nothing was flushed */
    tsl_gather_finish(&gather);
    CHECK(tsl_frames_is_free(world.frames, tsl_frame_of(frame)));
    tsl_table_trim(&world.table);
    CHECK(tsl_frames_free_count(world.frames) > free_frames + 1); /* tables came back as well */
    CHECK_EQ(model_store(CPU(1), va, "z", 1), MODEL_NOT_PRESENT);
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_EQ(counters.stale_hits, 1); /* the one store above */
    world_close(&world);
}

static void a_gather_frees_after_the_flush(void)
{
    for_each_format(gather_of);
}

/* Whoever wants the frames gets them after the flush; tables go back to the allocator. */
struct handed {
    struct tsl_frame expected;
    tsl_vaddr va;
    unsigned times;
};

static void hand_over(void *context, struct tsl_frame first, tsl_word pages)
{
    struct handed *handed = context;
    CHECK_EQ(pages, 1);
    CHECK_EQ(first.number, handed->expected.number);
    CHECK_EQ(model_store(CPU(1), handed->va, "y", 1), MODEL_NOT_PRESENT);
    handed->times++;
}

static void hand_over_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_gather gather;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    struct handed handed = {tsl_frame_of(world_frame(&world, 0)), va, 0};
    tsl_word free_frames = tsl_frames_free_count(world.frames);
    CHECK_STATUS(tsl_table_map(&world.table, va, tsl_frame_address(handed.expected), 4096, RW),
                 TSL_OK);
    CHECK_EQ(model_store(CPU(1), va, "x", 1), MODEL_OK);
    tsl_gather_init(&gather, &world.table);
    gather.release = hand_over;
    gather.context = &handed;
    /* The whole table's range: it is empty then, and goes too. */
    tsl_vaddr table = va & ~(tsl_table_format_page_bytes(format, 1) - 1u);
    CHECK_STATUS(tsl_table_unmap(&world.table, table, tsl_table_format_page_bytes(format, 1),
                                 TSL_UNMAP_FREE | TSL_UNMAP_SPARSE, &gather),
                 TSL_OK);
    CHECK_EQ(handed.times, 0);
    tsl_gather_finish(&gather);
    CHECK_EQ(handed.times, 1);
    CHECK(!tsl_frames_is_free(world.frames, handed.expected));
    CHECK_EQ(tsl_frames_free_count(world.frames), free_frames);
    CHECK_STATUS(tsl_frames_free(world.frames, handed.expected, 0), TSL_OK);
    world_close(&world);
}

static void a_gather_hands_frames_over(void)
{
    for_each_format(hand_over_of);
}

/*
 * CPU 0 has made a page read-only but not flushed yet; CPU 1 asks for the same, finds nothing to
 * change, and must not return before CPU 2 has lost its writable translation.
 */
static void open_gather_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_gather first;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, RW), TSL_OK);
    CHECK_EQ(model_store(CPU(2), va, "x", 1), MODEL_OK);
    tsl_gather_init(&first, &world.table);
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, TSL_READ, &first), TSL_OK);
    host_port_set_cpu(CPU(1));
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL), TSL_OK);
    CHECK_EQ(model_store(CPU(2), va, "y", 1), MODEL_PROTECTION);
    host_port_set_cpu(0);
    tsl_gather_finish(&first);
    CHECK_EQ(world.table.open_gathers, 0);
    world_nothing_stale();
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    world_close(&world);
}

static void an_open_gather_of_another_is_flushed(void)
{
    for_each_format(open_gather_of);
}

/* More frames than a gather holds, and more pages than a request names. */
static void many_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    unsigned pages = 3 * TSL_GATHER_RUNS + 5;
    for (unsigned i = 0; i < pages; i++) {
        tsl_vaddr at = va + i * (tsl_vaddr)0x400000 / 4; /* several tables */
        unsigned attributes = i % 2 ? RW : RW | TSL_GLOBAL;
        CHECK_STATUS(tsl_table_map(&world.table, at, world_frame(&world, 0), 4096, attributes),
                     TSL_OK);
        CHECK_EQ(model_store(i % CPUS, at, "x", 1), MODEL_OK);
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, va, (size_t)pages * 0x100000,
                                 TSL_UNMAP_SPARSE | TSL_UNMAP_FREE, NULL),
                 TSL_OK);
    for (unsigned i = 0; i < pages; i++)
        CHECK_EQ(model_store(i % CPUS, va + i * (tsl_vaddr)0x100000, "x", 1), MODEL_NOT_PRESENT);
    world_nothing_stale();
    world_close(&world);
}

static void a_full_gather_flushes_early(void)
{
    for_each_format(many_of);
}

/* A table frame is reused at once for data that looks like entries: nobody may walk through it. */
static void reused_table_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    char byte;
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, RW), TSL_OK);
    CHECK_EQ(model_load(CPU(2), va, &byte, 1), MODEL_OK); /* remembers the way to the last table */
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    /* The neighbour was never loaded: it would go the remembered way. */
    CHECK_EQ(model_load(CPU(2), va + 4096, &byte, 1), MODEL_NOT_PRESENT);
    world_nothing_stale();
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(frame), 0), TSL_OK);
    world_close(&world);
}

static void no_walk_through_a_freed_table(void)
{
    for_each_format(reused_table_of);
}

static tsl_vaddr speculated;

static void speculate(uint64_t *entry)
{
    (void)entry;
    model_speculate(CPU(2), speculated);
}

/*
 * The gather is full just when a table's last page goes, so it has flushed; a CPU that walks ahead
 * remembers the empty table again. Its frame may not be freed without one more flush.
 */
static void full_gather_of(const struct tsl_table_format *format)
{
    struct world world;
    char byte;
    size_t pages = TSL_GATHER_RUNS + 1;
    if (format->entry_bytes == 4)
        return; /* the hook sits in exchanges of 8 bytes */
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    for (size_t i = 0; i < pages; i++)
        CHECK_STATUS(tsl_table_map(&world.table, va + i * 4096, world_frame(&world, 0), 4096, RW),
                     TSL_OK);
    speculated = va + pages * 4096;
    model_before_exchange = speculate;
    CHECK_STATUS(tsl_table_unmap(&world.table, va, pages * 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    model_before_exchange = NULL;
    CHECK_EQ(model_load(CPU(2), va, &byte, 1), MODEL_NOT_PRESENT);
    world_nothing_stale();
    world_close(&world);
}

static void a_table_behind_a_full_gather_is_flushed(void)
{
    struct tsl_table_format const *format = machine_format_at(0);
    CHECK(format->entry_bytes == 8);
    for_each_format(full_gather_of);
}

/* Split under a CPU that has the large page cached, then change one piece after another. */
static void demote_of(const struct tsl_table_format *format)
{
    struct world world;
    char byte;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr large = tsl_table_format_page_bytes(format, 1);
    tsl_vaddr va = (world_start(TSL_LAYOUT_VALLOC) + large - 1) & ~(large - 1);
    tsl_paddr block = world_frame(&world, format->shift[1] - TSL_PAGE_SHIFT);
    CHECK_STATUS(tsl_table_map(&world.table, va, block, large, RW | TSL_MAP_LARGE), TSL_OK);
    for (tsl_vaddr at = va; at < va + large; at += 0x10000)
        CHECK_EQ(model_load(CPU(1), at + 0x1000, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_protect(&world.table, va + 0x3000, 4096, TSL_READ, NULL), TSL_OK);
    CHECK_EQ(world.table.counters.splits, 1);
    /* Not even where nothing changed is the large page remembered beside the small one. */
    struct model_counters before;
    struct model_counters after;
    model_counters(&before);
    CHECK_EQ(model_load(CPU(1), va + large - 4096, &byte, 1), MODEL_OK);
    model_counters(&after);
    CHECK_EQ(after.hits, before.hits);
    for (tsl_vaddr at = va; at < va + large; at += 0x1000)
        CHECK_EQ(model_store(CPU(1), at, "x", 1), at == va + 0x3000 ? MODEL_PROTECTION : MODEL_OK);
    CHECK_STATUS(tsl_frames_split(world.frames, tsl_frame_of(block), format->shift[1] - 12u),
                 TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, va + large / 2, large / 2, TSL_UNMAP_FREE, NULL),
                 TSL_OK);
    CHECK_EQ(model_load(CPU(1), va + large / 2, &byte, 1), MODEL_NOT_PRESENT);
    CHECK_EQ(model_load(CPU(1), va + large - 1, &byte, 1), MODEL_NOT_PRESENT);
    world_nothing_stale();
    CHECK_STATUS(tsl_table_unmap(&world.table, va, large / 2, TSL_UNMAP_FREE, NULL), TSL_OK);
    world_close(&world);
}

static void a_split_leaves_no_large_translation(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(demote_of);
}

static void only_cpus_that_run_the_table_are_asked(void)
{
    struct world world;
    if (TSL_CPUS < 3)
        SKIP("fewer than three CPUs are configured");
    REQUIRE(open_cpus(&world, machine_format_at(0)));
    host_port_set_cpu(CPU(2));
    tsl_arch_switch_root(0);
    tsl_table_left(&world.table);
    host_port_set_cpu(0);
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x5000, 4096, RW), TSL_OK);
    unsigned kicks = host_port_kicks_sent();
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    CHECK_EQ(host_port_kicks_sent() - kicks, 1);
    world_close(&world);
}

/* Up to the threshold pages are dropped by name and others stay; beyond it everything goes. */
static void threshold_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC), other = va + 64 * 4096;
    tsl_paddr frame = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, other, frame, 4096, RW), TSL_OK);
    for (unsigned above = 0; above < 2; above++) {
        struct tsl_flush_counters before, after;
        struct model_counters known, then;
        size_t bytes = (TSL_FLUSH_PAGES + above) * TSL_PAGE_BYTES;
        char byte;
        CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, bytes, RW), TSL_OK);
        CHECK_EQ(model_load(CPU(1), other, &byte, 1), MODEL_OK);
        tsl_flush_counters(&before);
        CHECK_STATUS(tsl_table_unmap(&world.table, va, bytes, 0, NULL), TSL_OK);
        tsl_flush_counters(&after);
        CHECK_EQ(after.flushes - before.flushes, 1);
        CHECK_EQ(after.alls - before.alls, above);
        CHECK_EQ(after.pages - before.pages, above ? 0 : TSL_FLUSH_PAGES);
        model_counters(&known);
        CHECK_EQ(model_load(CPU(1), other, &byte, 1), MODEL_OK);
        model_counters(&then);
        CHECK_EQ(then.hits - known.hits, !above);
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, other, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    world_nothing_stale();
    world_close(&world);
}

static void many_pages_are_flushed_as_everything(void)
{
    for_each_format(threshold_of);
}

/* Random accesses from all CPUs between random changes. */
static void random_of(const struct tsl_table_format *format)
{
    struct world world;
    struct rng rng = rng_start((uint32_t)format->levels);
    bool mapped[64] = {false};
    REQUIRE(open_cpus(&world, format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC) + 0x1f0000;
    unsigned rounds = tap_rounds(20000);
    unsigned wrong = 0;
    for (unsigned i = 0; i < rounds && wrong == 0; i++) {
        unsigned page = rng_below(&rng, 64);
        tsl_vaddr at = va + page * 4096;
        char byte = 'a';
        host_port_set_cpu(rng_below(&rng, CPUS));
        if (rng_below(&rng, 8) > 0) {
            enum model_result result = model_store(rng_below(&rng, CPUS), at, &byte, 1);
            wrong += result != (mapped[page] ? MODEL_OK : MODEL_NOT_PRESENT);
        } else if (mapped[page]) {
            wrong += tsl_table_unmap(&world.table, at, 4096, TSL_UNMAP_FREE, NULL) != TSL_OK;
            mapped[page] = false;
        } else {
            tsl_paddr frame = world_frame(&world, 0);
            wrong += tsl_table_map(&world.table, at, frame, 4096, RW) != TSL_OK;
            mapped[page] = true;
        }
    }
    CHECK_EQ(wrong, 0);
    world_nothing_stale();
    host_port_set_cpu(0);
    CHECK_STATUS(
        tsl_table_unmap(&world.table, va, 64 * 4096, TSL_UNMAP_SPARSE | TSL_UNMAP_FREE, NULL),
        TSL_OK);
    world_close(&world);
}

static void random_accesses_find_nothing_stale(void)
{
    for_each_format(random_of);
}

TAP_SUITE(table_flush, TAP_TEST(every_cpu_sees_each_change), TAP_TEST(global_pages_are_flushed_too),
          TAP_TEST(a_gather_frees_after_the_flush), TAP_TEST(a_gather_hands_frames_over),
          TAP_TEST(an_open_gather_of_another_is_flushed), TAP_TEST(a_full_gather_flushes_early),
          TAP_TEST(no_walk_through_a_freed_table), TAP_TEST(a_split_leaves_no_large_translation),
          TAP_TEST(a_table_behind_a_full_gather_is_flushed),
          TAP_TEST(only_cpus_that_run_the_table_are_asked),
          TAP_TEST(many_pages_are_flushed_as_everything),
          TAP_TEST(random_accesses_find_nothing_stale));
