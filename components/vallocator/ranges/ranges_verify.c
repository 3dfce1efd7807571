/* SPDX-License-Identifier: MIT
 *
 * ranges_verify.c: the rules of kernel ranges, checked.
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   page_table's query.
 * Callers: tests, the facade's tsl_verify(), the monitor.
 *
 * Numbers R1 to R8 are in README.md.
 */
#include "ranges_internal.h"

#define COMPONENT "kernel ranges"

/* R1 and R2 and R3: place, alignment, gap. `floor` is the end of the range below. */
static struct tsl_defect verify_place(const struct tsl_ranges *self, const struct range *range,
                                      size_t floor)
{
    tsl_vaddr start = self->config.start + range->offset;
    if (range->bytes == 0 || range->offset % TSL_PAGE_BYTES || range->bytes % TSL_PAGE_BYTES)
        return tsl_defect_at(COMPONENT, 1, start, "a range is made of whole pages, at least one");
    if (range->offset < floor || range_end(range) > self->window)
        return tsl_defect_at(COMPONENT, 2, start, "spans do not overlap, and lie in the window");
    if (range->gap_below != range->offset - floor)
        return tsl_defect_at(COMPONENT, 3, start, "a range knows the gap below it");
    return TSL_NO_DEFECT;
}

/* R5: every page of a settled range is mapped with the range's attributes, its guard is not, nor is
 * anything of a range that was freed. R8: the range knows how many of its pages are in large
 * ones. */
static struct tsl_defect verify_pages(const struct tsl_ranges *self, const struct range *range)
{
    const unsigned rights = TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER;
    bool is_settled = tsl_atomic_load_u32(&range->state) == RANGE_SETTLED;
    tsl_vaddr start = self->config.start + range->offset;
    struct tsl_mapping mapping;
    size_t large = 0;
    for (size_t at = 0; at < range->bytes; at += TSL_PAGE_BYTES) {
        if ((tsl_table_query(self->config.table, start + at, &mapping) == TSL_OK) != is_settled)
            return tsl_defect_at(COMPONENT, 5, start + at,
                                 "every page of a settled range is mapped, of a freed one none");
        if (is_settled && (mapping.attributes & rights) != (range->attributes & rights))
            return tsl_defect_at(COMPONENT, 5, start + at, "a page has the rights of its range");
        large += is_settled && mapping.bytes > TSL_PAGE_BYTES;
    }
    if (is_settled && range->kind == TSL_RANGE_MEMORY && large != range->large_pages)
        return tsl_defect_at(COMPONENT, 8, start, "a range knows how much is in large pages");
    if (tsl_table_query(self->config.table, start + range->bytes, &mapping) == TSL_OK)
        return tsl_defect_at(COMPONENT, 5, start + range->bytes, "a guard page is not mapped");
    return TSL_NO_DEFECT;
}

/* R7: the lists of freed ranges hold what the tree has of them, and are within their bounds. */
static struct tsl_defect verify_ended(const struct tsl_ranges *self, size_t in_tree)
{
    size_t pending = 0, cached = 0, pages = 0, wrong = 0;
    for (const struct range *range = self->pending; range; range = range->next) {
        wrong += range->state != RANGE_PENDING;
        pages += range_pages(range);
        pending++;
    }
    for (size_t i = 0; i < RANGES_SMALL_PAGES; i++)
        for (const struct range *range = self->cached[i]; range; range = range->next) {
            wrong += range->state != RANGE_CACHED || range_pages(range) != i + 1u;
            cached++;
        }
    if (wrong > 0 || pending != self->pending_count || cached != self->cached_count ||
        pending + cached != in_tree)
        return tsl_defect_at(COMPONENT, 7, in_tree, "the lists hold the freed ranges of the tree");
    if (pages != self->pending_pages || pages > self->config.lazy_pages ||
        cached > RANGES_MOST_CACHED)
        return tsl_defect_at(COMPONENT, 7, pages, "freed ranges are within their bounds");
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_ranges_verify(const struct tsl_ranges *self)
{
    struct tsl_defect defect = tsl_tree_verify(&self->tree);
    if (defect.rule)
        return tsl_defect_at(COMPONENT, 4, defect.place, defect.sentence);
    size_t floor = 0, memory = 0, mapped = 0, ended = 0;
    for (struct tsl_tree_node *node = tsl_tree_first(&self->tree); node;
         node = tsl_tree_next(node)) {
        const struct range *range = range_of(node);
        defect = verify_place(self, range, floor);
        if (!defect.rule && tsl_atomic_load_u32(&range->state) != RANGE_MAKING)
            defect = verify_pages(self, range);
        if (defect.rule)
            return defect;
        floor = range_end(range);
        if (!range_is_live(range))
            ended++;
        else
            *(range->kind == TSL_RANGE_MEMORY ? &memory : &mapped) += range->bytes;
    }
    if (memory != self->bytes_memory || mapped != self->bytes_mapped)
        return tsl_defect_at(COMPONENT, 6, memory,
                             "the byte counters are the sums over the ranges");
    return verify_ended(self, ended);
}
