/* SPDX-License-Identifier: MIT
 *
 * at_tier.c: linked into a test of the core, it makes that run at the tier of the build.
 *
 * Owns:    the strong definition of test_heap_is_hardened.
 * Needs:   test_soften.h.
 * Callers: the tests that meson.build beside this file builds once for each tier.
 */
#include "../test_soften.h"

bool test_heap_is_hardened = true;
