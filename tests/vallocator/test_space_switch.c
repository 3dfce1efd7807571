/* SPDX-License-Identifier: MIT
 *
 * test_space_switch.c: spaces that show the kernel's half, or some of its pages to programs, and
 * CPUs that go from one to another.
 *
 * Owns:    suite space_switch.
 * Needs:   space_world.h; a second vm beside the world's, whose spaces show a kernel table.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "host_port.h"
#include "machine.h"

#include <host/model_cpu.h>
#include <tesela/checked.h>
#include <tesela/port.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_table kernel;
static struct tsl_vm *vm;
static tsl_vaddr kernel_page; /* an address of the kernel half */

static void switch_on(unsigned cpu, struct tsl_space *from, struct tsl_space *to)
{
    host_port_set_cpu(cpu);
    tsl_pin pin = tsl_port_pin();
    tsl_space_switch(from, to);
    tsl_port_unpin(pin);
    host_port_set_cpu(0);
}

static void begin(void)
{
    world_start(0);
    struct tsl_table_config table = {.format = machine_format(),
                                     .features = *machine_features(),
                                     .frames = world.frames,
                                     .kernel = true};
    CHECK_STATUS(tsl_table_init(&kernel, &table), TSL_OK);
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_table_switch_to(&kernel);
    }
    host_port_set_cpu(0);
    struct tsl_vm_config config = {.frames = world.frames,
                                   .heap = world.heap,
                                   .format = machine_format(),
                                   .features = *machine_features(),
                                   .kernel_table = &kernel};
    CHECK_STATUS(tsl_vm_create(&config, &vm), TSL_OK);
    kernel_page = tsl_layout_find(machine_layout(), TSL_LAYOUT_VALLOC)->start;
}

static void finish(void)
{
    CHECK_STATUS(tsl_vm_destroy(vm), TSL_OK);
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_arch_switch_root(0);
        tsl_table_left(&kernel);
        model_set_user(cpu, false);
    }
    host_port_set_cpu(0);
    CHECK_SOUND(tsl_table_verify(&kernel));
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_OK);
    world_stop();
}

static struct tsl_space *make(void)
{
    struct tsl_space *space = NULL;
    CHECK_STATUS(tsl_space_create(vm, NULL, &space), TSL_OK);
    return space;
}

static void end(struct tsl_space *space)
{
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_SOUND(tsl_table_verify(tsl_space_table(space)));
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
}

static enum model_result load(unsigned cpu, tsl_vaddr address, bool as_user)
{
    unsigned char byte;
    model_set_user(cpu, as_user);
    enum model_result result = model_load(cpu, address, &byte, 1);
    model_set_user(cpu, false);
    return result;
}

static void a_kernel_page_made_later_is_in_every_space(void)
{
    struct tsl_space *copy = NULL;
    struct tsl_frame frame;
    begin();
    struct tsl_space *space = make();
    world_map(space, world.base, 2, RW);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_WRITE, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    switch_on(0, NULL, space);
    switch_on(1, NULL, copy);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    CHECK_STATUS(tsl_table_map(&kernel, kernel_page, tsl_frame_address(frame), PAGE, RW), TSL_OK);
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++) {
        CHECK_EQ(load(cpu, kernel_page, false), MODEL_OK);
        CHECK_EQ(load(cpu, kernel_page, true), MODEL_PROTECTION);
        CHECK_EQ(load(cpu, world.base, true), cpu == 0 ? MODEL_OK : MODEL_NOT_PRESENT);
    }
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_SOUND(tsl_space_verify(copy));
    CHECK_STATUS(tsl_table_unmap(&kernel, kernel_page, PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
        CHECK_EQ(load(cpu, kernel_page, false), MODEL_NOT_PRESENT);
    switch_on(0, space, NULL);
    switch_on(1, copy, NULL);
    end(space);
    end(copy);
    finish();
}

/* A CPU is asked to flush for a space exactly while it runs it. */
static void flushes_go_to_the_cpus_that_run_the_space(void)
{
    begin();
    struct tsl_space *one = make();
    struct tsl_space *other = make();
    world_map(one, world.base, 1, RW);
    world_map(other, world.base, 1, RW);
    switch_on(1, NULL, one);
    switch_on(1, one, one);
    CHECK(tsl_cpu_set_has(&tsl_space_table(one)->cpus, 1));
    CHECK(!tsl_cpu_set_has(&tsl_space_table(one)->cpus, 0));
    CHECK_STATUS(tsl_space_fault(one, world.base, TSL_WRITE, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_fault(other, world.base, TSL_WRITE, NULL), TSL_OK);
    CHECK_EQ(load(1, world.base, true), MODEL_OK);
    CHECK_STATUS(tsl_space_destroy(one), TSL_BUSY);

    unsigned kicks = host_port_kicks_sent();
    CHECK_STATUS(tsl_space_unmap(other, world.base, PAGE), TSL_OK);
    CHECK_EQ(host_port_kicks_sent(), kicks);
    CHECK_STATUS(tsl_space_protect(one, world.base, PAGE, TSL_READ), TSL_OK);
    CHECK_EQ(host_port_kicks_sent(), kicks + 1);

    switch_on(1, one, other);
    CHECK(tsl_cpu_set_is_empty(&tsl_space_table(one)->cpus));
    CHECK_STATUS(tsl_space_unmap(one, world.base, PAGE), TSL_OK);
    CHECK_EQ(host_port_kicks_sent(), kicks + 1);
    CHECK_EQ(load(1, world.base, true), MODEL_NOT_PRESENT);
    switch_on(1, other, NULL);
    end(one);
    end(other);
    finish();
}

/* ---- Memory of the kernel that programs see. ---- */

static unsigned releases;

static void count_release(void *context)
{
    releases += context == &releases;
}

/* Two pages of the kernel's, in frames that are not neighbours. */
static void map_kernel_pages(struct tsl_frame out[2], unsigned cache_of_second)
{
    struct tsl_frame between;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &out[0]), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &between), TSL_OK);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &out[1]), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, between, 0), TSL_OK);
    for (unsigned i = 0; i < 2; i++)
        CHECK_STATUS(tsl_table_map(&kernel, kernel_page + i * PAGE, tsl_frame_address(out[i]), PAGE,
                                   RW | (i == 1 ? cache_of_second : 0)),
                     TSL_OK);
}

static void unmap_kernel_pages(void)
{
    CHECK_STATUS(tsl_table_unmap(&kernel, kernel_page, 2 * PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
}

static struct tsl_object_config over_kernel_pages(void)
{
    releases = 0;
    return (struct tsl_object_config){.kind = TSL_OBJECT_KERNEL,
                                      .bytes = 2 * PAGE,
                                      .memory = (const void *)(uintptr_t)kernel_page,
                                      .released = count_release,
                                      .released_context = &releases};
}

static enum tsl_status map_shared(struct tsl_space *space, struct tsl_object *object,
                                  unsigned rights, unsigned flags)
{
    tsl_vaddr at;
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 2 * PAGE,
                                      .rights = rights,
                                      .flags = TSL_SPACE_FIXED | flags,
                                      .object = object};
    return tsl_space_map(space, &request, &at);
}

static void programs_see_the_kernels_memory(void)
{
    struct tsl_frame frame[2], pinned;
    struct tsl_object *object = NULL;
    struct tsl_space *copy = NULL;
    unsigned char byte = 7;
    begin();
    map_kernel_pages(frame, 0);
    unsigned char *second = tsl_port_phys_to_virt(tsl_frame_address(frame[1]));
    second[5] = 42;
    struct tsl_object_config config = over_kernel_pages();
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OK);
    struct tsl_space *space = make();
    CHECK_STATUS(map_shared(space, object, RW, 0), TSL_INVALID); /* there is no copy to write to */
    CHECK_STATUS(map_shared(space, object, TSL_READ | TSL_EXEC, TSL_SPACE_SHARED), TSL_DENIED);
    CHECK_STATUS(map_shared(space, object, RW, TSL_SPACE_SHARED), TSL_OK);
    tsl_object_put(object);
    switch_on(0, NULL, space);
    CHECK_STATUS(tsl_space_fault(space, world.base + PAGE, TSL_READ, NULL), TSL_OK);
    model_set_user(0, true);
    CHECK_EQ(model_load(0, world.base + PAGE + 5, &byte, 1), MODEL_OK);
    CHECK_EQ(byte, 42);
    byte = 43;
    CHECK_EQ(model_store(0, world.base + PAGE + 6, &byte, 1), MODEL_OK);
    CHECK_EQ(model_load(0, kernel_page + PAGE, &byte, 1), MODEL_PROTECTION);
    model_set_user(0, false);
    CHECK_EQ(second[6], 43);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_READ, NULL, &pinned), TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_STATUS(tsl_space_fault(copy, world.base + PAGE, TSL_WRITE, NULL), TSL_OK);
    CHECK_SOUND(tsl_space_verify(copy));
    CHECK_STATUS(tsl_space_protect(space, world.base, 2 * PAGE, TSL_READ), TSL_OK);
    model_set_user(0, true);
    CHECK_EQ(model_store(0, world.base + PAGE + 6, &byte, 1), MODEL_PROTECTION);
    model_set_user(0, false);
    CHECK_STATUS(tsl_space_unmap(space, world.base, 2 * PAGE), TSL_OK);
    CHECK_EQ(load(0, world.base + PAGE, true), MODEL_NOT_PRESENT);
    switch_on(0, space, NULL);
    CHECK_EQ(releases, 0); /* the copy shows it */
    end(space);
    end(copy);
    CHECK_EQ(releases, 1);
    unmap_kernel_pages();
    finish();
}

/* What the kernel shows may be a page that it has pinned for itself: its own space counts it, and
 * nobody else does. */
static void a_pinned_page_is_shown_uncounted(void)
{
    struct tsl_frame frame, other;
    struct tsl_object *object = NULL;
    begin();
    struct tsl_space *owner = make(), *space = make();
    world_map(owner, world.base, 1, RW);
    CHECK_STATUS(tsl_space_pin(owner, world.base, TSL_WRITE, NULL, &frame), TSL_OK);
    CHECK_STATUS(tsl_table_map(&kernel, kernel_page, tsl_frame_address(frame), PAGE, RW), TSL_OK);
    struct tsl_object_config config = over_kernel_pages();
    config.bytes = PAGE;
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OK);
    tsl_vaddr at;
    struct tsl_map_request request = {
        .bytes = PAGE, .rights = RW, .flags = TSL_SPACE_SHARED, .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    tsl_object_put(object);
    CHECK_STATUS(tsl_space_fault(space, at, TSL_WRITE, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, at, TSL_READ, NULL, &other), TSL_UNSUPPORTED);
    CHECK_SOUND(tsl_space_verify(space));
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(vm, frame);
    CHECK_EQ(tsl_descriptor_maps(descriptor), 1);
    CHECK_STATUS(tsl_space_unmap(owner, world.base, PAGE), TSL_OK);
    CHECK_EQ(tsl_descriptor_maps(descriptor), 0);
    CHECK_SOUND(tsl_space_verify(space)); /* an entry that leads there, and is no map */
    CHECK_STATUS(tsl_space_unmap(space, at, PAGE), TSL_OK);
    CHECK_EQ(releases, 1);
    CHECK_STATUS(tsl_table_unmap(&kernel, kernel_page, PAGE, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(owner, frame), TSL_OK);
    end(space);
    end(owner);
    finish();
}

/* The kernel may have its memory in large pages, where there are any; a program sees the part that
 * it is shown. */
static void a_part_of_a_large_page_is_shown(void)
{
    struct tsl_frame frame;
    struct tsl_object *object = NULL;
    struct tsl_mapping entry;
    begin();
    size_t large = (size_t)tsl_table_format_page_bytes(machine_format(), 1);
    unsigned order = large == 4u << 20 ? 10 : 9;
    tsl_vaddr start = tsl_align_up_vaddr(kernel_page, large), at;
    CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_OK);
    CHECK_STATUS(tsl_table_map(&kernel, start, tsl_frame_address(frame), large, RW | TSL_MAP_LARGE),
                 TSL_OK);
    struct tsl_object_config config = over_kernel_pages();
    config.memory = (const void *)(uintptr_t)(start + 5 * PAGE);
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OK);
    struct tsl_space *space = make();
    struct tsl_map_request request = {
        .bytes = 2 * PAGE, .rights = TSL_READ, .flags = TSL_SPACE_SHARED, .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    tsl_object_put(object);
    CHECK_STATUS(tsl_space_fault(space, at + PAGE, TSL_READ, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_query(tsl_space_table(space), at + PAGE, &entry), TSL_OK);
    CHECK_EQ(entry.target, tsl_frame_address(frame) + 6 * PAGE);
    end(space);
    CHECK_EQ(releases, 1);
    CHECK_STATUS(tsl_table_unmap(&kernel, start, large, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, order), TSL_OK);
    finish();
}

static void memory_of_the_kernel_is_looked_at(void)
{
    struct tsl_frame frame[2];
    struct tsl_object *object = NULL;
    begin();
    map_kernel_pages(frame, TSL_CACHE_UNCACHED);
    struct tsl_object_config config = over_kernel_pages();
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_INVALID); /* two cache types */
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_UNSUPPORTED);
    config.bytes = 3 * PAGE;
    config.memory = (const void *)(uintptr_t)(kernel_page + PAGE);
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_NOT_FOUND);
    config.memory = (const void *)(uintptr_t)(kernel_page + 1);
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_MISALIGNED);
    config.memory = (const void *)(uintptr_t)(0 - (tsl_vaddr)PAGE);
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OUT_OF_RANGE);
    config.memory = (const void *)(uintptr_t)world.base;
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OUT_OF_RANGE);
    CHECK_SAME(object, NULL);
    CHECK_EQ(releases, 0);

    /* The second page alone has one cache type, and programs get it. */
    config.bytes = PAGE;
    config.memory = (const void *)(uintptr_t)(kernel_page + PAGE);
    CHECK_STATUS(tsl_object_create(vm, &config, &object), TSL_OK);
    struct tsl_space *space = make();
    struct tsl_mapping entry;
    tsl_vaddr at;
    struct tsl_map_request request = {
        .bytes = PAGE, .rights = TSL_READ, .flags = TSL_SPACE_SHARED, .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    CHECK_STATUS(tsl_space_fault(space, at, TSL_READ, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_query(tsl_space_table(space), at, &entry), TSL_OK);
    CHECK_EQ(entry.target, tsl_frame_address(frame[1]));
    CHECK_EQ(entry.attributes & TSL_CACHE_MASK, TSL_CACHE_UNCACHED);
    CHECK_STATUS(tsl_space_unmap(space, at, PAGE), TSL_OK);

    /* A kernel that breaks its word: the program's fault says so. */
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    unmap_kernel_pages();
    CHECK_STATUS(tsl_space_fault(space, at, TSL_READ, NULL), TSL_NOT_FOUND);
    end(space);
    tsl_object_put(object);
    CHECK_EQ(releases, 1);
    finish();
}

static void a_vm_refuses_what_is_no_kernel_table(void)
{
    struct tsl_vm *other = NULL;
    begin();
    struct tsl_space *space = make();
    struct tsl_vm_config config = {.frames = world.frames,
                                   .heap = world.heap,
                                   .format = machine_format(),
                                   .features = *machine_features(),
                                   .kernel_table = tsl_space_table(space)};
    CHECK_STATUS(tsl_vm_create(&config, &other), TSL_INVALID);
    CHECK_SAME(other, NULL);
    end(space);
    finish();
}

TAP_SUITE(space_switch, TAP_TEST(a_kernel_page_made_later_is_in_every_space),
          TAP_TEST(flushes_go_to_the_cpus_that_run_the_space),
          TAP_TEST(programs_see_the_kernels_memory), TAP_TEST(a_pinned_page_is_shown_uncounted),
          TAP_TEST(a_part_of_a_large_page_is_shown),
          TAP_TEST(memory_of_the_kernel_is_looked_at),
          TAP_TEST(a_vm_refuses_what_is_no_kernel_table));
