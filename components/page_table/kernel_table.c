/* SPDX-License-Identifier: MIT
 *
 * kernel_table.c: the kernel's own table, from the layout, the memory map and the image.
 *
 * Owns:    tsl_table_build_kernel.
 * Needs:   tsl_table_map/protect/fix; kernel_layout and its memory map.
 * Callers: the public, once at boot.
 */
#include <tesela/kernel_table.h>

#include <tesela/checked.h>
#include <tesela/window.h>

#include "page_table_internal.h"

/* Below this every PC has firmware data, option ROMs and the VGA hole: mapped as if it were RAM. */
#define LOW_END ((tsl_paddr)1 << 20)

struct build {
    struct tsl_table *table;
    const struct tsl_kernel_table_config *config;
    const struct tsl_layout_range *direct;
    tsl_paddr direct_end; /* exclusive: what the range and the CPU's addresses can hold */
};

static tsl_vaddr direct_address(const struct build *self, tsl_paddr address)
{
    return self->direct->start + (tsl_vaddr)address;
}

static enum tsl_status map_identity(const struct build *self)
{
    const struct tsl_layout_range *range =
        tsl_layout_find(self->config->layout, TSL_LAYOUT_IDENTITY);
    /* CPUs start here, so it is executable; whoever writes to it uses the direct map. */
    return tsl_table_map(self->table, range->start, range->start, tsl_layout_bytes(range),
                         TSL_READ | TSL_EXEC);
}

static enum tsl_status map_part(const struct build *self, tsl_paddr start, tsl_paddr end,
                                unsigned attributes)
{
    const struct tsl_layout *layout = self->config->layout;
    const struct tsl_layout_range *range = tsl_layout_find(layout, TSL_LAYOUT_IMAGE);
    struct tsl_refusals *refusals = &self->table->refusals;
    if (start == end)
        return TSL_OK;
    if (start > end)
        return tsl_refuse(refusals, TSL_INVALID, "tables: image part ends before %llx",
                          (unsigned long long)start);
    tsl_vaddr at = (tsl_vaddr)start + layout->image_offset;
    tsl_paddr bytes = end - start;
    if (at < range->start || at > range->last || bytes - 1u > range->last - at)
        return tsl_refuse(refusals, TSL_OUT_OF_RANGE, "tables: image part at %llx, linked at %zx",
                          (unsigned long long)start, (size_t)at);
    return tsl_table_map(self->table, at, start, (size_t)bytes,
                         attributes | TSL_GLOBAL | TSL_MAP_LARGE);
}

static enum tsl_status map_image(const struct build *self)
{
    const struct tsl_kernel_image *image = &self->config->image;
    enum tsl_status status =
        map_part(self, image->text_start, image->text_end, TSL_READ | TSL_EXEC);
    if (status == TSL_OK)
        status = map_part(self, image->rodata_start, image->rodata_end, TSL_READ);
    if (status == TSL_OK)
        status = map_part(self, image->data_start, image->data_end, TSL_READ | TSL_WRITE);
    /* Two parts over one page: to the caller it is the parts that collide, not a mapping. */
    return status == TSL_EXISTS ? TSL_OVERLAP : status;
}

static enum tsl_status map_direct_run(const struct build *self, tsl_paddr start, tsl_paddr end,
                                      unsigned large)
{
    if (end > self->direct_end)
        end = self->direct_end;
    if (start >= end)
        return TSL_OK;
    return tsl_table_map(self->table, direct_address(self, start), start, (size_t)(end - start),
                         TSL_READ | TSL_WRITE | TSL_GLOBAL | large);
}

/* Neighbouring ranges become one run, so that a border between two kinds of RAM costs no large
 * page. The first MiB gets small pages, since its cache types differ from page to page: it comes
 * last, and without a wish, so that nothing makes a large page of it. */
static enum tsl_status map_direct(const struct build *self)
{
    const struct tsl_memory_map *map = self->config->map;
    enum tsl_status status = TSL_OK;
    tsl_paddr start = LOW_END;
    tsl_paddr end = LOW_END;
    for (size_t i = 0; i < map->count && status == TSL_OK; i++) {
        const struct tsl_memory_range *range = &map->ranges[i];
        if (!tsl_memory_is_ram(range->type) || range->end <= LOW_END)
            continue;
        if (range->start > end) {
            status = map_direct_run(self, start, end, TSL_MAP_LARGE | TSL_MAP_PROMOTE);
            start = range->start;
        }
        end = range->end;
    }
    if (status == TSL_OK)
        status = map_direct_run(self, start, end, TSL_MAP_LARGE | TSL_MAP_PROMOTE);
    return status == TSL_OK ? map_direct_run(self, 0, LOW_END, 0) : status;
}

/* The image's alias in the direct map must not be a way around its protection. */
static enum tsl_status protect_alias(const struct build *self, tsl_paddr start, tsl_paddr end)
{
    if (start >= end || start >= self->direct_end)
        return TSL_OK;
    return tsl_table_protect(self->table, direct_address(self, start), (size_t)(end - start),
                             TSL_READ | TSL_GLOBAL, NULL);
}

/* Firmware tables in the direct map: pages that are RAM to the map are there already. */
static enum tsl_status map_in_direct(const struct build *self,
                                     const struct tsl_kernel_device *device)
{
    enum tsl_status status = TSL_OK;
    for (size_t done = 0; done < device->bytes && status == TSL_OK; done += TSL_PAGE_BYTES) {
        struct tsl_mapping present;
        if (tsl_table_query(self->table, device->at + done, &present) == TSL_OK)
            continue;
        status = tsl_table_map(self->table, device->at + done, device->target + done,
                               TSL_PAGE_BYTES, device->attributes | TSL_GLOBAL);
    }
    return status;
}

static bool inside(const struct tsl_layout_range *range, tsl_vaddr at, size_t bytes)
{
    return bytes > 0 && at >= range->start && at <= range->last && bytes - 1u <= range->last - at;
}

static enum tsl_status map_device(const struct build *self, const struct tsl_kernel_device *device)
{
    struct tsl_refusals *refusals = &self->table->refusals;
    const struct tsl_layout_range *devices =
        tsl_layout_find(self->config->layout, TSL_LAYOUT_DEVICES);
    if (device->attributes & TSL_EXEC)
        return tsl_refuse(refusals, TSL_DENIED, "tables: executable device at %zx",
                          (size_t)device->at);
    if (inside(devices, device->at, device->bytes))
        return tsl_table_map(self->table, device->at, device->target, device->bytes,
                             device->attributes | TSL_GLOBAL);
    if (device->target >= self->direct_end || device->bytes > self->direct_end - device->target ||
        device->at != direct_address(self, device->target) || device->bytes == 0)
        return tsl_refuse(refusals, TSL_OUT_OF_RANGE, "tables: device at %zx", (size_t)device->at);
    if (!tsl_is_aligned(device->at | device->bytes, TSL_PAGE_BYTES))
        return tsl_refuse(refusals, TSL_MISALIGNED, "tables: device at %zx", (size_t)device->at);
    return map_in_direct(self, device);
}

static enum tsl_status fix_windows(const struct build *self)
{
    const struct tsl_layout_range *range =
        tsl_layout_find(self->config->layout, TSL_LAYOUT_WINDOWS);
    return tsl_table_fix(self->table, range->start, TSL_WINDOW_PAGES * TSL_PAGE_BYTES);
}

static enum tsl_status build_all(const struct build *self)
{
    const struct tsl_kernel_table_config *config = self->config;
    const struct tsl_kernel_image *image = &config->image;
    enum tsl_status status = map_identity(self);
    if (status == TSL_OK)
        status = map_image(self);
    if (status == TSL_OK)
        status = map_direct(self);
    if (status == TSL_OK)
        status = protect_alias(self, image->text_start, image->text_end);
    if (status == TSL_OK)
        status = protect_alias(self, image->rodata_start, image->rodata_end);
    for (size_t i = 0; i < config->device_count && status == TSL_OK; i++)
        status = map_device(self, &config->devices[i]);
    if (status == TSL_OK)
        status = fix_windows(self);
    return status;
}

static void undo(struct tsl_table *table)
{
    struct tsl_gather gather;
    tsl_gather_init(&gather, table);
    tsl_pin pin = tsl_lock_acquire(&table->lock);
    tsl_gather_open(&gather);
    tsl_table_remove_all(table, &gather);
    tsl_gather_finish(&gather);
    tsl_lock_release(&table->lock, pin);
}

static bool is_empty(struct tsl_table *table)
{
    struct tsl_mapping any;
    return table->fixed_first > table->fixed_last && !tsl_table_next(table, 0, ~(tsl_vaddr)0, &any);
}

enum tsl_status tsl_table_build_kernel(struct tsl_table *self,
                                       const struct tsl_kernel_table_config *config)
{
    struct build build = {.table = self, .config = config};
    if (!is_empty(self))
        return tsl_refuse(&self->refusals, TSL_EXISTS, "tables: the kernel's table is not empty");
    if (config->layout->va_bits != self->format->va_bits ||
        config->layout->sign_extended != self->format->sign_extended)
        return tsl_refuse(&self->refusals, TSL_INVALID, "tables: layout %s for format %s",
                          config->layout->format_name, self->format->name);

    build.direct = tsl_layout_find(config->layout, TSL_LAYOUT_DIRECT_MAP);
    build.direct_end = (tsl_paddr)tsl_layout_bytes(build.direct);
    if (build.direct_end > (tsl_paddr)1 << self->physical_bits)
        build.direct_end = (tsl_paddr)1 << self->physical_bits;
    enum tsl_status status = build_all(&build);
    if (status != TSL_OK)
        undo(self);
    return status;
}
