/* SPDX-License-Identifier: MIT
 *
 * poison.h: the configuration with poisoned free frames.
 *
 * Owns:    the symbols that it changes.
 * Needs:   the generated configuration.
 * Callers: the tests that are compiled with this in front of each file.
 */
#ifndef TEST_GUARDS_POISON_H
#define TEST_GUARDS_POISON_H

#include <tesela/config.h>

#undef TSL_FRAME_POISON
#define TSL_FRAME_POISON 1

#endif
