/* SPDX-License-Identifier: MIT
 *
 * frames_banks.h: banks of RAM, and switching off those that nobody uses.
 *
 * Owns:    which banks of an allocator are off.
 * Needs:   physical_allocator.h. It works when TSL_FRAME_BANKS is on.
 * Callers: a kernel whose memory controller can stop refreshing a part of the RAM.
 *
 * Frames are taken from the lowest area of a zone that has room, so that banks fill one after the
 * other by themselves. A bank that is off has all its frames taken, as if they were reserved;
 * its contents are lost. Who finds no memory switches the lowest such bank on and looks again.
 */
#ifndef TESELA_FRAMES_BANKS_H
#define TESELA_FRAMES_BANKS_H

#include <tesela/physical_allocator.h>

#define TSL_FRAMES_MAX_BANKS 32u

/* What the hardware does. */
struct tsl_frames_bank_switch {
    /*
     * Switches a bank. False: it could not, and the bank stays as it is.
     * Context: interrupts off, one call at a time; may not use the allocator.
     */
    bool (*switch_bank)(void *context, unsigned bank, bool on);
    void *context;
};

struct tsl_frames_bank_stats {
    tsl_paddr start;
    tsl_paddr end;
    tsl_word total; /* frames managed */
    tsl_word free;  /* 0 while it is off */
    bool is_on;
};

/*
 * Divides RAM into banks of `bytes`, from `first` on. RAM outside of the first 32 belongs to none.
 * Errors:  nothing changed: TSL_UNSUPPORTED (not compiled in), TSL_INVALID (bytes or first no
 *          multiple of 2 MiB, 0 bytes, no function, no RAM from `first` on), TSL_BUSY (one is off).
 * Context: no other CPU is in the allocator.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_set_banks(struct tsl_frames *self, tsl_paddr first,
                                                    tsl_paddr bytes,
                                                    const struct tsl_frames_bank_switch *hardware);

/* How many banks there are. */
unsigned tsl_frames_bank_count(const struct tsl_frames *self);

/* Fills *out. Errors: TSL_INVALID (no such bank). Cost: O(bitmap words of the bank). */
TSL_MUST_CHECK enum tsl_status tsl_frames_bank_stats(const struct tsl_frames *self, unsigned bank,
                                                     struct tsl_frames_bank_stats *out);

/*
 * Switches off banks of which no frame is in use, the highest first, as long as `keep` free frames
 * remain in the others. For idle moments. A bank with a part of the allocator's metadata or with
 * absent RAM in it, or without RAM, stays on. Returns how many were switched off.
 * Context: as tsl_frames_alloc(). Cost: O(bitmap words).
 */
unsigned tsl_frames_banks_rest(struct tsl_frames *self, tsl_word keep);

#endif
