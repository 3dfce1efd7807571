/* SPDX-License-Identifier: MIT
 *
 * heap_array.h: memory that joins a heap when it runs, and leaves it again.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator.h; HEAP_ARRAYS, without which these functions are not in the library.
 * Callers: anyone who may call the heap's page source.
 */
#ifndef TESELA_HEAP_ARRAY_H
#define TESELA_HEAP_ARRAY_H

#include <tesela/heap_allocator.h>

/*
 * Adds `bytes` bytes at `array` to a heap, whatever it has its pages from; its ceiling rises by the
 * whole pages that remain behind the array's own bookkeeping. Blocks come from arrays, the newest
 * first, before the page source is asked; large blocks that have a page without access behind them
 * (tier full and above) never do.
 * Before:  readable and writable.
 * Owns:    the heap, until tsl_heap_remove_array or tsl_heap_destroy.
 * Errors:  TSL_INVALID (no heap, NULL, or it wraps), TSL_OVERLAP (with the heap's window, head or
 *          another array), TSL_NO_MEMORY (cannot hold its bookkeeping and two pages),
 *          TSL_OUT_OF_RANGE (2^32 pages).
 * Cost:    a pointer and a bit a page. While a heap has arrays, an address outside of its window
 *          is looked for in each of them.
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_add_array(struct tsl_heap *self, void *array, size_t bytes);

/*
 * Takes an array out of a heap, after a trim that also lets go of blocks in quarantine; the ceiling
 * sinks by as much as it rose, and a block that was in the array is foreign from now on.
 * array:   as it was added.
 * Owns:    the caller again.
 * Errors:  TSL_INVALID (no heap), TSL_NOT_FOUND (no such array), TSL_BUSY (a block in it is live,
 *          or a CPU is about to take or return one; all of it goes on as before).
 * Context: as tsl_cpu_call.
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_remove_array(struct tsl_heap *self, const void *array);

#endif
