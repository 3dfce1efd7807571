/* SPDX-License-Identifier: MIT
 *
 * page_table_dump.c: tables as people read them.
 *
 * Owns:    tsl_table_dump.
 * Needs:   tsl_table_next.
 * Callers: the public.
 */
#include "page_table_internal.h"

/* Neighbouring pages of one size and with equal attributes, to consecutive frames. */
struct run {
    struct tsl_mapping first;
    tsl_vaddr last;
    size_t pages;
};

static bool extends(const struct run *run, const struct tsl_mapping *page)
{
    tsl_paddr offset = (tsl_paddr)(page->start - run->first.start);
    return run->last + 1u == page->start && run->first.bytes == page->bytes &&
           run->first.attributes == page->attributes && run->first.target + offset == page->target;
}

static const char *size_name(size_t bytes)
{
    if (bytes == TSL_PAGE_BYTES)
        return "4K";
    if (bytes == (size_t)2 << 20)
        return "2M";
    return bytes == (size_t)4 << 20 ? "4M" : "1G";
}

static const char *cache_name(unsigned attributes)
{
    switch (attributes & TSL_CACHE_MASK) {
    case TSL_CACHE_WRITE_THROUGH:
        return " write-through";
    case TSL_CACHE_UNCACHED:
        return " uncached";
    case TSL_CACHE_WRITE_COMBINING:
        return " write-combining";
    default:
        return "";
    }
}

static void print_address(const struct tsl_sink *sink, tsl_vaddr va)
{
    uint64_t wide = va;
    if (sizeof(tsl_vaddr) == 8)
        tsl_print(sink, "0x%08x_%08x", (unsigned)(wide >> 32), (unsigned)(wide & 0xffffffffu));
    else
        tsl_print(sink, "0x%08x", (unsigned)wide);
}

static void print_run(const struct tsl_sink *sink, const struct run *run)
{
    unsigned attributes = run->first.attributes;
    print_address(sink, run->first.start);
    tsl_print(sink, "-");
    print_address(sink, run->last);
    tsl_print(sink, " %6zu x %s r%c%c%s%s%s -> 0x%llx\n", run->pages, size_name(run->first.bytes),
              attributes & TSL_WRITE ? 'w' : '-', attributes & TSL_EXEC ? 'x' : '-',
              attributes & TSL_USER ? " user" : "", attributes & TSL_GLOBAL ? " global" : "",
              cache_name(attributes), (unsigned long long)run->first.target);
}

static void print_head(struct tsl_table *self, const struct tsl_sink *sink)
{
    bool enforced = self->format->has_nx && self->features.nx;
    tsl_print(
        sink,
        "table %s, root 0x%llx, %lu table frames, %lu splits, %lu promotions, %lu flushes%s\n",
        self->format->name, (unsigned long long)self->root, self->counters.tables,
        self->counters.splits, self->counters.promotions, self->counters.flushes,
        enforced ? "" : "; this CPU cannot forbid execution");
}

void tsl_table_dump(struct tsl_table *self, const struct tsl_sink *sink)
{
    struct run run = {.pages = 0};
    struct tsl_mapping page;
    print_head(self, sink);
    for (tsl_vaddr from = 0; tsl_table_next(self, from, ~(tsl_vaddr)0, &page);) {
        if (run.pages > 0 && !extends(&run, &page)) {
            print_run(sink, &run);
            run.pages = 0;
        }
        if (run.pages == 0)
            run.first = page;
        run.last = page.start + (page.bytes - 1u);
        run.pages++;
        from = run.last + 1u;
        if (from == 0)
            break;
    }
    if (run.pages > 0)
        print_run(sink, &run);
    else
        tsl_print(sink, "nothing is mapped\n");
}
