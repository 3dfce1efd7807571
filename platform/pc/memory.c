/* SPDX-License-Identifier: MIT
 *
 * memory.c: Tesela on this machine: its memory map, image and devices as start options.
 *
 * Owns:    the storage of the memory map, of the nodes and of the lists of devices and of places
 *          for RAM.
 * Needs:   the facade; boot.c.
 * Callers: kernel_main(), see platform/memory.h.
 */
#include <platform/memory.h>

#include <tesela/arch.h>
#include <tesela/config.h>
#include <tesela/heap_hardening.h>
#include <tesela/memory_nodes.h>
#include <platform/acpi.h>
#include <platform/boot.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include <platform/machine.h>

/* 312 entries have been seen on a real machine; a kernel's own reservations come on top. */
enum { MAP_RANGES = 400, MOST_DEVICES = 8, MOST_PLACES = 16 };

static struct tsl_memory_range map_storage[MAP_RANGES], imported_ranges[MAP_RANGES];
static struct tsl_memory_map map, imported;
static struct tsl_kernel_device devices[MOST_DEVICES];
static struct tsl_memory_nodes nodes;
static struct tsl_memory_range places[MOST_PLACES];

/* As configured, with a clock, and whole call stacks in reports where they are kept; the seed is
 * new for each start. */
static struct tsl_heap_hardening heap_hardening = {.tier = TSL_HEAP_HARDENING,
                                                   .sites = TSL_HEAP_SITES,
                                                   .panics = TSL_HEAP_PANIC,
                                                   .trace = platform_trace,
                                                   .clock = platform_ticks};

struct tsl_memory_map *platform_memory_map(void)
{
    return &map;
}

static bool is_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static const struct tsl_table_format *format_named(const char *name)
{
    for (size_t i = 0; tsl_arch_formats[i]; i++)
        if (is_same(tsl_arch_formats[i]->name, name))
            return tsl_arch_formats[i];
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

static void copy_map(struct tsl_memory_map *to, struct tsl_memory_range *storage,
                     const struct tsl_memory_map *from)
{
    *to = *from;
    to->ranges = storage;
    for (size_t i = 0; i < from->count; i++)
        storage[i] = from->ranges[i];
}

/* The status for what may be left out: a node or a range that is one too many, an absurd distance.
 * The library has counted and logged it, and the memory is usable all the same. */
static void leave_out(enum tsl_status status)
{
    (void)status;
}

/* What SRAT and SLIT say. SLIT numbers the domains from 0, without gaps. */
static void import_nodes(void)
{
    const struct acpi_info *acpi = platform_acpi();

    tsl_nodes_init(&nodes);
    for (unsigned i = 0; i < acpi->range_count; i++) {
        const struct acpi_node_range *range = &acpi->ranges[i];
        leave_out(tsl_nodes_add(&nodes, range->start, range->end - range->start, range->node));
    }
    for (unsigned cpu = 0; cpu < PLATFORM_CPUS && nodes.node_count > 0; cpu++)
        leave_out(tsl_nodes_place_cpu(&nodes, cpu, platform_cpu_node(cpu)));
    for (unsigned from = 0; from < acpi->distance_count; from++) {
        for (unsigned to = 0; to < acpi->distance_count; to++) {
            unsigned known;
            if (tsl_nodes_find(&nodes, from, &known) && tsl_nodes_find(&nodes, to, &known))
                leave_out(tsl_nodes_set_distance(&nodes, from, to, acpi->distances[from][to]));
        }
    }
}

/* Where RAM may be plugged in, as SRAT says; the library leaves out what the map knows already. */
static size_t list_places(void)
{
    const struct acpi_info *acpi = platform_acpi();
    size_t count = 0;

    for (unsigned i = 0; i < acpi->range_count && count < MOST_PLACES; i++) {
        const struct acpi_node_range *range = &acpi->ranges[i];
        if (range->hot_pluggable)
            places[count++] =
                (struct tsl_memory_range){range->start, range->end, TSL_MEMORY_USABLE};
    }
    return count;
}

const struct tsl_memory_nodes *platform_memory_nodes(void)
{
    return TSL_NODES > 1 ? &nodes : NULL;
}

static enum tsl_status import_once(void)
{
    if (imported.ranges)
        return TSL_OK;
    enum tsl_status status = tsl_map_init(&map, map_storage, MAP_RANGES);
    if (status == TSL_OK)
        status = platform_import_map(&map);
    if (status != TSL_OK)
        return status;
    copy_map(&imported, imported_ranges, &map);
    if (TSL_NODES > 1)
        import_nodes();
    return TSL_OK;
}

enum tsl_status platform_memory_options(struct tsl_start_options *out)
{
    const struct platform_boot *boot = platform_boot();
    enum tsl_status status = import_once();
    if (status != TSL_OK)
        return status;
    copy_map(&map, map_storage, &imported);
    heap_hardening.seed = platform_seed();
    *out = (struct tsl_start_options){.map = &map,
                                      .nodes = platform_memory_nodes(),
                                      .places = places,
                                      .place_count = list_places(),
                                      .format = format_named(boot->format_name),
                                      .image = image_of(&boot->image),
                                      .devices = devices,
                                      .device_count = list_devices(boot),
                                      .reach_end = boot->reach_end,
                                      .heap_hardening = &heap_hardening};
    return TSL_OK;
}

enum tsl_status platform_memory_guard_stacks(void)
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

static struct tsl_heap_root root(tsl_vaddr start, tsl_vaddr end)
{
    tsl_vaddr frame = (tsl_vaddr)__builtin_frame_address(0);

    if (frame - start < end - start)
        start = frame;
    return (struct tsl_heap_root){(const void *)start, end - start};
}

void platform_memory_roots(struct tsl_heap_root *out)
{
    const struct platform_image *image = &platform_boot()->image;
    tsl_vaddr from = image->data.start, guard;
    unsigned count = 0;

    while (platform_guard_page(count, &guard)) {
        out[count++] = root(from, guard);
        from = guard + TSL_PAGE_BYTES;
    }
    out[count] = root(from, image->bss.end);
}

/* What the heap knows of an address that nobody could access. */
static void explain_fault(tsl_vaddr address)
{
    if (tsl_system()->heap != NULL)
        (void)tsl_heap_explain(tsl_system()->heap, (uintptr_t)address);
}

enum tsl_status platform_memory_start(void)
{
    struct tsl_start_options options;
    enum tsl_status status = platform_memory_options(&options);
    if (status == TSL_OK)
        status = tsl_start(&options);
    platform_explain_faults(explain_fault);
    return status == TSL_OK ? platform_memory_guard_stacks() : status;
}
