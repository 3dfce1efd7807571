/* SPDX-License-Identifier: MIT
 *
 * import_uefi.c: the map that UEFI's GetMemoryMap() returns.
 *
 * Owns:    tsl_map_import_uefi().
 * Needs:   import.c. Descriptor: u32 type, u32 padding, u64 physical start, u64 virtual start, u64
 *          pages of 4 KiB, u64 attributes; the firmware says how far apart they are.
 * Callers: boot code after ExitBootServices(); compiled when TSL_IMPORT_UEFI is set.
 * Source:  UEFI 2.10, sections 7.2.1 (types) and 7.2.3 (descriptor).
 */
#include "kernel_layout_internal.h"

#define DESCRIPTOR_BYTES           40u
#define ATTRIBUTE_SPECIFIC_PURPOSE ((uint64_t)1 << 18)
#define ATTRIBUTE_RUNTIME          ((uint64_t)1 << 63)

static enum tsl_memory_type type_uefi(uint32_t type)
{
    switch (type) {
    case 1: /* loader code and data: the kernel's first tables, modules and this map itself */
    case 2:
    case 3: /* boot services code and data, which some firmware still uses for a while */
    case 4:
        return TSL_MEMORY_BOOT_RECLAIM;
    case 5:
    case 6:
        return TSL_MEMORY_RUNTIME;
    case 7:
        return TSL_MEMORY_USABLE;
    case 8:
        return TSL_MEMORY_BAD;
    case 9:
        return TSL_MEMORY_ACPI_RECLAIM;
    case 10:
        return TSL_MEMORY_NVS;
    case 11:
    case 12:
        return TSL_MEMORY_DEVICE;
    case 14:
        return TSL_MEMORY_PERSISTENT;
    default: /* 0 reserved, 13 PAL code, 15 unaccepted, and the makers' own */
        return TSL_MEMORY_RESERVED;
    }
}

static bool is_reclaimable(enum tsl_memory_type type)
{
    return type == TSL_MEMORY_USABLE || type == TSL_MEMORY_BOOT_RECLAIM ||
           type == TSL_MEMORY_ACPI_RECLAIM;
}

static void decode(const uint8_t *entry, struct import_entry *out)
{
    uint64_t pages = tsl_import_u64(entry + 24);
    uint64_t attributes = tsl_import_u64(entry + 32);
    out->start = tsl_import_u64(entry + 8);
    out->type = type_uefi(tsl_import_u32(entry));
    out->wraps = pages > UINT64_MAX >> TSL_PAGE_SHIFT;
    out->bytes = out->wraps ? UINT64_MAX : pages << TSL_PAGE_SHIFT;
    /* The runtime attribute overrules a type that would let us have the memory. */
    if ((attributes & ATTRIBUTE_RUNTIME) != 0 && is_reclaimable(out->type))
        out->type = TSL_MEMORY_RUNTIME;
    if ((attributes & ATTRIBUTE_SPECIFIC_PURPOSE) != 0 && out->type == TSL_MEMORY_USABLE)
        out->type = TSL_MEMORY_RESERVED;
}

enum tsl_status tsl_map_import_uefi(struct tsl_memory_map *map, const void *data, size_t bytes,
                                    size_t descriptor_bytes)
{
    if (descriptor_bytes < DESCRIPTOR_BYTES) {
        return tsl_refuse(&map->refusals, TSL_INVALID, "uefi memory map: descriptors of %zu bytes",
                          descriptor_bytes);
    }
    const struct import_source source = {
        .name = "uefi",
        .data = data,
        .bytes = bytes,
        .stride = descriptor_bytes,
        .next = tsl_import_next_fixed,
        .decode = decode,
    };
    return tsl_import_run(map, &source);
}
