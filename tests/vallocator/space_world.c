/* SPDX-License-Identifier: MIT
 *
 * space_world.c: see space_world.h.
 *
 * Owns:    the world.
 * Needs:   machine.h, model_cpu.h.
 * Callers: tests/vallocator.
 */
#include "space_world.h"

#include "host_port.h"
#include "machine.h"

#include <string.h>

#include <host/model_cpu.h>
#include <tesela/port.h>

enum { HEAP_BYTES = 1 << 20 };

struct space_world world;

static TSL_ALIGNED(4096) unsigned char heap_memory[HEAP_BYTES];
static struct tsl_frame put_aside[WORLD_RAM / TSL_PAGE_BYTES];
static size_t aside;
static tsl_word frames_at_start;

void world_start(size_t commit_limit)
{
    struct machine_config machine = {
        .ram = {{0, WORLD_RAM}}, .cpus = WORLD_CPUS, .descriptors = true};
    CHECK(machine_create(&machine));
    world.frames = machine_frames();
    CHECK_STATUS(tsl_heap_create_fixed(heap_memory, sizeof(heap_memory), &world.heap), TSL_OK);
    frames_at_start = tsl_frames_free_count(world.frames);
    struct tsl_vm_config config = {
        .frames = world.frames,
        .heap = world.heap,
        .format = machine_format(),
        .features = *machine_features(),
        .commit = {.policy = commit_limit ? TSL_COMMIT_STRICT : TSL_COMMIT_NONE,
                   .pages = commit_limit}};
    CHECK_STATUS(tsl_vm_create(&config, &world.vm), TSL_OK);
    world.base = 0x10000000;
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
        world.running[cpu] = NULL;
    aside = 0;
}

void world_stop(void)
{
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
        world_run(cpu, NULL);
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_EQ(counters.reserved, 0);
    struct tsl_vm_stats stats;
    tsl_vm_stats(world.vm, &stats);
    CHECK_EQ(stats.spaces, 0);
    CHECK_EQ(stats.objects, 0);
    CHECK_EQ(stats.committed_pages, 0);
    CHECK_EQ(stats.frames, 0);
    CHECK_STATUS(tsl_vm_destroy(world.vm), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(world.frames), frames_at_start);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_heap_destroy(world.heap), TSL_OK);
    machine_destroy();
}

void world_run(unsigned cpu, struct tsl_space *space)
{
    struct tsl_space *old = world.running[cpu];
    if (old == space)
        return;
    host_port_set_cpu(cpu);
    tsl_pin pin = tsl_port_pin();
    if (space)
        tsl_table_switch_to(tsl_space_table(space));
    else
        tsl_arch_switch_root(0);
    if (old)
        tsl_table_left(tsl_space_table(old));
    tsl_port_unpin(pin);
    model_set_user(cpu, true);
    world.running[cpu] = space;
    host_port_set_cpu(0);
}

void world_destroy(struct tsl_space *space)
{
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
        if (world.running[cpu] == space)
            world_run(cpu, NULL);
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
}

static enum model_result once(unsigned cpu, tsl_vaddr address, unsigned access,
                              unsigned char *value)
{
    if (access == TSL_READ)
        return model_load(cpu, address, value, 1);
    if (access == TSL_WRITE)
        return model_store(cpu, address, value, 1);
    return model_fetch(cpu, address);
}

/* The space may answer a fault twice (a page of an object, then its copy), not for ever. */
static enum tsl_status access_byte(unsigned cpu, struct tsl_space *space, tsl_vaddr address,
                                   unsigned access, unsigned char *value)
{
    enum tsl_status status = TSL_OK;
    world_run(cpu, space);
    for (int tries = 0; tries < 3; tries++) {
        enum model_result result = once(cpu, address, access, value);
        if (result == MODEL_OK)
            return TSL_OK;
        if (result != MODEL_NOT_PRESENT && result != MODEL_PROTECTION)
            return TSL_CORRUPT;
        host_port_set_cpu(cpu);
        status = tsl_space_fault(space, address, access, NULL);
        host_port_set_cpu(0);
        if (status != TSL_OK)
            return status;
    }
    return TSL_CORRUPT;
}

enum tsl_status world_load(unsigned cpu, struct tsl_space *space, tsl_vaddr address,
                           unsigned char *out)
{
    return access_byte(cpu, space, address, TSL_READ, out);
}

enum tsl_status world_store(unsigned cpu, struct tsl_space *space, tsl_vaddr address,
                            unsigned char value)
{
    return access_byte(cpu, space, address, TSL_WRITE, &value);
}

enum tsl_status world_fetch(unsigned cpu, struct tsl_space *space, tsl_vaddr address)
{
    return access_byte(cpu, space, address, TSL_EXEC, NULL);
}

void world_map(struct tsl_space *space, tsl_vaddr at, size_t pages, unsigned rights)
{
    tsl_vaddr start = 0;
    struct tsl_map_request request = {
        .address = at, .bytes = pages * TSL_PAGE_BYTES, .rights = rights, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &start), TSL_OK);
    CHECK_EQ(start, at);
}

struct world_usage world_usage(void)
{
    struct tsl_vm_stats stats;
    tsl_vm_stats(world.vm, &stats);
    return (struct world_usage){tsl_frames_free_count(world.frames), stats.frames,
                                stats.committed_pages};
}

void world_check_maps(struct tsl_space *const *spaces, size_t count)
{
    static uint32_t entries[WORLD_RAM / TSL_PAGE_BYTES];
    struct tsl_mapping entry;
    memset(entries, 0, sizeof(entries));
    for (size_t i = 0; i < count; i++)
        for (tsl_vaddr at = 0;
             spaces[i] && tsl_table_next(tsl_space_table(spaces[i]), at, ~(tsl_vaddr)0, &entry);
             at = entry.start + entry.bytes)
            entries[entry.target / TSL_PAGE_BYTES]++;
    for (tsl_word number = 0; number < TSL_COUNT_OF(entries); number++) {
        struct tsl_frame_descriptor *descriptor =
            tsl_descriptor_of(world.frames, (struct tsl_frame){number});
        if (descriptor && tsl_descriptor_state(descriptor) == TSL_FRAME_PAGE)
            CHECK_EQ(tsl_descriptor_maps(descriptor), entries[number]);
    }
}

void world_leave_frames(tsl_word left)
{
    while (tsl_frames_free_count(world.frames) > left) {
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &put_aside[aside]), TSL_OK);
        aside++;
    }
}

void world_give_frames_back(void)
{
    while (aside > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, put_aside[--aside], 0), TSL_OK);
}

static void mix(uint64_t *image, uint64_t value)
{
    *image = (*image ^ value) * UINT64_C(0x100000001B3);
    *image ^= *image >> 29;
}

uint64_t world_image(struct tsl_space *space)
{
    uint64_t image = 1;
    struct tsl_region_info info;
    struct tsl_space_stats stats;
    size_t page = 0;
    tsl_slot slot;
    for (tsl_vaddr at = 0; tsl_space_next(space, at, &info); at = info.start + info.bytes) {
        mix(&image, info.start);
        mix(&image, info.bytes);
        mix(&image, info.rights | (uint64_t)info.maximum << 16 | (uint64_t)info.flags << 32);
        mix(&image, (uintptr_t)info.object);
        mix(&image, info.object_page);
    }
    for (; tsl_slots_next(&space->layer, page, space->regions.end, &page, &slot); page++)
        mix(&image, (uint64_t)page << 32 | slot);
    tsl_space_stats(space, &stats);
    mix(&image, stats.committed);
    mix(&image, stats.locked);
    struct world_usage usage = world_usage();
    mix(&image, usage.counted);
    mix(&image, usage.committed);
    return image;
}

uint64_t world_entries(struct tsl_space *space)
{
    uint64_t image = 1;
    struct tsl_mapping entry;
    for (tsl_vaddr at = 0; tsl_table_next(&space->table, at, machine_format()->user_last, &entry);
         at = entry.start + entry.bytes) {
        mix(&image, entry.start);
        mix(&image, entry.target | entry.attributes);
    }
    return image;
}

/* ---- A heap that has no room left but what a test gives back. ---- */

static void *eaten[HEAP_BYTES / 16];
static size_t eaten_count;

void world_eat_heap(void)
{
    static const size_t sizes[] = {4096, 1024, 640, 512, 320, 256, 192, 128, 64, 16};
    for (size_t i = 0; i < TSL_COUNT_OF(sizes); i++)
        while ((eaten[eaten_count] = tsl_heap_alloc(world.heap, sizes[i])))
            eaten_count++;
}

bool world_give_heap_back(struct rng *rng)
{
    if (eaten_count == 0)
        return false;
    size_t chosen = rng ? rng_below(rng, (uint32_t)eaten_count) : eaten_count - 1;
    CHECK_STATUS(tsl_heap_free(world.heap, eaten[chosen]), TSL_OK);
    eaten[chosen] = eaten[--eaten_count];
    return true;
}
