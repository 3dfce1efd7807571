/* SPDX-License-Identifier: MIT
 *
 * kernel_layout_internal.h: what the files of kernel_layout share and nobody else sees.
 *
 * Owns:    the sentences asserted of every layout at compile time, the steps of an importer, the
 *          primitives of the map's range array.
 * Needs:   base, the component's public headers.
 * Callers: the files of this folder, and tests that break rules from inside.
 */
#ifndef KERNEL_LAYOUT_INTERNAL_H
#define KERNEL_LAYOUT_INTERNAL_H

#include <tesela/boot_map.h>
#include <tesela/kernel_layout.h>
#include <tesela/memory_map.h>

#define MIB ((uint64_t)1 << 20)

/* ---- Layouts: compile-time sentences. `what` is a string literal. ---- */

#define ASSERT_PAGES(what, start, last)                                                            \
    _Static_assert((start) <= (last), "The range of the " what " ends before it starts.");         \
    _Static_assert((start) >= 0x1000, "The range of the " what " contains page 0.");               \
    _Static_assert(((start)&0xfff) == 0 && ((last)&0xfff) == 0xfff,                                \
                   "The range of the " what " is not made of whole pages.")

#define ASSERT_GRANULES(what, start, last, granule)                                                \
    _Static_assert(((start) & ((granule)-1)) == 0 && ((last) & ((granule)-1)) == (granule)-1,      \
                   "The range of the " what " shares a last-level table with a neighbour.")

#define ASSERT_GAP(low, low_last, high, high_start, gap)                                           \
    _Static_assert((low_last) < (high_start), "The " low " and the " high " overlap.");            \
    _Static_assert((high_start) - (low_last)-1 >= (gap),                                           \
                   "There is no guard between the " low " and the " high ".")

/* Both ends in the lower half of sign-extended addresses, or both in the upper one. */
#define ASSERT_LOWER_HALF(what, last, va_bits)                                                     \
    _Static_assert(((last) >> ((va_bits)-1)) == 0,                                                 \
                   "The " what " reaches into the hole of addresses that no CPU can form.")
#define ASSERT_UPPER_HALF(what, start, va_bits)                                                    \
    _Static_assert((~(uint64_t)(start) >> ((va_bits)-1)) == 0,                                     \
                   "The " what " starts in the hole of addresses that no CPU can form.")

#define ASSERT_HOLDS(what, start, last, bytes)                                                     \
    _Static_assert((uint64_t)(last) - (start) >= (uint64_t)(bytes)-1,                              \
                   "The " what " is smaller than what has to fit in it.")

/* ---- Layouts: what a mapping in a range may carry at most, the same in every format. ---- */

#define LAYOUT_RX     (TSL_READ | TSL_EXEC)
#define LAYOUT_USER   (TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER)
#define LAYOUT_RW     (TSL_READ | TSL_WRITE | TSL_GLOBAL)
#define LAYOUT_RWX    (TSL_READ | TSL_WRITE | TSL_EXEC | TSL_GLOBAL)
#define LAYOUT_DEVICE (TSL_READ | TSL_WRITE | TSL_GLOBAL | TSL_CACHE_UNCACHED)

/* ---- Map: the array of ranges (map_ranges.c). ---- */

/* Index of the first range that ends above `address`; map->count if none does. */
size_t tsl_map_index(const struct tsl_memory_map *map, tsl_paddr address);

/* Makes [start, end) of `type` where nothing stronger is. Before: whole pages below the limit. */
void tsl_map_overlay(struct tsl_memory_map *map, tsl_paddr start, tsl_paddr end,
                     enum tsl_memory_type type);

/* Removes ranges[index]. */
void tsl_map_remove(struct tsl_memory_map *map, size_t index);

/* Joins all neighbours that touch and have one type. */
void tsl_map_join_all(struct tsl_memory_map *map);

/* ---- Map: refusals and counts (memory_map.c). ---- */

/* Counts and logs an entry that runs over 2^64. Before: start + bytes does, or the entry says so.*/
TSL_MUST_CHECK enum tsl_status tsl_map_refuse_wrapping(struct tsl_memory_map *map, tsl_paddr start,
                                                       uint64_t bytes);

/* a + b, or the greatest value: totals of what hostile entries claim. */
static inline uint64_t sum_saturating(uint64_t a, uint64_t b)
{
    return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

/* ---- Importers (import.c). ---- */

struct import_entry {
    tsl_paddr start;
    uint64_t bytes;
    enum tsl_memory_type type;
    bool wraps; /* the source's own numbers cannot be expressed: refuse as wrapping */
    bool skip;  /* the source says that the entry does not count */
};

enum import_step {
    IMPORT_ENTRY,  /* *out is an entry */
    IMPORT_END,    /* there are no more */
    IMPORT_BROKEN, /* the structure makes no sense from here on */
};

/* A walk over bytes. Copied before each walk, so that one can be made several times. */
struct import_source {
    const char *name; /* for the log: "multiboot2" */
    const uint8_t *data;
    size_t bytes;
    size_t offset; /* where the walk is */
    size_t stride; /* of entries of one size */
    const void *const *pointers;
    enum import_step (*next)(struct import_source *self, struct import_entry *out);
    void (*decode)(const uint8_t *entry, struct import_entry *out); /* for tsl_import_next_fixed */
};

/* Walks once to check the structure, then adds the usable entries, then all others. */
TSL_MUST_CHECK enum tsl_status tsl_import_run(struct tsl_memory_map *map,
                                              const struct import_source *source);

/* `next` of sources whose entries are `stride` bytes apart; calls `decode`. */
enum import_step tsl_import_next_fixed(struct import_source *self, struct import_entry *out);

/* Address range types of e820, which Multiboot 1, 2 and PVH share. */
enum tsl_memory_type tsl_import_type_e820(uint32_t type);

/* An entry from `start` to `end`, as module lists have it. */
void tsl_import_span(struct import_entry *out, uint64_t start, uint64_t end,
                     enum tsl_memory_type type);

/* Little-endian numbers at any alignment. */
uint32_t tsl_import_u32(const uint8_t *at);
uint64_t tsl_import_u64(const uint8_t *at);

#endif
