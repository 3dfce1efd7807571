/* SPDX-License-Identifier: MIT
 *
 * cautious.h: the configuration with poison and owners, so that the pattern is not zeros.
 *
 * Owns:    the symbols that it changes.
 * Needs:   the generated configuration.
 * Callers: the tests that are compiled with this in front of each file.
 */
#ifndef TEST_GUARDS_CAUTIOUS_H
#define TEST_GUARDS_CAUTIOUS_H

#include <tesela/config.h>

#undef TSL_FRAME_POISON
#define TSL_FRAME_POISON 1
#undef TSL_FRAME_OWNERS
#define TSL_FRAME_OWNERS 1

#endif
