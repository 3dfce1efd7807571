/* SPDX-License-Identifier: MIT
 *
 * layout_pae.c: the address space of x86-32 with PAE tables (the same numbers as 2-level).
 *
 * Owns:    tsl_layout_pae and the numbers in which it differs.
 * Needs:   <tesela/layout_x86_32.h> for the numbers; compiled when TSL_TABLE_PAE is set.
 * Callers: tsl_layouts[] in layout.c.
 */
#include <tesela/layout_x86_32.h>

#define GRANULE TSL_X86_32_GRANULE_PAE

#include "layout_x86_32_ranges.inc"

const struct tsl_layout tsl_layout_pae = {
    .format_name = "pae",
    .va_bits = 32,
    .sign_extended = false,
    .granule_bytes = GRANULE,
    .ranges = ranges,
    .count = TSL_COUNT_OF(ranges),
    .image_offset = TSL_X86_32_IMAGE_OFFSET,
};
