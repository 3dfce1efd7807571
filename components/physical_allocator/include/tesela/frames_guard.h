/* SPDX-License-Identifier: MIT
 *
 * frames_guard.h: free frames that show who wrote to them, and who owns the others.
 *
 * Owns:    what is kept of each frame for that; nothing of it exists unless one of FRAME_POISON,
 *          FRAME_ZERO_ON_FREE and FRAME_OWNERS is configured.
 * Needs:   physical_allocator.h.
 * Callers: the monitor, a debugger, reports.
 *
 * TSL_FRAME_POISON: a frame that comes back is filled with a pattern that depends on its address,
 * and looked at before it is given out again. TSL_FRAME_ZERO_ON_FREE: it is filled with zeros, and
 * TSL_FRAMES_ZERO does not fill it once more. With both, the zeros are the pattern. Frames out of
 * the reach of phys_to_virt are not filled, nor are those that have never been given out.
 */
#ifndef TESELA_FRAMES_GUARD_H
#define TESELA_FRAMES_GUARD_H

#include <tesela/physical_allocator.h>

/* How a frame was taken. */
enum tsl_frames_way {
    TSL_FRAMES_BY_BLOCK = 1, /* tsl_frames_alloc */
    TSL_FRAMES_BY_BULK,      /* tsl_frames_alloc_bulk, _alloc_word */
    TSL_FRAMES_BY_RUN,
    TSL_FRAMES_BY_RESERVE,
};

struct tsl_frames_owner {
    uintptr_t site; /* the code address behind the call that took it; where a linker inlined that
                       call, behind the call of the function that it stands in */
    unsigned order; /* of its block; 0 for all but TSL_FRAMES_BY_BLOCK */
    enum tsl_frames_way way;
    bool is_first; /* the first frame of what that call took */
};

struct tsl_frames_guard_stats {
    tsl_word overwritten; /* frames that were written to while they were free */
    tsl_word kept_aside;  /* those of them that nobody will be given */
};

/*
 * Who took a frame. The frames that the allocator keeps for itself, early ones and those of banks
 * that are off have no owner.
 * Errors:  TSL_UNSUPPORTED (no TSL_FRAME_OWNERS), TSL_FOREIGN (not managed), TSL_NOT_FOUND (free,
 *          or without owner); `out` untouched.
 * Cost:    O(log ranges).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_owner(const struct tsl_frames *self,
                                                struct tsl_frame frame,
                                                struct tsl_frames_owner *out);

/*
 * Writes one line for each place in the code that took frames: frames, and calls' worth of them.
 * Context: others may allocate meanwhile; what they change may be counted or not.
 * Cost:    O(frames x places / 16); half a kilobyte of stack.
 */
void tsl_frames_owners_dump(const struct tsl_frames *self, const struct tsl_sink *sink);

/* Fills *out; with zeros if nothing is configured. */
void tsl_frames_guard_stats(const struct tsl_frames *self, struct tsl_frames_guard_stats *out);

#endif
