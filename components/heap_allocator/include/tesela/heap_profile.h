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
    uint32_t allocs[TSL_HEAP_TIMES]; /* how many took that long; resizes count with allocations */
    uint32_t frees[TSL_HEAP_TIMES];
};

/* Copies the histogram into *out. All zero without a clock. */
void tsl_heap_profile(struct tsl_heap *self, struct tsl_heap_profile *out);

/*
 * Prints the histogram, the call sites with most bytes (HEAP_SITES), the use of each class, and two
 * shares: of what blocks got, that nobody asked for (internal fragmentation); of the pages taken,
 * that no block uses (external).
 */
void tsl_heap_print_profile(struct tsl_heap *self, const struct tsl_sink *sink);

#endif
