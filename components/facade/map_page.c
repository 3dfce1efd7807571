/* SPDX-License-Identifier: MIT
 *
 * map_page.c: one page at a chosen address: who may map what where in the kernel's space.
 *
 * Owns:    the rules of map_page() and unmap_page().
 * Needs:   layout, ranges, page table, frames.
 * Callers: the kernel, from any context but NMI.
 *
 * Each window of the layout has one owner. The valloc window belongs to the ranges, which must know
 * of every page in it so as not to hand it out; the user range and the devices window go straight
 * to the table; the rest is refused.
 */
#include "facade_internal.h"

enum { FLAGS = VM_READ | VM_WRITE | VM_EXEC | TSL_ALLOW_WX | TSL_CACHE_MASK };

static enum tsl_status refuse(enum tsl_status status, const char *function, tsl_vaddr address,
                              const char *why)
{
    return tsl_refuse(&tsl_facade.refusals, status, "%s: %p: %s", function, (void *)address, why);
}

static bool is_boot_device(tsl_vaddr address)
{
    const struct tsl_start_options *options = &tsl_facade.options;
    for (size_t i = 0; i < options->device_count; i++)
        if (address - options->devices[i].at < options->devices[i].bytes)
            return true;
    return false;
}

/* The window that `address` may be mapped in by anybody, or why not. */
static enum tsl_status find_window(const char *function, tsl_vaddr address,
                                   enum tsl_layout_use *out)
{
    if (tsl_facade.system.stage < TSL_STAGE_TABLES)
        return tsl_facade_too_early(function);
    if (address % TSL_PAGE_BYTES)
        return refuse(TSL_MISALIGNED, function, address, "not the start of a page");
    if (!tsl_layout_is_canonical(tsl_facade.system.layout, address))
        return refuse(TSL_NOT_CANONICAL, function, address, "the CPU cannot form this address");
    const struct tsl_layout_range *range = tsl_layout_at(tsl_facade.system.layout, address);
    if (!range)
        return refuse(TSL_DENIED, function, address, "a guard between two ranges of the layout");
    if (range->use == TSL_LAYOUT_VALLOC && tsl_facade.system.stage < TSL_STAGE_RANGES)
        return tsl_facade_too_early(function);
    if (range->use != TSL_LAYOUT_VALLOC && range->use != TSL_LAYOUT_USER &&
        range->use != TSL_LAYOUT_DEVICES)
        return refuse(TSL_DENIED, function, address, tsl_layout_use_name(range->use));
    if (is_boot_device(address))
        return refuse(TSL_DENIED, function, address, "a device page of the platform");
    *out = range->use;
    return TSL_OK;
}

static bool is_in_image(tsl_paddr address)
{
    const struct tsl_kernel_image *image = &tsl_facade.options.image;
    return (address >= image->text_start && address < image->text_end) ||
           (address >= image->rodata_start && address < image->rodata_end) ||
           (address >= image->data_start && address < image->data_end);
}

/* RAM that is ours and that nobody was given: free frames, page tables, the heap, what describes
 * frames (usable to the map, but not managed), and the image, which has its own rights
 * elsewhere. */
static bool is_ours(tsl_paddr address)
{
    const struct tsl_memory_range *range = tsl_map_at(tsl_facade.options.map, address);
    struct tsl_frame frame = tsl_frame_of(address);
    bool is_kept = (range && range->type == TSL_MEMORY_USABLE) ||
                   tsl_frames_is_managed(tsl_facade.system.frames, frame);
    return is_in_image(address) || (is_kept && !tsl_handed_out_test(frame));
}

static enum tsl_status check_target(tsl_vaddr address, tsl_paddr target, unsigned flags)
{
    if ((flags & ~(unsigned)FLAGS) || !(flags & VM_READ))
        return refuse(TSL_INVALID, "map_page", address,
                      "flags must hold VM_READ and nothing unknown");
    if (target % TSL_PAGE_BYTES)
        return refuse(TSL_MISALIGNED, "map_page", address, "the physical address is inside a page");
    if (is_ours(target))
        return refuse(TSL_DENIED, "map_page", address, "the physical page is not the caller's");
    return TSL_OK;
}

enum tsl_status map_page(void *virtual_address, uintptr_t physical, unsigned flags)
{
    tsl_vaddr address = (tsl_vaddr)virtual_address;
    enum tsl_layout_use use;
    enum tsl_status status = find_window("map_page", address, &use);
    if (status == TSL_OK)
        status = check_target(address, physical, flags);
    if (status != TSL_OK)
        return status;
    if (use == TSL_LAYOUT_VALLOC)
        return tsl_ranges_map(tsl_facade.system.ranges, address, physical, TSL_PAGE_BYTES,
                              flags | TSL_GLOBAL);
    unsigned global = use == TSL_LAYOUT_USER ? 0 : TSL_GLOBAL;
    return tsl_table_map(tsl_facade.system.table, address, physical, TSL_PAGE_BYTES,
                         flags | global);
}

enum tsl_status unmap_page(void *virtual_address)
{
    tsl_vaddr address = (tsl_vaddr)virtual_address;
    enum tsl_layout_use use;
    enum tsl_status status = find_window("unmap_page", address, &use);
    if (status != TSL_OK)
        return status;
    if (use == TSL_LAYOUT_VALLOC)
        return tsl_ranges_unmap(tsl_facade.system.ranges, address);
    return tsl_table_unmap(tsl_facade.system.table, address, TSL_PAGE_BYTES, 0, NULL);
}
