/* SPDX-License-Identifier: MIT
 *
 * heap_profile.h: how long a heap takes, and how well it uses its memory.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator.h, heap_report.h; HEAP_PROFILE, without which these functions are not in
 *          the library (call them within `if (TSL_HEAP_PROFILE)`), and for times a clock
 *          (tsl_heap_harden).
 * Callers: anyone who may call the heap.
 */
#ifndef TESELA_HEAP_PROFILE_H
#define TESELA_HEAP_PROFILE_H

#include <stdint.h>

#include <tesela/format.h>
#include <tesela/heap_allocator.h>

/* Times of at most 2^(i+1) - 1 units of the clock are in bucket i; the last has all longer ones. */
#define TSL_HEAP_TIMES 24u

struct tsl_heap_profile {
    uint64_t allocs[TSL_HEAP_TIMES]; /* how many took that long, those that failed too; resizes and
                                      * objects of typed caches count with them */
    uint64_t frees[TSL_HEAP_TIMES];
};

/* Copies the histogram into *out. All zero without a clock. */
void tsl_heap_profile(struct tsl_heap *self, struct tsl_heap_profile *out);

/* Shares of a heap's memory in percent. */
struct tsl_heap_shares {
    /* Of what blocks got, that nobody asked for (internal fragmentation). With HEAP_SITES of the
     * blocks that are live, with all that hardening puts around them; without, of all blocks ever
     * taken, and what hardening adds counts as asked for. */
    unsigned unasked;
    /* Of the pages taken, bookkeeping aside, that no block uses (external fragmentation). */
    unsigned unused;
};

/* Cost: of the figures; with HEAP_SITES live blocks, under a lock that allocations wait for. */
void tsl_heap_shares(struct tsl_heap *self, struct tsl_heap_shares *out);

/*
 * Prints the histogram, the two shares, the call sites with most bytes and those with most blocks
 * (HEAP_SITES), and the use of each class and typed cache.
 */
void tsl_heap_print_profile(struct tsl_heap *self, const struct tsl_sink *sink);

#endif
