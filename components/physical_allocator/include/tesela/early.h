/* SPDX-License-Identifier: MIT
 *
 * early.h: memory before there is a frame allocator: taken from the map, never given back here.
 *
 * Owns:    struct tsl_early: which bytes have been handed out.
 * Needs:   kernel_layout (the map).
 * Callers: boot code, on the boot CPU, between the making of the map and tsl_frames_create(), which
 *          takes over: with tsl_frames_config.early the frames handed out here are managed,
 *          reserved, and can be given back with tsl_frames_release() when boot is over; only whole
 *          frames that no other request shares, since a released range is rounded outwards.
 *
 * Bytes come from the top of the highest usable range that has room, downwards, so that low memory
 * is spared; what lies between two requests for the sake of alignment is lost.
 */
#ifndef TESELA_EARLY_H
#define TESELA_EARLY_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/memory_map.h>
#include <tesela/status.h>
#include <tesela/types.h>

#define TSL_EARLY_PIECES 16u

struct tsl_early {
    const struct tsl_memory_map *map;
    /* Disjoint. Requests that lie less than a page apart are one piece. */
    struct {
        tsl_paddr start;
        tsl_paddr end; /* exclusive */
    } pieces[TSL_EARLY_PIECES];
    unsigned piece_count;
    bool is_sealed; /* the frame allocator has taken over */
    uint64_t bytes; /* handed out, without gaps */
    tsl_word requests;
    struct tsl_refusals refusals;
};

/*
 * Nothing handed out yet.
 * Before:  the map is in order and stays as it is until tsl_frames_create().
 */
void tsl_early_init(struct tsl_early *self, const struct tsl_memory_map *map);

/*
 * Takes `bytes` bytes at a multiple of `align`, wholly below `limit` (0: anywhere); their contents
 * are undefined, and they may be out of phys_to_virt's reach if `limit` is. Never frame 0.
 * Errors:  nothing changed: TSL_INVALID (0 bytes, alignment no power of two), TSL_NO_MEMORY,
 *          TSL_LIMIT (16 pieces are in use), TSL_DENIED (sealed). All are counted and logged.
 * Cost:    O(ranges of the map x pieces).
 */
TSL_MUST_CHECK enum tsl_status tsl_early_alloc(struct tsl_early *self, uint64_t bytes,
                                               uint64_t align, tsl_paddr limit, tsl_paddr *out);

/* Refuses all further requests. tsl_frames_create() does it when it succeeds. */
void tsl_early_seal(struct tsl_early *self);

/* Serves requests again, as if the allocator that took over had never been. Before: it has been
 * abandoned (tsl_frames_abandon()), and nobody has a frame of it. */
void tsl_early_unseal(struct tsl_early *self);

#endif
