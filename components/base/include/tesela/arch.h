/* SPDX-License-Identifier: MIT
 *
 * arch.h: the few operations that need an instruction of this machine.
 *
 * Owns:    their contract. Implemented by arch/x86_32, arch/x86_64 and, on a model machine,
 *          arch/host; the build links exactly one of them.
 * Needs:   types.h, flush.h; table_format.h for what is behind `struct tsl_table_format`.
 * Callers: base (flush, relax) and page_table. Everybody else has no business here.
 */
#ifndef TESELA_ARCH_H
#define TESELA_ARCH_H

#include <tesela/compiler.h>
#include <tesela/types.h>

struct tsl_flush;
struct tsl_table_format;

/* What the CPU offers (CPUID). All zero: a CPU that offers nothing beyond 2-level tables. */
struct tsl_cpu_features {
    bool pse;               /* 4 MiB pages in 2-level tables */
    bool pae;               /* 8-byte entries */
    bool pge;               /* global pages */
    bool nx;                /* no-execute bit */
    bool pages_1g;          /* 1 GiB pages */
    bool la57;              /* 5-level tables */
    bool pat;               /* write-combining through the page attribute table */
    bool pcid;              /* translations tagged with a space's number; never without pge */
    bool wp;                /* read-only holds for the kernel too (CR0.WP: 486 and later) */
    bool smep;              /* the kernel cannot execute user pages */
    bool smap;              /* the kernel cannot touch user pages by mistake */
    bool umip;              /* user mode cannot read descriptor table addresses */
    bool one_size;          /* an erratum: it stops when it remembers an address under two sizes of
                               page, so there are none but those of 4 KiB */
    unsigned physical_bits; /* width of a physical address */
    unsigned virtual_bits;  /* width of a virtual address with the longest tables it can walk */
};

/* Reads the features of the CPU that runs this. Context: any. */
void tsl_arch_features(struct tsl_cpu_features *out);

/*
 * Switches on, on this CPU, what of `features` needs switching on: CR0.WP, EFER.NXE, CR4.PSE, PGE,
 * SMEP, SMAP, UMIP and PCIDE, and the PAT with write-combining. Idempotent.
 * Before:  this CPU has these features; all CPUs are given the same ones.
 * Context: pinned, once on each CPU before it uses a table with these features.
 */
void tsl_arch_enable(const struct tsl_cpu_features *features);

/*
 * Whether the tables in use are of this format. features: of this CPU; one without PAE may have no
 * register that tells. Context: any.
 */
bool tsl_arch_runs(const struct tsl_table_format *format, const struct tsl_cpu_features *features);

/* The physical address of the root table in use, without flag bits. Context: any. */
tsl_paddr tsl_arch_root(void);

/* Takes `root` as the root table; drops all translations that are not global.
 * Before: page aligned; below 4 GiB on x86-32. Context: pinned. */
void tsl_arch_switch_root(tsl_paddr root);

/*
 * The same with translations tagged: what is remembered from now on belongs to `tag`, 1 to 4095,
 * and is used again under no other. `keep`: what is remembered under it from before stays;
 * otherwise all of it that is not global is dropped.
 * Before:  features.pcid, switched on. Context: pinned.
 */
void tsl_arch_switch_tagged(tsl_paddr root, unsigned tag, bool keep);

/* The tag in use; 0: the root was loaded by tsl_arch_switch_root. Before: as above. Context:
 * pinned. */
unsigned tsl_arch_tag(void);

/* Drops this CPU's translation of the page at `address`, a global one as well; with tags one of
 * the tag in use or a global one, and the upper levels of that tag. Context: pinned. */
void tsl_arch_flush_page(tsl_vaddr address);

/* Drops all translations of this CPU (global_too: with the global ones, of every tag; otherwise
 * those of the tag in use). Context: pinned. */
void tsl_arch_flush_all(bool global_too);

/* Does on this CPU what the request says. Other CPUs: see tsl_flush_cpus. Context: pinned. */
void tsl_arch_flush(const struct tsl_flush *request);

/* Tells the CPU that it spins (x86: pause; a host lets other threads run). Context: any. */
void tsl_arch_relax(void);

/*
 * A pointer through which the memory at `address`, as mapped in the tables in use, can be accessed;
 * valid up to the end of its page and until the mapping changes. x86: the address itself. Host:
 * what the model CPU's translation, with its TLB, leads to; NULL where that CPU would fault.
 * Context: pinned.
 */
void *tsl_arch_reach(tsl_vaddr address);

/*
 * Eight-byte page-table entries, read and changed in one piece although x86-32 has no plain
 * instruction for it (cmpxchg8b). Full barriers. `entry` is 8-byte aligned.
 * exchange returns what was there; compare_exchange writes `desired` if *expected is there,
 * otherwise returns false and *expected is what was there.
 */
uint64_t tsl_arch_entry_load64(const uint64_t *entry);
uint64_t tsl_arch_entry_exchange64(uint64_t *entry, uint64_t value);
bool tsl_arch_entry_compare_exchange64(uint64_t *entry, uint64_t *expected, uint64_t desired);

/* The table formats that are compiled in, best first, ended by NULL. */
extern const struct tsl_table_format *const tsl_arch_formats[];

#endif
