/* SPDX-License-Identifier: MIT
 *
 * import_pvh.c: the start information and memory map of the PVH boot protocol.
 *
 * Owns:    tsl_boot_read_pvh(), tsl_map_import_pvh(), tsl_map_import_pvh_modules().
 * Needs:   import.c. Map entry: u64 address, u64 size, u32 type, u32 reserved. Module entry: u64
 *          address, u64 size, u64 command line, u64 reserved.
 * Callers: boot code; compiled when TSL_IMPORT_PVH is set.
 * Source:  Xen, xen/include/public/arch-x86/hvm/start_info.h, the comments with the byte offsets.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

#define START_MAGIC        0x336ec578u
#define START_BYTES_V0     40u
#define START_BYTES_V1     56u
#define MAP_ENTRY_BYTES    24u
#define MODULE_ENTRY_BYTES 32u

enum tsl_status tsl_boot_read_pvh(const void *data, size_t bytes, struct tsl_boot_info *out)
{
    const uint8_t *info = data;
    if (info == NULL || bytes < START_BYTES_V0 || tsl_import_u32(info) != START_MAGIC)
        return tsl_refuse(NULL, TSL_CORRUPT, "pvh start information: no magic in %zu bytes", bytes);
    struct tsl_boot_info read = {
        .modules = tsl_import_u64(info + 16),
        .module_count = tsl_import_u32(info + 12),
        .command_line = tsl_import_u64(info + 24),
        .rsdp = tsl_import_u64(info + 32),
    };
    if (tsl_import_u32(info + 4) >= 1) {
        if (bytes < START_BYTES_V1 ||
            !tsl_checked_mul(tsl_import_u32(info + 48), MAP_ENTRY_BYTES, &read.map_bytes))
            return tsl_refuse(NULL, TSL_CORRUPT, "pvh start information: map in %zu bytes", bytes);
        read.map = tsl_import_u64(info + 40);
    }
    *out = read;
    return TSL_OK;
}

static void decode_entry(const uint8_t *entry, struct import_entry *out)
{
    out->start = tsl_import_u64(entry);
    out->bytes = tsl_import_u64(entry + 8);
    out->type = tsl_import_type_e820(tsl_import_u32(entry + 16));
}

enum tsl_status tsl_map_import_pvh(struct tsl_memory_map *map, const void *data, size_t bytes)
{
    const struct import_source source = {
        .name = "pvh",
        .data = data,
        .bytes = bytes,
        .stride = MAP_ENTRY_BYTES,
        .next = tsl_import_next_fixed,
        .decode = decode_entry,
    };
    return tsl_import_run(map, &source);
}

static void decode_module(const uint8_t *entry, struct import_entry *out)
{
    out->start = tsl_import_u64(entry);
    out->bytes = tsl_import_u64(entry + 8);
    out->type = TSL_MEMORY_MODULE;
}

enum tsl_status tsl_map_import_pvh_modules(struct tsl_memory_map *map, const void *data,
                                           size_t bytes)
{
    const struct import_source source = {
        .name = "pvh modules",
        .data = data,
        .bytes = bytes,
        .stride = MODULE_ENTRY_BYTES,
        .next = tsl_import_next_fixed,
        .decode = decode_module,
    };
    return tsl_import_run(map, &source);
}
