/* SPDX-License-Identifier: MIT
 *
 * heap_pages.c: the debug tier's blocks: each in pages of its own, at their end, between two pages
 * without access.
 *
 * Owns:    the form of such a block.
 * Needs:   large blocks of the core, protect of the page source, heap_ledger.c (who knows them).
 * Callers: heap_guard.c.
 *
 *      | no access | pattern ... | block | pattern | no access |
 *
 * An object of size 0 is the second of two pages without access. What reads or writes behind the
 * block faults; the pattern behind it is what alignment costs, less
 * than TSL_HEAP_ALIGN bytes unless more was asked for. Freed, all of it has no access. When three
 * quarters of the heap are taken, blocks are slots again.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

static bool close_pages(struct tsl_heap *self, uintptr_t start, size_t pages)
{
    return tsl_heap_source_protect(self, (void *)start, pages);
}

static uintptr_t inner_end(const struct heap_entry *entry)
{
    return entry->base + ((entry->pages - 1) << TSL_PAGE_SHIFT);
}

void *tsl_heap_pages_alloc(struct tsl_heap *self, struct heap_entry *entry, size_t align,
                           unsigned flags)
{
    size_t bytes = entry->bytes;

    /* An object of size 0 would lie in the page behind it, where nobody can write, the heap
     * neither. */
    if (self->guard->tier < TSL_HEAP_TIER_DEBUG || self->source.protect == NULL || bytes == 0 ||
        (flags & TSL_HEAP_NO_WAIT) != 0 || align > TSL_PAGE_BYTES ||
        bytes > heap_ceiling_pages(self) << TSL_PAGE_SHIFT || !tsl_heap_has_addresses(self))
        return NULL;
    size_t span = tsl_align_up(bytes, align), pages = tsl_pages_of(span) + 2;
    void *base = tsl_heap_allocate_large(self, pages << TSL_PAGE_SHIFT, TSL_PAGE_BYTES, 0);
    if (base == NULL)
        return NULL;
    entry->base = (uintptr_t)base;
    entry->pages = pages;
    if (!close_pages(self, entry->base, 1) || !close_pages(self, inner_end(entry), 1)) {
        tsl_heap_pages_free(self, entry->base);
        entry->pages = 0;
        return NULL;
    }
    uintptr_t first = entry->base + TSL_PAGE_BYTES, block = inner_end(entry) - span;
    tsl_heap_fill(self, first, block - first);
    tsl_heap_fill(self, block + entry->bytes, span - entry->bytes);
    if ((flags & TSL_HEAP_ZERO) != 0)
        memset((void *)block, 0, entry->bytes);
    return (void *)block;
}

bool tsl_heap_pages_are_sound(struct tsl_heap *self, const struct heap_entry *entry)
{
    uintptr_t first = entry->base + TSL_PAGE_BYTES, behind = entry->address + entry->bytes;
    size_t before = entry->address - first, rest = inner_end(entry) - behind;
    size_t good = tsl_heap_filled(self, first, before);
    enum tsl_status status = TSL_OK;

    if (good < before)
        status =
            tsl_heap_accuse(self, TSL_CORRUPT, entry, "free of %p: written %zu bytes before it",
                            (void *)entry->address, before - good);
    else if ((good = tsl_heap_filled(self, behind, rest)) < rest)
        status =
            tsl_heap_accuse(self, TSL_CORRUPT, entry, "free of %p: written %zu bytes behind it",
                            (void *)entry->address, good + 1);
    return status == TSL_OK;
}

void tsl_heap_pages_close(struct tsl_heap *self, const struct heap_entry *entry)
{
    if (entry->pages > 2)
        (void)close_pages(self, entry->base + TSL_PAGE_BYTES, entry->pages - 2);
}

void tsl_heap_pages_free(struct tsl_heap *self, uintptr_t base)
{
    enum tsl_status status = tsl_heap_core_free(self, (void *)base, false);
    TSL_ASSERT(status == TSL_OK);
}
