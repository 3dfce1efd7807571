/* SPDX-License-Identifier: MIT
 *
 * tlb.h: what one model CPU remembers of the tables.
 *
 * Owns:    struct tlb: translations of pages by size, and ways to tables of every level, each with
 *          the number of the space (PCID) it was made in.
 * Needs:   walker.h.
 * Callers: model_cpu.c.
 *
 * Each cache is direct-mapped, by address and PCID, so that one space does not hide another's
 * mistakes; an entry stays until it is flushed or its slot is needed.
 */
#ifndef TESELA_HOST_TLB_H
#define TESELA_HOST_TLB_H

#include <host/walker.h>

#define TLB_SMALL_SLOTS 1024u
#define TLB_LARGE_SLOTS 128u
#define TLB_WAY_SLOTS   32u
#define TLB_WAY_LEVELS  4u

struct tlb_page {
    bool valid;
    bool global; /* good under every PCID */
    bool dirty;
    unsigned pcid;
    uint64_t start;
    uint64_t bytes;
    uint64_t target;
    struct walker_rights rights;
    uint64_t whole_start; /* of a splinter: the page that the tables had; */
    uint64_t whole_bytes; /* else 0 */
};

struct tlb_way {
    bool valid;
    unsigned pcid;
    uint64_t start; /* first linear address under the table */
    struct walker_way way;
};

struct tlb {
    struct tlb_page small[TLB_SMALL_SLOTS];
    struct tlb_page large[TLB_LARGE_SLOTS];
    struct tlb_way way[TLB_WAY_LEVELS][TLB_WAY_SLOTS]; /* tables of 4 KiB pages first */
    unsigned index_bits;                               /* of a table */
    bool splinters; /* larger pages are remembered by pieces of 4 KiB, each on its own */
};

void tlb_reset(struct tlb *self, unsigned index_bits);

/* NULL: not remembered. Of several ways the one that leads furthest. Has other size: is the address
 * also in a page that is remembered with a size that is not `bytes`? */
const struct tlb_page *tlb_find(const struct tlb *self, uint64_t linear, unsigned pcid);
bool tlb_has_other_size(const struct tlb *self, uint64_t linear, uint64_t bytes, unsigned pcid);
const struct walker_way *tlb_find_way(const struct tlb *self, uint64_t linear, unsigned pcid);

/* Remember the page that a walk for `linear` has found, and the ways it came along. */
void tlb_insert(struct tlb *self, uint64_t linear, const struct walker_page *page, unsigned pcid);

/* Only the ways, of a walk that may have ended anywhere. */
void tlb_insert_ways(struct tlb *self, uint64_t linear, const struct walker_page *page,
                     unsigned pcid);

/* The page, a global one only if asked, and all ways of the PCID. */
void tlb_flush_page(struct tlb *self, uint64_t linear, unsigned pcid, bool global_too);

/* All pieces of a larger page that holds the address. */
void tlb_flush_splinters(struct tlb *self, uint64_t linear, unsigned pcid, bool global_too);

/* All of one PCID, or (TLB_EVERY_PCID) of all of them. */
#define TLB_EVERY_PCID 0x1000u
void tlb_flush_all(struct tlb *self, unsigned pcid, bool global_too);

#endif
