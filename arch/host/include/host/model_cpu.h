/* SPDX-License-Identifier: MIT
 *
 * model_cpu.h: model CPUs that load, store and fetch through our page tables in simulated RAM.
 *
 * Owns:    the CPUs' control registers, translation buffers and counters.
 * Needs:   ram.h, walker.h; the port's cpu_id says which CPU the running code is on.
 * Callers: arch/host itself (arch.h), tests.
 *
 * What hardware may remember, a model CPU does remember until it is told to flush: translations of
 * pages, and the ways to tables of every level, by PCID. Using one that no longer holds is legal
 * for a CPU, so the access is made; it is counted, and a test that expects correct flushing demands
 * zero. An address that is remembered under two sizes at once is counted as well: some CPUs stop
 * with a machine check there, many of them when they fetch an instruction from it.
 */
#ifndef TESELA_HOST_MODEL_CPU_H
#define TESELA_HOST_MODEL_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/arch.h>
#include <tesela/types.h>

#define MODEL_CPUS 16u

enum model_access { MODEL_LOAD, MODEL_STORE, MODEL_FETCH };

enum model_result {
    MODEL_OK,
    MODEL_NOT_PRESENT,   /* page fault, present bit clear */
    MODEL_PROTECTION,    /* page fault, present bit set */
    MODEL_RESERVED,      /* page fault, reserved bit set: a bug of whoever made the tables */
    MODEL_NOT_CANONICAL, /* general protection */
    MODEL_NO_RAM         /* translated, but nothing answers at the physical address */
};

/* What all CPUs of the machine are. */
struct model_config {
    const char *format; /* "2level", "pae", "4level", "5level": how CR3 is read */
    struct tsl_cpu_features features;
    /* May be NULL. True: the frame is free, so nobody may reach it, neither as data nor as table.
     */
    bool (*frame_is_free)(tsl_paddr address);
    /* An erratum: with PCIDs on, INVLPG leaves global translations alone. */
    bool invlpg_spares_globals;
    /* Larger pages are remembered by pieces of 4 KiB, as CPUs and hypervisors may do (SDM volume 3,
     * 4.10.2.3). INVLPG drops all pieces of a page as long as the tables show it (4.10.4.1). */
    bool splinters;
};

/* The bits of a page fault's error code. */
#define MODEL_ERROR_PRESENT  1u
#define MODEL_ERROR_WRITE    2u
#define MODEL_ERROR_USER     4u
#define MODEL_ERROR_RESERVED 8u
#define MODEL_ERROR_FETCH    16u

struct model_fault {
    uint64_t address; /* CR2 */
    unsigned code;
};

struct model_counters {
    tsl_word accesses;
    tsl_word hits;         /* translated without a walk */
    tsl_word way_hits;     /* walks that began at a remembered table */
    tsl_word stale_hits;   /* by hits of both kinds: the tables no longer say so (or grant less) */
    tsl_word freed_frames; /* accesses that reached a free frame */
    tsl_word freed_tables; /* table entries read from a free frame */
    tsl_word reserved;     /* reserved-bit faults, bad PAE registers included */
    tsl_word two_sizes;    /* accesses to an address that is remembered under two sizes of page */
    tsl_word two_sizes_fetched; /* of them, fetches */
};

/*
 * Reset all CPUs: nothing cached, CR3 0, every optional feature off until tsl_arch_enable.
 * Before:  host_ram_create.
 * Errors:  false: no such format.
 */
bool model_reset(const struct model_config *config);

/* Put `cpu` in user mode (accesses are checked as ring 3) or back. */
void model_set_user(unsigned cpu, bool user);

/* EFLAGS.AC: while it is set, SMAP lets the kernel's loads and stores reach user pages. */
void model_set_ac(unsigned cpu, bool ac);

/* CR4.PCIDE. False, and nothing is changed: the CPU has no PCIDs, is not in long mode, or CR3 has
 * other low bits than zeros. */
bool model_set_pcide(unsigned cpu, bool on);

/*
 * Load CR3 with flags: with PCIDE bits 11..0 are the PCID, and bit 63 keeps its translations;
 * otherwise those of that PCID (without PCIDE: all) that are not global are dropped. PAE: loads the
 * four registers, which are what is used until the next load.
 */
void model_load_cr3(unsigned cpu, uint64_t value);

/* INVPCID, by its types 0..3. False: general protection. */
enum model_invpcid {
    MODEL_INVPCID_PAGE,        /* one page of one PCID, not a global one */
    MODEL_INVPCID_SPACE,       /* one PCID, without global pages */
    MODEL_INVPCID_EVERYTHING,  /* all PCIDs, with global pages */
    MODEL_INVPCID_EVERY_SPACE, /* all PCIDs, without */
};
bool model_invpcid(unsigned cpu, enum model_invpcid type, unsigned pcid, uint64_t address);

/* What the last page fault of this CPU has left: CR2 and the error code (SDM volume 3, 4.7). */
struct model_fault model_last_fault(unsigned cpu);

/*
 * One access as the CPU would make it, page by page; bytes before the faulting page are done.
 * Sets accessed and dirty bits in the tables. model_fetch touches one byte.
 */
enum model_result model_load(unsigned cpu, uint64_t address, void *out, size_t bytes);
enum model_result model_store(unsigned cpu, uint64_t address, const void *data, size_t bytes);
enum model_result model_fetch(unsigned cpu, uint64_t address);

/*
 * A walk ahead of need, as CPUs make them at any time: no fault, the page is not touched, but the
 * tables that lead there are marked as accessed and the ways to them remembered.
 */
void model_speculate(unsigned cpu, uint64_t address);

/* The place in simulated RAM behind `address` for this access, in *out; up to the page's end. */
enum model_result model_reach(unsigned cpu, uint64_t address, enum model_access access, void **out);

void model_counters(struct model_counters *out);

/* The CR3 of a CPU: root and PCID. */
tsl_paddr model_root(unsigned cpu);
unsigned model_pcid(unsigned cpu);

/*
 * Called before each exchange of an 8-byte entry, so that a test can play the hardware that marks
 * the entry at the worst moment. NULL: nobody.
 */
extern void (*model_before_exchange)(uint64_t *entry);

/* For arch/host: the rest of arch.h acts on the CPU that the caller runs on. */
void model_enable(unsigned cpu, const struct tsl_cpu_features *features);
void model_load_root(unsigned cpu, tsl_paddr root);
void model_flush_page(unsigned cpu, uint64_t address);
void model_flush_all(unsigned cpu, bool global_too);
const struct tsl_cpu_features *model_features(void);

#endif
