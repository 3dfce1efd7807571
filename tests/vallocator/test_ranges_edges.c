/* SPDX-License-Identifier: MIT
 *
 * test_ranges_edges.c: every pair of numbers that tempts to overflow, as address and length, given
 * to every entry point of kernel ranges and backed ranges: the documented status, and nothing
 * changed.
 *
 * Owns:    suite ranges_edges.
 * Needs:   vm_fixture.h (a machine with frames, a table, a heap).
 * Callers: the host test runner.
 */
#include "vm_fixture.h"

#include "machine.h"

#include <tesela/backed_range.h>

#include "ranges/ranges_internal.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, WINDOW_PAGES = 64, MOST_EDGES = 21 };

static struct tsl_ranges *ranges;
static tsl_vaddr first, last; /* of the window */
static tsl_vaddr taken;       /* a range of two pages in the middle */
static tsl_vaddr edge[MOST_EDGES];
static size_t edge_count;

static void fill_edges(void)
{
    const uint64_t wanted[MOST_EDGES] = {0,
                                         1,
                                         PAGE - 1,
                                         PAGE,
                                         UINT64_C(1) << 31,
                                         (UINT64_C(1) << 32) - PAGE,
                                         first - PAGE,
                                         first,
                                         first + PAGE,
                                         taken - PAGE,
                                         taken,
                                         taken + 1,
                                         taken + 2 * PAGE,
                                         last - PAGE + 1,
                                         last,
                                         (uint64_t)last + 1,
                                         WINDOW_PAGES * PAGE - PAGE,
                                         WINDOW_PAGES * PAGE - PAGE + 1,
                                         UINT64_C(1) << (TSL_WORD_BITS - 1),
                                         ~(tsl_vaddr)0 - PAGE + 1,
                                         ~(tsl_vaddr)0};
    for (edge_count = 0; edge_count < MOST_EDGES; edge_count++)
        edge[edge_count] = (tsl_vaddr)wanted[edge_count];
}

static void start(void)
{
    vm_fixture_start();
    first = vm.window;
    last = first + WINDOW_PAGES * PAGE - 1;
    taken = first + 32 * PAGE;
    fill_edges();
}

struct state {
    struct tsl_ranges_stats stats;
    tsl_word frames;
};

static struct state state_now(void)
{
    struct state state;
    tsl_table_trim(&vm.table);
    tsl_ranges_stats(ranges, &state.stats);
    state.frames = tsl_frames_free_count(vm.frames);
    return state;
}

static void check_unchanged(const struct state *before)
{
    struct state now = state_now();
    CHECK_EQ(now.frames, before->frames);
    CHECK_EQ(now.stats.ranges, before->stats.ranges);
    CHECK_EQ(now.stats.bytes_memory, before->stats.bytes_memory);
    CHECK_EQ(now.stats.bytes_mapped, before->stats.bytes_mapped);
    CHECK_EQ(now.stats.largest_gap, before->stats.largest_gap);
}

/* What the header says of tsl_ranges_map, in numbers that cannot wrap. */
static enum tsl_status expected_of_map(uint64_t at, uint64_t target, uint64_t bytes)
{
    unsigned bits = vm.table.physical_bits;
    if (bytes == 0)
        return TSL_INVALID;
    if (at % PAGE || target % PAGE || bytes % PAGE)
        return TSL_MISALIGNED;
    if (at < first || at > last || bytes > last - at || bytes + PAGE > last - at + 1)
        return TSL_FOREIGN;
    if (at < taken + 3 * PAGE && at + bytes + PAGE > taken)
        return TSL_EXISTS;
    return target + bytes - 1 < target || (target + bytes - 1) >> bits ? TSL_OUT_OF_RANGE : TSL_OK;
}

static void check_map(tsl_vaddr at, tsl_paddr target, size_t bytes)
{
    struct state before = state_now();
    enum tsl_status status = tsl_ranges_map(ranges, at, target, bytes, TSL_READ);
    CHECK_STATUS(status, expected_of_map(at, target, bytes));
    if (status == TSL_OK)
        CHECK_STATUS(tsl_ranges_unmap(ranges, at), TSL_OK);
    check_unchanged(&before);
}

static void check_alloc(size_t bytes)
{
    struct state before = state_now();
    void *memory = &before;
    enum tsl_status expected = bytes == 0                          ? TSL_INVALID
                               : bytes > (WINDOW_PAGES - 1) * PAGE ? TSL_OUT_OF_RANGE
                               : bytes > 31 * PAGE                 ? TSL_LIMIT
                                                                   : TSL_OK;
    CHECK_STATUS(tsl_ranges_alloc(ranges, bytes, RW, &memory), expected);
    if (expected == TSL_OK)
        CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    else
        CHECK_SAME(memory, &before);
    check_unchanged(&before);
}

/* Address alone: free, unmap, find, next. */
static void check_address(tsl_vaddr at)
{
    struct state before = state_now();
    bool is_foreign = at < first || at > last;
    bool is_inside = at >= taken && at < taken + 3 * PAGE; /* its guard too */
    enum tsl_status expected = is_foreign ? TSL_FOREIGN : !is_inside ? TSL_NOT_FOUND : TSL_INVALID;
    if (at != taken)
        CHECK_STATUS(tsl_ranges_free(ranges, (void *)at), at == 0 ? TSL_OK : expected);
    CHECK_STATUS(tsl_ranges_unmap(ranges, at), at == taken ? TSL_DENIED : expected);
    struct tsl_range_info info = {.bytes = 1};
    bool is_shown = at >= taken && at < taken + 2 * PAGE;
    CHECK_STATUS(tsl_ranges_find(ranges, at, &info), is_shown ? TSL_OK : TSL_NOT_FOUND);
    CHECK_EQ(info.bytes, is_shown ? 2 * PAGE : 1);
    info.bytes = 1;
    CHECK_EQ(tsl_ranges_next(ranges, at, &info), at <= taken);
    CHECK_EQ(info.bytes, at <= taken ? 2 * PAGE : 1);
    check_unchanged(&before);
}

static void ranges_at_every_edge(void)
{
    start();
    struct tsl_ranges_config config = {
        .table = &vm.table, .frames = vm.frames, .heap = vm.heap, .start = first, .last = last};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    void *spacer = NULL, *memory = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 31 * PAGE, RW, &spacer), TSL_OK);
    CHECK_STATUS(tsl_ranges_alloc(ranges, 2 * PAGE, RW, &memory), TSL_OK);
    CHECK_EQ((tsl_vaddr)memory, taken);
    CHECK_STATUS(tsl_ranges_free(ranges, spacer), TSL_OK);
    for (size_t i = 0; i < edge_count; i++) {
        check_alloc(edge[i]);
        check_address(edge[i]);
        for (size_t j = 0; j < edge_count; j++) {
            check_map(edge[i], 0x10000000, edge[j]);
            check_map(first + PAGE, edge[i], edge[j]);
            check_map(edge[i], edge[j], PAGE);
        }
    }
    CHECK_SOUND(tsl_ranges_verify(ranges));
    CHECK_SOUND(tsl_table_verify(&vm.table));
    tsl_ranges_destroy(ranges);
    vm_fixture_stop();
}

/* Windows with each pair as borders: refused, or made and gone again. */
static void windows_at_every_edge(void)
{
    start();
    for (size_t i = 0; i < edge_count; i++)
        for (size_t j = 0; j < edge_count; j++) {
            struct tsl_ranges_config config = {.table = &vm.table,
                                               .frames = vm.frames,
                                               .heap = vm.heap,
                                               .start = edge[i],
                                               .last = edge[j]};
            enum tsl_status expected = edge[i] == 0 || edge[j] <= edge[i]       ? TSL_INVALID
                                       : edge[i] % PAGE || (edge[j] + 1) % PAGE ? TSL_MISALIGNED
                                                                                : TSL_OK;
            ranges = NULL;
            CHECK_STATUS(tsl_ranges_create(&config, &ranges), expected);
            CHECK_EQ(ranges != NULL, expected == TSL_OK);
            if (ranges) {
                void *memory = NULL;
                CHECK(tsl_ranges_alloc(ranges, ~(size_t)0, RW, &memory) != TSL_OK);
                tsl_ranges_destroy(ranges);
            }
        }
    vm_fixture_stop();
}

/* ---- Backed ranges: pages are counted, so lengths are numbers of pages. ---- */

static struct tsl_backed_range *backed;

/* Of a run that is to be handed out already: pages 8 .. 11 are. */
static enum tsl_status expected_of_run(uint64_t at, uint64_t pages, enum tsl_status not_there)
{
    uint64_t has = WINDOW_PAGES - (at - first) / PAGE;
    if (pages == 0)
        return TSL_INVALID;
    if (at % PAGE)
        return TSL_MISALIGNED;
    if (at < first || at > last || pages > has)
        return TSL_FOREIGN;
    uint64_t page = (at - first) / PAGE;
    return page >= 8 && page + pages <= 12 ? TSL_OK : not_there;
}

static void check_backed_pair(tsl_vaddr at, size_t pages)
{
    struct tsl_backed_range_stats before, after;
    tsl_backed_range_stats(backed, &before);
    enum tsl_status expected = expected_of_run(at, pages, TSL_DOUBLE_FREE);
    CHECK(expected != TSL_OK || pages <= 4);
    if (expected != TSL_OK)
        CHECK_STATUS(tsl_backed_range_put(backed, (void *)at, pages), expected);
    expected = expected_of_run(at, pages, TSL_NOT_FOUND);
    /* Longer by one than itself, which may wrap: nothing lies behind the last page of the run. */
    enum tsl_status status = tsl_backed_range_extend(backed, (void *)at, pages, pages + 1);
    CHECK(status != TSL_OK);
    if (expected == TSL_FOREIGN || expected == TSL_NOT_FOUND)
        CHECK(status == expected || pages == ~(size_t)0);
    CHECK(tsl_backed_range_extend(backed, (void *)at, pages, pages) != TSL_OK);
    tsl_backed_range_stats(backed, &after);
    CHECK_EQ(after.pages_used, before.pages_used);
}

static void backed_ranges_at_every_edge(void)
{
    start();
    struct tsl_backed_range_config config = {.table = &vm.table,
                                             .frames = vm.frames,
                                             .start = first,
                                             .bytes = WINDOW_PAGES * PAGE,
                                             .attributes = RW};
    vm_fixture_mark();
    CHECK_STATUS(tsl_backed_range_create(&config, &backed), TSL_OK);
    char *all = tsl_backed_range_get(backed, 16);
    CHECK_EQ((tsl_vaddr)all, first);
    CHECK_STATUS(tsl_backed_range_put(backed, all, 8), TSL_OK);
    CHECK_STATUS(tsl_backed_range_put(backed, all + 13 * PAGE, 3), TSL_OK);
    /* Handed out are 8 .. 12; the last one is in the way of whoever grows from below. */
    const size_t counts[] = {0,
                             1,
                             4,
                             WINDOW_PAGES,
                             WINDOW_PAGES + 1,
                             (size_t)1 << (TSL_WORD_BITS - 1 - TSL_PAGE_SHIFT),
                             (size_t)1 << (TSL_WORD_BITS - TSL_PAGE_SHIFT - 1) << 1,
                             ~(size_t)0 >> TSL_PAGE_SHIFT,
                             ~(size_t)0 - 1,
                             ~(size_t)0};
    for (size_t i = 0; i < edge_count; i++)
        for (size_t j = 0; j < TSL_COUNT_OF(counts); j++)
            check_backed_pair(edge[i], counts[j]);
    for (size_t j = 3; j < TSL_COUNT_OF(counts); j++)
        CHECK_SAME(tsl_backed_range_get(backed, counts[j]), NULL);
    CHECK_SAME(tsl_backed_range_get(backed, 0), NULL);
    CHECK_SOUND(tsl_backed_range_verify(backed));
    tsl_backed_range_destroy(backed);
    CHECK_EQ(vm_fixture_lost(), 0);
    vm_fixture_stop();
}

TAP_SUITE(ranges_edges, TAP_TEST(ranges_at_every_edge), TAP_TEST(windows_at_every_edge),
          TAP_TEST(backed_ranges_at_every_edge));
