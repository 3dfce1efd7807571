/* SPDX-License-Identifier: MIT
 *
 * layout_x86_32.h: the address space of x86-32 kernels (2-level and PAE tables) in numbers.
 *
 * Owns:    the numbers; layout_2level.c and layout_pae.c give them meaning and check them.
 * Needs:   nothing. Only #defines of plain hexadecimal numbers, so that C, assembly and linker
 *          scripts can all include this.
 * Callers: anybody. _LAST is a range's last byte.
 */
#ifndef TESELA_LAYOUT_X86_32_H
#define TESELA_LAYOUT_X86_32_H

#define TSL_X86_32_IDENTITY_START   0x00001000
#define TSL_X86_32_IDENTITY_LAST    0x000fffff
#define TSL_X86_32_USER_START       0x00100000
#define TSL_X86_32_USER_LAST        0xbffeffff
#define TSL_X86_32_IMAGE_START      0xc0000000
#define TSL_X86_32_IMAGE_LAST       0xc0ffffff
#define TSL_X86_32_DIRECT_MAP_START 0xc1000000
#define TSL_X86_32_DIRECT_MAP_LAST  0xe0ffffff
#define TSL_X86_32_HEAP_START       0xe1400000
#define TSL_X86_32_HEAP_LAST        0xf13fffff
#define TSL_X86_32_VALLOC_START     0xf1800000
#define TSL_X86_32_VALLOC_LAST      0xf97fffff
#define TSL_X86_32_DEVICES_START    0xf9c00000
#define TSL_X86_32_DEVICES_LAST     0xfdbfffff
#define TSL_X86_32_WINDOWS_START    0xfe000000
#define TSL_X86_32_WINDOWS_LAST     0xfe3fffff
#define TSL_X86_32_CPU_AREAS_START  0xfe800000
#define TSL_X86_32_CPU_AREAS_LAST   0xff7fffff

/* The image's virtual minus its physical address; it is linked for 1 MiB physical. */
#define TSL_X86_32_IMAGE_OFFSET 0xc0000000

/* Bytes that one last-level table maps: kernel ranges start and end on such a border. */
#define TSL_X86_32_GRANULE_2LEVEL 0x00400000
#define TSL_X86_32_GRANULE_PAE    0x00200000

#endif
