/* SPDX-License-Identifier: MIT
 *
 * facade_main.c: a kernel that starts Tesela as any kernel would, and tests it from there.
 *
 * Owns:    the order.
 * Needs:   platform/pc, tap.h.
 * Callers: platform/pc. Command line: only=PATTERN, as tap_run() takes it.
 */
#include "tap.h"

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/memory.h>
#include <x86/instructions.h>

extern const struct tap_suite tap_suite_seed_example, tap_suite_facade;

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_seed_example, &tap_suite_facade,
                                                     NULL};
    char pattern[32];
    (void)boot;
    enum tsl_status status = platform_memory_start();
    if (status != TSL_OK) {
        tsl_print(platform_console(), "Bail out! Tesela did not start: %s\n",
                  tsl_status_name(status));
        return false;
    }
    x86_interrupts_on();
    tap_note("%u CPUs", platform_start_cpus());
    struct tap_result result =
        tap_run(suites, platform_option("only", pattern, sizeof(pattern)) ? pattern : NULL,
                platform_console());
    return result.failed == 0 && result.run > 0;
}
