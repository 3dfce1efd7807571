/* SPDX-License-Identifier: MIT
 *
 * walker.h: reads page tables the way the manuals say, knowing nothing of page_table or formats.
 *
 * Owns:    the second opinion: what a CPU would make of the tables in memory.
 * Needs:   a function that reads physical memory. Shares no code with arch/x86* or page_table.
 * Callers: the model CPUs (their hardware walk), tests (comparison).
 *
 * Source: Intel SDM volume 3, 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level, 5-level), 4.6 (rights);
 * AMD APM volume 2, chapter 5.
 */
#ifndef TESELA_HOST_WALKER_H
#define TESELA_HOST_WALKER_H

#include <stdbool.h>
#include <stdint.h>

enum walker_mode { WALKER_32BIT, WALKER_PAE, WALKER_4LEVEL, WALKER_5LEVEL };

/* The control bits that decide how tables are read, and the memory they are in. */
struct walker_machine {
    enum walker_mode mode;
    bool nxe;      /* EFER.NXE */
    bool pse;      /* CR4.PSE */
    bool pge;      /* CR4.PGE */
    bool pages_1g; /* CPUID: 1 GiB pages */
    unsigned physical_bits;
    uint64_t (*read)(uint64_t address, unsigned bytes); /* little-endian, aligned */
};

enum walker_result { WALKER_OK, WALKER_NOT_PRESENT, WALKER_RESERVED, WALKER_NOT_CANONICAL };

/* The AND of what the entries so far have said. */
struct walker_rights {
    bool writable;
    bool user;
    bool executable;
};

/* A table below the root on the way to an address. CPUs may remember ways (paging-structure
 * caches, SDM volume 3, 4.10.3) and begin there next time. */
struct walker_way {
    uint64_t table;
    unsigned shift; /* lowest address bit of its index: 12 for a table of 4 KiB pages */
    struct walker_rights rights;
};

struct walker_page {
    uint64_t start; /* linear address of the page */
    uint64_t bytes;
    uint64_t target; /* physical address of the page */
    struct walker_rights rights;
    bool global;
    bool accessed;
    bool dirty;
    unsigned cache_index; /* PAT * 4 + PCD * 2 + PWT */
    unsigned depth;       /* entries read */
    uint64_t entry_at[5]; /* where they are, root first; 0: not in memory (PAE registers) */
    unsigned ways;        /* tables below the root that were read; PAE's directories, which the
                             registers lead to, are not among them */
    struct walker_way way[4];
};

/*
 * Translate `linear` from the root `cr3`. `pdpte`: the four PAE registers, NULL: read the root
 * from memory. On any result but WALKER_OK *out holds only depth, entry_at and the
 * ways that the walk came along.
 */
enum walker_result walker_translate(const struct walker_machine *machine, uint64_t cr3,
                                    const uint64_t pdpte[4], uint64_t linear,
                                    struct walker_page *out);

/*
 * The rest of the walk alone, for a CPU that has cached the way to one of its tables.
 */
enum walker_result walker_resume(const struct walker_machine *machine, const struct walker_way *way,
                                 uint64_t linear, struct walker_page *out);

/* Would loading these PAE registers fault? (Reserved bits in a present one.) */
bool walker_pdptes_valid(const struct walker_machine *machine, const uint64_t pdpte[4]);

#endif
