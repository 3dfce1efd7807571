/* SPDX-License-Identifier: MIT
 *
 * test_heap_races.c: what others do to a heap while a call of it waits with its locks open:
 * mistakes with the block that a resize copies, callbacks that call the heap again; and what a
 * block promises at each tier: contents that stay, zeros.
 *
 * Owns:    nothing.
 * Needs:   test_source.h, tap.h.
 * Callers: host and kernel test images; built for each core, and once for each tier with a layer.
 *
 * Another CPU is played by the page source, a shrinker or the out-of-memory callback, which are all
 * called where another CPU could come in. The heaps have the tier of the build.
 */
#include <tesela/heap_hardening.h>

#include "test_source.h"

static struct test_source source;

static bool is_filled(const void *block, unsigned char value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)block)[i] != value)
            return false;
    return true;
}

/* ---- a block that is being moved ---- */

enum { MOVED = 2000, VICTIMS = 12 };

static struct tsl_heap *raced;
static void *raced_block;
static unsigned char *victims[VICTIMS];
static unsigned refused;
static bool is_all_gone; /* the source has no pages any more, after that */

/* Frees and resizes the block that somebody else is moving, and takes what that would have left. */
static void interfere(void)
{
    struct tsl_heap *heap = raced;

    if (heap == NULL)
        return;
    raced = NULL;
    refused += tsl_heap_free(heap, raced_block) != TSL_OK;
    refused += tsl_heap_free_flags(heap, raced_block, TSL_HEAP_NO_WAIT) != TSL_OK;
    refused += tsl_heap_free_sized(heap, raced_block, MOVED) != TSL_OK;
    refused += tsl_heap_realloc(heap, raced_block, 3 * MOVED) == NULL;
    refused += tsl_heap_realloc(heap, raced_block, 16) == NULL;
    for (unsigned i = 0; i < VICTIMS; i++) {
        victims[i] = tsl_heap_alloc(heap, MOVED);
        if (victims[i] != NULL)
            memset(victims[i], 7, MOVED);
    }
    source.fail_onward = is_all_gone;
    source.fail_at = is_all_gone ? 1 : 0;
}

static void *get_and_interfere(void *context, size_t pages)
{
    interfere();
    return test_source_get(context, pages);
}

static struct tsl_heap *heap_with_intruder(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap *heap = NULL;

    config.source.get = get_and_interfere;
    config.source.remap = NULL;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    return heap;
}

static void check_victims(struct tsl_heap *heap)
{
    for (unsigned i = 0; i < VICTIMS; i++) {
        CHECK(victims[i] == NULL || is_filled(victims[i], 7, MOVED));
        CHECK_STATUS(tsl_heap_free(heap, victims[i]), TSL_OK);
        victims[i] = NULL;
    }
}

/* From `bytes` bytes to `to` bytes. */
static void move_one(size_t bytes, size_t to)
{
    struct tsl_heap *heap = heap_with_intruder();
    size_t kept = bytes < to ? bytes : to;

    if (heap == NULL)
        return;
    raced_block = tsl_heap_alloc(heap, bytes);
    memset(raced_block, 3, bytes);
    refused = 0;
    raced = heap;
    void *block = tsl_heap_realloc(heap, raced_block, to);
    CHECK(raced == NULL && refused == 5);
    CHECK(block != NULL && is_filled(block, 3, kept));
    CHECK_SOUND(tsl_heap_verify(heap));
    check_victims(heap);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

static void nobody_frees_a_block_that_moves(void)
{
    move_one(MOVED, 30000);
    move_one(50000, 90000);
    move_one(50000, 200000);
}

/* No memory for the new place: the block is again everybody's to free. */
static void a_block_that_cannot_move_is_as_before(void)
{
    struct tsl_heap *heap = heap_with_intruder();

    if (heap == NULL)
        return;
    raced_block = tsl_heap_alloc(heap, MOVED);
    memset(raced_block, 3, MOVED);
    refused = 0;
    raced = heap;
    is_all_gone = true;
    CHECK(tsl_heap_realloc(heap, raced_block, 30000) == NULL);
    is_all_gone = false;
    source.fail_at = 0;
    CHECK(raced == NULL && refused == 5);
    CHECK(is_filled(raced_block, 3, MOVED));
    CHECK(tsl_heap_usable(heap, raced_block) >= MOVED);
    void *block = tsl_heap_realloc(heap, raced_block, 30000);
    CHECK(block != NULL && is_filled(block, 3, MOVED));
    check_victims(heap);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    test_heap_end(heap, &source);
}

/* ---- callbacks that call the heap ---- */

struct caller {
    struct tsl_heap *heap;
    unsigned calls, depth, deepest, failed;
    void *kept;
};

static void enter(struct caller *self)
{
    self->calls++;
    if (++self->depth > self->deepest)
        self->deepest = self->depth;
}

/* Needs as much as there is not, itself. A heap that asked it again would never return; so it stops
 * at a depth that no heap may reach. */
static bool ask_for_more(void *context, size_t bytes)
{
    struct caller *self = context;

    enter(self);
    if (self->depth < 20) {
        void *block = tsl_heap_alloc(self->heap, bytes);
        self->failed += block == NULL;
        (void)!tsl_heap_free(self->heap, block);
    }
    self->depth--;
    return false;
}

static bool promise(void *context, size_t bytes)
{
    (void)bytes;
    enter(context);
    ((struct caller *)context)->depth--;
    return true;
}

static bool give_kept(void *context, size_t bytes)
{
    struct caller *self = context;
    void *kept = self->kept;

    (void)bytes;
    enter(self);
    self->depth--;
    self->kept = NULL;
    return kept != NULL && tsl_heap_free(self->heap, kept) == TSL_OK;
}

enum { MOST = 60 };

static struct tsl_heap *small_heap(bool (*out_of_memory)(void *, size_t), struct caller *caller)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = MOST * TSL_PAGE_BYTES,
                                     .out_of_memory = out_of_memory,
                                     .out_of_memory_context = caller};

    *caller = (struct caller){.heap = NULL};
    CHECK_STATUS(tsl_heap_create(&config, &caller->heap), TSL_OK);
    return caller->heap;
}

static void an_out_of_memory_callback_may_allocate(void)
{
    struct caller caller;
    struct tsl_heap *heap = small_heap(ask_for_more, &caller);

    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK_EQ(caller.deepest, 1);
    CHECK(caller.calls >= 1 && caller.failed == caller.calls);
    /* And it is asked the next time. */
    unsigned calls = caller.calls;
    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK(caller.calls > calls);
    test_heap_end(heap, &source);
}

static void promises_of_memory_come_to_an_end(void)
{
    struct caller caller;
    struct tsl_heap *heap = small_heap(promise, &caller);

    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK(caller.calls >= 1 && caller.calls <= 9);
    caller.calls = 0;
    CHECK(tsl_heap_alloc_flags(heap, (MOST - 1) * TSL_PAGE_BYTES, TSL_HEAP_NO_WAIT) == NULL);
    CHECK(tsl_heap_alloc_array(heap, MOST, 2 * TSL_PAGE_BYTES) == NULL);
    CHECK(tsl_heap_alloc(heap, MOST * TSL_PAGE_BYTES + 1) == NULL);
    CHECK_EQ(caller.calls, 0);
    test_heap_end(heap, &source);
}

static void what_the_callback_frees_serves_any_request(void)
{
    struct caller caller;
    struct tsl_heap *heap = small_heap(give_kept, &caller);

    for (unsigned i = 0; i < 3; i++) {
        void *small = tsl_heap_alloc(heap, 100), *got = NULL;
        caller.kept = tsl_heap_alloc(heap, (MOST - 20) * TSL_PAGE_BYTES);
        CHECK(small != NULL && caller.kept != NULL);
        if (i == 0)
            got = tsl_heap_alloc(heap, (MOST - 30) * TSL_PAGE_BYTES);
        else if (i == 1)
            got = small = tsl_heap_realloc(heap, small, (MOST - 30) * TSL_PAGE_BYTES);
        else
            got = tsl_heap_alloc_array(heap, MOST - 30, TSL_PAGE_BYTES);
        CHECK(got != NULL && caller.kept == NULL);
        CHECK_EQ(caller.calls, i + 1);
        CHECK_STATUS(tsl_heap_free(heap, got), TSL_OK);
        if (got != small)
            CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
        (void)tsl_heap_end_quarantine(heap);
    }
    test_heap_end(heap, &source);
}

/* ---- shrinkers ---- */

struct cache {
    struct tsl_heap_shrinker shrinker, *other;
    struct caller caller;
    bool is_other_gone;
};

/* Allocates, resizes, fails, trims and takes another shrinker out, all from within. */
static size_t shrink_wildly(void *context, size_t bytes)
{
    struct cache *self = context;
    struct tsl_heap *heap = self->caller.heap;

    enter(&self->caller);
    void *block = tsl_heap_alloc(heap, bytes);
    self->caller.failed += block == NULL;
    (void)!tsl_heap_free(heap, block);
    block = tsl_heap_realloc(heap, tsl_heap_alloc(heap, 40), 90);
    (void)tsl_heap_trim(heap);
    if (self->other != NULL && !self->is_other_gone) {
        tsl_heap_shrinker_remove(heap, self->other);
        self->is_other_gone = true;
    }
    (void)!tsl_heap_free(heap, block);
    self->caller.depth--;
    return 0;
}

static void shrinkers_may_call_the_heap(void)
{
    static struct cache caches[2];
    struct caller caller;
    struct tsl_heap *heap = small_heap(NULL, &caller);

    for (unsigned i = 0; i < 2; i++) {
        caches[i] = (struct cache){.shrinker = {.shrink = shrink_wildly, .context = &caches[i]},
                                   .caller = {.heap = heap}};
        tsl_heap_shrinker_add(heap, &caches[i].shrinker);
    }
    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    for (unsigned i = 0; i < 2; i++)
        CHECK(caches[i].caller.calls > 0 && caches[i].caller.deepest == 1 &&
              caches[i].caller.failed == caches[i].caller.calls);
    /* The first one takes the second one out, which is then not asked. */
    caches[0].other = &caches[1].shrinker;
    caches[1].caller.calls = 0;
    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK(caches[0].is_other_gone);
    unsigned calls = caches[1].caller.calls;
    CHECK(tsl_heap_alloc(heap, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK_EQ(caches[1].caller.calls, calls);
    tsl_heap_shrinker_remove(heap, &caches[0].shrinker);
    test_heap_end(heap, &source);
}

/* Frees the very block that is being resized. */
static size_t shrink_the_moved(void *context, size_t bytes)
{
    struct caller *self = context;

    (void)bytes;
    self->calls++;
    self->failed += tsl_heap_free(self->heap, self->kept) != TSL_OK;
    return 0;
}

static void a_shrinker_cannot_free_what_moves(void)
{
    struct caller caller;
    struct tsl_heap *heap = small_heap(NULL, &caller);
    struct tsl_heap_shrinker shrinker = {.shrink = shrink_the_moved, .context = &caller};

    caller.kept = tsl_heap_alloc(heap, MOVED);
    memset(caller.kept, 5, MOVED);
    tsl_heap_shrinker_add(heap, &shrinker);
    CHECK(tsl_heap_realloc(heap, caller.kept, (MOST - 1) * TSL_PAGE_BYTES) == NULL);
    CHECK(caller.calls > 0 && caller.failed == caller.calls);
    CHECK(is_filled(caller.kept, 5, MOVED));
    tsl_heap_shrinker_remove(heap, &shrinker);
    CHECK_STATUS(tsl_heap_free(heap, caller.kept), TSL_OK);
    test_heap_end(heap, &source);
}

/* ---- a block that is being freed ---- */

/* More than any profile has in a slab. */
enum { CLOSED = 36000 };

/* While a freed block loses its access another CPU takes it for its own. */
static bool protect_and_interfere(void *context, void *start, size_t pages)
{
    bool is_closed = test_source_protect(context, start, pages);
    struct tsl_heap *heap = raced;

    if (heap == NULL || (uintptr_t)raced_block - (uintptr_t)start >= pages * TSL_PAGE_BYTES)
        return is_closed;
    raced = NULL;
    CHECK_STATUS(tsl_heap_free(heap, raced_block), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free_flags(heap, raced_block, TSL_HEAP_NO_WAIT), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free_sized(heap, raced_block, CLOSED), TSL_DOUBLE_FREE);
    CHECK_EQ(tsl_heap_usable(heap, raced_block), 0);
    CHECK(tsl_heap_realloc(heap, raced_block, 2 * CLOSED) == NULL);
    return is_closed;
}

/* Nobody looks at the contents of a block that somebody else is freeing: they may be gone. */
static void a_block_that_is_closed_is_freed_once(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap *heap = NULL;

    config.source.protect = protect_and_interfere;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    raced_block = tsl_heap_alloc(heap, CLOSED);
    raced = heap;
    CHECK_STATUS(tsl_heap_free(heap, raced_block), TSL_OK);
    CHECK(raced == NULL || TSL_HEAP_HARDENING < TSL_HEAP_TIER_FULL);
    raced = NULL;
    CHECK_STATUS(tsl_heap_free(heap, raced_block), TSL_DOUBLE_FREE);
    CHECK_EQ(test_refusals(heap, TSL_CORRUPT), 0);
    test_heap_end(heap, &source);
}

/* Who frees a large block and may not call the page source leaves it open for a while. What is
 * written there then leads nobody astray. */
static void a_block_that_waits_open_may_be_written(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0)};
    struct tsl_heap *heap = NULL;
    unsigned char *large[3], *small;

    config.source.protect = test_source_protect;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    small = tsl_heap_alloc(heap, 40);
    for (size_t i = 0; i < TSL_COUNT_OF(large); i++)
        large[i] = tsl_heap_alloc(heap, CLOSED);
    for (size_t i = 0; i < TSL_COUNT_OF(large); i++) {
        unsigned char *volatile late = large[i];
        CHECK_STATUS(tsl_heap_free_flags(heap, large[i], TSL_HEAP_NO_WAIT), TSL_OK);
        if (TSL_HEAP_CORE_SLABS)
            memset(late, 0x41, CLOSED);
        CHECK_STATUS(tsl_heap_free_flags(heap, late, TSL_HEAP_NO_WAIT), TSL_DOUBLE_FREE);
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, small), TSL_OK);
    for (size_t i = 0; i < TSL_COUNT_OF(large); i++)
        CHECK_STATUS(tsl_heap_free(heap, large[i]), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));
    test_heap_end(heap, &source);
}

/* ---- the reserve ---- */

/* More than any profile has in a slab, whose pages would not fit into the reserve. */
#define URGENT_PAGES 9u

/* With nothing but the reserve left, an emergency is served and nobody else; no pages are asked of
 * the source for one that may not wait. */
static void an_emergency_may_also_not_wait(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = MOST * TSL_PAGE_BYTES,
                                     .reserve_bytes = 16 * TSL_PAGE_BYTES};
    struct tsl_heap *heap = NULL;

    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    void *most = NULL;
    for (size_t pages = MOST; pages > 0 && most == NULL; pages--)
        most = tsl_heap_alloc(heap, pages * TSL_PAGE_BYTES);
    size_t calls = source.calls, out = source.out;
    CHECK(tsl_heap_alloc_flags(heap, 6 * TSL_PAGE_BYTES, TSL_HEAP_EMERGENCY | TSL_HEAP_NO_WAIT) ==
          NULL);
    CHECK(source.calls == calls && source.out == out);
    void *urgent = tsl_heap_alloc_flags(heap, URGENT_PAGES * TSL_PAGE_BYTES,
                                        TSL_HEAP_EMERGENCY | TSL_HEAP_ZERO);
    CHECK(urgent != NULL);
    CHECK(urgent == NULL || is_filled(urgent, 0, URGENT_PAGES * TSL_PAGE_BYTES));
    CHECK(source.out <= MOST && source.peak <= MOST);
    CHECK_STATUS(tsl_heap_free(heap, urgent), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, most), TSL_OK);
    test_heap_end(heap, &source);
}

/* ---- zero ---- */

static void zeroed_blocks_are_zero_whoever_had_the_pages(void)
{
    static const size_t sizes[] = {1, 100, 4096, 5000, 8192, 20000, 100000};
    struct tsl_heap *heap = heap_with_intruder();

    for (size_t i = 0; heap != NULL && i < TSL_COUNT_OF(sizes); i++) {
        void *dirty = tsl_heap_alloc(heap, sizes[i]);
        memset(dirty, 0xFF, sizes[i]);
        CHECK_STATUS(tsl_heap_free(heap, dirty), TSL_OK);
        (void)tsl_heap_end_quarantine(heap);
        void *array = tsl_heap_alloc_array(heap, sizes[i], 1);
        void *flags = tsl_heap_alloc_flags(heap, sizes[i], TSL_HEAP_ZERO);
        CHECK(is_filled(array, 0, sizes[i]) && is_filled(flags, 0, sizes[i]));
        CHECK_STATUS(tsl_heap_free(heap, array), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, flags), TSL_OK);
    }
    test_heap_end(heap, &source);
}

TAP_SUITE(heap_races, TAP_TEST(nobody_frees_a_block_that_moves),
          TAP_TEST(a_block_that_cannot_move_is_as_before),
          TAP_TEST(an_out_of_memory_callback_may_allocate),
          TAP_TEST(promises_of_memory_come_to_an_end),
          TAP_TEST(what_the_callback_frees_serves_any_request),
          TAP_TEST(shrinkers_may_call_the_heap), TAP_TEST(a_shrinker_cannot_free_what_moves),
          TAP_TEST(a_block_that_is_closed_is_freed_once),
          TAP_TEST(a_block_that_waits_open_may_be_written),
          TAP_TEST(an_emergency_may_also_not_wait),
          TAP_TEST(zeroed_blocks_are_zero_whoever_had_the_pages));
