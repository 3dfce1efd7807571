/* SPDX-License-Identifier: MIT
 *
 * backed_range.c: pages of a window, one bit each, backed by frames while they are handed out.
 *
 * Owns:    struct tsl_backed_range.
 * Needs:   base, page_table, physical_allocator; not the heap, since it feeds the heap.
 * Callers: see <tesela/backed_range.h>.
 *
 * A page's bit is cleared before it gets a frame and set only after its frame is gone and every CPU
 * has forgotten it. So whoever sees a free bit may use the address at once, and no lock is held
 * while frames and tables are worked on.
 */
#include "vallocator_internal.h"

#include <tesela/backed_range.h>
#include <tesela/bits.h>
#include <tesela/checked.h>
#include <tesela/lock.h>

struct tsl_backed_range {
    struct tsl_lock lock; /* TSL_RANK_REGION: guards all below but config and home */
    struct tsl_backed_range_config config;
    struct tsl_frame home; /* where this struct lives */
    size_t home_frames;
    size_t pages;
    size_t used;
    size_t peak;
    size_t first_candidate; /* no page below this one is free */
    tsl_word failures;
    struct tsl_refusals refusals;
    tsl_word free_pages[]; /* 1 = free; bits beyond `pages` are 0 */
};

static size_t words_for(size_t pages)
{
    return (pages + TSL_WORD_BITS - 1) / TSL_WORD_BITS;
}

static enum tsl_status check_config(const struct tsl_backed_range_config *config)
{
    if (!config->table || !config->frames || config->bytes == 0 || config->start == 0)
        return TSL_INVALID;
    if (config->start % TSL_PAGE_BYTES || config->bytes % TSL_PAGE_BYTES)
        return TSL_MISALIGNED;
    if (config->bytes - 1 > UINTPTR_MAX - config->start)
        return TSL_OUT_OF_RANGE;
    return TSL_OK;
}

enum tsl_status tsl_backed_range_create(const struct tsl_backed_range_config *config,
                                        struct tsl_backed_range **out)
{
    enum tsl_status status = check_config(config);
    if (status != TSL_OK)
        return status;
    size_t pages = config->bytes / TSL_PAGE_BYTES;
    size_t bytes = sizeof(struct tsl_backed_range) + words_for(pages) * sizeof(tsl_word);
    struct tsl_frames_run run = {.count = (bytes + TSL_PAGE_BYTES - 1) / TSL_PAGE_BYTES,
                                 .align_frames = 1,
                                 .flags = TSL_FRAMES_LOW | TSL_FRAMES_ZERO};
    struct tsl_frame home;
    status = tsl_frames_alloc_run(config->frames, &run, &home);
    if (status != TSL_OK)
        return status;
    struct tsl_backed_range *self = tsl_port_phys_to_virt(tsl_frame_address(home));
    tsl_lock_init(&self->lock, TSL_RANK_REGION);
    self->config = *config;
    self->home = home;
    self->home_frames = run.count;
    self->pages = pages;
    tsl_bits_set_range(self->free_pages, 0, pages);
    *out = self;
    return TSL_OK;
}

void tsl_backed_range_destroy(struct tsl_backed_range *self)
{
    size_t page = tsl_bits_find_clear(self->free_pages, self->pages, 0);
    while (page != TSL_BITS_NONE) {
        size_t end = tsl_bits_find_set(self->free_pages, self->pages, page);
        if (end == TSL_BITS_NONE)
            end = self->pages;
        TSL_ASSERT(tsl_vm_unback(self->config.table, self->config.start + page * TSL_PAGE_BYTES,
                                 end - page) == TSL_OK);
        page = tsl_bits_find_clear(self->free_pages, self->pages, end);
    }
    struct tsl_frames *frames = self->config.frames;
    struct tsl_frame home = self->home;
    size_t count = self->home_frames;
    TSL_ASSERT(tsl_frames_free_run(frames, home, count) == TSL_OK);
}

static size_t take_pages(struct tsl_backed_range *self, size_t count)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t first =
        tsl_bits_find_set_run(self->free_pages, self->pages, self->first_candidate, count, 1);
    if (first != TSL_BITS_NONE) {
        tsl_bits_clear_range(self->free_pages, first, count);
        self->used += count;
        if (self->used > self->peak)
            self->peak = self->used;
        if (first == self->first_candidate || count == 1)
            self->first_candidate = first + count;
    } else {
        self->failures++;
    }
    tsl_lock_release(&self->lock, pin);
    return first;
}

static void return_pages(struct tsl_backed_range *self, size_t first, size_t count, bool failed)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_bits_set_range(self->free_pages, first, count);
    self->used -= count;
    if (first < self->first_candidate)
        self->first_candidate = first;
    if (failed)
        self->failures++;
    tsl_lock_release(&self->lock, pin);
}

void *tsl_backed_range_get(struct tsl_backed_range *self, size_t pages)
{
    if (pages == 0 || pages > self->pages)
        return NULL;
    size_t first = take_pages(self, pages);
    if (first == TSL_BITS_NONE)
        return NULL;
    tsl_vaddr start = self->config.start + first * TSL_PAGE_BYTES;
    if (tsl_vm_back(self->config.table, self->config.frames, start, pages,
                    self->config.attributes) != TSL_OK) {
        return_pages(self, first, pages, true);
        return NULL;
    }
    return (void *)start;
}

static enum tsl_status check_put(struct tsl_backed_range *self, tsl_vaddr start, size_t pages)
{
    size_t offset = start - self->config.start;
    if (pages == 0)
        return TSL_INVALID;
    if (start % TSL_PAGE_BYTES)
        return TSL_MISALIGNED;
    if (start < self->config.start || offset / TSL_PAGE_BYTES >= self->pages ||
        pages > self->pages - offset / TSL_PAGE_BYTES)
        return TSL_FOREIGN;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool taken = tsl_bits_all_clear(self->free_pages, offset / TSL_PAGE_BYTES, pages);
    tsl_lock_release(&self->lock, pin);
    return taken ? TSL_OK : TSL_DOUBLE_FREE;
}

enum tsl_status tsl_backed_range_put(struct tsl_backed_range *self, void *start, size_t pages)
{
    enum tsl_status status = check_put(self, (tsl_vaddr)start, pages);
    /* Not all mapped: another CPU is putting them too, or has not got them yet. */
    if (status == TSL_OK && tsl_vm_unback(self->config.table, (tsl_vaddr)start, pages) != TSL_OK)
        status = TSL_DOUBLE_FREE;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "backed range: put of %zu pages at %p", pages,
                          start);
    return_pages(self, ((tsl_vaddr)start - self->config.start) / TSL_PAGE_BYTES, pages, false);
    return TSL_OK;
}

/* Rules B1, B3 and B4 for one bit. */
static struct tsl_defect verify_page(const struct tsl_backed_range *self, size_t page)
{
    bool is_free = tsl_bits_test(self->free_pages, page);
    tsl_vaddr address = self->config.start + page * TSL_PAGE_BYTES;
    struct tsl_mapping mapping;
    if (page >= self->pages)
        return is_free ? tsl_defect_at("backed range", 1, page, "bits behind the window are 0")
                       : TSL_NO_DEFECT;
    if (is_free && page < self->first_candidate)
        return tsl_defect_at("backed range", 3, address,
                             "no page below the first candidate is free");
    if (is_free == (tsl_table_query(self->config.table, address, &mapping) == TSL_OK))
        return tsl_defect_at("backed range", 4, address,
                             "a page is mapped exactly when its bit is 0");
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_backed_range_verify(const struct tsl_backed_range *self)
{
    size_t bits = words_for(self->pages) * TSL_WORD_BITS;
    for (size_t page = 0; page < bits; page++) {
        struct tsl_defect defect = verify_page(self, page);
        if (defect.rule)
            return defect;
    }
    if (self->used != self->pages - tsl_bits_count_range(self->free_pages, 0, self->pages))
        return tsl_defect_at("backed range", 2, self->used,
                             "the count of used pages is the number of bits that are 0");
    return TSL_NO_DEFECT;
}

static void *source_get(void *context, size_t pages)
{
    return tsl_backed_range_get(context, pages);
}

static void source_put(void *context, void *start, size_t pages)
{
    TSL_ASSERT(tsl_backed_range_put(context, start, pages) == TSL_OK);
}

struct tsl_page_source tsl_backed_range_source(struct tsl_backed_range *self)
{
    return (struct tsl_page_source){.get = source_get,
                                    .put = source_put,
                                    .context = self,
                                    .start = self->config.start,
                                    .bytes = self->config.bytes};
}

void tsl_backed_range_stats(const struct tsl_backed_range *self, struct tsl_backed_range_stats *out)
{
    *out = (struct tsl_backed_range_stats){.pages = self->pages,
                                           .pages_used = self->used,
                                           .pages_peak = self->peak,
                                           .failures = self->failures,
                                           .refusals = tsl_refusals_total(&self->refusals)};
}
