/* SPDX-License-Identifier: MIT
 *
 * space_locked.c: pages that are there and stay in memory.
 *
 * Owns:    tsl_space_lock_pages, tsl_space_unlock_pages.
 * Needs:   space_fault.c (populate), space_advise.c (marking a range).
 * Callers: the kernel (mlock).
 *
 * A locked region is marked and counted. Whoever evicts leaves its pages alone: their entries stay,
 * and so do their frames' map counts.
 */
#include "space_internal.h"

/* Whether every page of the range that may be accessed at all has an entry. */
static bool all_present(struct tsl_space *self, size_t start, size_t end)
{
    struct tsl_mapping entry;
    for (const struct tsl_region *region = tsl_regions_from(&self->regions, start);
         region && region->start < end; region = tsl_regions_next(region)) {
        size_t page = region->start > start ? region->start : start;
        size_t last = tsl_region_end(region) < end ? tsl_region_end(region) : end;
        for (; region->rights & TSL_READ && page < last; page++)
            if (tsl_table_query(&self->table, tsl_space_address(page), &entry) != TSL_OK)
                return false;
    }
    return true;
}

enum tsl_status tsl_space_check_lockable(struct tsl_space *self, size_t start, size_t end)
{
    size_t limit = self->limits.locked;
    size_t more = end - start - tsl_space_sum(self, start, end).locked;
    if (limit && (self->locked > limit || more > limit - self->locked))
        return TSL_LIMIT;
    return all_present(self, start, end) ? TSL_OK : TSL_BUSY;
}

enum tsl_status tsl_space_lock_pages(struct tsl_space *self, tsl_vaddr start, size_t bytes)
{
    size_t first, end;
    enum tsl_status status = tsl_space_check_range(self, "lock", start, bytes, &first, &end);
    if (status != TSL_OK)
        return status;
    do { /* between the two others may take a page away again */
        status = tsl_space_populate(self, start, bytes);
        if (status != TSL_OK)
            break; /* a pager may say TSL_BUSY too */
        status = tsl_space_mark(self, first, end, TSL_SPACE_LOCKED, true);
    } while (status == TSL_BUSY);
    if (status != TSL_LIMIT)
        return status;
    return tsl_refuse(&self->refusals, status, "space: lock of %#zx bytes at %#zx", bytes,
                      (size_t)start);
}

enum tsl_status tsl_space_unlock_pages(struct tsl_space *self, tsl_vaddr start, size_t bytes)
{
    size_t first, end;
    enum tsl_status status = tsl_space_check_range(self, "unlock", start, bytes, &first, &end);
    if (status != TSL_OK)
        return status;
    status = tsl_space_mark(self, first, end, TSL_SPACE_LOCKED, false);
    if (status == TSL_OK || status == TSL_NO_MEMORY)
        return status;
    return tsl_refuse(&self->refusals, status, "space: unlock of %#zx bytes at %#zx", bytes,
                      (size_t)start);
}
