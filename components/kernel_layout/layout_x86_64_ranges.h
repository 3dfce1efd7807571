/*
 * SPDX-License-Identifier: MIT
 * layout_x86_64_ranges.h - the ranges that both layouts of x86-64 share.
 * Owns:  the static table `ranges`, and the assertions about its numbers.
 * Needs: VA_BITS, USER_LAST, DIRECT_MAP_START and DIRECT_MAP_LAST of the file that includes it.
 * Users: layout_4level.c and layout_5level.c, each once.
 */
#ifndef TESELA_LAYOUT_X86_64_RANGES_H
#define TESELA_LAYOUT_X86_64_RANGES_H

#include <tesela/config.h>
#include <tesela/layout_x86_64.h>

#include "kernel_layout_internal.h"

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

#endif
