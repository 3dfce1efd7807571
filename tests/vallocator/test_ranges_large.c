/* SPDX-License-Identifier: MIT
 *
 * test_ranges_large.c: kernel ranges as long as large pages: which get some, which cannot, and what
 * is left when frames run out in between.
 *
 * Owns:    suite ranges_large.
 * Needs:   vm_fixture.h (a machine with frames, a table, a heap).
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "machine.h"
#include "rng.h"

#include <string.h>

#include <host/model_cpu.h>
#include <tesela/frames_blocks.h>

#include "ranges/ranges_internal.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, MOST_FRAMES = (24 << 20) / PAGE };

static struct tsl_ranges *ranges;
static size_t large;       /* bytes of a large page, whether ranges have some or not */
static const char *format; /* of the present machine; NULL: the best */
static struct tsl_frame taken[MOST_FRAMES];
static size_t taken_count;

/* A window of `bytes` that begins `offset` bytes behind the layout's. */
static void start_at(size_t offset, size_t bytes, size_t lazy_pages)
{
    vm_fixture_start_on(format, NULL);
    large = (size_t)1 << vm.table.format->shift[1];
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window + offset,
                                       .last = vm.window + offset + bytes - 1u,
                                       .lazy_pages = lazy_pages};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    vm_fixture_mark();
}

static void start(void)
{
    start_at(3 * PAGE, 64 << 20, 0);
}

/* Everything is freed and as it was at the mark. */
static void finish(void)
{
    CHECK_SOUND(tsl_ranges_verify(ranges));
    tsl_ranges_purge(ranges);
    CHECK_EQ(vm_fixture_lost(), 0);
    tsl_ranges_destroy(ranges);
    vm_fixture_stop();
}

/* In large pages are `bytes`, if there are any. */
static tsl_vaddr take(size_t bytes, size_t bytes_large)
{
    void *memory = NULL;
    struct tsl_range_info info = {0};
    CHECK_STATUS(tsl_ranges_alloc(ranges, bytes, RW, &memory), TSL_OK);
    CHECK_STATUS(tsl_ranges_find(ranges, (tsl_vaddr)memory, &info), TSL_OK);
    CHECK_EQ(info.bytes_large, TSL_LARGE_PAGES ? bytes_large : 0);
    CHECK_SOUND(tsl_ranges_verify(ranges));
    return (tsl_vaddr)memory;
}

static void give(tsl_vaddr memory)
{
    CHECK_STATUS(tsl_ranges_free(ranges, (void *)memory), TSL_OK);
    CHECK_EQ(vm_fixture_rights(memory), 0);
}

static size_t page_bytes(tsl_vaddr address)
{
    struct tsl_mapping mapping = {0};
    CHECK_STATUS(tsl_table_query(&vm.table, address, &mapping), TSL_OK);
    return mapping.bytes;
}

static void take_all_frames(void)
{
    taken_count = 0;
    while (taken_count < MOST_FRAMES &&
           tsl_frames_alloc(vm.frames, 0, 0, &taken[taken_count]) == TSL_OK)
        taken_count++;
}

/* Frees those taken frames for which `wanted` says so. */
static void free_frames(bool (*wanted)(tsl_word number))
{
    for (size_t i = 0; i < taken_count; i++)
        if (taken[i].number != 0 && wanted(taken[i].number)) {
            CHECK_STATUS(tsl_frames_free(vm.frames, taken[i], 0), TSL_OK);
            taken[i].number = 0;
        }
}

static bool is_odd(tsl_word number)
{
    return number & 1u;
}

static bool is_any(tsl_word number)
{
    (void)number;
    return true;
}

/* The block of a large page's frames that lies at twice its size. */
static bool is_in_block(tsl_word number)
{
    return number / (large / PAGE) == 2;
}

static void long_ranges(void)
{
    start();
    CHECK_STATUS(tsl_ranges_alloc(ranges, SIZE_MAX, RW, &(void *){NULL}), TSL_OUT_OF_RANGE);
    const size_t bytes = 2 * large + 3 * PAGE;
    tsl_vaddr memory = take(bytes, 2 * large);
    if (TSL_LARGE_PAGES) {
        CHECK_EQ(memory % large, 0);
        CHECK_EQ(page_bytes(memory + large - 1), large);
    }
    CHECK_EQ(page_bytes(memory + 2 * large), PAGE);
    CHECK_EQ(vm_fixture_rights(memory - 1), 0);
    CHECK_EQ(vm_fixture_rights(memory), RW);
    CHECK_EQ(vm_fixture_rights(memory + bytes - 1), RW);
    CHECK_EQ(vm_fixture_rights(memory + bytes), 0);
    /* Every page is another: each keeps its own word. */
    for (size_t at = 0; at < bytes; at += PAGE)
        CHECK_EQ(model_store(0, memory + at, &at, sizeof at), MODEL_OK);
    for (size_t at = 0, seen = 1; at < bytes; at += PAGE) {
        CHECK_EQ(model_load(0, memory + at, &seen, sizeof seen), MODEL_OK);
        CHECK_EQ(seen, at);
    }
    tsl_vaddr second = take(large, large);
    tsl_vaddr small = take(large - PAGE, 0);
    give(memory);
    CHECK_EQ(take(bytes, 2 * large), memory); /* its place is free again, and so are the blocks */
    give(memory);
    give(second);
    give(small);
    finish();
}

/* 2 MiB and 4 MiB. */
static void long_ranges_are_in_large_pages(void)
{
    for (size_t i = 0; i < machine_format_count(); i++) {
        format = machine_format_at(i)->name;
        long_ranges();
    }
    format = NULL;
}

static void rights_are_those_asked_for(void)
{
    static const unsigned rights[] = {TSL_READ, RW, TSL_READ | TSL_EXEC};
    start();
    for (size_t i = 0; i < TSL_COUNT_OF(rights); i++) {
        void *memory = NULL;
        CHECK_STATUS(tsl_ranges_alloc(ranges, large + 1, rights[i], &memory), TSL_OK);
        unsigned seen = rights[i] & vm_fixture_distinguished();
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory + large / 2), seen);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory + large), seen);
        give((tsl_vaddr)memory);
    }
    finish();
}

static void without_blocks_there_are_single_frames(void)
{
    start();
    take_all_frames();
    free_frames(is_odd);
    give(take(large, 0));
    /* One block: the second large page is made of single frames. */
    free_frames(is_in_block);
    tsl_vaddr memory = take(2 * large, large);
    if (TSL_LARGE_PAGES)
        CHECK_EQ(page_bytes(memory), large);
    CHECK_EQ(page_bytes(memory + large), PAGE);
    give(memory);
    free_frames(is_any);
    finish();
}

static void without_an_aligned_gap_there_are_single_pages(void)
{
    start_at(PAGE, large + 2 * PAGE, 0);
    tsl_vaddr memory = take(large, 0);
    CHECK_EQ(memory, vm.window + PAGE);
    give(memory);
    finish();
    /* Two large pages fit only if they are not aligned, one of them is so in the middle. */
    start_at(PAGE, 2 * large + PAGE, 0);
    memory = take(2 * large, large);
    CHECK_EQ(memory, vm.window + PAGE);
    give(memory);
    finish();
}

/* A CPU of 2-level tables may have no large pages at all. */
static void a_poor_cpu_has_single_pages(void)
{
    const struct tsl_cpu_features poor = {.physical_bits = 32};
    const struct tsl_table_format *wanted = NULL;
    for (size_t i = 0; i < machine_format_count(); i++)
        if (!machine_format_at(i)->leaf_at(1, &poor))
            wanted = machine_format_at(i);
    if (!wanted)
        SKIP("every format here has large pages");
    vm_fixture_start_on(wanted->name, &poor);
    large = (size_t)1 << vm.table.format->shift[1];
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window,
                                       .last = vm.window + (16u << 20) - 1u};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    vm_fixture_mark();
    give(take(large, 0));
    finish();
}

static char text[512];
static size_t text_bytes;

static void write_text(void *context, const char *more, size_t bytes)
{
    (void)context;
    bytes = bytes < sizeof(text) - 1 - text_bytes ? bytes : sizeof(text) - 1 - text_bytes;
    memcpy(text + text_bytes, more, bytes);
    text_bytes += bytes;
}

static void the_dump_tells_how_much(void)
{
    const struct tsl_sink sink = {write_text, NULL};
    start();
    tsl_vaddr memory = take(large + PAGE, large);
    text_bytes = 0;
    memset(text, 0, sizeof text);
    tsl_ranges_dump(ranges, &sink);
    CHECK_EQ(strstr(text, large == (size_t)2 << 20 ? "in large pages: 2.0 MiB"
                                                   : "in large pages: 4.0 MiB") != NULL,
             TSL_LARGE_PAGES);
    give(memory);
    finish();
}

static void shortage_in_between_is_undone(void)
{
    start();
    const size_t block = large / PAGE;
    const size_t lefts[] = {0,         1,         block - 1,     block,        block + 1,
                            block + 2, 2 * block, 2 * block + 1, 2 * block + 2};
    for (size_t i = 0; i < TSL_COUNT_OF(lefts); i++) {
        vm_fixture_leave_frames(lefts[i]);
        tsl_table_trim(&vm.table);
        tsl_word before = tsl_frames_free_count(vm.frames);
        struct tsl_ranges_stats stats, after;
        tsl_ranges_stats(ranges, &stats);
        void *memory = NULL;
        CHECK_STATUS(tsl_ranges_alloc(ranges, 2 * large + 3 * PAGE, RW, &memory), TSL_NO_MEMORY);
        CHECK(memory == NULL);
        tsl_table_trim(&vm.table);
        CHECK_EQ(tsl_frames_free_count(vm.frames), before);
        tsl_ranges_stats(ranges, &after);
        CHECK_EQ(after.largest_gap, stats.largest_gap);
        CHECK_EQ(after.bytes_memory, 0);
        CHECK_EQ(after.failures, stats.failures + 1);
        CHECK_SOUND(tsl_ranges_verify(ranges));
        vm_fixture_give_frames_back();
    }
    give(take(2 * large, 2 * large)); /* the blocks came together again */
    finish();
}

static void random_ranges_keep_the_rules(void)
{
    enum { SLOTS = 6, ROUNDS = 150 };
    tsl_vaddr slot[SLOTS] = {0};
    struct rng rng = rng_start(0);
    start_at(3 * PAGE, 64 << 20, 32);
    for (int round = 0; round < ROUNDS; round++) {
        tsl_vaddr *at = &slot[rng_below(&rng, SLOTS)];
        if (*at) {
            CHECK_STATUS(tsl_ranges_free(ranges, (void *)*at), TSL_OK);
            *at = 0;
        } else {
            void *memory = NULL;
            bool is_small = rng_below(&rng, 2);
            size_t most = is_small ? 20 * PAGE : 2 * large;
            enum tsl_status status =
                tsl_ranges_alloc(ranges, 1 + rng_below(&rng, (uint32_t)most), RW, &memory);
            CHECK(status == TSL_OK || status == TSL_NO_MEMORY);
            *at = (tsl_vaddr)memory;
        }
        CHECK_SOUND(tsl_ranges_verify(ranges));
        CHECK_SOUND(tsl_table_verify(&vm.table));
    }
    for (int i = 0; i < SLOTS; i++)
        CHECK_STATUS(tsl_ranges_free(ranges, (void *)slot[i]), TSL_OK);
    finish();
}

TAP_SUITE(ranges_large, TAP_TEST(long_ranges_are_in_large_pages),
          TAP_TEST(rights_are_those_asked_for), TAP_TEST(without_blocks_there_are_single_frames),
          TAP_TEST(without_an_aligned_gap_there_are_single_pages),
          TAP_TEST(a_poor_cpu_has_single_pages), TAP_TEST(the_dump_tells_how_much),
          TAP_TEST(shortage_in_between_is_undone), TAP_TEST(random_ranges_keep_the_rules));
