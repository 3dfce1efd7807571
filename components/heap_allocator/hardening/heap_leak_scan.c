/* SPDX-License-Identifier: MIT
 *
 * heap_leak_scan.c: which live blocks nothing points to.
 *
 * Owns:    the marks in the ledger's entries, during a scan.
 * Needs:   heap_ledger.c.
 * Callers: whoever stopped the others (tsl_heap_leak_scan).
 *
 * Marking without recursion: an entry that is reached for the first time goes on a list through its
 * own `next`, and leaves it when its block has been read. Roots are passed over where they hold the
 * heap itself, as an array of the kernel's may: its bookkeeping knows every block, and what is left
 * of freed ones leads to others.
 * Source: H. Boehm, M. Weiser, "Garbage collection in an uncooperative environment", 1988.
 */
#include <tesela/heap_leaks.h>

#include "../heap_allocator_internal.h"

/* => locked. The word may be an address in a live block, which is marked then. */
static void mark(struct tsl_heap *self, uintptr_t word, struct heap_entry **found)
{
    struct heap_entry *entry = tsl_heap_ledger_inside(self, word);

    if (entry == NULL || entry->is_reached || entry->state != HEAP_ENTRY_LIVE)
        return;
    entry->is_reached = true;
    entry->next = *found;
    *found = entry;
}

/* Bytes up to the first word's start. The end of a range may be that of the address space, so bytes
 * are counted, not compared. */
static size_t skip_of(uintptr_t start)
{
    return (size_t)(-start % sizeof(uintptr_t));
}

/* => locked. The pointers of a cache to its slabs are the heap's, and no user's. */
static void mark_from_block(struct tsl_heap *self, const struct heap_entry *block,
                            struct heap_entry **found)
{
    if (block->is_cache) {
        mark(self, (uintptr_t)((const struct tsl_heap_cache *)block->address)->context, found);
        return;
    }
    for (size_t at = skip_of(block->address);
         at < block->bytes && block->bytes - at >= sizeof(uintptr_t); at += sizeof(uintptr_t))
        mark(self, *(const uintptr_t *)(block->address + at), found);
}

/* => locked */
static bool is_own(const struct tsl_heap *self, uintptr_t address)
{
    return heap_is_in_window(self, address) || address - (uintptr_t)self < self->head_bytes ||
           (TSL_HEAP_ARRAYS && tsl_heap_array_holds(self, address));
}

/* => locked */
static void mark_from_root(struct tsl_heap *self, const struct tsl_heap_root *root,
                           struct heap_entry **found)
{
    uintptr_t start = (uintptr_t)root->start;

    for (size_t at = skip_of(start); at < root->bytes && root->bytes - at >= sizeof(uintptr_t);
         at += sizeof(uintptr_t))
        if (!is_own(self, start + at))
            mark(self, *(const uintptr_t *)(start + at), found);
}

/* => locked. Writes unreached blocks down and takes all marks away. Result: how many. */
static size_t collect(struct tsl_heap *self, struct tsl_heap_leak *out, size_t capacity)
{
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);
    size_t leaks = 0;

    for (; node != NULL; node = tsl_tree_next(node)) {
        struct heap_entry *entry = TSL_CONTAINER_OF(node, struct heap_entry, node);
        if (entry->state == HEAP_ENTRY_LIVE && !entry->is_reached) {
            if (leaks < capacity)
                out[leaks] = (struct tsl_heap_leak){(void *)entry->address, entry->bytes,
                                                    entry->taken_by[0]};
            leaks++;
        }
        entry->is_reached = false;
    }
    return leaks;
}

size_t tsl_heap_leak_scan(struct tsl_heap *self, const struct tsl_heap_root *roots, size_t count,
                          struct tsl_heap_leak *out, size_t capacity)
{
    struct heap_entry *found = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    for (size_t i = 0; i < count; i++)
        mark_from_root(self, &roots[i], &found);
    while (found != NULL) {
        const struct heap_entry *entry = found;
        found = entry->next;
        mark_from_block(self, entry, &found);
    }
    size_t leaks = collect(self, out, capacity);
    tsl_lock_release(&self->guard->lock, pin);
    return leaks;
}
