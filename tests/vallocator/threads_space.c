/* SPDX-License-Identifier: MIT
 *
 * threads_space.c: CPUs that fault on one space, and on copies that share pages, at the same time.
 *
 * Owns:    suite threads_space.
 * Needs:   space_world.h, host_port.h; threads of the C library.
 * Callers: the host test runner, also under the thread sanitizer.
 */
#include "space_world.h"

#include "host_port.h"

#include <tesela/cpu.h>
#include <tesela/port.h>

#include <pthread.h>
#include <sched.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, PAGES = 80, THREADS = 2 };

#define ROUNDS tap_rounds(40)

static struct tsl_space *space; /* both work on it */
static struct tsl_space *copy[THREADS];
static uint32_t at_gate[THREADS];
static uint32_t working;

static void meet(unsigned cpu, uint32_t step)
{
    tsl_atomic_store_release_u32(&at_gate[cpu], step);
    for (unsigned other = 0; other < THREADS; other++) {
        while (tsl_atomic_load_acquire_u32(&at_gate[other]) < step) {
            host_port_poll();
            (void)sched_yield();
        }
    }
}

/* The frame behind a page of the layer, read through the direct map; NULL: not in a frame. */
static unsigned char *memory_of(struct tsl_space *of, size_t page)
{
    tsl_slot slot = tsl_slots_get(&of->layer, (world.base >> TSL_PAGE_SHIFT) + page);
    if (tsl_slot_type_of(slot) != TSL_SLOT_FRAME)
        return NULL;
    return tsl_port_phys_to_virt(tsl_frame_address(tsl_vm_frame_of(slot)));
}

/* Each CPU has a copy of the same space and writes to every page of it: whoever comes first copies,
 * whoever comes last may keep the page, and nobody sees the other's byte. */
static void write_copies(unsigned cpu)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        meet(cpu, 3 * round + 1);
        for (size_t page = 0; page < PAGES; page++) {
            tsl_vaddr address = world.base + (cpu ? PAGES - 1 - page : page) * PAGE;
            CHECK_STATUS(tsl_space_fault(copy[cpu], address, TSL_WRITE, NULL), TSL_OK);
            unsigned char *memory = memory_of(copy[cpu], cpu ? PAGES - 1 - page : page);
            CHECK(memory && memory[0] == 1);
            if (memory)
                memory[0] = (unsigned char)(10 + cpu);
        }
        CHECK_SOUND(tsl_slots_verify(&copy[cpu]->layer));
        meet(cpu, 3 * round + 2);
        for (size_t page = 0; page < PAGES; page++) {
            unsigned char *memory = memory_of(copy[cpu], page);
            CHECK(memory && memory[0] == 10 + cpu);
        }
        CHECK_STATUS(tsl_space_destroy(copy[cpu]), TSL_OK);
        meet(cpu, 3 * round + 3);
        CHECK_STATUS(tsl_space_copy(space, &copy[cpu]), TSL_OK);
    }
}

/* Both CPUs map, fault, protect, copy and unmap in the same space, each in its own half. */
static void share_a_space(unsigned cpu)
{
    tsl_vaddr own = world.base + (256 + cpu * 64) * (tsl_vaddr)PAGE;
    meet(cpu, 1);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct tsl_space *twin = NULL;
        world_map(space, own, 8, RW);
        for (size_t page = 0; page < 8; page++)
            CHECK_STATUS(tsl_space_fault(space, own + page * PAGE, TSL_WRITE, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_protect(space, own + 2 * PAGE, 2 * PAGE, TSL_READ), TSL_OK);
        CHECK_STATUS(tsl_space_copy(space, &twin), TSL_OK);
        CHECK_STATUS(tsl_space_fault(space, own, TSL_WRITE, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_fault(twin, own + PAGE, TSL_WRITE, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_unmap(space, own, 8 * PAGE), TSL_OK);
        CHECK_SOUND(tsl_slots_verify(&twin->layer));
        CHECK_STATUS(tsl_space_destroy(twin), TSL_OK);
    }
}

struct job {
    unsigned cpu;
    void (*work)(unsigned cpu);
};

static void *run_job(void *argument)
{
    const struct job *job = argument;
    host_port_set_cpu(job->cpu);
    job->work(job->cpu);
    (void)tsl_atomic_sub_u32(&working, 1);
    while (tsl_atomic_load_u32(&working) > 0) {
        host_port_poll();
        (void)sched_yield();
    }
    return NULL;
}

static void run_on_all(void (*work)(unsigned cpu))
{
    pthread_t thread[THREADS];
    struct job job[THREADS];
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    tsl_atomic_store_u32(&working, THREADS);
    for (unsigned cpu = 0; cpu < THREADS; cpu++) {
        tsl_atomic_store_u32(&at_gate[cpu], 0);
        job[cpu] = (struct job){cpu, work};
    }
    for (unsigned cpu = 1; cpu < THREADS; cpu++)
        CHECK_EQ(pthread_create(&thread[cpu], NULL, run_job, &job[cpu]), 0);
    (void)run_job(&job[0]);
    for (unsigned cpu = 1; cpu < THREADS; cpu++)
        CHECK_EQ(pthread_join(thread[cpu], NULL), 0);
    host_port_set_cpu(0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
}

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    world_map(space, world.base, PAGES, RW);
    for (size_t page = 0; page < PAGES; page++)
        CHECK_STATUS(world_store(0, space, world.base + page * PAGE, 1), TSL_OK);
    for (unsigned cpu = 0; cpu < THREADS; cpu++)
        CHECK_STATUS(tsl_space_copy(space, &copy[cpu]), TSL_OK);
}

static void finish(void)
{
    for (unsigned cpu = 0; cpu < THREADS; cpu++)
        world_destroy(copy[cpu]);
    for (size_t page = 0; page < PAGES; page++)
        CHECK(memory_of(space, page) && memory_of(space, page)[0] == 1);
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

static void copies_are_written_at_once(void)
{
    begin();
    run_on_all(write_copies);
    finish();
}

static void one_space_is_changed_at_once(void)
{
    begin();
    run_on_all(share_a_space);
    CHECK_EQ(world_usage().counted, PAGES);
    finish();
}

TAP_SUITE(threads_space, TAP_TEST(copies_are_written_at_once),
          TAP_TEST(one_space_is_changed_at_once));
