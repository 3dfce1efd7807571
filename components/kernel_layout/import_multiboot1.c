/* SPDX-License-Identifier: MIT
 *
 * import_multiboot1.c: the boot information and memory map of Multiboot 1.
 *
 * Owns:    tsl_boot_read_multiboot1(), tsl_map_import_multiboot1(), ..._multiboot1_modules().
 * Needs:   import.c. Map entry: u32 size of what follows, u64 base, u64 length, u32 type; the size
 *          may be more than 20. Module entry: u32 start, u32 end, u32 string, u32 reserved.
 * Callers: boot code; compiled when TSL_IMPORT_MULTIBOOT1 is set.
 * Source:  Multiboot 0.6.96, section 3.3 "Boot information format".
 */
#include "kernel_layout_internal.h"

#define INFO_BYTES         52u
#define FLAG_MEMORY        (1u << 0)
#define FLAG_COMMAND_LINE  (1u << 2)
#define FLAG_MODULES       (1u << 3)
#define FLAG_MAP           (1u << 6)
#define SIZE_BYTES         4u /* the size field does not count itself */
#define ENTRY_BYTES        20u
#define MODULE_ENTRY_BYTES 16u

enum tsl_status tsl_boot_read_multiboot1(const void *data, size_t bytes, struct tsl_boot_info *out)
{
    const uint8_t *info = data;
    if (info == NULL || bytes < INFO_BYTES)
        return tsl_refuse(NULL, TSL_CORRUPT, "multiboot1 information: %zu bytes", bytes);
    struct tsl_boot_info read = {0};
    uint32_t flags = tsl_import_u32(info);
    if ((flags & FLAG_MEMORY) != 0) {
        read.lower_bytes = (uint64_t)tsl_import_u32(info + 4) << 10;
        read.upper_bytes = (uint64_t)tsl_import_u32(info + 8) << 10;
    }
    if ((flags & FLAG_COMMAND_LINE) != 0)
        read.command_line = tsl_import_u32(info + 16);
    if ((flags & FLAG_MODULES) != 0) {
        read.module_count = tsl_import_u32(info + 20);
        read.modules = tsl_import_u32(info + 24);
    }
    if ((flags & FLAG_MAP) != 0) {
        read.map_bytes = tsl_import_u32(info + 44);
        read.map = tsl_import_u32(info + 48);
    }
    *out = read;
    return TSL_OK;
}

static enum import_step next(struct import_source *self, struct import_entry *out)
{
    size_t left = self->bytes - self->offset;
    const uint8_t *entry = self->data + self->offset;
    if (left == 0)
        return IMPORT_END;
    if (left < SIZE_BYTES)
        return IMPORT_BROKEN;
    uint32_t size = tsl_import_u32(entry);
    if (size < ENTRY_BYTES || size > left - SIZE_BYTES)
        return IMPORT_BROKEN;
    *out = (struct import_entry){
        .start = tsl_import_u64(entry + 4),
        .bytes = tsl_import_u64(entry + 12),
        .type = tsl_import_type_e820(tsl_import_u32(entry + 20)),
    };
    self->offset += (size_t)SIZE_BYTES + size;
    return IMPORT_ENTRY;
}

enum tsl_status tsl_map_import_multiboot1(struct tsl_memory_map *map, const void *data,
                                          size_t bytes)
{
    const struct import_source source = {
        .name = "multiboot1",
        .data = data,
        .bytes = bytes,
        .next = next,
    };
    return tsl_import_run(map, &source);
}

static void decode_module(const uint8_t *entry, struct import_entry *out)
{
    tsl_import_span(out, tsl_import_u32(entry), tsl_import_u32(entry + 4), TSL_MEMORY_MODULE);
}

enum tsl_status tsl_map_import_multiboot1_modules(struct tsl_memory_map *map, const void *data,
                                                  size_t bytes)
{
    const struct import_source source = {
        .name = "multiboot1 modules",
        .data = data,
        .bytes = bytes,
        .stride = MODULE_ENTRY_BYTES,
        .next = tsl_import_next_fixed,
        .decode = decode_module,
    };
    return tsl_import_run(map, &source);
}
