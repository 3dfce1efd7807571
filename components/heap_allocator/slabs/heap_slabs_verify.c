/* SPDX-License-Identifier: MIT
 *
 * heap_slabs_verify.c: self-check of a heap: the rules numbered in README.md, "Invariants".
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   heap_allocator_internal.h.
 * Callers: anyone; the heap is locked meanwhile.
 */
#include "../heap_allocator_internal.h"

/* What the rules have counted so far. */
struct tally {
    unsigned cpu;   /* that looks */
    size_t pages;   /* of all runs */
    size_t records; /* of runs, and in use by runs in flight */
    size_t in_flight;
    size_t mapped; /* pages of runs that the map must name */
    size_t slabs;  /* of the centre and of this CPU, less those in their pools */
    size_t parked_pages;
    size_t elsewhere; /* slabs of other CPUs, and on their way from one owner to another */
    size_t used_bytes;
};

static struct tsl_defect broken(unsigned rule, uintptr_t place, const char *sentence)
{
    return tsl_defect_at("heap", rule, place, sentence);
}

static bool is_linked(const struct tsl_list *node)
{
    return node->next != NULL && node->prev != NULL && node->next->prev == node &&
           node->prev->next == node;
}

/* The record is marked as used in its page. */
static bool is_record_used(const struct heap_run *run)
{
    const char *base = (const char *)run - (uintptr_t)run % TSL_PAGE_BYTES;
    const struct heap_record_page *page = (const void *)base;
    size_t offset = (size_t)((const char *)run - (const char *)&page->first);

    return (const char *)run >= (const char *)&page->first && offset % HEAP_RECORD_BYTES == 0 &&
           offset / HEAP_RECORD_BYTES < HEAP_RECORDS_A_PAGE &&
           !tsl_bits_test(page->free, offset / HEAP_RECORD_BYTES);
}

/* Rule 8 for any run; adds it to the tally. */
static struct tsl_defect check_mapped(const struct tsl_heap *self, const struct heap_run *run,
                                      const struct heap_run *named, struct tally *tally)
{
    tally->pages += run->pages;
    if (tally->pages > self->taken_pages)
        return broken(1, run->start, "the runs have no more pages than were taken");
    for (size_t i = 0; i < run->pages; i++)
        if (heap_map_at(self, run->start + (i << TSL_PAGE_SHIFT)) != named)
            return broken(8, run->start, "the map names its run for each page of a run");
    tally->mapped += named == run ? run->pages : 0;
    return TSL_NO_DEFECT;
}

/* Rule 4: what does not change while a slab exists. */
static struct tsl_defect check_shape(const struct tsl_heap *self, const struct heap_run *run)
{
    const struct heap_class *class = &self->classes[run->class_index];
    size_t align = class->align > TSL_PAGE_BYTES ? class->align : TSL_PAGE_BYTES;

    size_t guard = run->pages - class->slab_pages;

    /* A page without access may follow. */
    if (guard > (HEAP_GUARDED && !heap_is_zero(run) && tsl_heap_has_guard_pages(self)) ||
        !tsl_is_aligned(run->start, align))
        return broken(4, run->start, "a slab has its class's pages and alignment");
    if (run->blocks != class->slab_blocks || run->reciprocal != class->reciprocal)
        return broken(4, run->start, "a slab has its class's blocks");
    return TSL_NO_DEFECT;
}

/* Rules 5 and 6: of a slab whose owner cannot change it now. */
static struct tsl_defect check_bits(const struct heap_run *run)
{
    unsigned used = heap_run_used(run);
    bool is_right = true;

    for (unsigned i = 0; HEAP_HAS_OWNERS && i < HEAP_SLAB_WORDS; i++)
        if ((tsl_atomic_load(&run->free[i]) & tsl_atomic_load(&run->remote[i])) != 0)
            return broken(5, run->start, "no block was freed by its owner and by another CPU");
    if (tsl_bits_find_set(run->free, HEAP_SLAB_BLOCKS, run->blocks) != TSL_BITS_NONE)
        return broken(5, run->start, "a slab has a bit for each block and no other bits");
    switch (run->place) {
    case HEAP_PLACE_FULL:
        is_right = run->slack == (int)heap_full_slack(run->blocks) - (int)(run->blocks - used);
        break;
    case HEAP_PLACE_PARTIAL:
        is_right = used > 0 && used < run->blocks && run->slack == (int)used - 1;
        break;
    case HEAP_PLACE_EMPTY:
        is_right = used == 0 && run->align_shift == 0;
        break;
    default:
        is_right = run->place == HEAP_PLACE_CURRENT;
    }
    if (!is_right)
        return broken(6, run->start, "a slab is where its free blocks say, with that slack");
    return TSL_NO_DEFECT;
}

/* The next and the spare block of a pool only seem live. */
static size_t live_bytes(const struct heap_run *run, const struct heap_pool *owner)
{
    unsigned used = heap_run_used(run);

    used -= owner->current == run && owner->next != 0 ? 1u : 0u;
    used -= HEAP_HAS_LAST && owner->last_run == run && owner->spare != 0 ? 1u : 0u;
    return used * (size_t)owner->block_bytes;
}

static struct tsl_defect check_slab(const struct tsl_heap *self, const struct heap_run *run,
                                    struct tally *tally)
{
    const struct heap_pool *owner = heap_owner_of(run);
    const struct heap_cpu *cpu = &self->centre;
    struct tsl_defect defect = check_shape(self, run);

    if (defect.rule != 0)
        return defect;
    if (owner == NULL || (owner->cpu != HEAP_CENTRE && owner->cpu >= TSL_CPUS))
        return broken(4, run->start, "a slab has an owner");
    if (owner->cpu != HEAP_CENTRE)
        cpu = self->cpus[owner->cpu];
    if (owner != &cpu->pools[run->class_index])
        return broken(4, run->start, "a slab's owner is a pool of its class");
    bool is_still = owner->cpu == HEAP_CENTRE || owner->cpu == tally->cpu;
    if (!is_still || (HEAP_HAS_OWNERS && run->place == HEAP_PLACE_LOOSE)) {
        tally->elsewhere++;
        return TSL_NO_DEFECT;
    }
    tally->slabs++;
    tally->used_bytes += live_bytes(run, owner);
    defect = check_bits(run);
    return defect.rule == 0 && HEAP_GUARDED ? tsl_heap_guard_check_slab(self, run) : defect;
}

/* Rules 4 to 6 for a slab of a typed cache. */
static struct tsl_defect check_cache_slab(const struct heap_run *run, struct tally *tally)
{
    const struct heap_pool *owner = heap_owner_of(run);

    if (owner == NULL || run->reciprocal != 0)
        return broken(4, run->start, "a slab of a cache has an owner, and no reciprocal");
    tally->slabs++;
    tally->used_bytes += live_bytes(run, owner);
    return check_bits(run);
}

/* Rules 4 to 6 and 8, run by run. */
static struct tsl_defect check_runs(const struct tsl_heap *self, struct tally *tally)
{
    struct heap_run *run = NULL;

    while ((run = tsl_heap_record_next(self, run)) != NULL) {
        const struct heap_run *named = run;
        struct tsl_defect defect = TSL_NO_DEFECT;
        tally->records++;
        if (run->class_index == HEAP_FLIGHT) {
            tally->in_flight++;
            continue;
        }
        if (run->class_index != HEAP_LARGE && run->class_index != HEAP_CACHE && !heap_is_slab(run))
            return broken(4, run->start, "a run is a slab of a class or a large block");
        if (run->class_index == HEAP_LARGE && heap_map_at(self, run->start) == &tsl_heap_returned) {
            named = &tsl_heap_returned;
            tally->parked_pages += run->pages;
        }
        defect = check_mapped(self, run, named, tally);
        if (defect.rule == 0 && heap_is_slab(run))
            defect = check_slab(self, run, tally);
        if (defect.rule == 0 && run->class_index == HEAP_CACHE)
            defect = check_cache_slab(run, tally);
        if (defect.rule != 0)
            return defect;
    }
    return TSL_NO_DEFECT;
}

/* Rules 3 and 6 for the slabs of one pool that are on its list. */
static struct tsl_defect check_listed(const struct heap_pool *pool, size_t *slabs, size_t *empty)
{
    struct tsl_list *link;

    TSL_LIST_EACH(link, &pool->slabs)
    {
        const struct heap_run *run = heap_run_of(link);
        if (!is_linked(link))
            return broken(3, (uintptr_t)run, "the links of a list agree with each other");
        if (!is_record_used(run))
            return broken(3, (uintptr_t)run, "the record of a run in a list is marked as used");
        if (heap_owner_of(run) != pool ||
            (run->place != HEAP_PLACE_PARTIAL && run->place != HEAP_PLACE_EMPTY))
            return broken(6, run->start, "a slab on a pool's list is its own and has free blocks");
        if (run->place == HEAP_PLACE_PARTIAL && *empty > 0)
            return broken(6, run->start, "partial slabs are in front of empty ones");
        *empty += run->place == HEAP_PLACE_EMPTY;
        (*slabs)++;
    }
    return TSL_NO_DEFECT;
}

/* Rules 3 and 6 for its full slabs. */
static struct tsl_defect check_full(const struct heap_pool *pool, size_t *slabs)
{
    struct tsl_list *link;

    TSL_LIST_EACH(link, &pool->full)
    {
        const struct heap_run *run = heap_run_of(link);
        if (!is_linked(link))
            return broken(3, (uintptr_t)run, "the links of a list agree with each other");
        if (!is_record_used(run))
            return broken(3, (uintptr_t)run, "the record of a run in a list is marked as used");
        if (heap_owner_of(run) != pool || run->place != HEAP_PLACE_FULL)
            return broken(6, run->start, "a slab on a pool's list of full ones is one");
        (*slabs)++;
    }
    return TSL_NO_DEFECT;
}

/* Whether a block of the slab, or none (0), looks live. */
static bool is_taken(const struct heap_run *run, const struct heap_class *class, tsl_word block)
{
    size_t index;

    return block == 0 ||
           (heap_split(class->reciprocal, (uint32_t)(block - run->start), &index) &&
            index < run->blocks &&
            (heap_free_bits(run, index / HEAP_WORD_BITS) >> index % HEAP_WORD_BITS & 1) == 0);
}

/* Rule 7: the current slab, and the blocks at hand. */
static struct tsl_defect check_current(const struct heap_pool *pool, const struct heap_class *class)
{
    uintptr_t place = (uintptr_t)pool;
    const struct heap_run *run = pool->current;

    if (pool->next == 0 && tsl_atomic_load(pool->word) != 0)
        return broken(7, place, "a pool without a next block offers no other");
    if (run == NULL)
        return pool->next == 0
                   ? TSL_NO_DEFECT
                   : broken(7, place, "a pool without a current slab has no next block");
    if (run->place != HEAP_PLACE_CURRENT || heap_owner_of(run) != pool)
        return broken(7, place, "a pool's current slab is its own");
    size_t word = (size_t)(pool->word - run->free);
    if (pool->next != 0 && (word >= HEAP_SLAB_WORDS ||
                            pool->base != run->start + word * HEAP_WORD_BITS * pool->block_bytes))
        return broken(7, place, "a pool's current word is one of its current slab");
    if (!is_taken(run, class, pool->next))
        return broken(7, place, "a pool's next block looks live in its current slab");
    return TSL_NO_DEFECT;
}

/* Rule 7: the spare block. */
static struct tsl_defect check_spare(const struct tsl_heap *self, const struct heap_pool *pool,
                                     const struct heap_class *class)
{
    const struct heap_run *run = pool->last_run;

    if (pool->spare == 0)
        return TSL_NO_DEFECT;
    if (heap_map_at(self, pool->spare) != run || heap_owner_of(run) != pool ||
        !is_taken(run, class, pool->spare) || pool->spare == pool->next)
        return broken(7, (uintptr_t)pool, "a pool's spare block looks live in a slab of its own");
    return TSL_NO_DEFECT;
}

/* Rule 7: the blocks that were freed last. */
static struct tsl_defect check_recent(const struct tsl_heap *self, const struct heap_pool *pool)
{
    const struct heap_recent *recent = pool->recent;

    if (pool->recent_count > pool->recent_room ||
        pool->recent_room > (recent != NULL ? HEAP_RECENT : 0))
        return broken(7, (uintptr_t)pool, "a pool remembers no more freed blocks than it can");
    for (uint32_t i = 0; i < pool->recent_count; i++) {
        const struct heap_run *run = recent->run[i];
        tsl_word block = recent->block[i];
        size_t index = recent->index[i];
        if (heap_map_at(self, block) != run || heap_owner_of(run) != pool ||
            run->place == HEAP_PLACE_EMPTY || run->place == HEAP_PLACE_LOOSE ||
            block != run->start + index * (uintptr_t)pool->block_bytes ||
            !tsl_bits_test(run->free, index))
            return broken(7, block, "a block that a pool remembers is free, in a slab in use");
        for (uint32_t other = 0; other < i; other++)
            if (recent->block[other] == block)
                return broken(7, block, "a pool remembers a freed block once");
    }
    return TSL_NO_DEFECT;
}

/* Rules 3, 6 and 7 for one pool, whose owner cannot change it now. */
static struct tsl_defect check_pool(const struct tsl_heap *self, const struct heap_pool *pool,
                                    const struct heap_class *class, struct tally *tally)
{
    uintptr_t place = (uintptr_t)pool;
    const struct heap_run *run = pool->current;
    size_t slabs = run != NULL, empty = 0;
    struct tsl_defect defect = check_listed(pool, &slabs, &empty);

    if (defect.rule == 0)
        defect = check_full(pool, &slabs);
    if (defect.rule != 0)
        return defect;
    if (pool->block_bytes != class->block_bytes)
        return broken(7, place, "a pool has its class's block size");
    if (slabs != pool->slab_count || empty != pool->empty_count)
        return broken(7, place, "a pool counts its slabs and empty slabs right");
    tally->slabs -= slabs;
    defect = check_current(pool, class);
    if (defect.rule == 0)
        defect = check_spare(self, pool, class);
    return defect.rule == 0 && HEAP_RECENT > 0 ? check_recent(self, pool) : defect;
}

/* The pools of the centre and of this CPU, and that together they have all slabs counted. */
static struct tsl_defect check_pools(const struct tsl_heap *self, struct tally *tally)
{
    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        const struct heap_class *class = &self->classes[i];
        struct tsl_defect defect = check_pool(self, &self->centre.pools[i], class, tally);
        if (defect.rule == 0 && HEAP_HAS_OWNERS && self->cpus[tally->cpu] != &tsl_heap_nobody)
            defect = check_pool(self, &self->cpus[tally->cpu]->pools[i], class, tally);
        if (defect.rule != 0)
            return defect;
    }
    struct tsl_list *link;
    TSL_LIST_EACH(link, &self->caches)
    {
        const struct tsl_heap_cache *cache = TSL_CONTAINER_OF(link, struct tsl_heap_cache, link);
        struct tsl_defect defect = check_pool(self, &cache->pool, &cache->class, tally);
        if (defect.rule != 0)
            return defect;
    }
    if (tally->slabs != 0)
        return broken(7, tally->slabs, "each slab is in its owner's pool");
    return TSL_NO_DEFECT;
}

/* Rule 2. */
static struct tsl_defect check_table(const struct tsl_heap *self)
{
    for (size_t unit = 1; unit < HEAP_TABLE_ENTRIES; unit++) {
        size_t bytes = unit * TSL_HEAP_ALIGN;
        size_t align = tsl_is_power_of_two(bytes) ? bytes : TSL_HEAP_ALIGN;
        unsigned index = self->pool_of[unit] / (unsigned)sizeof(struct heap_pool);

        if (self->pool_of[unit] % sizeof(struct heap_pool) != 0 || index > HEAP_POOLS ||
            (TSL_HEAP_ZERO_FAULTS && index == HEAP_ZERO))
            return broken(2, bytes, "the table names pools");
        for (unsigned i = 0; i < HEAP_CLASSES && i <= index; i++) {
            const struct heap_class *class = &self->classes[i];
            bool fits = class->block_bytes >= bytes && class->align >= align;
            if (fits != (i == index))
                return broken(2, bytes, "the class of a size is the smallest that holds it");
        }
    }
    if (self->pool_of[0] != (TSL_HEAP_ZERO_FAULTS && self->source.protect != NULL
                                 ? HEAP_ZERO * sizeof(struct heap_pool)
                                 : 0))
        return broken(2, 0, "objects of size 0 have their own pool if the source can protect");
    return TSL_NO_DEFECT;
}

/* Large and parked blocks: rules 3 and 9. */
static struct tsl_defect check_large(const struct tsl_list *list, size_t *count, size_t *pages)
{
    struct tsl_list *link;

    TSL_LIST_EACH(link, list)
    {
        const struct heap_run *run = heap_run_of(link);
        if (!is_linked(link))
            return broken(3, (uintptr_t)run, "the links of a list agree with each other");
        if (!is_record_used(run))
            return broken(3, (uintptr_t)run, "the record of a run in a list is marked as used");
        if (run->class_index != HEAP_LARGE || run->pages == 0 ||
            !tsl_is_aligned(run->start, (size_t)1 << run->align_shift))
            return broken(9, run->start, "a large block has pages and keeps its alignment");
        (*count)++;
        *pages += run->pages;
    }
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_all_large(const struct tsl_heap *self, const struct tally *tally)
{
    size_t count = 0, pages = 0, parked = 0, parked_pages = 0;
    struct tsl_defect defect = check_large(&self->large, &count, &pages);

    if (defect.rule == 0)
        defect = check_large(&self->parked, &parked, &parked_pages);
    if (defect.rule != 0)
        return defect;
    if (count != self->large_count || pages != self->large_pages)
        return broken(9, (uintptr_t)&self->large, "large blocks and their pages are counted right");
    if (parked_pages != self->parked_pages || parked_pages != tally->parked_pages)
        return broken(9, (uintptr_t)&self->parked, "parked pages are counted right");
    return TSL_NO_DEFECT;
}

/* Rule 10: record pages, then their total against the runs. */
static struct tsl_defect check_records(const struct tsl_heap *self, const struct tally *tally)
{
    size_t pages = 0, used = 0, spare = 0;

    for (unsigned i = 0; i < 2; i++) {
        struct tsl_list *link;
        TSL_LIST_EACH(link, &self->record_pages[i])
        {
            const struct heap_record_page *page =
                TSL_CONTAINER_OF(link, struct heap_record_page, link);
            if (!is_linked(link))
                return broken(3, (uintptr_t)page, "the links of a list agree with each other");
            size_t free = tsl_bits_count_range(page->free, 0, HEAP_RECORDS_A_PAGE);
            if (page->used + free != HEAP_RECORDS_A_PAGE || (free == 0) != (i == 1))
                return broken(10, (uintptr_t)page, "a record page knows how many are in use");
            pages++;
            used += page->used;
            spare += page->used == 0;
        }
    }
    if (pages != self->record_page_count || spare != self->record_spare_count ||
        used != tally->records || tally->in_flight != self->flight_records)
        return broken(10, used, "each record in use belongs to one run, and pages are counted");
    return TSL_NO_DEFECT;
}

/* Rule 8, the other way round: the map names nothing but runs. Rule 12. */
static struct tsl_defect check_map(const struct tsl_heap *self, const struct tally *tally)
{
    size_t window_pages = self->source.bytes >> TSL_PAGE_SHIFT;
    size_t named = 0, leaves = 0;

    for (size_t i = 0; i < self->map_leaves; i++) {
        struct heap_run **leaf = self->map_root[i];
        size_t rest = window_pages - i * HEAP_LEAF_ENTRIES;
        leaves += leaf != self->map_none;
        for (size_t j = 0; leaf != self->map_none && j < HEAP_LEAF_ENTRIES && j < rest; j++)
            named += leaf[j] != &tsl_heap_nowhere && leaf[j] != &tsl_heap_returned;
    }
    if (TSL_HEAP_ARRAYS) {
        struct tsl_defect defect = tsl_heap_arrays_check(self, &named);
        if (defect.rule != 0)
            return defect;
    }
    if (named != tally->mapped)
        return broken(8, named, "the map names no page that belongs to no run");
    if (leaves != (self->is_map_flat ? self->map_leaves : self->map_leaf_pages))
        return broken(1, leaves, "the leaves of the map are counted right");
    return TSL_NO_DEFECT;
}

/* Rules 1 and 11: the totals. */
static struct tsl_defect check_totals(const struct tsl_heap *self, const struct tally *tally)
{
    size_t pages = self->head_pages + self->record_page_count + self->map_leaf_pages +
                   self->cpu_pages + self->flight_pages + tally->pages;
    size_t large_bytes = self->large_pages << TSL_PAGE_SHIFT;

    if (pages != self->taken_pages)
        return broken(1, self->taken_pages, "each page taken from the source is accounted for");
    if (self->taken_pages > heap_ceiling_pages(self) ||
        (TSL_HEAP_ARRAYS && self->taken_pages - self->arrays->taken_pages >
                                heap_ceiling_pages(self) - self->arrays->pages))
        return broken(1, self->taken_pages, "no more is taken than the ceiling allows");
    if (self->large_allocs - self->large_frees != self->large_count)
        return broken(11, self->large_count, "large allocations and frees are counted right");
    if (tally->elsewhere == 0 && tally->used_bytes + large_bytes != tsl_heap_live_bytes(self))
        return broken(11, tally->used_bytes, "live blocks are counted right");
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_heap(const struct tsl_heap *self)
{
    struct tally tally = {.cpu = HEAP_HAS_OWNERS ? tsl_cpu_this() : 0};
    struct tsl_defect defect = check_table(self);

    if (defect.rule == 0)
        defect = check_runs(self, &tally);
    if (defect.rule == 0)
        defect = check_pools(self, &tally);
    if (defect.rule == 0)
        defect = check_all_large(self, &tally);
    if (defect.rule == 0)
        defect = check_records(self, &tally);
    if (defect.rule == 0)
        defect = check_map(self, &tally);
    return defect.rule != 0 ? defect : check_totals(self, &tally);
}

struct tsl_defect tsl_heap_verify(const struct tsl_heap *self)
{
    /* The lock is the one thing that a reader has to write. */
    struct tsl_lock *lock = (struct tsl_lock *)(uintptr_t)&self->lock;
    tsl_pin pin = tsl_lock_acquire(lock);
    struct tsl_defect defect = check_heap(self);

    tsl_lock_release(lock, pin);
    return defect.rule == 0 && HEAP_GUARDED ? tsl_heap_guard_check(self) : defect;
}
