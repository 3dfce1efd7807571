/* SPDX-License-Identifier: MIT
 *
 * layout_4level.c: the address space of x86-64 with 4-level tables.
 *
 * Owns:    tsl_layout_4level and the numbers in which it differs.
 * Needs:   <tesela/layout_x86_64.h> for the numbers; compiled when TSL_TABLE_4LEVEL is set.
 * Callers: tsl_layouts[] in layout.c.
 */
#include <tesela/layout_x86_64.h>

#define GRANULE          TSL_X86_64_GRANULE
#define VA_BITS          48
#define USER_LAST        TSL_X86_64_USER_LAST_4LEVEL
#define DIRECT_MAP_START TSL_X86_64_DIRECT_MAP_START_4LEVEL
#define DIRECT_MAP_LAST  TSL_X86_64_DIRECT_MAP_LAST_4LEVEL

#include "layout_x86_64_ranges.inc"

/* 64 TiB: all that 46 physical address bits can name. */
ASSERT_HOLDS("direct map", DIRECT_MAP_START, DIRECT_MAP_LAST, (uint64_t)1 << 46);

const struct tsl_layout tsl_layout_4level = {
    .format_name = "4level",
    .va_bits = VA_BITS,
    .sign_extended = true,
    .granule_bytes = GRANULE,
    .ranges = ranges,
    .count = TSL_COUNT_OF(ranges),
    .image_offset = TSL_X86_64_IMAGE_OFFSET,
};
