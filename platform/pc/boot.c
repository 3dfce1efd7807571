/* SPDX-License-Identifier: MIT
 *
 * boot.c: from the Multiboot 1 information to struct platform_boot and a memory map.
 *
 * Owns:    a copy of the command line; the description of the image; what of physical memory this
 *          port keeps for itself.
 * Needs:   kernel_layout (memory map, importer). Addresses that the loader gives are checked
 *          against the boot tables' reach.
 * Callers: see platform/boot.h.
 * Source:  Multiboot 0.6.96, 3.3.
 */
#include <tesela/boot_map.h>
#include <tesela/checked.h>
#include <tesela/format.h>
#include <platform/boot.h>
#include "early.h"
#include "pc_internal.h"

enum {
    INFORMATION_BYTES = 52, /* up to the memory map, which is all this port reads */
    COMMAND_LINE_BYTES = 256,
    MODULE_BYTES = 16,
    REAL_MODE_RESERVED_END = TRAMPOLINE_ADDRESS + 0x1000,
    BIOS_EBDA_SEGMENT = 0x40E,
    LOW_RAM_END = 0xA0000,
};

extern char image_start[], image_rodata_start[], image_data_start[], image_bss_start[], image_end[],
    image_offset[];

/* Written by the assembly before there is C. In .data: nobody may think of them as zero. */
uint32_t boot_info_address = 0xFFFFFFFF;
uint32_t boot_format = FORMAT_ANY;
uint32_t boot_root = 0xFFFFFFFF;
uint32_t boot_reach = 0xFFFFFFFF; /* x86-32 only */

static struct platform_boot boot;
static struct tsl_boot_info information;
static bool information_is_good;
static char command_line[COMMAND_LINE_BYTES];
static struct platform_device devices[1];

const struct platform_boot *platform_boot(void)
{
    return &boot;
}

/* A run of physical memory as the boot tables show it; NULL when they do not. */
static const void *reach(tsl_paddr start, size_t bytes)
{
    tsl_paddr end;

    if (start == 0 || !tsl_checked_add_paddr(start, bytes, &end) || end > boot.reach_end)
        return NULL;
    return tsl_port_phys_to_virt(start);
}

static void copy_command_line(tsl_paddr start)
{
    for (size_t i = 0; i + 1 < sizeof(command_line); i++) {
        const char *c = reach(start + i, 1);

        if (c == NULL || *c == '\0')
            return; /* the rest is zero from the start */
        command_line[i] = *c;
    }
}

static struct platform_range range(const char *start, const char *end)
{
    return (struct platform_range){(tsl_vaddr)start, (tsl_vaddr)end};
}

void boot_read(uint32_t address)
{
    static const char *const format_names[] = {"?", "2level", "pae", "4level", "5level"};
    const void *data;

    boot.reach_end = BOOT_REACH;
    boot.command_line = command_line;
    boot.format_name = format_names[boot_format];
    boot.image.offset = (tsl_vaddr)image_offset;
    boot.image.text = range(image_start, image_rodata_start);
    boot.image.rodata = range(image_rodata_start, image_data_start);
    boot.image.data = range(image_data_start, image_bss_start);
    boot.image.bss = range(image_bss_start, image_end);
    data = reach(address, INFORMATION_BYTES);
    if (data == NULL || tsl_boot_read_multiboot1(data, INFORMATION_BYTES, &information) != TSL_OK) {
        tsl_log(TSL_LOG_ERROR, "boot: the loader's information at %#x is out of reach", address);
        return;
    }
    information_is_good = true;
    copy_command_line(information.command_line);
}

void boot_set_devices(tsl_paddr local_apic)
{
    boot.devices = devices;
    boot.device_count = 0;
    if (local_apic != 0) {
        devices[boot.device_count++] = (struct platform_device){.name = "local APIC",
                                                                .start = DEVICES_START,
                                                                .target = local_apic,
                                                                .bytes = TSL_PAGE_BYTES};
    }
}

/* The value of the first word `name=...`, and its length. */
static const char *find_option(const char *name, size_t *length)
{
    const char *word = command_line;

    while (*word != '\0') {
        const char *text = word, *wanted = name;

        while (*wanted != '\0' && *text == *wanted) {
            text++;
            wanted++;
        }
        if (*wanted == '\0' && *text == '=') {
            for (*length = 0; text[1 + *length] != '\0' && text[1 + *length] != ' '; *length += 1) {
            }
            return text + 1;
        }
        while (*word != '\0' && *word != ' ')
            word++;
        word += *word == ' ';
    }
    return NULL;
}

bool platform_option(const char *name, char *out, size_t size)
{
    size_t length = 0;
    const char *value = find_option(name, &length);

    if (value == NULL || length + 1 > size)
        return false;
    for (size_t i = 0; i < length; i++)
        out[i] = value[i];
    out[length] = '\0';
    return true;
}

static enum tsl_status import(struct tsl_memory_map *map)
{
    enum tsl_status status;

    if (!information_is_good)
        return TSL_NOT_FOUND;
    if (information.map != 0) {
        const void *data = reach(information.map, information.map_bytes);

        return data == NULL ? TSL_NOT_FOUND
                            : tsl_map_import_multiboot1(map, data, information.map_bytes);
    }
    if (information.upper_bytes == 0)
        return TSL_NOT_FOUND;
    if (information.lower_bytes != 0) {
        status = tsl_map_add(map, 0, information.lower_bytes, TSL_MEMORY_USABLE);
        if (status != TSL_OK)
            return status;
    }
    return tsl_map_add(map, 1 << 20, information.upper_bytes, TSL_MEMORY_USABLE);
}

/* Real-mode data up to the trampoline's page, and the extended BIOS data area up to the end of low
 * RAM. */
static enum tsl_status reserve_low_memory(struct tsl_memory_map *map)
{
    const uint8_t *segment = reach(BIOS_EBDA_SEGMENT, 2);
    tsl_paddr area = segment == NULL ? 0 : (tsl_paddr)((segment[0] | segment[1] << 8) << 4);
    enum tsl_status status = tsl_map_reserve(map, 0, REAL_MODE_RESERVED_END, TSL_MEMORY_RESERVED);

    if (status != TSL_OK || area < REAL_MODE_RESERVED_END || area >= LOW_RAM_END)
        return status;
    return tsl_map_reserve(map, area, LOW_RAM_END - area, TSL_MEMORY_RESERVED);
}

static enum tsl_status reserve_modules(struct tsl_memory_map *map)
{
    size_t bytes;
    const void *data;

    if (information.module_count == 0)
        return TSL_OK;
    if (!tsl_checked_mul(information.module_count, MODULE_BYTES, &bytes))
        return TSL_CORRUPT;
    data = reach(information.modules, bytes);
    if (data == NULL) {
        return TSL_CORRUPT; /* where the modules are is then unknown, and what is unknown must not
                               be handed out */
    }
    return tsl_map_import_multiboot1_modules(map, data, bytes);
}

enum tsl_status platform_import_map(struct tsl_memory_map *map)
{
    enum tsl_status status = import(map);
    tsl_paddr start = boot.image.text.start - boot.image.offset;

    if (status == TSL_OK)
        status = reserve_low_memory(map);
    if (status == TSL_OK) {
        status = tsl_map_reserve(map, start, boot.image.bss.end - boot.image.text.start,
                                 TSL_MEMORY_KERNEL);
    }
    if (status == TSL_OK)
        status = reserve_modules(map);
    return status;
}
