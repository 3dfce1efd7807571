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

/* Maps what there is of the pages from `*done` on in one word of the allocator's frames: one call
 * and one walk for up to 64 pages. */
static inline enum tsl_status map_word(struct tsl_table *table, struct tsl_frames *frames,
                                       const struct tsl_vm_run *span, size_t *done)
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

/* What is left to do when the first attempt did not back all: `done` pages are, and `status` is
 * what the last call said. */
TSL_NOINLINE static enum tsl_status back_rest(struct tsl_table *table, struct tsl_frames *frames,
                                              const struct tsl_vm_run *span, size_t done,
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
    const struct tsl_vm_run span = {start, pages, attributes};
    size_t done = 0;
    if (pages == 0)
        return TSL_OK;
    enum tsl_status status = map_word(table, frames, &span, &done);
    return done == pages ? TSL_OK : back_rest(table, frames, &span, done, status);
}

/* One large page at `at`, which is aligned to it. False: there is no such block, or no place for it
 * in the tables; nothing has changed. */
static bool map_block(struct tsl_table *table, struct tsl_frames *frames, tsl_vaddr at,
                      unsigned order, unsigned attributes)
{
    struct tsl_frame block;
    if (tsl_frames_alloc(frames, order, TSL_FRAMES_HIGH, &block) != TSL_OK)
        return false;
    if (tsl_table_map(table, at, tsl_frame_address(block), TSL_PAGE_BYTES << order,
                      attributes | TSL_MAP_LARGE) == TSL_OK)
        return true;
    TSL_ASSERT(tsl_frames_free(frames, block, order) == TSL_OK);
    return false;
}

enum tsl_status tsl_vm_back_large(struct tsl_table *table, struct tsl_frames *frames,
                                  const struct tsl_vm_run *run, unsigned order, size_t *out_large)
{
    const size_t block = (size_t)1 << order;
    size_t large = 0;
    bool has_blocks = true; /* none left once: few are likely to be, and looking for them is slow */
    for (size_t done = 0, piece; done < run->pages; done += piece) {
        tsl_vaddr at = run->start + done * TSL_PAGE_BYTES;
        size_t left = run->pages - done;
        piece = block - ((at >> TSL_PAGE_SHIFT) & (block - 1u));
        if (has_blocks && piece == block && left >= block) {
            has_blocks = map_block(table, frames, at, order, run->attributes);
            large += has_blocks ? block : 0;
            if (has_blocks)
                continue;
        }
        piece = piece < left ? piece : left;
        enum tsl_status status = tsl_vm_back(table, frames, at, piece, run->attributes);
        if (status != TSL_OK) {
            TSL_ASSERT(tsl_vm_unback(table, run->start, done) == TSL_OK);
            return status;
        }
    }
    *out_large = large;
    return TSL_OK;
}

enum tsl_status tsl_vm_unback(struct tsl_table *table, tsl_vaddr start, size_t pages)
{
    if (pages == 0)
        return TSL_OK;
    /* Of two that unback the same pages the table lets one through. */
    return tsl_table_unmap(table, start, pages * TSL_PAGE_BYTES, TSL_UNMAP_FREE, NULL);
}
