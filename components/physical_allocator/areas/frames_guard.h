/* SPDX-License-Identifier: MIT
 *
 * frames_guard.h: what the allocator tells its guard, and when.
 *
 * Owns:    struct frames_guard.
 * Needs:   the internal header.
 * Callers: the .c files of this component, behind `if (FRAMES_GUARDED)`, and its tests.
 */
#ifndef TSL_FRAMES_GUARD_INTERNAL_H
#define TSL_FRAMES_GUARD_INTERNAL_H

#include "../physical_allocator_internal.h"

#include <tesela/frames_guard.h>

/* What a frame holds. */
#define FRAME_UNKNOWN 0u
#define FRAME_FILLED  1u /* free, and filled when it came back */
#define FRAME_KEPT    2u /* overwritten while it was free; taken for good */
#define FRAME_RESERVED                                                                             \
    3u /* by tsl_frames_reserve, or by ourselves: absent, early, in a bank that is off */

/* By index. A frame's entries are its owner's, or with the frame on their way, so plain stores
 * do. */
struct frames_guard {
    uint8_t *contents;
    uint8_t *marks;  /* 0: no owner; else see frames_owners.c */
    tsl_word *sites; /* call sites; both NULL without TSL_FRAME_OWNERS */
    tsl_word overwritten;
    tsl_word kept; /* atomic, both */
};

/* Who takes frames. */
struct frames_taker {
    tsl_word site; /* 0: we ourselves */
    unsigned order;
    enum tsl_frames_way way;
};

#define FRAMES_TAKER(way_, order_)                                                                 \
    ((struct frames_taker){(tsl_word)TSL_RETURN_ADDRESS(), (order_), (way_)})

/* ---- frames_guard.c ---- */

/* The flags with which the core is asked: zeros are filled in by the guard, after its look. */
static inline unsigned guard_flags(unsigned flags)
{
    return (flags & TSL_FRAMES_LOW) != 0 ? flags & ~(unsigned)TSL_FRAMES_ZERO : flags;
}

/* Looks at frames that were just taken. False: some were overwritten and are kept aside, the others
 * are free again. True: they are the taker's, with zeros if the flags say so. */
bool tsl_frames_guard_took(struct tsl_frames *self, tsl_word number, tsl_word count, unsigned flags,
                           const struct frames_taker *taker);
/* A caller says that it gives frames back. Fills them, if that is so; false if one of them was kept
 * aside or reserved, and so is not the caller's. Before: not given back yet. */
bool tsl_frames_guard_gives(struct tsl_frames *self, tsl_word number, tsl_word count);
/* Indexes that were reserved, whatever they hold: their contents are looked at and told only. */
void tsl_frames_guard_reserved(struct tsl_frames *self, tsl_word index, tsl_word count,
                               tsl_word site);
/* Indexes that are about to be released. fills: their contents exist and were somebody's. */
void tsl_frames_guard_released(struct tsl_frames *self, tsl_word index, tsl_word count, bool fills);
/* Rule 17; see the README. */
struct tsl_defect tsl_frames_guard_verify(const struct tsl_frames *self);

/* ---- frames_owners.c; nothing without TSL_FRAME_OWNERS ---- */

void tsl_frames_owners_set(struct tsl_frames *self, tsl_word index, tsl_word count,
                           const struct frames_taker *taker);
void tsl_frames_owners_clear(struct tsl_frames *self, tsl_word index, tsl_word count);
/* A block became single frames. */
void tsl_frames_owners_split(struct tsl_frames *self, tsl_word index, tsl_word count);

#endif
