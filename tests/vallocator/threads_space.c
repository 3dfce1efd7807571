/* SPDX-License-Identifier: MIT
 *
 * threads_space.c: CPUs that fault on one space, and on copies that share pages, at the same time;
 * and that do all there is to do to one space, in each other's way.
 *
 * Owns:    suite threads_space.
 * Needs:   space_world.h, host_port.h; threads of the C library.
 * Callers: the host test runner, also under the thread sanitizer.
 */
#include "space_world.h"

#include "host_port.h"
#include "rng.h"

#include <tesela/cpu.h>
#include <tesela/port.h>

#include <pthread.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES, PAGES = 80, THREADS = WORLD_CPUS };

#define ROUNDS tap_rounds(40)

static struct tsl_space *space; /* both work on it */
static struct tsl_space *copy[THREADS];
static uint32_t at_gate[THREADS];
static uint32_t working;

static void meet(unsigned cpu, uint32_t step)
{
    tsl_atomic_store_release_u32(&at_gate[cpu], step);
    for (unsigned other = 0; other < THREADS; other++)
        while (tsl_atomic_load_acquire_u32(&at_gate[other]) < step)
            host_port_wait();
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

/* ---- Everything at once: nobody knows what he finds, so only the rules are checked. ---- */

enum { MESS_PAGES = 40 };

static tsl_word handle[THREADS]; /* of each CPU's published object, 0: none */

static enum tsl_status map_something(struct rng *rng, struct tsl_object *object, tsl_vaddr at,
                                     size_t bytes)
{
    static const unsigned flags[] = {0, TSL_SPACE_FIXED, TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE,
                                     TSL_SPACE_FIXED | TSL_SPACE_POPULATE,
                                     TSL_SPACE_FIXED | TSL_SPACE_GUARDED};
    struct tsl_map_request request = {.address = at,
                                      .bytes = bytes,
                                      .rights = rng_below(rng, 2) ? RW : TSL_READ,
                                      .flags = flags[rng_below(rng, TSL_COUNT_OF(flags))]};
    if (object && bytes <= 8 * PAGE && rng_below(rng, 2)) {
        request.object = object;
        request.flags |= rng_below(rng, 2) ? TSL_SPACE_SHARED : 0;
    } else if (rng_below(rng, 8) == 0) {
        request.flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN;
        request.stack_bytes = 16 * PAGE;
    }
    return tsl_space_map(space, &request, &at);
}

static struct tsl_frame held[THREADS]; /* pinned by each CPU; none: nothing is */

static enum tsl_status unpin_held(unsigned cpu)
{
    struct tsl_frame frame = held[cpu];
    held[cpu] = (struct tsl_frame){0};
    return tsl_frame_is_none(frame) ? TSL_OK : tsl_space_unpin(space, frame);
}

/* Whatever becomes of the page until the next time: the pin is still there to be undone. */
static enum tsl_status pin_something(unsigned cpu, tsl_vaddr at, unsigned access)
{
    CHECK_STATUS(unpin_held(cpu), TSL_OK);
    return tsl_space_pin(space, at, access, NULL, &held[cpu]);
}

static enum tsl_status move_something(struct rng *rng, tsl_vaddr at, size_t bytes)
{
    struct tsl_remap_request request = {.start = at,
                                        .bytes = bytes,
                                        .new_bytes = (1 + rng_below(rng, 8)) * PAGE,
                                        .address = world.base + (256 + rng_below(rng, 48)) * PAGE,
                                        .flags = rng_below(rng, 2) ? TSL_SPACE_FIXED
                                                                   : TSL_SPACE_MAY_MOVE};
    return tsl_space_remap(space, &request, &at);
}

static enum tsl_status copy_and_write(tsl_vaddr at)
{
    struct tsl_space *twin = NULL;
    enum tsl_status status = tsl_space_copy(space, &twin);
    if (status != TSL_OK)
        return status;
    (void)!tsl_space_fault(twin, at, TSL_WRITE, NULL);
    return tsl_space_destroy(twin);
}

/* Finds another CPU's object by its number, if it still has one, and shows it. */
static enum tsl_status share_something(struct rng *rng, unsigned cpu, struct tsl_object *own,
                                       tsl_vaddr at)
{
    struct tsl_object *found = NULL;
    const struct tsl_object_grant grant = {cpu, RW, RW};
    tsl_word number = 0;
    enum tsl_status status = tsl_object_publish(own, &grant, &number);
    tsl_atomic_store(&handle[cpu], number);
    if (status == TSL_OK)
        status = tsl_object_find(world.vm, tsl_atomic_load(&handle[rng_below(rng, THREADS)]), cpu,
                                 RW, &found);
    if (found) {
        status = map_something(rng, found, at, PAGE);
        tsl_object_put(found);
    }
    CHECK_STATUS(tsl_object_withdraw(world.vm, number, cpu), TSL_OK);
    return status;
}

static enum tsl_status do_something(struct rng *rng, unsigned cpu, struct tsl_object *object)
{
    tsl_vaddr at = world.base + (256 + rng_below(rng, MESS_PAGES)) * PAGE;
    size_t bytes = (1 + rng_below(rng, 8)) * PAGE;
    struct tsl_page_info info;
    switch (rng_below(rng, 12)) {
    case 0:
        return map_something(rng, object, at, bytes);
    case 1:
        return tsl_space_unmap(space, at, bytes);
    case 2:
        return tsl_space_protect(space, at, bytes, rng_below(rng, 2) ? RW : TSL_READ);
    case 3:
        return tsl_space_advise(space, at, bytes, (enum tsl_advice)rng_below(rng, 4));
    case 4:
        return tsl_space_lock_pages(space, at, PAGE);
    case 5:
        return tsl_space_unlock_pages(space, at, bytes);
    case 6:
        return pin_something(cpu, at, rng_below(rng, 2) ? TSL_READ : TSL_WRITE);
    case 7:
        return move_something(rng, at, bytes);
    case 8:
        return copy_and_write(at);
    case 9:
        return share_something(rng, cpu, object, at);
    case 10:
        return tsl_space_query(space, at, &info);
    default:
        return tsl_space_fault(space, at, rng_below(rng, 2) ? TSL_READ : TSL_WRITE, NULL);
    }
}

/* What the calls above may say where others change everything meanwhile. */
static bool is_expected(enum tsl_status status)
{
    return status == TSL_OK || status == TSL_NOT_FOUND || status == TSL_DENIED ||
           status == TSL_EXISTS || status == TSL_OVERLAP || status == TSL_LIMIT ||
           status == TSL_OUT_OF_RANGE || status == TSL_NO_MEMORY ||
           status == TSL_INVALID /* a stack that should become longer */;
}

static void make_a_mess(unsigned cpu)
{
    struct rng rng = rng_start(20 + cpu);
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 8 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    meet(cpu, 1);
    for (uint32_t round = 0; round < 20 * ROUNDS && !tap_is_late(); round++) {
        enum tsl_status status = do_something(&rng, cpu, object);
        if (!is_expected(status))
            CHECK_STATUS(status, TSL_OK);
    }
    CHECK_STATUS(unpin_held(cpu), TSL_OK);
    tsl_object_put(object);
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
    while (tsl_atomic_load_u32(&working) > 0)
        host_port_wait();
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

static void everything_is_done_at_once(void)
{
    begin();
    run_on_all(make_a_mess);
    CHECK_SOUND(tsl_space_verify(space));
    const size_t from = 256 * PAGE, bytes = 256 * PAGE; /* whatever is left there */
    tsl_vaddr out;
    struct tsl_map_request any = {
        .address = world.base + from, .bytes = bytes, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &any, &out), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_EQ(space->pins, 0);
    finish();
}

TAP_SUITE(threads_space, TAP_TEST(copies_are_written_at_once),
          TAP_TEST(one_space_is_changed_at_once), TAP_TEST(everything_is_done_at_once));
