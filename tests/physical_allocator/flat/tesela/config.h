/* SPDX-License-Identifier: MIT
 *
 * config.h: the configuration of this build, but frames are kept in flat bitmaps.
 *
 * Owns:    TSL_FRAME_CORE_FLAT, and that nothing is on which that core has not.
 * Needs:   the real config.h (found further back on the include path).
 * Callers: the flat core of physical_allocator, compiled for its tests.
 */
#ifndef FLAT_CONFIG_H
#define FLAT_CONFIG_H

#include_next <tesela/config.h>

#undef TSL_FRAME_CORE_FLAT
#undef TSL_FRAME_CORE_AREAS
#undef TSL_FRAME_WATERMARKS
#undef TSL_FRAME_CLAIMS
#undef TSL_FRAME_BANKS
#undef TSL_FRAME_HOTPLUG
#undef TSL_FRAME_DESCRIPTORS
#undef TSL_NODES
#define TSL_FRAME_CORE_FLAT   1
#define TSL_FRAME_CORE_AREAS  0
#define TSL_FRAME_WATERMARKS  0
#define TSL_FRAME_CLAIMS      0
#define TSL_FRAME_BANKS       0
#define TSL_FRAME_HOTPLUG     0
#define TSL_FRAME_DESCRIPTORS 0
#define TSL_NODES             1

#endif
