/* SPDX-License-Identifier: MIT
 *
 * at_tier.c: linked into a test of the core, it makes that run at the tier of the build.
 *
 * Owns:    the strong definition of test_heap_is_hardened.
 * Needs:   nothing: test_soften.h, which declares it weak, would make this one weak too, and the
 *          first of two weak ones is taken.
 * Callers: the tests that meson.build beside this file builds once for each tier.
 */
#include <stdbool.h>

extern bool test_heap_is_hardened;
bool test_heap_is_hardened = true;
