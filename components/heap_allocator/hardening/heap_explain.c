/* SPDX-License-Identifier: MIT
 *
 * heap_explain.c: what the heap knows of an address that faulted.
 *
 * Owns:    the wording.
 * Needs:   the page map; heap_ledger.c.
 * Callers: page-fault handlers (tsl_heap_explain).
 */
#include <tesela/heap_hardening.h>

#include "../heap_allocator_internal.h"

/* How far behind a block an access is still blamed on it. */
#define PAGES_LOOKED_BACK 16u

/* The debug tier's pages belong to a block, freed or live. */
static bool explain_entry(struct tsl_heap *self, uintptr_t address)
{
    const struct heap_entry *entry = TSL_HEAP_SITES ? tsl_heap_ledger_around(self, address) : NULL;
    enum tsl_status status;

    if (entry == NULL || entry->pages == 0)
        return false;
    if (entry->state == HEAP_ENTRY_LIVE && entry->bytes == 0)
        status = tsl_heap_accuse(self, TSL_DENIED, entry, "access to %p, an object of size 0",
                                 (void *)address);
    else if (entry->state != HEAP_ENTRY_LIVE)
        status = tsl_heap_accuse(self, TSL_DENIED, entry, "access to %p after it was freed",
                                 (void *)address);
    else if (address < entry->address)
        status = tsl_heap_accuse(self, TSL_DENIED, entry, "access to %p, %zu bytes before %p",
                                 (void *)address, (size_t)(entry->address - address),
                                 (void *)entry->address);
    else
        status = tsl_heap_accuse(
            self, TSL_DENIED, entry, "access to %p, %zu bytes behind %p", (void *)address,
            (size_t)(address - entry->address - entry->bytes + 1), (void *)entry->address);
    (void)status;
    return true;
}

/* The full tier's large blocks: without access when freed, and the page behind them always. */
static bool explain_large(struct tsl_heap *self, uintptr_t address, uintptr_t start, size_t pages)
{
    size_t room = HEAP_GUARDED ? tsl_heap_room(self, true, pages << TSL_PAGE_SHIFT) : 0;
    enum tsl_status status;

    if (self->guard->tier < TSL_HEAP_TIER_FULL || self->source.protect == NULL)
        return false;
    if (address - start >= room)
        status = tsl_heap_accuse(self, TSL_DENIED, NULL, "access to %p, behind the %zu bytes at %p",
                                 (void *)address, room, (void *)start);
    else
        status = tsl_heap_accuse(self, TSL_DENIED, NULL,
                                 "access to %p after the %zu bytes at %p were freed",
                                 (void *)address, room, (void *)start);
    (void)status;
    return true;
}

/* An object of size 0, in pages that nobody can read or write. */
static bool explain_zero(struct tsl_heap *self, uintptr_t address)
{
    uintptr_t object = address / TSL_HEAP_ALIGN * TSL_HEAP_ALIGN;
    struct heap_entry *entry = TSL_HEAP_SITES ? tsl_heap_ledger_around(self, object) : NULL;
    struct heap_spot spot;
    bool is_live = tsl_heap_locate(self, (void *)object, &spot) == TSL_OK;
    enum tsl_status status =
        tsl_heap_accuse(self, TSL_DENIED, entry, "access to %p, %s of size 0", (void *)address,
                        is_live ? "an object" : "where there was or will be an object");
    (void)status;
    return true;
}

/* The page behind a slab, with the full tier. Which of its blocks was left cannot be told: the last
 * one is the nearest. */
static bool explain_slab(struct tsl_heap *self, uintptr_t address, const struct heap_run *run)
{
    size_t block_bytes = self->classes[run->class_index].block_bytes;
    uintptr_t last = run->start + (run->blocks - 1u) * block_bytes;
    const struct heap_entry *entry = TSL_HEAP_SITES ? tsl_heap_ledger_around(self, last) : NULL;
    enum tsl_status status;

    if (address < last + block_bytes)
        return false;
    status = tsl_heap_accuse(self, TSL_DENIED, entry,
                             "access to %p, behind the blocks of %zu bytes from %p on",
                             (void *)address, block_bytes, (void *)run->start);
    (void)status;
    return true;
}

static bool is_run(const struct heap_run *run)
{
    return run != &tsl_heap_nowhere && run != &tsl_heap_returned;
}

static const struct heap_run *run_at(const struct tsl_heap *self, uintptr_t address)
{
    tsl_pin pin = tsl_cpu_pin();
    const struct heap_run *run = heap_map_at(self, address);

    tsl_cpu_unpin(pin);
    return run;
}

bool tsl_heap_explain(struct tsl_heap *self, uintptr_t address)
{
    const struct heap_run *here = run_at(self, address), *run = &tsl_heap_nowhere;
    enum tsl_status status;

    if (TSL_HEAP_SITES && explain_entry(self, address))
        return true;
    if (is_run(here) && heap_is_zero(here))
        return explain_zero(self, address);
    /* The pages are there: it was about something else, unless they are closed. */
    if (is_run(here) && heap_is_slab(here))
        return HEAP_GUARDED && explain_slab(self, address, here);
    if (is_run(here))
        return HEAP_GUARDED && here->class_index == HEAP_LARGE &&
               explain_large(self, address, here->start, here->pages);
    for (uintptr_t pages = 1; pages <= PAGES_LOOKED_BACK && !is_run(run); pages++)
        run = run_at(self, address - (pages << TSL_PAGE_SHIFT));
    if (here == &tsl_heap_returned)
        status = tsl_heap_accuse(self, TSL_DENIED, NULL, "access to %p, in pages that were freed",
                                 (void *)address);
    else if (is_run(run))
        status = tsl_heap_accuse(self, TSL_DENIED, NULL, "access to %p, behind the %zu pages at %p",
                                 (void *)address, (size_t)run->pages, (void *)run->start);
    else
        return false;
    (void)status;
    return true;
}
