/* SPDX-License-Identifier: MIT
 *
 * heap_granule_pages.c: begin and end of a heap of granules; pages that join it and leave it.
 *
 * Owns:    the head, the ceiling: pages are counted before they are asked for and after they are
 *          given back, so that it holds at every moment.
 * Needs:   heap_setup.c, heap_granules.c, the page source. No lock is held while the source is
 *          called.
 * Callers: users of the heap; heap_granule_blocks.c.
 *
 * The head of a heap: struct tsl_heap, hints, marks, bits. A heap in an array has no source: all of
 * its pages are there from the beginning.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

/* Bytes from the start of a head on: pages of the window and the two beside it are in all parts. */
struct head_shape {
    size_t pages;
    size_t marks;
    size_t bits;
    size_t end;
};

static struct head_shape head_shape(size_t pages)
{
    struct head_shape shape = {.pages = pages};
    size_t bytes = tsl_align_up(pages + 2, sizeof(tsl_word));

    shape.marks = sizeof(struct tsl_heap) + bytes;
    shape.bits = shape.marks + bytes;
    shape.end = shape.bits + (pages + 2) * HEAP_PAGE_MAP_BYTES;
    return shape;
}

/* Fills a head, which is not yet visible to anybody. */
static void head_init(struct tsl_heap *self, const struct head_shape *shape,
                      const struct tsl_page_source *source, size_t ceiling_pages)
{
    struct heap_granules *map = self->granules;

    memset(self, 0, shape->end);
    tsl_lock_init(&self->lock, TSL_RANK_HEAP);
    tsl_list_init(&self->shrinkers);
    self->source = *source;
    self->ceiling_pages = ceiling_pages;
    self->head_bytes = shape->end;
    self->panics = TSL_HEAP_PANIC;
    map->hints = (tsl_word *)(void *)(self + 1);
    map->marks = (uint8_t *)self + shape->marks;
    map->bits = (tsl_word *)(void *)((char *)self + shape->bits);
    map->pages = shape->pages;
    for (size_t page = 0; page < shape->pages + 2; page++)
        tsl_bits_set_range(map->bits, page * HEAP_PAGE_GRANULES, HEAP_PAGE_GRANULES - 1);
}

enum tsl_status tsl_heap_create(const struct tsl_heap_config *config, struct tsl_heap **out)
{
    size_t ceiling_pages = 0;
    struct tsl_heap *self = NULL;
    enum tsl_status status = tsl_heap_setup_check(config, out, &ceiling_pages);

    if (status != TSL_OK)
        return status;
    struct head_shape shape = head_shape(config->source.bytes >> TSL_PAGE_SHIFT);
    status = tsl_heap_setup_take(&config->source, shape.end, ceiling_pages, &self);
    if (status != TSL_OK)
        return status;
    head_init(self, &shape, &config->source, ceiling_pages);
    tsl_heap_setup_apply(self, config);
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_heap_create_fixed(void *array, size_t bytes, struct tsl_heap **out)
{
    /* Sized for all of the array, a little more than the pages that remain in the end. */
    struct head_shape shape = head_shape(bytes >> TSL_PAGE_SHIFT);
    struct heap_place_in place;

    if (out == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: nowhere to put a new heap");
    enum tsl_status status = tsl_heap_setup_array(array, bytes, shape.end, 1, &place);
    if (status != TSL_OK)
        return status;
    shape.pages = place.pages;
    struct tsl_page_source source = {.start = place.first, .bytes = place.pages << TSL_PAGE_SHIFT};
    struct tsl_heap *self = (void *)place.head;

    head_init(self, &shape, &source, shape.pages);
    for (size_t page = 1; page <= shape.pages; page++)
        tsl_heap_page_open(self, page);
    self->taken_pages = shape.pages;
    self->peak_taken_pages = shape.pages;
    *out = self;
    return TSL_OK;
}

enum tsl_status tsl_heap_destroy(struct tsl_heap *self)
{
    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no heap to destroy");
    (void)tsl_heap_trim(self);
    size_t live = self->granules->live * HEAP_GRANULE_BYTES;
    if (live != 0) {
        return tsl_refuse(&self->refusals, TSL_BUSY, "heap %p: blocks of %zu bytes are live",
                          (void *)self, live);
    }
    struct tsl_page_source source = self->source;
    size_t head_pages = self->head_pages;

    /* A pointer kept by mistake finds no heap, not one that seems to work. */
    memset(self, 0, sizeof *self);
    if (head_pages > 0)
        source.put(source.context, self, head_pages);
    return TSL_OK;
}

/* Counts `pages` more as taken, in flight; false if the ceiling forbids it. */
static bool reserve(struct tsl_heap *self, size_t pages, unsigned flags)
{
    size_t kept = (flags & TSL_HEAP_EMERGENCY) != 0 ? 0 : self->reserve_pages;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t room = self->ceiling_pages - self->taken_pages;
    bool fits = room >= kept && pages <= room - kept;

    if (fits) {
        self->taken_pages += pages;
        self->flight_pages += pages;
    }
    tsl_lock_release(&self->lock, pin);
    return fits;
}

/* A source that hands out what it cannot own is broken; the pages stay where they are. */
static bool is_good(struct tsl_heap *self, const void *start, size_t pages)
{
    if (start == NULL)
        return false;
    if (heap_is_run_in_window(&self->source, start, pages))
        return true;
    return tsl_refuse(&self->refusals, TSL_CORRUPT, "heap: page source gave %p, not in its window",
                      start) == TSL_OK;
}

/* The pages from `place` on, behind a page of the heap; 0: wherever the source has some. */
static void *ask_source(const struct tsl_page_source *source, size_t place, size_t pages)
{
    char *start = (char *)heap_granules_origin(source) + (place << TSL_PAGE_SHIFT);

    if (place == 0)
        return source->get(source->context, pages);
    return source->remap(source->context, start - TSL_PAGE_BYTES, 1, 1 + pages) ? start : NULL;
}

bool tsl_heap_granules_grow(struct tsl_heap *self, size_t place, size_t pages, unsigned flags)
{
    if (!reserve(self, pages, flags))
        return false;
    void *start = ask_source(&self->source, place, pages);
    bool came = is_good(self, start, pages);
    size_t first = ((uintptr_t)start - heap_granules_origin(&self->source)) >> TSL_PAGE_SHIFT;

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    self->flight_pages -= pages;
    if (came) {
        self->source_gets++;
        if (self->taken_pages > self->peak_taken_pages)
            self->peak_taken_pages = self->taken_pages;
        for (size_t i = 0; i < pages; i++)
            tsl_heap_page_open(self, first + i);
    } else {
        self->source_failures++;
        self->taken_pages -= pages;
    }
    tsl_lock_release(&self->lock, pin);
    return came;
}

/* => locked. The highest empty pages in a row up to `last`, at most so many, leave the map, in
 * flight: how many; *first: the lowest of them. */
static size_t unhook_empty(struct tsl_heap *self, size_t last, size_t most, size_t *first)
{
    const uint8_t *marks = self->granules->marks;
    size_t pages = 0;

    for (size_t page = last; page > 0 && pages < most; page--) {
        bool is_empty = (marks[page] & HEAP_PAGE_OWNED) != 0 && tsl_heap_page_is_empty(self, page);
        if (is_empty) {
            tsl_heap_page_close(self, page);
            *first = page;
            pages++;
        } else if (pages > 0) {
            break;
        }
    }
    self->flight_pages += pages;
    return pages;
}

size_t tsl_heap_granules_shed(struct tsl_heap *self, size_t last, size_t kept)
{
    size_t given = 0, pages = 0, first = 0;

    if (self->source.put == NULL)
        return 0;
    for (;;) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        size_t empty = self->granules->empty_pages;

        self->taken_pages -= pages;
        self->flight_pages -= pages;
        self->source_puts += pages > 0;
        pages = empty > kept ? unhook_empty(self, last, empty - kept, &first) : 0;
        tsl_lock_release(&self->lock, pin);
        if (pages == 0)
            return given;
        self->source.put(self->source.context,
                         (void *)(heap_granules_origin(&self->source) + (first << TSL_PAGE_SHIFT)),
                         pages);
        given += pages;
    }
}

size_t tsl_heap_trim(struct tsl_heap *self)
{
    return tsl_heap_granules_shed(self, self->granules->pages, 0);
}

void tsl_heap_drain(struct tsl_heap *self)
{
    (void)self; /* no CPU keeps anything for itself */
}
