/* SPDX-License-Identifier: MIT
 *
 * memory_test.c: walking bits, address lines and March C- over the usable ranges of a map.
 *
 * Owns:    the order of the accesses; what becomes of a frame that fails.
 * Needs:   kernel_layout (the map), phys_to_virt.
 * Callers: the public tsl_memory_test.
 * Source:  A. J. van de Goor, Testing Semiconductor Memories, 1991, chapter 4 (March C-).
 */
#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/memory_test.h>
#include <tesela/port.h>

#define WORD_BYTES      sizeof(tsl_word)
#define ALL_ONES        (~(tsl_word)0)
#define LINES_IN_LOG    16u
#define MOST_LINES      52u /* address lines of any machine */
#define BACKGROUND_BITS (WORD_BYTES == 8 ? 6u : 5u)

/* One range on its way through the tests. */
struct work {
    const struct tsl_memory_test *test;
    struct tsl_memory_test_result *result;
    const struct tsl_memory_access *access;
    tsl_paddr start;
    tsl_paddr end;
    unsigned kind; /* of the test that runs */
};

static tsl_word read_direct(void *context, tsl_paddr at)
{
    (void)context;
    return *(volatile tsl_word *)tsl_port_phys_to_virt(at);
}

static void write_direct(void *context, tsl_paddr at, tsl_word value)
{
    (void)context;
    *(volatile tsl_word *)tsl_port_phys_to_virt(at) = value;
}

static const struct tsl_memory_access direct = {read_direct, write_direct, NULL};

static tsl_word get(const struct work *work, tsl_paddr at)
{
    return work->access->read(work->access->context, at);
}

static void put(const struct work *work, tsl_paddr at, tsl_word value)
{
    work->access->write(work->access->context, at, value);
}

/* The frame leaves the map, once; later errors in it are only counted. */
static void retire(struct work *work, tsl_paddr at, tsl_word expected, tsl_word found)
{
    struct tsl_memory_test_result *result = work->result;
    result->errors++;
    result->found_by |= work->kind;
    const struct tsl_memory_range *range = tsl_map_at(work->test->map, at);
    if (range == NULL || range->type == TSL_MEMORY_BAD)
        return;
    tsl_paddr frame = tsl_align_down_paddr(at, TSL_PAGE_BYTES);
    enum tsl_status status =
        tsl_map_reserve(work->test->map, frame, TSL_PAGE_BYTES, TSL_MEMORY_BAD);
    TSL_ASSERT(status == TSL_OK);
    result->bad_frames++;
    if (result->bad_frames > LINES_IN_LOG)
        return;
    tsl_log(TSL_LOG_WARNING, "memory test: bad frame at %#llx: wrote %#lx, read %#lx",
            (unsigned long long)at, (unsigned long)expected, (unsigned long)found);
}

static void expect(struct work *work, tsl_paddr at, tsl_word expected)
{
    tsl_word found = get(work, at);
    if (TSL_UNLIKELY(found != expected))
        retire(work, at, expected, found);
}

/* A 1 through zeros and a 0 through ones, in the first word of every frame. The word beside it gets
 * the complement, so that charge left on the lines is not taken for an answer. */
static void walk_bits(struct work *work)
{
    for (tsl_paddr at = work->start; at < work->end; at += TSL_PAGE_BYTES) {
        for (unsigned bit = 0; bit < 8 * WORD_BYTES; bit++) {
            tsl_word one = (tsl_word)1 << bit;
            put(work, at, one);
            put(work, at + WORD_BYTES, ~one);
            expect(work, at, one);
            put(work, at, ~one);
            put(work, at + WORD_BYTES, one);
            expect(work, at, ~one);
        }
    }
}

/* The places that differ from the range's start in one address line; how many. */
static unsigned list_lines(const struct work *work, tsl_paddr *places)
{
    unsigned count = 0;
    for (tsl_paddr line = WORD_BYTES; line < (tsl_paddr)1 << MOST_LINES; line <<= 1) {
        tsl_paddr place = work->start ^ line;
        if (place > work->start && place < work->end)
            places[count++] = place;
    }
    return count;
}

/* Each place in turn is made different from all others: two of the same address both change. */
static void test_lines(struct work *work)
{
    tsl_paddr places[MOST_LINES + 1];
    unsigned count = list_lines(work, places);
    places[count++] = work->start;
    for (unsigned i = 0; i < count; i++)
        put(work, places[i], 0);
    for (unsigned i = 0; i < count; i++) {
        put(work, places[i], ALL_ONES);
        for (unsigned k = 0; k < count; k++)
            expect(work, places[k], k == i ? ALL_ONES : 0);
        put(work, places[i], 0);
    }
}

static void fill(const struct work *work, tsl_word value)
{
    for (tsl_paddr at = work->start; at < work->end; at += WORD_BYTES)
        put(work, at, value);
}

/* One element of a march: reads one value and writes the other, upwards or downwards. */
static void march(struct work *work, tsl_word before, tsl_word after, bool is_upwards)
{
    tsl_paddr bytes = work->end - work->start;
    for (tsl_paddr done = 0; done < bytes; done += WORD_BYTES) {
        tsl_paddr at = is_upwards ? work->start + done : work->end - WORD_BYTES - done;
        expect(work, at, before);
        put(work, at, after);
    }
}

/* March C-: any(w0) up(r0,w1) up(r1,w0) down(r0,w1) down(r1,w0) any(r0), with a pattern for 0. */
static void march_c(struct work *work, tsl_word pattern)
{
    fill(work, pattern);
    march(work, pattern, ~pattern, true);
    march(work, ~pattern, pattern, true);
    march(work, pattern, ~pattern, false);
    march(work, ~pattern, pattern, false);
    for (tsl_paddr at = work->start; at < work->end; at += WORD_BYTES)
        expect(work, at, pattern);
}

/* 0101..., 0011..., 00001111... and so on: every two bits of a word differ in one of them. */
static tsl_word background(unsigned level)
{
    unsigned run = 1u << level;
    tsl_word pattern = 0;
    for (unsigned bit = 0; bit < 8 * WORD_BYTES; bit++)
        if ((bit / run) % 2 == 0)
            pattern |= (tsl_word)1 << bit;
    return pattern;
}

static void test_range(struct work *work)
{
    work->kind = TSL_TEST_WALKING;
    if ((work->test->kinds & TSL_TEST_WALKING) != 0)
        walk_bits(work);
    work->kind = TSL_TEST_ADDRESS;
    if ((work->test->kinds & TSL_TEST_ADDRESS) != 0)
        test_lines(work);
    work->kind = TSL_TEST_MARCH;
    if ((work->test->kinds & TSL_TEST_MARCH) != 0)
        march_c(work, 0);
    work->kind = TSL_TEST_BACKGROUNDS;
    for (unsigned level = 0; level < BACKGROUND_BITS; level++)
        if ((work->test->kinds & TSL_TEST_BACKGROUNDS) != 0)
            march_c(work, background(level));
    work->result->bytes += work->end - work->start;
}

/* The next usable range that ends above `from`; the map changes under our hands. */
static bool next_range(struct work *work, tsl_paddr from)
{
    const struct tsl_memory_map *map = work->test->map;
    for (size_t i = 0; i < map->count; i++) {
        const struct tsl_memory_range *range = &map->ranges[i];
        work->start = range->start > from ? range->start : from;
        work->end = range->end < work->test->end ? range->end : work->test->end;
        if (range->type == TSL_MEMORY_USABLE && work->start < work->end)
            return true;
    }
    return false;
}

enum tsl_status tsl_memory_test(const struct tsl_memory_test *test,
                                struct tsl_memory_test_result *out)
{
    if (!TSL_MEMORY_TEST)
        return tsl_refuse(NULL, TSL_UNSUPPORTED, "memory test: not compiled in");
    if (test->map == NULL || (test->kinds & TSL_TEST_ALL) == 0 || test->kinds > TSL_TEST_ALL)
        return tsl_refuse(NULL, TSL_INVALID, "memory test: no map, or no such test");
    struct tsl_memory_test limited = *test;
    limited.end = tsl_align_down_paddr(test->end, TSL_PAGE_BYTES);
    *out = (struct tsl_memory_test_result){0};
    struct work work = {.test = &limited, .result = out, .access = test->access};
    if (work.access == NULL)
        work.access = &direct;
    for (tsl_paddr from = TSL_PAGE_BYTES; next_range(&work, from); from = work.end)
        test_range(&work);
    if (out->bad_frames > 0) {
        tsl_log(TSL_LOG_WARNING, "memory test: %lu bad frames are not used",
                (unsigned long)out->bad_frames);
    }
    return TSL_OK;
}
