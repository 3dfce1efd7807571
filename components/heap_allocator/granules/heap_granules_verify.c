/* SPDX-License-Identifier: MIT
 *
 * heap_granules_verify.c: self-check of a heap of granules: rules 21 to 26 of README.md,
 * "Invariants".
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   heap_granules.c (to walk), heap_allocator_internal.h.
 * Callers: anyone; the heap is locked meanwhile.
 */
#include "../heap_allocator_internal.h"

static struct tsl_defect broken(unsigned rule, uintptr_t place, const char *sentence)
{
    return tsl_defect_at("heap", rule, place, sentence);
}

static bool is_owned(const struct heap_granules *map, size_t page)
{
    return (map->marks[page] & HEAP_PAGE_OWNED) != 0;
}

/* Rule 22: the bits of a page that is not the heap's are those of one block. */
static bool is_closed(const struct heap_granules *map, size_t page)
{
    size_t first = page * HEAP_PAGE_GRANULES, last = first + HEAP_PAGE_GRANULES - 1;

    return tsl_bits_all_set(map->bits, first, HEAP_PAGE_GRANULES - 1) &&
           !tsl_bits_test(map->bits, last) && (page == 0 || !tsl_bits_test(map->bits, first - 1));
}

static struct tsl_defect check_pages(const struct tsl_heap *self)
{
    const struct heap_granules *map = self->granules;
    size_t owned = 0, empty = 0;

    if (is_owned(map, 0) || is_owned(map, map->pages + 1))
        return broken(22, 0, "the pages beside the window are not the heap's");
    for (size_t page = 0; page <= map->pages + 1; page++) {
        bool has_hint = ((const uint8_t *)map->hints)[page] != 0;
        if (is_owned(map, page)) {
            owned++;
            empty += tsl_heap_page_is_empty(self, page);
            continue;
        }
        if (!is_closed(map, page) || has_hint)
            return broken(22, page, "pages that are not the heap's look like a block each");
        if (map->marks[page] > HEAP_PAGE_KNOWN || map->marks[page] == HEAP_PAGE_OWNED)
            return broken(22, page, "pages that are not the heap's have no other mark");
    }
    if (owned != map->owned_pages)
        return broken(21, owned, "pages of the heap are counted right");
    if (empty != map->empty_pages)
        return broken(25, empty, "empty pages are counted right");
    return TSL_NO_DEFECT;
}

/* Rule 24 for the runs that begin in a page. *run: behind the page, and then at its start. */
static struct tsl_defect check_hint(const struct heap_granules *map, size_t page, size_t *run)
{
    unsigned hint = ((const uint8_t *)map->hints)[page];
    size_t first = page * HEAP_PAGE_GRANULES, longest = 0;
    bool is_open = !tsl_bits_test(map->bits, first + HEAP_PAGE_GRANULES - 1);

    /* From the last granule down, so that a run's length is known where it begins. */
    for (size_t granule = first + HEAP_PAGE_GRANULES; granule-- > first;) {
        bool goes_on = tsl_bits_test(map->bits, granule - 1);
        *run = is_open && !goes_on ? *run + 1 : 0;
        longest = *run > longest ? *run : longest;
        is_open = !goes_on;
    }
    if (hint > HEAP_HINT_LOOK || hint < tsl_heap_granules_code(longest))
        return broken(24, page, "no free run is longer than the hint of its page says");
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_hints(const struct tsl_heap *self)
{
    const struct heap_granules *map = self->granules;
    struct tsl_defect defect = TSL_NO_DEFECT;
    size_t run = 0;

    for (size_t page = map->pages; page > 0 && defect.rule == 0; page--)
        if (is_owned(map, page))
            defect = check_hint(map, page, &run);
        else
            run = 0;
    return defect;
}

/* Rule 26 for a page that is marked. */
static bool is_strict(const struct tsl_heap *self, size_t page)
{
    const struct heap_granules *map = self->granules;
    size_t first = page * HEAP_PAGE_GRANULES;
    uintptr_t pages = (heap_granules_origin(&self->source) >> TSL_PAGE_SHIFT) + page;
    unsigned shift = map->marks[page] >> HEAP_PAGE_ALIGN_SHIFT;

    return tsl_bits_test(map->bits, first) && !tsl_bits_test(map->bits, first - 1) &&
           (pages & (((uintptr_t)1 << shift) - 1)) == 0;
}

/* Rules 23 and 26. */
static struct tsl_defect check_blocks(const struct tsl_heap *self)
{
    const struct heap_granules *map = self->granules;
    struct heap_block block = {0};
    size_t blocks = 0, live = 0;

    for (size_t from = 0; tsl_heap_block_next(self, from, &block);
         from = block.first + block.granules) {
        blocks++;
        live += block.granules;
    }
    if (blocks != map->allocs - map->frees)
        return broken(23, blocks, "allocations less frees are the live blocks");
    if (live != map->live)
        return broken(23, live, "granules of live blocks are counted right");
    for (size_t page = 1; page <= map->pages; page++) {
        bool is_marked = (map->marks[page] & HEAP_PAGE_STRICT) != 0;
        if (is_marked ? !is_strict(self, page) : map->marks[page] >> HEAP_PAGE_ALIGN_SHIFT != 0)
            return broken(26, page, "a page with a strict block begins with one so aligned");
    }
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_totals(const struct tsl_heap *self)
{
    size_t pages = self->head_pages + self->flight_pages + self->granules->owned_pages;

    if (pages != self->taken_pages)
        return broken(21, self->taken_pages, "each page taken from the source is accounted for");
    if (self->taken_pages > self->ceiling_pages)
        return broken(21, self->taken_pages, "no more is taken than the ceiling allows");
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_heap_verify(const struct tsl_heap *self)
{
    /* The lock is the one thing that a reader has to write. */
    struct tsl_lock *lock = (struct tsl_lock *)(uintptr_t)&self->lock;
    tsl_pin pin = tsl_lock_acquire(lock);
    struct tsl_defect defect = check_totals(self);

    if (defect.rule == 0)
        defect = check_pages(self);
    if (defect.rule == 0)
        defect = check_blocks(self);
    if (defect.rule == 0)
        defect = check_hints(self);
    tsl_lock_release(lock, pin);
    return defect;
}
