/* SPDX-License-Identifier: MIT
 *
 * heap_record.c: records of runs: fixed size, in pages of their own, so that bookkeeping never
 * needs the heap.
 *
 * Owns:    the record pages. One page without a used record is kept, further ones go back.
 * Needs:   heap_source.c.
 * Callers: heap_slab.c, heap_create.c.
 */
#include <string.h>

#include "heap_allocator_internal.h"

static struct heap_record_page *page_of(struct tsl_list *link)
{
    return TSL_CONTAINER_OF(link, struct heap_record_page, link);
}

/* => locked */
static struct heap_run *record_take(struct tsl_heap *self)
{
    struct tsl_list *link = tsl_list_first(&self->record_pages[0]);
    if (link == NULL)
        return NULL;
    struct heap_record_page *page = page_of(link);
    size_t index = tsl_bits_find_set(page->free, HEAP_RECORDS_A_PAGE, 0);

    TSL_ASSERT(index < HEAP_RECORDS_A_PAGE);
    tsl_bits_clear_range(page->free, index, 1);
    self->flight_records++;
    if (page->used++ == 0)
        self->record_spare_count--;
    if (page->used == HEAP_RECORDS_A_PAGE) {
        tsl_list_remove(&page->link);
        tsl_list_push_front(&self->record_pages[1], &page->link);
    }
    return &page->records[index];
}

static void page_init(struct heap_record_page *page)
{
    memset(page, 0, sizeof *page);
    tsl_list_init(&page->link);
    tsl_bits_set_range(page->free, 0, HEAP_RECORDS_A_PAGE);
}

struct heap_run *tsl_heap_record_new(struct tsl_heap *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_run *run = record_take(self);
    tsl_lock_release(&self->lock, pin);

    if (run == NULL) {
        struct heap_record_page *page = tsl_heap_source_take(self, 1, 1);
        if (page == NULL)
            return NULL;
        page_init(page);
        pin = tsl_lock_acquire(&self->lock);
        tsl_list_push_front(&self->record_pages[0], &page->link);
        self->record_page_count++;
        self->record_spare_count++;
        self->flight_pages--;
        run = record_take(self);
        tsl_lock_release(&self->lock, pin);
    }
    memset(run, 0, sizeof *run);
    tsl_list_init(&run->link);
    return run;
}

/* => locked */
static void page_retire(struct tsl_heap *self, struct heap_record_page *page,
                        struct heap_outgoing *outgoing)
{
    tsl_list_remove(&page->link);
    self->record_page_count--;
    self->record_spare_count--;
    self->flight_pages++;
    outgoing->run[outgoing->count].start = page;
    outgoing->run[outgoing->count].pages = 1;
    outgoing->count++;
}

void tsl_heap_record_drop(struct tsl_heap *self, struct heap_run *run,
                          struct heap_outgoing *outgoing)
{
    struct heap_record_page *page = (void *)((char *)run - (uintptr_t)run % TSL_PAGE_BYTES);

    tsl_bits_set_range(page->free, (size_t)(run - page->records), 1);
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
    if (self->record_spare_count > 1)
        page_retire(self, page, outgoing);
}

size_t tsl_heap_record_trim(struct tsl_heap *self)
{
    struct heap_outgoing outgoing = {0};
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_list *last = tsl_list_last(&self->record_pages[0]);

    if (last != NULL && page_of(last)->used == 0)
        page_retire(self, page_of(last), &outgoing);
    tsl_lock_release(&self->lock, pin);
    tsl_heap_source_give_all(self, &outgoing);
    return outgoing.count;
}
