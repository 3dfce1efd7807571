/* SPDX-License-Identifier: MIT
 *
 * heap_leaks.h: who holds the heap's memory: live blocks by call site, since when, and which of
 * them nothing points to.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator.h; HEAP_SITES, and HEAP_LEAK_SCAN for the scan. Without, these functions
 *          are not in the library: call them within `if (TSL_HEAP_SITES)` or `if
 *          (TSL_HEAP_LEAK_SCAN)`.
 * Callers: anyone who may call the heap; the scan while nobody else runs.
 */
#ifndef TESELA_HEAP_LEAKS_H
#define TESELA_HEAP_LEAKS_H

#include <stddef.h>
#include <stdint.h>

#include <tesela/format.h>
#include <tesela/heap_allocator.h>

/* As tsl_heap_alloc_flags; the block is counted for call site `site` (any number: a return
 * address, a tag of a subsystem), whoever calls. For wrappers, which are not the ones to blame. */
TSL_MALLOC_LIKE TSL_ALLOC_SIZE(2) void *tsl_heap_alloc_tagged(struct tsl_heap *self, size_t bytes,
                                                              unsigned flags, uintptr_t site);

/* The same of tsl_heap_alloc_aligned, and of tsl_heap_realloc_aligned (align 1: as
 * tsl_heap_realloc), after which the block is counted for `site`. */
TSL_MALLOC_LIKE TSL_ALLOC_SIZE(3) void *tsl_heap_alloc_aligned_tagged(struct tsl_heap *self,
                                                                      size_t align, size_t bytes,
                                                                      uintptr_t site);
TSL_MUST_CHECK TSL_ALLOC_SIZE(4) void *tsl_heap_realloc_tagged(struct tsl_heap *self, size_t align,
                                                               void *block, size_t bytes,
                                                               uintptr_t site);

/* As tsl_heap_free; it is call site `site` that freed the block. */
TSL_MUST_CHECK enum tsl_status tsl_heap_free_tagged(struct tsl_heap *self, void *block,
                                                    uintptr_t site);

/* A moment in the life of a heap: blocks taken or resized later are `since` it. */
uint64_t tsl_heap_mark(const struct tsl_heap *self);

/* The live blocks of one call site, and the live objects of typed caches that it took. */
struct tsl_heap_site {
    uintptr_t site;
    size_t bytes; /* asked for */
    size_t blocks;
};

/* Which sites are first. */
enum tsl_heap_order { TSL_HEAP_BY_BYTES, TSL_HEAP_BY_BLOCKS };

/*
 * The live blocks taken since `mark` (0: all), by call site: of all sites the first `capacity` in
 * that order. Blocks of the others are counted in *left_out (NULL: nobody asks).
 * Result: rows written.
 * Cost:    live blocks x their logarithm + sites x rows, under a lock that allocations wait for.
 */
size_t tsl_heap_since(struct tsl_heap *self, uint64_t mark, enum tsl_heap_order order,
                      struct tsl_heap_site *rows, size_t capacity, size_t *left_out);

/* Prints the table of tsl_heap_since: the first 16 sites. */
void tsl_heap_print_since(struct tsl_heap *self, uint64_t mark, enum tsl_heap_order order,
                          const struct tsl_sink *sink);

/* A range of memory in which pointers to blocks may lie: data, stacks, saved registers. */
struct tsl_heap_root {
    const void *start;
    size_t bytes;
};

/* A block that nothing points to. */
struct tsl_heap_leak {
    void *block;
    size_t bytes;
    uintptr_t site;
};

/*
 * Searches for live blocks, and live objects of typed caches, that no root points to, directly or
 * through others; a word that could be an address inside a block counts as a pointer to it. Roots
 * may overlap. Memory of the heap itself in them is none; that of other heaps is, if it is named.
 * Writes up to `capacity` leaks, lowest address first. Result: how many there are.
 * Before:  nobody writes to the roots or to blocks meanwhile (other CPUs wait).
 * Cost:    words in roots and reached blocks x logarithm of the number of blocks. No recursion, no
 *          memory of its own.
 */
size_t tsl_heap_leak_scan(struct tsl_heap *self, const struct tsl_heap_root *roots, size_t count,
                          struct tsl_heap_leak *out, size_t capacity);

#endif
