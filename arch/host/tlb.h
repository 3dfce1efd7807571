/* SPDX-License-Identifier: MIT
 *
 * tlb.h: what one model CPU remembers of the tables.
 *
 * Owns:    struct tlb: page translations by page size, and ways to tables of 4 KiB entries.
 * Needs:   walker.h.
 * Callers: model_cpu.c.
 *
 * Each cache is direct-mapped; an entry stays until it is flushed or its slot is needed.
 */
#ifndef TESELA_HOST_TLB_H
#define TESELA_HOST_TLB_H

#include <host/walker.h>

#define TLB_SMALL_SLOTS 1024u
#define TLB_LARGE_SLOTS 128u
#define TLB_WAY_SLOTS   64u

struct tlb_page {
    bool valid;
    struct walker_page page;
};

struct tlb_way {
    bool valid;
    uint64_t start; /* first linear address under the table */
    uint64_t table;
    struct walker_rights rights;
};

struct tlb {
    struct tlb_page small[TLB_SMALL_SLOTS];
    struct tlb_page large[TLB_LARGE_SLOTS];
    struct tlb_way way[TLB_WAY_SLOTS];
    unsigned way_shift; /* log2 of what one table of 4 KiB entries spans */
};

void tlb_reset(struct tlb *self, unsigned way_shift);
const struct walker_page *tlb_find(const struct tlb *self, uint64_t linear);
const struct tlb_way *tlb_find_way(const struct tlb *self, uint64_t linear);

/* Remember a finished walk. */
void tlb_insert(struct tlb *self, const struct walker_page *page);

/* Remember only the way to the last table, if the walk for `linear` came that far. */
void tlb_insert_way(struct tlb *self, uint64_t linear, const struct walker_page *page);

/* As INVLPG: the page, global or not, and all cached ways. */
void tlb_flush_page(struct tlb *self, uint64_t linear);

/* As a load of CR3; `global_too`: as a toggle of CR4.PGE. */
void tlb_flush_all(struct tlb *self, bool global_too);

#endif
