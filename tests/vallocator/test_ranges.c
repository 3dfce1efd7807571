/* SPDX-License-Identifier: MIT
 *
 * test_ranges.c: kernel ranges: what they hand out, what they refuse, what they leave behind.
 *
 * Owns:    suite ranges.
 * Needs:   vm_fixture.h (a machine with frames, a table, a heap).
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "rng.h"

#include "ranges/ranges_internal.h"

enum { WINDOW_PAGES = 256, RW = TSL_READ | TSL_WRITE };

static struct tsl_ranges *ranges;

static void start_wide(size_t lazy_pages, size_t pages)
{
    vm_fixture_start();
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window,
                                       .last = vm.window + pages * TSL_PAGE_BYTES - 1,
                                       .lazy_pages = lazy_pages};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    vm_fixture_mark();
}

static void start_lazy(size_t lazy_pages)
{
    start_wide(lazy_pages, WINDOW_PAGES);
}

static void start(void)
{
    start_lazy(0);
}

/* Everything is freed and as it was at the mark. */
static void finish(void)
{
    CHECK_SOUND(tsl_ranges_verify(ranges));
    tsl_ranges_purge(ranges);
    CHECK_SOUND(tsl_ranges_verify(ranges));
    CHECK_EQ(vm_fixture_lost(), 0);
    tsl_ranges_destroy(ranges);
    vm_fixture_stop();
}

static char *take(size_t bytes)
{
    void *memory = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, bytes, RW, &memory), TSL_OK);
    return memory;
}

static void memory_is_mapped_with_its_rights(void)
{
    start();
    static const unsigned rights[] = {TSL_READ, RW, TSL_READ | TSL_EXEC};
    for (size_t i = 0; i < TSL_COUNT_OF(rights); i++) {
        void *memory = NULL;
        CHECK_STATUS(tsl_ranges_alloc(ranges, 5000, rights[i], &memory), TSL_OK);
        unsigned seen = rights[i] & vm_fixture_distinguished();
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory), seen);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory + 8191), seen);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory + 8192), 0);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory - 1), 0);
        CHECK_SOUND(tsl_ranges_verify(ranges));
        CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
        CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory), 0);
    }
    finish();
}

/* A mistake of simple allocators: the third block lies over the first. */
static void blocks_do_not_overlap(void)
{
    start();
    char *block[5];
    for (int i = 0; i < 5; i++) {
        block[i] = take(8192);
        for (int j = 0; j < i; j++)
            CHECK(block[i] >= block[j] + 3 * TSL_PAGE_BYTES ||
                  block[j] >= block[i] + 3 * TSL_PAGE_BYTES);
    }
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(tsl_ranges_free(ranges, block[i]), TSL_OK);
    finish();
}

static void lowest_gap_that_fits_is_taken(void)
{
    start();
    char *a = take(4096), *b = take(3 * 4096), *c = take(4096), *d = take(4096);
    CHECK_STATUS(tsl_ranges_free(ranges, b), TSL_OK);
    CHECK_SAME(take(4 * 4096), d + 2 * 4096); /* the gap of 4 pages has no room for a guard */
    CHECK_SAME(take(3 * 4096), b);
    CHECK_STATUS(tsl_ranges_free(ranges, a), TSL_OK);
    CHECK_SAME(take(4096), a);
    CHECK_STATUS(tsl_ranges_free(ranges, a), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, b), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, c), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, d), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, d + 2 * 4096), TSL_OK);
    finish();
}

static void wrong_requests_are_refused(void)
{
    static const struct {
        size_t bytes;
        unsigned attributes;
        enum tsl_status expected;
    } cases[] = {
        {0, RW, TSL_INVALID},
        {4096, 0, TSL_INVALID},
        {4096, TSL_WRITE, TSL_INVALID},
        {4096, RW | TSL_USER, TSL_INVALID},
        {4096, RW | 1u << 30, TSL_INVALID},
        {4096, RW | TSL_EXEC, TSL_DENIED},
        {SIZE_MAX, RW, TSL_OUT_OF_RANGE},
        {SIZE_MAX - 4095, RW, TSL_OUT_OF_RANGE},
        {WINDOW_PAGES * 4096, RW, TSL_OUT_OF_RANGE},
    };
    start();
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++) {
        void *memory = &memory;
        CHECK_STATUS(tsl_ranges_alloc(ranges, cases[i].bytes, cases[i].attributes, &memory),
                     cases[i].expected);
        CHECK_SAME(memory, &memory);
    }
    struct tsl_ranges_stats stats;
    tsl_ranges_stats(ranges, &stats);
    CHECK_EQ(stats.refusals, TSL_COUNT_OF(cases));
    void *both = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 1, RW | TSL_EXEC | TSL_ALLOW_WX, &both), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, both), TSL_OK);
    finish();
}

static void wrong_frees_are_refused(void)
{
    start();
    char *memory = take(3 * 4096);
    CHECK_STATUS(tsl_ranges_free(ranges, memory + 1), TSL_INVALID);
    CHECK_STATUS(tsl_ranges_free(ranges, memory + 4096), TSL_INVALID);
    CHECK_STATUS(tsl_ranges_free(ranges, memory + 3 * 4096), TSL_INVALID); /* its guard */
    CHECK_STATUS(tsl_ranges_free(ranges, memory + 5 * 4096), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_ranges_free(ranges, (void *)(vm.window - 4096)), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_free(ranges, (void *)(vm.window + WINDOW_PAGES * 4096)), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_free(ranges, NULL), TSL_OK);
    CHECK_STATUS(tsl_ranges_unmap(ranges, (tsl_vaddr)memory), TSL_DENIED);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)memory), RW);
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_NOT_FOUND);
    finish();
}

static void external_memory_keeps_its_place(void)
{
    start();
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(vm.frames, 1, 0, &frame), TSL_OK);
    tsl_paddr target = tsl_frame_address(frame);
    tsl_vaddr at = vm.window + 4 * 4096, end = vm.window + WINDOW_PAGES * 4096;
    CHECK_STATUS(tsl_ranges_map(ranges, at, target, 8192, RW), TSL_OK);
    CHECK_EQ(vm_fixture_rights(at + 4096), RW);
    CHECK_STATUS(tsl_ranges_map(ranges, at + 4096, target, 4096, RW), TSL_EXISTS);
    CHECK_STATUS(tsl_ranges_map(ranges, at + 8192, target, 4096, RW), TSL_EXISTS);
    CHECK_STATUS(tsl_ranges_map(ranges, at - 4096, target, 4096, RW), TSL_EXISTS);
    CHECK_STATUS(tsl_ranges_map(ranges, at + 1, target, 4096, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_ranges_map(ranges, at, target + 1, 4096, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_ranges_map(ranges, at, target, 4095, RW), TSL_MISALIGNED);
    CHECK_STATUS(tsl_ranges_map(ranges, at, target, 0, RW), TSL_INVALID);
    CHECK_STATUS(tsl_ranges_map(ranges, end - 4096, target, 4096, RW), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_map(ranges, end, target, 4096, RW), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_map(ranges, vm.window - 4096, target, 4096, RW), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_map(ranges, at, target, SIZE_MAX & ~(size_t)4095, RW), TSL_FOREIGN);
    CHECK_STATUS(tsl_ranges_map(ranges, end - 8192, target, 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_ranges_unmap(ranges, end - 8192), TSL_OK);
    /* valloc goes around it */
    char *low = take(2 * 4096), *high = take(4 * 4096);
    CHECK((tsl_vaddr)low < at && (tsl_vaddr)high > at + 8192);
    CHECK_STATUS(tsl_ranges_free(ranges, (void *)at), TSL_DENIED);
    CHECK_STATUS(tsl_ranges_unmap(ranges, at), TSL_OK);
    CHECK_STATUS(tsl_ranges_unmap(ranges, at), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_ranges_free(ranges, low), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, high), TSL_OK);
    CHECK_STATUS(tsl_frames_free(vm.frames, frame, 1), TSL_OK);
    finish();
}

static void full_window_can_be_had_again(void)
{
    start();
    void *memory = NULL, *one[WINDOW_PAGES / 2];
    CHECK_STATUS(tsl_ranges_alloc(ranges, (WINDOW_PAGES - 1) * 4096, RW, &memory), TSL_OK);
    void *none = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 1, RW, &none), TSL_LIMIT);
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    for (size_t i = 0; i < TSL_COUNT_OF(one); i++)
        CHECK_STATUS(tsl_ranges_alloc(ranges, 1, RW, &one[i]), TSL_OK);
    CHECK_STATUS(tsl_ranges_alloc(ranges, 1, RW, &none), TSL_LIMIT);
    CHECK_SAME(none, NULL);
    for (size_t i = 0; i < TSL_COUNT_OF(one); i++)
        CHECK_STATUS(tsl_ranges_free(ranges, one[(i * 37) % TSL_COUNT_OF(one)]), TSL_OK);
    CHECK_STATUS(tsl_ranges_alloc(ranges, (WINDOW_PAGES - 1) * 4096, RW, &memory), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    finish();
}

static void shortage_of_frames_loses_nothing(void)
{
    start();
    for (tsl_word left = 0; left <= 64; left++) {
        vm_fixture_leave_frames(left);
        void *memory = NULL;
        enum tsl_status status = tsl_ranges_alloc(ranges, 40 * 4096, RW, &memory);
        CHECK(status == TSL_OK || status == TSL_NO_MEMORY);
        CHECK(left >= 40 || status == TSL_NO_MEMORY);
        if (status == TSL_OK)
            CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
        CHECK_SOUND(tsl_ranges_verify(ranges));
        vm_fixture_give_frames_back();
        CHECK_EQ(vm_fixture_lost(), 0);
    }
    finish();
}

/* The last frame there is lies in a table that was kept empty. */
static void kept_tables_are_given_up(void)
{
    start();
    tsl_vaddr elsewhere = vm.window + ((tsl_vaddr)64 << 20);
    char *first = take(4096);
    CHECK_STATUS(tsl_table_map(&vm.table, elsewhere, 0x100000, 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&vm.table, elsewhere, 4096, 0, NULL), TSL_OK);
    CHECK_EQ(vm.table.kept_count, 1);
    vm_fixture_leave_frames(0);
    char *second = take(4096);
    CHECK_EQ(vm.table.kept_count, 0);
    void *third = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 4096, RW, &third), TSL_NO_MEMORY);
    vm_fixture_give_frames_back();
    CHECK_STATUS(tsl_ranges_free(ranges, first), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, second), TSL_OK);
    finish();
}

static void find_and_next_tell_what_is_there(void)
{
    start();
    char *a = take(4096), *b = take(2 * 4096);
    struct tsl_range_info info;
    CHECK_STATUS(tsl_ranges_find(ranges, (tsl_vaddr)b + 8191, &info), TSL_OK);
    CHECK_EQ(info.start, (tsl_vaddr)b);
    CHECK_EQ(info.bytes, 8192);
    CHECK_EQ(info.attributes, RW);
    CHECK_EQ(info.kind, TSL_RANGE_MEMORY);
    CHECK_STATUS(tsl_ranges_find(ranges, (tsl_vaddr)b + 8192, &info), TSL_NOT_FOUND);
    CHECK(tsl_ranges_next(ranges, 0, &info));
    CHECK_EQ(info.start, (tsl_vaddr)a);
    CHECK(tsl_ranges_next(ranges, info.start + info.bytes, &info));
    CHECK_EQ(info.start, (tsl_vaddr)b);
    CHECK(!tsl_ranges_next(ranges, info.start + info.bytes, &info));
    CHECK_STATUS(tsl_ranges_free(ranges, a), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, b), TSL_OK);
    finish();
}

/* A naive model: who owns each page of the window; guards count as owned. */
struct model {
    int owner[WINDOW_PAGES];
    struct {
        size_t first, pages;
    } block[32];
};

static void model_take(struct model *model, int slot, size_t first, size_t pages)
{
    model->block[slot].first = first;
    model->block[slot].pages = pages;
    for (size_t i = first; i <= first + pages; i++) {
        CHECK_EQ(model->owner[i], 0);
        model->owner[i] = slot + 1;
    }
}

static void model_drop(struct model *model, int slot)
{
    for (size_t i = 0; i <= model->block[slot].pages; i++)
        model->owner[model->block[slot].first + i] = 0;
    model->block[slot].pages = 0;
}

/* The lowest gap for `pages` and a guard, WINDOW_PAGES if there is none. */
static size_t model_gap(const struct model *model, size_t pages)
{
    size_t run = 0;
    for (size_t i = 0; i < WINDOW_PAGES; i++) {
        run = model->owner[i] ? 0 : run + 1;
        if (run == pages + 1)
            return i - pages;
    }
    return WINDOW_PAGES;
}

static void random_operations_agree_with_a_model(void)
{
    start();
    struct rng rng = rng_start(1);
    struct model model = {{0}, {{0, 0}}};
    for (unsigned round = 0; round < tap_rounds(4000); round++) {
        int slot = (int)rng_below(&rng, TSL_COUNT_OF(model.block));
        void *at = (void *)(vm.window + model.block[slot].first * TSL_PAGE_BYTES);
        if (model.block[slot].pages) {
            CHECK_STATUS(tsl_ranges_free(ranges, at), TSL_OK);
            model_drop(&model, slot);
            continue;
        }
        size_t pages = 1 + rng_below(&rng, 24), gap = model_gap(&model, pages);
        void *memory = NULL;
        enum tsl_status status = tsl_ranges_alloc(ranges, pages * TSL_PAGE_BYTES, RW, &memory);
        CHECK_EQ(status, gap < WINDOW_PAGES ? TSL_OK : TSL_LIMIT);
        if (status == TSL_OK) {
            CHECK_EQ(((tsl_vaddr)memory - vm.window) / TSL_PAGE_BYTES, gap);
            model_take(&model, slot, gap, pages);
        }
        CHECK_SOUND(tsl_ranges_verify(ranges));
    }
    for (int slot = 0; slot < (int)TSL_COUNT_OF(model.block); slot++) {
        if (model.block[slot].pages)
            CHECK_STATUS(tsl_ranges_free(ranges, (void *)(vm.window + model.block[slot].first *
                                                                          TSL_PAGE_BYTES)),
                         TSL_OK);
    }
    finish();
}

/* ---- Frees that wait for a common flush. ---- */

static size_t pending(void)
{
    struct tsl_ranges_stats stats;
    tsl_ranges_stats(ranges, &stats);
    return stats.bytes_pending / TSL_PAGE_BYTES;
}

static tsl_word flushes(void)
{
    return vm.table.counters.flushes;
}

static void frees_wait_for_one_flush(void)
{
    start_lazy(8);
    char *one = take(4 * 4096), *two = take(4 * 4096), *three = take(4096);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)one), RW); /* the CPU remembers it from now on */
    tsl_word used = vm_fixture_lost(), before = flushes();
    CHECK(used > 9); /* and some tables */
    CHECK_STATUS(tsl_ranges_free(ranges, one), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, two), TSL_OK);
    CHECK_EQ(flushes(), before);
    CHECK_EQ(pending(), 8);
    CHECK_EQ(vm_fixture_lost(), used); /* what the CPU remembers is nobody else's */
    CHECK_STATUS(tsl_ranges_free(ranges, one), TSL_NOT_FOUND);
    struct tsl_range_info info;
    CHECK_STATUS(tsl_ranges_find(ranges, (tsl_vaddr)two, &info), TSL_NOT_FOUND);
    CHECK(tsl_ranges_next(ranges, 0, &info));
    CHECK_EQ(info.start, (tsl_vaddr)three);
    CHECK_SOUND(tsl_ranges_verify(ranges));
    CHECK_STATUS(tsl_ranges_free(ranges, three), TSL_OK); /* one page too many */
    CHECK_EQ(flushes(), before + 1);
    CHECK_EQ(pending(), 1);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)one), 0);
    tsl_ranges_purge(ranges);
    CHECK_EQ(pending(), 0);
    CHECK_EQ(vm_fixture_lost(), 0);
    finish();
}

/* Larger ranges than those that wait are free, addresses and all, when the call returns. */
static void large_ranges_do_not_wait(void)
{
    start_lazy(64);
    char *large = take((RANGES_SMALL_PAGES + 1) * 4096);
    CHECK_STATUS(tsl_ranges_free(ranges, large), TSL_OK);
    CHECK_EQ(pending(), 0);
    CHECK_EQ(vm_fixture_lost(), 0);
    CHECK_SAME(take((RANGES_SMALL_PAGES + 2) * 4096), large);
    CHECK_STATUS(tsl_ranges_free(ranges, large), TSL_OK);
    finish();
}

/* An address is nobody's until every CPU has forgotten it; then it is the first to be had again. */
static void addresses_wait_too(void)
{
    start_lazy(8);
    char *one = take(4 * 4096);
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)one), RW);
    CHECK_STATUS(tsl_ranges_free(ranges, one), TSL_OK);
    char *two = take(4 * 4096);
    CHECK(two != one);
    CHECK_STATUS(tsl_ranges_free(ranges, two), TSL_OK);
    char *three = take(8 * 4096);
    CHECK_STATUS(tsl_ranges_free(ranges, three), TSL_OK); /* flushes for the first two */
    char *four = take(4 * 4096), *five = take(4 * 4096);
    CHECK((four == one && five == two) || (four == two && five == one));
    CHECK_EQ(vm_fixture_rights((tsl_vaddr)one), RW);
    CHECK_STATUS(tsl_ranges_free(ranges, four), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, five), TSL_OK);
    finish();
}

static void what_waits_is_had_before_anything_fails(void)
{
    start_lazy(64);
    struct tsl_frame frame;
    char *small[3];
    void *all = NULL;
    for (int i = 0; i < 3; i++)
        small[i] = take(8 * 4096);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tsl_ranges_free(ranges, small[i]), TSL_OK);
    CHECK_STATUS(tsl_ranges_alloc(ranges, (WINDOW_PAGES - 1) * 4096, RW, &all), TSL_OK);
    CHECK_EQ(pending(), 0);
    CHECK_STATUS(tsl_ranges_free(ranges, all), TSL_OK);
    /* The last frames. */
    char *other = take(4096);
    CHECK_STATUS(tsl_ranges_free(ranges, take(8 * 4096)), TSL_OK);
    vm_fixture_leave_frames(0);
    char *again = take(8 * 4096);
    CHECK_STATUS(tsl_ranges_alloc(ranges, 4096, RW, &all), TSL_NO_MEMORY);
    CHECK_STATUS(tsl_ranges_free(ranges, again), TSL_OK);
    vm_fixture_give_frames_back();
    CHECK_STATUS(tsl_ranges_free(ranges, other), TSL_OK);
    /* A chosen place. */
    CHECK_STATUS(tsl_frames_alloc(vm.frames, 0, 0, &frame), TSL_OK);
    tsl_vaddr place = (tsl_vaddr)take(2 * 4096);
    CHECK_STATUS(tsl_ranges_free(ranges, (void *)place), TSL_OK);
    CHECK_STATUS(tsl_ranges_map(ranges, place, tsl_frame_address(frame), 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_ranges_unmap(ranges, place), TSL_OK);
    CHECK_STATUS(tsl_frames_free(vm.frames, frame, 0), TSL_OK);
    finish();
}

/* The same for a table, which a map at a chosen place may need, and for the node of a range. */
static void what_waits_is_had_for_tables_and_nodes(void)
{
    enum { FAR_PAGES = 4096, BLOCKS = 4096 };
    static void *block[BLOCKS];
    size_t blocks = 0;
    struct tsl_frame frame;
    start_wide(64, FAR_PAGES);
    tsl_vaddr place = vm.window + FAR_PAGES / 2 * TSL_PAGE_BYTES;
    CHECK_STATUS(tsl_frames_alloc(vm.frames, 0, 0, &frame), TSL_OK);
    char *other = take(4096);
    CHECK_STATUS(tsl_ranges_free(ranges, take(8 * 4096)), TSL_OK);
    vm_fixture_leave_frames(0);
    CHECK_STATUS(tsl_ranges_map(ranges, place, tsl_frame_address(frame), 4096, RW), TSL_OK);
    CHECK_EQ(pending(), 0);
    vm_fixture_give_frames_back();
    CHECK_STATUS(tsl_ranges_unmap(ranges, place), TSL_OK);
    CHECK_STATUS(tsl_frames_free(vm.frames, frame, 0), TSL_OK);

    CHECK_STATUS(tsl_ranges_free(ranges, take(8 * 4096)), TSL_OK);
    for (size_t bytes = 4096; bytes >= 16; bytes /= 2)
        while (blocks < BLOCKS && (block[blocks] = tsl_heap_alloc(vm.heap, bytes)))
            blocks++;
    char *taken[RANGES_MOST_SPARES + 1];
    size_t count = 0;
    while (ranges->spare_count > 0) /* nodes in hand */
        taken[count++] = take(4096);
    CHECK(pending() > 0);
    taken[count++] = take(4096);
    CHECK_EQ(pending(), 0);
    void *none = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 4096, RW, &none), TSL_NO_MEMORY);
    while (blocks > 0)
        CHECK_STATUS(tsl_heap_free(vm.heap, block[--blocks]), TSL_OK);
    while (count > 0)
        CHECK_STATUS(tsl_ranges_free(ranges, taken[--count]), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, other), TSL_OK);
    finish();
}

/* A table that a waiting unmap leaves empty goes with a flush of its own: the neighbours of a
 * pending range may be mapped at any time. */
static void tables_do_not_wait(void)
{
    start_lazy(64);
    tsl_vaddr far = vm.window + ((tsl_vaddr)64 << 20);
    for (unsigned i = 0; i < TSL_TABLE_KEPT; i++) {
        tsl_vaddr at = far + ((tsl_vaddr)i << 23);
        CHECK_STATUS(tsl_table_map(&vm.table, at, 0x100000, 4096, RW), TSL_OK);
        CHECK_STATUS(tsl_table_unmap(&vm.table, at, 4096, 0, NULL), TSL_OK);
    }
    CHECK_EQ(vm.table.kept_count, TSL_TABLE_KEPT);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(vm.frames, 0, 0, &frame), TSL_OK);
    tsl_word tables = vm.table.counters.tables, before = flushes();
    char *memory = take(4096);
    CHECK_EQ(vm.table.counters.tables, tables + 1);
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    CHECK_EQ(vm.table.counters.tables, tables);
    CHECK_EQ(flushes(), before + 1);
    CHECK_EQ(pending(), 1);
    CHECK_STATUS(tsl_table_map(&vm.table, far, tsl_frame_address(frame), 4096, RW), TSL_OK);
    CHECK_EQ(vm_fixture_rights(far), RW); /* not through what the CPU knew of the table before */
    CHECK_STATUS(tsl_table_unmap(&vm.table, far, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    finish();
}

static void random_operations_find_room_if_there_is_any(void)
{
    start_lazy(24);
    struct rng rng = rng_start(2);
    struct model model = {{0}, {{0, 0}}};
    for (unsigned round = 0; round < tap_rounds(4000); round++) {
        int slot = (int)rng_below(&rng, TSL_COUNT_OF(model.block));
        void *memory = (void *)(vm.window + model.block[slot].first * TSL_PAGE_BYTES);
        if (model.block[slot].pages) {
            (void)vm_fixture_rights((tsl_vaddr)memory);
            CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
            model_drop(&model, slot);
            continue;
        }
        size_t pages = 1 + rng_below(&rng, 24);
        enum tsl_status status = tsl_ranges_alloc(ranges, pages * TSL_PAGE_BYTES, RW, &memory);
        /* Where the ranges lie is their choice, but a gap in the model is a gap. */
        CHECK(status == TSL_OK || model_gap(&model, pages) == WINDOW_PAGES);
        if (status == TSL_OK)
            model_take(&model, slot, ((tsl_vaddr)memory - vm.window) / TSL_PAGE_BYTES, pages);
        CHECK_SOUND(tsl_ranges_verify(ranges));
    }
    for (int slot = 0; slot < (int)TSL_COUNT_OF(model.block); slot++) {
        if (model.block[slot].pages)
            CHECK_STATUS(tsl_ranges_free(ranges, (void *)(vm.window + model.block[slot].first *
                                                                          TSL_PAGE_BYTES)),
                         TSL_OK);
    }
    finish();
}

/* The example of the component's README, word for word. */
static enum tsl_status example(void)
{
    void *buffer;
    enum tsl_status status = tsl_ranges_alloc(ranges, 64 * 1024, TSL_READ | TSL_WRITE, &buffer);
    if (status != TSL_OK)
        return status;
    /* buffer[0 .. 65535] can be read and written; what lies before and behind it faults. */
    return tsl_ranges_free(ranges, buffer);
}

static void example_runs(void)
{
    start();
    CHECK_STATUS(example(), TSL_OK);
    finish();
}

static void bad_configurations_are_refused(void)
{
    vm_fixture_start();
    struct tsl_ranges_config good = {.table = &vm.table,
                                     .frames = vm.frames,
                                     .heap = vm.heap,
                                     .start = vm.window,
                                     .last = vm.window + 8 * TSL_PAGE_BYTES - 1};
    struct tsl_ranges_config bad = good;
    struct tsl_ranges *made = NULL;
    bad.table = NULL;
    CHECK_STATUS(tsl_ranges_create(&bad, &made), TSL_INVALID);
    bad = good;
    bad.last = bad.start;
    CHECK_STATUS(tsl_ranges_create(&bad, &made), TSL_INVALID);
    bad = good;
    bad.start++;
    CHECK_STATUS(tsl_ranges_create(&bad, &made), TSL_MISALIGNED);
    bad = good;
    bad.last--;
    CHECK_STATUS(tsl_ranges_create(&bad, &made), TSL_MISALIGNED);
    CHECK_SAME(made, NULL);
    vm_fixture_stop();
}

TAP_SUITE(ranges, TAP_TEST(memory_is_mapped_with_its_rights), TAP_TEST(blocks_do_not_overlap),
          TAP_TEST(lowest_gap_that_fits_is_taken), TAP_TEST(wrong_requests_are_refused),
          TAP_TEST(wrong_frees_are_refused), TAP_TEST(external_memory_keeps_its_place),
          TAP_TEST(full_window_can_be_had_again), TAP_TEST(shortage_of_frames_loses_nothing),
          TAP_TEST(kept_tables_are_given_up), TAP_TEST(find_and_next_tell_what_is_there),
          TAP_TEST(example_runs), TAP_TEST(random_operations_agree_with_a_model),
          TAP_TEST(bad_configurations_are_refused), TAP_TEST(frees_wait_for_one_flush),
          TAP_TEST(large_ranges_do_not_wait), TAP_TEST(addresses_wait_too),
          TAP_TEST(what_waits_is_had_before_anything_fails),
          TAP_TEST(what_waits_is_had_for_tables_and_nodes), TAP_TEST(tables_do_not_wait),
          TAP_TEST(random_operations_find_room_if_there_is_any));
