/* SPDX-License-Identifier: MIT
 *
 * machine.c: see machine.h.
 *
 * Owns:    the one simulated machine.
 * Needs:   arch/host, host_port.h; physical_allocator for machine_frames.
 * Callers: host tests.
 */
#include "machine.h"

#include <string.h>

#include <host/model_cpu.h>
#include <host/ram.h>
#include <tesela/cpu.h>
#include <tesela/physical_allocator.h>

#include "host_port.h"
#include "tap.h"

#define MAP_RANGES 64u

static struct {
    bool made;
    struct tsl_memory_range storage[MAP_RANGES];
    struct tsl_memory_map map;
    const struct tsl_table_format *format;
    const struct tsl_layout *layout;
    struct tsl_cpu_features features;
    tsl_paddr direct_end;
    unsigned cpus;
    bool descriptors;
    struct tsl_frames *frames;
} machine;

size_t machine_format_count(void)
{
    size_t count = 0;
    while (tsl_arch_formats[count] != NULL)
        count++;
    return count;
}

const struct tsl_table_format *machine_format_at(size_t index)
{
    return tsl_arch_formats[index];
}

static const struct tsl_table_format *format_named(const char *name)
{
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++)
        if (name == NULL || strcmp(tsl_arch_formats[i]->name, name) == 0)
            return tsl_arch_formats[i];
    return NULL;
}

static struct tsl_cpu_features all_features(const struct tsl_table_format *format, unsigned bits)
{
    bool wide = format->entry_bytes == 8;
    bool has_64_bits = format->va_bits > 32;
    if (bits == 0)
        bits = has_64_bits ? 40 : wide ? 36 : 32;
    return (struct tsl_cpu_features){
        .pse = true,
        .pae = wide,
        .pge = true,
        .nx = wide,
        .pages_1g = has_64_bits,
        .la57 = format->levels == 5,
        .pat = true,
        .pcid = has_64_bits,
        .wp = true,
        .smep = true,
        .smap = true,
        .physical_bits = bits,
        .virtual_bits = format->va_bits,
    };
}

bool machine_map_of(struct tsl_memory_map *map, struct tsl_memory_range *storage, size_t capacity,
                    const struct machine_ram *ram, size_t count)
{
    if (tsl_map_init(map, storage, capacity) != TSL_OK)
        return false;
    for (size_t i = 0; i < count && ram[i].bytes > 0; i++)
        if (tsl_map_add(map, ram[i].start, ram[i].bytes, TSL_MEMORY_USABLE) != TSL_OK)
            return false;
    return true;
}

/* The first direct address of RAM, so that address 0 of the machine is where it would be. */
static bool make_ram(const struct machine_ram *ram, size_t count, tsl_paddr direct_end)
{
    struct host_ram_range range[MACHINE_RAM_RANGES];
    size_t used = 0;
    for (; used < count && ram[used].bytes > 0; used++)
        range[used] = (struct host_ram_range){ram[used].start, ram[used].start + ram[used].bytes};
    tsl_paddr end = range[used - 1].end;
    if (direct_end == 0 || direct_end > end)
        direct_end = end;
    machine.direct_end = direct_end;
    if (!host_ram_create(range, used, direct_end))
        return false;
    char *first = host_ram_linear(range[0].start);
    host_port_set_ram(first, range[0].start, direct_end - range[0].start);
    return true;
}

static bool frame_is_free(tsl_paddr address)
{
    return machine.frames != NULL && tsl_frames_is_free(machine.frames, tsl_frame_of(address));
}

static void start_cpus(void)
{
    for (unsigned cpu = 0; cpu < machine.cpus; cpu++) {
        host_port_set_cpu(cpu);
        tsl_arch_enable(&machine.features);
        tsl_cpu_join();
    }
    host_port_set_cpu(0);
}

bool machine_create(const struct machine_config *config)
{
    static const struct machine_ram default_ram[] = {{0, (tsl_paddr)64 << 20}};
    bool own = config->ram[0].bytes > 0;
    const struct machine_ram *ram = own ? config->ram : default_ram;
    size_t count = own ? MACHINE_RAM_RANGES : 1;
    machine_destroy();

    machine.format = format_named(config->format);
    if (machine.format == NULL) {
        tap_note("machine: no format %s here", config->format);
        return false;
    }
    machine.made = true;
    machine.layout = tsl_layout_named(machine.format->name);
    machine.features = config->features != NULL
                           ? *config->features
                           : all_features(machine.format, config->physical_bits);
    machine.cpus = config->cpus > 0 ? config->cpus : 1;
    machine.descriptors = config->descriptors;
    tsl_paddr direct_end = config->direct_end;
    if (direct_end == 0 && machine.format->va_bits == 32)
        direct_end = (tsl_paddr)512 << 20;
    struct model_config model = {
        .format = machine.format->name,
        .features = machine.features,
        .frame_is_free = frame_is_free,
        .invlpg_spares_globals = config->invlpg_spares_globals,
        .splinters = config->splinters,
    };
    if (machine.layout == NULL || !make_ram(ram, count, direct_end) || !model_reset(&model) ||
        !machine_map_of(&machine.map, machine.storage, MAP_RANGES, ram, count)) {
        tap_note("machine: cannot be made");
        machine_destroy();
        return false;
    }
    start_cpus();
    return true;
}

void machine_destroy(void)
{
    if (!machine.made)
        return;
    if (machine.frames != NULL)
        tsl_frames_abandon(machine.frames);
    for (unsigned cpu = 0; cpu < machine.cpus; cpu++) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
    host_port_set_cpu(0);
    host_port_set_ram(NULL, 0, 0);
    host_ram_destroy();
    memset(&machine, 0, sizeof(machine));
}

struct tsl_memory_map *machine_map(void)
{
    return &machine.map;
}

const struct tsl_table_format *machine_format(void)
{
    return machine.format;
}

const struct tsl_layout *machine_layout(void)
{
    return machine.layout;
}

const struct tsl_cpu_features *machine_features(void)
{
    return &machine.features;
}

tsl_paddr machine_direct_end(void)
{
    return machine.direct_end;
}

struct tsl_frames *machine_frames(void)
{
    if (machine.frames != NULL)
        return machine.frames;
    struct tsl_frames_config config = {
        .map = &machine.map,
        .reach_end = machine.direct_end,
        .direct_end = machine.direct_end,
        .descriptors = machine.descriptors,
    };
    if (tsl_frames_create(&config, &machine.frames) != TSL_OK)
        tap_note("machine: no frames allocator");
    return machine.frames;
}
