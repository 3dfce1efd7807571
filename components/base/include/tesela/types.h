/* SPDX-License-Identifier: MIT
 *
 * types.h: addresses, frames and protections, the words in which all components speak.
 *
 * Owns:    the types whose name is their unit, the page size, and the one set of protection bits
 *          that tables, regions and layouts share.
 * Needs:   nothing.
 * Callers: everybody.
 */
#ifndef TESELA_TYPES_H
#define TESELA_TYPES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A physical address. 64 bits everywhere: with PAE a 32-bit CPU has more RAM than addresses. */
typedef uint64_t tsl_paddr;
/* A virtual address in the address space the code runs in. */
typedef uintptr_t tsl_vaddr;
/* The widest integer on which this CPU is atomic in one plain instruction. */
typedef unsigned long tsl_word;

#define TSL_WORD_BITS ((unsigned)(sizeof(tsl_word) * CHAR_BIT))

#define TSL_PAGE_SHIFT 12u
#define TSL_PAGE_BYTES 4096u

/* A page frame: 4 KiB of physical memory. Number 0 means "none": frame 0 is never handed out. */
struct tsl_frame {
    tsl_word number;
};

/* The frame that holds `address`. On x86-32 addresses from 2^44 on have no frame number; memory
 * maps are cut below that when they are imported. */
static inline struct tsl_frame tsl_frame_of(tsl_paddr address)
{
    return (struct tsl_frame){(tsl_word)(address >> TSL_PAGE_SHIFT)};
}

/* The address of the frame's first byte. */
static inline tsl_paddr tsl_frame_address(struct tsl_frame frame)
{
    return (tsl_paddr)frame.number << TSL_PAGE_SHIFT;
}

static inline bool tsl_frame_is_none(struct tsl_frame frame)
{
    return frame.number == 0;
}

/*
 * Protection and attributes of memory, as bits of an `unsigned`. One set for page tables, regions
 * and layout ranges. No right is implied by another.
 */
#define TSL_READ   (1u << 0)
#define TSL_WRITE  (1u << 1)
#define TSL_EXEC   (1u << 2)
#define TSL_USER   (1u << 3) /* also reachable from user mode */
#define TSL_GLOBAL (1u << 4) /* the same in every space: survives a change of the root */
/* Writable and executable at once. Without it, TSL_WRITE with TSL_EXEC is refused (TSL_DENIED). */
#define TSL_ALLOW_WX (1u << 5)

/* Cache type: one value, not a set, in bits 8..10. */
#define TSL_CACHE_WRITE_BACK      (0u << 8)
#define TSL_CACHE_WRITE_THROUGH   (1u << 8)
#define TSL_CACHE_UNCACHED        (2u << 8)
#define TSL_CACHE_WRITE_COMBINING (3u << 8)
#define TSL_CACHE_MASK            (7u << 8)

_Static_assert(sizeof(tsl_word) == sizeof(void *), "a word holds a pointer on all our machines");
_Static_assert(TSL_PAGE_BYTES == 1u << TSL_PAGE_SHIFT, "page bytes and page shift must agree");

#endif
