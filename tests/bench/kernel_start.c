/* SPDX-License-Identifier: MIT
 *
 * kernel_start.c: brings Tesela up in a kernel on platform/pc that needs nothing special.
 * Owns: the storage of the memory map and of the list of devices. Needs: the facade, platform/pc.
 * Called by: kernel_bench.c.
 */
#include "kernel_start.h"

#include <tesela/arch.h>
#include <tesela/memory.h>

enum { MAP_RANGES = 128, MOST_DEVICES = 8 };

static struct tsl_memory_range map_storage[MAP_RANGES];
static struct tsl_memory_map map;
static struct tsl_kernel_device devices[MOST_DEVICES];

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static const struct tsl_table_format *format_named(const char *name)
{
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++) {
        if (same(tsl_arch_formats[i]->name, name)) {
            return tsl_arch_formats[i];
        }
    }
    return NULL;
}

static struct tsl_kernel_image image_of(const struct platform_image *image)
{
    return (struct tsl_kernel_image){.text_start = image->text.start - image->offset,
                                     .text_end = image->text.end - image->offset,
                                     .rodata_start = image->rodata.start - image->offset,
                                     .rodata_end = image->rodata.end - image->offset,
                                     .data_start = image->data.start - image->offset,
                                     .data_end = image->bss.end - image->offset};
}

static size_t list_devices(const struct platform_boot *boot)
{
    size_t count = boot->device_count < MOST_DEVICES ? boot->device_count : MOST_DEVICES;
    for (size_t i = 0; i < count; i++) {
        const struct platform_device *device = &boot->devices[i];
        devices[i] = (struct tsl_kernel_device){.at = device->start,
                                                .target = device->target,
                                                .bytes = device->bytes,
                                                .attributes = TSL_READ | TSL_WRITE | TSL_GLOBAL |
                                                              TSL_CACHE_UNCACHED};
    }
    return count;
}

enum tsl_status kernel_start(const struct platform_boot *boot)
{
    enum tsl_status status = tsl_map_init(&map, map_storage, MAP_RANGES);
    if (status == TSL_OK) {
        status = platform_import_map(&map);
    }
    if (status != TSL_OK) {
        return status;
    }
    struct tsl_start_options options = {.map = &map,
                                        .format = format_named(boot->format_name),
                                        .image = image_of(&boot->image),
                                        .devices = devices,
                                        .device_count = list_devices(boot),
                                        .reach_end = boot->reach_end};
    return tsl_start(&options);
}
