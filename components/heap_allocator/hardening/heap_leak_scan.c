/* SPDX-License-Identifier: MIT
 *
 * heap_leak_scan.c: which live blocks nothing points to.
 *
 * Owns:    the marks in the ledger's entries, during a scan.
 * Needs:   heap_ledger.c.
 * Callers: whoever stopped the others (tsl_heap_leak_scan).
 *
 * Marking without recursion: an entry that is reached for the first time goes on a list through its
 * own `next`, and leaves it when its block has been read.
 * Source: H. Boehm, M. Weiser, "Garbage collection in an uncooperative environment", 1988.
 */
#include <tesela/heap_leaks.h>

#include "../heap_allocator_internal.h"

/* => locked. Each word of the range that may be an address in a live block marks that block. */
static void mark_from(struct tsl_heap *self, uintptr_t start, size_t bytes,
                      struct heap_entry **found)
{
    uintptr_t at = tsl_align_up_vaddr(start, sizeof(uintptr_t)), end = start + bytes;

    for (; at < end && end - at >= sizeof(uintptr_t); at += sizeof(uintptr_t)) {
        struct heap_entry *entry = tsl_heap_ledger_inside(self, *(const uintptr_t *)at);
        if (entry == NULL || entry->is_reached || entry->state != HEAP_ENTRY_LIVE)
            continue;
        entry->is_reached = true;
        entry->next = *found;
        *found = entry;
    }
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
        mark_from(self, (uintptr_t)roots[i].start, roots[i].bytes, &found);
    while (found != NULL) {
        const struct heap_entry *entry = found;
        found = entry->next;
        mark_from(self, entry->address, entry->bytes, &found);
    }
    size_t leaks = collect(self, out, capacity);
    tsl_lock_release(&self->guard->lock, pin);
    return leaks;
}
