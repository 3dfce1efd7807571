/* SPDX-License-Identifier: MIT
 *
 * backing.c: gives frames to a run of pages, and takes them back.
 *
 * Owns:    nothing that lasts.
 * Needs:   page_table, physical_allocator.
 * Callers: ranges.c and backed_range.c. The caller owns the addresses meanwhile, so no lock of ours
 *          is needed.
 */
#include "vallocator_internal.h"

/*
 * Frames are asked for in blocks of up to 16: one call and one walk for 64 KiB. Not more, since
 * larger blocks would be taken from memory that huge pages want, for no further gain: the walk is a
 * small part of the cost from here on.
 */
enum { LARGEST_ORDER = 4 };

static unsigned order_for(size_t pages)
{
    unsigned order = 0;
    while (order < LARGEST_ORDER && ((size_t)2 << order) <= pages)
        order++;
    return order;
}

static enum tsl_status map_block(struct tsl_table *table, struct tsl_frames *frames,
                                 tsl_vaddr address, unsigned order, unsigned attributes)
{
    struct tsl_frame frame;
    enum tsl_status status = tsl_frames_alloc(frames, order, 0, &frame);
    if (status != TSL_OK)
        return status;
    status = tsl_table_map(table, address, tsl_frame_address(frame),
                           (size_t)TSL_PAGE_BYTES << order, attributes);
    if (status != TSL_OK) {
        enum tsl_status freed = tsl_frames_free(frames, frame, order);
        TSL_ASSERT(freed == TSL_OK);
    }
    return status;
}

enum tsl_status tsl_vm_back(struct tsl_table *table, struct tsl_frames *frames, tsl_vaddr start,
                            size_t pages, unsigned attributes)
{
    size_t done = 0;
    unsigned order = LARGEST_ORDER;
    bool trimmed = false;
    while (done < pages) {
        if (order > order_for(pages - done))
            order = order_for(pages - done);
        enum tsl_status status =
            map_block(table, frames, start + done * TSL_PAGE_BYTES, order, attributes);
        if (status == TSL_OK) {
            done += (size_t)1 << order;
        } else if (status == TSL_NO_MEMORY && order > 0) {
            order--; /* memory is in pieces: go on with smaller ones */
        } else if (status == TSL_NO_MEMORY && !trimmed) {
            trimmed = true; /* the table may keep empty tables for better days */
            tsl_table_trim(table);
        } else {
            TSL_ASSERT(tsl_vm_unback(table, start, done) == TSL_OK);
            return status;
        }
    }
    return TSL_OK;
}

enum tsl_status tsl_vm_unback(struct tsl_table *table, tsl_vaddr start, size_t pages)
{
    if (pages == 0)
        return TSL_OK;
    /* Of two that unback the same pages the table lets one through. */
    return tsl_table_unmap(table, start, pages * TSL_PAGE_BYTES, TSL_UNMAP_FREE, NULL);
}
