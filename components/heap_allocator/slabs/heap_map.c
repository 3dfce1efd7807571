/* SPDX-License-Identifier: MIT
 *
 * heap_map.c: from a page of the window to the run that it belongs to.
 *
 * Owns:    map_root and the leaves.
 * Needs:   heap_source.c.
 * Callers: the other files of this component.
 *
 * Two levels; a leaf is a page taken from the source when the first run in its part of the window
 * appears, and stays until the heap ends; until then one leaf in the head stands for all of them.
 * Written under the lock, read by anyone who is pinned.
 * Cost: one pointer a page of the window that was ever touched.
 */
#include "../heap_allocator_internal.h"

struct heap_run tsl_heap_nowhere = {.class_index = HEAP_FLIGHT, .state = HEAP_HELD};
struct heap_run tsl_heap_returned = {.class_index = HEAP_FLIGHT};

static size_t page_index(const struct tsl_heap *self, uintptr_t address)
{
    return (address - self->source.start) >> TSL_PAGE_SHIFT;
}

void tsl_heap_map_wipe(struct heap_run **entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        entries[i] = &tsl_heap_nowhere;
}

/* Takes a page for a leaf and installs it, unless another CPU was faster. */
static bool leaf_add(struct tsl_heap *self, size_t number, unsigned flags)
{
    struct heap_run **leaf = tsl_heap_source_take(self, 1, 1, flags);
    if (leaf == NULL)
        return false;
    tsl_heap_map_wipe(leaf, HEAP_LEAF_ENTRIES);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_needed = self->map_root[number] == self->map_none;
    if (is_needed) {
        TSL_ATOMIC_STORE_POINTER(&self->map_root[number], leaf);
        self->map_leaf_pages++;
        self->flight_pages--;
    }
    tsl_lock_release(&self->lock, pin);
    if (!is_needed)
        tsl_heap_source_give(self, leaf, 1);
    return true;
}

bool tsl_heap_map_prepare(struct tsl_heap *self, uintptr_t start, size_t pages, unsigned flags)
{
    size_t first = page_index(self, start) / HEAP_LEAF_ENTRIES;
    size_t last = (page_index(self, start) + pages - 1) / HEAP_LEAF_ENTRIES;

    for (size_t number = first; number <= last; number++)
        if (TSL_ATOMIC_LOAD_POINTER(&self->map_root[number]) == self->map_none &&
            !leaf_add(self, number, flags))
            return false;
    return true;
}

void tsl_heap_map_set(struct tsl_heap *self, uintptr_t start, size_t pages, struct heap_run *run)
{
    size_t index = page_index(self, start);

    if (TSL_HEAP_ARRAYS && !heap_is_in_window(self, start)) {
        struct heap_run **entry = tsl_heap_array_entry(tsl_heap_array_of(self, start), start);
        for (size_t i = 0; i < pages; i++)
            TSL_ATOMIC_STORE_POINTER(&entry[i], run);
        return;
    }
    for (size_t end = index + pages; index < end; index++) {
        struct heap_run **leaf = self->map_root[index / HEAP_LEAF_ENTRIES];
        TSL_ATOMIC_STORE_POINTER(&leaf[index % HEAP_LEAF_ENTRIES], run);
    }
}

bool tsl_heap_map_is_clear(const struct tsl_heap *self, uintptr_t start, size_t pages)
{
    for (size_t i = 0; i < pages; i++) {
        struct heap_run *run = heap_map_at(self, start + (i << TSL_PAGE_SHIFT));
        if (run != &tsl_heap_nowhere && run != &tsl_heap_returned)
            return false;
    }
    return true;
}
