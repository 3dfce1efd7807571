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

/* Global pages have the slots of PCID 0. Large pages of all sizes share the large slots; the start
 * decides, so sizes may collide. */
static unsigned slot_number(uint64_t start, uint64_t bytes, unsigned pcid)
{
    if (bytes == 4096)
        return (unsigned)(((start >> 12) + pcid * 97u) % TLB_SMALL_SLOTS);
    return (unsigned)(((start >> 21) ^ (start >> 30)) + pcid * 17u) % TLB_LARGE_SLOTS;
}

static const uint64_t sizes[] = {4096, UINT64_C(2) << 20, UINT64_C(4) << 20, UINT64_C(1) << 30};

static struct tlb_page *probe(struct tlb *self, uint64_t linear, uint64_t bytes, unsigned pcid,
                              bool global)
{
    uint64_t start = linear - linear % bytes;
    unsigned number = slot_number(start, bytes, global ? 0 : pcid);
    struct tlb_page *slot = bytes == 4096 ? &self->small[number] : &self->large[number];
    bool hit = slot->valid && linear - slot->start < slot->bytes && slot->global == global &&
               (global || slot->pcid == pcid);
    return hit ? slot : NULL;
}

void tlb_reset(struct tlb *self, unsigned index_bits)
{
    memset(self, 0, sizeof(*self));
    self->index_bits = index_bits;
}

/* The first, of a size that is not `but`. */
static const struct tlb_page *find(const struct tlb *self, uint64_t linear, uint64_t but,
                                   unsigned pcid)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned global = 0; global < 2; global++) {
            const struct tlb_page *slot =
                probe((struct tlb *)(uintptr_t)self, linear, sizes[i], pcid, global != 0);
            if (slot != NULL && slot->bytes != but)
                return slot;
        }
    }
    return NULL;
}

const struct tlb_page *tlb_find(const struct tlb *self, uint64_t linear, unsigned pcid)
{
    return find(self, linear, 0, pcid);
}

bool tlb_has_other_size(const struct tlb *self, uint64_t linear, uint64_t bytes, unsigned pcid)
{
    return !self->splinters && find(self, linear, bytes, pcid) != NULL;
}

static struct tlb_way *way_slot(struct tlb *self, unsigned level, uint64_t linear, unsigned pcid)
{
    unsigned span = 12u + (level + 1u) * self->index_bits;
    return &self->way[level][((linear >> span) + pcid * 5u) % TLB_WAY_SLOTS];
}

const struct walker_way *tlb_find_way(const struct tlb *self, uint64_t linear, unsigned pcid)
{
    for (unsigned level = 0; level < TLB_WAY_LEVELS; level++) {
        unsigned span = 12u + (level + 1u) * self->index_bits;
        const struct tlb_way *slot = way_slot((struct tlb *)(uintptr_t)self, level, linear, pcid);
        if (slot->valid && slot->pcid == pcid && (linear ^ slot->start) >> span == 0)
            return &slot->way;
    }
    return NULL;
}

void tlb_insert_ways(struct tlb *self, uint64_t linear, const struct walker_page *page,
                     unsigned pcid)
{
    for (unsigned i = 0; i < page->ways; i++) {
        unsigned level = (page->way[i].shift - 12u) / self->index_bits;
        uint64_t span = UINT64_C(1) << (12u + (level + 1u) * self->index_bits);
        *way_slot(self, level, linear, pcid) =
            (struct tlb_way){true, pcid, linear & ~(span - 1u), page->way[i]};
    }
}

void tlb_insert(struct tlb *self, uint64_t linear, const struct walker_page *page, unsigned pcid)
{
    uint64_t start = page->start, bytes = page->bytes;
    bool is_splinter = self->splinters && bytes > 4096;
    if (is_splinter) {
        start = linear & ~UINT64_C(4095);
        bytes = 4096;
    }
    unsigned number = slot_number(start, bytes, page->global ? 0 : pcid);
    struct tlb_page *slot = bytes == 4096 ? &self->small[number] : &self->large[number];
    *slot = (struct tlb_page){
        .valid = true,
        .global = page->global,
        .dirty = page->dirty,
        .pcid = pcid,
        .start = start,
        .bytes = bytes,
        .target = page->target + (start - page->start),
        .rights = page->rights,
        .whole_start = page->start,
        .whole_bytes = is_splinter ? page->bytes : 0,
    };
    tlb_insert_ways(self, linear, page, pcid);
}

static void forget_ways(struct tlb *self, unsigned pcid)
{
    for (unsigned level = 0; level < TLB_WAY_LEVELS; level++)
        for (unsigned i = 0; i < TLB_WAY_SLOTS; i++)
            if (pcid == TLB_EVERY_PCID || self->way[level][i].pcid == pcid)
                self->way[level][i].valid = false;
}

void tlb_flush_page(struct tlb *self, uint64_t linear, unsigned pcid, bool global_too)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned global = 0; global < (global_too ? 2u : 1u); global++) {
            struct tlb_page *slot = probe(self, linear, sizes[i], pcid, global != 0);
            if (slot != NULL)
                slot->valid = false;
        }
    }
    forget_ways(self, pcid);
}

void tlb_flush_splinters(struct tlb *self, uint64_t linear, unsigned pcid, bool global_too)
{
    for (unsigned i = 0; i < TLB_SMALL_SLOTS; i++) {
        struct tlb_page *slot = &self->small[i];
        if (linear - slot->whole_start < slot->whole_bytes &&
            (slot->global ? global_too : slot->pcid == pcid))
            slot->valid = false;
    }
}

static void flush_slots(struct tlb_page *slot, unsigned count, unsigned pcid, bool global_too)
{
    for (unsigned i = 0; i < count; i++)
        if (slot[i].global ? global_too : (pcid == TLB_EVERY_PCID || slot[i].pcid == pcid))
            slot[i].valid = false;
}

void tlb_flush_all(struct tlb *self, unsigned pcid, bool global_too)
{
    flush_slots(self->small, TLB_SMALL_SLOTS, pcid, global_too);
    flush_slots(self->large, TLB_LARGE_SLOTS, pcid, global_too);
    forget_ways(self, pcid);
}
