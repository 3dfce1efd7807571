/* SPDX-License-Identifier: MIT
 *
 * start.h: the start that test kernels have in common which need all of Tesela.
 *
 * Owns:    nothing.
 * Needs:   the facade, platform/pc, tap.h.
 * Callers: the kernel_main() of test kernels.
 */
#ifndef TESTS_KERNEL_START_H
#define TESTS_KERNEL_START_H

#include "tap.h"

/* Starts Tesela on the boot CPU, interrupts still off; false, with a `Bail out!`, if it does
 * not. */
bool test_start(void);

/* Lets interrupts in, starts the other CPUs and runs a suite. After test_start(). True if it had
 * tests and none failed. */
bool test_run(const struct tap_suite *suite);

#endif
