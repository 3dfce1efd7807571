/* SPDX-License-Identifier: MIT
 *
 * heap_create.c: begin and end of a heap: the shape of its head, its first pages.
 *
 * Owns:    the constant fields of struct tsl_heap.
 * Needs:   heap_setup.c, heap_source.c, heap_fixed.c, heap_class.c.
 * Callers: users of the heap.
 *
 * The head of a heap: struct tsl_heap with the root of the page map, then its leaves if the map is
 * flat, else the one that stands for those to come.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

/* Where the parts of a head are, in bytes from its start. */
struct head_shape {
    size_t map_leaves;
    size_t leaves;
    size_t end;
    bool is_flat;
};

static struct head_shape head_shape(size_t window_pages, bool is_flat)
{
    struct head_shape shape;

    shape.is_flat = is_flat || window_pages <= HEAP_LEAF_ENTRIES;
    shape.map_leaves = (window_pages + HEAP_LEAF_ENTRIES - 1) / HEAP_LEAF_ENTRIES;
    shape.leaves = sizeof(struct tsl_heap) + shape.map_leaves * sizeof(void *);
    shape.end = shape.leaves + (shape.is_flat ? window_pages : HEAP_LEAF_ENTRIES) * sizeof(void *);
    return shape;
}

static void lists_init(struct tsl_heap *self)
{
    tsl_list_init(&self->record_pages[0]);
    tsl_list_init(&self->record_pages[1]);
    tsl_list_init(&self->large);
    tsl_list_init(&self->parked);
    tsl_list_init(&self->shrinkers);
    tsl_list_init(&self->caches);
}

/* A map that is not flat begins with one leaf for all. */
static void map_init(struct tsl_heap *self, const struct head_shape *shape)
{
    struct heap_run **leaves = (struct heap_run **)(void *)((char *)self + shape->leaves);

    tsl_heap_map_wipe(leaves, (shape->end - shape->leaves) / sizeof(void *));
    self->map_none = shape->is_flat ? NULL : leaves;
    for (size_t i = 0; i < shape->map_leaves; i++)
        self->map_root[i] = shape->is_flat ? leaves + i * HEAP_LEAF_ENTRIES : leaves;
}

/* Nobody owns anything yet. */
static void owners_init(struct tsl_heap *self)
{
    for (unsigned i = 0; HEAP_HAS_OWNERS && i < TSL_CPUS; i++)
        self->cpus[i] = &tsl_heap_nobody;
    for (unsigned i = 0; i <= HEAP_POOLS; i++) {
        tsl_heap_pool_init(&self->centre.pools[i], i < HEAP_POOLS ? &self->classes[i] : NULL,
                           HEAP_CENTRE);
    }
}

/* Fills a head, which is not yet visible to anybody. */
static void head_init(struct tsl_heap *self, const struct head_shape *shape,
                      const struct tsl_page_source *source, size_t ceiling_pages)
{
    memset(self, 0, shape->end);
    tsl_lock_init(&self->lock, TSL_RANK_HEAP);
    lists_init(self);
    self->source = *source;
    self->ceiling_pages = ceiling_pages;
    self->head_bytes = shape->end;
    self->map_leaves = shape->map_leaves;
    self->is_map_flat = shape->is_flat;
    map_init(self, shape);
    tsl_heap_classes_init(self, ceiling_pages);
    owners_init(self);
    self->panics = TSL_HEAP_PANIC;
    if (HEAP_GUARDED)
        tsl_heap_guard_init(self);
}

static enum tsl_status check_classes(void)
{
    if (!tsl_heap_classes_are_good())
        return tsl_refuse(NULL, TSL_INVALID, "heap: bad list of size classes in config.h");
    return TSL_OK;
}

enum tsl_status tsl_heap_create(const struct tsl_heap_config *config, struct tsl_heap **out)
{
    size_t ceiling_pages = 0;
    struct tsl_heap *self = NULL;
    enum tsl_status status = tsl_heap_setup_check(config, out, &ceiling_pages);

    if (status == TSL_OK)
        status = check_classes();
    if (status != TSL_OK)
        return status;
    struct head_shape shape = head_shape(config->source.bytes >> TSL_PAGE_SHIFT, false);
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
    struct head_shape shape = head_shape(bytes >> TSL_PAGE_SHIFT, true);
    size_t fixed = tsl_align_up(shape.end, TSL_HEAP_ALIGN);
    size_t need = fixed + tsl_heap_fixed_bytes(bytes >> TSL_PAGE_SHIFT);
    struct heap_place_in place;

    if (out == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: nowhere to put a new heap");
    /* A page for records, one for blocks. */
    enum tsl_status status = tsl_heap_setup_array(array, bytes, need, 2, &place);
    if (status == TSL_OK)
        status = check_classes();
    if (status != TSL_OK)
        return status;
    struct tsl_page_source source =
        tsl_heap_fixed_init((char *)place.head + fixed, place.first, place.pages);
    struct tsl_heap *self = (void *)place.head;

    head_init(self, &shape, &source, place.pages);
    self->head_bytes = need;
    *out = self;
    return TSL_OK;
}

/* => no block is live, and nobody uses the heap. Gives the heap's own pages back, but for the head.
 */
static void own_pages_give(struct tsl_heap *self)
{
    for (size_t i = 0; i < self->map_leaves && !self->is_map_flat; i++)
        if (self->map_root[i] != self->map_none)
            self->source.put(self->source.context, self->map_root[i], 1);
    for (unsigned i = 0; HEAP_HAS_OWNERS && i < TSL_CPUS; i++)
        if (self->cpus[i] != &tsl_heap_nobody)
            self->source.put(self->source.context, self->cpus[i],
                             heap_cpu_pages(self->cpus[i]->pools[0].recent != NULL));
}

enum tsl_status tsl_heap_destroy(struct tsl_heap *self)
{
    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no heap to destroy");
    if (HEAP_GUARDED)
        tsl_heap_guard_fini(self);
    (void)tsl_heap_trim(self);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t live = tsl_heap_live_bytes(self);
    tsl_lock_release(&self->lock, pin);
    if (live != 0) {
        return tsl_refuse(&self->refusals, TSL_BUSY, "heap %p: blocks of %zu bytes are live",
                          (void *)self, live);
    }
    if (HEAP_HAS_OWNERS)
        tsl_heap_owners_end(self);
    own_pages_give(self);
    struct tsl_page_source source = self->source;
    size_t head_pages = self->head_pages;

    /* A pointer kept by mistake finds no heap, not one that seems to work. */
    memset(self, 0, sizeof *self);
    if (head_pages > 0)
        source.put(source.context, self, head_pages);
    return TSL_OK;
}
