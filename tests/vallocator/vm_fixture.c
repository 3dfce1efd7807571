/* SPDX-License-Identifier: MIT
 *
 * vm_fixture.c: builds and takes down the small machine of vm_fixture.h.
 *
 * Owns:    the machine, the frames that a test has put aside.
 * Needs:   machine.h, model_cpu.h.
 * Callers: tests/vallocator.
 */
#include "vm_fixture.h"

#include "machine.h"

#include <tesela/kernel_layout.h>
#include <host/model_cpu.h>
#include <tesela/port.h>

enum { RAM_BYTES = 24 << 20, HEAP_BYTES = 128 << 10 };

struct vm_fixture vm;

static TSL_ALIGNED(4096) unsigned char heap_memory[HEAP_BYTES];
static struct tsl_frame put_aside[RAM_BYTES / TSL_PAGE_BYTES];
static size_t aside;
static tsl_word marked;

void vm_fixture_start(void)
{
    vm_fixture_start_on(NULL, NULL);
}

void vm_fixture_start_on(const char *format, const struct tsl_cpu_features *features)
{
    struct machine_config machine = {
        .ram = {{0, RAM_BYTES}}, .format = format, .features = features};
    CHECK(machine_create(&machine));
    vm.frames = machine_frames();
    struct tsl_table_config config = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = vm.frames,
                                      .kernel = true};
    CHECK_STATUS(tsl_table_init(&vm.table, &config), TSL_OK);
    tsl_pin pin = tsl_port_pin();
    tsl_table_switch_to(&vm.table);
    tsl_port_unpin(pin);
    CHECK_STATUS(tsl_heap_create_fixed(heap_memory, sizeof(heap_memory), &vm.heap), TSL_OK);
    vm.window = tsl_layout_find(machine_layout(), TSL_LAYOUT_VALLOC)->start;
    aside = 0;
    vm_fixture_mark();
}

/* Nobody used a translation that was no longer true, and nothing is left. */
void vm_fixture_stop(void)
{
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_EQ(counters.reserved, 0);
    CHECK_SOUND(tsl_frames_verify(vm.frames));
    CHECK_SOUND(tsl_table_verify(&vm.table));
    CHECK_STATUS(tsl_heap_destroy(vm.heap), TSL_OK);
    tsl_arch_switch_root(0);
    tsl_table_left(&vm.table);
    CHECK_STATUS(tsl_table_fini(&vm.table), TSL_OK);
    machine_destroy();
}

unsigned vm_fixture_distinguished(void)
{
    bool has_nx = machine_features()->nx && machine_format()->has_nx;
    return has_nx ? TSL_READ | TSL_WRITE | TSL_EXEC : TSL_READ | TSL_WRITE;
}

unsigned vm_fixture_rights(tsl_vaddr address)
{
    unsigned char byte = 0xC3;
    unsigned rights = 0;
    if (model_load(0, address, &byte, 1) == MODEL_OK)
        rights |= TSL_READ;
    if (model_store(0, address, &byte, 1) == MODEL_OK)
        rights |= TSL_WRITE;
    if (model_fetch(0, address) == MODEL_OK)
        rights |= TSL_EXEC;
    return rights & vm_fixture_distinguished();
}

void vm_fixture_mark(void)
{
    marked = tsl_frames_free_count(vm.frames);
}

tsl_word vm_fixture_lost(void)
{
    tsl_table_trim(&vm.table);
    return marked - tsl_frames_free_count(vm.frames);
}

void vm_fixture_leave_frames(tsl_word left)
{
    while (tsl_frames_free_count(vm.frames) > left) {
        CHECK_STATUS(tsl_frames_alloc(vm.frames, 0, 0, &put_aside[aside]), TSL_OK);
        aside++;
    }
}

void vm_fixture_give_frames_back(void)
{
    while (aside > 0)
        CHECK_STATUS(tsl_frames_free(vm.frames, put_aside[--aside], 0), TSL_OK);
}
