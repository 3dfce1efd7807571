/* SPDX-License-Identifier: MIT
 *
 * heap_profile.c: how long allocations and frees take, and what becomes of the memory.
 *
 * Owns:    the histogram's buckets.
 * Needs:   heap_report.h, heap_leaks.h (call sites), heap_ledger.c (what was asked for).
 * Callers: heap_guard.c, heap_cache.c (tsl_heap_time), anyone (see tesela/heap_profile.h).
 */
#include <tesela/atomic.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>

#include "../heap_allocator_internal.h"

#define TOP_BIT 31u

void tsl_heap_time(struct tsl_heap *self, struct heap_times *times, uint64_t begin)
{
    if (self->guard->clock == NULL)
        return;
    uint64_t units = heap_clock(self->guard) - begin;
    /* Back in time: the clock of the CPU that it ended on is behind. */
    if (units > INT64_MAX)
        units = 0;
    unsigned bucket = units < 2 ? 0 : 63u - (unsigned)__builtin_clzll(units);

    if (bucket >= TSL_HEAP_TIMES)
        bucket = TSL_HEAP_TIMES - 1;
    uint32_t old = tsl_atomic_add_u32(&times->low[bucket], 1);
    if ((old ^ (old + 1)) >> TOP_BIT != 0)
        (void)tsl_atomic_add_u32(&times->changes[bucket], 1);
}

/* The top bit is 1 after an odd number of changes. One that is not counted yet shows, since the
 * changes are read first. */
static uint64_t count_of(const struct heap_times *times, unsigned bucket)
{
    uint32_t changes = tsl_atomic_load_acquire_u32(&times->changes[bucket]);
    uint32_t low = tsl_atomic_load_u32(&times->low[bucket]);

    changes += (changes ^ low >> TOP_BIT) & 1;
    return (uint64_t)changes << TOP_BIT | (low & ~((uint32_t)1 << TOP_BIT));
}

void tsl_heap_times_clear(struct tsl_heap *self)
{
    *self->guard->allocs = (struct heap_times){0};
    *self->guard->frees = (struct heap_times){0};
}

void tsl_heap_profile(struct tsl_heap *self, struct tsl_heap_profile *out)
{
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++) {
        out->allocs[i] = count_of(self->guard->allocs, i);
        out->frees[i] = count_of(self->guard->frees, i);
    }
}

static void print_times(const struct tsl_heap_profile *profile, const struct tsl_sink *sink)
{
    tsl_print(sink, "  %14s %10s %10s\n", "clock below", "allocs", "frees");
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++) {
        char below[24] = "any";
        if (i < TSL_HEAP_TIMES - 1)
            (void)tsl_format(below, sizeof below, "%u", 2u << i);
        if (profile->allocs[i] != 0 || profile->frees[i] != 0)
            tsl_print(sink, "  %14s %10llu %10llu\n", below, (unsigned long long)profile->allocs[i],
                      (unsigned long long)profile->frees[i]);
    }
}

/* What is missing from part to whole, in percent; there is no 64-bit division here. */
static unsigned percent_missing(uint64_t part, uint64_t whole)
{
    /* Figures of blocks that other CPUs take meanwhile need not agree. */
    uint64_t missing = part < whole ? whole - part : 0;

    while (whole > UINT32_MAX / 100) {
        missing >>= 1;
        whole >>= 1;
    }
    return whole == 0 ? 0 : (unsigned)((uint32_t)missing * 100u / (uint32_t)whole);
}

/* Where an array holds the heap, its head is in none of the pages taken. */
static size_t usable_bytes(const struct tsl_heap *self, const struct tsl_heap_stats *stats)
{
    size_t own = stats->bookkeeping_bytes - (self->head_pages == 0 ? self->head_bytes : 0);

    return stats->taken_bytes > own ? stats->taken_bytes - own : 0;
}

void tsl_heap_shares(struct tsl_heap *self, struct tsl_heap_shares *out)
{
    struct tsl_heap_stats stats;
    uint64_t asked, got;

    tsl_heap_stats(self, &stats);
    asked = stats.requested_bytes;
    got = stats.granted_bytes;
    if (TSL_HEAP_SITES && heap_is_guarded(self))
        tsl_heap_ledger_sums(self, &asked, &got);
    out->unasked = percent_missing(asked, got);
    out->unused = percent_missing(stats.live_bytes, usable_bytes(self, &stats));
}

void tsl_heap_print_profile(struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_profile profile;
    struct tsl_heap_shares shares;

    tsl_heap_profile(self, &profile);
    if (self->guard->clock == NULL)
        tsl_print(sink, "  no times: the heap was given no clock (tsl_heap_harden)\n");
    else
        print_times(&profile, sink);
    tsl_heap_shares(self, &shares);
    tsl_print(sink, "  internal fragmentation %u %%, external %u %%\n", shares.unasked,
              shares.unused);
    if (TSL_HEAP_SITES) {
        tsl_print(sink, "  most bytes:\n");
        tsl_heap_print_since(self, 0, TSL_HEAP_BY_BYTES, sink);
        tsl_print(sink, "  most blocks:\n");
        tsl_heap_print_since(self, 0, TSL_HEAP_BY_BLOCKS, sink);
    }
    tsl_heap_dump(self, sink);
}
