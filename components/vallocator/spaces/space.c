/* SPDX-License-Identifier: MIT
 *
 * space.c: spaces begin and end; what every operation on them starts and finishes with.
 *
 * Owns:    struct tsl_space, struct space_operation.
 * Needs:   region.h, slots.h, page_table.
 * Callers: the kernel (space.h), the other files space_*.c.
 *
 * An operation gets memory first, then takes the lock, looks whether all of it is possible, and
 * only then changes anything: from there on nothing can fail. What it leaves over is freed at the
 * end, with no lock held.
 */
#include "space_internal.h"

#include <tesela/checked.h>

static enum tsl_status make_table(struct tsl_vm *vm, struct tsl_table *table)
{
    struct tsl_table_config config = {.format = vm->config.format,
                                      .features = vm->config.features,
                                      .frames = vm->config.frames,
                                      .shown = vm->config.kernel_table};
    return tsl_table_init(table, &config);
}

enum tsl_status tsl_space_create(struct tsl_vm *vm, const struct tsl_space_limits *limits,
                                 struct tsl_space **out)
{
    struct tsl_space *self = tsl_heap_alloc_array(vm->config.heap, 1, sizeof(*self));
    if (!self)
        return TSL_NO_MEMORY;
    enum tsl_status status = make_table(vm, &self->table);
    if (status != TSL_OK) {
        enum tsl_status freed = tsl_heap_free(vm->config.heap, self);
        TSL_ASSERT(freed == TSL_OK);
        return status;
    }
    const struct tsl_table_format *format = vm->config.format;
    self->vm = vm;
    tsl_lock_init(&self->lock, TSL_RANK_SPACE);
    tsl_regions_init(&self->regions, format->user_first >> TSL_PAGE_SHIFT,
                     (format->user_last >> TSL_PAGE_SHIFT) + 1u);
    tsl_slots_init(&self->layer, vm->config.heap, vm->stores);
    tsl_space_init_pins(self);
    if (limits)
        self->limits = *limits;
    (void)tsl_atomic_add(&vm->spaces, 1);
    *out = self;
    return TSL_OK;
}

static void free_region(struct tsl_space *space, struct tsl_region *region)
{
    enum tsl_status status = tsl_heap_free(space->vm->config.heap, region);
    TSL_ASSERT(status == TSL_OK);
}

/* Regions that are in no set are linked through the right child, and count those behind them. */
static void push(struct tsl_region **list, struct tsl_region *region)
{
    region->node.right = *list ? &(*list)->node : NULL;
    region->pages = tsl_space_listed(*list) + 1u;
    *list = region;
}

static struct tsl_region *pop(struct tsl_region **list)
{
    struct tsl_region *region = *list;
    *list = tsl_region_of(region->node.right);
    return region;
}

/* What the last operation has left in hand; nobody else has it then. */
static void take_spares(struct space_operation *op)
{
    op->spare = (struct tsl_region *)tsl_atomic_exchange(&op->space->spares, 0);
}

static void free_spares(struct space_operation *op)
{
    while (op->spare)
        free_region(op->space, pop(&op->spare));
}

/* Leaves some of what is in hand to the next operation; the rest is freed. */
static void give_spares(struct space_operation *op)
{
    tsl_word none = 0;
    while (tsl_space_listed(op->spare) > SPACE_MOST_SPARES)
        free_region(op->space, pop(&op->spare));
    if (!op->spare || tsl_atomic_compare_exchange(&op->space->spares, &none, (tsl_word)op->spare))
        op->spare = NULL;
    free_spares(op); /* if another operation was faster */
}

enum tsl_status tsl_space_destroy(struct tsl_space *self)
{
    struct tsl_vm *vm = self->vm;
    if (!tsl_cpu_set_is_empty(&self->table.cpus) || self->pins > 0)
        return tsl_refuse(&self->refusals, TSL_BUSY,
                          "space: destroy while a CPU runs it, or with %zu pins left", self->pins);
    struct space_operation op = {.space = self};
    /* Nobody else uses it: without the lock, interrupts come while much is freed. Regions and layer
     * go as a whole: nothing has to be cut, and nothing got for that. */
    tsl_space_unhook(self, self->regions.first, self->regions.end);
    tsl_slots_destroy(&self->layer);
    for (struct tsl_tree_node *node; (node = tsl_tree_first(&self->regions.tree));)
        tsl_space_take_out(&op, tsl_region_of(node));
    tsl_space_end(&op);
    TSL_ASSERT(self->committed == 0 && self->locked == 0);
    take_spares(&op);
    free_spares(&op);
    enum tsl_status status = tsl_table_fini(&self->table);
    TSL_ASSERT(status == TSL_OK);
    status = tsl_heap_free(vm->config.heap, self);
    TSL_ASSERT(status == TSL_OK);
    (void)tsl_atomic_sub(&vm->spaces, 1);
    return TSL_OK;
}

struct tsl_table *tsl_space_table(struct tsl_space *self)
{
    return &self->table;
}

/* ---- Operations. ---- */

enum tsl_status tsl_space_begin(struct space_operation *op, struct tsl_space *space, size_t regions)
{
    *op = (struct space_operation){.space = space};
    if (regions > 0)
        take_spares(op);
    while (tsl_space_listed(op->spare) < regions) {
        struct tsl_region *region = tsl_heap_alloc(space->vm->config.heap, sizeof(*region));
        if (!region) {
            tsl_space_end(op);
            return TSL_NO_MEMORY;
        }
        push(&op->spare, region);
    }
    return TSL_OK;
}

struct tsl_region *tsl_space_take_region(struct space_operation *op)
{
    TSL_ASSERT(op->spare);
    struct tsl_region *region = pop(&op->spare);
    *region = (struct tsl_region){.pages = 0};
    return region;
}

void tsl_space_bury(struct space_operation *op, struct tsl_region *region)
{
    push(&op->dead, region);
}

void tsl_space_take_out(struct space_operation *op, struct tsl_region *region)
{
    struct tsl_space *space = op->space;
    if (region->flags & REGION_CHARGED)
        tsl_vm_uncharge(space->vm, space, region->pages);
    if (region->flags & TSL_SPACE_LOCKED)
        space->locked -= region->pages;
    tsl_regions_remove(&space->regions, region);
    tsl_space_bury(op, region);
}

void tsl_space_end_slowly(struct space_operation *op)
{
    while (op->dead) {
        struct tsl_region *region = pop(&op->dead);
        if (region->object)
            tsl_object_put(region->object);
        push(&op->spare, region);
    }
    give_spares(op);
    if (op->reserve.count.leaves + op->reserve.count.inners > 0)
        tsl_slot_reserve_drop(&op->reserve, op->space->vm->config.heap);
}

enum tsl_status tsl_space_reserve_slowly(struct space_operation *op,
                                         const struct tsl_slot_need *need, bool *again)
{
    *again = false;
    if (tsl_slot_reserve_has(&op->reserve, need))
        return TSL_OK;
    *again = true;
    tsl_space_unlock(op);
    enum tsl_status status = tsl_slot_reserve_fill(&op->reserve, op->space->vm->config.heap, need);
    tsl_space_lock(op);
    return status;
}

size_t tsl_space_cuts(const struct tsl_space *space, size_t start, size_t end)
{
    const struct tsl_region *first = tsl_regions_from(&space->regions, start);
    const struct tsl_region *last = tsl_regions_from(&space->regions, end);
    return (size_t)(first && first->start < start) + (last && last->start < end);
}

struct space_sum tsl_space_sum(const struct tsl_space *space, size_t start, size_t end)
{
    struct space_sum sum = {0};
    for (const struct tsl_region *region = tsl_regions_from(&space->regions, start);
         region && region->start < end; region = tsl_regions_next(region)) {
        size_t first = region->start > start ? region->start : start;
        size_t last = tsl_region_end(region) < end ? tsl_region_end(region) : end;
        sum.regions++;
        sum.pages += last - first;
        sum.charged += region->flags & REGION_CHARGED ? last - first : 0;
        sum.locked += region->flags & TSL_SPACE_LOCKED ? last - first : 0;
    }
    return sum;
}

/* Cuts a region at a page inside of it. Result: what is behind the border. */
static struct tsl_region *cut(struct space_operation *op, struct tsl_region *region, size_t page)
{
    struct tsl_region *fresh = tsl_space_take_region(op);
    if (region->object)
        tsl_object_get(region->object);
    tsl_regions_split(&op->space->regions, region, page, fresh);
    return fresh;
}

void tsl_space_restore_gap(struct tsl_space *space, size_t page)
{
    struct tsl_region *region = tsl_regions_from(&space->regions, page);
    if (region && region->most_pages)
        tsl_regions_widen_guard(&space->regions, region, SPACE_STACK_GAP);
}

void tsl_space_cut(struct space_operation *op, size_t page)
{
    struct tsl_region *region = tsl_regions_from(&op->space->regions, page);
    if (region && region->start < page)
        (void)cut(op, region, page);
}

struct tsl_region *tsl_space_cut_range(struct space_operation *op, struct tsl_region *region,
                                       size_t start, size_t end)
{
    if (region->start < start)
        region = cut(op, region, start);
    if (tsl_region_end(region) > end)
        (void)cut(op, region, end);
    else if (tsl_region_end(region) < end)
        tsl_space_cut(op, end);
    return region;
}

void tsl_space_join(struct space_operation *op, struct tsl_region *first, size_t end)
{
    struct tsl_regions *regions = &op->space->regions;
    struct tsl_region *region = tsl_regions_prev(first);
    if (!region)
        region = first;
    while (region && region->start < end) {
        struct tsl_region *gone = tsl_regions_merge(regions, region);
        if (gone)
            tsl_space_bury(op, gone);
        else
            region = tsl_regions_next(region);
    }
}

/* ---- Checks. ---- */

/* Which rule a range breaks. */
TSL_COLD TSL_NOINLINE static enum tsl_status refuse_range(struct tsl_space *space, const char *verb,
                                                          tsl_vaddr start, size_t bytes)
{
    const struct tsl_table_format *format = space->vm->config.format;
    enum tsl_status status = TSL_OUT_OF_RANGE;
    tsl_vaddr last = 0;
    if (bytes == 0)
        status = TSL_INVALID;
    else if (!tsl_is_aligned(start | bytes, TSL_PAGE_BYTES))
        status = TSL_MISALIGNED;
    else if (tsl_checked_last(start, bytes, &last) && (!tsl_table_format_canonical(format, start) ||
                                                       !tsl_table_format_canonical(format, last)))
        status = TSL_NOT_CANONICAL;
    return tsl_refuse(&space->refusals, status, "space: %s of %#zx bytes at %#zx", verb, bytes,
                      (size_t)start);
}

enum tsl_status tsl_space_check_range(struct tsl_space *space, const char *verb, tsl_vaddr start,
                                      size_t bytes, size_t *first_page, size_t *end_page)
{
    const struct tsl_table_format *format = space->vm->config.format;
    tsl_vaddr last = start + (bytes - 1u);
    bool whole = bytes != 0 && ((start | bytes) & (TSL_PAGE_BYTES - 1u)) == 0 && last >= start;
    if (TSL_UNLIKELY(!whole || start < format->user_first || last > format->user_last))
        return refuse_range(space, verb, start, bytes);
    *first_page = start >> TSL_PAGE_SHIFT;
    *end_page = (last >> TSL_PAGE_SHIFT) + 1u;
    return TSL_OK;
}

enum tsl_status tsl_space_check_rights(unsigned rights, unsigned maximum)
{
    if ((rights | maximum) & ~SPACE_RIGHTS)
        return TSL_INVALID;
    if ((rights & (TSL_WRITE | TSL_EXEC)) && !(rights & TSL_READ))
        return TSL_INVALID;
    if ((rights & TSL_WRITE) && (rights & TSL_EXEC) && !(rights & TSL_ALLOW_WX))
        return TSL_DENIED;
    return rights & ~maximum ? TSL_DENIED : TSL_OK;
}

unsigned tsl_space_attributes(const struct tsl_region *region)
{
    unsigned attributes = region->rights | TSL_USER;
    if (region->object && tsl_object_is_in_place(region->object))
        attributes |= region->object->config.cache;
    return attributes;
}
