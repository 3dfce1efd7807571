/* SPDX-License-Identifier: MIT
 *
 * layout_2level.c: the address space of x86-32 with 2-level tables.
 *
 * Owns:    tsl_layout_2level and the numbers in which it differs.
 * Needs:   <tesela/layout_x86_32.h> for the numbers; compiled when TSL_TABLE_2LEVEL is set.
 * Callers: tsl_layouts[] in layout.c.
 */
#include <tesela/layout_x86_32.h>

#define GRANULE TSL_X86_32_GRANULE_2LEVEL

#include "layout_x86_32_ranges.inc"

const struct tsl_layout tsl_layout_2level = {
    .format_name = "2level",
    .va_bits = 32,
    .sign_extended = false,
    .granule_bytes = GRANULE,
    .ranges = ranges,
    .count = TSL_COUNT_OF(ranges),
    .image_offset = TSL_X86_32_IMAGE_OFFSET,
};
