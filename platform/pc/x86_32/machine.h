/* SPDX-License-Identifier: MIT
 *
 * machine.h: the numbers that differ on x86-32.
 *
 * Owns:    the offsets into struct platform_cpu, the places of this architecture's address space.
 * Needs:   kernel_layout's numbers. Only #define, since assembly reads it.
 * Callers: platform/pc.
 *
 * Its twin is x86_64/machine.h.
 */
#ifndef PLATFORM_PC_MACHINE_H
#define PLATFORM_PC_MACHINE_H

#include <tesela/layout_x86_32.h>

/* struct platform_cpu, checked by _Static_assert in cpu.c. */
#define CPU_OFFSET_ID       4
#define CPU_OFFSET_RECOVERY 8
#define CPU_OFFSET_STACK    12
#define CPU_OFFSET_TASK     20

/* struct interrupt_frame, checked in user.c. */
#define FRAME_BYTES 72

#define IMAGE_OFFSET            TSL_X86_32_IMAGE_OFFSET
#define DEVICES_START           TSL_X86_32_DEVICES_START
#define DIRECT_MAP_START_OTHERS TSL_X86_32_DIRECT_MAP_START
#define DIRECT_MAP_START_5LEVEL 0 /* no such tables here */
#define DIRECT_MAP_BYTES        (TSL_X86_32_DIRECT_MAP_LAST - TSL_X86_32_DIRECT_MAP_START + 1)

/* How much of physical memory the boot tables map: boot.S knows. */
#define BOOT_REACH boot_reach

/* Bits of EFER that the trampoline has to set before paging. */
#define EFER_FOR_PAGING 0

#define MOVE_WORDS "rep movsl"
#define SET_WORDS  "rep stosl"

#endif
