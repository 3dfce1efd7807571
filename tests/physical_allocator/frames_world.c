/* SPDX-License-Identifier: MIT
 *
 * frames_world.c: a made-up physical memory for the tests of the frame allocator.
 *
 * Owns:    the pages behind phys_to_virt, once a process; only those that are touched exist.
 * Needs:   frames_world.h, mmap.
 * Callers: the tests in this folder and the benchmark bodies.
 */
#define _GNU_SOURCE
#include "frames_world.h"

#include "host_port.h"

#include <tesela/cpu.h>

#include <stdlib.h>
#include <sys/mman.h>

static void provide_ram(void)
{
    static void *ram;
    if (ram == NULL) {
        ram = mmap(NULL, WORLD_REACH, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (ram == MAP_FAILED)
            abort();
    }
    host_port_set_ram(ram, 0, WORLD_REACH);
}

void world_join(unsigned cpus)
{
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        host_port_set_cpu(cpu);
        tsl_cpu_join();
    }
    host_port_set_cpu(0);
}

void world_part(unsigned cpus)
{
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
    host_port_set_cpu(0);
}

void world_end(struct world *world)
{
    if (world->frames != NULL)
        tsl_frames_abandon(world->frames);
    world->frames = NULL;
}

void world_map(struct world *world, const struct world_range *ranges, size_t count)
{
    provide_ram();
    world_end(world);
    world_join(1); /* as a kernel does before it makes frames: who is not online claims nothing */
    if (tsl_map_init(&world->map, world->storage, TSL_COUNT_OF(world->storage)) != TSL_OK)
        abort();
    for (size_t i = 0; i < count; i++)
        if (tsl_map_add(&world->map, ranges[i].start, ranges[i].bytes, ranges[i].type) != TSL_OK)
            abort();
    world->config = (struct tsl_frames_config){.map = &world->map, .reach_end = WORLD_REACH};
}

enum tsl_status world_make(struct world *world, const struct world_range *ranges, size_t count)
{
    world_map(world, ranges, count);
    return tsl_frames_create(&world->config, &world->frames);
}

enum tsl_status world_pc(struct world *world, uint64_t bytes)
{
    const struct world_range ranges[] = {
        {0, 640 * KIB, TSL_MEMORY_USABLE},
        {640 * KIB, 384 * KIB, TSL_MEMORY_RESERVED},
        {1 * MIB, bytes - 1 * MIB, TSL_MEMORY_USABLE},
    };
    return world_make(world, ranges, TSL_COUNT_OF(ranges));
}

tsl_word world_free(const struct world *world)
{
    return tsl_frames_free_count(world->frames);
}

struct tsl_frame world_frame(uint64_t address)
{
    return tsl_frame_of(address);
}
