/* SPDX-License-Identifier: MIT
 *
 * heap_array.c: memory that is added to a heap at run time, beside its page source.
 *
 * Owns:    the list of arrays; in each, which pages are taken, and its part of the page map.
 * Needs:   heap_record.c, heap_owner.c (the wait for readers).
 * Callers: users of the heap (add, remove), the other files behind TSL_HEAP_ARRAYS.
 *
 *      | struct heap_array | map: a pointer a page | bits: 1 = free | pages ... |
 *
 * Only runs and their records come from an array, so that it is whole again when its last block has
 * gone: leaves of the map and what CPUs own stay until the heap ends, and come from the source. The
 * record of a run in an array is in the same array. Everything is under the heap's lock, but for
 * the map, which anybody reads who is pinned: who removes an array waits for those.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

struct heap_array {
    struct heap_array *next; /* atomic; constant, as the next five */
    const void *begin;       /* as it was added */
    uintptr_t last;          /* byte of what was added */
    uintptr_t start;         /* of the pages */
    size_t pages;
    tsl_word *free;
    bool is_leaving; /* somebody removes it: no page is taken any more */
    struct heap_run *map[];
};

/* A page for a record, a page for a block. */
#define LEAST_PAGES 2u

static struct heap_array *first_of(const struct tsl_heap *self)
{
    return TSL_ATOMIC_LOAD_POINTER(&self->arrays->first);
}

struct heap_array *tsl_heap_array_of(const struct tsl_heap *self, uintptr_t address)
{
    struct heap_array *array = first_of(self);

    while (array != NULL && address - array->start >= array->pages << TSL_PAGE_SHIFT)
        array = TSL_ATOMIC_LOAD_POINTER(&array->next);
    return array;
}

bool tsl_heap_array_holds(const struct tsl_heap *self, uintptr_t address)
{
    const struct heap_array *array = first_of(self);

    while (array != NULL &&
           address - (uintptr_t)array->begin > array->last - (uintptr_t)array->begin)
        array = TSL_ATOMIC_LOAD_POINTER(&array->next);
    return array != NULL;
}

struct heap_run **tsl_heap_array_entry(struct heap_array *array, uintptr_t address)
{
    return &array->map[(address - array->start) >> TSL_PAGE_SHIFT];
}

/* => locked. The first free pages so aligned; TSL_BITS_NONE if there are none. */
static size_t find_pages(const struct heap_array *array, size_t pages, size_t align_pages)
{
    size_t align = align_pages << TSL_PAGE_SHIFT, from = 0;

    for (;;) {
        size_t found = tsl_bits_find_set_run(array->free, array->pages, from, pages, 1);
        if (found == TSL_BITS_NONE)
            return TSL_BITS_NONE;
        uintptr_t start = array->start + (found << TSL_PAGE_SHIFT);
        from = found + ((tsl_align_up_vaddr(start, align) - start) >> TSL_PAGE_SHIFT);
        if (from == found || from >= array->pages)
            return from == found ? found : TSL_BITS_NONE;
    }
}

/* => locked. Counts pages of an array as taken. */
static void take(struct tsl_heap *self, struct heap_array *array, size_t first, size_t pages)
{
    tsl_bits_clear_range(array->free, first, pages);
    self->arrays->taken_pages += pages;
    self->taken_pages += pages;
}

/* => locked. Undoes take. */
static void give(struct tsl_heap *self, struct heap_array *array, size_t first, size_t pages)
{
    TSL_ASSERT(tsl_bits_all_clear(array->free, first, pages));
    tsl_bits_set_range(array->free, first, pages);
    self->arrays->taken_pages -= pages;
    self->taken_pages -= pages;
}

/* => locked. A record out of the array, from a new page of records if need be. */
static struct heap_run *record_new(struct tsl_heap *self, struct heap_array *array)
{
    struct heap_run *run = tsl_heap_record_take(self, array);
    if (run != NULL)
        return run;
    /* From behind, where no block wants to grow. */
    size_t page = array->pages - 1;
    while (page > 0 && !tsl_bits_test(array->free, page))
        page--;
    if (!tsl_bits_test(array->free, page))
        return NULL;
    take(self, array, page, 1);
    tsl_heap_record_page_add(self, (void *)(array->start + (page << TSL_PAGE_SHIFT)));
    return tsl_heap_record_take(self, array);
}

/* => locked */
static struct heap_run *run_new(struct tsl_heap *self, struct heap_array *array, size_t pages,
                                size_t align_pages)
{
    size_t first = array->is_leaving ? TSL_BITS_NONE : find_pages(array, pages, align_pages);
    if (first == TSL_BITS_NONE)
        return NULL;
    take(self, array, first, pages);
    struct heap_run *run = record_new(self, array);
    if (run == NULL) {
        give(self, array, first, pages);
        return NULL;
    }
    self->flight_pages += pages;
    tsl_heap_source_came(self);
    run->start = array->start + (first << TSL_PAGE_SHIFT);
    run->pages = (uint32_t)pages;
    return run;
}

struct heap_run *tsl_heap_array_run(struct tsl_heap *self, size_t pages, size_t align_pages)
{
    struct heap_run *run = NULL;

    if (first_of(self) == NULL)
        return NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (struct heap_array *array = first_of(self); array != NULL && run == NULL;
         array = array->next)
        run = run_new(self, array, pages, align_pages);
    tsl_lock_release(&self->lock, pin);
    return run;
}

bool tsl_heap_array_give(struct tsl_heap *self, const void *start, size_t pages)
{
    if (first_of(self) == NULL)
        return false;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_array *array = tsl_heap_array_of(self, (uintptr_t)start);

    if (array != NULL) {
        give(self, array, ((uintptr_t)start - array->start) >> TSL_PAGE_SHIFT, pages);
        self->flight_pages -= pages;
    }
    tsl_lock_release(&self->lock, pin);
    return array != NULL;
}

bool tsl_heap_array_extend(struct tsl_heap *self, const struct heap_run *run, size_t more)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_array *array = tsl_heap_array_of(self, run->start);
    size_t tail = ((run->start - array->start) >> TSL_PAGE_SHIFT) + run->pages;
    bool fits = !array->is_leaving && more <= array->pages - tail &&
                tsl_bits_all_set(array->free, tail, more);

    if (fits) {
        take(self, array, tail, more);
        self->flight_pages += more;
    }
    tsl_lock_release(&self->lock, pin);
    return fits;
}

/* Places the parts of an array; *out: not yet there, but for the numbers. */
static enum tsl_status place(void *memory, size_t bytes, struct heap_array *out,
                             struct heap_array **where)
{
    uintptr_t start = (uintptr_t)memory, last;
    size_t most = bytes >> TSL_PAGE_SHIFT;

    if (memory == NULL || !tsl_checked_last(start, bytes, &last))
        return TSL_INVALID;
    if (most > UINT32_MAX)
        return TSL_OUT_OF_RANGE;
    size_t words = (most + HEAP_WORD_BITS - 1) / HEAP_WORD_BITS;
    size_t map_end = sizeof(struct heap_array) + most * sizeof(struct heap_run *);
    size_t head = map_end + words * sizeof(tsl_word);

    /* Without rounding up past the end; `most` is a little more than the pages that remain. */
    if (bytes / TSL_PAGE_BYTES < LEAST_PAGES + 1 ||
        bytes - LEAST_PAGES * TSL_PAGE_BYTES < head + 16)
        return TSL_NO_MEMORY;
    *where = (void *)tsl_align_up_vaddr(start, TSL_HEAP_ALIGN);
    uintptr_t first = tsl_align_up_vaddr((uintptr_t)*where + head, TSL_PAGE_BYTES);
    if (first > last || last - first < LEAST_PAGES * TSL_PAGE_BYTES - 1)
        return TSL_NO_MEMORY;
    *out = (struct heap_array){.begin = memory,
                               .last = last,
                               .start = first,
                               .pages = (last - first + 1) >> TSL_PAGE_SHIFT,
                               .free = (void *)((char *)*where + map_end)};
    return TSL_OK;
}

static bool overlaps(uintptr_t start, uintptr_t last, uintptr_t other, size_t bytes)
{
    return start <= other + (bytes - 1) && other <= last;
}

/* => locked. Some of an array is the heap's already. */
static bool is_known(const struct tsl_heap *self, const struct heap_array *new_one)
{
    uintptr_t start = (uintptr_t)new_one->begin, last = new_one->last;

    if (overlaps(start, last, self->source.start, self->source.bytes) ||
        overlaps(start, last, (uintptr_t)self, self->head_bytes))
        return true;
    for (const struct heap_array *array = first_of(self); array != NULL; array = array->next)
        if (start <= array->last && (uintptr_t)array->begin <= last)
            return true;
    return false;
}

/* => locked. From here on the array's pages can be taken. */
static void join(struct tsl_heap *self, struct heap_array *array, const struct heap_array *numbers)
{
    *array = *numbers;
    array->next = first_of(self);
    tsl_heap_map_wipe(array->map, array->pages);
    memset(array->free, 0, (array->pages + HEAP_WORD_BITS - 1) / HEAP_WORD_BITS * sizeof(tsl_word));
    tsl_bits_set_range(array->free, 0, array->pages);
    self->arrays->pages += array->pages;
    tsl_atomic_store(&self->ceiling_pages, self->ceiling_pages + array->pages);
    TSL_ATOMIC_STORE_POINTER(&self->arrays->first, array);
}

enum tsl_status tsl_heap_add_array(struct tsl_heap *self, void *array, size_t bytes)
{
    struct heap_array numbers, *where = NULL;

    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no heap to add an array to");
    enum tsl_status status = place(array, bytes, &numbers, &where);
    if (status == TSL_OK) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        if (is_known(self, &numbers))
            status = TSL_OVERLAP;
        else
            join(self, where, &numbers);
        tsl_lock_release(&self->lock, pin);
    }
    if (status == TSL_OK)
        return TSL_OK;
    return tsl_refuse(&self->refusals, status, "heap %p: array of %zu bytes at %p", (void *)self,
                      bytes, array);
}

/* Nobody takes pages of the array any more, until it is released or gone. */
static enum tsl_status claim(struct tsl_heap *self, const void *begin, struct heap_array **out)
{
    enum tsl_status status = TSL_NOT_FOUND;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    for (struct heap_array *array = first_of(self); array != NULL; array = array->next) {
        if (array->begin != begin)
            continue;
        status = array->is_leaving ? TSL_BUSY : TSL_OK;
        array->is_leaving = true;
        *out = array;
    }
    tsl_lock_release(&self->lock, pin);
    return status;
}

/* => locked. Takes a whole array out of the list; whoever looks at it finds what follows. */
static void leave(struct tsl_heap *self, struct heap_array *leaving)
{
    struct heap_array **link = &self->arrays->first;

    while (*link != leaving)
        link = &(*link)->next;
    TSL_ATOMIC_STORE_POINTER(link, leaving->next);
    self->arrays->pages -= leaving->pages;
    tsl_atomic_store(&self->ceiling_pages, self->ceiling_pages - leaving->pages);
}

enum tsl_status tsl_heap_remove_array(struct tsl_heap *self, const void *array)
{
    struct heap_array *found = NULL;

    if (self == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no heap to remove an array from");
    enum tsl_status status = claim(self, array, &found);
    if (status == TSL_OK) {
        (void)tsl_heap_end_quarantine(self);
        (void)tsl_heap_trim(self);
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        if (tsl_bits_all_set(found->free, 0, found->pages))
            leave(self, found);
        else
            status = TSL_BUSY;
        found->is_leaving = false;
        tsl_lock_release(&self->lock, pin);
    }
    if (status == TSL_OK && HEAP_HAS_OWNERS)
        tsl_heap_wait_for_readers();
    if (status == TSL_OK)
        return TSL_OK;
    return tsl_refuse(&self->refusals, status, "heap %p: removal of the array at %p", (void *)self,
                      array);
}

struct tsl_defect tsl_heap_arrays_check(const struct tsl_heap *self, size_t *named)
{
    size_t pages = 0, taken = 0;

    for (const struct heap_array *array = first_of(self); array != NULL; array = array->next) {
        pages += array->pages;
        taken += array->pages - tsl_bits_count_range(array->free, 0, array->pages);
        for (size_t i = 0; i < array->pages; i++) {
            bool is_run = array->map[i] != &tsl_heap_nowhere && array->map[i] != &tsl_heap_returned;
            *named += is_run;
            if (is_run && tsl_bits_test(array->free, i))
                return tsl_defect_at("heap", 12, array->start + (i << TSL_PAGE_SHIFT),
                                     "no page of a run is free in its array");
        }
    }
    if (pages != self->arrays->pages || taken != self->arrays->taken_pages)
        return tsl_defect_at("heap", 12, taken, "pages of arrays are counted right");
    return TSL_NO_DEFECT;
}
