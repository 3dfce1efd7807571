/* SPDX-License-Identifier: MIT
 *
 * heap_allocator_verify.c: self-check of a heap: the rules numbered in README.md, "Invariants".
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   heap_allocator_internal.h.
 * Callers: anyone; the heap is locked meanwhile.
 */
#include "heap_allocator_internal.h"

/* What the rules have counted so far. */
struct tally {
    size_t pages;   /* of all runs */
    size_t records; /* in use by runs in lists */
    size_t mapped;  /* pages of runs that the map must name */
    size_t bytes;
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
    size_t offset = (size_t)((const char *)run - (const char *)page->records);

    return (const char *)run >= (const char *)page->records && offset % sizeof *run == 0 &&
           offset / sizeof *run < HEAP_RECORDS_A_PAGE &&
           !tsl_bits_test(page->free, offset / sizeof *run);
}

/* Rules 3 and 8, for any run; adds it to the tally. */
static struct tsl_defect check_run(const struct tsl_heap *self, const struct heap_run *run,
                                   const struct heap_run *named, struct tally *tally)
{
    tally->pages += run->pages;
    tally->records++;
    if (tally->pages > self->taken_pages)
        return broken(1, run->start, "the runs have no more pages than were taken");
    if (!is_record_used(run))
        return broken(3, (uintptr_t)run, "the record of a run in a list is marked as used");
    for (size_t i = 0; i < run->pages; i++)
        if (heap_map_at(self, run->start + (i << TSL_PAGE_SHIFT)) != named)
            return broken(8, run->start, "the map names its run for each page of a run");
    tally->mapped += named == run ? run->pages : 0;
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_slab(const struct heap_class *pool, const struct heap_run *run,
                                    enum heap_fill fill)
{
    size_t count = tsl_bits_count_range(run->free, 0, HEAP_SLAB_BLOCKS);
    enum heap_fill right = run->free_count == 0                   ? HEAP_FULL
                           : run->free_count == pool->slab_blocks ? HEAP_EMPTY
                                                                  : HEAP_PARTIAL;

    if (run->pages != pool->slab_pages ||
        !tsl_is_aligned(run->start, pool->align > TSL_PAGE_BYTES ? pool->align : TSL_PAGE_BYTES))
        return broken(4, run->start, "a slab has its class's pages and alignment");
    if (count != run->free_count ||
        tsl_bits_find_set(run->free, HEAP_SLAB_BLOCKS, pool->slab_blocks) != TSL_BITS_NONE)
        return broken(5, run->start, "a slab has one bit for each free block and no other bits");
    if (!tsl_bits_all_clear(run->free, 0, run->hint * HEAP_WORD_BITS))
        return broken(5, run->start, "a slab has no free block below its hint");
    if (fill != right)
        return broken(6, run->start, "a slab is in the list that its number of free blocks says");
    return TSL_NO_DEFECT;
}

/* Rules 4 to 8 for one class. */
static struct tsl_defect check_class(const struct tsl_heap *self, unsigned index,
                                     struct tally *tally)
{
    const struct heap_class *pool = &self->classes[index];
    size_t slabs = 0, empty = 0, live = 0;
    struct tsl_defect defect;

    for (unsigned fill = 0; fill < HEAP_FILLS; fill++) {
        struct tsl_list *link;
        TSL_LIST_EACH(link, &pool->slabs[fill])
        {
            const struct heap_run *run = heap_run_of(link);
            if (!is_linked(link))
                return broken(3, (uintptr_t)run, "the links of a list agree with each other");
            if (run->class_index != index)
                return broken(4, run->start, "a slab in a class's list is of that class");
            defect = check_run(self, run, run, tally);
            if (defect.rule == 0)
                defect = check_slab(pool, run, (enum heap_fill)fill);
            if (defect.rule != 0)
                return defect;
            slabs++;
            empty += fill == HEAP_EMPTY;
            live += pool->slab_blocks - run->free_count;
        }
    }
    if (slabs != pool->slab_count || empty != pool->empty_count || live != heap_class_live(pool))
        return broken(7, index, "a class counts its slabs, empty slabs and live blocks right");
    tally->bytes += live * pool->block_bytes;
    return TSL_NO_DEFECT;
}

/* Rule 2. */
static struct tsl_defect check_table(const struct tsl_heap *self)
{
    for (size_t unit = 1; unit <= self->largest / TSL_HEAP_ALIGN; unit++) {
        size_t bytes = unit * TSL_HEAP_ALIGN;
        size_t align = tsl_is_power_of_two(bytes) ? bytes : TSL_HEAP_ALIGN;
        unsigned index = self->class_of[unit];

        for (unsigned i = 0; i < HEAP_CLASSES && i <= index; i++) {
            const struct heap_class *pool = &self->classes[i];
            bool fits = pool->block_bytes >= bytes && pool->align >= align;
            if (fits != (i == index))
                return broken(2, bytes, "the class of a size is the smallest that holds it");
        }
    }
    return TSL_NO_DEFECT;
}

/* Large and parked blocks: rule 9, and 3 and 8. */
static struct tsl_defect check_large(const struct tsl_heap *self, const struct tsl_list *list,
                                     size_t count, size_t pages, struct tally *tally)
{
    struct tsl_list *link;
    size_t have = 0, have_pages = 0;
    bool is_parked = list == &self->parked;

    TSL_LIST_EACH(link, list)
    {
        const struct heap_run *run = heap_run_of(link);
        if (!is_linked(link))
            return broken(3, (uintptr_t)run, "the links of a list agree with each other");
        if (run->class_index != HEAP_LARGE || run->pages == 0 ||
            !tsl_is_aligned(run->start, (size_t)1 << run->align_shift))
            return broken(9, run->start, "a large block has pages and keeps its alignment");
        struct tsl_defect defect =
            check_run(self, run, is_parked ? &tsl_heap_returned : run, tally);
        if (defect.rule != 0)
            return defect;
        have++;
        have_pages += run->pages;
    }
    if ((!is_parked && have != count) || have_pages != pages)
        return broken(9, (uintptr_t)list, "large blocks and their pages are counted right");
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
        used != tally->records + self->flight_records)
        return broken(10, used, "each record in use belongs to one run, and pages are counted");
    return TSL_NO_DEFECT;
}

/* Rule 8, the other way round: the map names nothing but runs. */
static struct tsl_defect check_map(const struct tsl_heap *self, const struct tally *tally)
{
    size_t window_pages = self->source.bytes >> TSL_PAGE_SHIFT;
    size_t named = 0, leaves = 0;

    for (size_t i = 0; i < self->map_leaves; i++) {
        struct heap_run **leaf = self->map_root[i];
        size_t rest = window_pages - i * HEAP_LEAF_ENTRIES;
        leaves += leaf != NULL;
        for (size_t j = 0; leaf != NULL && j < HEAP_LEAF_ENTRIES && j < rest; j++)
            named += leaf[j] != NULL && leaf[j] != &tsl_heap_returned;
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
                   self->flight_pages + tally->pages;

    if (pages != self->taken_pages)
        return broken(1, self->taken_pages, "each page taken from the source is accounted for");
    if (self->taken_pages > self->ceiling_pages)
        return broken(1, self->taken_pages, "no more is taken than the ceiling allows");
    if (tally->bytes != self->live_bytes || self->live_bytes > self->peak_bytes ||
        self->large_allocs - self->large_frees != self->large_count)
        return broken(11, self->live_bytes, "live blocks and bytes are counted right");
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_heap(const struct tsl_heap *self)
{
    struct tally tally = {0};
    struct tsl_defect defect = check_table(self);

    for (unsigned i = 0; i < HEAP_CLASSES && defect.rule == 0; i++)
        defect = check_class(self, i, &tally);
    tally.bytes += self->large_pages << TSL_PAGE_SHIFT;
    if (defect.rule == 0)
        defect = check_large(self, &self->large, self->large_count, self->large_pages, &tally);
    if (defect.rule == 0)
        defect = check_large(self, &self->parked, 0, self->parked_pages, &tally);
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
    return defect;
}
