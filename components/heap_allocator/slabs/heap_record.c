/* SPDX-License-Identifier: MIT
 *
 * heap_record.c: records of runs: fixed size, in pages of their own, so that bookkeeping never
 * needs the heap.
 *
 * Owns:    the record pages. They stay until a trim, since a free of another CPU may still be
 *          looking at a record whose slab has just gone: a trim waits until nobody can be.
 * Needs:   heap_source.c, heap_owner.c (the wait).
 * Callers: heap_run.c, heap_array.c, heap_owner.c and the verifier (the walk).
 */
#include <string.h>

#include "../heap_allocator_internal.h"

static struct heap_record_page *page_of(struct tsl_list *link)
{
    return TSL_CONTAINER_OF(link, struct heap_record_page, link);
}

static struct heap_record_page *page_with(const struct heap_run *run)
{
    return (void *)((uintptr_t)run / TSL_PAGE_BYTES * TSL_PAGE_BYTES);
}

static struct heap_run *record_at(struct heap_record_page *page, size_t index)
{
    return (struct heap_run *)(void *)((char *)&page->first + index * HEAP_RECORD_BYTES);
}

static size_t index_of(struct heap_record_page *page, const struct heap_run *run)
{
    return (size_t)((const char *)run - (char *)&page->first) / HEAP_RECORD_BYTES;
}

/* All zero but the state: somebody may hold the record for a moment longer. */
static void record_clear(struct heap_run *run)
{
    memset(run, 0, offsetof(struct heap_run, state));
    memset(&run->slack, 0, offsetof(struct heap_run, link) - offsetof(struct heap_run, slack));
    run->pages = 0;
    for (unsigned i = 0; HEAP_HAS_OWNERS && i < HEAP_SLAB_WORDS; i++)
        tsl_atomic_store(&run->remote[i], 0);
    tsl_list_init(&run->link);
    run->class_index = HEAP_FLIGHT;
}

/* => locked. A page with a free record, from the source or an array; NULL: none. */
static struct tsl_list *page_from(struct tsl_heap *self, const struct heap_array *home)
{
    struct tsl_list *link;

    if (!TSL_HEAP_ARRAYS || self->arrays->first == NULL)
        return tsl_list_first(&self->record_pages[0]);
    TSL_LIST_EACH(link, &self->record_pages[0])
    {
        if (tsl_heap_array_of(self, (uintptr_t)link) == home)
            return link;
    }
    return NULL;
}

struct heap_run *tsl_heap_record_take(struct tsl_heap *self, const struct heap_array *home)
{
    struct tsl_list *link = page_from(self, home);
    if (link == NULL)
        return NULL;
    struct heap_record_page *page = page_of(link);
    size_t index = tsl_bits_find_set(page->free, HEAP_RECORDS_A_PAGE, 0);

    TSL_ASSERT(index < HEAP_RECORDS_A_PAGE);
    tsl_bits_clear_range(page->free, index, 1);
    self->flight_records++;
    if (page->used++ == 0) {
        self->record_spare_count--;
        /* An array's page may have been the last one: behind those in use are only spare ones. */
        tsl_list_remove(&page->link);
        tsl_list_push_front(&self->record_pages[0], &page->link);
    }
    if (page->used == HEAP_RECORDS_A_PAGE) {
        tsl_list_remove(&page->link);
        tsl_list_push_front(&self->record_pages[1], &page->link);
    }
    record_clear(record_at(page, index));
    return record_at(page, index);
}

void tsl_heap_record_page_add(struct tsl_heap *self, struct heap_record_page *page)
{
    memset(page, 0, TSL_PAGE_BYTES);
    tsl_bits_set_range(page->free, 0, HEAP_RECORDS_A_PAGE);
    tsl_list_push_front(&self->record_pages[0], &page->link);
    self->record_page_count++;
    self->record_spare_count++;
}

struct heap_run *tsl_heap_record_new(struct tsl_heap *self, unsigned flags)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_run *run = tsl_heap_record_take(self, NULL);
    tsl_lock_release(&self->lock, pin);
    if (run != NULL)
        return run;

    struct heap_record_page *page = tsl_heap_source_take(self, 1, 1, flags);
    if (page == NULL)
        return NULL;
    pin = tsl_lock_acquire(&self->lock);
    tsl_heap_record_page_add(self, page);
    self->flight_pages--;
    run = tsl_heap_record_take(self, NULL);
    tsl_lock_release(&self->lock, pin);
    return run;
}

void tsl_heap_record_drop(struct tsl_heap *self, struct heap_run *run)
{
    struct heap_record_page *page = page_with(run);

    run->class_index = HEAP_FLIGHT;
    tsl_bits_set_range(page->free, index_of(page, run), 1);
    if (page->used-- == HEAP_RECORDS_A_PAGE) {
        tsl_list_remove(&page->link);
        tsl_list_push_front(&self->record_pages[0], &page->link);
    }
    if (page->used > 0)
        return;
    self->record_spare_count++;
    /* To the back: records come from pages in use first, so that this one may stay empty. */
    tsl_list_remove(&page->link);
    tsl_list_push_back(&self->record_pages[0], &page->link);
}

/* => locked. Moves the pages without a used record to `spare`, in flight. */
static size_t take_spare(struct tsl_heap *self, struct tsl_list *spare)
{
    struct tsl_list *last;
    size_t pages = 0;

    while ((last = tsl_list_last(&self->record_pages[0])) != NULL && page_of(last)->used == 0) {
        tsl_list_remove(last);
        tsl_list_push_back(spare, last);
        self->record_page_count--;
        self->record_spare_count--;
        self->flight_pages++;
        pages++;
    }
    return pages;
}

/* Nobody looks at a free record any more. One may be on a stack still, when a block was freed twice
 * while its slab went back (heap_owner.c), or in the hands of a CPU that took its stack before we
 * look there: that passes it on, to the centre at last, where it is found the second time. */
static void let_go_of_records(struct tsl_heap *self)
{
    for (unsigned i = 0; i < 2; i++) {
        tsl_heap_wait_for_readers();
        tsl_heap_receive_all(self);
    }
}

size_t tsl_heap_record_trim(struct tsl_heap *self)
{
    struct tsl_list spare, *link;

    tsl_list_init(&spare);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t pages = take_spare(self, &spare);
    tsl_lock_release(&self->lock, pin);
    if (HEAP_HAS_OWNERS && pages > 0)
        let_go_of_records(self);
    while ((link = tsl_list_pop_front(&spare)) != NULL)
        tsl_heap_source_give(self, page_of(link), 1);
    return pages;
}

/* The first used record of a page from `index` on; NULL: none. */
static struct heap_run *used_from(struct heap_record_page *page, size_t index)
{
    index = tsl_bits_find_clear(page->free, HEAP_RECORDS_A_PAGE, index);
    return index == TSL_BITS_NONE ? NULL : record_at(page, index);
}

struct heap_run *tsl_heap_record_next(const struct tsl_heap *self, const struct heap_run *run)
{
    const struct tsl_list *link = &self->record_pages[0];

    if (run != NULL) {
        struct heap_record_page *page = page_with(run);
        struct heap_run *next = used_from(page, index_of(page, run) + 1);
        if (next != NULL)
            return next;
        link = &page->link;
    }
    for (;;) {
        link = link->next;
        if (link == &self->record_pages[1])
            return NULL;
        if (link == &self->record_pages[0]) {
            link = &self->record_pages[1];
            continue;
        }
        struct heap_run *first = used_from(page_of((struct tsl_list *)(uintptr_t)link), 0);
        if (first != NULL)
            return first;
    }
}
