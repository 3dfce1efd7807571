/* SPDX-License-Identifier: MIT
 *
 * bench_heap.c: the rows heap.* over a heap of Tesela, one thread.
 *
 * Owns:    the window of addresses that is the heap's page source.
 * Needs:   heap_allocator, bench_heap_rows.h.
 * Callers: ./bench heap (target bench-heap).
 *
 * The page source is as simple as one can be, so that what is measured is the heap: runs of one
 * size are kept in a list of that size, others come from the end of the window.
 */
#define _DEFAULT_SOURCE

#include <sys/mman.h>
#include <tesela/cpu.h>
#include <tesela/heap_allocator.h>
#include <tesela/types.h>

#include "bench_heap_rows.h"

#define WINDOW_BYTES ((size_t)4 << 30)
#define KEPT_PAGES   64u

struct run {
    struct run *next;
};

static char *window;
static size_t window_used;
static struct run *kept[KEPT_PAGES + 1];
static struct tsl_heap *heap;

static void *get_pages(void *context, size_t pages)
{
    (void)context;
    if (pages <= KEPT_PAGES && kept[pages] != NULL) {
        struct run *run = kept[pages];
        kept[pages] = run->next;
        return run;
    }
    if (pages > (WINDOW_BYTES - window_used) / TSL_PAGE_BYTES)
        return NULL;
    void *start = window + window_used;
    window_used += pages * TSL_PAGE_BYTES;
    return start;
}

static void put_pages(void *context, void *start, size_t pages)
{
    (void)context;
    if (pages <= KEPT_PAGES) {
        struct run *run = start;
        run->next = kept[pages];
        kept[pages] = run;
    }
}

static void *bench_alloc(size_t bytes)
{
    return tsl_heap_alloc(heap, bytes);
}

static void bench_free(void *block)
{
    bench_require(tsl_heap_free(heap, block) == TSL_OK, "a free was refused");
}

int main(void)
{
    window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_require(window != MAP_FAILED, "addresses for the heap");
    tsl_cpu_join();
    struct tsl_heap_config config = {
        .source = {
            .get = get_pages, .put = put_pages, .start = (uintptr_t)window, .bytes = WINDOW_BYTES}};
    bench_require(tsl_heap_create(&config, &heap) == TSL_OK, "the heap");
    bench_heap_rows();
    return 0;
}
