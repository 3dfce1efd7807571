/* SPDX-License-Identifier: MIT
 *
 * owners.h: the configuration with owners of frames.
 *
 * Owns:    the symbols that it changes.
 * Needs:   the generated configuration.
 * Callers: the tests that are compiled with this in front of each file.
 */
#ifndef TEST_GUARDS_OWNERS_H
#define TEST_GUARDS_OWNERS_H

#include <tesela/config.h>

#undef TSL_FRAME_OWNERS
#define TSL_FRAME_OWNERS 1

#endif
