/* SPDX-License-Identifier: MIT
 *
 * early.h: the numbers that the boot code shares with C.
 *
 * Owns:    selectors, the numbers of the table formats, the offsets into struct platform_cpu,
 *          addresses used before C runs.
 * Needs:   nothing. Only #define, since assembly reads it.
 * Callers: every .S file and the C files of platform/pc.
 */
#ifndef PLATFORM_PC_EARLY_H
#define PLATFORM_PC_EARLY_H

#define FORMAT_ANY         0
#define FORMAT_2LEVEL      1
#define FORMAT_PAE         2
#define FORMAT_4LEVEL      3
#define FORMAT_5LEVEL      4
#define FORMAT_UNKNOWN     5 /* `paging=` with a value that nobody knows */
#define OPTION_VALUE_BYTES 8
#define EARLY_OPTION_LIMIT 4096 /* bytes of the command line that are looked at */

#define EARLY_EXIT_PORT   0xF4 /* isa-debug-exit */
#define EARLY_EXIT_PASSED 0x10
#define EARLY_EXIT_FAILED 0x11
#define EARLY_EXIT_PANIC  0x12

/* Selectors, the same in the boot GDT and in each CPU's own. */
#define SELECTOR_CODE   0x08
#define SELECTOR_DATA   0x10
#define SELECTOR_CPU    0x18 /* x86-32: base is this CPU's struct platform_cpu */
#define SELECTOR_TSS    0x20 /* 16 bytes wide on x86-64 */
#define SELECTOR_DOUBLE 0x30 /* x86-32: the task that handles double faults */
/* User mode's, with the privilege asked for; SYSRET wants them in this order, 8 apart. */
#define SELECTOR_USER_DATA (0x38 + 3)
#define SELECTOR_USER_CODE (0x40 + 3)
#define GDT_ENTRIES        9

#define CPU_STACK_BYTES       16384
#define CPU_FAULT_STACK_BYTES 4096
#define CPU_AREA_BYTES        (4096 + CPU_FAULT_STACK_BYTES + 4096 + CPU_STACK_BYTES)

/* The interrupt by which programs call the kernel. */
#define VECTOR_CALL 0x80

#define TRAMPOLINE_ADDRESS 0x8000

/* How much the boot tables map, in large pages of 2 or 4 MiB or, without PSE, in tables of 4 MiB
 * each. */
#define EARLY_REACH_X86_32 0x20000000 /* 512 MiB */
#define EARLY_SMALL_TABLES 8          /* 32 MiB */
#define EARLY_REACH_X86_64 0x100000000

#endif
