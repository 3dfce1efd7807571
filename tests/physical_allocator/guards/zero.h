/* SPDX-License-Identifier: MIT
 *
 * zero.h: the configuration with free frames that hold zeros.
 *
 * Owns:    the symbols that it changes.
 * Needs:   the generated configuration.
 * Callers: the tests that are compiled with this in front of each file.
 */
#ifndef TEST_GUARDS_ZERO_H
#define TEST_GUARDS_ZERO_H

#include <tesela/config.h>

#undef TSL_FRAME_ZERO_ON_FREE
#define TSL_FRAME_ZERO_ON_FREE 1

#endif
