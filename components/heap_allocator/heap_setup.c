/* SPDX-License-Identifier: MIT
 *
 * heap_setup.c: what both cores check of what a heap is made of, and how its first pages come.
 *
 * Owns:    the fields of struct tsl_heap that a configuration sets.
 * Needs:   base.
 * Callers: heap_create.c; with HEAP_CORE_GRANULES granules/heap_granule_pages.c.
 */
#include "heap_allocator_internal.h"

static enum tsl_status check_source(const struct tsl_page_source *source)
{
    uintptr_t last;

    if (source->get == NULL || source->put == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: a page source needs get and put");
    if (source->start == 0 || !tsl_checked_last(source->start, source->bytes, &last)) {
        return tsl_refuse(NULL, TSL_INVALID, "heap: window of %zu bytes at %#zx", source->bytes,
                          (size_t)source->start);
    }
    if (!tsl_is_aligned(source->start | source->bytes, TSL_PAGE_BYTES)) {
        return tsl_refuse(NULL, TSL_MISALIGNED, "heap: window of %zu bytes at %#zx, not in pages",
                          source->bytes, (size_t)source->start);
    }
    if (source->bytes >> TSL_PAGE_SHIFT > UINT32_MAX) {
        return tsl_refuse(NULL, TSL_OUT_OF_RANGE,
                          "heap: window of %zu bytes has 2^32 pages or more", source->bytes);
    }
    return TSL_OK;
}

enum tsl_status tsl_heap_setup_check(const struct tsl_heap_config *config, struct tsl_heap **out,
                                     size_t *ceiling_pages)
{
    if (config == NULL || out == NULL)
        return tsl_refuse(NULL, TSL_INVALID, "heap: no configuration, or no place for a new heap");
    enum tsl_status status = check_source(&config->source);
    if (status != TSL_OK)
        return status;
    size_t pages = config->source.bytes >> TSL_PAGE_SHIFT;
    size_t ceiling = config->ceiling_bytes >> TSL_PAGE_SHIFT;
    if (config->ceiling_bytes == 0 || ceiling > pages)
        ceiling = pages;
    if (config->reserve_bytes > ceiling << TSL_PAGE_SHIFT) {
        return tsl_refuse(NULL, TSL_OUT_OF_RANGE, "heap: a reserve of %zu bytes of %zu",
                          config->reserve_bytes, ceiling << TSL_PAGE_SHIFT);
    }
    *ceiling_pages = ceiling;
    return TSL_OK;
}

enum tsl_status tsl_heap_setup_take(const struct tsl_page_source *source, size_t head_bytes,
                                    size_t ceiling_pages, struct tsl_heap **out)
{
    size_t pages = tsl_pages_of(head_bytes);
    struct tsl_heap *self = NULL;

    if (pages <= ceiling_pages)
        self = source->get(source->context, pages);
    if (self == NULL)
        return tsl_refuse(NULL, TSL_NO_MEMORY, "heap: no %zu pages for a new heap", pages);
    if (!heap_is_run_in_window(source, self, pages)) {
        return tsl_refuse(NULL, TSL_CORRUPT, "heap: page source gave %p, not in its window",
                          (void *)self);
    }
    *out = self;
    return TSL_OK;
}

void tsl_heap_setup_apply(struct tsl_heap *self, const struct tsl_heap_config *config)
{
    self->reserve_pages = tsl_pages_of(config->reserve_bytes);
    self->out_of_memory = config->out_of_memory;
    self->out_of_memory_context = config->out_of_memory_context;
    self->head_pages = tsl_pages_of(self->head_bytes);
    self->taken_pages = self->head_pages;
    self->peak_taken_pages = self->head_pages;
    self->source_gets = 1;
}

enum tsl_status tsl_heap_setup_array(const void *array, size_t bytes, size_t head_bytes,
                                     size_t least_pages, struct heap_place_in *out)
{
    uintptr_t start = (uintptr_t)array, head = 0, first = 0, last;

    if (array == NULL || !tsl_checked_last(start, bytes, &last))
        return tsl_refuse(NULL, TSL_INVALID, "heap: array of %zu bytes at %p", bytes, array);
    /* Without rounding up past the end of the array. */
    if (bytes >= head_bytes + 2 * TSL_PAGE_BYTES) {
        head = tsl_align_up_vaddr(start, TSL_HEAP_ALIGN);
        first = tsl_align_up_vaddr(head + head_bytes, TSL_PAGE_BYTES);
    }
    if (first == 0 || first > last || last - first < least_pages * TSL_PAGE_BYTES - 1) {
        return tsl_refuse(NULL, TSL_NO_MEMORY, "heap: array of %zu bytes at %p is too small", bytes,
                          array);
    }
    *out = (struct heap_place_in){
        .head = head, .first = first, .pages = (last - first + 1) >> TSL_PAGE_SHIFT};
    return TSL_OK;
}
