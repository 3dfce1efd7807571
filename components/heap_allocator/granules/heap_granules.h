/* SPDX-License-Identifier: MIT
 *
 * heap_granules.h: the core of small heaps: blocks are runs of granules of 16 bytes, and one bit a
 * granule says all about them.
 *
 * Owns:    the shape of the map (struct heap_granules), part of struct tsl_heap.
 * Needs:   heap_allocator_internal.h includes it. With HEAP_CORE_GRANULES only.
 * Callers: the files of this core: heap_granules.c (the map), heap_granule_pages.c (pages in and
 *          out, begin and end), heap_granule_blocks.c (the public functions),
 *          heap_granules_dump.c, heap_granules_verify.c.
 *
 * The bit of a granule is 1 when its block goes on behind it. So a block of n granules is n - 1
 * ones and a zero, n >= 2; a zero behind a zero is a free granule; the granule behind a zero is the
 * first of something. Nothing else has to be kept about a block, and free neighbours are one run
 * without being joined. Pages that the heap does not have look like a block each.
 *
 * Granules and pages are counted from the page below the window, which is never the heap's; neither
 * is the one behind the window. Nobody has to look for the ends of the map.
 */
#ifndef TESELA_HEAP_GRANULES_H
#define TESELA_HEAP_GRANULES_H

#include <tesela/config.h>
#include <tesela/heap_allocator.h>

#define HEAP_GRANULE_BYTES  TSL_HEAP_ALIGN
#define HEAP_PAGE_GRANULES  (TSL_PAGE_BYTES / HEAP_GRANULE_BYTES)
#define HEAP_PAGE_MAP_BYTES (HEAP_PAGE_GRANULES / 8)
#define HEAP_LEAST_GRANULES 2u
/* A block with an alignment from here on begins a page, whose mark remembers which. */
#define HEAP_STRICT_ALIGN TSL_PAGE_BYTES

/* What a larger block leaves empty goes back at once: whoever uses it afterwards faults. */
#define HEAP_LARGE_GRANULES (2 * HEAP_PAGE_GRANULES)

/* Marks of a page. */
#define HEAP_PAGE_OWNED  1u /* the heap has it */
#define HEAP_PAGE_KNOWN  2u /* the heap had it once */
#define HEAP_PAGE_STRICT 4u /* at its start is a block that was asked for with a strict alignment */
/* With STRICT, from this bit on: which alignment, as a shift of a page. */
#define HEAP_PAGE_ALIGN_SHIFT 3

/* The hint of a page: a code of the longest free run that begins in it, or of more; a run that
 * comes in from the page before begins in both. */
#define HEAP_HINT_LOOK 127u /* the greatest code: so long, or not known */

struct heap_granules {
    tsl_word *bits;  /* constant pointers, as pages; 1 = the block goes on */
    tsl_word *hints; /* a byte a page, looked at by the word */
    uint8_t *marks;  /* a byte a page */
    size_t pages;    /* of the window */
    size_t owned_pages;
    size_t empty_pages; /* of them, without a live block */
    size_t due_pages;   /* that large blocks left empty, from due_last down: to go back soon */
    size_t due_last;
    size_t live; /* granules of live blocks */
    uint64_t allocs;
    uint64_t frees;
    uint64_t requested_bytes;
    uint64_t granted_bytes;
};

/* heap_granules.c. => locked, all of them. */

/* The code of a run's length; it grows with it. */
unsigned tsl_heap_granules_code(size_t granules);
/* What a block of so many bytes takes. */
size_t tsl_heap_granules_for(size_t bytes);
/* The first granule of the lowest free run of `count` that begins at a multiple of `align` granules
 * (by its address); TSL_BITS_NONE: none. */
size_t tsl_heap_granules_find(struct tsl_heap *self, size_t count, size_t align);
/* Free granules become a block, or the new end of the block that ends before them. */
void tsl_heap_granules_take(struct tsl_heap *self, size_t first, size_t count, bool is_new);
/* A block, or its end, becomes free. */
void tsl_heap_granules_give(struct tsl_heap *self, size_t first, size_t count);
/* No granule of the page is in use. */
bool tsl_heap_page_is_empty(const struct tsl_heap *self, size_t page);
/* A page joins the heap, free, or leaves it. */
void tsl_heap_page_open(struct tsl_heap *self, size_t page);
void tsl_heap_page_close(struct tsl_heap *self, size_t page);

/* What an address is: the live block that starts there, or why not. */
struct heap_block {
    size_t first;
    size_t granules; /* 0: unknown */
};

enum tsl_status tsl_heap_block_at(const struct tsl_heap *self, const void *block,
                                  struct heap_block *out);
/* The next block of the heap behind a granule, by its address; false: there is none. */
bool tsl_heap_block_next(const struct tsl_heap *self, size_t from, struct heap_block *out);

/* heap_granule_pages.c. Lock not held. */

/* Pages in a row join the heap, from the page `place` on (behind one of the heap's), or from
 * anywhere (0); false: no memory, or the source is asked in vain. */
bool tsl_heap_granules_grow(struct tsl_heap *self, size_t place, size_t pages, unsigned flags);
/* Gives empty pages back, from the page `last` down, until at most `kept` are left. Result:
 * pages. */
size_t tsl_heap_granules_shed(struct tsl_heap *self, size_t last, size_t kept);

static inline uintptr_t heap_granules_origin(const struct tsl_page_source *source)
{
    return source->start - TSL_PAGE_BYTES;
}

#endif
