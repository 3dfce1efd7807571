/* SPDX-License-Identifier: MIT
 *
 * heap_profile.c: how long allocations and frees take, and what becomes of the memory.
 *
 * Owns:    the histogram's buckets.
 * Needs:   heap_report.h, heap_leaks.h (call sites).
 * Callers: heap_guard.c (tsl_heap_time), anyone (see tesela/heap_profile.h).
 */
#include <tesela/atomic.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>

#include "../heap_allocator_internal.h"

void tsl_heap_time(struct tsl_heap *self, uint32_t *times, uint64_t begin)
{
    uint64_t units = heap_clock(self->guard) - begin;
    unsigned bucket = units < 2 ? 0 : 63u - (unsigned)__builtin_clzll(units);

    if (self->guard->clock == NULL)
        return;
    if (bucket >= TSL_HEAP_TIMES)
        bucket = TSL_HEAP_TIMES - 1;
    (void)tsl_atomic_add_u32(&times[bucket], 1);
}

void tsl_heap_profile(struct tsl_heap *self, struct tsl_heap_profile *out)
{
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++) {
        out->allocs[i] = tsl_atomic_load_u32(&self->guard->profile->allocs[i]);
        out->frees[i] = tsl_atomic_load_u32(&self->guard->profile->frees[i]);
    }
}

static void print_times(const struct tsl_heap_profile *profile, const struct tsl_sink *sink)
{
    unsigned long long below = 2;

    tsl_print(sink, "  %14s %10s %10s\n", "clock below", "allocs", "frees");
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++, below += below)
        if (profile->allocs[i] != 0 || profile->frees[i] != 0)
            tsl_print(sink, "  %14llu %10u %10u\n", below, (unsigned)profile->allocs[i],
                      (unsigned)profile->frees[i]);
}

/* part of whole in percent, rounded; there is no 64-bit division here. */
static unsigned percent(uint64_t part, uint64_t whole)
{
    while (whole > UINT32_MAX / 100) {
        part >>= 1;
        whole >>= 1;
    }
    return whole == 0 ? 0 : (unsigned)((uint32_t)part * 100u / (uint32_t)whole);
}

/* Pages of slabs and large blocks that hold no live byte's worth, and bytes that nobody asked for. */
static void print_fragmentation(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(self, &stats);
    size_t usable = stats.taken_bytes > stats.bookkeeping_bytes
                        ? stats.taken_bytes - stats.bookkeeping_bytes
                        : 0;
    size_t unused = usable > stats.live_bytes ? usable - stats.live_bytes : 0;
    tsl_print(sink, "  internal fragmentation %u %%, external %u %%\n",
              percent(stats.granted_bytes - stats.requested_bytes, stats.granted_bytes),
              percent(unused, usable));
}

void tsl_heap_print_profile(struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_profile profile;

    tsl_heap_profile(self, &profile);
    if (self->guard->clock == NULL)
        tsl_print(sink, "  no times: the heap was given no clock (tsl_heap_harden)\n");
    else
        print_times(&profile, sink);
    print_fragmentation(self, sink);
    if (TSL_HEAP_SITES)
        tsl_heap_print_since(self, 0, sink);
    tsl_heap_dump(self, sink);
}
