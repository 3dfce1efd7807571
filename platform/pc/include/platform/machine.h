/* SPDX-License-Identifier: MIT
 *
 * platform/machine.h: clock, chance and switch of the machine.
 *
 * Owns:    time since boot, delays, seeds, the ways to end.
 * Needs:   the time-stamp counter if the CPU has one, else the interval timer.
 * Callers: anybody, any CPU.
 */
#ifndef PLATFORM_MACHINE_H
#define PLATFORM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <tesela/compiler.h>

/*
 * Microseconds since the clock was started. Good for time-outs, not for figures. Without a
 * time-stamp counter it has to be called every 50 ms to keep up: it then runs late, never early.
 */
uint64_t platform_now_us(void);

/* The finest clock of the machine, for figures: the time-stamp counter of this CPU. Without one,
 * microseconds as above. In any context. */
uint64_t platform_ticks(void);

/* A number that differs from call to call and from boot to boot: from the CPU's generator (RDRAND)
 * if it has one; else from the clock above, which somebody who knows the machine can guess. */
uintptr_t platform_seed(void);

/* Waits, busily, at least this long. */
void platform_delay_us(uint64_t us);

/* Ends the run with the runner's exit status for passed or failed (isa-debug-exit); without that
 * device, powers off. */
TSL_NORETURN void platform_exit(bool passed);

/* Powers the machine off as a person would want it (QEMU ends with status 0). */
TSL_NORETURN void platform_power_off(void);

#endif
