/* SPDX-License-Identifier: MIT
 *
 * main.c: a kernel that starts Tesela and uses its eight functions once.
 *
 * Owns:    the memory map.
 * Needs:   Tesela, port.c.
 * Callers: boot_*.S with the loader's information.
 */
#include "minimal.h"

#include <tesela/boot_map.h>
#include <tesela/config.h>
#include <tesela/memory.h>
#include <tesela/port.h>

/* From the linker script: each part of the image begins on a page. */
extern char image_text_start[], image_rodata_start[], image_data_start[], image_end[],
    IMAGE_OFFSET[];

static struct tsl_memory_range ranges[64];
static struct tsl_memory_map map;

static tsl_paddr physical(const char *symbol)
{
    return (uintptr_t)symbol - (uintptr_t)IMAGE_OFFSET;
}

static enum tsl_status read_map(uint32_t information)
{
    struct tsl_boot_info boot;
    enum tsl_status status = tsl_map_init(&map, ranges, sizeof(ranges) / sizeof(ranges[0]));
    if (status == TSL_OK) /* the loader's information has 116 bytes */
        status = tsl_boot_read_multiboot1(tsl_port_phys_to_virt(information), 116, &boot);
    if (status == TSL_OK)
        status = tsl_map_import_multiboot1(&map, tsl_port_phys_to_virt(boot.map), boot.map_bytes);
    if (status == TSL_OK) /* everything below 1 MiB, and the image behind it */
        status = tsl_map_reserve(&map, 0, physical(image_end), TSL_MEMORY_KERNEL);
    return status;
}

static enum tsl_status start(uint32_t information)
{
    struct tsl_start_options options = {
        .map = &map,
        .format = &TABLE_FORMAT,
        .image = {.text_start = physical(image_text_start),
                  .text_end = physical(image_rodata_start),
                  .rodata_start = physical(image_rodata_start),
                  .rodata_end = physical(image_data_start),
                  .data_start = physical(image_data_start),
                  .data_end = physical(image_end)},
        .reach_end = EARLY_REACH,
    };
    enum tsl_status status = read_map(information);
    return status == TSL_OK ? tsl_start(&options) : status;
}

static bool use(void)
{
    uintptr_t page = allocate_physical_page();
    char *object = kmalloc(1024);
    char *memory = valloc(10000, VM_READ | VM_WRITE);
    if (!page || !object || !memory)
        return false;
    object[1023] = memory[9999] = 1;
    char *place = (char *)((uintptr_t)memory + 16 * 4096); /* behind the guard page: nobody's */
    if (map_page(place, page, VM_READ | VM_WRITE) != TSL_OK)
        return false;
    *place = 1;
    bool unmapped = unmap_page(place) == TSL_OK;
    vfree(memory);
    kfree(object);
    free_physical_page(page);
    return unmapped;
}

void kernel_main(uint32_t information);
void kernel_main(uint32_t information)
{
    enum tsl_status status = start(information);
    if (status != TSL_OK) {
        write_line("Tesela did not start:");
        write_line(tsl_status_name(status));
        power_off(false);
    }
    bool success = use() && (!TSL_SPACES || use_space());
    write_line(success ? "minimal kernel: Tesela works" : "minimal kernel: FAILED");
    power_off(success);
}
