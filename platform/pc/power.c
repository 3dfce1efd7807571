/* SPDX-License-Identifier: MIT
 *
 * power.c: the ways to end.
 *
 * Owns:    isa-debug-exit of QEMU and ACPI's soft-off.
 * Needs:   the power-management port that FADT names.
 * Callers: see platform/machine.h.
 * Source:  ACPI 6.4, 4.8.3.2.1 (PM1 control registers).
 */
#include <x86/instructions.h>
#include <platform/acpi.h>
#include <platform/cpu.h>
#include <platform/machine.h>
#include "early.h"
#include "pc_internal.h"

enum {
    /* The sleep type of soft-off stands in the DSDT, in bytecode that this port does not run. It is
       0 on QEMU's PCs. */
    SLEEP_TYPE_OFF = 0 << 10,
    SLEEP_ENABLE = 1 << 13,
};

TSL_NORETURN void platform_power_off(void)
{
    uint16_t port = platform_acpi()->pm1a_control;

    console_drain();
    platform_halt_others();
    if (port != 0)
        x86_out16(port, SLEEP_TYPE_OFF | SLEEP_ENABLE);
    for (;;)
        x86_halt();
}

TSL_NORETURN void exit_with(uint32_t code)
{
    x86_interrupts_off();
    console_drain();
    x86_out32(EARLY_EXIT_PORT, code);
    platform_power_off(); /* no such device: a machine with a person in front of it */
}

TSL_NORETURN void platform_exit(bool passed)
{
    exit_with(passed ? EARLY_EXIT_PASSED : EARLY_EXIT_FAILED);
}
