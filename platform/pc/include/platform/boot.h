/* SPDX-License-Identifier: MIT
 *
 * platform/boot.h: what the machine and the boot loader handed over.
 *
 * Owns:    the description of the running image, the command line, the memory map as the loader
 *          gave it.
 * Needs:   base, kernel_layout.
 * Callers: kernel_main() and what it starts. All of it is constant from the first line of
 *          kernel_main() on.
 *
 * A kernel on this port defines one function, kernel_main(). It is entered on CPU 0 with interrupts
 * off, console, exceptions, time and ACPI ready, on the boot tables; see README.md for what those
 * map.
 */
#ifndef PLATFORM_BOOT_H
#define PLATFORM_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <tesela/memory_map.h>
#include <tesela/status.h>
#include <tesela/types.h>

/* Virtual addresses, page aligned; end is exclusive. */
struct platform_range {
    tsl_vaddr start;
    tsl_vaddr end;
};

/* Physical = virtual - offset. The four ranges follow one another; together they are the image. */
struct platform_image {
    tsl_vaddr offset;
    struct platform_range text;   /* read, execute */
    struct platform_range rodata; /* read */
    struct platform_range data;   /* read, write */
    struct platform_range bss;    /* read, write; holds the CPUs' stacks with their guard pages */
};

/* A run of device registers that has to stay mapped, uncached, when the kernel builds its own
 * tables. */
struct platform_device {
    const char *name;
    tsl_vaddr start;
    tsl_paddr target;
    size_t bytes;
};

struct platform_boot {
    const char *command_line; /* "" when there is none; cut at 255 characters */
    const char *format_name;  /* of the boot tables: "2level", "pae", "4level" or "5level" */
    tsl_paddr reach_end; /* tsl_port_phys_to_virt() works below this address on the boot tables */
    struct platform_image image;
    const struct platform_device *devices;
    size_t device_count;
};

/* The kernel's own part. Returns true when the run was a success; the machine is then switched off
 * by platform_exit(). */
bool kernel_main(const struct platform_boot *boot);

const struct platform_boot *platform_boot(void);

/* Copies the value of `name=value` on the command line to out, always terminated. False, with out
 * untouched, when the option is absent or longer than size - 1. Cost: linear in the command line.
 */
bool platform_option(const char *name, char *out, size_t size);

/*
 * Imports the loader's memory map into `map` and reserves what this port keeps: the first frame,
 * the BIOS data and extended BIOS data areas, the trampoline of the other CPUs, the image
 * and the modules. The loader's information itself has been copied.
 * Errors:  those of tsl_map_import_multiboot1() and tsl_map_reserve(); TSL_NOT_FOUND when the
 *          loader gave neither map nor sizes.
 * Context: CPU 0, once, on the boot tables.
 */
TSL_MUST_CHECK enum tsl_status platform_import_map(struct tsl_memory_map *map);

/* The guard pages of all stacks in the image: `index` 0, 1, ... until it returns false. The boot
 * tables leave those of CPU 0 .. n out; a kernel that builds its own tables does the same. */
bool platform_guard_page(unsigned index, tsl_vaddr *out);

#endif
