/* SPDX-License-Identifier: MIT
 *
 * heap_granules_dump.c: what a heap of granules says of itself: figures, a table by size, and what
 * it knows of an address that faulted.
 *
 * Owns:    the doublings of the table.
 * Needs:   heap_granules.c, base (format).
 * Callers: anyone who may call the heap (heap_report.h); page-fault handlers (tsl_heap_explain).
 *
 * Blocks are counted by walking over the map: nothing is kept for it.
 */
#include "../heap_allocator_internal.h"

/* Sizes 32, 64 and so on up to a page; what is larger is in the line "larger". */
#define DOUBLINGS 8u
#define LEAST     (HEAP_LEAST_GRANULES * HEAP_GRANULE_BYTES)
_Static_assert(LEAST << (DOUBLINGS - 1) == TSL_PAGE_BYTES, "the last doubling is a page");

/* The lock is the one thing that a reader has to write. */
static struct tsl_lock *lock_of(const struct tsl_heap *self)
{
    return (struct tsl_lock *)(uintptr_t)&self->lock;
}

void tsl_heap_stats(const struct tsl_heap *self, struct tsl_heap_stats *out)
{
    const struct heap_granules *map = self->granules;
    tsl_pin pin = tsl_lock_acquire(lock_of(self));

    *out = (struct tsl_heap_stats){
        .live_bytes = map->live * HEAP_GRANULE_BYTES,
        .live_blocks = (size_t)(map->allocs - map->frees),
        .peak_bytes = self->peak_bytes,
        .taken_bytes = self->taken_pages << TSL_PAGE_SHIFT,
        .peak_taken_bytes = self->peak_taken_pages << TSL_PAGE_SHIFT,
        .ceiling_bytes = self->ceiling_pages << TSL_PAGE_SHIFT,
        .bookkeeping_bytes = self->head_bytes,
        .empty_bytes = map->empty_pages << TSL_PAGE_SHIFT,
        .allocs = map->allocs,
        .frees = map->frees,
        .failures = self->failures,
        .requested_bytes = map->requested_bytes,
        .granted_bytes = map->granted_bytes,
        .source_gets = self->source_gets,
        .source_puts = self->source_puts,
        .source_failures = self->source_failures,
    };
    for (unsigned i = 0; i < TSL_STATUS_COUNT; i++)
        out->refusals.by_status[i] = tsl_atomic_load(&self->refusals.by_status[i]);
    tsl_lock_release(lock_of(self), pin);
}

size_t tsl_heap_class_count(void)
{
    return DOUBLINGS;
}

/* Live blocks of more than `above` and at most `most` bytes. */
static size_t count_blocks(const struct tsl_heap *self, size_t above, size_t most, size_t *bytes)
{
    struct heap_block block = {0};
    size_t count = 0;
    tsl_pin pin = tsl_lock_acquire(lock_of(self));

    for (size_t from = 0; tsl_heap_block_next(self, from, &block);
         from = block.first + block.granules) {
        size_t room = block.granules * HEAP_GRANULE_BYTES;
        bool counts = room > above && room <= most;
        count += counts;
        *bytes += counts ? room : 0;
    }
    tsl_lock_release(lock_of(self), pin);
    return count;
}

enum tsl_status tsl_heap_class_stats(const struct tsl_heap *self, size_t index,
                                     struct tsl_heap_class_stats *out)
{
    size_t bytes = 0;

    if (index >= DOUBLINGS) {
        return tsl_refuse(NULL, TSL_OUT_OF_RANGE, "heap %p: there is no class %zu",
                          (const void *)self, index);
    }
    size_t most = (size_t)LEAST << index, above = index == 0 ? 0 : most / 2;
    *out = (struct tsl_heap_class_stats){.block_bytes = most,
                                         .live_blocks = count_blocks(self, above, most, &bytes)};
    return TSL_OK;
}

static void dump_line(const struct tsl_heap *self, size_t above, size_t most,
                      const struct tsl_sink *sink)
{
    size_t bytes = 0, count = count_blocks(self, above, most, &bytes);

    if (most == SIZE_MAX)
        tsl_print(sink, "  %8s %8zu %10zu\n", "larger", count, bytes);
    else if (count > 0)
        tsl_print(sink, "  %8zu %8zu %10zu\n", most, count, bytes);
}

void tsl_heap_dump(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    char live[16], peak[16], taken[16], ceiling[16], own[16], empty[16];
    struct tsl_heap_stats stats;

    tsl_heap_stats(self, &stats);
    tsl_print(sink, "heap: %s live in %zu blocks (peak %s), %s taken of %s\n",
              tsl_format_bytes(live, sizeof live, stats.live_bytes), stats.live_blocks,
              tsl_format_bytes(peak, sizeof peak, stats.peak_bytes),
              tsl_format_bytes(taken, sizeof taken, stats.taken_bytes),
              tsl_format_bytes(ceiling, sizeof ceiling, stats.ceiling_bytes));
    tsl_print(sink, "  bookkeeping %s, empty %s\n",
              tsl_format_bytes(own, sizeof own, stats.bookkeeping_bytes),
              tsl_format_bytes(empty, sizeof empty, stats.empty_bytes));
    tsl_print(sink, "  %llu allocations, %llu frees, %llu failures, %llu refusals\n",
              (unsigned long long)stats.allocs, (unsigned long long)stats.frees,
              (unsigned long long)stats.failures,
              (unsigned long long)tsl_refusals_total(&stats.refusals));
    tsl_print(sink, "  %8s %8s %10s\n", "up to", "blocks", "bytes");
    for (unsigned i = 0; i < DOUBLINGS; i++)
        dump_line(self, i == 0 ? 0 : ((size_t)LEAST << i) / 2, (size_t)LEAST << i, sink);
    dump_line(self, TSL_PAGE_BYTES, SIZE_MAX, sink);
}

/* How far behind pages of the heap an access is still blamed on a block there. */
#define PAGES_LOOKED_BACK 16u

static unsigned mark_at(const struct tsl_heap *self, uintptr_t address)
{
    size_t offset = address - heap_granules_origin(&self->source);

    return heap_is_in_window(self, address) ? self->granules->marks[offset >> TSL_PAGE_SHIFT] : 0;
}

bool tsl_heap_explain(struct tsl_heap *self, uintptr_t address)
{
    unsigned here = mark_at(self, address), before = 0;
    enum tsl_status status;

    /* The page is there: it was about something else. */
    if ((here & HEAP_PAGE_OWNED) != 0)
        return false;
    for (uintptr_t i = 1; i <= PAGES_LOOKED_BACK && (before & HEAP_PAGE_OWNED) == 0; i++)
        before = mark_at(self, address - (i << TSL_PAGE_SHIFT));
    if (here != 0)
        status = tsl_heap_accuse(self, TSL_DENIED, NULL, "access to %p, in pages that were freed",
                                 (void *)address);
    else if ((before & HEAP_PAGE_OWNED) != 0)
        status = tsl_heap_accuse(self, TSL_DENIED, NULL, "access to %p, behind pages of the heap",
                                 (void *)address);
    else
        return false;
    (void)status;
    return true;
}
