/* SPDX-License-Identifier: MIT
 *
 * frames_world.h: a made-up physical memory for the tests of the frame allocator.
 *
 * Owns:    RAM for phys_to_virt from address 0 on, one memory map, one allocator.
 * Needs:   physical_allocator, kernel_layout, the test port (host_port.h); a Linux process.
 * Callers: the tests in this folder and the benchmark bodies.
 */
#ifndef FRAMES_WORLD_H
#define FRAMES_WORLD_H

#include <tesela/config.h>
#include <tesela/physical_allocator.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* phys_to_virt works below this: as much as a 32-bit process can spare. */
#define WORLD_REACH (256 * MIB)

struct world_range {
    uint64_t start;
    uint64_t bytes;
    enum tsl_memory_type type;
};

struct world {
    struct tsl_memory_range storage[512];
    struct tsl_memory_map map;
    struct tsl_frames_config config;
    struct tsl_frames *frames;
};

/* CPUs that a test lets work at once: not more than the model machine has. */
#define WORLD_CPUS (TSL_CPUS < 16 ? TSL_CPUS : 16)

/* CPUs 0 .. cpus - 1 come online, or leave; all in this thread, which is CPU 0 afterwards. */
void world_join(unsigned cpus);
void world_part(unsigned cpus);
/* Ends the allocator, whatever is allocated. What makes a world ends the last one first. */
void world_end(struct world *world);
/* Makes the map of the ranges and a configuration with reach_end = WORLD_REACH. */
void world_map(struct world *world, const struct world_range *ranges, size_t count);
/* world_map, then the allocator; its status. */
enum tsl_status world_make(struct world *world, const struct world_range *ranges, size_t count);
/* The usual machine: `bytes` of RAM with a PC's hole from 640 KiB to 1 MiB. */
enum tsl_status world_pc(struct world *world, uint64_t bytes);

tsl_word world_free(const struct world *world);
struct tsl_frame world_frame(uint64_t address);

#endif
