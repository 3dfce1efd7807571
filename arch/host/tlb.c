/* SPDX-License-Identifier: MIT
 *
 * tlb.c: the translation buffer of a model CPU.
 *
 * Owns:    see tlb.h.
 * Needs:   nothing else.
 * Callers: model_cpu.c.
 */
#include "tlb.h"

#include <stddef.h>
#include <string.h>

/* Large pages of all sizes share the large slots; the start decides, so sizes may collide. */
static struct tlb_page *slot_of(struct tlb *self, uint64_t start, uint64_t bytes)
{
    if (bytes == 4096)
        return &self->small[(start >> 12) % TLB_SMALL_SLOTS];
    uint64_t hash = (start >> 21) ^ (start >> 30);
    return &self->large[hash % TLB_LARGE_SLOTS];
}

static bool covers(const struct tlb_page *slot, uint64_t linear)
{
    return slot->valid && linear - slot->page.start < slot->page.bytes;
}

void tlb_reset(struct tlb *self, unsigned way_shift)
{
    memset(self, 0, sizeof(*self));
    self->way_shift = way_shift;
}

const struct walker_page *tlb_find(const struct tlb *self, uint64_t linear)
{
    static const uint64_t large[] = {UINT64_C(2) << 20, UINT64_C(4) << 20, UINT64_C(1) << 30};
    const struct tlb_page *slot = &self->small[(linear >> 12) % TLB_SMALL_SLOTS];
    if (covers(slot, linear))
        return &slot->page;
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        slot = slot_of((struct tlb *)(uintptr_t)self, linear - linear % large[i], large[i]);
        if (covers(slot, linear))
            return &slot->page;
    }
    return NULL;
}

const struct tlb_way *tlb_find_way(const struct tlb *self, uint64_t linear)
{
    const struct tlb_way *way = &self->way[(linear >> self->way_shift) % TLB_WAY_SLOTS];
    bool hit = way->valid && (linear ^ way->start) >> self->way_shift == 0;
    return hit ? way : NULL;
}

void tlb_insert_way(struct tlb *self, uint64_t linear, const struct walker_page *page)
{
    uint64_t span = UINT64_C(1) << self->way_shift;
    if (page->last_table == 0)
        return;
    self->way[(linear >> self->way_shift) % TLB_WAY_SLOTS] =
        (struct tlb_way){true, linear & ~(span - 1u), page->last_table, page->above_last};
}

void tlb_insert(struct tlb *self, const struct walker_page *page)
{
    *slot_of(self, page->start, page->bytes) = (struct tlb_page){true, *page};
    tlb_insert_way(self, page->start, page);
}

static void forget_ways(struct tlb *self)
{
    memset(self->way, 0, sizeof(self->way));
}

void tlb_flush_page(struct tlb *self, uint64_t linear)
{
    struct tlb_page *slot = &self->small[(linear >> 12) % TLB_SMALL_SLOTS];
    if (covers(slot, linear))
        slot->valid = false;
    for (unsigned i = 0; i < TLB_LARGE_SLOTS; i++)
        if (covers(&self->large[i], linear))
            self->large[i].valid = false;
    forget_ways(self);
}

static void flush_slots(struct tlb_page *slot, unsigned count, bool global_too)
{
    for (unsigned i = 0; i < count; i++)
        if (global_too || !slot[i].page.global)
            slot[i].valid = false;
}

void tlb_flush_all(struct tlb *self, bool global_too)
{
    flush_slots(self->small, TLB_SMALL_SLOTS, global_too);
    flush_slots(self->large, TLB_LARGE_SLOTS, global_too);
    forget_ways(self);
}
