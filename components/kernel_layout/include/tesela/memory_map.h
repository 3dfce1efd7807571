/* SPDX-License-Identifier: MIT
 *
 * memory_map.h: what physical memory there is: a sorted list without overlaps.
 *
 * Owns:    struct tsl_memory_map and the rules by which entries that nobody should trust become one
 *          (unsorted, overlapping, wrapping, empty, far too large, too many).
 * Needs:   base. The caller gives the storage; nothing is allocated, so it works before allocators.
 * Callers: boot code and the importers of <tesela/boot_map.h> fill a map; physical_allocator and
 *          page_table read it. One writer, no locks: made on the boot CPU, read-only afterwards.
 *
 * Words: a reservation is any entry that is not TSL_MEMORY_USABLE. The stronger of two types is the
 * later one in the enum.
 */
#ifndef TESELA_MEMORY_MAP_H
#define TESELA_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/format.h>
#include <tesela/status.h>
#include <tesela/types.h>

/* Weakest first: where two entries overlap, the stronger type wins, in whatever order they come. */
enum tsl_memory_type {
    TSL_MEMORY_USABLE,       /* RAM that anybody may have */
    TSL_MEMORY_BOOT_RECLAIM, /* RAM that the boot loader uses: usable after tsl_map_reclaim() */
    TSL_MEMORY_ACPI_RECLAIM, /* RAM with ACPI tables: usable after tsl_map_reclaim() */
    TSL_MEMORY_KERNEL,       /* the kernel image */
    TSL_MEMORY_MODULE,     /* boot modules, device tree, command line: RAM the kernel still reads */
    TSL_MEMORY_PERSISTENT, /* non-volatile memory: not ours to scribble on */
    TSL_MEMORY_FRAMEBUFFER, /* a linear framebuffer */
    TSL_MEMORY_RUNTIME,     /* firmware code and data that is called after boot */
    TSL_MEMORY_NVS,         /* ACPI non-volatile storage */
    TSL_MEMORY_RESERVED,    /* reserved by the firmware, and every type we do not know */
    TSL_MEMORY_DEVICE,      /* memory-mapped input and output */
    TSL_MEMORY_BAD,         /* defective RAM */
    TSL_MEMORY_TYPE_COUNT
};

/*
 * No map keeps anything from here on. x86 has at most 52 bits of physical address (Intel SDM vol.
 * 3A, 4.1.4); where a word has 32 bits, a frame number and the one after it must fit in it.
 */
#define TSL_MAP_TOP ((tsl_paddr)1 << (sizeof(tsl_word) == 4 ? 43 : 52))

/* Fewer entries than this cannot hold what a PC reports below 1 MiB. */
#define TSL_MAP_MIN_CAPACITY 8u

/* One run of whole pages. start and end are page aligned, start < end <= the map's limit. */
struct tsl_memory_range {
    tsl_paddr start;
    tsl_paddr end; /* exclusive */
    enum tsl_memory_type type;
};

/* What happened while the map was made; only ever grows. */
struct tsl_map_counters {
    tsl_word entries;           /* entries offered to tsl_map_add() and tsl_map_reserve() */
    tsl_word refused_empty;     /* refused: zero bytes */
    tsl_word refused_wrapping;  /* refused: runs over 2^64 */
    tsl_word refused_type;      /* refused: no such type */
    tsl_word clipped;           /* cut at the map's limit */
    tsl_word ignored;           /* wholly above the map's limit */
    tsl_word too_small;         /* usable, but without one whole page */
    tsl_word joined_when_full;  /* pairs of reservations joined, with the gap between them, to make
                                   room */
    tsl_word given_up;          /* usable ranges given up for lack of room */
    uint64_t given_up_bytes;    /* their bytes */
    uint64_t above_limit_bytes; /* usable bytes that the limit cut off */
};

/*
 * ranges[0..count) are sorted by start, do not overlap, and neighbours that touch differ in type.
 * Read them directly; change them only through the functions below.
 */
struct tsl_memory_map {
    struct tsl_memory_range *ranges;
    size_t count;
    size_t capacity;
    tsl_paddr limit; /* exclusive, page aligned: nothing above is kept */
    struct tsl_map_counters counters;
    struct tsl_refusals refusals;
};

/*
 * Starts an empty map in the caller's storage of `capacity` ranges.
 * Owns:    the caller keeps `storage` and must keep it in place as long as the map is used.
 * Errors:  TSL_INVALID, map untouched: no storage, or capacity < TSL_MAP_MIN_CAPACITY.
 * Context: any.
 * Cost:    O(1).
 */
TSL_MUST_CHECK enum tsl_status tsl_map_init(struct tsl_memory_map *map,
                                            struct tsl_memory_range *storage, size_t capacity);

/*
 * Adds [start, start + bytes). Usable memory is rounded inwards to whole pages, everything else
 * outwards; where entries overlap the stronger type wins; what lies above the limit is cut off. The
 * result does not depend on the order of the calls as long as the storage suffices. When it does
 * not, reservations are joined first, and then the smallest usable range is given up (counted,
 * logged): a reservation is never lost.
 * Errors:  TSL_INVALID for zero bytes or no such type, TSL_OUT_OF_RANGE for an entry that runs over
 *          2^64; the map is as before but for the counters. An entry that leaves nothing (too
 *          small, above the limit) is TSL_OK and counted.
 * Context: boot CPU.
 * Cost:    O(n) for each range the entry creates, which is one unless it spans others.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_add(struct tsl_memory_map *map, tsl_paddr start,
                                           uint64_t bytes, enum tsl_memory_type type);

/*
 * tsl_map_add() for what the kernel knows of itself: its image, modules, the command line.
 * Errors:  those of tsl_map_add(), and TSL_INVALID for TSL_MEMORY_USABLE.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_reserve(struct tsl_memory_map *map, tsl_paddr start,
                                               uint64_t bytes, enum tsl_memory_type type);

/*
 * Ignores memory from `end` (rounded down to a page) on: what the CPU's physical bits or the table
 * format cannot reach. Holds for what is in the map and for what is added later. Returns the usable
 * bytes that this call cut off; logs them. A limit above the present one changes nothing: a limit
 * cannot be raised again.
 * Context: boot CPU.
 * Cost:    O(n).
 */
uint64_t tsl_map_limit(struct tsl_memory_map *map, tsl_paddr end);

/*
 * Makes every range of `type` usable.
 * Before:  the boot loader's tables or the ACPI tables are no longer read.
 * Errors:  TSL_INVALID unless type is TSL_MEMORY_BOOT_RECLAIM or TSL_MEMORY_ACPI_RECLAIM.
 * Context: boot CPU, before frames are made of the map.
 * Cost:    O(n).
 */
TSL_MUST_CHECK enum tsl_status tsl_map_reclaim(struct tsl_memory_map *map,
                                               enum tsl_memory_type type);

/* The range that holds `address`, NULL if nobody spoke of it. Cost: O(log n). */
const struct tsl_memory_range *tsl_map_at(const struct tsl_memory_map *map, tsl_paddr address);

/*
 * Finds the lowest place of `bytes` usable bytes below `end` (0: anywhere). align: a power of two
 * of at least a page; frame 0 is never proposed. Reserves nothing.
 * Errors:  TSL_INVALID for zero bytes or a bad alignment, TSL_NOT_FOUND; `out` untouched.
 * Cost:    O(n).
 */
TSL_MUST_CHECK enum tsl_status tsl_map_find_usable(const struct tsl_memory_map *map, uint64_t bytes,
                                                   uint64_t align, tsl_paddr end, tsl_paddr *out);

/* Sum of the bytes of one type. Cost: O(n). */
uint64_t tsl_map_bytes(const struct tsl_memory_map *map, enum tsl_memory_type type);

/*
 * End (exclusive) of the highest usable range, 0 if there is none: size tables by this, never by
 * the highest entry. O(1..n).
 */
tsl_paddr tsl_map_usable_end(const struct tsl_memory_map *map);

/* Whether frames of this type answer as RAM, so that a direct map should show them write-back. */
bool tsl_memory_is_ram(enum tsl_memory_type type);

/* Short lower-case name; "?" for no such type. */
const char *tsl_memory_type_name(enum tsl_memory_type type);

/* Rules of tsl_map_verify(); sentences in the component's README. */
enum tsl_map_rule {
    TSL_MAP_RULE_STORAGE = 21,
    TSL_MAP_RULE_TYPE,
    TSL_MAP_RULE_NOT_EMPTY,
    TSL_MAP_RULE_WHOLE_PAGES,
    TSL_MAP_RULE_BELOW_LIMIT,
    TSL_MAP_RULE_SORTED,
    TSL_MAP_RULE_JOINED,
    TSL_MAP_RULE_COUNTERS,
    TSL_MAP_RULE_END
};

/*
 * Checks the rules in the component's README (map rules). Reads only. Place: index of the range.
 * Cost:    O(n).
 */
struct tsl_defect tsl_map_verify(const struct tsl_memory_map *map);

/* Writes the map as a table, one range a line, then totals and what was refused. Cost: O(n). */
void tsl_map_dump(const struct tsl_memory_map *map, const struct tsl_sink *sink);

#endif
