/* SPDX-License-Identifier: MIT
 *
 * boot_map.h: importers: what boot loaders and firmware say about memory, made a memory map.
 *
 * Owns:    the decoding of Multiboot 1, Multiboot 2, PVH, e820, Limine and UEFI memory maps.
 * Needs:   base, <tesela/memory_map.h>. Each importer is a file behind its own symbol
 *          (TSL_IMPORT_MULTIBOOT1, _MULTIBOOT2, _PVH, _E820, _LIMINE, _UEFI).
 * Callers: boot code, once, on the boot CPU.
 *
 * Every importer is a pure function over `bytes` bytes at `data`: it reads nothing else, needs no
 * alignment and trusts no size in them. Data whose structure is broken (cut off, an entry over the
 * end, an impossible size) is TSL_CORRUPT and the map stays as it was, since what is missing might
 * be a reservation. A single absurd entry (wrapping, empty) is refused and counted by tsl_map_add()
 * and the others are taken. Types that we do not know become TSL_MEMORY_RESERVED. Usable entries
 * are added first, so that a full map knows what lies between two reservations.
 * Errors of all: TSL_INVALID (no data), TSL_CORRUPT, TSL_NOT_FOUND (no entry at all), each counted
 * in map->refusals and logged. Context: boot CPU. Cost: O(entries x ranges).
 */
#ifndef TESELA_BOOT_MAP_H
#define TESELA_BOOT_MAP_H

#include <stddef.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/memory_map.h>
#include <tesela/status.h>
#include <tesela/types.h>

/*
 * What a Multiboot 1 or PVH boot information says, decoded: physical addresses for the caller to
 * reach. Absent: 0.
 */
struct tsl_boot_info {
    tsl_paddr map; /* the memory map */
    size_t map_bytes;
    tsl_paddr modules; /* array of module entries */
    size_t module_count;
    tsl_paddr command_line; /* a string */
    tsl_paddr rsdp;         /* ACPI root pointer (PVH) */
    uint64_t lower_bytes;   /* RAM from 0 (Multiboot 1, without a map) */
    uint64_t upper_bytes;   /* RAM from 1 MiB, up to the first hole (Multiboot 1, without a map) */
};

/*
 * Decodes the Multiboot 1 information at `data`.
 * Errors:  TSL_CORRUPT if `bytes` is less than 52 (the fields up to the map); out untouched.
 * Source:  Multiboot 0.6.96, section 3.3 "Boot information format".
 */
TSL_MUST_CHECK enum tsl_status tsl_boot_read_multiboot1(const void *data, size_t bytes,
                                                        struct tsl_boot_info *out);

/*
 * Imports the memory map itself (mmap_addr, mmap_length).
 * Source:  Multiboot 0.6.96, section 3.3, mmap_*.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_multiboot1(struct tsl_memory_map *map,
                                                         const void *data, size_t bytes);

/*
 * Imports the module array (16 bytes each) as TSL_MEMORY_MODULE.
 * Source:  Multiboot 0.6.96, section 3.3, mods_*.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_multiboot1_modules(struct tsl_memory_map *map,
                                                                 const void *data, size_t bytes);

/*
 * Imports a whole Multiboot 2 information structure: map tag (or, without one, the EFI map tag) and
 * module tags. `bytes` bounds what may be read; the structure's own total_size must fit in it.
 * Source:  Multiboot 2.0, section 3.6, tags 3, 6 and 17.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_multiboot2(struct tsl_memory_map *map,
                                                         const void *data, size_t bytes);

/*
 * Decodes struct hvm_start_info at `data`.
 * Errors:  TSL_CORRUPT for a wrong magic or too few bytes; out untouched. Version 0 has no map.
 * Source:  Xen, xen/include/public/arch-x86/hvm/start_info.h.
 */
TSL_MUST_CHECK enum tsl_status tsl_boot_read_pvh(const void *data, size_t bytes,
                                                 struct tsl_boot_info *out);

/*
 * Imports PVH's memory map table (24 bytes an entry).
 * Source:  as above, struct hvm_memmap_table_entry.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_pvh(struct tsl_memory_map *map, const void *data,
                                                  size_t bytes);

/*
 * Imports PVH's module list (32 bytes an entry) as TSL_MEMORY_MODULE.
 * Source:  as above, struct hvm_modlist_entry.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_pvh_modules(struct tsl_memory_map *map,
                                                          const void *data, size_t bytes);

/*
 * Imports BIOS INT 15h, AX=E820h entries, each entry_bytes apart: 20, or 24 with the extended
 * attributes, whose bit 0 clear means "ignore this entry".
 * Errors also: TSL_INVALID for another entry size.
 * Source:  ACPI 6.4, section 15.1, table 15-6.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_e820(struct tsl_memory_map *map, const void *data,
                                                   size_t bytes, size_t entry_bytes);

/*
 * Imports Limine memory map entries that lie one after another (24 bytes each).
 * Source:  Limine protocol, "Memory Map Feature".
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_limine(struct tsl_memory_map *map, const void *data,
                                                     size_t bytes);

/*
 * The same from the array of pointers in limine_memmap_response, of which each must reach 24
 * readable bytes.
 * Errors also: TSL_CORRUPT for a NULL pointer in the array.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_limine_pointers(struct tsl_memory_map *map,
                                                              const void *const *entries,
                                                              size_t count);

/*
 * Imports the map that GetMemoryMap() returned, descriptor_bytes apart (as the firmware said: often
 * 48, never less than 40). Boot services and loader memory becomes TSL_MEMORY_BOOT_RECLAIM: the
 * caller's tables and stack may still be in it.
 * Errors also: TSL_INVALID for fewer than 40 bytes a descriptor.
 * Source:  UEFI 2.10, section 7.2.3.
 */
TSL_MUST_CHECK enum tsl_status tsl_map_import_uefi(struct tsl_memory_map *map, const void *data,
                                                   size_t bytes, size_t descriptor_bytes);

#endif
