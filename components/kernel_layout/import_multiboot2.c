/* SPDX-License-Identifier: MIT
 *
 * import_multiboot2.c: the boot information structure of Multiboot 2, tag by tag.
 *
 * Owns:    tsl_map_import_multiboot2().
 * Needs:   import.c; import_uefi.c for the EFI tag if TSL_IMPORT_UEFI is set.
 * Callers: boot code; compiled when TSL_IMPORT_MULTIBOOT2 is set.
 * Source:  Multiboot 2.0, sections 3.6.2 (structure), 3.6.6 (modules), 3.6.8 (memory map), 3.6.19
 *          (EFI memory map).
 */
#include <tesela/config.h>

#include "kernel_layout_internal.h"

#define INFO_HEADER_BYTES 8u /* u32 total size, u32 reserved */
#define TAG_HEADER_BYTES  8u /* u32 type, u32 size with header, without padding */
#define TAG_ALIGN         8u
#define TAG_END           0u
#define TAG_MODULE        3u  /* u32 start, u32 end, string */
#define TAG_MAP           6u  /* u32 entry size, u32 entry version, entries */
#define TAG_EFI_MAP       17u /* u32 descriptor size, u32 version, descriptors */
#define MAP_HEADER_BYTES  16u /* of both map tags */
#define ENTRY_BYTES       24u /* u64 base, u64 length, u32 type, u32 reserved */

struct tag {
    const uint8_t *at;
    uint32_t type;
    uint32_t size;
};

/* What is there: the first tag of each kind, and how many module tags. */
struct found {
    struct tag map;
    struct tag efi_map;
    size_t modules;
};

/* Steps to the next tag, as a source does to its next entry. */
static enum import_step next_tag(struct import_source *self, struct tag *out)
{
    size_t left = self->bytes - self->offset;
    if (left < TAG_HEADER_BYTES)
        return IMPORT_BROKEN; /* the end tag is missing */
    struct tag tag = {self->data + self->offset, 0, 0};
    tag.type = tsl_import_u32(tag.at);
    tag.size = tsl_import_u32(tag.at + 4);
    if (tag.size < TAG_HEADER_BYTES || tag.size > left)
        return IMPORT_BROKEN;
    if (tag.type == TAG_END)
        return IMPORT_END;
    /* tag.size <= left, so that only the padding can pass the end. */
    size_t padding = (TAG_ALIGN - tag.size % TAG_ALIGN) % TAG_ALIGN;
    if (padding > left - tag.size)
        return IMPORT_BROKEN;
    self->offset += tag.size + padding;
    *out = tag;
    return IMPORT_ENTRY;
}

static bool is_sound(const struct tag *tag)
{
    if (tag->type == TAG_MODULE)
        return tag->size >= MAP_HEADER_BYTES;
    if (tag->type != TAG_MAP && tag->type != TAG_EFI_MAP)
        return true;
    return tag->size >= MAP_HEADER_BYTES &&
           (tag->type == TAG_EFI_MAP || tsl_import_u32(tag->at + 8) >= ENTRY_BYTES);
}

static void note_tag(struct found *found, const struct tag *tag)
{
    if (tag->type == TAG_MAP && found->map.at == NULL)
        found->map = *tag;
    else if (tag->type == TAG_EFI_MAP && found->efi_map.at == NULL)
        found->efi_map = *tag;
    else if (tag->type == TAG_MODULE)
        found->modules++;
}

static enum import_step find_tags(struct import_source walk, struct found *out)
{
    struct tag tag;
    enum import_step step;
    while ((step = next_tag(&walk, &tag)) == IMPORT_ENTRY) {
        if (!is_sound(&tag))
            return IMPORT_BROKEN;
        note_tag(out, &tag);
    }
    return step;
}

static enum import_step next_module(struct import_source *self, struct import_entry *out)
{
    struct tag tag;
    enum import_step step;
    while ((step = next_tag(self, &tag)) == IMPORT_ENTRY) {
        if (tag.type == TAG_MODULE) {
            tsl_import_span(out, tsl_import_u32(tag.at + 8), tsl_import_u32(tag.at + 12),
                            TSL_MEMORY_MODULE);
            return IMPORT_ENTRY;
        }
    }
    return step;
}

static void decode_entry(const uint8_t *entry, struct import_entry *out)
{
    out->start = tsl_import_u64(entry);
    out->bytes = tsl_import_u64(entry + 8);
    out->type = tsl_import_type_e820(tsl_import_u32(entry + 16));
}

/* The boot loader makes the map tag of the firmware's map, so one of the two says it all. */
static enum tsl_status import_maps(struct tsl_memory_map *map, const struct found *found)
{
    if (found->map.at != NULL) {
        const struct import_source entries = {
            .name = "multiboot2",
            .data = found->map.at + MAP_HEADER_BYTES,
            .bytes = found->map.size - MAP_HEADER_BYTES,
            .stride = tsl_import_u32(found->map.at + 8),
            .next = tsl_import_next_fixed,
            .decode = decode_entry,
        };
        return tsl_import_run(map, &entries);
    }
    if (TSL_IMPORT_UEFI && found->efi_map.at != NULL) {
        return tsl_map_import_uefi(map, found->efi_map.at + MAP_HEADER_BYTES,
                                   found->efi_map.size - MAP_HEADER_BYTES,
                                   tsl_import_u32(found->efi_map.at + 8));
    }
    return tsl_refuse(&map->refusals, TSL_NOT_FOUND, "multiboot2 information: no memory map");
}

enum tsl_status tsl_map_import_multiboot2(struct tsl_memory_map *map, const void *data,
                                          size_t bytes)
{
    const uint8_t *info = data;
    struct found found = {0};
    if (info == NULL)
        return tsl_refuse(&map->refusals, TSL_INVALID, "multiboot2 information: no data");
    if (bytes < INFO_HEADER_BYTES || tsl_import_u32(info) > bytes ||
        tsl_import_u32(info) < INFO_HEADER_BYTES) {
        return tsl_refuse(&map->refusals, TSL_CORRUPT,
                          "multiboot2 information: its size does not fit in %zu bytes", bytes);
    }
    const struct import_source modules = {
        .name = "multiboot2 modules",
        .data = info,
        .bytes = tsl_import_u32(info),
        .offset = INFO_HEADER_BYTES,
        .next = next_module,
    };
    if (find_tags(modules, &found) != IMPORT_END)
        return tsl_refuse(&map->refusals, TSL_CORRUPT, "multiboot2 information: broken tags");
    enum tsl_status status = import_maps(map, &found);
    if (status != TSL_OK || found.modules == 0)
        return status;
    return tsl_import_run(map, &modules);
}
