/* SPDX-License-Identifier: MIT
 *
 * test_kernel_half.c: tables of spaces show the kernel's half, whatever changes there.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h: CPU 0 runs the kernel's table, CPUs 1 and 2 run tables that
 *          show its half; what they can reach is what is there.
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <string.h>
#include <tesela/config.h>
#include <tesela/cpu.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)

enum { SPACES = 2, CPUS = TSL_CPUS < 3 ? TSL_CPUS : 3 };

static struct world world; /* its table stands for one that shows nothing */
static struct tsl_table kernel, space[SPACES];
static tsl_word free_before;

static unsigned cpu_of(unsigned number)
{
    return (number + 1) % CPUS;
}

static bool make_space(unsigned number)
{
    struct tsl_table_config config = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = world.frames,
                                      .shown = &kernel};
    return tsl_table_init(&space[number], &config) == TSL_OK;
}

static void run_on(unsigned cpu, struct tsl_table *table)
{
    host_port_set_cpu(cpu);
    tsl_table_switch_to(table);
    host_port_set_cpu(0);
}

static bool start(const struct tsl_table_format *format)
{
    struct machine_config machine = {.cpus = CPUS, .format = format->name};
    if (!machine_create(&machine) || !machine_frames())
        return false;
    world.frames = machine_frames();
    world.table.format = machine_format();
    free_before = tsl_frames_free_count(world.frames);
    struct tsl_table_config config = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = world.frames,
                                      .kernel = true};
    if (tsl_table_init(&kernel, &config) != TSL_OK || !make_space(0) || !make_space(1))
        return false;
    run_on(0, &kernel);
    for (unsigned i = 0; i < SPACES && CPUS > 1; i++)
        run_on(cpu_of(i), &space[i]);
    return true;
}

static void stop(void)
{
    world_nothing_stale();
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_arch_switch_root(0);
        for (unsigned i = 0; i < SPACES; i++)
            tsl_table_left(&space[i]);
        tsl_table_left(&kernel);
    }
    host_port_set_cpu(0);
    for (unsigned i = 0; i < SPACES; i++) {
        CHECK_SOUND(tsl_table_verify(&space[i]));
        CHECK_STATUS(tsl_table_fini(&kernel), TSL_BUSY);
        CHECK_STATUS(tsl_table_fini(&space[i]), TSL_OK);
    }
    CHECK_SOUND(tsl_table_verify(&kernel));
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(world.frames), free_before);
    machine_destroy();
}

/* What the kernel on a CPU in `space` meets there; a program meets nothing but a refusal. */
static enum model_result load(unsigned number, tsl_vaddr va)
{
    unsigned cpu = cpu_of(number);
    unsigned char byte;
    if (CPUS == 1)
        run_on(0, &space[number]);
    model_set_user(cpu, true);
    CHECK(model_load(cpu, va, &byte, 1) != MODEL_OK);
    model_set_user(cpu, false);
    return model_load(cpu, va, &byte, 1);
}

static enum model_result store(unsigned number, tsl_vaddr va)
{
    if (CPUS == 1)
        run_on(0, &space[number]);
    return model_store(cpu_of(number), va, "x", 1);
}

static void expect(tsl_vaddr va, enum model_result result)
{
    struct tsl_mapping mapping;
    for (unsigned i = 0; i < SPACES; i++) {
        CHECK_EQ(load(i, va), result);
        CHECK_STATUS(tsl_table_query(&space[i], va, &mapping),
                     result == MODEL_OK ? TSL_OK : TSL_NOT_FOUND);
        CHECK_SOUND(tsl_table_verify(&space[i]));
    }
    CHECK_SOUND(tsl_table_verify(&kernel));
}

/* The places of four ranges: far enough apart for root entries of their own in most formats. */
static const enum tsl_layout_use uses[] = {TSL_LAYOUT_VALLOC, TSL_LAYOUT_HEAP, TSL_LAYOUT_DEVICES,
                                           TSL_LAYOUT_DIRECT_MAP};

static void pages_of(const struct tsl_table_format *format)
{
    REQUIRE(start(format));
    for (size_t i = 0; i < TSL_COUNT_OF(uses); i++) {
        tsl_vaddr va = world_start(uses[i]);
        expect(va, MODEL_NOT_PRESENT);
        CHECK_STATUS(tsl_table_map(&kernel, va, world_frame(&world, 0), 4096, RW), TSL_OK);
        expect(va, MODEL_OK);
    }
    for (size_t i = 0; i < TSL_COUNT_OF(uses); i++) {
        tsl_vaddr va = world_start(uses[i]);
        CHECK_STATUS(tsl_table_unmap(&kernel, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
        expect(va, MODEL_NOT_PRESENT);
    }
    /* The last tables go, and what led to them with them. */
    tsl_table_trim(&kernel);
    for (size_t i = 0; i < TSL_COUNT_OF(uses); i++)
        expect(world_start(uses[i]), MODEL_NOT_PRESENT);
    stop();
}

static void a_page_mapped_later_is_seen_and_gone_again(void)
{
    for_each_format(pages_of);
}

/* With 2-level tables a large page is a root entry itself: it comes, changes, is split, and
 * goes. */
static void large_of(const struct tsl_table_format *format)
{
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    REQUIRE(start(format));
    tsl_vaddr va = (world_start(TSL_LAYOUT_VALLOC) + bytes) & ~(bytes - 1);
    unsigned order = format->shift[1] - TSL_PAGE_SHIFT;
    tsl_paddr block[2] = {world_frame(&world, order), world_frame(&world, order)};
    for (unsigned i = 0; i < 2; i++)
        CHECK_STATUS(tsl_table_map(&kernel, va + i * bytes, block[i], bytes, RW | TSL_MAP_LARGE),
                     TSL_OK);
    expect(va, MODEL_OK);
    expect(va + bytes, MODEL_OK);
    CHECK_EQ(store(0, va), MODEL_OK);
    CHECK_STATUS(tsl_table_protect(&kernel, va, bytes, TSL_READ, NULL), TSL_OK);
    CHECK_EQ(store(0, va), MODEL_PROTECTION);
    CHECK_EQ(store(1, va), MODEL_PROTECTION);
    CHECK_EQ(store(1, va + bytes), MODEL_OK);
    CHECK_STATUS(tsl_table_unmap(&kernel, va + bytes, 4096, 0, NULL), TSL_OK);
    expect(va + bytes, MODEL_NOT_PRESENT);
    expect(va + bytes + 4096, MODEL_OK);
    CHECK_STATUS(tsl_table_unmap(&kernel, va, 2 * bytes, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    expect(va, MODEL_NOT_PRESENT);
    expect(va + bytes + 4096, MODEL_NOT_PRESENT);
    for (unsigned i = 0; i < 2; i++)
        CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(block[i]), order), TSL_OK);
    stop();
}

static void large_pages_change_everywhere(void)
{
    for_each_format(large_of);
}

static void later_of(const struct tsl_table_format *format)
{
    struct tsl_mapping mapping;
    REQUIRE(start(format));
    tsl_vaddr va = world_start(TSL_LAYOUT_HEAP);
    tsl_vaddr user = world_start(TSL_LAYOUT_USER);
    CHECK_STATUS(tsl_table_map(&kernel, va, world_frame(&world, 0), 4096, RW), TSL_OK);
    host_port_set_cpu(cpu_of(1));
    tsl_table_switch_to(&kernel);
    tsl_table_left(&space[1]);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_table_fini(&space[1]), TSL_OK);
    REQUIRE(make_space(1));
    run_on(cpu_of(1), &space[1]);
    expect(va, MODEL_OK);
    /* The lower half is each one's own. */
    CHECK_STATUS(tsl_table_map(&space[1], user, world_frame(&world, 0), 4096, RW | TSL_USER),
                 TSL_OK);
    CHECK_STATUS(tsl_table_query(&space[0], user, &mapping), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_table_query(&kernel, user, &mapping), TSL_NOT_FOUND);
    REQUIRE(tsl_table_next(&space[1], 0, ~(tsl_vaddr)0, &mapping));
    CHECK_EQ(mapping.start, user);
    REQUIRE(tsl_table_next(&space[1], user + 4096, ~(tsl_vaddr)0, &mapping));
    CHECK_EQ(mapping.start, va);
    CHECK(!tsl_table_next(&space[1], va + 4096, ~(tsl_vaddr)0, &mapping));
    CHECK_STATUS(tsl_table_unmap(&space[1], user, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&kernel, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    stop();
}

static void a_table_made_later_shows_what_is_there(void)
{
    for_each_format(later_of);
}

static void refused_of(const struct tsl_table_format *format)
{
    struct tsl_table other;
    REQUIRE(start(format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    struct tsl_table_config config = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = world.frames,
                                      .shown = &space[0]};
    CHECK_STATUS(tsl_table_init(&other, &config), TSL_INVALID);
    config.shown = &kernel;
    config.kernel = true;
    CHECK_STATUS(tsl_table_init(&other, &config), TSL_INVALID);
    CHECK_STATUS(tsl_table_map(&kernel, va, world_frame(&world, 0), 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_map(&space[0], va + 4096, 0x6000, 4096, RW), TSL_DENIED);
    CHECK_STATUS(tsl_table_unmap(&space[0], va, 4096, 0, NULL), TSL_DENIED);
    CHECK_STATUS(tsl_table_protect(&space[0], va, 4096, TSL_READ, NULL), TSL_DENIED);
    CHECK_STATUS(tsl_table_fix(&space[0], va, 4096), TSL_DENIED);
    expect(va, MODEL_OK);
    expect(va + 4096, MODEL_NOT_PRESENT);
    CHECK_STATUS(tsl_table_unmap(&kernel, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    stop();
}

static void the_half_is_changed_through_the_kernels_table_only(void)
{
    for_each_format(refused_of);
}

/* A CPU that has left ran the kernel's table last; nobody can make it leave the table as well. */
static void left_of(const struct tsl_table_format *format)
{
    REQUIRE(start(format));
    for (unsigned i = 0; i < SPACES; i++) {
        CHECK(tsl_table_is_needed(&kernel)); /* it is shown */
        host_port_set_cpu(cpu_of(i));
        tsl_table_left(&space[i]);
        tsl_table_switch_to(&kernel);
        host_port_set_cpu(0);
        CHECK_STATUS(tsl_table_fini(&space[i]), TSL_OK);
    }
    CHECK_EQ(tsl_table_is_needed(&kernel), CPUS > 1);
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_BUSY);
    for (unsigned cpu = 1; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
    host_port_set_cpu(0);
    CHECK(!tsl_table_is_needed(&kernel));
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_BUSY); /* this CPU runs it */
    tsl_arch_switch_root(0);
    tsl_table_left(&kernel);
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_OK);
    for (unsigned cpu = 1; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_arch_switch_root(0);
        tsl_cpu_join();
    }
    host_port_set_cpu(0);
    CHECK_EQ(tsl_frames_free_count(world.frames), free_before);
    machine_destroy();
}

static void cpus_that_left_need_no_table(void)
{
    for_each_format(left_of);
}

/* Each frame that a table needs is missing once: nothing is left on the kernel's list. */
static void poor_of(const struct tsl_table_format *format)
{
    static struct tsl_frame taken[32768];
    size_t count = 0;
    REQUIRE(start(format));
    host_port_set_cpu(cpu_of(1));
    tsl_table_switch_to(&kernel);
    tsl_table_left(&space[1]);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_table_fini(&space[1]), TSL_OK);
    while (count < TSL_COUNT_OF(taken) &&
           tsl_frames_alloc(world.frames, 0, 0, &taken[count]) == TSL_OK)
        count++;
    bool made = false;
    for (unsigned left = 0; !made && count > 0; left++) {
        CHECK_EQ(tsl_frames_free_count(world.frames), left);
        made = make_space(1);
        CHECK_SOUND(tsl_table_verify(&kernel));
        if (!made)
            CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], 0), TSL_OK);
    }
    CHECK(made);
    run_on(cpu_of(1), &space[1]);
    while (count > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], 0), TSL_OK);
    stop();
}

static void without_frames_nothing_is_shown(void)
{
    for_each_format(poor_of);
}

/* Rule 15, broken by hand in an entry that is shown and in one that is not there. */
static void broken_of(const struct tsl_table_format *format)
{
    REQUIRE(start(format));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    CHECK_STATUS(tsl_table_map(&kernel, va, world_frame(&world, 0), 4096, RW), TSL_OK);
    unsigned top = format->levels - 1;
    size_t at[] = {tsl_table_format_index(format, top, va), (1u << format->index_bits[top]) - 1u};
    for (size_t i = 0; i < TSL_COUNT_OF(at); i++) {
        char *entry = (char *)space[0].root_memory + at[i] * format->entry_bytes;
        uint64_t kept = world_entry_get(&world, entry);
        world_entry_set(&world, entry, kept ^ 0x1001);
        CHECK_BROKEN(tsl_table_verify(&space[0]), 15);
        CHECK_BROKEN(tsl_table_verify(&kernel), 15);
        world_entry_set(&world, entry, kept ^ 0x20); /* what the CPU marks does not count */
        CHECK_SOUND(tsl_table_verify(&kernel));
        world_entry_set(&world, entry, kept);
        CHECK_SOUND(tsl_table_verify(&space[0]));
    }
    CHECK_STATUS(tsl_table_unmap(&kernel, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    stop();
}

static void rule_15(void)
{
    for_each_format(broken_of);
}

TAP_SUITE(kernel_half, TAP_TEST(a_page_mapped_later_is_seen_and_gone_again),
          TAP_TEST(large_pages_change_everywhere), TAP_TEST(a_table_made_later_shows_what_is_there),
          TAP_TEST(the_half_is_changed_through_the_kernels_table_only),
          TAP_TEST(cpus_that_left_need_no_table), TAP_TEST(without_frames_nothing_is_shown),
          TAP_TEST(rule_15));
