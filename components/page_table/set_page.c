/* SPDX-License-Identifier: MIT
 *
 * set_page.c: one page of the user half leads where it should, whatever it shows before.
 *
 * Owns:    tsl_table_set_page, tsl_table_widen_page, tsl_table_count_absent.
 * Needs:   walk.c, map.c (where a table is missing), check.c.
 * Callers: the public: page faults.
 *
 * One lock and one walk find the entry and fill it. What a fault asks for most is nothing that any
 * CPU could remember wrongly: an absent entry, which no CPU keeps, or one that may be written from
 * now on. A CPU that still knows it as read-only faults once more, finds the entry as it wants it,
 * and drops what it knew. All else is flushed.
 */
#include "page_table_internal.h"

#include <tesela/arch.h>
#include <tesela/checked.h>

/* A page that needs no closer look: aligned, user half, not in the fixed range; and its target. */
static inline bool is_plain(const struct tsl_table *self, tsl_vaddr va, tsl_paddr target)
{
    const struct tsl_table_format *format = self->format;
    if (((va | (tsl_vaddr)target) & (TSL_PAGE_BYTES - 1u)) != 0 || target >> self->physical_bits)
        return false;
    if (va < format->user_first || va > format->user_last)
        return false;
    return va > self->fixed_last || va < self->fixed_first;
}

TSL_COLD TSL_NOINLINE static enum tsl_status refuse(struct tsl_table *self, tsl_vaddr va,
                                                    tsl_paddr target)
{
    tsl_vaddr last;
    enum tsl_status status = tsl_table_check_range(self, "set", va, TSL_PAGE_BYTES, &last);
    if (status != TSL_OK)
        return status;
    bool odd = !tsl_is_aligned_paddr(target, TSL_PAGE_BYTES);
    return tsl_refuse(&self->refusals, odd ? TSL_MISALIGNED : TSL_OUT_OF_RANGE,
                      "tables: set %zx to %llx", (size_t)va, (unsigned long long)target);
}

/* Every CPU forgets the page. Others that have gathered changes meanwhile are not known here. */
static void flush(struct tsl_table *self, tsl_vaddr va)
{
    if (tsl_table_is_tagged(self) || tsl_atomic_load_acquire(&self->open_gathers) > 0) {
        struct tsl_gather gather;
        tsl_gather_init(&gather, self);
        tsl_gather_open(&gather);
        tsl_gather_pages(&gather, va, 1, 0);
        tsl_gather_finish(&gather);
        return;
    }
    struct tsl_flush request;
    request.count = 1;
    request.all = false;
    request.global = self->kernel;
    request.page[0] = va;
    (void)tsl_atomic_add(&self->counters.flushes, 1);
    tsl_flush_cpus(self->kernel ? tsl_cpus_online() : &self->cpus, &request);
}

/* The same target. The entry keeps what the CPU marks in it until the very exchange. */
static void change_rights(struct tsl_table *self, tsl_vaddr va, uint64_t wanted)
{
    const struct tsl_table_format *format = self->format;
    const struct tsl_walk *walk = &self->path;
    uint64_t raw = walk->raw, bare;
    do {
        bare = raw & ~format->history;
    } while (bare != wanted && !tsl_entry_change(format, walk->memory[0], tsl_walk_index(walk),
                                                 &raw, wanted | (raw & format->history)));
    if (TSL_LIKELY((bare | format->writable) == wanted))
        tsl_arch_flush_page(va); /* ours, in case it came from before; others fault once more */
    else
        flush(self, va);
}

/* The entry is there. */
static void change(struct tsl_table *self, tsl_vaddr va, uint64_t wanted,
                   struct tsl_page_change *out)
{
    const struct tsl_table_format *format = self->format;
    const struct tsl_walk *walk = &self->path;
    if (((walk->raw ^ wanted) & format->target) == 0) {
        out->kind = TSL_PAGE_SAME;
        change_rights(self, va, wanted);
        return;
    }
    /* Absent until everybody has forgotten the old page: no two CPUs see different ones. */
    uint64_t old = tsl_entry_take(format, walk->memory[0], tsl_walk_index(walk));
    flush(self, va);
    tsl_entry_publish(format, walk->memory[0], tsl_walk_index(walk), wanted);
    out->kind = TSL_PAGE_REPLACED;
    out->old = old & format->target;
}

/* The walk stands in the page's table, which is there. */
static inline enum tsl_status set_here(struct tsl_table *self, tsl_vaddr va, uint64_t wanted,
                                       struct tsl_page_change *out)
{
    const struct tsl_walk *walk = &self->path;
    if (walk->raw != 0) {
        change(self, va, wanted, out);
        return TSL_OK;
    }
    tsl_entry_publish(self->format, walk->memory[0], tsl_table_format_index(self->format, 0, va),
                      wanted);
    self->counters.pages[0]++;
    out->kind = TSL_PAGE_NEW;
    return TSL_OK;
}

/* What the attributes come to is remembered: neighbouring pages mostly have the same. Before: the
 * lock is held; it is let go meanwhile. */
TSL_NOINLINE static enum tsl_status learn_attributes(struct tsl_table *self, tsl_vaddr va,
                                                     unsigned attributes, tsl_pin *pin)
{
    tsl_lock_release(&self->lock, *pin);
    enum tsl_status status = tsl_table_check_attributes(self, "set", va, va, attributes);
    *pin = tsl_lock_acquire(&self->lock);
    if (status != TSL_OK)
        return status;
    self->set_as = attributes;
    self->set_bits = self->format->encode_leaf(0, 0, attributes, &self->features);
    return TSL_OK;
}

/* Where the path leads elsewhere. */
TSL_NOINLINE static enum tsl_status set_far(struct tsl_table *self, tsl_vaddr va, uint64_t wanted,
                                            struct tsl_page_change *out)
{
    struct tsl_walk *walk = &self->path;
    tsl_walk_to(walk, va);
    if (walk->level == 0)
        return set_here(self, va, wanted, out);
    if (walk->raw != 0)
        return TSL_EXISTS;
    out->kind = TSL_PAGE_NEW;
    return tsl_table_map_page(self, va, wanted - self->set_bits, self->set_as);
}

/* In the table where the last walk ended there is nothing to walk. */
static inline enum tsl_status set(struct tsl_table *self, tsl_vaddr va, uint64_t wanted,
                                  struct tsl_page_change *out)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    if (TSL_UNLIKELY(walk->level != 0 || (va ^ walk->at) >> format->shift[1] != 0))
        return set_far(self, va, wanted, out);
    walk->at = va;
    walk->raw = tsl_entry_load(format, walk->memory[0], tsl_walk_index(walk));
    return set_here(self, va, wanted, out);
}

enum tsl_status tsl_table_set_page(struct tsl_table *self, tsl_vaddr va, tsl_paddr target,
                                   unsigned attributes, struct tsl_page_change *out)
{
    if (TSL_UNLIKELY(!is_plain(self, va, target)))
        return refuse(self, va, target);
    enum tsl_status status = TSL_OK;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (TSL_UNLIKELY(attributes != self->set_as || self->set_bits == 0))
        status = learn_attributes(self, va, attributes, &pin);
    uint64_t wanted = self->set_bits + target;
    if (status == TSL_OK)
        status = set(self, va, wanted, out);
    tsl_lock_release(&self->lock, pin);
    return status;
}

bool tsl_table_widen_page(struct tsl_table *self, tsl_vaddr va, tsl_paddr target,
                          unsigned attributes)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    bool done = false;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (attributes == self->set_as && walk->level == 0 &&
        (va ^ walk->at) >> format->shift[1] == 0) {
        unsigned index = tsl_table_format_index(format, 0, va);
        uint64_t raw = tsl_entry_load(format, walk->memory[0], index);
        uint64_t wanted = self->set_bits + target;
        while (raw != 0 && ((raw & ~format->history) | format->writable) == wanted && !done)
            done = tsl_entry_change(format, walk->memory[0], index, &raw,
                                    wanted | (raw & format->history));
        if (done)
            tsl_arch_flush_page(va);
    }
    tsl_lock_release(&self->lock, pin);
    return done;
}

unsigned tsl_table_count_absent(struct tsl_table *self, tsl_vaddr va, unsigned pages)
{
    struct tsl_walk *walk = &self->path;
    unsigned count = 0;
    if (pages == 0 || !tsl_table_format_canonical(self->format, va))
        return 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_walk_to(walk, va);
    if (walk->raw == 0) {
        tsl_vaddr left = ((tsl_walk_last(walk) | (TSL_PAGE_BYTES - 1u)) - va) >> TSL_PAGE_SHIFT;
        if (walk->level == 0)
            left = tsl_table_entries(self->format, 0) - 1u - tsl_walk_index(walk);
        count = pages - 1u < left ? pages : (unsigned)left + 1u;
        if (walk->level == 0)
            count = tsl_entries_absent(self->format, walk->memory[0], tsl_walk_index(walk), count);
    }
    tsl_lock_release(&self->lock, pin);
    return count;
}
