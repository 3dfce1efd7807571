/* SPDX-License-Identifier: MIT
 *
 * heap_allocator_dump.c: figures and the table by class.
 *
 * Owns:    nothing; copies under the lock, prints without it.
 * Needs:   heap_allocator_internal.h.
 * Callers: anyone (see tesela/heap_report.h).
 */
#include "heap_allocator_internal.h"

static struct tsl_lock *lock_of(const struct tsl_heap *self)
{
    /* The lock is the one thing that a reader has to write. */
    return (struct tsl_lock *)(uintptr_t)&self->lock;
}

static size_t empty_pages(const struct tsl_heap *self)
{
    size_t pages = self->parked_pages;

    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        pages += self->classes[i].empty_count * self->classes[i].slab_pages;
    return pages;
}

void tsl_heap_stats(const struct tsl_heap *self, struct tsl_heap_stats *out)
{
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    size_t own_pages = self->record_page_count + self->map_leaf_pages;

    *out = (struct tsl_heap_stats){
        .live_bytes = self->live_bytes,
        .live_blocks = self->large_count,
        .peak_bytes = self->peak_bytes,
        .taken_bytes = self->taken_pages << TSL_PAGE_SHIFT,
        .peak_taken_bytes = self->peak_taken_pages << TSL_PAGE_SHIFT,
        .ceiling_bytes = self->ceiling_pages << TSL_PAGE_SHIFT,
        .bookkeeping_bytes = (own_pages << TSL_PAGE_SHIFT) + self->head_bytes,
        .empty_bytes = empty_pages(self) << TSL_PAGE_SHIFT,
        .allocs = self->large_allocs,
        .frees = self->large_frees,
        .failures = self->failures,
        .requested_bytes = self->large_requested_bytes,
        .granted_bytes = self->large_granted_bytes,
        .source_gets = self->source_gets,
        .source_puts = self->source_puts,
        .source_failures = self->source_failures,
    };
    for (unsigned i = 0; i < HEAP_CLASSES; i++) {
        const struct heap_class *pool = &self->classes[i];
        out->live_blocks += heap_class_live(pool);
        out->allocs += pool->allocs;
        out->frees += pool->frees;
        out->requested_bytes += pool->requested_bytes;
        out->granted_bytes += pool->allocs * pool->block_bytes;
    }
    for (unsigned i = 0; i < TSL_STATUS_COUNT; i++)
        out->refusals.by_status[i] = tsl_atomic_load(&self->refusals.by_status[i]);
    tsl_lock_release(lock_of(self), pin);
}

size_t tsl_heap_class_count(void)
{
    return HEAP_CLASSES;
}

enum tsl_status tsl_heap_class_stats(const struct tsl_heap *self, size_t index,
                                     struct tsl_heap_class_stats *out)
{
    if (index >= HEAP_CLASSES) {
        return tsl_refuse(NULL, TSL_OUT_OF_RANGE, "heap %p: there is no class %zu",
                          (const void *)self, index);
    }
    const struct heap_class *pool = &self->classes[index];
    tsl_pin pin = tsl_lock_acquire(lock_of(self));

    *out = (struct tsl_heap_class_stats){
        .block_bytes = pool->block_bytes,
        .slab_pages = pool->slab_pages,
        .slab_blocks = pool->slab_blocks,
        .slabs = pool->slab_count,
        .empty_slabs = pool->empty_count,
        .live_blocks = heap_class_live(pool),
        .allocs = pool->allocs,
        .requested_bytes = pool->requested_bytes,
    };
    tsl_lock_release(lock_of(self), pin);
    return TSL_OK;
}

/* part of whole in percent; both are halved until the product fits in 32 bits, since there is no
 * 64-bit division here. */
static unsigned percent(uint64_t part, uint64_t whole)
{
    while (part > UINT32_MAX / 100 || whole > UINT32_MAX) {
        part >>= 1;
        whole >>= 1;
    }
    return whole == 0 ? 100 : (unsigned)((uint32_t)part * 100u / (uint32_t)whole);
}

static void dump_totals(const struct tsl_heap_stats *stats, const struct tsl_sink *sink)
{
    char live[16], peak[16], taken[16], ceiling[16], own[16], empty[16];

    tsl_print(sink, "heap: %s live in %zu blocks (peak %s), %s taken of %s\n",
              tsl_format_bytes(live, sizeof live, stats->live_bytes), stats->live_blocks,
              tsl_format_bytes(peak, sizeof peak, stats->peak_bytes),
              tsl_format_bytes(taken, sizeof taken, stats->taken_bytes),
              tsl_format_bytes(ceiling, sizeof ceiling, stats->ceiling_bytes));
    tsl_print(sink, "  bookkeeping %s, empty %s, asked for %u %% of what blocks had\n",
              tsl_format_bytes(own, sizeof own, stats->bookkeeping_bytes),
              tsl_format_bytes(empty, sizeof empty, stats->empty_bytes),
              percent(stats->requested_bytes, stats->granted_bytes));
    tsl_print(sink, "  %llu allocations, %llu frees, %llu failures, %llu refusals\n",
              (unsigned long long)stats->allocs, (unsigned long long)stats->frees,
              (unsigned long long)stats->failures,
              (unsigned long long)tsl_refusals_total(&stats->refusals));
}

static void dump_class(const struct tsl_heap_class_stats *pool, const struct tsl_sink *sink)
{
    uint64_t room = (uint64_t)(pool->slabs * pool->slab_pages) << TSL_PAGE_SHIFT;
    uint64_t live = (uint64_t)pool->live_blocks * pool->block_bytes;

    if (pool->slabs == 0 && pool->allocs == 0)
        return;
    tsl_print(sink, "  %8zu %8zu %10zu %8zu %8zu %5u %% %10llu\n", pool->block_bytes,
              pool->live_blocks, pool->live_blocks * pool->block_bytes, pool->slabs,
              pool->empty_slabs, percent(live, room), (unsigned long long)pool->allocs);
}

void tsl_heap_dump(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_class_stats pool;
    struct tsl_heap_stats stats;

    tsl_heap_stats(self, &stats);
    dump_totals(&stats, sink);
    tsl_print(sink, "  %8s %8s %10s %8s %8s %7s %10s\n", "class", "blocks", "bytes", "slabs",
              "empty", "in use", "allocs");
    for (size_t i = 0; i < HEAP_CLASSES; i++)
        if (tsl_heap_class_stats(self, i, &pool) == TSL_OK)
            dump_class(&pool, sink);
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    size_t count = self->large_count, pages = self->large_pages;
    tsl_lock_release(lock_of(self), pin);
    tsl_print(sink, "  %8s %8zu %10zu\n", "large", count, pages << TSL_PAGE_SHIFT);
}
