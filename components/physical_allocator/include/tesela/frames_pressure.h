/* SPDX-License-Identifier: MIT
 *
 * frames_pressure.h: how short of frames the machine is, and a call when that changes.
 *
 * Owns:    watermarks and levels of an allocator.
 * Needs:   physical_allocator.h. It works when TSL_FRAME_WATERMARKS is on.
 * Callers: whoever makes frames free when they run short: demand paging, a kernel's own reclaim.
 *
 *   free frames >= high          PLENTY
 *   high > free >= low           PLENTY on the way down, LOW on the way up
 *   low > free >= min            LOW
 *   min > free                   MIN
 */
#ifndef TESELA_FRAMES_PRESSURE_H
#define TESELA_FRAMES_PRESSURE_H

#include <tesela/physical_allocator.h>

enum tsl_frames_level {
    TSL_LEVEL_PLENTY, /* nothing to do */
    TSL_LEVEL_LOW,    /* make frames free until it is PLENTY again */
    TSL_LEVEL_MIN,    /* who allocates had better help, or wait */
    TSL_LEVEL_COUNT
};

/* Frames; 0 < min <= low <= high. */
struct tsl_frames_watermarks {
    tsl_word min;
    tsl_word low;
    tsl_word high;
    /*
     * Called once for each change of level, on the CPU whose request made it, when that request is
     * done. Context: the caller's, with the locks that it holds; so it does not wait, and takes no
     * lock of a rank below frames. It may use the allocator, and is then called from within itself
     * if that changes the level. Calls on two CPUs may overtake each other: tsl_frames_level() is
     * what holds now.
     */
    void (*crossed)(void *context, enum tsl_frames_level level);
    void *context;
};

/*
 * Sets the watermarks, or takes them away (NULL); calls `crossed` if the level is not PLENTY.
 * Leaving PLENTY is noticed when a CPU needs another area or claim, so up to 512 frames a CPU late;
 * from then on every request is looked at.
 * Errors:  TSL_UNSUPPORTED (not compiled in), TSL_INVALID (not 0 < min <= low <= high, no
 *          callback), nothing changed.
 * Context: no other CPU is in the allocator.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_set_watermarks(struct tsl_frames *self,
                                                         const struct tsl_frames_watermarks *marks);

/* The present level; PLENTY without watermarks. Cost: O(1). */
enum tsl_frames_level tsl_frames_level(const struct tsl_frames *self);

#endif
