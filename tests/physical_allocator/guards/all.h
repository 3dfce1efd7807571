/* SPDX-License-Identifier: MIT
 *
 * all.h: the configuration with all guards of frames.
 *
 * Owns:    the symbols that it changes.
 * Needs:   the generated configuration.
 * Callers: the tests that are compiled with this in front of each file.
 */
#ifndef TEST_GUARDS_ALL_H
#define TEST_GUARDS_ALL_H

#include <tesela/config.h>

#undef TSL_FRAME_POISON
#define TSL_FRAME_POISON 1
#undef TSL_FRAME_ZERO_ON_FREE
#define TSL_FRAME_ZERO_ON_FREE 1
#undef TSL_FRAME_OWNERS
#define TSL_FRAME_OWNERS 1

#endif
