/* SPDX-License-Identifier: MIT
 *
 * layout_x86_64.h: the address space of x86-64 kernels (4-level and 5-level tables) in numbers.
 *
 * Owns:    the numbers; layout_4level.c and layout_5level.c give them meaning and check them.
 * Needs:   nothing. Only #defines of plain hexadecimal numbers, so that C, assembly and linker
 *          scripts can all include this.
 * Callers: anybody. _LAST is a range's last byte. Only the user part and the direct map differ
 *          between the two formats.
 */
#ifndef TESELA_LAYOUT_X86_64_H
#define TESELA_LAYOUT_X86_64_H

#define TSL_X86_64_IDENTITY_START          0x0000000000001000
#define TSL_X86_64_IDENTITY_LAST           0x00000000000fffff
#define TSL_X86_64_USER_START              0x0000000000100000
#define TSL_X86_64_USER_LAST_4LEVEL        0x00007fffffffefff
#define TSL_X86_64_USER_LAST_5LEVEL        0x00ffffffffffefff
#define TSL_X86_64_DIRECT_MAP_START_5LEVEL 0xff00000000000000
#define TSL_X86_64_DIRECT_MAP_LAST_5LEVEL  0xff0fffffffffffff
#define TSL_X86_64_DIRECT_MAP_START_4LEVEL 0xffff800000000000
#define TSL_X86_64_DIRECT_MAP_LAST_4LEVEL  0xffffbfffffffffff
#define TSL_X86_64_HEAP_START              0xffffc80000000000
#define TSL_X86_64_HEAP_LAST               0xffffc87fffffffff
#define TSL_X86_64_VALLOC_START            0xffffd00000000000
#define TSL_X86_64_VALLOC_LAST             0xffffd07fffffffff
#define TSL_X86_64_DEVICES_START           0xffffd80000000000
#define TSL_X86_64_DEVICES_LAST            0xffffd87fffffffff
#define TSL_X86_64_WINDOWS_START           0xffffe00000000000
#define TSL_X86_64_WINDOWS_LAST            0xffffe0003fffffff
#define TSL_X86_64_CPU_AREAS_START         0xffffe80000000000
#define TSL_X86_64_CPU_AREAS_LAST          0xffffe8003fffffff
#define TSL_X86_64_IMAGE_START             0xffffffff80000000
#define TSL_X86_64_IMAGE_LAST              0xffffffffbfffffff

/* The image's virtual minus its physical address; it is linked for 1 MiB physical. */
#define TSL_X86_64_IMAGE_OFFSET 0xffffffff80000000

/* Bytes that one last-level table maps: kernel ranges start and end on such a border. */
#define TSL_X86_64_GRANULE 0x00200000

#endif
