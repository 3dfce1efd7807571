/* SPDX-License-Identifier: MIT
 *
 * heap_create.c: begin and end of a heap: checks of what it is made of, its first pages, the
 * geometry of classes.
 *
 * Owns:    the constant fields of struct tsl_heap.
 * Needs:   heap_source.c, heap_fixed.c.
 * Callers: users of the heap.
 *
 * The head of a heap: struct tsl_heap, root of the page map, leaves if the map is flat, class
 * table.
 */
#include <string.h>

#include "heap_allocator_internal.h"

const uint32_t tsl_heap_class_sizes[TSL_HEAP_CLASSES_COUNT] = {TSL_HEAP_CLASSES_LIST};

/* Heaps below these ceilings have small slabs, since a partly filled slab costs them more. */
#define TINY_HEAP_PAGES  256u  /* 1 MiB */
#define SMALL_HEAP_PAGES 4096u /* 16 MiB */

/* Where the parts of a head are, in bytes from its start. */
struct head_shape {
    size_t map_leaves;
    size_t root;
    size_t leaves;
    size_t class_of;
    size_t end;
    bool is_flat;
};

static size_t largest_class(void)
{
    return tsl_heap_class_sizes[HEAP_CLASSES - 1];
}

static struct head_shape head_shape(size_t window_pages, bool is_flat)
{
    struct head_shape shape;

    shape.is_flat = is_flat || window_pages <= HEAP_LEAF_ENTRIES;
    shape.map_leaves = (window_pages + HEAP_LEAF_ENTRIES - 1) / HEAP_LEAF_ENTRIES;
    shape.root = tsl_align_up(sizeof(struct tsl_heap), sizeof(void *));
    shape.leaves = shape.root + shape.map_leaves * sizeof(void *);
    shape.class_of = shape.leaves + (shape.is_flat ? window_pages * sizeof(void *) : 0);
    shape.end = shape.class_of + largest_class() / TSL_HEAP_ALIGN + 1;
    return shape;
}

/* Kconfig's tool checks the list too; consumers may write config.h by hand. */
static bool is_class_list_good(void)
{
    uint32_t previous = 0;

    for (unsigned i = 0; i < HEAP_CLASSES; i++) {
        uint32_t size = tsl_heap_class_sizes[i];
        if (size <= previous || !tsl_is_aligned(size, TSL_HEAP_ALIGN))
            return false;
        previous = size;
    }
    return previous <= HEAP_CLASS_LARGEST;
}

static unsigned slab_blocks(size_t block_bytes, unsigned pages)
{
    size_t blocks = (size_t)pages * TSL_PAGE_BYTES / block_bytes;
    return blocks > HEAP_SLAB_BLOCKS ? HEAP_SLAB_BLOCKS : (unsigned)blocks;
}

/*
 * Pages of a slab: the fewest with enough blocks and at most 1/16 lost at the end; if no number of
 * pages will do, the one that loses least.
 */
static unsigned slab_pages(size_t block_bytes, size_t ceiling_pages)
{
    unsigned least = (unsigned)tsl_pages_of(block_bytes);
    unsigned most = ceiling_pages < TINY_HEAP_PAGES ? 1 : HEAP_SLAB_PAGES;
    unsigned wanted = ceiling_pages < SMALL_HEAP_PAGES ? 8 : 64;
    unsigned best = least;
    size_t best_lost = SIZE_MAX;

    if (ceiling_pages >= TINY_HEAP_PAGES && most < 2 * least)
        most = 2 * least;
    for (unsigned pages = least; pages <= most; pages++) {
        unsigned blocks = slab_blocks(block_bytes, pages);
        size_t lost = (size_t)pages * TSL_PAGE_BYTES - blocks * block_bytes;
        if (lost * 16 <= (size_t)pages * TSL_PAGE_BYTES && blocks >= wanted)
            return pages;
        if (best_lost == SIZE_MAX || lost * best < best_lost * pages) {
            best = pages;
            best_lost = lost;
        }
    }
    return best;
}

static void class_init(struct heap_class *pool, uint32_t block_bytes, size_t ceiling_pages)
{
    uint32_t lowest = block_bytes & (~block_bytes + 1);

    for (unsigned i = 0; i < HEAP_FILLS; i++)
        tsl_list_init(&pool->slabs[i]);
    pool->block_bytes = block_bytes;
    pool->reciprocal = UINT32_MAX / block_bytes + 1;
    pool->slab_pages = (uint16_t)slab_pages(block_bytes, ceiling_pages);
    pool->slab_blocks = (uint16_t)slab_blocks(block_bytes, pool->slab_pages);
    pool->align = lowest;
    if (lowest > TSL_PAGE_BYTES && lowest != block_bytes)
        pool->align = TSL_PAGE_BYTES;
}

/* The smallest class for each size; a power of two also needs that alignment. */
static void class_table_init(struct tsl_heap *self)
{
    for (size_t unit = 0; unit <= self->largest / TSL_HEAP_ALIGN; unit++) {
        size_t bytes = unit * TSL_HEAP_ALIGN;
        size_t align = tsl_is_power_of_two(unit) ? bytes : TSL_HEAP_ALIGN;
        unsigned i = 0;

        while (i < HEAP_CLASSES &&
               (self->classes[i].block_bytes < bytes || self->classes[i].align < align))
            i++;
        self->class_of[unit] = (uint8_t)(i < HEAP_CLASSES ? i : HEAP_LARGE);
    }
}

static void lists_init(struct tsl_heap *self)
{
    tsl_list_init(&self->record_pages[0]);
    tsl_list_init(&self->record_pages[1]);
    tsl_list_init(&self->large);
    tsl_list_init(&self->parked);
}

/* Fills a head, which is not yet visible to anybody. */
static void head_init(struct tsl_heap *self, const struct head_shape *shape,
                      const struct tsl_page_source *source, size_t ceiling_pages)
{
    char *head = (char *)self;

    memset(self, 0, shape->end);
    tsl_lock_init(&self->lock, TSL_RANK_HEAP);
    lists_init(self);
    self->source = *source;
    self->ceiling_pages = ceiling_pages;
    self->largest = largest_class();
    self->class_of = (uint8_t *)(head + shape->class_of);
    self->head_bytes = shape->end;
    self->map_leaves = shape->map_leaves;
    self->is_map_flat = shape->is_flat;
    self->map_root = (struct heap_run ***)(void *)(head + shape->root);
    for (size_t i = 0; shape->is_flat && i < shape->map_leaves; i++) {
        self->map_root[i] =
            (struct heap_run **)(void *)(head + shape->leaves) + i * HEAP_LEAF_ENTRIES;
    }
    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        class_init(&self->classes[i], tsl_heap_class_sizes[i], ceiling_pages);
    class_table_init(self);
}

static enum tsl_status check_config(const struct tsl_heap_config *config)
{
    uintptr_t last;

    if (config == NULL || config->source.get == NULL || config->source.put == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: a page source needs get and put");
    if (!is_class_list_good())
        return tsl_refuse(NULL, TSL_INVALID, "heap: bad list of size classes in config.h");
    const struct tsl_page_source *source = &config->source;
    if (source->start == 0 || !tsl_checked_last(source->start, source->bytes, &last)) {
        return tsl_refuse(NULL, TSL_INVALID, "heap: window of %zu bytes at %#zx", source->bytes,
                          (size_t)source->start);
    }
    if (!tsl_is_aligned(source->start | source->bytes, TSL_PAGE_BYTES)) {
        return tsl_refuse(NULL, TSL_MISALIGNED, "heap: window of %zu bytes at %#zx, not in pages",
                          source->bytes, (size_t)source->start);
    }
    if (source->bytes >> TSL_PAGE_SHIFT > UINT32_MAX) {
        return tsl_refuse(NULL, TSL_OUT_OF_RANGE,
                          "heap: window of %zu bytes has 2^32 pages or more", source->bytes);
    }
    return TSL_OK;
}

enum tsl_status tsl_heap_create(const struct tsl_heap_config *config, struct tsl_heap **out)
{
    enum tsl_status status = check_config(config);
    if (status != TSL_OK)
        return status;
    if (out == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: nowhere to put a new heap");
    const struct tsl_page_source *source = &config->source;
    size_t window_pages = source->bytes >> TSL_PAGE_SHIFT;
    size_t ceiling_pages = config->ceiling_bytes >> TSL_PAGE_SHIFT;
    if (config->ceiling_bytes == 0 || ceiling_pages > window_pages)
        ceiling_pages = window_pages;
    struct head_shape shape = head_shape(window_pages, false);
    size_t head_pages = tsl_pages_of(shape.end);
    struct tsl_heap *self = NULL;

    if (head_pages <= ceiling_pages)
        self = source->get(source->context, head_pages);
    if (self == NULL)
        return tsl_refuse(NULL, TSL_NO_MEMORY, "heap: no %zu pages for a new heap", head_pages);
    head_init(self, &shape, source, ceiling_pages);
    self->head_pages = head_pages;
    self->taken_pages = head_pages;
    self->peak_taken_pages = head_pages;
    self->source_gets = 1;
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_heap_create_fixed(void *array, size_t bytes, struct tsl_heap **out)
{
    uintptr_t start = (uintptr_t)array, head = 0, first = 0, last;

    if (array == NULL || out == NULL || !tsl_checked_last(start, bytes, &last))
        return tsl_refuse(NULL, TSL_INVALID, "heap: array of %zu bytes at %p", bytes, array);
    if (!is_class_list_good())
        return tsl_refuse(NULL, TSL_INVALID, "heap: bad list of size classes in config.h");
    /* Sized for all of the array, a little more than the pages that remain in the end. */
    struct head_shape shape = head_shape(bytes >> TSL_PAGE_SHIFT, true);
    size_t fixed = tsl_align_up(shape.end, TSL_HEAP_ALIGN);
    size_t need = fixed + tsl_heap_fixed_bytes(bytes >> TSL_PAGE_SHIFT);

    /* Without rounding up past the end of the array: a page for records, one for blocks. */
    if (bytes >= need + 2 * TSL_PAGE_BYTES) {
        head = tsl_align_up_vaddr(start, TSL_HEAP_ALIGN);
        first = tsl_align_up_vaddr(head + need, TSL_PAGE_BYTES);
    }
    if (first == 0 || last - first < 2 * TSL_PAGE_BYTES - 1 || first > last) {
        return tsl_refuse(NULL, TSL_NO_MEMORY, "heap: array of %zu bytes at %p is too small", bytes,
                          array);
    }
    size_t pages = (last - first + 1) >> TSL_PAGE_SHIFT;
    struct tsl_page_source source = tsl_heap_fixed_init((char *)head + fixed, first, pages);
    struct tsl_heap *self = (void *)head;

    head_init(self, &shape, &source, pages);
    self->head_bytes = need;
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_heap_destroy(struct tsl_heap *self)
{
    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no heap to destroy");
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t live = self->live_bytes;
    tsl_lock_release(&self->lock, pin);
    if (live != 0) {
        return tsl_refuse(&self->refusals, TSL_BUSY, "heap %p: blocks of %zu bytes are live",
                          (void *)self, live);
    }
    (void)tsl_heap_trim(self);
    for (size_t i = 0; i < self->map_leaves && !self->is_map_flat; i++)
        if (self->map_root[i] != NULL)
            self->source.put(self->source.context, self->map_root[i], 1);
    struct tsl_page_source source = self->source;
    size_t head_pages = self->head_pages;

    /* A pointer kept by mistake finds no heap, not one that seems to work. */
    memset(self, 0, sizeof *self);
    if (head_pages > 0)
        source.put(source.context, self, head_pages);
    return TSL_OK;
}
