/* SPDX-License-Identifier: MIT
 *
 * frames_flat.h: the frame allocator of the smallest kernels: flat bitmaps under one lock.
 *
 * Owns:    struct tsl_frames of this core.
 * Needs:   base, kernel_layout, the public headers. With FRAME_CORE_FLAT only.
 * Callers: the files of this core: frames_flat.c (taking and giving), frames_flat_create.c (from a
 *          map to an allocator), frames_flat_ranges.c (runs, ranges, lists), frames_flat_report.c
 *          (figures, self-check), frames_flat_refusals.c (what it has not).
 *
 * A bit a frame from address 0 to the end of RAM says whether it is managed, another whether it is
 * free, and a bit an area whether it was taken as a whole. Holes cost as much as RAM.
 */
#ifndef TESELA_FRAMES_FLAT_H
#define TESELA_FRAMES_FLAT_H

#include <tesela/bits.h>
#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/lock.h>
#include <tesela/physical_allocator.h>
#include <tesela/port_inline.h>

#define FLAT_MAGIC ((tsl_word)0x746c6166u)

/* The part of a zone that has RAM; frame numbers. */
struct flat_zone {
    tsl_word first; /* constant, as end and total; first == end: none */
    tsl_word end;
    tsl_word total;
    tsl_word free;
    tsl_word lowest;  /* no frame of the zone below it is free */
    tsl_word reserve; /* constant; for requests that no higher zone can serve */
};

/* Under the lock, but for what is constant. */
struct tsl_frames {
    tsl_word magic;
    struct tsl_lock lock;
    tsl_word *managed; /* constant pointers and bits: 1 = an allocator's frame */
    tsl_word *free;    /* 1 = free */
    tsl_word *huge;    /* a bit an area: it was taken as a whole, or as part of a larger run */
    tsl_word end;      /* frames that the bitmaps have; constant, as the next five */
    tsl_word direct_end;
    tsl_word reserves[2]; /* all but EXIT leave [0], ordinary requests [0] + [1] */
    tsl_paddr metadata_start;
    tsl_word metadata_frames;
    tsl_word ignored;
    tsl_word low_end; /* LOW frames end here */
    tsl_word total;   /* constant */
    tsl_word free_count;
    tsl_word peak;
    tsl_word reserved;
    tsl_word failures[TSL_FRAMES_MAX_ORDER + 1]; /* atomic, as the next two */
    tsl_word run_failures;
    struct tsl_refusals refusals;
    struct flat_zone zone[TSL_ZONE_COUNT];
};

/* frames_flat.c. "=> locked": the caller holds the lock. */

/* Where the flags end: the first frame number that they do not admit. */
tsl_word tsl_flat_limit(const struct tsl_frames *self, unsigned flags);
/* How many frames a request with these flags has to leave. */
tsl_word tsl_flat_kept(const struct tsl_frames *self, unsigned flags);
enum tsl_status tsl_flat_check_flags(struct tsl_frames *self, unsigned flags);
/* => locked. How many frames a zone has for a request that ends at `limit`. */
tsl_word tsl_flat_zone_spare(const struct tsl_frames *self, unsigned zone, tsl_word limit,
                             unsigned flags);
/* tsl_frames_alloc(); is_counted: that there is none is a failure. Lock not held. */
enum tsl_status tsl_flat_alloc(struct tsl_frames *self, unsigned order, unsigned flags,
                               bool is_counted, struct tsl_frame *out);
/* => locked. Free frames are taken. is_huge: whole areas of them are remembered as such. */
void tsl_flat_take(struct tsl_frames *self, tsl_word first, tsl_word count, bool is_huge);
/* => locked. Frames that are taken become free. */
void tsl_flat_give(struct tsl_frames *self, tsl_word first, tsl_word count);
/* => locked. Whether these frames can be given as what they were taken; else why not. */
enum tsl_status tsl_flat_check(const struct tsl_frames *self, tsl_word first, tsl_word count);
/* Gives frames, or says why not. Lock not held. */
enum tsl_status tsl_flat_free(struct tsl_frames *self, tsl_word first, tsl_word count);
/* Counts and logs a refusal. */
TSL_COLD enum tsl_status tsl_flat_refuse(struct tsl_frames *self, enum tsl_status status,
                                         tsl_word first, tsl_word count);
void tsl_flat_fill_zero(struct tsl_frame first, tsl_word count);

/* frames_flat_ranges.c. => nobody else uses the allocator. Managed frames of [start, end), that are
 * free, become reserved ones. */
void tsl_flat_reserve_free(struct tsl_frames *self, tsl_paddr start, tsl_paddr end);

/* early.c. */
tsl_paddr tsl_early_place(const struct tsl_early *self, uint64_t bytes, uint64_t align,
                          tsl_paddr limit);

#endif
