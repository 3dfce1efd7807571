/* SPDX-License-Identifier: MIT
 *
 * heap_slabs_dump.c: figures and the table by class.
 *
 * Owns:    nothing; adds up under the lock, prints without it.
 * Needs:   heap_allocator_internal.h.
 * Callers: anyone (see tesela/heap_report.h).
 */
#include "../heap_allocator_internal.h"

static struct tsl_lock *lock_of(const struct tsl_heap *self)
{
    /* The lock is the one thing that a reader has to write. */
    return (struct tsl_lock *)(uintptr_t)&self->lock;
}

/* What all owners have of one class. */
struct pool_sum {
    size_t slabs;
    size_t empty;
    uint64_t allocs;
    uint64_t frees;
    uint64_t requested_bytes;
};

#define FIGURE_TRIES 16u

/* A figure that its owner counts up while we read: on 32-bit in two halves, hence twice. */
TSL_READS_RACILY static uint64_t figure(const volatile uint64_t *place)
{
    for (;;) {
        uint64_t first = *place;
        if (first == *place)
            return first;
    }
}

/* The three figures of a moment between two frees, or nearly so if frees do not stop. */
TSL_READS_RACILY static void add_pool(struct pool_sum *sum, const struct heap_pool *pool)
{
    uint64_t frees, allocs, requested;
    unsigned tries = 0;

    do {
        frees = figure(&pool->frees);
        requested = figure(&pool->requested_bytes); /* before the blocks that it is for */
        allocs = figure(&pool->allocs);
    } while (frees != figure(&pool->frees) && ++tries < FIGURE_TRIES);
    sum->slabs += pool->slab_count;
    sum->empty += pool->empty_count;
    sum->allocs += allocs;
    sum->frees += frees;
    sum->requested_bytes += requested;
}

/* Other CPUs count while we add up: a block on its way may be seen or not. */
static struct pool_sum sum_class(const struct tsl_heap *self, unsigned class_index)
{
    struct pool_sum sum = {0};

    add_pool(&sum, &self->centre.pools[class_index]);
    for (unsigned i = 0; HEAP_HAS_OWNERS && i < TSL_CPUS; i++) {
        const struct heap_cpu *cpu = TSL_ATOMIC_LOAD_POINTER(&self->cpus[i]);
        if (cpu != &tsl_heap_nobody)
            add_pool(&sum, &cpu->pools[class_index]);
    }
    return sum;
}

static size_t live_of(const struct pool_sum *sum)
{
    return sum->allocs > sum->frees ? (size_t)(sum->allocs - sum->frees) : 0;
}

/* => locked. Bytes of live objects of typed caches. */
static size_t cached_bytes(const struct tsl_heap *self)
{
    struct tsl_list *link;
    size_t bytes = 0;

    TSL_LIST_EACH(link, &self->caches)
    {
        const struct heap_pool *pool = &TSL_CONTAINER_OF(link, struct tsl_heap_cache, link)->pool;
        bytes += (size_t)(pool->allocs - pool->frees) * pool->block_bytes;
    }
    return bytes;
}

/* => locked */
static void add_caches(const struct tsl_heap *self, struct tsl_heap_stats *out)
{
    struct tsl_list *link;

    out->live_bytes += cached_bytes(self);
    out->allocs += self->ended_objects;
    out->frees += self->ended_objects;
    out->requested_bytes += self->ended_requested_bytes;
    out->granted_bytes += self->ended_granted_bytes;
    TSL_LIST_EACH(link, &self->caches)
    {
        const struct tsl_heap_cache *cache = TSL_CONTAINER_OF(link, struct tsl_heap_cache, link);
        const struct heap_pool *pool = &cache->pool;
        out->live_blocks += (size_t)(pool->allocs - pool->frees);
        out->empty_bytes += (size_t)pool->empty_count * cache->class.slab_pages << TSL_PAGE_SHIFT;
        out->allocs += pool->allocs;
        out->frees += pool->frees;
        out->requested_bytes += pool->allocs * cache->object_bytes;
        out->granted_bytes += pool->allocs * pool->block_bytes;
    }
}

/* A block may have been allocated by one owner and freed by another: only the sum means
 * something. */
TSL_READS_RACILY static size_t live_of_owner(const struct heap_cpu *cpu)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        const struct heap_pool *pool = &cpu->pools[i];
        bytes += ((size_t)pool->allocs - (size_t)pool->frees) * pool->block_bytes;
    }
    return bytes;
}

size_t tsl_heap_live_bytes(const struct tsl_heap *self)
{
    size_t bytes = live_of_owner(&self->centre);

    for (unsigned i = 0; HEAP_HAS_OWNERS && i < TSL_CPUS; i++) {
        const struct heap_cpu *cpu = TSL_ATOMIC_LOAD_POINTER(&self->cpus[i]);
        if (cpu != &tsl_heap_nobody)
            bytes += live_of_owner(cpu);
    }
    /* Frees may be seen without their allocations while other CPUs count. */
    if (bytes > SIZE_MAX / 2)
        bytes = 0;
    return bytes + cached_bytes(self) + (self->large_pages << TSL_PAGE_SHIFT);
}

/* => locked */
static void add_classes(const struct tsl_heap *self, struct tsl_heap_stats *out)
{
    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        struct pool_sum sum = sum_class(self, i);
        out->live_blocks += live_of(&sum);
        out->live_bytes += live_of(&sum) * self->classes[i].block_bytes;
        out->empty_bytes += sum.empty * self->classes[i].slab_pages << TSL_PAGE_SHIFT;
        out->allocs += sum.allocs;
        out->frees += sum.frees;
        out->requested_bytes += sum.requested_bytes;
        out->granted_bytes += sum.allocs * self->classes[i].block_bytes;
    }
}

void tsl_heap_stats(const struct tsl_heap *self, struct tsl_heap_stats *out)
{
    /* The peak is noted when somebody looks; that and the lock are all that a reader writes. */
    struct tsl_heap *noted = (struct tsl_heap *)(uintptr_t)self;
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    size_t own_pages = self->record_page_count + self->map_leaf_pages + self->cpu_pages;

    *out = (struct tsl_heap_stats){
        .live_bytes = self->large_pages << TSL_PAGE_SHIFT,
        .live_blocks = self->large_count,
        .taken_bytes = self->taken_pages << TSL_PAGE_SHIFT,
        .peak_taken_bytes = self->peak_taken_pages << TSL_PAGE_SHIFT,
        .ceiling_bytes = heap_ceiling_pages(self) << TSL_PAGE_SHIFT,
        .bookkeeping_bytes = (own_pages << TSL_PAGE_SHIFT) + self->head_bytes,
        .empty_bytes = self->parked_pages << TSL_PAGE_SHIFT,
        .allocs = self->large_allocs,
        .frees = self->large_frees,
        .failures = self->failures,
        .requested_bytes = self->large_requested_bytes,
        .granted_bytes = self->large_granted_bytes,
        .source_gets = self->source_gets,
        .source_puts = self->source_puts,
        .source_failures = self->source_failures,
    };
    add_classes(self, out);
    add_caches(self, out);
    if (out->live_bytes > self->peak_bytes)
        noted->peak_bytes = out->live_bytes;
    out->peak_bytes = self->peak_bytes;
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
    const struct heap_class *class = &self->classes[index];
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    struct pool_sum sum = sum_class(self, (unsigned)index);

    *out = (struct tsl_heap_class_stats){
        .block_bytes = class->block_bytes,
        .slab_pages = class->slab_pages,
        .slab_blocks = class->slab_blocks,
        .slabs = sum.slabs,
        .empty_slabs = sum.empty,
        .live_blocks = live_of(&sum),
        .allocs = sum.allocs,
        .requested_bytes = sum.requested_bytes,
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
    tsl_print(sink,
              "  bookkeeping %s, empty slabs %s, callers asked for %u %% of what blocks held\n",
              tsl_format_bytes(own, sizeof own, stats->bookkeeping_bytes),
              tsl_format_bytes(empty, sizeof empty, stats->empty_bytes),
              percent(stats->requested_bytes, stats->granted_bytes));
    tsl_print(sink, "  %llu allocations, %llu frees, %llu failures, %llu refusals\n",
              (unsigned long long)stats->allocs, (unsigned long long)stats->frees,
              (unsigned long long)stats->failures,
              (unsigned long long)tsl_refusals_total(&stats->refusals));
}

static void dump_class(const char *name, const struct tsl_heap_class_stats *pool,
                       const struct tsl_sink *sink)
{
    uint64_t room = (uint64_t)(pool->slabs * pool->slab_pages) << TSL_PAGE_SHIFT;
    uint64_t live = (uint64_t)pool->live_blocks * pool->block_bytes;

    tsl_print(sink, "  %8s %8zu %10zu %8zu %8zu", name, pool->live_blocks,
              pool->live_blocks * pool->block_bytes, pool->slabs, pool->empty_slabs);
    if (room > 0)
        tsl_print(sink, " %5u %%", percent(live, room));
    else
        tsl_print(sink, " %7s", "-");
    tsl_print(sink, " %10llu\n", (unsigned long long)pool->allocs);
}

static void dump_classes(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_class_stats pool;
    char name[24];

    for (size_t i = 0; i < HEAP_CLASSES; i++) {
        if (tsl_heap_class_stats(self, i, &pool) != TSL_OK || (pool.slabs == 0 && pool.allocs == 0))
            continue;
        (void)tsl_format(name, sizeof name, "%zu", pool.block_bytes);
        dump_class(name, &pool, sink);
    }
}

/* The figures of a cache by its number; false: there are no more. */
static bool cache_stats(const struct tsl_heap *self, size_t index, struct tsl_heap_class_stats *out)
{
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    struct tsl_list *link = self->caches.next;
    bool is_there;

    while (link != &self->caches && index-- > 0)
        link = link->next;
    is_there = link != &self->caches;
    if (is_there) {
        const struct tsl_heap_cache *cache = TSL_CONTAINER_OF(link, struct tsl_heap_cache, link);
        *out = (struct tsl_heap_class_stats){
            .block_bytes = cache->class.block_bytes,
            .slab_pages = cache->class.slab_pages,
            .slab_blocks = cache->class.slab_blocks,
            .slabs = cache->pool.slab_count,
            .empty_slabs = cache->pool.empty_count,
            .live_blocks = (size_t)(cache->pool.allocs - cache->pool.frees),
            .allocs = cache->pool.allocs,
            .requested_bytes = cache->pool.allocs * cache->object_bytes};
    }
    tsl_lock_release(lock_of(self), pin);
    return is_there;
}

static void dump_caches(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_class_stats pool;
    char name[24];

    for (size_t i = 0; cache_stats(self, i, &pool); i++) {
        (void)tsl_format(name, sizeof name, "of %zu", pool.block_bytes);
        dump_class(name, &pool, sink);
    }
}

void tsl_heap_dump(const struct tsl_heap *self, const struct tsl_sink *sink)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(self, &stats);
    dump_totals(&stats, sink);
    tsl_print(sink, "  %8s %8s %10s %8s %8s %7s %10s\n", "class", "blocks", "bytes", "slabs",
              "empty", "in use", "allocs");
    dump_classes(self, sink);
    dump_caches(self, sink);
    tsl_pin pin = tsl_lock_acquire(lock_of(self));
    size_t count = self->large_count, pages = self->large_pages;
    struct pool_sum zero = sum_class(self, HEAP_ZERO);
    tsl_lock_release(lock_of(self), pin);
    if (TSL_HEAP_ZERO_FAULTS && zero.slabs > 0)
        tsl_print(sink, "  %8s %8zu %10s %8zu %8zu %7s %10llu\n", "size 0", live_of(&zero), "-",
                  zero.slabs, zero.empty, "-", (unsigned long long)zero.allocs);
    tsl_print(sink, "  %8s %8zu %10zu\n", "large", count, pages << TSL_PAGE_SHIFT);
}
