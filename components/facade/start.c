/* SPDX-License-Identifier: MIT
 *
 * start.c: brings the stages up in order, and takes them down in the opposite order.
 *
 * Owns:    the one global instance.
 * Needs:   every component.
 * Callers: the kernel's first CPU.
 */
#include "facade_internal.h"

#include <tesela/arch.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/heap_hardening.h>
#include <tesela/store.h>
#include <tesela/window.h>

struct tsl_facade tsl_facade;

/*
 * PAE could name 64 GiB and more, but tables, metadata and everything that needs a direct mapping
 * share 512 MiB of low memory. A cap by decision; what lies above is reported and not used.
 */
#define PAE_RAM_END ((tsl_paddr)16 << 30)

/* What spaces can put into a slot: 2 TiB. */
#define SLOT_RAM_END ((tsl_paddr)(TSL_SLOT_PAYLOAD_MASK + 1u) << TSL_PAGE_SHIFT)

static tsl_paddr direct_map_end(void)
{
    return tsl_layout_bytes(tsl_layout_find(tsl_facade.system.layout, TSL_LAYOUT_DIRECT_MAP));
}

/* The end of the physical addresses that this CPU, this format, the descriptions and slots can
 * name. */
static tsl_paddr nameable_end(const struct tsl_table_format *format)
{
    unsigned bits = tsl_facade.system.features.physical_bits;
    if (bits > format->physical_bits)
        bits = format->physical_bits;
    tsl_paddr end = (tsl_paddr)1 << bits;
    if (sizeof(tsl_vaddr) == sizeof(tsl_paddr) && end > direct_map_end())
        end = direct_map_end();
    if (format->entry_bytes == 8 && format->va_bits == 32 && end > PAE_RAM_END)
        end = PAE_RAM_END;
    if (TSL_SPACES && end > SLOT_RAM_END)
        end = SLOT_RAM_END;
    return end;
}

/* Bookkeeping for more than this would leave little of the RAM that is there. */
enum { MOST_PLACES_OF_RAM = 16 };

static void plan_places(tsl_paddr end)
{
    const struct tsl_start_options *options = &tsl_facade.options;
    uint64_t most = MOST_PLACES_OF_RAM * tsl_map_bytes(options->map, TSL_MEMORY_USABLE);
    tsl_facade.absent_count = 0;
    if (options->place_count > 0)
        tsl_facade.absent_count = tsl_frames_plan_absent(
            options->map, options->places, options->place_count, end, most, tsl_facade.absent);
}

/* Another start with the same map must not find usable what is not there. */
static void forget_places(void)
{
    for (size_t i = 0; i < tsl_facade.absent_count; i++) {
        const struct tsl_memory_range *range = &tsl_facade.absent[i];
        enum tsl_status status = tsl_map_reserve(tsl_facade.options.map, range->start,
                                                 range->end - range->start, TSL_MEMORY_RESERVED);
        TSL_ASSERT(status ==
                   TSL_OK); /* it had a place of its own, or became one with a neighbour */
    }
    tsl_facade.absent_count = 0;
}

static enum tsl_status start_frames(void)
{
    const struct tsl_start_options *options = &tsl_facade.options;
    tsl_paddr end = nameable_end(options->format);
    (void)tsl_map_limit(options->map, end);
    plan_places(end);
    struct tsl_frames_config config = {
        .map = options->map,
        .nodes = options->nodes,
        .early = options->early,
        .absent = tsl_facade.absent,
        .absent_count = tsl_facade.absent_count,
        .reach_end = options->reach_end ? options->reach_end : direct_map_end(),
        .direct_end = direct_map_end(),
        .ram_end = end,
        .descriptors = TSL_SPACES,
    };
    enum tsl_status status = tsl_frames_create(&config, &tsl_facade.system.frames);
    if (status == TSL_OK)
        tsl_handed_out_init();
    else
        forget_places();
    return status;
}

/* Frames that nobody has had but those who were given theirs before the start, and keep them. */
static void abandon_frames(void)
{
    tsl_handed_out_fini();
    tsl_frames_abandon(tsl_facade.system.frames);
    tsl_facade.system.frames = NULL;
    if (tsl_facade.options.early)
        tsl_early_unseal(tsl_facade.options.early);
    forget_places();
}

static enum tsl_status stop_frames(void)
{
    /* Whoever has a page must be able to free it and have the stop tried again. */
    if (tsl_handed_out_any())
        return TSL_BUSY;
    tsl_handed_out_fini();
    enum tsl_status status = tsl_frames_destroy(tsl_facade.system.frames);
    if (status == TSL_OK) {
        tsl_facade.system.frames = NULL;
        forget_places();
    }
    return status;
}

static enum tsl_status start_tables(void)
{
    const struct tsl_start_options *options = &tsl_facade.options;
    struct tsl_table_config config = {.format = options->format,
                                      .features = tsl_facade.system.features,
                                      .frames = tsl_facade.system.frames,
                                      .kernel = true};
    struct tsl_kernel_table_config contents = {.layout = tsl_facade.system.layout,
                                               .map = options->map,
                                               .image = options->image,
                                               .devices = options->devices,
                                               .device_count = options->device_count};
    enum tsl_status status = tsl_table_init(&tsl_facade.table, &config);
    if (status != TSL_OK)
        return status;
    status = tsl_table_build_kernel(&tsl_facade.table, &contents);
    if (status == TSL_OK)
        status = tsl_windows_init(&tsl_facade.windows, &tsl_facade.table,
                                  tsl_layout_find(tsl_facade.system.layout, TSL_LAYOUT_WINDOWS));
    if (status != TSL_OK) {
        TSL_ASSERT(tsl_table_fini(&tsl_facade.table) == TSL_OK);
        return status;
    }
    tsl_arch_enable(&tsl_facade.system.features);
    tsl_facade.boot_root = tsl_arch_root();
    tsl_table_switch_to(&tsl_facade.table);
    /* A boot loader may have made pages global: they would outlive the switch. */
    tsl_arch_flush_all(true);
    tsl_facade.system.table = &tsl_facade.table;
    tsl_facade.system.windows = &tsl_facade.windows;
    return TSL_OK;
}

/* Unmaps whatever is left in a window, so that the tables under it are freed. */
static void clear_window(enum tsl_layout_use use)
{
    const struct tsl_layout_range *range = tsl_layout_find(tsl_facade.system.layout, use);
    if (!range)
        return;
    enum tsl_status status = tsl_table_unmap(&tsl_facade.table, range->start,
                                             tsl_layout_bytes(range), TSL_UNMAP_SPARSE, NULL);
    TSL_ASSERT(status == TSL_OK);
}

/*
 * Tables that map_page() and the ranges made may lie above what the boot tables reach; they go
 * while ours are still in force, also those that were kept for the next page. What
 * tsl_table_build_kernel() made lies below reach_end and can be freed afterwards.
 */
static enum tsl_status stop_tables(void)
{
    if (tsl_table_is_needed(&tsl_facade.table))
        return TSL_BUSY;
    clear_window(TSL_LAYOUT_USER);
    clear_window(TSL_LAYOUT_DEVICES);
    tsl_table_trim(&tsl_facade.table);
    if (tsl_facade.options.reach_end != 0)
        tsl_frames_limit_reach(tsl_facade.system.frames, tsl_facade.options.reach_end);
    tsl_arch_switch_root(tsl_facade.boot_root);
    tsl_arch_flush_all(true); /* what was global here is so no more */
    tsl_table_left(&tsl_facade.table);
    enum tsl_status status = tsl_table_fini(&tsl_facade.table);
    TSL_ASSERT(status == TSL_OK); /* nobody needs it */
    tsl_facade.system.table = NULL;
    tsl_facade.system.windows = NULL;
    return TSL_OK;
}

static size_t heap_ceiling(const struct tsl_layout_range *window)
{
    size_t wanted = tsl_facade.options.heap_bytes;
    if (wanted == 0)
        wanted = (size_t)TSL_HEAP_MIB << 20;
    size_t most = window->last - window->start + 1;
    return wanted < most ? wanted : most;
}

/* As the kernel says; if that cannot be, there is no heap. */
static enum tsl_status harden_heap(void)
{
    const struct tsl_heap_hardening *how = tsl_facade.options.heap_hardening;
    enum tsl_status status = how ? tsl_heap_harden(tsl_facade.system.heap, how) : TSL_OK;
    if (status != TSL_OK) {
        enum tsl_status destroyed = tsl_heap_destroy(tsl_facade.system.heap);
        TSL_ASSERT(destroyed == TSL_OK); /* nobody has had a block yet */
        tsl_facade.system.heap = NULL;
    }
    return status;
}

static enum tsl_status start_heap(void)
{
    const struct tsl_layout_range *window =
        tsl_layout_find(tsl_facade.system.layout, TSL_LAYOUT_HEAP);
    struct tsl_backed_range_config pages = {.table = tsl_facade.system.table,
                                            .frames = tsl_facade.system.frames,
                                            .start = window->start,
                                            .bytes = heap_ceiling(window),
                                            .attributes = TSL_READ | TSL_WRITE | TSL_GLOBAL};
    enum tsl_status status = tsl_backed_range_create(&pages, &tsl_facade.system.heap_pages);
    if (status != TSL_OK)
        return status;
    struct tsl_page_source source = tsl_backed_range_source(tsl_facade.system.heap_pages);
    struct tsl_heap_config config = {.source = source, .ceiling_bytes = pages.bytes};
    status = tsl_heap_create(&config, &tsl_facade.system.heap);
    if (status == TSL_OK)
        status = harden_heap();
    if (status != TSL_OK) {
        tsl_backed_range_destroy(tsl_facade.system.heap_pages);
        tsl_facade.system.heap_pages = NULL;
    }
    return status;
}

static enum tsl_status stop_heap(void)
{
    enum tsl_status status = tsl_heap_destroy(tsl_facade.system.heap);
    if (status != TSL_OK)
        return status;
    tsl_facade.system.heap = NULL;
    tsl_backed_range_destroy(tsl_facade.system.heap_pages);
    tsl_facade.system.heap_pages = NULL;
    return TSL_OK;
}

/*
 * From here on frames beyond the boot tables' reach may be used for tables: until here, every stage
 * can be undone with the boot tables in force. What this stage and the next make is undone while
 * our own tables are in force.
 */
static enum tsl_status start_ranges(void)
{
    const struct tsl_layout_range *window =
        tsl_layout_find(tsl_facade.system.layout, TSL_LAYOUT_VALLOC);
    struct tsl_ranges_config config = {.table = tsl_facade.system.table,
                                       .frames = tsl_facade.system.frames,
                                       .heap = tsl_facade.system.heap,
                                       .start = window->start,
                                       .last = window->last,
                                       .lazy_pages = TSL_VALLOC_LAZY_PAGES};
    enum tsl_status status = tsl_ranges_create(&config, &tsl_facade.system.ranges);
    if (status == TSL_OK)
        tsl_frames_extend_reach(tsl_facade.system.frames, direct_map_end());
    return status;
}

static enum tsl_status stop_ranges(void)
{
    tsl_ranges_destroy(tsl_facade.system.ranges);
    tsl_facade.system.ranges = NULL;
    return TSL_OK;
}

static const struct {
    enum tsl_stage stage;
    const char *name;
    enum tsl_status (*start)(void);
    enum tsl_status (*stop)(void);
} stages[] = {
    {TSL_STAGE_FRAMES, "frames", start_frames, stop_frames},
    {TSL_STAGE_TABLES, "tables", start_tables, stop_tables},
    {TSL_STAGE_HEAP, "heap", start_heap, stop_heap},
    {TSL_STAGE_RANGES, "ranges", start_ranges, stop_ranges},
    {TSL_STAGE_SPACES, "spaces", tsl_facade_start_spaces, tsl_facade_stop_spaces},
};

static enum tsl_status check_options(const struct tsl_start_options *options)
{
    if (!options || !options->map || !options->format)
        return tsl_refuse(&tsl_facade.refusals, TSL_INVALID,
                          "start: the options need a map and a format");
    return TSL_OK;
}

static bool is_between(tsl_vaddr address, tsl_vaddr offset, tsl_paddr start, tsl_paddr end)
{
    return address - offset >= start && address - offset < end;
}

/* Tables that do not show this very code and its data could only end in a reset. Constants may lie
 * in any part. */
static bool image_holds_us(const struct tsl_kernel_image *image, tsl_vaddr offset)
{
    tsl_vaddr constants = (tsl_vaddr)stages;
    return is_between((tsl_vaddr)tsl_start, offset, image->text_start, image->text_end) &&
           is_between((tsl_vaddr)&tsl_facade, offset, image->data_start, image->data_end) &&
           (is_between(constants, offset, image->rodata_start, image->rodata_end) ||
            is_between(constants, offset, image->text_start, image->text_end) ||
            is_between(constants, offset, image->data_start, image->data_end));
}

/* Of usable memory frames would be made: whoever gets them first overwrites the image. What is no
 * RAM to the map has no alias in the direct map to be protected. */
static enum tsl_status check_image_part(const struct tsl_memory_map *map, tsl_paddr start,
                                        tsl_paddr end)
{
    while (start < end) {
        const struct tsl_memory_range *range = tsl_map_at(map, start);
        if (!range || range->type == TSL_MEMORY_USABLE || !tsl_memory_is_ram(range->type))
            return tsl_refuse(&tsl_facade.refusals, TSL_INVALID,
                              "start: a part of the image lies at %#llx, in memory that the map "
                              "calls %s: tsl_map_reserve() it as TSL_MEMORY_KERNEL",
                              (unsigned long long)start,
                              range ? tsl_memory_type_name(range->type) : "nothing");
        start = range->end;
    }
    return TSL_OK;
}

static enum tsl_status check_image(const struct tsl_start_options *options)
{
    const struct tsl_kernel_image *image = &options->image;
    enum tsl_status status = check_image_part(options->map, image->text_start, image->text_end);
    if (status == TSL_OK)
        status = check_image_part(options->map, image->rodata_start, image->rodata_end);
    if (status == TSL_OK)
        status = check_image_part(options->map, image->data_start, image->data_end);
    return status;
}

/* Takes the options over and chooses a layout; nothing of the machine is touched. */
static enum tsl_status prepare(const struct tsl_start_options *options)
{
    tsl_facade.options = *options;
    tsl_facade.system = (struct tsl_system){.stage = TSL_STAGE_NONE};
    tsl_arch_features(&tsl_facade.system.features);
    if (!tsl_arch_runs(options->format, &tsl_facade.system.features))
        return tsl_refuse(&tsl_facade.refusals, TSL_INVALID,
                          "start: the boot code's tables are not of the format %s",
                          options->format->name);
    const struct tsl_layout *layout = options->layout;
    if (!layout)
        layout = tsl_layout_named(options->format->name);
    if (!layout)
        return tsl_refuse(&tsl_facade.refusals, TSL_UNSUPPORTED,
                          "start: no built-in layout for table format %s", options->format->name);
    struct tsl_defect defect;
    struct tsl_layout_needs needs = {.image_start = options->image.text_start,
                                     .image_end = options->image.data_end,
                                     .heap_bytes = options->heap_bytes,
                                     .user_last = options->format->user_last,
                                     .cpus = TSL_CPUS,
                                     .window_bytes = TSL_WINDOW_COUNT * TSL_PAGE_BYTES};
    enum tsl_status status = tsl_layout_check(layout, &needs, &defect);
    if (status != TSL_OK)
        return tsl_refuse(&tsl_facade.refusals, status, "start: layout rule %u broken at %p: %s",
                          defect.rule, (void *)defect.place, defect.sentence);
    if (!image_holds_us(&options->image, layout->image_offset))
        return tsl_refuse(&tsl_facade.refusals, TSL_INVALID,
                          "start: the image's parts do not hold the code that runs");
    status = check_image(options);
    if (status == TSL_OK)
        tsl_facade.system.layout = layout;
    return status;
}

static enum tsl_status stop_above(enum tsl_stage stage)
{
    for (size_t i = TSL_COUNT_OF(stages); i-- > 0 && stages[i].stage > stage;) {
        if (stages[i].stage > tsl_facade.system.stage)
            continue;
        enum tsl_status status = stages[i].stop();
        if (status != TSL_OK)
            return tsl_refuse(&tsl_facade.refusals, status, "stop: stage '%s' is in use",
                              stages[i].name);
        tsl_facade.system.stage = stages[i].stage - 1;
    }
    return TSL_OK;
}

/* A start that has failed goes back to where it began. */
static void undo_above(enum tsl_stage stage)
{
    enum tsl_status status = stop_above(stage > TSL_STAGE_FRAMES ? stage : TSL_STAGE_FRAMES);
    TSL_ASSERT(status == TSL_OK); /* nobody has had anything of these stages yet */
    if (tsl_facade.system.stage == stage)
        return;
    abandon_frames();
    tsl_facade.system.stage = TSL_STAGE_NONE;
}

/* All that has to be right before the first stage. */
static enum tsl_status begin(const struct tsl_start_options *options)
{
    enum tsl_status status = check_options(options);
    if (status == TSL_OK)
        status = prepare(options);
    if (status == TSL_OK)
        tsl_cpu_join();
    return status;
}

enum tsl_status tsl_start_until(const struct tsl_start_options *options, enum tsl_stage stage)
{
    const enum tsl_stage before = tsl_facade.system.stage;
    if (before != TSL_STAGE_NONE && stage <= before)
        return tsl_refuse(&tsl_facade.refusals, TSL_EXISTS, "start: already up");
    enum tsl_status status = before == TSL_STAGE_NONE ? begin(options) : TSL_OK;
    for (size_t i = 0; status == TSL_OK && i < TSL_COUNT_OF(stages); i++) {
        if (stages[i].stage <= before || stages[i].stage > stage)
            continue;
        status = stages[i].start();
        if (status == TSL_OK) {
            tsl_facade.system.stage = stages[i].stage;
        } else {
            tsl_say(TSL_LOG_ERROR, "start: stage '%s' failed: %s", stages[i].name,
                    tsl_status_name(status));
            undo_above(before);
        }
    }
    return status;
}

enum tsl_status tsl_start(const struct tsl_start_options *options)
{
    return tsl_start_until(options, TSL_STAGE_SPACES);
}

enum tsl_status tsl_stop(void)
{
    return stop_above(TSL_STAGE_NONE);
}

const struct tsl_system *tsl_system(void)
{
    return &tsl_facade.system;
}

enum tsl_status tsl_facade_too_early(const char *function)
{
    return tsl_refuse(&tsl_facade.refusals, TSL_INVALID, "%s: called before tsl_start() got there",
                      function);
}
