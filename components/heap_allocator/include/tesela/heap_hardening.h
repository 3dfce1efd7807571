/* SPDX-License-Identifier: MIT
 *
 * heap_hardening.h: what a heap does about misuse beyond refusing bad frees.
 *
 * Owns:    the names of the tiers.
 * Needs:   heap_allocator.h.
 * Callers: whoever makes a heap; page-fault handlers (tsl_heap_explain).
 */
#ifndef TESELA_HEAP_HARDENING_H
#define TESELA_HEAP_HARDENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/heap_allocator.h>

/* Each tier does what those before it do. */
enum tsl_heap_tier {
    TSL_HEAP_TIER_NONE,     /* bad frees are refused and counted, without a line in the log */
    TSL_HEAP_TIER_BASIC,    /* and reported */
    TSL_HEAP_TIER_MODERATE, /* canaries, cleared when freed, looked at before they are reused */
    TSL_HEAP_TIER_FULL,     /* quarantine; large blocks and slabs end at a page without access */
    TSL_HEAP_TIER_DEBUG,    /* a block a page, between pages without access; who took, who freed */
};

struct tsl_heap_hardening {
    /* At most the tier of the configuration (HEAP_HARDENING). */
    enum tsl_heap_tier tier;
    /* Below the moderate tier: keep call sites all the same (HEAP_SITES, tesela/heap_leaks.h). */
    bool sites;
    /* Misuse is a panic, with the words that would have been in the log. */
    bool panics;
    /* Makes canaries and the choice of slots hard to guess; 0: they only look so. */
    uintptr_t seed;
    /* Optional: writes at most `most` return addresses, innermost first, from its caller's on, and
     * returns how many. Called pinned or not, never under the heap's lock. NULL: a call site is the
     * one return address that the compiler knows. */
    size_t (*trace)(uintptr_t *out, size_t most);
    /* Optional: a time stamp of any unit that only grows, for tesela/heap_profile.h (HEAP_PROFILE;
     * without, it is not called). Called pinned or not, in any context. Where the CPUs' clocks
     * differ, a call that changes CPU may seem shorter or longer. */
    uint64_t (*clock)(void);
};

/*
 * Chooses the tier of one heap, which begins with that of the configuration.
 * Before:  the heap has no blocks, and nobody else uses it.
 * Errors:  TSL_UNSUPPORTED (a tier above the configuration's, or one that is compiled in alone),
 *          TSL_BUSY (blocks are live). The heap is then as before.
 */
TSL_MUST_CHECK enum tsl_status tsl_heap_harden(struct tsl_heap *self,
                                               const struct tsl_heap_hardening *how);

/* Looks at every block in quarantine and lets it go. Result: blocks. For idle time, and before
 * looking at how much memory is free. 0 below the full tier. */
size_t tsl_heap_end_quarantine(struct tsl_heap *self);

/*
 * For a kernel's handler of page faults that nobody can resolve: reports what the heap knows of
 * the address (pages that it gave back, a freed block, pages beside a block), as a refusal of
 * status TSL_DENIED. False: the address has nothing to do with this heap; nothing is reported.
 * Context: any; takes no lock of the core, so that a fault under it can be explained too. What
 *          other CPUs change meanwhile may be told as it was before.
 * Cost:    constant; logarithmic with HEAP_SITES.
 */
bool tsl_heap_explain(struct tsl_heap *self, uintptr_t address);

#endif
