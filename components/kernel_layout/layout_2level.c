/*
 * SPDX-License-Identifier: MIT
 * layout_2level.c - the address space of x86-32 with 2-level tables.
 * Owns:  tsl_layout_2level and what must hold of its numbers, asserted at compile time.
 * Needs: <tesela/layout_x86_32.h> for the numbers; compiled when TSL_TABLE_2LEVEL is set.
 * Users: tsl_layouts[] in layout.c.
 */
#include <tesela/config.h>
#include <tesela/layout_x86_32.h>

#include "kernel_layout_internal.h"

#define GRANULE TSL_X86_32_GRANULE_2LEVEL

ASSERT_PAGES("identity part", TSL_X86_32_IDENTITY_START, TSL_X86_32_IDENTITY_LAST);
ASSERT_PAGES("user part", TSL_X86_32_USER_START, TSL_X86_32_USER_LAST);
ASSERT_GRANULES("image", TSL_X86_32_IMAGE_START, TSL_X86_32_IMAGE_LAST, GRANULE);
ASSERT_GRANULES("direct map", TSL_X86_32_DIRECT_MAP_START, TSL_X86_32_DIRECT_MAP_LAST, GRANULE);
ASSERT_GRANULES("heap", TSL_X86_32_HEAP_START, TSL_X86_32_HEAP_LAST, GRANULE);
ASSERT_GRANULES("valloc range", TSL_X86_32_VALLOC_START, TSL_X86_32_VALLOC_LAST, GRANULE);
ASSERT_GRANULES("devices", TSL_X86_32_DEVICES_START, TSL_X86_32_DEVICES_LAST, GRANULE);
ASSERT_GRANULES("windows", TSL_X86_32_WINDOWS_START, TSL_X86_32_WINDOWS_LAST, GRANULE);
ASSERT_GRANULES("CPU areas", TSL_X86_32_CPU_AREAS_START, TSL_X86_32_CPU_AREAS_LAST, GRANULE);

ASSERT_GAP("identity part", TSL_X86_32_IDENTITY_LAST, "user part", TSL_X86_32_USER_START, 0);
ASSERT_GAP("user part", TSL_X86_32_USER_LAST, "image", TSL_X86_32_IMAGE_START, 0x1000);
ASSERT_GAP("image", TSL_X86_32_IMAGE_LAST, "direct map", TSL_X86_32_DIRECT_MAP_START, 0);
ASSERT_GAP("direct map", TSL_X86_32_DIRECT_MAP_LAST, "heap", TSL_X86_32_HEAP_START, GRANULE);
ASSERT_GAP("heap", TSL_X86_32_HEAP_LAST, "valloc range", TSL_X86_32_VALLOC_START, GRANULE);
ASSERT_GAP("valloc range", TSL_X86_32_VALLOC_LAST, "devices", TSL_X86_32_DEVICES_START, GRANULE);
ASSERT_GAP("devices", TSL_X86_32_DEVICES_LAST, "windows", TSL_X86_32_WINDOWS_START, GRANULE);
ASSERT_GAP("windows", TSL_X86_32_WINDOWS_LAST, "CPU areas", TSL_X86_32_CPU_AREAS_START, GRANULE);

ASSERT_HOLDS("direct map", TSL_X86_32_DIRECT_MAP_START, TSL_X86_32_DIRECT_MAP_LAST, 512 * MIB);
_Static_assert(TSL_X86_32_IMAGE_OFFSET <= TSL_X86_32_IMAGE_START,
               "The image range starts below physical address 0.");
/* A host build has the layouts of both families, but a heap as large as its own allows. */
_Static_assert(TSL_HOST || TSL_HEAP_MIB * MIB - 1 <= TSL_X86_32_HEAP_LAST - TSL_X86_32_HEAP_START,
               "The heap's ceiling does not fit in the heap's range of 32-bit address spaces.");

static const struct tsl_layout_range ranges[] = {
    {TSL_LAYOUT_IDENTITY, TSL_X86_32_IDENTITY_START, TSL_X86_32_IDENTITY_LAST, LAYOUT_RX},
    {TSL_LAYOUT_USER, TSL_X86_32_USER_START, TSL_X86_32_USER_LAST, LAYOUT_USER},
    {TSL_LAYOUT_IMAGE, TSL_X86_32_IMAGE_START, TSL_X86_32_IMAGE_LAST, LAYOUT_RWX},
    {TSL_LAYOUT_DIRECT_MAP, TSL_X86_32_DIRECT_MAP_START, TSL_X86_32_DIRECT_MAP_LAST, LAYOUT_RW},
    {TSL_LAYOUT_HEAP, TSL_X86_32_HEAP_START, TSL_X86_32_HEAP_LAST, LAYOUT_RW},
    {TSL_LAYOUT_VALLOC, TSL_X86_32_VALLOC_START, TSL_X86_32_VALLOC_LAST, LAYOUT_RWX},
    {TSL_LAYOUT_DEVICES, TSL_X86_32_DEVICES_START, TSL_X86_32_DEVICES_LAST, LAYOUT_DEVICE},
    {TSL_LAYOUT_WINDOWS, TSL_X86_32_WINDOWS_START, TSL_X86_32_WINDOWS_LAST, LAYOUT_RW},
    {TSL_LAYOUT_CPU_AREAS, TSL_X86_32_CPU_AREAS_START, TSL_X86_32_CPU_AREAS_LAST, LAYOUT_RW},
};

const struct tsl_layout tsl_layout_2level = {
    .format_name = "2level",
    .va_bits = 32,
    .sign_extended = false,
    .granule_bytes = GRANULE,
    .ranges = ranges,
    .count = TSL_COUNT_OF(ranges),
    .image_offset = TSL_X86_32_IMAGE_OFFSET,
};
