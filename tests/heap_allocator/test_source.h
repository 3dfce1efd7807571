/* SPDX-License-Identifier: MIT
 *
 * test_source.h: a page source for the heap's tests: first fit over a static arena, checks its
 * caller, fails on request.
 *
 * Owns:    the arena, one for all test files of an image (weak definitions are merged).
 * Needs:   base, heap_allocator.
 * Callers: tests of heap_allocator, one heap source at a time unless they split the arena.
 *
 * Its lock has the heap's rank, so that builds with lock checks catch a heap that calls it with its
 * own lock held.
 */
#ifndef HEAP_TEST_SOURCE_H
#define HEAP_TEST_SOURCE_H

#include <string.h>

#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/lock.h>
#include <tesela/types.h>

#include "tap.h"
#include "test_soften.h"

#define ARENA_PAGES 320u
/* Above the alignments that tests ask for, so that a run fails or passes wherever it is loaded. */
#define ARENA_ALIGN (64u * 1024)

extern char heap_test_arena[ARENA_PAGES * TSL_PAGE_BYTES];
__attribute__((weak)) TSL_ALIGNED(ARENA_ALIGN) char heap_test_arena[ARENA_PAGES * TSL_PAGE_BYTES];

struct test_source {
    struct tsl_lock lock;
    char *start;
    size_t pages;
    bool is_out[ARENA_PAGES];
    bool is_closed[ARENA_PAGES];
    bool refuses_to_close;
    size_t out;
    size_t peak;
    size_t calls;     /* of get and remap */
    size_t refused;   /* of those, how many got nothing */
    size_t fail_at;   /* number of the call that fails, 0: none */
    bool fail_onward; /* and all later ones */
    size_t errors;    /* pages put that were not out, runs outside of the arena, closed pages that
                       * were written */
};

static inline bool test_source_fails(struct test_source *self)
{
    self->calls++;
    return self->fail_at != 0 &&
           (self->calls == self->fail_at || (self->fail_onward && self->calls > self->fail_at));
}

static inline bool test_source_is_free(const struct test_source *self, size_t first, size_t pages)
{
    for (size_t i = first; i < first + pages; i++)
        if (i >= self->pages || self->is_out[i])
            return false;
    return true;
}

static inline void test_source_mark(struct test_source *self, size_t first, size_t pages)
{
    for (size_t i = first; i < first + pages; i++)
        self->is_out[i] = true;
    self->out += pages;
    if (self->out > self->peak)
        self->peak = self->out;
}

static inline void *test_source_get(void *context, size_t pages)
{
    struct test_source *self = context;
    void *result = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    if (!test_source_fails(self)) {
        for (size_t i = 0; i + pages <= self->pages && result == NULL; i++) {
            if (test_source_is_free(self, i, pages)) {
                test_source_mark(self, i, pages);
                result = self->start + i * TSL_PAGE_BYTES;
            }
        }
    }
    self->refused += result == NULL;
    tsl_lock_release(&self->lock, pin);
    if (result != NULL)
        memset(result, 0xA5, pages * TSL_PAGE_BYTES);
    return result;
}

/* Nobody has written to a page since it was closed. */
static inline bool test_source_is_as_closed(const struct test_source *self, size_t page)
{
    const char *bytes = self->start + page * TSL_PAGE_BYTES;

    for (size_t i = 0; i < TSL_PAGE_BYTES; i++)
        if (bytes[i] != 0x3C)
            return false;
    return true;
}

static inline void test_source_put(void *context, void *start, size_t pages)
{
    struct test_source *self = context;
    size_t offset = (size_t)((char *)start - self->start), first = offset / TSL_PAGE_BYTES;

    if (offset % TSL_PAGE_BYTES != 0 || first >= self->pages || pages > self->pages - first) {
        self->errors++;
        return;
    }
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (size_t i = first; i < first + pages; i++) {
        self->errors +=
            !self->is_out[i] || (self->is_closed[i] && !test_source_is_as_closed(self, i));
        self->is_closed[i] = false;
        memset(self->start + i * TSL_PAGE_BYTES, 0x5A, TSL_PAGE_BYTES);
        self->is_out[i] = false;
    }
    self->out -= pages;
    tsl_lock_release(&self->lock, pin);
}

static inline bool test_source_remap(void *context, void *start, size_t pages, size_t new_pages)
{
    struct test_source *self = context;
    size_t tail = (size_t)((char *)start - self->start) / TSL_PAGE_BYTES + pages;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool fits = !test_source_fails(self) && test_source_is_free(self, tail, new_pages - pages);

    if (fits)
        test_source_mark(self, tail, new_pages - pages);
    self->refused += !fits;
    tsl_lock_release(&self->lock, pin);
    return fits;
}

/* For tests that set source.protect to it. What a kernel would not let through is found by put. */
static inline bool test_source_protect(void *context, void *start, size_t pages)
{
    struct test_source *self = context;
    size_t first = (size_t)((char *)start - self->start) / TSL_PAGE_BYTES;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_possible = !self->refuses_to_close;

    for (size_t i = first; i < first + pages && is_possible; i++) {
        self->errors += i >= self->pages || !self->is_out[i];
        self->is_closed[i] = true;
        memset(self->start + i * TSL_PAGE_BYTES, 0x3C, TSL_PAGE_BYTES);
    }
    tsl_lock_release(&self->lock, pin);
    return is_possible;
}

/* Makes a source over part of the arena. before, behind: pages by which the window is larger than
 * that on each side, so that the heap's page map has several leaves. */
static inline struct tsl_page_source test_source_init(struct test_source *self, size_t first,
                                                      size_t pages, size_t before, size_t behind)
{
    memset(self, 0, sizeof *self);
    tsl_lock_init(&self->lock, TSL_RANK_HEAP);
    self->start = heap_test_arena + first * TSL_PAGE_BYTES;
    self->pages = pages;
    return (struct tsl_page_source){.get = test_source_get,
                                    .put = test_source_put,
                                    .remap = test_source_remap,
                                    .protect = test_heap_is_hardened ? test_source_protect : NULL,
                                    .context = self,
                                    .start = (uintptr_t)self->start - before * TSL_PAGE_BYTES,
                                    .bytes = (before + pages + behind) * TSL_PAGE_BYTES};
}

/* Pages that the window is longer than the arena. A map of granules is there for all of them from
 * the beginning, and some ceilings are low. */
#define TEST_PAGES_BEHIND (TSL_HEAP_CORE_GRANULES ? 0u : 1200u)

/* A heap over the whole arena; NULL if that fails, which is a failed check. */
static inline struct tsl_heap *test_heap(struct test_source *source, size_t ceiling_pages)
{
    struct tsl_heap_config config = {
        .source = test_source_init(source, 0, ARENA_PAGES, 8, TEST_PAGES_BEHIND),
        .ceiling_bytes = ceiling_pages * TSL_PAGE_BYTES,
    };
    struct tsl_heap *heap = NULL;

    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    return heap;
}

/* Ends a heap and checks that its source has all pages back. */
static inline void test_heap_end(struct tsl_heap *heap, struct test_source *source)
{
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
    CHECK_EQ(source->out, 0);
    CHECK_EQ(source->errors, 0);
}

/* Blocks of all sizes until there is no memory for any, in a chain. */
static inline void *test_heap_fill(struct tsl_heap *heap)
{
    void *chain = NULL;

    for (size_t bytes = 8192; bytes >= 16; bytes /= 2) {
        for (void **block; (block = tsl_heap_alloc(heap, bytes)) != NULL;) {
            *block = chain;
            chain = block;
        }
    }
    return chain;
}

/* The statuses of a heap's refusals so far. */
static inline size_t test_refusals(const struct tsl_heap *heap, enum tsl_status status)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(heap, &stats);
    return stats.refusals.by_status[status];
}

#endif
