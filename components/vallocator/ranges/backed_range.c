/* SPDX-License-Identifier: MIT
 *
 * backed_range.c: pages of a window, one bit each, backed by frames while they are handed out.
 *
 * Owns:    struct tsl_backed_range.
 * Needs:   base, page_table, physical_allocator; not the heap, since it feeds the heap.
 * Callers: see <tesela/backed_range.h>.
 *
 * Two bits a page. `free` is cleared before the page gets a frame and set only after its frame is
 * gone and every CPU has forgotten it. So whoever sees a free bit may use the address at once, and
 * no lock is held while frames and tables are worked on. `settled` is set when the page is wholly
 * its owner's, and cleared by the put that takes it away: a put of pages that another CPU is
 * getting or putting at the moment finds that bit clear and is refused before it touches anything.
 */
#include "ranges_internal.h"

#include <tesela/backed_range.h>
#include <tesela/bits.h>
#include <tesela/checked.h>
#include <tesela/lock.h>

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
    size_t words = (BACKED_CAN_CLOSE ? 3 : 2) * words_for(pages);
    size_t bytes = sizeof(struct tsl_backed_range) + words * sizeof(tsl_word);
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
    self->settled = self->free_pages + words_for(pages);
    self->closed = BACKED_CAN_CLOSE ? self->settled + words_for(pages) : NULL;
    tsl_bits_set_range(self->free_pages, 0, pages);
    if (BACKED_CAN_CLOSE)
        tsl_backed_closing_init(self);
    *out = self;
    return TSL_OK;
}

/* The first page of [page, end) that is closed, or not: `end` if there is none. */
static size_t find_closed(const struct tsl_backed_range *self, size_t page, size_t end,
                          bool is_closed)
{
    if (!BACKED_CAN_CLOSE)
        return is_closed ? end : page;
    size_t found = is_closed ? tsl_bits_find_set(self->closed, end, page)
                             : tsl_bits_find_clear(self->closed, end, page);
    return found == TSL_BITS_NONE ? end : found;
}

/* Unmaps those of the pages [first, end) that are mapped. They are all ours: nobody else closes
 * or maps one. */
static void unback_open(struct tsl_backed_range *self, size_t first, size_t end)
{
    if (BACKED_CAN_CLOSE)
        tsl_backed_closing_forget(self, first, end - first);
    while ((first = find_closed(self, first, end, false)) < end) {
        size_t behind = find_closed(self, first, end, true);
        /* Settled pages are mapped unless they are closed. */
        TSL_ASSERT(tsl_vm_unback(self->config.table, self->config.start + first * TSL_PAGE_BYTES,
                                 behind - first) == TSL_OK);
        first = behind;
    }
}

void tsl_backed_range_destroy(struct tsl_backed_range *self)
{
    if (BACKED_CAN_CLOSE)
        (void)tsl_backed_closing_finish(self);
    size_t page = tsl_bits_find_clear(self->free_pages, self->pages, 0);
    while (page != TSL_BITS_NONE) {
        size_t end = tsl_bits_find_set(self->free_pages, self->pages, page);
        if (end == TSL_BITS_NONE)
            end = self->pages;
        unback_open(self, page, end);
        page = tsl_bits_find_clear(self->free_pages, self->pages, end);
    }
    struct tsl_frames *frames = self->config.frames;
    struct tsl_frame home = self->home;
    size_t count = self->home_frames;
    TSL_ASSERT(tsl_frames_free_run(frames, home, count) == TSL_OK);
}

/* => locked */
static void note_taken(struct tsl_backed_range *self, size_t count)
{
    self->used += count;
    if (self->used > self->peak)
        self->peak = self->used;
}

static size_t take_pages(struct tsl_backed_range *self, size_t count)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t first =
        tsl_bits_find_set_run(self->free_pages, self->pages, self->first_candidate, count, 1);
    if (first != TSL_BITS_NONE) {
        tsl_bits_clear_range(self->free_pages, first, count);
        note_taken(self, count);
        if (first == self->first_candidate || count == 1)
            self->first_candidate = first + count;
    } else {
        self->failures++;
    }
    tsl_lock_release(&self->lock, pin);
    return first;
}

/* Takes exactly the `count` pages from `first` on; false if one of them is not free. */
static bool take_pages_at(struct tsl_backed_range *self, size_t first, size_t count)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_free = tsl_bits_find_clear(self->free_pages, first + count, first) == TSL_BITS_NONE;
    if (is_free) {
        tsl_bits_clear_range(self->free_pages, first, count);
        note_taken(self, count);
    } else {
        self->failures++;
    }
    tsl_lock_release(&self->lock, pin);
    return is_free;
}

static void settle(struct tsl_backed_range *self, size_t first, size_t count)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_bits_set_range(self->settled, first, count);
    tsl_lock_release(&self->lock, pin);
}

static void return_pages(struct tsl_backed_range *self, size_t first, size_t count, bool failed)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_bits_set_range(self->free_pages, first, count);
    if (BACKED_CAN_CLOSE)
        tsl_bits_clear_range(self->closed, first, count);
    self->used -= count;
    if (first < self->first_candidate)
        self->first_candidate = first;
    if (failed)
        self->failures++;
    tsl_lock_release(&self->lock, pin);
}

/* Backs pages that were taken and settles them, or returns them. */
static bool back_pages(struct tsl_backed_range *self, size_t first, size_t pages)
{
    tsl_vaddr address = self->config.start + first * TSL_PAGE_BYTES;
    enum tsl_status status = tsl_vm_back(self->config.table, self->config.frames, address, pages,
                                         self->config.attributes);
    /* Frames of closed pages may wait for a flush. */
    if (status != TSL_OK && BACKED_CAN_CLOSE && tsl_backed_closing_finish(self))
        status = tsl_vm_back(self->config.table, self->config.frames, address, pages,
                             self->config.attributes);
    if (status != TSL_OK) {
        return_pages(self, first, pages, true);
        return false;
    }
    settle(self, first, pages);
    return true;
}

void *tsl_backed_range_get(struct tsl_backed_range *self, size_t pages)
{
    if (pages == 0 || pages > self->pages)
        return NULL;
    size_t first = take_pages(self, pages);
    if (first == TSL_BITS_NONE || !back_pages(self, first, pages))
        return NULL;
    return (void *)(self->config.start + first * TSL_PAGE_BYTES);
}

/* What is wrong with a run that somebody says he has, if anything can be told from outside. */
static enum tsl_status check_run(const struct tsl_backed_range *self, tsl_vaddr start, size_t pages)
{
    size_t offset = start - self->config.start;
    if (pages == 0)
        return TSL_INVALID;
    if (start % TSL_PAGE_BYTES)
        return TSL_MISALIGNED;
    if (start < self->config.start || offset / TSL_PAGE_BYTES >= self->pages ||
        pages > self->pages - offset / TSL_PAGE_BYTES)
        return TSL_FOREIGN;
    return TSL_OK;
}

/* Whether all pages of the run are wholly somebody's; if so, they are no longer when `unsettle`. */
static bool is_settled(struct tsl_backed_range *self, size_t first, size_t pages, bool unsettle)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool all = tsl_bits_find_clear(self->settled, first + pages, first) == TSL_BITS_NONE;
    if (all && unsettle)
        tsl_bits_clear_range(self->settled, first, pages);
    tsl_lock_release(&self->lock, pin);
    return all;
}

enum tsl_status tsl_backed_range_extend(struct tsl_backed_range *self, void *start, size_t pages,
                                        size_t new_pages)
{
    size_t first = ((tsl_vaddr)start - self->config.start) / TSL_PAGE_BYTES;
    enum tsl_status status = check_run(self, (tsl_vaddr)start, pages);
    if (status == TSL_OK && new_pages <= pages)
        status = TSL_INVALID;
    if (status == TSL_OK && !is_settled(self, first, pages, false))
        status = TSL_NOT_FOUND;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status,
                          "backed range: %zu pages at %p cannot become %zu", pages, start,
                          new_pages);
    if (new_pages > self->pages - first || !take_pages_at(self, first + pages, new_pages - pages))
        return TSL_LIMIT;
    return back_pages(self, first + pages, new_pages - pages) ? TSL_OK : TSL_NO_MEMORY;
}

enum tsl_status tsl_backed_range_put(struct tsl_backed_range *self, void *start, size_t pages)
{
    size_t first = ((tsl_vaddr)start - self->config.start) / TSL_PAGE_BYTES;
    enum tsl_status status = check_run(self, (tsl_vaddr)start, pages);
    if (status == TSL_OK && !is_settled(self, first, pages, true))
        status = TSL_DOUBLE_FREE;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "backed range: put of %zu pages at %p", pages,
                          start);
    /* Nobody else has a say in them since we unsettled them. */
    unback_open(self, first, first + pages);
    return_pages(self, first, pages, false);
    return TSL_OK;
}

/* Closes those of the pages [first, end) that are not closed yet. They are all ours. */
static void close_open(struct tsl_backed_range *self, size_t first, size_t end)
{
    while ((first = find_closed(self, first, end, false)) < end) {
        size_t behind = find_closed(self, first, end, true);
        tsl_backed_closing_add(self, first, behind - first);
        first = behind;
    }
}

enum tsl_status tsl_backed_range_close(struct tsl_backed_range *self, void *start, size_t pages)
{
    size_t first = ((tsl_vaddr)start - self->config.start) / TSL_PAGE_BYTES;
    enum tsl_status status =
        BACKED_CAN_CLOSE ? check_run(self, (tsl_vaddr)start, pages) : TSL_UNSUPPORTED;
    /* Unsettled meanwhile, so that nobody puts them under our hands. */
    if (status == TSL_OK && !is_settled(self, first, pages, true))
        status = TSL_NOT_FOUND;
    if (status != TSL_OK)
        return tsl_refuse(&self->refusals, status, "backed range: closing %zu pages at %p", pages,
                          start);
    close_open(self, first, first + pages);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_bits_set_range(self->closed, first, pages);
    tsl_bits_set_range(self->settled, first, pages);
    tsl_lock_release(&self->lock, pin);
    return TSL_OK;
}

/* Rules B1, B3 and B4 for one bit. */
static struct tsl_defect verify_page(const struct tsl_backed_range *self, size_t page)
{
    bool is_free = tsl_bits_test(self->free_pages, page);
    bool is_out = tsl_bits_test(self->settled, page);
    tsl_vaddr address = self->config.start + page * TSL_PAGE_BYTES;
    struct tsl_mapping mapping;
    if (page >= self->pages)
        return is_free || is_out
                   ? tsl_defect_at("backed range", 1, page, "bits behind the window are 0")
                   : TSL_NO_DEFECT;
    if (is_free && page < self->first_candidate)
        return tsl_defect_at("backed range", 3, address,
                             "no page below the first candidate is free");
    if (is_free == is_out)
        return tsl_defect_at("backed range", 5, address,
                             "a page is free or settled, while no call is under way");
    bool is_mapped = tsl_table_query(self->config.table, address, &mapping) == TSL_OK;
    bool is_closed = BACKED_CAN_CLOSE && tsl_bits_test(self->closed, page);
    if (is_mapped == (is_free || is_closed) || (is_free && is_closed))
        return tsl_defect_at("backed range", 4, address,
                             "a page is mapped exactly when its bit is 0 and it is not closed");
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

static bool source_remap(void *context, void *start, size_t pages, size_t new_pages)
{
    return tsl_backed_range_extend(context, start, pages, new_pages) == TSL_OK;
}

static bool source_protect(void *context, void *start, size_t pages)
{
    return tsl_backed_range_close(context, start, pages) == TSL_OK;
}

struct tsl_page_source tsl_backed_range_source(struct tsl_backed_range *self)
{
    return (struct tsl_page_source){.get = source_get,
                                    .put = source_put,
                                    .remap = source_remap,
                                    .protect = BACKED_CAN_CLOSE ? source_protect : NULL,
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
