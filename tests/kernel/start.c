/* SPDX-License-Identifier: MIT
 *
 * start.c: the start that test kernels have in common which need all of Tesela.
 *
 * Owns:    nothing.
 * Needs:   the facade, platform/pc, tap.h.
 * Callers: the kernel_main() of test kernels.
 */
#include "start.h"

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/memory.h>
#include <x86/instructions.h>

bool test_start(void)
{
    enum tsl_status status = platform_memory_start();
    if (status == TSL_OK)
        return true;
    tsl_print(platform_console(), "Bail out! Tesela did not start: %s\n", tsl_status_name(status));
    return false;
}

bool test_run(const struct tap_suite *suite)
{
    const struct tap_suite *const suites[] = {suite, NULL};
    x86_interrupts_on();
    tap_note("%u CPUs", platform_start_cpus());
    struct tap_result result = tap_run(suites, NULL, platform_console());
    return result.failed == 0 && result.run > 0;
}
