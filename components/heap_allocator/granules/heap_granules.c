/* SPDX-License-Identifier: MIT
 *
 * heap_granules.c: the map of granules: free runs found, taken and given, blocks found by address.
 *
 * Owns:    bits, hints and marks of struct heap_granules.
 * Needs:   base (bits.h). Called under the heap's lock.
 * Callers: the other files of this core.
 *
 * Search is first fit by address. Hints keep it off pages where it cannot end: four or eight of
 * them are looked at in one step, and a page that was searched in vain gets an exact one. That a
 * hint is never too small is rule 24.
 */
#include "../heap_allocator_internal.h"

#define EACH_BYTE (~(tsl_word)0 / 255)

/* From so many granules on, codes stand for 32 lengths each. */
#define EXACT_CODES 64u

unsigned tsl_heap_granules_code(size_t granules)
{
    if (granules < EXACT_CODES)
        return (unsigned)granules;
    size_t code = EXACT_CODES + granules / 32;
    return code < HEAP_HINT_LOOK ? (unsigned)code : HEAP_HINT_LOOK;
}

static uint8_t *hint_of(const struct heap_granules *map, size_t page)
{
    return (uint8_t *)map->hints + page;
}

static bool is_free(const struct heap_granules *map, size_t granule)
{
    return !tsl_bits_test(map->bits, granule) && !tsl_bits_test(map->bits, granule - 1);
}

size_t tsl_heap_granules_for(size_t bytes)
{
    size_t count = bytes / HEAP_GRANULE_BYTES + (bytes % HEAP_GRANULE_BYTES != 0);

    return count < HEAP_LEAST_GRANULES ? HEAP_LEAST_GRANULES : count;
}

bool tsl_heap_page_is_empty(const struct tsl_heap *self, size_t page)
{
    return tsl_bits_all_clear(self->granules->bits, page * HEAP_PAGE_GRANULES - 1,
                              HEAP_PAGE_GRANULES + 1);
}

/* The next free granule in a page; the page's end if there is none. */
static size_t next_free(const struct heap_granules *map, size_t from, size_t end)
{
    tsl_word mask = ~(tsl_word)0 << from % TSL_WORD_BITS;

    for (size_t at = from / TSL_WORD_BITS; at < end / TSL_WORD_BITS; at++) {
        const tsl_word *word = &map->bits[at];
        tsl_word open = ~(word[0] | word[0] << 1 | word[-1] >> (TSL_WORD_BITS - 1)) & mask;
        if (open != 0)
            return at * TSL_WORD_BITS + tsl_bits_lowest(open);
        mask = ~(tsl_word)0;
    }
    return end;
}

/* The lowest run that begins in the page and is long enough; without one, the hint becomes
 * exact. */
static size_t find_in_page(const struct heap_granules *map, size_t page, size_t count, size_t align,
                           size_t origin)
{
    size_t end = (page + 1) * HEAP_PAGE_GRANULES, longest = 0;
    size_t at = next_free(map, page * HEAP_PAGE_GRANULES, end);

    while (at < end) {
        size_t first = tsl_align_up(origin + at, align) - origin;
        /* The page behind the window ends every search. */
        size_t behind = tsl_bits_find_set(map->bits, first + count, at);
        if (behind == TSL_BITS_NONE)
            return first;
        if (longest < behind - at)
            longest = behind - at;
        at = next_free(map, behind, end);
    }
    *hint_of(map, page) = (uint8_t)tsl_heap_granules_code(longest);
    return TSL_BITS_NONE;
}

/* The next page from `page` on whose hint is not below the code; beyond the window if none. */
static size_t next_page(const struct heap_granules *map, size_t page, unsigned code)
{
    tsl_word add = EACH_BYTE * (128 - code);

    for (; page % sizeof(tsl_word) != 0; page++)
        if (*hint_of(map, page) >= code)
            return page;
    for (; page <= map->pages; page += sizeof(tsl_word)) {
        tsl_word hits = (map->hints[page / sizeof(tsl_word)] + add) & EACH_BYTE * 128;
        if (hits != 0)
            return page + tsl_bits_lowest(hits) / 8;
    }
    return page;
}

size_t tsl_heap_granules_find(struct tsl_heap *self, size_t count, size_t align)
{
    struct heap_granules *map = self->granules;
    size_t origin = heap_granules_origin(&self->source) / HEAP_GRANULE_BYTES;
    unsigned code = tsl_heap_granules_code(count);
    size_t page = 0;

    while ((page = next_page(map, page, code)) <= map->pages) {
        size_t first = find_in_page(map, page, count, align, origin);
        if (first != TSL_BITS_NONE)
            return first;
        page++;
    }
    return TSL_BITS_NONE;
}

void tsl_heap_granules_take(struct tsl_heap *self, size_t first, size_t count, bool is_new)
{
    struct heap_granules *map = self->granules;

    for (size_t page = first / HEAP_PAGE_GRANULES; page <= (first + count - 1) / HEAP_PAGE_GRANULES;
         page++)
        map->empty_pages -= tsl_heap_page_is_empty(self, page);
    tsl_bits_set_range(map->bits, is_new ? first : first - 1, is_new ? count - 1 : count);
    map->live += count;
}

/* Runs that begin in the pages before may have become longer: one that begins before so many empty
 * pages has the greatest code already. */
#define LOOK_BACK_PAGES 8u

void tsl_heap_granules_give(struct tsl_heap *self, size_t first, size_t count)
{
    struct heap_granules *map = self->granules;
    size_t begin = first / HEAP_PAGE_GRANULES, last = (first + count - 1) / HEAP_PAGE_GRANULES;
    size_t empty = map->empty_pages;

    /* The granule before ends now, or did already: it was another block's. */
    tsl_bits_clear_range(map->bits, first - 1, count);
    map->live -= count;
    for (size_t page = begin; page <= last; page++) {
        *hint_of(map, page) = HEAP_HINT_LOOK;
        map->empty_pages += tsl_heap_page_is_empty(self, page);
    }
    if (count > HEAP_LARGE_GRANULES) {
        map->due_pages += map->empty_pages - empty;
        map->due_last = last;
    }
    for (unsigned i = 0; i < LOOK_BACK_PAGES; i++) {
        if (!is_free(map, begin * HEAP_PAGE_GRANULES - 1))
            return;
        *hint_of(map, --begin) = HEAP_HINT_LOOK;
    }
}

void tsl_heap_page_open(struct tsl_heap *self, size_t page)
{
    struct heap_granules *map = self->granules;

    TSL_ASSERT((map->marks[page] & HEAP_PAGE_OWNED) == 0);
    map->marks[page] = HEAP_PAGE_OWNED | HEAP_PAGE_KNOWN;
    map->owned_pages++;
    map->live += HEAP_PAGE_GRANULES;
    tsl_heap_granules_give(self, page * HEAP_PAGE_GRANULES, HEAP_PAGE_GRANULES);
}

void tsl_heap_page_close(struct tsl_heap *self, size_t page)
{
    struct heap_granules *map = self->granules;

    map->marks[page] = HEAP_PAGE_KNOWN;
    map->owned_pages--;
    tsl_heap_granules_take(self, page * HEAP_PAGE_GRANULES, HEAP_PAGE_GRANULES, true);
    map->live -= HEAP_PAGE_GRANULES;
    *hint_of(map, page) = 0;
}

static size_t end_of_block(const struct heap_granules *map, size_t granule)
{
    return tsl_bits_find_clear(map->bits, SIZE_MAX, granule) + 1;
}

enum tsl_status tsl_heap_block_at(const struct tsl_heap *self, const void *block,
                                  struct heap_block *out)
{
    const struct heap_granules *map = self->granules;
    uintptr_t address = (uintptr_t)block;
    size_t at = (address - heap_granules_origin(&self->source)) / HEAP_GRANULE_BYTES;

    out->granules = 0;
    if (!heap_is_in_window(self, address) || map->marks[at / HEAP_PAGE_GRANULES] == 0)
        return TSL_FOREIGN;
    if (!tsl_is_aligned(address, TSL_HEAP_ALIGN))
        return TSL_MISALIGNED;
    if ((map->marks[at / HEAP_PAGE_GRANULES] & HEAP_PAGE_OWNED) == 0 || is_free(map, at))
        return TSL_DOUBLE_FREE;
    bool is_inside = tsl_bits_test(map->bits, at - 1);
    /* How large that block is stands in reports only. */
    if (is_inside && !TSL_LOG_SENTENCES)
        return TSL_INVALID;
    while (tsl_bits_test(map->bits, at - 1))
        at--;
    out->first = at;
    out->granules = end_of_block(map, at) - at;
    if (is_inside)
        return TSL_INVALID;
    return heap_is_moving(self, block) ? TSL_BUSY : TSL_OK;
}

bool tsl_heap_block_next(const struct tsl_heap *self, size_t from, struct heap_block *out)
{
    const struct heap_granules *map = self->granules;

    for (;;) {
        out->first = tsl_bits_find_set(map->bits, SIZE_MAX, from);
        if (out->first / HEAP_PAGE_GRANULES > map->pages)
            return false;
        from = end_of_block(map, out->first);
        out->granules = from - out->first;
        if ((map->marks[out->first / HEAP_PAGE_GRANULES] & HEAP_PAGE_OWNED) != 0)
            return true;
    }
}
