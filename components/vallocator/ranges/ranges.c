/* SPDX-License-Identifier: MIT
 *
 * ranges.c: which addresses of a kernel window belong to whom: a tree that knows its largest gaps.
 *
 * Owns:    struct tsl_ranges and its nodes.
 * Needs:   base, heap_allocator for nodes, backing.c.
 * Callers: see <tesela/vallocator.h>.
 *
 * Theory. Ranges are ordered by address. Each remembers the gap below it and the largest gap in its
 * subtree, so the lowest gap that is long enough is found on one way down. A range's span includes
 * one guard page behind it; the window's own borders are guards of the layout. A range is in the
 * tree before its pages are mapped and until they are unmapped and flushed: it is not settled
 * meanwhile, and nobody can free the address twice or be given it. ranges_lazy.c has what happens
 * to small ones behind that.
 */
#include "ranges_internal.h"

#include <tesela/checked.h>

static const void *key_of(const struct tsl_tree_node *node)
{
    return &range_of(node)->offset;
}

static int compare_offset(const void *key, const struct tsl_tree_node *node)
{
    size_t offset = *(const size_t *)key;
    size_t other = range_of(node)->offset;
    return offset < other ? -1 : offset > other;
}

static bool update_largest_gap(struct tsl_tree_node *node)
{
    struct range *range = range_of(node);
    size_t before = range->largest_gap;
    range->largest_gap = range_largest_gap(range);
    return range->largest_gap != before;
}

static bool largest_gap_is_right(const struct tsl_tree_node *node)
{
    return range_of(node)->largest_gap == range_largest_gap(range_of(node));
}

static const struct tsl_tree_ops range_order = {.key = key_of,
                                                .compare = compare_offset,
                                                .augment = update_largest_gap,
                                                .augment_is_right = largest_gap_is_right};

/* The order of the smallest large page; 0: this configuration, format or CPU has none. */
static unsigned large_order(const struct tsl_table *table)
{
    const struct tsl_table_format *format = table->format;
    if (!TSL_LARGE_PAGES || !format->leaf_at(1, &table->features))
        return 0;
    return format->shift[1] - TSL_PAGE_SHIFT;
}

enum tsl_status tsl_ranges_create(const struct tsl_ranges_config *config, struct tsl_ranges **out)
{
    if (!config->table || !config->frames || !config->heap || config->start == 0 ||
        config->last <= config->start)
        return TSL_INVALID;
    if (config->start % TSL_PAGE_BYTES || (config->last + 1) % TSL_PAGE_BYTES)
        return TSL_MISALIGNED;
    struct tsl_ranges *self = tsl_heap_alloc_array(config->heap, 1, sizeof(*self));
    if (!self)
        return TSL_NO_MEMORY;
    tsl_lock_init(&self->lock, TSL_RANK_REGION);
    tsl_tree_init(&self->tree, &range_order);
    self->config = *config;
    self->window = config->last - config->start + 1;
    self->large_order = large_order(config->table);
    self->least_large = self->large_order > 0 ? TSL_PAGE_BYTES << self->large_order : SIZE_MAX;
    tsl_gather_init_lazy(&self->gather, config->table);
    *out = self;
    return TSL_OK;
}

static void free_node(struct tsl_ranges *self, void *node)
{
    enum tsl_status status = tsl_heap_free(self->config.heap, node);
    TSL_ASSERT(status == TSL_OK);
}

static tsl_vaddr address_of(const struct tsl_ranges *self, const struct range *range)
{
    return self->config.start + range->offset;
}

/* The lowest gap of at least `span` bytes, as an offset; false if there is none. Lock held. */
static bool find_gap(const struct tsl_ranges *self, size_t span, size_t *out)
{
    struct range *at = range_of(self->tree.root);
    while (at && at->largest_gap >= span) {
        struct range *below = range_of(at->node.left);
        if (below && below->largest_gap >= span) {
            at = below;
        } else if (at->gap_below >= span) {
            *out = at->offset - at->gap_below;
            return true;
        } else {
            at = range_of(at->node.right);
        }
    }
    const struct range *last = range_of(tsl_tree_last(&self->tree));
    *out = last ? range_end(last) : 0;
    return self->window - *out >= span;
}

/* The place for a range of `bytes` in the lowest gap that has one; large pages need an address that
 * is aligned to them, if there is such a gap. Lock held. */
static bool find_place(const struct tsl_ranges *self, size_t bytes, size_t *out)
{
    size_t span = bytes + TSL_PAGE_BYTES;
    if (!ranges_may_be_large(self, bytes))
        return find_gap(self, span, out);
    size_t mask =
        (TSL_PAGE_BYTES << self->large_order) - 1u; /* at most so much is left out below */
    if (self->window - span < mask || !find_gap(self, span + mask, out))
        return find_gap(self, span, out);
    *out += -(self->config.start + *out) & mask;
    return true;
}

/* Puts a range into the tree. Lock held; its span lies in a gap. */
static void hook(struct tsl_ranges *self, struct range *range)
{
    range->gap_below = 0;
    range->largest_gap = 0;
    enum tsl_status status = tsl_tree_insert(&self->tree, &range->node);
    TSL_ASSERT(status == TSL_OK);
    range->gap_below = range->offset - range_floor(range);
    tsl_tree_update(&self->tree, &range->node);
    struct range *above = range_of(tsl_tree_next(&range->node));
    if (above) {
        above->gap_below = above->offset - range_end(range);
        tsl_tree_update(&self->tree, &above->node);
    }
}

void tsl_ranges_unhook(struct tsl_ranges *self, struct range *range)
{
    struct range *above = range_of(tsl_tree_next(&range->node));
    size_t floor = range_floor(range);
    if (self->recent == range)
        self->recent = NULL;
    tsl_tree_remove(&self->tree, &range->node);
    if (above) {
        above->gap_below = above->offset - floor;
        tsl_tree_update(&self->tree, &above->node);
    }
}

/* The range is somebody's, or no longer. Lock held. */
static void count_in(struct tsl_ranges *self, const struct range *range)
{
    if (range->kind == TSL_RANGE_EXTERNAL) {
        self->bytes_mapped += range->bytes;
        return;
    }
    self->bytes_memory += range->bytes;
    if (self->bytes_memory > self->bytes_peak)
        self->bytes_peak = self->bytes_memory;
}

static void count_out(struct tsl_ranges *self, const struct range *range)
{
    *(range->kind == TSL_RANGE_EXTERNAL ? &self->bytes_mapped : &self->bytes_memory) -=
        range->bytes;
}

/* Keeps some of the nodes for later; the others are left in the list. Lock held. */
static void keep_spares(struct tsl_ranges *self, struct range **dead)
{
    while (*dead && self->spare_count < RANGES_MOST_SPARES) {
        struct range *range = *dead;
        *dead = range->next;
        range->next = self->spares;
        self->spares = range;
        self->spare_count++;
    }
}

static void free_nodes(struct tsl_ranges *self, struct range *dead)
{
    while (dead) {
        struct range *range = dead;
        dead = range->next;
        free_node(self, range);
    }
}

/* Lets go of the lock, and of nodes that nobody needs. */
static void unlock(struct tsl_ranges *self, tsl_pin pin, struct range *dead)
{
    if (dead)
        keep_spares(self, &dead);
    tsl_lock_release(&self->lock, pin);
    if (dead)
        free_nodes(self, dead);
}

static void drop(struct tsl_ranges *self, struct range *range, bool failed)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    count_out(self, range);
    tsl_ranges_unhook(self, range);
    if (failed)
        self->failures++;
    range->next = NULL;
    unlock(self, pin, range);
}

static void settle(struct range *range)
{
    /* Whoever reads it under the lock sees what was written before. */
    tsl_atomic_store_release_u32(&range->state, RANGE_SETTLED);
}

static void count_failure(struct tsl_ranges *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    self->failures++;
    tsl_lock_release(&self->lock, pin);
}

/* Ends what waits; its nodes become spares. False: nothing waited. No lock held. */
static bool end_waiting(struct tsl_ranges *self)
{
    struct range *dead = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool any = tsl_ranges_settle_all(self, &dead);
    unlock(self, pin, dead);
    return any;
}

/* Gets a node before the lock is taken again. Errors: TSL_NO_MEMORY, counted; no lock is held
 * then. */
TSL_NOINLINE static enum tsl_status get_spare(struct tsl_ranges *self, tsl_pin *pin)
{
    while (!self->spares) {
        tsl_lock_release(&self->lock, *pin);
        struct range *range = tsl_heap_alloc_array(self->config.heap, 1, sizeof(*range));
        if (!range && !end_waiting(self)) {
            count_failure(self);
            return TSL_NO_MEMORY;
        }
        *pin = tsl_lock_acquire(&self->lock);
        if (!range)
            continue;
        range->next = self->spares;
        self->spares = range;
        self->spare_count++;
    }
    return TSL_OK;
}

/* Takes the lock, with a spare node in hand. Errors: TSL_NO_MEMORY, counted; no lock is held. */
static enum tsl_status lock_with_spare(struct tsl_ranges *self, tsl_pin *pin)
{
    *pin = tsl_lock_acquire(&self->lock);
    return TSL_LIKELY(self->spares) ? TSL_OK : get_spare(self, pin);
}

/* Lock held; there is one. */
static struct range *take_spare(struct tsl_ranges *self)
{
    struct range *range = self->spares;
    self->spares = range->next;
    self->spare_count--;
    return range;
}

/* Makes a range of the description somebody's. Lock held. */
static void begin(struct tsl_ranges *self, struct range *range, unsigned attributes,
                  enum tsl_range_kind kind)
{
    range->attributes = attributes;
    range->kind = kind;
    range->large_pages = 0;
    tsl_atomic_store_u32(&range->state, RANGE_MAKING);
    self->recent = range;
    count_in(self, range);
}

/* The rules for attributes that both ways into the window share. */
static enum tsl_status check_attributes(unsigned attributes)
{
    const unsigned known =
        TSL_READ | TSL_WRITE | TSL_EXEC | TSL_GLOBAL | TSL_CACHE_MASK | TSL_ALLOW_WX;
    if (!(attributes & TSL_READ) || (attributes & ~known))
        return TSL_INVALID;
    if ((attributes & TSL_WRITE) && (attributes & TSL_EXEC) && !(attributes & TSL_ALLOW_WX))
        return TSL_DENIED;
    return TSL_OK;
}

static enum tsl_status check_alloc(const struct tsl_ranges *self, size_t bytes, unsigned attributes)
{
    if (bytes == 0)
        return TSL_INVALID;
    if (bytes > self->window - TSL_PAGE_BYTES)
        return TSL_OUT_OF_RANGE;
    return check_attributes(attributes);
}

/* A span for `bytes`: one that waits for that, or the lowest gap. NULL: there is none. Lock
 * held. */
static struct range *take_span(struct tsl_ranges *self, size_t bytes, struct range **dead)
{
    size_t offset;
    struct range *range = tsl_ranges_take_cached(self, bytes);
    if (range)
        return range;
    bool found = find_place(self, bytes, &offset);
    if (!found && tsl_ranges_settle_all(self, dead))
        found = find_place(self, bytes, &offset);
    if (!found)
        return NULL;
    range = take_spare(self);
    range->bytes = bytes;
    range->offset = offset;
    hook(self, range);
    return range;
}

TSL_NOINLINE static enum tsl_status back_large(struct tsl_ranges *self, struct range *range)
{
    const struct tsl_vm_run run = {address_of(self, range), range_pages(range), range->attributes};
    return tsl_vm_back_large(self->config.table, self->config.frames, &run, self->large_order,
                             &range->large_pages);
}

static inline enum tsl_status back_once(struct tsl_ranges *self, struct range *range,
                                        unsigned attributes)
{
    if (ranges_may_be_large(self, range->bytes))
        return back_large(self, range);
    return tsl_vm_back(self->config.table, self->config.frames, address_of(self, range),
                       range_pages(range), attributes);
}

static enum tsl_status back(struct tsl_ranges *self, struct range *range, unsigned attributes)
{
    enum tsl_status status = back_once(self, range, attributes);
    if (status != TSL_NO_MEMORY || self->config.lazy_pages == 0)
        return status;
    tsl_ranges_purge(self);
    return back_once(self, range, attributes);
}

enum tsl_status tsl_ranges_alloc(struct tsl_ranges *self, size_t bytes, unsigned attributes,
                                 void **out)
{
    enum tsl_status status = check_alloc(self, bytes, attributes);
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "ranges: %zu bytes with attributes 0x%x", bytes,
                          attributes);
    size_t whole = (bytes + TSL_PAGE_BYTES - 1) & ~(size_t)(TSL_PAGE_BYTES - 1);
    struct range *dead = NULL;
    tsl_pin pin;
    status = lock_with_spare(self, &pin);
    if (status != TSL_OK)
        return status;
    struct range *range = take_span(self, whole, &dead);
    if (range)
        begin(self, range, attributes, TSL_RANGE_MEMORY);
    else
        self->failures++;
    unlock(self, pin, dead);
    if (!range)
        return TSL_LIMIT;
    status = back(self, range, attributes);
    if (status != TSL_OK) {
        drop(self, range, true);
        return status;
    }
    settle(range);
    *out = (void *)address_of(self, range);
    return TSL_OK;
}

/* The live range whose span, guard included, holds `offset`, or NULL. Lock held. */
static struct range *range_at(const struct tsl_ranges *self, size_t offset)
{
    struct range *range = self->recent;
    if (!range || range->offset != offset)
        range = range_at_or_before(&self->tree, offset);
    return range && offset < range_end(range) && range_is_live(range) ? range : NULL;
}

/* The settled range of `kind` that starts at `start`, for the caller to undo. Lock held. */
static enum tsl_status look_up(const struct tsl_ranges *self, tsl_vaddr start,
                               enum tsl_range_kind kind, struct range **out)
{
    if (start < self->config.start || start > self->config.last)
        return TSL_FOREIGN;
    struct range *range = range_at(self, start - self->config.start);
    if (!range)
        return TSL_NOT_FOUND;
    if (address_of(self, range) != start)
        return TSL_INVALID;
    if (tsl_atomic_load_acquire_u32(&range->state) != RANGE_SETTLED)
        return TSL_BUSY;
    if (range->kind != kind)
        return TSL_DENIED;
    *out = range;
    return TSL_OK;
}

enum tsl_status tsl_ranges_free(struct tsl_ranges *self, void *start)
{
    struct range *range = NULL, *dead = NULL;
    bool is_done = false;
    if (!start)
        return TSL_OK;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = look_up(self, (tsl_vaddr)start, TSL_RANGE_MEMORY, &range);
    if (status == TSL_OK) {
        is_done = tsl_ranges_free_lazily(self, range, &dead);
        if (is_done)
            count_out(self, range);
        else
            tsl_atomic_store_u32(&range->state, RANGE_MAKING);
    }
    unlock(self, pin, dead);
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "ranges: free of %p", start);
    if (is_done)
        return TSL_OK;
    status = tsl_vm_unback(self->config.table, (tsl_vaddr)start, range_pages(range));
    TSL_ASSERT(status == TSL_OK); /* pages that are all there: nothing can fail */
    drop(self, range, false);
    return TSL_OK;
}

void tsl_ranges_purge(struct tsl_ranges *self)
{
    struct range *dead = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    (void)tsl_ranges_settle_all(self, &dead);
    struct range *spares = self->spares;
    self->spares = NULL;
    self->spare_count = 0;
    tsl_lock_release(&self->lock, pin);
    free_nodes(self, dead);
    free_nodes(self, spares);
}

static enum tsl_status check_map(const struct tsl_ranges *self, tsl_vaddr start, tsl_paddr target,
                                 size_t bytes, unsigned attributes)
{
    if (bytes == 0)
        return TSL_INVALID;
    if (start % TSL_PAGE_BYTES || target % TSL_PAGE_BYTES || bytes % TSL_PAGE_BYTES)
        return TSL_MISALIGNED;
    if (start < self->config.start || start > self->config.last ||
        bytes > self->config.last - start + 1 - TSL_PAGE_BYTES)
        return TSL_FOREIGN;
    return check_attributes(attributes);
}

/* Whether [offset, offset + bytes) and a guard page behind it lie in one gap. Lock held. */
static bool is_gap(const struct tsl_ranges *self, size_t offset, size_t bytes)
{
    const struct range *below = range_at_or_before(&self->tree, offset);
    if (below && offset < range_end(below))
        return false;
    const struct range *above = range_of(tsl_tree_lower_bound(&self->tree, &offset));
    return !above || above->offset - offset >= bytes + TSL_PAGE_BYTES;
}

enum tsl_status tsl_ranges_map(struct tsl_ranges *self, tsl_vaddr start, tsl_paddr target,
                               size_t bytes, unsigned attributes)
{
    enum tsl_status status = check_map(self, start, target, bytes, attributes);
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status,
                          "ranges: map of %zu bytes at %p with attributes 0x%x", bytes,
                          (void *)start, attributes);
    size_t offset = start - self->config.start;
    struct range *range = NULL, *dead = NULL;
    tsl_pin pin;
    status = lock_with_spare(self, &pin);
    if (status != TSL_OK)
        return status;
    if (is_gap(self, offset, bytes) ||
        (tsl_ranges_settle_all(self, &dead) && is_gap(self, offset, bytes))) {
        range = take_spare(self);
        range->bytes = bytes;
        range->offset = offset;
        hook(self, range);
        begin(self, range, attributes, TSL_RANGE_EXTERNAL);
    }
    unlock(self, pin, dead);
    if (!range)
        return tsl_refuse(&self->refusals, TSL_EXISTS,
                          "ranges: map of %zu bytes at %p: taken, or a guard page", bytes,
                          (void *)start);
    status = tsl_table_map(self->config.table, start, target, bytes, attributes);
    if (status == TSL_NO_MEMORY && end_waiting(self)) /* frames that a table may have */
        status = tsl_table_map(self->config.table, start, target, bytes, attributes);
    if (status != TSL_OK) {
        drop(self, range, true);
        return status;
    }
    settle(range);
    return TSL_OK;
}

enum tsl_status tsl_ranges_unmap(struct tsl_ranges *self, tsl_vaddr start)
{
    struct range *range = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    enum tsl_status status = look_up(self, start, TSL_RANGE_EXTERNAL, &range);
    if (status == TSL_OK)
        tsl_atomic_store_u32(&range->state, RANGE_MAKING);
    tsl_lock_release(&self->lock, pin);
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "ranges: unmap of %p", (void *)start);
    status = tsl_table_unmap(self->config.table, start, range->bytes, 0, NULL);
    TSL_ASSERT(status == TSL_OK);
    drop(self, range, false);
    return TSL_OK;
}

void tsl_ranges_destroy(struct tsl_ranges *self)
{
    tsl_ranges_purge(self);
    for (struct tsl_tree_node *node; (node = tsl_tree_first(&self->tree));) {
        tsl_vaddr start = address_of(self, range_of(node));
        enum tsl_status status = range_of(node)->kind == TSL_RANGE_MEMORY
                                     ? tsl_ranges_free(self, (void *)start)
                                     : tsl_ranges_unmap(self, start);
        TSL_ASSERT(status == TSL_OK);
        tsl_ranges_purge(self);
    }
    tsl_ranges_purge(self);
    free_node(self, self);
}
