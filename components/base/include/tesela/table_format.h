/* SPDX-License-Identifier: MIT
 *
 * table_format.h: how one kind of page table is laid out in memory.
 *
 * Owns:    struct tsl_table_format, the only thing the page-table walker knows about a processor.
 * Needs:   types.h; the features of the CPU come from arch.h.
 * Callers: page_table (walks by it), arch/ (defines the four instances), the boot code by name.
 *
 * Levels count from the bottom: level 0 entries map 4 KiB pages, level `levels - 1` is the root.
 */
#ifndef TESELA_TABLE_FORMAT_H
#define TESELA_TABLE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/types.h>

struct tsl_cpu_features;

/* The deepest format (5-level) has this many levels; sizes every array "one a level". */
#define TSL_TABLE_LEVELS 5u

/*
 * What our page-attribute table (IA32_PAT) holds, for arch code that programs it: entries 0..3 as
 * after reset (write-back, write-through, uncached-, uncached), entry 4 write-combining. A CPU
 * without PAT never sees entry 4: write-combining is then encoded as uncached.
 * Source:  Intel SDM volume 3, 12.12 "Page Attribute Table".
 */
#define TSL_X86_PAT UINT64_C(0x0007040100070406)

/* One entry, decoded. `attributes` are the TSL_READ.. bits of types.h, valid for leaves only. */
struct tsl_table_entry {
    bool present;
    bool leaf;     /* maps a page; else points to a table of the level below */
    bool reserved; /* a bit is set that the CPU demands to be zero */
    bool user;     /* the CPU's user bit (a leaf also shows it in attributes) */
    bool accessed; /* leaves only */
    bool dirty;    /* leaves only */
    unsigned attributes;
    tsl_paddr target; /* of the page or of the next table */
};

struct tsl_table_format {
    const char *name;                     /* "2level", "pae", "4level", "5level" */
    unsigned levels;                      /* 2..5 */
    unsigned entry_bytes;                 /* 4 or 8 */
    uint8_t shift[TSL_TABLE_LEVELS];      /* lowest address bit a level's index is made of */
    uint8_t index_bits[TSL_TABLE_LEVELS]; /* width of a level's index; 1 << it = entries */
    unsigned va_bits;                     /* address bits that are translated */
    bool sign_extended;                   /* the bits above repeat the topmost translated one */
    bool has_nx;            /* there is a no-execute bit (whether the CPU has it: features.nx) */
    bool fixed_top;         /* root entries are loaded into the CPU together: they never change */
    uint64_t history;       /* the bits in which the CPU marks accessed and dirty leaves */
    uint64_t writable;      /* the bit that a leaf has more if it may also be written */
    uint64_t target;        /* the bits of a 4 KiB leaf in which its target is, as it is */
    unsigned physical_bits; /* widest physical address an entry can hold */
    tsl_vaddr user_first;   /* the only addresses that may carry TSL_USER; */
    tsl_vaddr user_last;    /* inclusive */

    /*
     * May an entry of `level` map a page on a CPU with these features?
     */
    bool (*leaf_at)(unsigned level, const struct tsl_cpu_features *features);

    /*
     * The entry that points to a table of the level below. `user`: the span lies in the user half.
     * Before:  `table` is page-aligned and within physical_bits.
     */
    uint64_t (*encode_table)(unsigned level, tsl_paddr table, bool user);

    /*
     * The entry that maps a page. `attributes`: TSL_READ.., cache type, TSL_ALLOW_WX (remembered).
     * Never sets a bit that the features do not allow (no-execute, global, PAT). The target is a
     * summand: a target further on by n bytes makes an entry greater by n.
     * Before:  leaf_at(level, features); target aligned to the page size and within physical_bits.
     */
    uint64_t (*encode_leaf)(unsigned level, tsl_paddr target, unsigned attributes,
                            const struct tsl_cpu_features *features);

    /*
     * Read an entry. Total: every bit pattern decodes; a pattern that would fault with the
     * reserved bit comes out with `reserved` set.
     */
    void (*decode)(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                   struct tsl_table_entry *out);

    /*
     * The same entry with the CPU's accessed and dirty bits put to the given values.
     */
    uint64_t (*with_history)(uint64_t raw, bool accessed, bool dirty);
};

extern const struct tsl_table_format tsl_table_format_2level;
extern const struct tsl_table_format tsl_table_format_pae;
extern const struct tsl_table_format tsl_table_format_4level;
extern const struct tsl_table_format tsl_table_format_5level;

/*
 * Is `va` an address this format can translate? (Not: is something mapped there.)
 * Cost:    constant.
 */
static inline bool tsl_table_format_canonical(const struct tsl_table_format *format, tsl_vaddr va)
{
    if (format->va_bits >= TSL_WORD_BITS)
        return true;
    if (!format->sign_extended)
        return va >> format->va_bits == 0;
    tsl_vaddr top = va >> (format->va_bits - 1u);
    return top == 0 || top == ~(tsl_vaddr)0 >> (format->va_bits - 1u);
}

/*
 * Bytes that one leaf of `level` maps.
 */
static inline tsl_vaddr tsl_table_format_page_bytes(const struct tsl_table_format *format,
                                                    unsigned level)
{
    return (tsl_vaddr)1 << format->shift[level];
}

/*
 * The index into a table of `level` for `va`.
 */
static inline unsigned tsl_table_format_index(const struct tsl_table_format *format, unsigned level,
                                              tsl_vaddr va)
{
    return (unsigned)(va >> format->shift[level]) & ((1u << format->index_bits[level]) - 1u);
}

#endif
