/* SPDX-License-Identifier: MIT
 *
 * ranges_query.c: what a set of ranges tells about itself: find, visit, figures, dump.
 *
 * Owns:    nothing; reads under the lock.
 * Needs:   ranges_internal.h.
 * Callers: see <tesela/vallocator.h>.
 */
#include "ranges_internal.h"

enum { SIZE_TEXT = 16 };

static struct tsl_range_info info_of(const struct tsl_ranges *self, const struct range *range)
{
    bool is_settled = tsl_atomic_load_acquire_u32(&range->state) == RANGE_SETTLED;
    return (struct tsl_range_info){.start = self->config.start + range->offset,
                                   .bytes = range->bytes,
                                   .attributes = range->attributes,
                                   .kind = range->kind,
                                   .bytes_large =
                                       is_settled ? range->large_pages << TSL_PAGE_SHIFT : 0};
}

enum tsl_status tsl_ranges_find(struct tsl_ranges *self, tsl_vaddr address,
                                struct tsl_range_info *out)
{
    if (address < self->config.start || address > self->config.last)
        return TSL_NOT_FOUND;
    size_t offset = address - self->config.start;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct range *range = range_at_or_before(&self->tree, offset);
    bool found = range && offset < range->offset + range->bytes && range_is_live(range);
    if (found)
        *out = info_of(self, range);
    tsl_lock_release(&self->lock, pin);
    return found ? TSL_OK : TSL_NOT_FOUND;
}

bool tsl_ranges_next(struct tsl_ranges *self, tsl_vaddr from, struct tsl_range_info *out)
{
    if (from > self->config.last)
        return false;
    size_t offset = from < self->config.start ? 0 : from - self->config.start;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct range *range = range_of(tsl_tree_lower_bound(&self->tree, &offset));
    while (range && !range_is_live(range))
        range = range_of(tsl_tree_next(&range->node));
    if (range)
        *out = info_of(self, range);
    tsl_lock_release(&self->lock, pin);
    return range != NULL;
}

void tsl_ranges_stats(struct tsl_ranges *self, struct tsl_ranges_stats *out)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    const struct range *root = range_of(self->tree.root);
    const struct range *last = range_of(tsl_tree_last(&self->tree));
    size_t top_gap = self->window - (last ? range_end(last) : 0);
    size_t largest = root ? root->largest_gap : 0;
    size_t ended = self->pending_count + self->cached_count;
    *out = (struct tsl_ranges_stats){.ranges = self->tree.count - ended,
                                     .bytes_memory = self->bytes_memory,
                                     .bytes_mapped = self->bytes_mapped,
                                     .bytes_peak = self->bytes_peak,
                                     .bytes_window = self->window,
                                     .bytes_pending = self->pending_pages << TSL_PAGE_SHIFT,
                                     .largest_gap = top_gap > largest ? top_gap : largest,
                                     .failures = self->failures,
                                     .refusals = tsl_refusals_total(&self->refusals)};
    tsl_lock_release(&self->lock, pin);
}

void tsl_ranges_dump(struct tsl_ranges *self, const struct tsl_sink *sink)
{
    struct tsl_ranges_stats stats;
    char window[SIZE_TEXT], memory[SIZE_TEXT], mapped[SIZE_TEXT];
    tsl_ranges_stats(self, &stats);
    tsl_print(sink, "kernel ranges: %zu in %s of addresses; %s of their own, %s mapped\n",
              stats.ranges, tsl_format_bytes(window, sizeof(window), stats.bytes_window),
              tsl_format_bytes(memory, sizeof(memory), stats.bytes_memory),
              tsl_format_bytes(mapped, sizeof(mapped), stats.bytes_mapped));
    tsl_vaddr from = self->config.start;
    for (struct tsl_range_info info; tsl_ranges_next(self, from, &info);) {
        char large[SIZE_TEXT];
        tsl_print(sink, "  %p  %10s  %c%c%c  %s%s%s\n", (void *)info.start,
                  tsl_format_bytes(memory, sizeof(memory), info.bytes),
                  info.attributes & TSL_READ ? 'r' : '-', info.attributes & TSL_WRITE ? 'w' : '-',
                  info.attributes & TSL_EXEC ? 'x' : '-',
                  info.kind == TSL_RANGE_MEMORY ? "memory" : "external",
                  info.bytes_large ? ", in large pages: " : "",
                  info.bytes_large ? tsl_format_bytes(large, sizeof(large), info.bytes_large) : "");
        from = info.start + info.bytes;
    }
}
