/* SPDX-License-Identifier: MIT
 *
 * machine.h: a simulated machine under a host test: RAM, its map, CPUs, a page-table format.
 *
 * Owns:    the one machine of the process; a new one replaces it.
 * Needs:   arch/host (RAM, model CPUs), host_port.h, kernel_layout (map, layout).
 * Callers: host tests of everything that needs physical memory.
 *
 *     struct machine_config config = {.ram = {{0, 64 << 20}}};    // 64 MiB, best format
 *     REQUIRE(machine_create(&config));
 *     struct tsl_frames *frames = machine_frames();               // or create your own
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/arch.h>
#include <tesela/kernel_layout.h>
#include <tesela/memory_map.h>
#include <tesela/table_format.h>
#include <tesela/types.h>

#define MACHINE_RAM_RANGES 8u

struct machine_ram {
    tsl_paddr start;
    tsl_paddr bytes; /* 0 ends the list */
};

/* Fields left 0 take the meaning in brackets. */
struct machine_config {
    struct machine_ram ram[MACHINE_RAM_RANGES]; /* usable RAM, ascending [64 MiB from 0] */
    const char *format;     /* "2level", "pae", "4level", "5level" [the best compiled in] */
    tsl_paddr direct_end;   /* RAM from here on has no pointer [512 MiB for 32-bit formats, else
                               all is direct] */
    unsigned cpus;          /* CPUs that join, numbered from 0 [1] */
    unsigned physical_bits; /* [36 for pae, 32 for 2level, else 40] */
    bool descriptors;       /* machine_frames has frame descriptors [no] */
    const struct tsl_cpu_features *features; /* exactly these [all that the format can use] */
    bool invlpg_spares_globals;              /* the CPUs have this erratum (model_cpu.h) */
    bool splinters;                          /* they remember large pages by pieces */
};

/*
 * Build the machine: RAM reads as zero, the map lists it, every CPU has joined with its features
 * switched on and nothing in CR3. Errors: false and a note (no such format, no address space).
 * Cost: RAM that is never touched costs nothing.
 */
bool machine_create(const struct machine_config *config);

/* Take it down, RAM included. */
void machine_destroy(void);

struct tsl_memory_map *machine_map(void);
const struct tsl_table_format *machine_format(void);
const struct tsl_layout *machine_layout(void);
const struct tsl_cpu_features *machine_features(void);
tsl_paddr machine_direct_end(void);

/*
 * The frames allocator over the whole map, made at the first call; from then on an access of a
 * model CPU to a free frame is counted (model_counters). NULL and a note if it cannot be made.
 */
struct tsl_frames *machine_frames(void);

/* The number of formats compiled in, and one of them: to run a test over all. */
size_t machine_format_count(void);
const struct tsl_table_format *machine_format_at(size_t index);

/* A memory map for tests that need no RAM behind it and no machine: usable ranges only. */
bool machine_map_of(struct tsl_memory_map *map, struct tsl_memory_range *storage, size_t capacity,
                    const struct machine_ram *ram, size_t count);

#endif
