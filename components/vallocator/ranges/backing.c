/* SPDX-License-Identifier: MIT
 *
 * backing.c: gives frames to a run of pages, and takes them back.
 *
 * Owns:    nothing that lasts.
 * Needs:   page_table, physical_allocator.
 * Callers: ranges.c and backed_range.c. The caller owns the addresses meanwhile, so no lock of ours
 *          is needed.
 */
#include "ranges_internal.h"

#include <tesela/bits.h>

struct span {
    tsl_vaddr start;
    size_t pages;
    unsigned attributes;
};

/* Maps what there is of the pages from `*done` on in one word of the allocator's frames: one call
 * and one walk for up to 64 pages. */
static inline enum tsl_status map_word(struct tsl_table *table, struct tsl_frames *frames,
                                       const struct span *span, size_t *done)
{
    struct tsl_frame first;
    tsl_word taken = tsl_frames_alloc_word(frames, 0, span->pages - *done, &first);
    if (taken == 0)
        return TSL_NO_MEMORY;
    enum tsl_status status = tsl_table_map_word(table, span->start + *done * TSL_PAGE_BYTES, first,
                                                taken, span->attributes);
    if (status == TSL_OK)
        *done += tsl_bits_count(taken);
    else
        TSL_ASSERT(tsl_frames_free_word(frames, first, taken) == TSL_OK);
    return status;
}

/* What is left to do when the first attempt did not back all: `done` pages are, and `status` is what
 * the last call said. */
TSL_NOINLINE static enum tsl_status back_rest(struct tsl_table *table, struct tsl_frames *frames,
                                              const struct span *span, size_t done,
                                              enum tsl_status status)
{
    bool trimmed = false;
    for (;;) {
        if (status == TSL_NO_MEMORY && !trimmed) {
            trimmed = true; /* the table may keep empty tables for better days */
            tsl_table_trim(table);
        } else if (status != TSL_OK) {
            TSL_ASSERT(tsl_vm_unback(table, span->start, done) == TSL_OK);
            return status;
        }
        if (done == span->pages)
            return TSL_OK;
        status = map_word(table, frames, span, &done);
    }
}

enum tsl_status tsl_vm_back(struct tsl_table *table, struct tsl_frames *frames, tsl_vaddr start,
                            size_t pages, unsigned attributes)
{
    const struct span span = {start, pages, attributes};
    size_t done = 0;
    if (pages == 0)
        return TSL_OK;
    enum tsl_status status = map_word(table, frames, &span, &done);
    return done == pages ? TSL_OK : back_rest(table, frames, &span, done, status);
}

enum tsl_status tsl_vm_unback(struct tsl_table *table, tsl_vaddr start, size_t pages)
{
    if (pages == 0)
        return TSL_OK;
    /* Of two that unback the same pages the table lets one through. */
    return tsl_table_unmap(table, start, pages * TSL_PAGE_BYTES, TSL_UNMAP_FREE, NULL);
}
