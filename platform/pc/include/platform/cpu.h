/* SPDX-License-Identifier: MIT
 *
 * platform/cpu.h: the CPUs of the machine.
 *
 * Owns:    starting the other CPUs, giving them work, stopping them.
 * Needs:   base, the local APIC. Without one (a 486, or only one CPU in the firmware's tables)
 *          there is CPU 0 and nothing fails.
 * Callers: CPU 0, except where a line says otherwise. CPU numbers are 0 .. count - 1 and never
 *          change.
 */
#ifndef PLATFORM_CPU_H
#define PLATFORM_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <tesela/cpu.h>

/* What this port starts at most: one trampoline, 8-bit APIC identifiers, stacks in the image. More
 * are counted and left alone. */
enum { PLATFORM_CPUS = TSL_CPUS < 16 ? TSL_CPUS : 16 };

/*
 * Starts every CPU that the firmware lists; each enters the tables that CPU 0 runs on, joins the
 * library (tsl_cpu_join()) and waits for work, asleep with interrupts on. A CPU that does not
 * answer in 200 ms, or lacks a feature of CPU 0 other than those of its tables (NX, PAE, PSE, 5
 * levels: it would not get so far), is left out, with a log line. Returns the number of CPUs now
 * running, CPU 0 included. A second call starts nothing.
 * Context: interrupts on or off.
 */
unsigned platform_start_cpus(void);

/* CPUs running, and CPUs that the firmware listed. Any CPU may call. */
unsigned platform_cpu_count(void);
unsigned platform_cpus_listed(void);

/* This CPU's number; the same as tsl_port_cpu_id(). */
unsigned platform_cpu_id(void);

/*
 * Hands function(argument) to another CPU. False when there is no such CPU, when it is the caller
 * or CPU 0, which has the kernel's own work, or when it still has some. The function runs with
 * interrupts on. Any CPU may call. Everything written before the call is seen by the function.
 */
bool platform_run_on(unsigned cpu, void (*function)(void *argument), void *argument);

/*
 * Waits until `cpu` has finished its work. False after `timeout_us`. Everything the function wrote
 * is then seen by the caller.
 * Context: interrupts on or off: it answers flushes while it waits.
 */
bool platform_wait_for(unsigned cpu, uint64_t timeout_us);

/* Runs function(argument) on all CPUs at once, the caller's included, and waits. False when one did
 * not take or finish it in time. Context: CPU 0. */
bool platform_run_everywhere(void (*function)(void *argument), void *argument, uint64_t timeout_us);

/*
 * Calls tick() on this CPU, in an interrupt, about every `ticks` of its local APIC's clock; NULL:
 * no more. False without a local APIC. tick() runs with interrupts off. Any CPU may call, for
 * itself.
 */
bool platform_timer(void (*tick)(void), uint32_t ticks);

/* Stops all other CPUs for good, whatever they do (NMI), and takes the console from them;
 * interrupts are off afterwards. For panic and power-off. Any CPU may call: the first goes on, a
 * later one is stopped here. */
void platform_halt_others(void);

/* The NUMA node of a CPU, as the firmware's SRAT says; 0 when it says nothing. */
unsigned platform_cpu_node(unsigned cpu);

#endif
