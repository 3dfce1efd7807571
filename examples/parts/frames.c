/* SPDX-License-Identifier: MIT
 *
 * frames.c: only page frames: a memory map written by hand, and an allocator of its frames.
 *
 * Owns:    the memory map.
 * Needs:   physical_allocator, which needs kernel_layout (the map) and base.
 * Callers: the C library. Exit status 0: all went as it should.
 */
#include "parts.h"

#include <stdio.h>

#include <tesela/memory_map.h>
#include <tesela/physical_allocator.h>

static struct tsl_memory_range ranges[16];
static struct tsl_memory_map map;

/* A kernel imports its loader's map instead: <tesela/boot_map.h>. */
static enum tsl_status describe_memory(void)
{
    enum tsl_status status = tsl_map_init(&map, ranges, sizeof(ranges) / sizeof(ranges[0]));
    if (status == TSL_OK)
        status = tsl_map_add(&map, 0, RAM_BYTES, TSL_MEMORY_USABLE);
    if (status == TSL_OK) /* where the kernel's image would lie */
        status = tsl_map_reserve(&map, 0x100000, 0x80000, TSL_MEMORY_KERNEL);
    return status;
}

static enum tsl_status use(struct tsl_frames *frames)
{
    struct tsl_frame page, large, device;
    /* What a device with 24 address lines needs: 96 KiB in one piece below 16 MiB. */
    const struct tsl_frames_run run = {.count = 24, .limit = 16 << 20};
    enum tsl_status status = tsl_frames_alloc(frames, 0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &page);
    if (status != TSL_OK)
        return status;
    status = tsl_frames_alloc(frames, 9, TSL_FRAMES_HIGH, &large); /* 2^9 frames: 2 MiB */
    if (status == TSL_OK)
        status = tsl_frames_alloc_run(frames, &run, &device);
    if (status != TSL_OK)
        return status; /* what was taken goes with the allocator: tsl_frames_abandon() */
    printf("4 KiB at %#llx, 2 MiB at %#llx, 96 KiB at %#llx\n",
           (unsigned long long)tsl_frame_address(page),
           (unsigned long long)tsl_frame_address(large),
           (unsigned long long)tsl_frame_address(device));
    tsl_frames_dump(frames, &standard_output);
    status = tsl_frames_free_run(frames, device, run.count);
    if (status == TSL_OK)
        status = tsl_frames_free(frames, large, 9);
    return status == TSL_OK ? tsl_frames_free(frames, page, 0) : status;
}

int main(void)
{
    struct tsl_frames *frames;
    enum tsl_status status = describe_memory();
    const struct tsl_frames_config config = {.map = &map, .reach_end = RAM_BYTES};
    if (status == TSL_OK)
        status = tsl_frames_create(&config, &frames);
    if (status == TSL_OK)
        status = use(frames);
    if (status == TSL_OK)
        status = tsl_frames_destroy(frames); /* refuses while a frame is still taken */
    printf("frames: %s\n", tsl_status_name(status));
    return status == TSL_OK ? 0 : 1;
}
