/* SPDX-License-Identifier: MIT
 *
 * config.h: the configuration of this build, but no CPU claims frames.
 *
 * Owns:    TSL_FRAME_CLAIMS.
 * Needs:   the real config.h (found further back on the include path).
 * Callers: physical_allocator, compiled once more for its tests in unclaimed form.
 */
#ifndef UNCLAIMED_CONFIG_H
#define UNCLAIMED_CONFIG_H

#include_next <tesela/config.h>

#undef TSL_FRAME_CLAIMS
#define TSL_FRAME_CLAIMS 0

#endif
