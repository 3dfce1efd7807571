/* SPDX-License-Identifier: MIT
 *
 * bench_port_frames.c: a frame allocator over the simulated memory.
 *
 * Owns:    nothing lasting.
 * Needs:   physical_allocator, kernel_layout, bench_port.h.
 * Callers: bench_frames*.c.
 */
#include <tesela/memory_map.h>
#include <tesela/physical_allocator.h>

#include "bench_host.h"
#include "bench_port.h"

struct tsl_frames *bench_frames_create(uint64_t bytes)
{
    struct tsl_memory_range storage[16];
    struct tsl_memory_map map;
    struct tsl_frames *frames;
    bench_require(tsl_map_init(&map, storage, TSL_COUNT_OF(storage)) == TSL_OK, "map");
    bench_require(tsl_map_add(&map, 0, bytes, TSL_MEMORY_USABLE) == TSL_OK, "map entry");
    struct tsl_frames_config config = {.map = &map, .reach_end = bytes};
    bench_require(tsl_frames_create(&config, &frames) == TSL_OK, "allocator");
    return frames;
}
