/* SPDX-License-Identifier: MIT
 *
 * heap_allocator.h: kernel heap: blocks of any size out of size classes (slabs) and page runs
 * (large blocks).
 *
 * Owns:    the pages it takes from its page source, until it puts them back.
 * Needs:   base, and a page source (tesela/page_source.h) or an array of the caller.
 * Callers: anyone, on any CPU, interrupts on or off; not from NMI.
 */
#ifndef TESELA_HEAP_ALLOCATOR_H
#define TESELA_HEAP_ALLOCATOR_H

#include <stddef.h>

#include <tesela/compiler.h>
#include <tesela/list.h>
#include <tesela/page_source.h>
#include <tesela/status.h>

/* A heap. It lives in its own first pages, or at the head of a fixed array. */
struct tsl_heap;

/* Every block is at least this aligned; a power-of-two size up to a page or the largest class,
 * whichever is more, is aligned to its size. */
#define TSL_HEAP_ALIGN 16u

/* Flags of tsl_heap_alloc_flags and tsl_heap_free_flags. */
enum tsl_heap_flags {
    /* The block's usable bytes are zero. */
    TSL_HEAP_ZERO = 1,
    /* Do not call the page source: serve from pages that the heap holds, or fail; a free keeps
     * emptied pages, until somebody else has to call the source, or tsl_heap_trim. For callers that
     * hold a lock which the page source takes. With slabs, large blocks always come from the page
     * source: such a request for one fails. */
    TSL_HEAP_NO_WAIT = 2,
    /* May use the reserve (reserve_bytes below): for work without which no memory comes back. */
    TSL_HEAP_EMERGENCY = 4,
};

struct tsl_heap_config {
    /* Copied. */
    struct tsl_page_source source;
    /* Upper bound of bytes taken from the source at any moment, bookkeeping included; 0: the
     * window is the bound. Rounded down to pages. */
    size_t ceiling_bytes;
    /* The last bytes below the ceiling, rounded up to pages, are for TSL_HEAP_EMERGENCY only. */
    size_t reserve_bytes;
    /* Optional: called when a request is about to fail and shrinkers found nothing, without a lock,
     * by one CPU at a time, never for TSL_HEAP_NO_WAIT. True: memory was freed, try again (at most
     * 9 times). It may allocate from this heap: it is not called for that. A request that finds no
     * memory on another CPU meanwhile waits until it has returned, tries again, and may call it in
     * its turn. In case it waits for that very request, each wait ends after some ten milliseconds,
     * and the ninth in vain is a failure. */
    bool (*out_of_memory)(void *context, size_t bytes);
    void *out_of_memory_context;
};

/* Something that can give memory back on request, such as a cache. In its owner's storage from add
 * to remove. */
struct tsl_heap_shrinker {
    struct tsl_list link;
    /* Frees about `bytes` bytes, if it can; returns how many. Called without a lock, by one CPU at
     * a time, never from within a TSL_HEAP_NO_WAIT request. It may allocate. */
    size_t (*shrink)(void *context, size_t bytes);
    void *context;
    bool is_running; /* the heap's */
};

/*
 * Makes a heap in pages of config->source.
 * Owns:    the caller, who ends it with tsl_heap_destroy.
 * Errors:  TSL_INVALID (get or put missing, empty window), TSL_MISALIGNED (window not in whole
 *          pages), TSL_OUT_OF_RANGE (window of 2^32 pages, reserve above the ceiling),
 *          TSL_NO_MEMORY (the source or the ceiling has no room for the heap's own first pages),
 *          TSL_CORRUPT (the source gave pages outside of its window).
 * Cost:    the first pages hold the heap and the root of its page map: one pointer per 2 MiB of
 *          window (4 MiB on 32-bit).
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_create(const struct tsl_heap_config *config,
                                               struct tsl_heap **out);

/*
 * Makes a heap entirely inside `bytes` bytes at `array`, bookkeeping included: no page source, no
 * frames, no port beyond locks and log. Any address and size may be given; what cannot hold the
 * heap and one page is refused.
 * Before:  the array is readable and writable and nobody else's until tsl_heap_destroy.
 * Errors:  TSL_INVALID (NULL, or the array wraps), TSL_NO_MEMORY (too small).
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_create_fixed(void *array, size_t bytes,
                                                     struct tsl_heap **out);

/*
 * Ends a heap and returns every page to its source. A heap whose memory goes to another use must be
 * ended first, also one in an array: CPUs that leave give it back what they own.
 * Before:  nobody uses the heap any more.
 * Errors:  TSL_BUSY (blocks are live; the heap is as before), TSL_INVALID (NULL).
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_destroy(struct tsl_heap *self);

/*
 * A block of at least `bytes` bytes, contents undefined.
 * Size 0 gives an object with an address of its own, freed like any other. It must not be read or
 * written: with HEAP_ZERO_FAULTS, over a page source that has protect, that faults.
 * Errors:  NULL when memory, the ceiling or the source is exhausted, and for sizes that no heap can
 *          hold; each counted and logged.
 * Cost:    constant; a page-source call when a class has no free slot and for each large block.
 */
TSL_MALLOC_LIKE TSL_ALLOC_SIZE(2) TSL_FAST_CALL
    void *tsl_heap_alloc(struct tsl_heap *self, size_t bytes);

/* As tsl_heap_alloc, with flags out of enum tsl_heap_flags. Unknown flags are refused: NULL. */
TSL_MALLOC_LIKE TSL_ALLOC_SIZE(2) void *tsl_heap_alloc_flags(struct tsl_heap *self, size_t bytes,
                                                             unsigned flags);

/* `count` elements of `size` bytes, all zero. A product that overflows is refused: NULL. */
TSL_MALLOC_LIKE TSL_ALLOC_ARRAY(2, 3) void *tsl_heap_alloc_array(struct tsl_heap *self,
                                                                 size_t count, size_t size);

/*
 * A block whose address is a multiple of `align`, a power of two (anything below TSL_HEAP_ALIGN
 * counts as that). tsl_heap_realloc keeps the alignment.
 * Errors:  NULL; other alignments are refused.
 * Cost:    up to a page of alignment as tsl_heap_alloc; above, a run of that much more is taken
 *          from the source and trimmed when the first one offered does not fit.
 */
TSL_MALLOC_LIKE TSL_ALLOC_SIZE(3) void *tsl_heap_alloc_aligned(struct tsl_heap *self, size_t align,
                                                               size_t bytes);

/*
 * Changes the size of a block: in place when the new size has the same class, when a large block
 * shrinks, and when the page source can extend a large one; else it moves, contents up to the
 * smaller size kept. A block that shrinks stays where it is, if there is no memory for a smaller
 * one. NULL block: as tsl_heap_alloc. Size 0: the block becomes a size-0 object.
 * Owns:    on success the old pointer is dead; on failure (NULL) the block is as it was.
 * Errors:  NULL, as tsl_heap_alloc and, for a bad block, as tsl_heap_free. Who frees or resizes the
 *          block meanwhile, by mistake, is refused (TSL_BUSY, from moderate on TSL_DOUBLE_FREE); at
 *          the very moment when the old block ends, that is seen from moderate on only.
 */
TSL_MUST_CHECK TSL_ALLOC_SIZE(3) void *tsl_heap_realloc(struct tsl_heap *self, void *block,
                                                        size_t bytes);

/*
 * As tsl_heap_realloc, and from now on the block is aligned to `align`, as tsl_heap_alloc_aligned
 * does it, also if it was not before; an alignment from before is kept if it is stricter.
 */
TSL_MUST_CHECK TSL_ALLOC_SIZE(4) void *tsl_heap_realloc_aligned(struct tsl_heap *self, size_t align,
                                                                void *block, size_t bytes);

/*
 * Ends a block. NULL is fine and does nothing.
 * Errors (each counted and logged, heap as before): TSL_FOREIGN (not in a page of this heap),
 * TSL_MISALIGNED (no block starts at such an address), TSL_INVALID (inside a block or behind the
 * last one of a slab), TSL_DOUBLE_FREE (free already), TSL_BUSY (somebody resizes this block).
 * Cost:    constant; a page-source call when pages become empty beyond what the class keeps.
 */
TSL_MUST_CHECK TSL_FAST_CALL enum tsl_status tsl_heap_free(struct tsl_heap *self, void *block);

/* As tsl_heap_free; of the flags only TSL_HEAP_NO_WAIT, others are refused with TSL_INVALID. */
TSL_MUST_CHECK enum tsl_status tsl_heap_free_flags(struct tsl_heap *self, void *block,
                                                   unsigned flags);

/* As tsl_heap_free, for a caller that knows how many bytes it asked for last, also in a resize:
 * another size is refused with TSL_WRONG_SIZE, unless it takes the same room. Where blocks got
 * another class's room for want of memory, or shrank and stayed, any size that fits is taken; from
 * moderate on none but the right one is. Cost: one more look into the map. */
TSL_MUST_CHECK enum tsl_status tsl_heap_free_sized(struct tsl_heap *self, void *block,
                                                   size_t bytes);

/* Bytes that may be used at `block`, at least what was asked for; 0: an object of size 0, NULL, or
 * not a live block of this heap, which is counted and logged like a bad free. */
size_t tsl_heap_usable(struct tsl_heap *self, const void *block);

/* Returns every empty page to the source, also those kept for quick reuse, after asking all CPUs
 * for theirs (tsl_heap_drain). Result: pages. */
size_t tsl_heap_trim(struct tsl_heap *self);

/* From now on the heap asks this shrinker before a request fails. Before: not added yet. */
void tsl_heap_shrinker_add(struct tsl_heap *self, struct tsl_heap_shrinker *shrinker);

/* Undoes add; waits for the shrinker if it is running. Context: not from within the shrinker. */
void tsl_heap_shrinker_remove(struct tsl_heap *self, struct tsl_heap_shrinker *shrinker);

/*
 * Each CPU online gives up what it keeps of the heap for itself: slabs with free blocks, frees that
 * wait. For a CPU about to be idle for long; the heap does it by itself before it fails, in a trim,
 * and when a CPU leaves.
 * Context: as tsl_cpu_call. Cost: a call of all CPUs online. Nothing with one CPU.
 */
void tsl_heap_drain(struct tsl_heap *self);

#endif
