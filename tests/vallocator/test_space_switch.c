/* SPDX-License-Identifier: MIT
 *
 * test_space_switch.c: spaces that show the kernel's half, and CPUs that go from one to another.
 *
 * Owns:    suite space_switch.
 * Needs:   space_world.h; a second vm beside the world's, whose spaces show a kernel table.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "host_port.h"
#include "machine.h"

#include <host/model_cpu.h>
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
          TAP_TEST(a_vm_refuses_what_is_no_kernel_table));
