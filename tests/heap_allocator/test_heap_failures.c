/* SPDX-License-Identifier: MIT
 *
 * test_heap_failures.c: the n-th call of the page source fails, for all n, once and from there on:
 * each operation either does what it says or leaves everything as it was, and nothing leaks.
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h.
 * Callers: host and kernel test images.
 *
 * And: another CPU gets in at the n-th call, for all n, since no lock is held then.
 */
#include "test_source.h"

/* A heap of granules calls the source less often. */
#define LEAST_CALLS (TSL_HEAP_CORE_GRANULES ? 10u : 30u)

static struct test_source source;

/* A bit of everything that calls the source. Keeps going after failures. Frees all it got. */
static void scenario(struct tsl_heap *heap)
{
    static const size_t sizes[] = {16, 100, 700, 3000, 8000, 9000, 50000};
    void *blocks[2 * TSL_COUNT_OF(sizes) + 1] = {NULL};
    size_t count = 0;

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++) {
        blocks[count++] = tsl_heap_alloc(heap, sizes[i]);
        blocks[count++] = tsl_heap_alloc_aligned(heap, 32 * 1024, sizes[i]);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    blocks[count++] = tsl_heap_alloc_array(heap, 100, 33);
    for (size_t i = 0; i < count; i++) {
        void *moved = tsl_heap_realloc(heap, blocks[i], 20000 + 4096 * i);
        blocks[i] = moved != NULL ? moved : blocks[i];
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 0) {
            void *moved = tsl_heap_realloc(heap, blocks[i], 40);
            blocks[i] = moved != NULL ? moved : blocks[i];
        }
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
}

static void run(size_t fail_at, bool onward, size_t *calls)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES,
                                                                TEST_PAGES_BEHIND / 2,
                                                                TEST_PAGES_BEHIND / 2)};
    struct tsl_heap *heap = NULL;

    source.fail_at = fail_at;
    source.fail_onward = onward;
    enum tsl_status status = tsl_heap_create(&config, &heap);
    CHECK(status == TSL_OK || (fail_at == 1 && status == TSL_NO_MEMORY));
    if (status == TSL_OK) {
        scenario(heap);
        CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    }
    CHECK_EQ(source.out, 0);
    CHECK_EQ(source.errors, 0);
    *calls = source.calls;
}

static void every_call_fails_once(void)
{
    size_t all, calls;

    run(0, false, &all);
    CHECK(all > LEAST_CALLS);
    for (size_t n = 1; n <= all; n++)
        run(n, false, &calls);
}

static void every_call_fails_from_there_on(void)
{
    size_t all, calls;

    run(0, false, &all);
    for (size_t n = 1; n <= all; n++)
        run(n, true, &calls);
}

/* What the other CPU does while a call of the page source is under way. */
static struct tsl_heap *raced;
static void *raced_blocks[8];
static size_t race_at, race_calls;
static bool race_behind;

/* The scenario may leave too little: then the source was asked in vain, or the ceiling is near,
 * which counts the pages of the call under way too. */
static void *race_alloc(size_t bytes)
{
    struct tsl_heap_stats stats;
    size_t refused = source.refused;
    void *block = tsl_heap_alloc(raced, bytes);

    tsl_heap_stats(raced, &stats);
    CHECK(block != NULL || source.refused > refused ||
          stats.taken_bytes + bytes > stats.ceiling_bytes);
    return block;
}

static void race(void)
{
    static const size_t sizes[] = {16, 100, 700, 3000, 8000, 9000, 50000, 100000};

    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++)
        raced_blocks[i] = race_alloc(sizes[i]);
    CHECK_SOUND(tsl_heap_verify(raced));
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i += 2) {
        CHECK_STATUS(tsl_heap_free(raced, raced_blocks[i]), TSL_OK);
        raced_blocks[i] = NULL;
    }
    CHECK_SOUND(tsl_heap_verify(raced));
}

static void *racing_get(void *context, size_t pages)
{
    bool is_time = raced != NULL && ++race_calls == race_at;

    if (is_time && !race_behind)
        race();
    void *start = test_source_get(context, pages);
    if (is_time && race_behind)
        race();
    return start;
}

static void racing_put(void *context, void *start, size_t pages)
{
    if (raced != NULL && ++race_calls == race_at)
        race();
    test_source_put(context, start, pages);
}

/* One run of the scenario with the race at one call. Result: how many calls there were. */
static size_t run_raced(size_t call, bool behind)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES,
                                                                TEST_PAGES_BEHIND / 2,
                                                                TEST_PAGES_BEHIND / 2)};
    struct tsl_heap *heap = NULL;

    config.source.get = racing_get;
    config.source.put = racing_put;
    config.source.remap = NULL;
    race_behind = behind;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    race_at = call;
    race_calls = 0;
    raced = heap;
    scenario(heap);
    raced = NULL;
    size_t calls = race_calls;
    for (size_t i = 0; i < TSL_COUNT_OF(raced_blocks); i++) {
        CHECK_STATUS(tsl_heap_free(heap, raced_blocks[i]), TSL_OK);
        raced_blocks[i] = NULL;
    }
    test_heap_end(heap, &source);
    return calls;
}

static void another_cpu_gets_in_at_every_call(void)
{
    size_t all = run_raced(0, false);

    CHECK(all > LEAST_CALLS);
    for (size_t n = 1; n <= all; n++) {
        (void)run_raced(n, false);
        (void)run_raced(n, true);
    }
}

TAP_SUITE(heap_failures, TAP_TEST(every_call_fails_once), TAP_TEST(every_call_fails_from_there_on),
          TAP_TEST(another_cpu_gets_in_at_every_call));
