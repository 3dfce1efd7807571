/* SPDX-License-Identifier: MIT
 *
 * machine.h: the numbers that differ on x86-64.
 *
 * Owns:    the offsets into struct platform_cpu, the places of this architecture's address space.
 * Needs:   kernel_layout's numbers. Only #define, since assembly reads it.
 * Callers: platform/pc.
 *
 * Its twin is x86_32/machine.h.
 */
#ifndef PLATFORM_PC_MACHINE_H
#define PLATFORM_PC_MACHINE_H

#include <tesela/layout_x86_64.h>

/* struct platform_cpu, checked by _Static_assert in cpu.c. */
#define CPU_OFFSET_ID       8
#define CPU_OFFSET_RECOVERY 16
#define CPU_OFFSET_STACK    24
#define CPU_OFFSET_USER_SP  32
#define CPU_OFFSET_TASK     40

/* struct interrupt_frame, checked in user.c. */
#define FRAME_BYTES     176
#define FRAME_OFFSET_CS 144

#define IMAGE_OFFSET            TSL_X86_64_IMAGE_OFFSET
#define DEVICES_START           TSL_X86_64_DEVICES_START
#define DIRECT_MAP_START_OTHERS TSL_X86_64_DIRECT_MAP_START_4LEVEL
#define DIRECT_MAP_START_5LEVEL TSL_X86_64_DIRECT_MAP_START_5LEVEL
/* 64 TiB with either format: more physical memory than any machine has. */
#define DIRECT_MAP_BYTES                                                                           \
    (TSL_X86_64_DIRECT_MAP_LAST_4LEVEL - TSL_X86_64_DIRECT_MAP_START_4LEVEL + 1)

/* How much of physical memory the boot tables map. */
#define BOOT_REACH EARLY_REACH_X86_64

/* Bits of EFER that the trampoline has to set before paging. */
#define EFER_FOR_PAGING X86_EFER_LME

#define MOVE_WORDS "rep movsq"
#define SET_WORDS  "rep stosq"

#endif
