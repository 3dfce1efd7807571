/* SPDX-License-Identifier: MIT
 *
 * platform/memory.h: Tesela on this machine: its memory map, image and devices as start options.
 *
 * Owns:    the storage of the memory map and of the list of devices.
 * Needs:   the facade; platform/boot.h.
 * Callers: kernel_main(), on CPU 0. Kernels that start Tesela link platform_memory_sources; others
 *          need not.
 */
#ifndef PLATFORM_MEMORY_H
#define PLATFORM_MEMORY_H

#include <platform/cpu.h>
#include <tesela/heap_leaks.h>
#include <tesela/memory.h>

/* The machine's memory map: as imported by platform_memory_options(). */
struct tsl_memory_map *platform_memory_map(void);

/* Which memory is near which CPUs, as ACPI says; NULL when TSL_NODES is 1. */
const struct tsl_memory_nodes *platform_memory_nodes(void);

/*
 * Imports the memory map and fills *out with what this machine and this image are; the caller may
 * change any of it before tsl_start(). A later call gives the map as it was imported the first
 * time.
 * Errors:  those of platform_import_map().
 */
TSL_MUST_CHECK enum tsl_status platform_memory_options(struct tsl_start_options *out);

/*
 * Takes the guard page below each stack out of the kernel's table, which maps the image whole.
 * Before:  tsl_start() has brought the tables up.
 * Errors:  those of tsl_table_unmap().
 */
TSL_MUST_CHECK enum tsl_status platform_memory_guard_stacks(void);

/* .data, and .bss between the guard pages of its stacks. */
enum { PLATFORM_ROOTS = 1 + 2 * PLATFORM_CPUS };

/*
 * Where this kernel may keep pointers, for tsl_heap_leak_scan(): .data and .bss, which has the
 * stacks of all CPUs in it. What a CPU has in registers is not there, unless it waits in a function
 * or an interrupt that saved them. Of the caller's stack only what is in use counts, or what calls
 * have left there would point to anything. Writes PLATFORM_ROOTS ranges to `out`.
 */
void platform_memory_roots(struct tsl_heap_root *out);

/* All of it, with tsl_start() in between. Errors: those of the three. */
TSL_MUST_CHECK enum tsl_status platform_memory_start(void);

#endif
