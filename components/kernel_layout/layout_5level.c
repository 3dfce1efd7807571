/*
 * SPDX-License-Identifier: MIT
 * layout_5level.c - the address space of x86-64 with 5-level tables.
 * Owns:  tsl_layout_5level and what must hold of its numbers, asserted at compile time.
 * Needs: <tesela/layout_x86_64.h> for the numbers; compiled when TSL_TABLE_5LEVEL is set.
 * Users: tsl_layouts[] in layout.c.
 */
#include <tesela/config.h>
#include <tesela/layout_x86_64.h>

#include "kernel_layout_internal.h"

#define GRANULE          TSL_X86_64_GRANULE
#define VA_BITS          57
#define USER_LAST        TSL_X86_64_USER_LAST_5LEVEL
#define DIRECT_MAP_START TSL_X86_64_DIRECT_MAP_START_5LEVEL
#define DIRECT_MAP_LAST  TSL_X86_64_DIRECT_MAP_LAST_5LEVEL

ASSERT_PAGES("identity part", TSL_X86_64_IDENTITY_START, TSL_X86_64_IDENTITY_LAST);
ASSERT_PAGES("user part", TSL_X86_64_USER_START, USER_LAST);
ASSERT_GRANULES("direct map", DIRECT_MAP_START, DIRECT_MAP_LAST, GRANULE);
ASSERT_GRANULES("heap", TSL_X86_64_HEAP_START, TSL_X86_64_HEAP_LAST, GRANULE);
ASSERT_GRANULES("valloc range", TSL_X86_64_VALLOC_START, TSL_X86_64_VALLOC_LAST, GRANULE);
ASSERT_GRANULES("devices", TSL_X86_64_DEVICES_START, TSL_X86_64_DEVICES_LAST, GRANULE);
ASSERT_GRANULES("windows", TSL_X86_64_WINDOWS_START, TSL_X86_64_WINDOWS_LAST, GRANULE);
ASSERT_GRANULES("CPU areas", TSL_X86_64_CPU_AREAS_START, TSL_X86_64_CPU_AREAS_LAST, GRANULE);
ASSERT_GRANULES("image", TSL_X86_64_IMAGE_START, TSL_X86_64_IMAGE_LAST, GRANULE);

/* Ranges ascend, so the halves hold if the last of the lower and the first of the upper do. */
ASSERT_LOWER_HALF("user part", USER_LAST, VA_BITS);
ASSERT_UPPER_HALF("direct map", DIRECT_MAP_START, VA_BITS);

/* A SYSCALL at the very end of the user part would return to a non-canonical address. */
_Static_assert(TSL_X86_64_USER_START < USER_LAST && ((USER_LAST + 0x1000) >> (VA_BITS - 1)) == 0,
               "The last page below the hole of addresses must stay free of user code.");
ASSERT_GAP("identity part", TSL_X86_64_IDENTITY_LAST, "user part", TSL_X86_64_USER_START, 0);
ASSERT_GAP("user part", USER_LAST, "direct map", DIRECT_MAP_START, 0x1000);
ASSERT_GAP("direct map", DIRECT_MAP_LAST, "heap", TSL_X86_64_HEAP_START, GRANULE);
ASSERT_GAP("heap", TSL_X86_64_HEAP_LAST, "valloc range", TSL_X86_64_VALLOC_START, GRANULE);
ASSERT_GAP("valloc range", TSL_X86_64_VALLOC_LAST, "devices", TSL_X86_64_DEVICES_START, GRANULE);
ASSERT_GAP("devices", TSL_X86_64_DEVICES_LAST, "windows", TSL_X86_64_WINDOWS_START, GRANULE);
ASSERT_GAP("windows", TSL_X86_64_WINDOWS_LAST, "CPU areas", TSL_X86_64_CPU_AREAS_START, GRANULE);
ASSERT_GAP("CPU areas", TSL_X86_64_CPU_AREAS_LAST, "image", TSL_X86_64_IMAGE_START, GRANULE);

/* 4 PiB: all that the 52 physical address bits of the architecture can name. */
ASSERT_HOLDS("direct map", DIRECT_MAP_START, DIRECT_MAP_LAST, (uint64_t)1 << 52);
_Static_assert(TSL_X86_64_IMAGE_OFFSET <= TSL_X86_64_IMAGE_START,
               "The image range starts below physical address 0.");
ASSERT_HOLDS("heap's range", TSL_X86_64_HEAP_START, TSL_X86_64_HEAP_LAST, TSL_HEAP_MIB *MIB);

static const struct tsl_layout_range ranges[] = {
    {TSL_LAYOUT_IDENTITY, TSL_X86_64_IDENTITY_START, TSL_X86_64_IDENTITY_LAST, LAYOUT_RX},
    {TSL_LAYOUT_USER, TSL_X86_64_USER_START, USER_LAST, LAYOUT_USER},
    {TSL_LAYOUT_DIRECT_MAP, DIRECT_MAP_START, DIRECT_MAP_LAST, LAYOUT_RW},
    {TSL_LAYOUT_HEAP, TSL_X86_64_HEAP_START, TSL_X86_64_HEAP_LAST, LAYOUT_RW},
    {TSL_LAYOUT_VALLOC, TSL_X86_64_VALLOC_START, TSL_X86_64_VALLOC_LAST, LAYOUT_RWX},
    {TSL_LAYOUT_DEVICES, TSL_X86_64_DEVICES_START, TSL_X86_64_DEVICES_LAST, LAYOUT_DEVICE},
    {TSL_LAYOUT_WINDOWS, TSL_X86_64_WINDOWS_START, TSL_X86_64_WINDOWS_LAST, LAYOUT_RW},
    {TSL_LAYOUT_CPU_AREAS, TSL_X86_64_CPU_AREAS_START, TSL_X86_64_CPU_AREAS_LAST, LAYOUT_RW},
    {TSL_LAYOUT_IMAGE, TSL_X86_64_IMAGE_START, TSL_X86_64_IMAGE_LAST, LAYOUT_RWX},
};

const struct tsl_layout tsl_layout_5level = {
    .format_name = "5level",
    .va_bits = VA_BITS,
    .sign_extended = true,
    .granule_bytes = GRANULE,
    .ranges = ranges,
    .count = TSL_COUNT_OF(ranges),
    .image_offset = TSL_X86_64_IMAGE_OFFSET,
};
