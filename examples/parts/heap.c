/* SPDX-License-Identifier: MIT
 *
 * heap.c: only a heap: kmalloc() and kfree() over pages that come from anywhere.
 *
 * Owns:    the heap, a window of pages that it grows into.
 * Needs:   heap_allocator, which needs base.
 * Callers: the C library. Exit status 0: all went as it should.
 */
#include "parts.h"

#include <stdio.h>
#include <string.h>

#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>

enum { PAGE = 4096, WINDOW_PAGES = 256 };

static _Alignas(PAGE) char window[WINDOW_PAGES * PAGE];
static bool is_taken[WINDOW_PAGES];
static struct tsl_heap *heap;

/* The page source: the lowest run of free pages. A kernel has frames and a page table behind it. */
static void *get_pages(void *context, size_t pages)
{
    (void)context;
    for (size_t first = 0, run = 0; first + run < WINDOW_PAGES;) {
        if (is_taken[first + run]) {
            first += run + 1;
            run = 0;
        } else if (++run == pages) {
            memset(&is_taken[first], true, pages);
            return window + first * PAGE;
        }
    }
    return NULL;
}

static void put_pages(void *context, void *start, size_t pages)
{
    (void)context;
    memset(&is_taken[((char *)start - window) / PAGE], false, pages);
}

static void *kmalloc(size_t bytes)
{
    return tsl_heap_alloc(heap, bytes);
}

/* A wrong free is refused, counted and logged by the heap: a kernel need not do anything about
 * it. */
static void kfree(void *object)
{
    (void)!tsl_heap_free(heap, object);
}

static bool use(void)
{
    char *object = kmalloc(1000), *large = kmalloc(100000);
    if (object == NULL || large == NULL)
        return false;
    memset(large, 1, 100000);
    kfree(object);
    kfree(object); /* logged: double free */
    tsl_heap_dump(heap, &standard_output);
    kfree(large);
    struct tsl_heap_stats stats;
    tsl_heap_stats(heap, &stats);
    return stats.live_blocks == 0 && tsl_refusals_total(&stats.refusals) == 1;
}

int main(void)
{
    const struct tsl_heap_config config = {.source = {.get = get_pages,
                                                      .put = put_pages,
                                                      .start = (uintptr_t)window,
                                                      .bytes = sizeof(window)}};
    enum tsl_status status = tsl_heap_create(&config, &heap);
    if (status != TSL_OK)
        return 1;
    bool success = use();
    status = tsl_heap_destroy(heap); /* refuses while a block is live; returns every page */
    success = success && status == TSL_OK && memchr(is_taken, true, sizeof(is_taken)) == NULL;
    printf("heap: %s\n", success ? "ok" : "FAILED");
    return success ? 0 : 1;
}
