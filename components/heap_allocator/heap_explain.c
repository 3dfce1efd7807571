/* SPDX-License-Identifier: MIT
 *
 * heap_explain.c: what the heap knows of an address that faulted.
 *
 * Owns:    the wording.
 * Needs:   the page map.
 * Callers: page-fault handlers (tsl_heap_explain).
 */
#include <tesela/heap_hardening.h>

#include "heap_allocator_internal.h"

/* How far behind a block an access is still blamed on it. */
#define PAGES_LOOKED_BACK 16u

static bool is_run(const struct heap_run *run)
{
    return run != &tsl_heap_nowhere && run != &tsl_heap_returned;
}

bool tsl_heap_explain(struct tsl_heap *self, uintptr_t address)
{
    const struct heap_run *here = heap_map_at(self, address);
    const struct heap_run *run = &tsl_heap_nowhere;
    enum tsl_status status;

    if (is_run(here))
        return false; /* The page is there: the fault was about something else. */
    for (uintptr_t pages = 1; pages <= PAGES_LOOKED_BACK && !is_run(run); pages++)
        run = heap_map_at(self, address - (pages << TSL_PAGE_SHIFT));
    if (here == &tsl_heap_returned)
        status = tsl_refuse(&self->refusals, TSL_DENIED,
                            "heap %p: access to %#zx, in pages that were freed", (void *)self,
                            (size_t)address);
    else if (is_run(run))
        status = tsl_refuse(&self->refusals, TSL_DENIED,
                            "heap %p: access to %#zx, behind the %zu pages at %#zx", (void *)self,
                            (size_t)address, (size_t)run->pages, (size_t)run->start);
    else
        return false;
    (void)status;
    return true;
}
