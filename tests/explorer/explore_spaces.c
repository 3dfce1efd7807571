/* SPDX-License-Identifier: MIT
 *
 * explore_spaces.c: CPUs that use spaces while others map, protect, copy and move, in every order.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, machine.h, model_cpu.h, vallocator.
 * Callers: the test runner.
 */
#include "explorer.h"

#include <string.h>

#include <host/model_cpu.h>
#include <tesela/port.h>

#include "host_port.h"
#include "machine.h"
#include "spaces/space_internal.h"
#include "tap.h"

enum { CPUS = 3, PAGE = TSL_PAGE_BYTES, HEAP_BYTES = 1 << 17, BASE = 0x10000000 };

#define RW (TSL_READ | TSL_WRITE)

static TSL_ALIGNED(4096) unsigned char heap_memory[HEAP_BYTES];
static struct tsl_frames *frames;
static struct tsl_heap *heap;
static struct tsl_vm *vm;
static struct tsl_space *space; /* what CPUs run, unless a case says otherwise */
static struct tsl_space *twin;
static struct tsl_space *running[CPUS];
static tsl_word free_at_start;
static bool done; /* the change has returned */

static void run_on(unsigned cpu, struct tsl_space *which)
{
    host_port_set_cpu(cpu);
    if (which)
        tsl_table_switch_to(tsl_space_table(which));
    else
        tsl_arch_switch_root(0);
    if (running[cpu])
        tsl_table_left(tsl_space_table(running[cpu]));
    model_set_user(cpu, true);
    running[cpu] = which;
    host_port_set_cpu(0);
}

static void map(struct tsl_space *into, tsl_vaddr at, struct tsl_object *object, unsigned flags)
{
    tsl_vaddr out;
    struct tsl_map_request request = {.address = at,
                                      .bytes = 2 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | flags,
                                      .object = object};
    EXPLORER_REQUIRE(tsl_space_map(into, &request, &out) == TSL_OK);
}

/* One access of a program: faults are handed to the space. */
static enum tsl_status access(unsigned cpu, tsl_vaddr address, unsigned right, unsigned char *byte)
{
    for (unsigned tries = 0; tries < 16; tries++) {
        explorer_point();
        explorer_hold();
        enum model_result result = right == TSL_WRITE ? model_store(cpu, address, byte, 1)
                                                      : model_load(cpu, address, byte, 1);
        explorer_release();
        if (result == MODEL_OK)
            return TSL_OK;
        EXPLORER_REQUIRE(result == MODEL_NOT_PRESENT || result == MODEL_PROTECTION);
        enum tsl_status status = tsl_space_fault(running[cpu], address, right, NULL);
        if (status != TSL_OK)
            return status;
    }
    EXPLORER_REQUIRE(false); /* a fault that is answered lets the access through */
    return TSL_CORRUPT;
}

static enum tsl_status store(unsigned cpu, tsl_vaddr address, unsigned char byte)
{
    return access(cpu, address, TSL_WRITE, &byte);
}

static unsigned char load(unsigned cpu, tsl_vaddr address)
{
    unsigned char byte = 0xEE;
    EXPLORER_REQUIRE(access(cpu, address, TSL_READ, &byte) == TSL_OK);
    return byte;
}

/* Two private pages with 1 in each, in a space that all CPUs run and have in their TLBs. */
static void setup(void)
{
    struct machine_config machine = {.ram = {{0, 2 << 20}}, .cpus = CPUS, .descriptors = true};
    EXPLORER_REQUIRE(machine_create(&machine));
    frames = machine_frames();
    EXPLORER_REQUIRE(tsl_heap_create_fixed(heap_memory, sizeof(heap_memory), &heap) == TSL_OK);
    free_at_start = tsl_frames_free_count(frames);
    struct tsl_vm_config config = {.frames = frames,
                                   .heap = heap,
                                   .format = machine_format(),
                                   .features = *machine_features()};
    EXPLORER_REQUIRE(tsl_vm_create(&config, &vm) == TSL_OK);
    EXPLORER_REQUIRE(tsl_space_create(vm, NULL, &space) == TSL_OK);
    map(space, BASE, NULL, 0);
    done = false;
    twin = NULL;
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        running[cpu] = NULL;
        run_on(cpu, space);
        host_port_set_cpu(cpu);
        for (unsigned i = 0; i < 2; i++)
            EXPLORER_REQUIRE(store(cpu, BASE + i * PAGE, 1) == TSL_OK);
    }
    host_port_set_cpu(0);
}

static void end(struct tsl_space *which)
{
    EXPLORER_REQUIRE(tsl_space_verify(which).rule == 0);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        if (running[cpu] == which)
            run_on(cpu, NULL);
    EXPLORER_REQUIRE(tsl_space_destroy(which) == TSL_OK);
}

/* Nothing is left, and nobody reached what was free. */
static void check(void)
{
    struct model_counters counters;
    model_counters(&counters);
    EXPLORER_REQUIRE(counters.freed_frames == 0);
    EXPLORER_REQUIRE(counters.freed_tables == 0);
    EXPLORER_REQUIRE(counters.reserved == 0);
    if (twin)
        end(twin);
    end(space);
    EXPLORER_REQUIRE(vm->frames == 0);
    EXPLORER_REQUIRE(tsl_vm_destroy(vm) == TSL_OK);
    EXPLORER_REQUIRE(tsl_frames_free_count(frames) == free_at_start);
    EXPLORER_REQUIRE(tsl_heap_destroy(heap) == TSL_OK);
    machine_destroy();
}

static void explore(const struct explorer_case *subject, enum explorer_fault fault)
{
    CHECK(!explorer_finds(subject, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(subject, fault));
}

/* ---- Pages go while others use them. ---- */

static void unmap_body(unsigned cpu)
{
    if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_space_unmap(space, BASE, 2 * PAGE) == TSL_OK);
        done = true;
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        bool was_done = done;
        enum tsl_status status = store(cpu, BASE + (i + cpu) % 2 * PAGE, 2);
        EXPLORER_REQUIRE(status == (was_done ? TSL_NOT_FOUND : status));
        EXPLORER_REQUIRE(status == TSL_OK || status == TSL_NOT_FOUND);
    }
}

static const struct explorer_case unmap_case = {"unmap", CPUS, 1, setup, check, unmap_body};

static void nobody_writes_to_what_was_unmapped(void)
{
    explore(&unmap_case, EXPLORER_LATE_FLUSH);
}

/* ---- Pages go while others come and leave: what they remember of the space stays meanwhile.
 * ---- */

static void visit(unsigned cpu, struct tsl_space *which)
{
    tsl_pin pin = tsl_port_pin();
    tsl_table_switch_to(tsl_space_table(which));
    tsl_table_left(tsl_space_table(running[cpu]));
    running[cpu] = which;
    tsl_port_unpin(pin);
}

static void visit_setup(void)
{
    setup();
    EXPLORER_REQUIRE(tsl_space_create(vm, NULL, &twin) == TSL_OK);
    map(twin, BASE, NULL, 0);
}

static void visit_body(unsigned cpu)
{
    if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_space_unmap(space, BASE, 2 * PAGE) == TSL_OK);
        done = true;
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        visit(cpu, twin);
        explorer_point();
        visit(cpu, space);
        bool was_done = done;
        enum tsl_status status = store(cpu, BASE + (i + cpu) % 2 * PAGE, 2);
        EXPLORER_REQUIRE(status == (was_done ? TSL_NOT_FOUND : status));
        EXPLORER_REQUIRE(status == TSL_OK || status == TSL_NOT_FOUND);
    }
}

static const struct explorer_case visit_case = {"visit", CPUS, 1, visit_setup, check, visit_body};

static void nobody_comes_back_to_what_was_unmapped(void)
{
    CHECK(!explorer_finds(&visit_case, EXPLORER_NO_FAULT));
    /* Without tags nothing is remembered by who comes back: a flush is late for nobody. */
    if (sizeof(void *) == 8)
        CHECK(explorer_finds(&visit_case, EXPLORER_LATE_FLUSH));
}

/* ---- Rights go; another CPU asks for the same. ---- */

static void protect_body(unsigned cpu)
{
    if (cpu < 2) {
        EXPLORER_REQUIRE(tsl_space_protect(space, BASE, (1 + cpu) * PAGE, TSL_READ) == TSL_OK);
        done = true;
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        bool was_done = done;
        enum tsl_status status = store(cpu, BASE, 2);
        EXPLORER_REQUIRE(status == (was_done ? TSL_DENIED : status));
    }
}

static const struct explorer_case protect_case = {"protect", CPUS, 1, setup, check, protect_body};

static void nobody_writes_to_what_is_read_only(void)
{
    explore(&protect_case, EXPLORER_LATE_FLUSH);
}

/* ---- A copy is what was there at one moment. ---- */

static unsigned char seen[2]; /* in the copy, when it had been made */

static unsigned char byte_in_twin(unsigned page)
{
    tsl_slot slot = tsl_slots_get(&twin->layer, (BASE >> TSL_PAGE_SHIFT) + page);
    EXPLORER_REQUIRE(tsl_slot_type_of(slot) == TSL_SLOT_FRAME);
    return *(unsigned char *)tsl_port_phys_to_virt(tsl_frame_address(tsl_vm_frame_of(slot)));
}

static void copy_body(unsigned cpu)
{
    if (cpu == 0) {
        struct tsl_space *copy;
        EXPLORER_REQUIRE(tsl_space_copy(space, &copy) == TSL_OK);
        twin = copy;
        for (unsigned i = 0; i < 2; i++)
            seen[i] = byte_in_twin(i);
        return;
    }
    for (unsigned char value = 2; cpu == 1 && value < 4; value++) {
        EXPLORER_REQUIRE(store(cpu, BASE, value) == TSL_OK);
        EXPLORER_REQUIRE(store(cpu, BASE + PAGE, value) == TSL_OK);
    }
    if (cpu == 2)
        (void)load(cpu, BASE);
}

static void copy_check(void)
{
    for (unsigned i = 0; i < 2; i++)
        EXPLORER_REQUIRE(byte_in_twin(i) == seen[i]);
    EXPLORER_REQUIRE(seen[0] == seen[1] || seen[0] == seen[1] + 1); /* the first is written first */
    EXPLORER_REQUIRE(load(1, BASE) == 3 && load(1, BASE + PAGE) == 3);
    check();
}

static const struct explorer_case copy_case = {"copy", CPUS, 2, setup, copy_check, copy_body};

static void a_copy_does_not_change_afterwards(void)
{
    explore(&copy_case, EXPLORER_LATE_FLUSH);
}

/* ---- Both sides of a copy write, while one more side goes away. ---- */

static struct tsl_space *third;

static void share_setup(void)
{
    setup();
    EXPLORER_REQUIRE(tsl_space_copy(space, &twin) == TSL_OK);
    EXPLORER_REQUIRE(tsl_space_copy(twin, &third) == TSL_OK);
    run_on(2, twin);
    run_on(0, NULL);
}

static void share_body(unsigned cpu)
{
    if (cpu == 0)
        EXPLORER_REQUIRE(tsl_space_destroy(third) == TSL_OK);
    else
        EXPLORER_REQUIRE(store(cpu, BASE, (unsigned char)(10 + cpu)) == TSL_OK);
}

static void share_check(void)
{
    EXPLORER_REQUIRE(load(1, BASE) == 11 && load(1, BASE + PAGE) == 1);
    EXPLORER_REQUIRE(load(2, BASE) == 12 && load(2, BASE + PAGE) == 1);
    check();
}

static const struct explorer_case share_case = {"share",     CPUS,        2,
                                                share_setup, share_check, share_body};

static void each_side_of_a_copy_has_its_own(void)
{
    explore(&share_case, EXPLORER_TORN_ADD);
}

/* ---- Dirty COW: a private page is written and forgotten; the object must not see it. ---- */

static struct tsl_object *object;

static void dirty_setup(void)
{
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 2 * PAGE};
    setup();
    EXPLORER_REQUIRE(tsl_object_create(vm, &config, &object) == TSL_OK);
    map(space, BASE + 16 * PAGE, object, TSL_SPACE_SHARED);
    map(space, BASE + 32 * PAGE, object, 0);
    tsl_object_put(object);
    EXPLORER_REQUIRE(store(0, BASE + 16 * PAGE, 5) == TSL_OK);
    host_port_set_cpu(1);
    EXPLORER_REQUIRE(store(1, BASE + 32 * PAGE, 7) == TSL_OK);
    host_port_set_cpu(0);
}

static void dirty_body(unsigned cpu)
{
    if (cpu == 0) {
        EXPLORER_REQUIRE(
            tsl_space_advise(space, BASE + 32 * PAGE, 2 * PAGE, TSL_ADVISE_DONT_NEED) == TSL_OK);
    } else if (cpu == 1) {
        for (unsigned char value = 8; value < 10; value++)
            EXPLORER_REQUIRE(store(cpu, BASE + 32 * PAGE, value) == TSL_OK);
    } else {
        EXPLORER_REQUIRE(load(cpu, BASE + 16 * PAGE) == 5);
        unsigned char byte = load(cpu, BASE + 32 * PAGE);
        EXPLORER_REQUIRE(byte == 5 || (byte >= 7 && byte <= 9));
    }
}

static void dirty_check(void)
{
    EXPLORER_REQUIRE(load(0, BASE + 16 * PAGE) == 5);
    check();
}

static const struct explorer_case dirty_case = {"dirty",     CPUS,        1,
                                                dirty_setup, dirty_check, dirty_body};

static void a_private_write_stays_private(void)
{
    explore(&dirty_case, EXPLORER_LATE_FLUSH);
}

/* ---- Pages move while others write to them. ---- */

static void move_body(unsigned cpu)
{
    if (cpu == 0) {
        tsl_vaddr out;
        struct tsl_remap_request request = {.start = BASE,
                                            .bytes = 2 * PAGE,
                                            .new_bytes = 2 * PAGE,
                                            .address = BASE + 8 * PAGE,
                                            .flags = TSL_SPACE_FIXED};
        EXPLORER_REQUIRE(tsl_space_remap(space, &request, &out) == TSL_OK);
        done = true;
        return;
    }
    bool was_done = false;
    for (unsigned i = 0; i < 3; i++) {
        was_done = done;
        enum tsl_status before = store(cpu, BASE + (cpu - 1) * PAGE, 20);
        EXPLORER_REQUIRE(before == (was_done ? TSL_NOT_FOUND : before));
    }
    enum tsl_status behind = store(cpu, BASE + (7 + cpu) * PAGE, 21);
    EXPLORER_REQUIRE(behind == (was_done ? TSL_OK : behind));
    if (behind == TSL_OK)
        EXPLORER_REQUIRE(load(cpu, BASE + (7 + cpu) * PAGE) == 21);
}

static void move_check(void)
{
    for (unsigned i = 0; i < 2; i++)
        EXPLORER_REQUIRE(load(1, BASE + (8 + i) * PAGE) == 1 ||
                         load(1, BASE + (8 + i) * PAGE) >= 20);
    check();
}

static const struct explorer_case move_case = {"move", CPUS, 1, setup, move_check, move_body};

static void pages_move_under_their_users(void)
{
    explore(&move_case, EXPLORER_LATE_FLUSH);
}

/* ---- A page on its way out: who wants it waits until it is back. ---- */

static struct tsl_frame_descriptor *leaving;

static void freeze_setup(void)
{
    setup();
    size_t page = BASE >> TSL_PAGE_SHIFT;
    leaving = tsl_vm_descriptor(vm, tsl_vm_frame_of(tsl_slots_get(&space->layer, page)));
    tsl_space_unhook(space, page, page + 1);
}

static void freeze_body(unsigned cpu)
{
    if (cpu == 0) {
        if (!tsl_descriptor_freeze(leaving))
            return;
        EXPLORER_REQUIRE(tsl_descriptor_maps(leaving) == 0);
        explorer_point();
        EXPLORER_REQUIRE(tsl_descriptor_maps(leaving) == 0);
        tsl_descriptor_thaw(leaving);
        return;
    }
    EXPLORER_REQUIRE(store(cpu, BASE, (unsigned char)(30 + cpu)) == TSL_OK);
}

static void freeze_check(void)
{
    EXPLORER_REQUIRE(load(1, BASE) > 30 && tsl_descriptor_maps(leaving) == 1);
    check();
}

static const struct explorer_case freeze_case = {"freeze",     CPUS,         1,
                                                 freeze_setup, freeze_check, freeze_body};

static void a_page_on_its_way_out_is_waited_for(void)
{
    explore(&freeze_case, EXPLORER_TORN_COMPARE);
}

/* ---- While nobody maps a page, nobody writes to it, also with an entry that has just gone.
 * ---- */

static void evict_body(unsigned cpu)
{
    size_t page = BASE >> TSL_PAGE_SHIFT;
    const unsigned char *memory =
        tsl_port_phys_to_virt(tsl_frame_address(tsl_descriptor_frame(frames, leaving)));
    if (cpu == 0) {
        tsl_pin pin = tsl_lock_acquire(&space->lock);
        tsl_space_unhook(space, page, page + 1);
        tsl_lock_release(&space->lock, pin);
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        explorer_point();
        if (cpu == 2) {
            EXPLORER_REQUIRE(store(cpu, BASE, (unsigned char)(40 + i)) == TSL_OK);
        } else if (tsl_descriptor_freeze(leaving)) {
            unsigned char before = *memory;
            explorer_point();
            EXPLORER_REQUIRE(*memory == before);
            tsl_descriptor_thaw(leaving);
        }
    }
}

static void evict_setup(void)
{
    setup();
    leaving = tsl_vm_descriptor(
        vm, tsl_vm_frame_of(tsl_slots_get(&space->layer, BASE >> TSL_PAGE_SHIFT)));
}

static const struct explorer_case evict_case = {"evict", CPUS, 1, evict_setup, check, evict_body};

static void what_nobody_maps_nobody_writes(void)
{
    explore(&evict_case, EXPLORER_LATE_FLUSH);
}

TAP_SUITE(explore_spaces, TAP_TEST(nobody_writes_to_what_was_unmapped),
          TAP_TEST(nobody_comes_back_to_what_was_unmapped),
          TAP_TEST(nobody_writes_to_what_is_read_only), TAP_TEST(a_copy_does_not_change_afterwards),
          TAP_TEST(each_side_of_a_copy_has_its_own), TAP_TEST(a_private_write_stays_private),
          TAP_TEST(pages_move_under_their_users), TAP_TEST(a_page_on_its_way_out_is_waited_for),
          TAP_TEST(what_nobody_maps_nobody_writes));
