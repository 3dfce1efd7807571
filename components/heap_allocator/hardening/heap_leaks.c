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

enum tsl_status tsl_heap_free_tagged(struct tsl_heap *self, void *block, uintptr_t site)
{
    if (!heap_is_guarded(self) || block == NULL)
        return tsl_heap_free(self, block);
    return tsl_heap_guarded_free(self, block, 0, site);
}

size_t tsl_heap_mark(const struct tsl_heap *self)
{
    struct tsl_lock *lock = (struct tsl_lock *)(uintptr_t)&self->guard->lock;
    tsl_pin pin = tsl_lock_acquire(lock);
    size_t mark = self->guard->serial;

    tsl_lock_release(lock, pin);
    return mark;
}

/* The row of a site; NULL: there is no room for another. */
static struct tsl_heap_site *row_of(struct tsl_heap_site *rows, size_t *used, size_t capacity,
                                    uintptr_t site)
{
    for (size_t i = 0; i < *used; i++)
        if (rows[i].site == site)
            return &rows[i];
    if (*used == capacity)
        return NULL;
    rows[*used] = (struct tsl_heap_site){.site = site};
    return &rows[(*used)++];
}

/* Most bytes first. Few rows, nearly in order: by insertion. */
static void sort(struct tsl_heap_site *rows, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct tsl_heap_site row = rows[i];
        size_t at = i;
        for (; at > 0 && rows[at - 1].bytes < row.bytes; at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

size_t tsl_heap_since(struct tsl_heap *self, size_t mark, struct tsl_heap_site *rows,
                      size_t capacity, size_t *left_out)
{
    size_t used = 0, lost = 0;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);

    for (; node != NULL; node = tsl_tree_next(node)) {
        const struct heap_entry *entry = TSL_CONTAINER_OF(node, struct heap_entry, node);
        if (entry->state != HEAP_ENTRY_LIVE || entry->serial <= mark)
            continue;
        struct tsl_heap_site *row = row_of(rows, &used, capacity, entry->taken_by[0]);
        if (row == NULL) {
            lost++;
            continue;
        }
        row->bytes += entry->bytes;
        row->blocks++;
    }
    tsl_lock_release(&self->guard->lock, pin);
    sort(rows, used);
    if (left_out != NULL)
        *left_out = lost;
    return used;
}

void tsl_heap_print_since(struct tsl_heap *self, size_t mark, const struct tsl_sink *sink)
{
    struct tsl_heap_site rows[ROWS_PRINTED];
    size_t left_out, count = tsl_heap_since(self, mark, rows, ROWS_PRINTED, &left_out);

    tsl_print(sink, "  %18s %10s %8s\n", "taken at", "bytes", "blocks");
    for (size_t i = 0; i < count; i++)
        tsl_print(sink, "  %#18zx %10zu %8zu\n", (size_t)rows[i].site, rows[i].bytes,
                  rows[i].blocks);
    if (left_out > 0)
        tsl_print(sink, "  %18s %10s %8zu\n", "other sites", "", left_out);
}
