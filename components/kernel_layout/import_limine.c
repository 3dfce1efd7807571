/* SPDX-License-Identifier: MIT
 *
 * import_limine.c: the memory map of the Limine boot protocol.
 *
 * Owns:    tsl_map_import_limine(), tsl_map_import_limine_pointers().
 * Needs:   import.c. Entry: u64 base, u64 length, u64 type.
 * Callers: boot code; compiled when TSL_IMPORT_LIMINE is set.
 * Source:  Limine boot protocol, "Memory Map Feature".
 */
#include "kernel_layout_internal.h"

#define ENTRY_BYTES 24u

static enum tsl_memory_type type_limine(uint64_t type)
{
    switch (type) {
    case 0:
        return TSL_MEMORY_USABLE;
    case 2:
        return TSL_MEMORY_ACPI_RECLAIM;
    case 3:
        return TSL_MEMORY_NVS;
    case 4:
        return TSL_MEMORY_BAD;
    case 5:
        return TSL_MEMORY_BOOT_RECLAIM;
    case 6: /* "executable and modules": both at once, so both stay */
        return TSL_MEMORY_KERNEL;
    case 7:
        return TSL_MEMORY_FRAMEBUFFER;
    default:
        return TSL_MEMORY_RESERVED;
    }
}

static void decode(const uint8_t *entry, struct import_entry *out)
{
    out->start = tsl_import_u64(entry);
    out->bytes = tsl_import_u64(entry + 8);
    out->type = type_limine(tsl_import_u64(entry + 16));
}

enum tsl_status tsl_map_import_limine(struct tsl_memory_map *map, const void *data, size_t bytes)
{
    const struct import_source source = {
        .name = "limine",
        .data = data,
        .bytes = bytes,
        .stride = ENTRY_BYTES,
        .next = tsl_import_next_fixed,
        .decode = decode,
    };
    return tsl_import_run(map, &source);
}

/* Here `bytes` and `offset` count pointers. */
static enum import_step next_pointer(struct import_source *self, struct import_entry *out)
{
    if (self->offset == self->bytes)
        return IMPORT_END;
    const uint8_t *entry = self->pointers[self->offset];
    if (entry == NULL)
        return IMPORT_BROKEN;
    *out = (struct import_entry){0};
    decode(entry, out);
    self->offset++;
    return IMPORT_ENTRY;
}

enum tsl_status tsl_map_import_limine_pointers(struct tsl_memory_map *map,
                                               const void *const *entries, size_t count)
{
    const struct import_source source = {
        .name = "limine",
        .pointers = entries,
        .bytes = count,
        .next = next_pointer,
    };
    return tsl_import_run(map, &source);
}
