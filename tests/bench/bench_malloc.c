/* SPDX-License-Identifier: MIT
 *
 * bench_malloc.c: the rows heap.* over the process's malloc: glibc's, or a preloaded one.
 *
 * Owns:    nothing.
 * Needs:   bench_heap_rows.h.
 * Callers: ./bench heap (target bench-malloc).
 */
#include "bench_heap_rows.h"

static void *bench_alloc(size_t bytes)
{
    return malloc(bytes);
}

static void bench_free(void *block)
{
    free(block);
}

int main(void)
{
    bench_heap_rows();
    return 0;
}
