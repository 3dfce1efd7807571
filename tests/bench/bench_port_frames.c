/* SPDX-License-Identifier: MIT
 *
 * bench_port_frames.c: a frame allocator over the simulated memory, half of it in use.
 *
 * Owns:    nothing lasting.
 * Needs:   physical_allocator, kernel_layout, bench_port.h.
 * Callers: bench_frames*.c.
 */
#include <stdlib.h>
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

uint32_t bench_take_frame(struct tsl_frames *frames)
{
    struct tsl_frame frame;
    bench_require(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK, "out of frames");
    return (uint32_t)frame.number;
}

void bench_give_frame(struct tsl_frames *frames, uint32_t number)
{
    bench_require(tsl_frames_free(frames, (struct tsl_frame){number}, 0) == TSL_OK,
                  "a free was refused");
}

/* Frees half of one area, keeps some of the rest. */
static void free_half(struct tsl_frames *frames, uint32_t first, struct bench_live *live,
                      uint64_t keep_one_in, uint64_t *seed)
{
    for (uint32_t i = 0; i < TSL_FRAMES_PER_AREA; i++)
        if (bench_below(seed, 2) == 0)
            bench_give_frame(frames, first + i);
        else if (live->count < live->capacity && bench_below(seed, keep_one_in) == 0)
            live->number[live->count++] = first + i;
}

/* Whole areas are taken at once and split: at 1 TiB that saves a quarter of a thousand million
 * calls. The areas that have a hole keep their few free frames. */
void bench_fill_half(struct tsl_frames *frames, struct bench_live *live, unsigned cpus,
                     uint64_t *seed)
{
    size_t limit = tsl_frames_free_count(frames) / TSL_FRAMES_PER_AREA;
    struct tsl_frame *areas = malloc(limit * sizeof(*areas));
    bench_require(areas != NULL, "memory for the list of areas");
    size_t count = 0;
    while (count < limit &&
           tsl_frames_alloc(frames, TSL_FRAMES_HUGE_ORDER, 0, &areas[count]) == TSL_OK)
        count++;
    uint64_t keep_one_in = count * TSL_FRAMES_PER_AREA / 2 / cpus / live->capacity + 1;
    for (size_t i = 0; i < count; i++) {
        unsigned cpu = (unsigned)(i % cpus);
        bench_require(tsl_frames_split(frames, areas[i], TSL_FRAMES_HUGE_ORDER) == TSL_OK,
                      "a split was refused");
        bench_be_cpu(cpu);
        free_half(frames, (uint32_t)areas[i].number, &live[cpu], keep_one_in, seed);
    }
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        bench_shuffle(live[cpu].number, live[cpu].count, seed);
    bench_be_cpu(0);
    free(areas);
}
