/* SPDX-License-Identifier: MIT
 *
 * kernel_table.h: build the kernel's own table from the layout and the memory map.
 *
 * Owns:    tsl_table_build_kernel and what it is told.
 * Needs:   page_table.h, kernel_layout, the memory map.
 * Callers: the facade's start, the platform, tests.
 */
#ifndef TESELA_KERNEL_TABLE_H
#define TESELA_KERNEL_TABLE_H

#include <stddef.h>

#include <tesela/kernel_layout.h>
#include <tesela/memory_map.h>
#include <tesela/page_table.h>

/*
 * Where the linked image lies in physical memory: page-aligned, `end` exclusive, an empty part has
 * start == end. The linked address of each byte is its physical address plus layout->image_offset.
 */
struct tsl_kernel_image {
    tsl_paddr text_start, text_end;     /* read, execute */
    tsl_paddr rodata_start, rodata_end; /* read */
    tsl_paddr data_start, data_end;     /* read, write: data and bss */
};

/*
 * Registers or firmware tables that the platform wants mapped. `at` lies in the layout's DEVICES
 * range, or is the target's own place in the direct map (for tables that firmware keeps in memory
 * it calls reserved). `attributes` as in tsl_table_map; never executable.
 */
struct tsl_kernel_device {
    tsl_vaddr at;
    tsl_paddr target;
    size_t bytes;
    unsigned attributes;
};

struct tsl_kernel_table_config {
    const struct tsl_layout *layout;
    const struct tsl_memory_map *map;
    struct tsl_kernel_image image;
    const struct tsl_kernel_device *devices;
    size_t device_count;
};

/*
 * Fill an empty kernel table: the identity part (frame 0 left out), the image with W^X, the direct
 * map over all RAM of the map and the first MiB with the largest pages the CPU has (never
 * executable; where it shows the image's text and constants, not writable), the devices, and the
 * tables of the windows. It is not switched to.
 * Before:  tsl_table_init with kernel = true.
 * Errors:  TSL_EXISTS (the table is not empty), TSL_INVALID/TSL_MISALIGNED/TSL_OVERLAP (image
 *          parts), TSL_OUT_OF_RANGE (image or a device outside its range), TSL_DENIED (an
 *          executable device), and all of tsl_table_map. Everything is undone then.
 * Cost:    linear in RAM / large page size.
 */
TSL_MUST_CHECK enum tsl_status tsl_table_build_kernel(struct tsl_table *self,
                                                      const struct tsl_kernel_table_config *config);

#endif
