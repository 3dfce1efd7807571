/* SPDX-License-Identifier: MIT
 *
 * kernel_start.h: brings Tesela up in a kernel on platform/pc that needs nothing special.
 * Owns: nothing. Needs: kernel_start.c. Used by: kernel_bench.c.
 */
#ifndef TESELA_TESTS_KERNEL_START_H
#define TESELA_TESTS_KERNEL_START_H

#include <platform/boot.h>
#include <tesela/status.h>

/* Imports the loader's map and starts every stage on the boot's table format. Errors: those of the
 * import and of tsl_start(). Context: CPU 0, once. */
TSL_MUST_CHECK enum tsl_status kernel_start(const struct platform_boot *boot);

#endif
