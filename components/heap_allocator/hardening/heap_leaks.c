/* SPDX-License-Identifier: MIT
 *
 * heap_leaks.c: live blocks by call site.
 *
 * Owns:    nothing.
 * Needs:   heap_ledger.c.
 * Callers: anyone (see tesela/heap_leaks.h).
 */
#include <tesela/heap_leaks.h>

#include "../heap_allocator_internal.h"

#define ROWS_PRINTED 16u

void *tsl_heap_alloc_tagged(struct tsl_heap *self, size_t bytes, unsigned flags, uintptr_t site)
{
    /* Without the layer there is no ledger; and bad flags are refused there. */
    if (!heap_is_guarded(self) ||
        (flags & ~(unsigned)(TSL_HEAP_ZERO | TSL_HEAP_NO_WAIT | TSL_HEAP_EMERGENCY)) != 0)
        return tsl_heap_alloc_flags(self, bytes, flags);
    return tsl_heap_guarded_alloc(self, bytes, TSL_HEAP_ALIGN, flags, site);
}

static size_t at_least(size_t align)
{
    return align < TSL_HEAP_ALIGN ? TSL_HEAP_ALIGN : align;
}

void *tsl_heap_alloc_aligned_tagged(struct tsl_heap *self, size_t align, size_t bytes,
                                    uintptr_t site)
{
    if (!heap_is_guarded(self) || !tsl_is_power_of_two(align))
        return tsl_heap_alloc_aligned(self, align, bytes);
    return tsl_heap_guarded_alloc(self, bytes, at_least(align), 0, site);
}

void *tsl_heap_realloc_tagged(struct tsl_heap *self, size_t align, void *block, size_t bytes,
                              uintptr_t site)
{
    if (!heap_is_guarded(self) || !tsl_is_power_of_two(align))
        return tsl_heap_realloc_aligned(self, align, block, bytes);
    return tsl_heap_guarded_realloc(self, block, bytes, at_least(align), site);
}

enum tsl_status tsl_heap_free_tagged(struct tsl_heap *self, void *block, uintptr_t site)
{
    if (!heap_is_guarded(self) || block == NULL)
        return tsl_heap_free(self, block);
    return tsl_heap_guarded_free(self, block, 0, site);
}

uint64_t tsl_heap_mark(const struct tsl_heap *self)
{
    struct tsl_lock *lock = (struct tsl_lock *)(uintptr_t)&self->guard->lock;
    tsl_pin pin = tsl_lock_acquire(lock);
    uint64_t mark = self->guard->serial;

    tsl_lock_release(lock, pin);
    return mark;
}

/* => locked. Live entries since the mark, through `next`. */
static struct heap_entry *list_since(struct tsl_heap *self, uint64_t mark)
{
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);
    struct heap_entry *list = NULL;

    for (; node != NULL; node = tsl_tree_next(node)) {
        struct heap_entry *entry = TSL_CONTAINER_OF(node, struct heap_entry, node);
        if (entry->state != HEAP_ENTRY_LIVE || entry->serial <= mark)
            continue;
        entry->next = list;
        list = entry;
    }
    return list;
}

/* Two lists in order of call site become one. */
static struct heap_entry *merge(struct heap_entry *a, struct heap_entry *b)
{
    struct heap_entry *list = NULL, **last = &list;

    while (a != NULL && b != NULL) {
        struct heap_entry **first = a->taken_by[0] <= b->taken_by[0] ? &a : &b;
        *last = *first;
        last = &(*first)->next;
        *first = *last;
    }
    *last = a != NULL ? a : b;
    return list;
}

/* In order of call site: a merge sort whose lists double, without recursion or memory. */
static struct heap_entry *sort_by_site(struct heap_entry *list)
{
    struct heap_entry *sorted[CHAR_BIT * sizeof(size_t)] = {NULL}; /* [i]: 2^i entries, or none */
    struct heap_entry *all = NULL;

    while (list != NULL) {
        struct heap_entry *run = list;
        unsigned i = 0;
        list = run->next;
        run->next = NULL;
        for (; sorted[i] != NULL; i++) {
            run = merge(sorted[i], run);
            sorted[i] = NULL;
        }
        sorted[i] = run;
    }
    for (unsigned i = 0; i < TSL_COUNT_OF(sorted); i++)
        all = merge(sorted[i], all);
    return all;
}

/* The first group of entries of one call site, added up. Result: what follows it. */
static struct heap_entry *sum_site(const struct heap_entry *list, struct tsl_heap_site *out)
{
    struct heap_entry *rest = NULL;
    *out = (struct tsl_heap_site){.site = list->taken_by[0]};

    for (; list != NULL && list->taken_by[0] == out->site; list = rest) {
        out->bytes += list->bytes;
        out->blocks++;
        rest = list->next;
    }
    return rest;
}

static bool is_before(const struct tsl_heap_site *a, const struct tsl_heap_site *b,
                      enum tsl_heap_order order)
{
    if (order == TSL_HEAP_BY_BLOCKS && a->blocks != b->blocks)
        return a->blocks > b->blocks;
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->blocks > b->blocks;
}

/* Puts a row in its place among those in order; the last one falls out if there is no room. Result:
 * blocks that found none. */
static size_t insert(struct tsl_heap_site *rows, size_t *used, size_t capacity,
                     enum tsl_heap_order order, const struct tsl_heap_site *row)
{
    size_t at = *used, lost = 0;

    while (at > 0 && is_before(row, &rows[at - 1], order))
        at--;
    if (at == capacity)
        return row->blocks;
    if (*used == capacity)
        lost = rows[--*used].blocks;
    for (size_t i = (*used)++; i > at; i--)
        rows[i] = rows[i - 1];
    rows[at] = *row;
    return lost;
}

size_t tsl_heap_since(struct tsl_heap *self, uint64_t mark, enum tsl_heap_order order,
                      struct tsl_heap_site *rows, size_t capacity, size_t *left_out)
{
    struct tsl_heap_site row;
    size_t used = 0, lost = 0;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    struct heap_entry *list = sort_by_site(list_since(self, mark));

    while (list != NULL) {
        list = sum_site(list, &row);
        lost += insert(rows, &used, capacity, order, &row);
    }
    tsl_lock_release(&self->guard->lock, pin);
    if (left_out != NULL)
        *left_out = lost;
    return used;
}

void tsl_heap_print_since(struct tsl_heap *self, uint64_t mark, enum tsl_heap_order order,
                          const struct tsl_sink *sink)
{
    struct tsl_heap_site rows[ROWS_PRINTED];
    size_t left_out, count = tsl_heap_since(self, mark, order, rows, ROWS_PRINTED, &left_out);

    tsl_print(sink, "  %18s %10s %8s\n", "taken at", "bytes", "blocks");
    for (size_t i = 0; i < count; i++)
        tsl_print(sink, "  %#18zx %10zu %8zu\n", (size_t)rows[i].site, rows[i].bytes,
                  rows[i].blocks);
    if (left_out > 0)
        tsl_print(sink, "  %18s %10s %8zu\n", "other sites", "", left_out);
}
