/* SPDX-License-Identifier: MIT
 *
 * seed.c: the eight functions by their plain names, each a few lines over the component that does
 * the work.
 *
 * Owns:    nothing; start.c owns the instance.
 * Needs:   what start.c has brought up.
 * Callers: the kernel, from any context but NMI.
 */
#include "facade_internal.h"

#include <tesela/config.h>
#include <tesela/heap_leaks.h>

/* Reports name the kernel's line, not ours. */
#define CALLER ((uintptr_t)__builtin_return_address(0))

enum { RIGHTS = VM_READ | VM_WRITE | VM_EXEC, FLAGS = RIGHTS | TSL_ALLOW_WX | TSL_CACHE_MASK };

uintptr_t allocate_physical_page(void)
{
    if (tsl_facade.system.stage < TSL_STAGE_FRAMES) {
        (void)!tsl_facade_too_early("allocate_physical_page");
        return 0;
    }
    struct tsl_frame frame;
    /* A 32-bit kernel may have frames that a uintptr_t cannot name. */
    unsigned flags = sizeof(uintptr_t) < sizeof(tsl_paddr) ? TSL_FRAMES_DMA32 : 0;
    if (tsl_frames_alloc(tsl_facade.system.frames, 0, flags, &frame) != TSL_OK)
        return 0;
    if (tsl_handed_out_set(frame))
        return (uintptr_t)tsl_frame_address(frame);
    enum tsl_status status = tsl_frames_free(tsl_facade.system.frames, frame, 0);
    TSL_ASSERT(status == TSL_OK);
    return 0;
}

static enum tsl_status free_page(uintptr_t physical)
{
    struct tsl_frame frame = tsl_frame_of(physical);
    if (tsl_facade.system.stage < TSL_STAGE_FRAMES)
        return tsl_facade_too_early("free_physical_page");
    if (physical % TSL_PAGE_BYTES)
        return tsl_refuse(&tsl_facade.refusals, TSL_MISALIGNED,
                          "free_physical_page: %p is not the start of a page", (void *)physical);
    /* Without the record of who has it, a page that the heap has taken meanwhile would be freed. */
    if (!tsl_handed_out_clear(frame))
        return tsl_refuse(&tsl_facade.refusals,
                          tsl_frames_is_free(tsl_facade.system.frames, frame) ? TSL_DOUBLE_FREE
                                                                              : TSL_FOREIGN,
                          "free_physical_page: %p is not handed out", (void *)physical);
    return tsl_frames_free(tsl_facade.system.frames, frame, 0);
}

void free_physical_page(uintptr_t physical)
{
    if (physical != 0)
        (void)!free_page(physical); /* counted and logged where it was found */
}

/* A function of its own, so that kmalloc ends with each of its calls and needs no stack frame. */
static TSL_NOINLINE void *no_heap_yet(void)
{
    (void)!tsl_facade_too_early("kmalloc");
    return NULL;
}

void *kmalloc(size_t bytes)
{
    if (TSL_UNLIKELY(tsl_facade.system.stage < TSL_STAGE_HEAP))
        return no_heap_yet();
    if (TSL_HEAP_SITES)
        return tsl_heap_alloc_tagged(tsl_facade.system.heap, bytes, 0, CALLER);
    return tsl_heap_alloc(tsl_facade.system.heap, bytes);
}

static enum tsl_status free_object(void *object, uintptr_t site)
{
    if (tsl_facade.system.stage < TSL_STAGE_HEAP)
        return object ? tsl_facade_too_early("kfree") : TSL_OK;
    if (TSL_HEAP_SITES)
        return tsl_heap_free_tagged(tsl_facade.system.heap, object, site);
    return tsl_heap_free(tsl_facade.system.heap, object);
}

void kfree(void *object)
{
    (void)!free_object(object, CALLER); /* counted and logged where it was found; NULL is nothing */
}

void *valloc(size_t bytes, unsigned flags)
{
    if (tsl_facade.system.stage < TSL_STAGE_RANGES) {
        (void)!tsl_facade_too_early("valloc");
        return NULL;
    }
    void *start = NULL;
    if (flags & ~(unsigned)FLAGS) {
        (void)!tsl_refuse(&tsl_facade.refusals, TSL_INVALID, "valloc: unknown flags 0x%x", flags);
        return NULL;
    }
    if (tsl_ranges_alloc(tsl_facade.system.ranges, bytes, flags | TSL_GLOBAL, &start) != TSL_OK)
        return NULL;
    return start;
}

void vfree(void *start)
{
    if (!start)
        return;
    enum tsl_status status = tsl_facade.system.stage < TSL_STAGE_RANGES
                                 ? tsl_facade_too_early("vfree")
                                 : tsl_ranges_free(tsl_facade.system.ranges, start);
    (void)status; /* counted and logged where it was found */
}
