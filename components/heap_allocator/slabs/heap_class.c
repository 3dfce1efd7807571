/* SPDX-License-Identifier: MIT
 *
 * heap_class.c: the geometry of size classes: pages and blocks of a slab, and which class a size
 * has.
 *
 * Owns:    classes and pool_of of a heap.
 * Needs:   config.h's list of sizes.
 * Callers: heap_create.c; heap_alloc.c and the verifier read the result.
 */
#include "../heap_allocator_internal.h"

const uint32_t tsl_heap_class_sizes[TSL_HEAP_CLASSES_COUNT] = {TSL_HEAP_CLASSES_LIST};

/* Heaps below these ceilings have small slabs, since a partly filled slab costs them more. */
#define TINY_HEAP_PAGES  256u  /* 1 MiB */
#define SMALL_HEAP_PAGES 4096u /* 16 MiB */

/* Kconfig's tool checks the list too; consumers may write config.h by hand. */
bool tsl_heap_classes_are_good(void)
{
    uint32_t previous = 0;

    for (unsigned i = 0; i < HEAP_CLASSES; i++) {
        uint32_t size = tsl_heap_class_sizes[i];
        if (size <= previous || !tsl_is_aligned(size, TSL_HEAP_ALIGN))
            return false;
        previous = size;
    }
    return previous == HEAP_CLASS_LAST;
}

/* A slab of fewer blocks is used up and empty again all the time, which costs more than a free. */
#define LEAST_BLOCKS 8u

/* 2^32 / block_bytes, rounded up. */
static uint32_t reciprocal_of(uint32_t block_bytes)
{
    return UINT32_MAX / block_bytes + 1;
}

/* Whether heap_split is exact for so many blocks: rounding up adds to the lower half, with each
 * block, what the reciprocal is too large by, and all of that has to stay below the reciprocal. */
static bool is_exact(uint32_t block_bytes, uint32_t blocks)
{
    uint32_t reciprocal = reciprocal_of(block_bytes);
    uint32_t error = reciprocal * block_bytes; /* less 2^32 */

    return blocks * error < reciprocal;
}

/*
 * Pages of a slab: the fewest with enough blocks and at most 1/16 lost at the end; if no number of
 * pages will do, the one that loses least, and of such the most where memory allows it: a slab that
 * comes and goes costs as much as some 200 allocations and frees. Never so many that the division
 * is not exact any more, which for some sizes above 22 KiB is at five to eight blocks.
 */
static unsigned slab_pages(uint32_t block_bytes, size_t ceiling_pages)
{
    unsigned least = (unsigned)tsl_pages_of(block_bytes);
    unsigned most = ceiling_pages < TINY_HEAP_PAGES ? 1 : HEAP_SLAB_PAGES;
    bool is_roomy = ceiling_pages >= SMALL_HEAP_PAGES;
    unsigned wanted = is_roomy ? HEAP_SLAB_BLOCKS : LEAST_BLOCKS;
    unsigned best = least;
    size_t best_lost = SIZE_MAX;

    if (ceiling_pages >= TINY_HEAP_PAGES && most < 2 * least)
        most = 2 * least;
    if (is_roomy && most < LEAST_BLOCKS * least) {
        most = LEAST_BLOCKS * least;
        wanted = LEAST_BLOCKS;
    }
    for (unsigned pages = least; pages <= most; pages++) {
        size_t blocks = (size_t)pages * TSL_PAGE_BYTES / block_bytes;
        size_t lost = (size_t)pages * TSL_PAGE_BYTES - blocks * block_bytes;
        if (blocks > HEAP_SLAB_BLOCKS || !is_exact(block_bytes, (uint32_t)blocks))
            break;
        if (lost * 16 <= (size_t)pages * TSL_PAGE_BYTES && blocks >= wanted)
            return pages;
        if (best_lost == SIZE_MAX || lost * best < best_lost * pages + is_roomy) {
            best = pages;
            best_lost = lost;
        }
    }
    return best;
}

/* Pages of empty slabs that a pool keeps: 128 KiB at most, and 1/2048 of the heap. To fetch a page
 * and to give it back costs as much as some 50 allocations and frees. */
static size_t kept_pages(size_t ceiling_pages)
{
    return ceiling_pages / 2048 < 32 ? ceiling_pages / 2048 : 32;
}

void tsl_heap_class_shape(struct heap_class *class, uint32_t block_bytes, size_t ceiling_pages)
{
    uint32_t lowest = block_bytes & (~block_bytes + 1);

    class->block_bytes = block_bytes;
    class->reciprocal = reciprocal_of(block_bytes);
    class->slab_pages = (uint16_t)slab_pages(block_bytes, ceiling_pages);
    class->slab_blocks = (uint16_t)((size_t) class->slab_pages * TSL_PAGE_BYTES / block_bytes);
    class->empty_kept = (uint16_t)(kept_pages(ceiling_pages) / class->slab_pages);
    class->align = lowest;
    if (lowest > TSL_PAGE_BYTES && lowest != block_bytes)
        class->align = TSL_PAGE_BYTES;
}

/* The smallest class for each size; a power of two also needs that alignment. */
static void table_init(struct tsl_heap *self)
{
    for (size_t unit = 0; unit < HEAP_TABLE_ENTRIES; unit++) {
        size_t bytes = unit * TSL_HEAP_ALIGN;
        size_t align = tsl_is_power_of_two(unit) ? bytes : TSL_HEAP_ALIGN;
        unsigned i = 0;

        while (i < HEAP_CLASSES &&
               (self->classes[i].block_bytes < bytes || self->classes[i].align < align))
            i++;
        self->pool_of[unit] =
            (uint16_t)((i < HEAP_CLASSES ? i : HEAP_POOLS) * sizeof(struct heap_pool));
    }
    if (TSL_HEAP_ZERO_FAULTS && self->source.protect != NULL)
        self->pool_of[0] = (uint16_t)(HEAP_ZERO * sizeof(struct heap_pool));
}

void tsl_heap_classes_init(struct tsl_heap *self, size_t ceiling_pages)
{
    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        tsl_heap_class_shape(&self->classes[i], tsl_heap_class_sizes[i], ceiling_pages);
    if (TSL_HEAP_ZERO_FAULTS) {
        /* Addresses only: a page of them, whatever the size of the heap. */
        tsl_heap_class_shape(&self->classes[HEAP_POOLS - 1], TSL_HEAP_ALIGN, 0);
    }
    table_init(self);
}
