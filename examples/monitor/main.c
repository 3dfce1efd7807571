/* SPDX-License-Identifier: MIT */
/*
 * main.c: boots the machine onto Tesela: memory map in, everything started, then the tour and the
 * prompt.
 *
 * Owns: the memory map's storage. Needs: platform/pc, the facade. Entered by: platform/pc, on CPU
 * 0.
 */
#include "monitor.h"

#include <tesela/arch.h>
#include <tesela/config.h>
#include <tesela/physical_allocator.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/machine.h>

enum { MAP_RANGES = 256, MOST_DEVICES = 8 };

struct tsl_memory_map memory_map;
static struct tsl_memory_range map_storage[MAP_RANGES];
static struct tsl_kernel_device devices[MOST_DEVICES];

const struct tsl_sink *console(void)
{
    return platform_console();
}

static const struct tsl_table_format *format_named(const char *name)
{
    for (size_t i = 0; tsl_arch_formats[i]; i++) {
        const char *a = tsl_arch_formats[i]->name, *b = name;
        while (*a && *a == *b)
            a++, b++;
        if (*a == *b)
            return tsl_arch_formats[i];
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
    for (size_t i = 0; i < count; i++)
        devices[i] = (struct tsl_kernel_device){.at = boot->devices[i].start,
                                                .target = boot->devices[i].target,
                                                .bytes = boot->devices[i].bytes,
                                                .attributes = TSL_READ | TSL_WRITE | TSL_GLOBAL |
                                                              TSL_CACHE_UNCACHED};
    return count;
}

/* The stacks lie in the image, which is mapped whole: take the page below each stack out again. */
static enum tsl_status unmap_stack_guards(void)
{
    tsl_vaddr page;
    for (unsigned i = 0; platform_guard_page(i, &page); i++) {
        enum tsl_status status =
            tsl_table_unmap(tsl_system()->table, page, TSL_PAGE_BYTES, 0, NULL);
        if (status != TSL_OK)
            return status;
    }
    return TSL_OK;
}

static enum tsl_status start(const struct platform_boot *boot)
{
    enum tsl_status status = tsl_map_init(&memory_map, map_storage, MAP_RANGES);
    if (status == TSL_OK)
        status = platform_import_map(&memory_map);
    if (status != TSL_OK)
        return status;
    struct tsl_start_options options = {.map = &memory_map,
                                        .format = format_named(boot->format_name),
                                        .image = image_of(&boot->image),
                                        .devices = devices,
                                        .device_count = list_devices(boot),
                                        .reach_end = boot->reach_end};
    status = tsl_start(&options);
    if (status == TSL_OK)
        status = unmap_stack_guards();
    return status;
}

static void introduce(const struct platform_boot *boot, unsigned cpus)
{
    char ram[16], heap[16];
    tsl_format_bytes(ram, sizeof(ram), tsl_map_bytes(&memory_map, TSL_MEMORY_USABLE));
    tsl_format_bytes(heap, sizeof(heap), (uint64_t)TSL_HEAP_MIB << 20);
    tsl_print(console(),
              "\nTesela monitor: profile %s, %s tables, %u CPU%s, %s usable, heap up to %s\n",
              TSL_PROFILE, boot->format_name, cpus, cpus == 1 ? "" : "s", ram, heap);
    tsl_print(console(), "\n-- memory map --\n");
    tsl_map_dump(&memory_map, console());
    tsl_print(console(), "\n-- address space --\n");
    tsl_layout_dump(tsl_system()->layout, console());
    tsl_print(console(), "\n-- frames --\n");
    tsl_frames_dump(tsl_system()->frames, console());
}

bool kernel_main(const struct platform_boot *boot)
{
    enum tsl_status status = start(boot);
    if (status != TSL_OK) {
        tsl_print(console(), "Tesela did not start: %s. What the machine reported:\n",
                  tsl_status_name(status));
        tsl_map_dump(&memory_map, console());
        tsl_print(console(), "tour: FAIL 0/0 (start)\n");
        return false;
    }
    introduce(boot, platform_start_cpus());
    bool passed = tour();
    char mode[8];
    if (!platform_option("mode", mode, sizeof(mode)) || mode[0] != 'o') {
        prompt();
        platform_power_off();
    }
    return passed;
}
