/* SPDX-License-Identifier: MIT
 *
 * import_e820.c: the map that a PC BIOS returns from INT 15h, AX=E820h.
 *
 * Owns:    tsl_map_import_e820().
 * Needs:   import.c. Entry: u64 base, u64 length, u32 type, and in 24-byte entries u32 attributes.
 * Callers: boot code; compiled when TSL_IMPORT_E820 is set.
 * Source:  ACPI 6.4, section 15.1, tables 15-4 to 15-6.
 */
#include "kernel_layout_internal.h"

#define ATTRIBUTE_ENABLED      0x1u
#define ATTRIBUTE_NON_VOLATILE 0x2u

static void decode_20(const uint8_t *entry, struct import_entry *out)
{
    out->start = tsl_import_u64(entry);
    out->bytes = tsl_import_u64(entry + 8);
    out->type = tsl_import_type_e820(tsl_import_u32(entry + 16));
}

static void decode_24(const uint8_t *entry, struct import_entry *out)
{
    uint32_t attributes = tsl_import_u32(entry + 20);
    decode_20(entry, out);
    out->skip = (attributes & ATTRIBUTE_ENABLED) == 0;
    if ((attributes & ATTRIBUTE_NON_VOLATILE) != 0 && out->type == TSL_MEMORY_USABLE)
        out->type = TSL_MEMORY_PERSISTENT;
}

enum tsl_status tsl_map_import_e820(struct tsl_memory_map *map, const void *data, size_t bytes,
                                    size_t entry_bytes)
{
    if (entry_bytes != 20 && entry_bytes != 24) {
        return tsl_refuse(&map->refusals, TSL_INVALID, "e820 memory map: entries of %zu bytes",
                          entry_bytes);
    }
    const struct import_source source = {
        .name = "e820",
        .data = data,
        .bytes = bytes,
        .stride = entry_bytes,
        .next = tsl_import_next_fixed,
        .decode = entry_bytes == 20 ? decode_20 : decode_24,
    };
    return tsl_import_run(map, &source);
}
