/* SPDX-License-Identifier: MIT
 *
 * hotplug.c: RAM that only the firmware's tables tell of, added and removed while the kernel runs.
 *
 * Owns:    the test kernel `hotplug`.
 * Needs:   the facade (to start), physical_allocator with FRAME_HOTPLUG, platform/pc, tap.h; QEMU
 *          with slots for RAM and a module of 128 MiB in the first.
 * Callers: tests/kernel/meson.build.
 *
 * The loader's map ends with the RAM that QEMU has at -m. SRAT tells where modules may be; that
 * there is one in the first slot is known to this test, as a kernel would learn it from ACPI's
 * device for it. That place begins at 4 GiB: with PAE it is high memory, which is reached through
 * windows; with 2-level tables it has no name, and must be left out.
 */
#include "start.h"

#include <tesela/atomic.h>
#include <tesela/frames_hotplug.h>
#include <tesela/memory.h>
#include <tesela/port.h>
#include <tesela/window.h>
#include <platform/acpi.h>
#include <platform/boot.h>
#include <platform/cpu.h>

#define MIB    ((uint64_t)1 << 20)
#define MODULE (128 * MIB)

enum { LIMIT_US = 30000000, PIECE_MIB = 16, ROUNDS = 20 };

static tsl_paddr module_start;
static uint32_t failures;

static struct tsl_frames *frames(void)
{
    return tsl_system()->frames;
}

static tsl_word total(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames(), &stats);
    return stats.total;
}

static const struct acpi_node_range *place_in_srat(void)
{
    const struct acpi_info *acpi = platform_acpi();
    for (unsigned i = 0; i < acpi->range_count; i++)
        if (acpi->ranges[i].hot_pluggable)
            return &acpi->ranges[i];
    return NULL;
}

/* Whether page-table entries have room for addresses from 4 GiB on. */
static bool is_nameable(void)
{
    return tsl_system()->table->format->entry_bytes == 8;
}

#define SKIP_UNNAMEABLE                                                                            \
    if (!is_nameable())                                                                            \
    SKIP("the place is beyond what this format can name")

static void what_has_no_name_is_left_out(void)
{
    const struct acpi_node_range *place = place_in_srat();
    REQUIRE(place != NULL);
    if (is_nameable())
        SKIP("this format can name the place");
    CHECK(place->start >= (tsl_paddr)4 << 30);
    CHECK_EQ(tsl_frames_absent_count(frames()), 0);
    CHECK(total() < 256 * MIB / TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_frames_add_range(frames(), place->start, MODULE), TSL_NOT_FOUND);
    CHECK_SOUND(tsl_verify());
}

static void places_are_absent_at_first(void)
{
    const struct acpi_node_range *place = place_in_srat();
    SKIP_UNNAMEABLE;
    REQUIRE(place != NULL);
    module_start = place->start;
    CHECK(place->end - place->start >= MODULE);
    CHECK_EQ(tsl_frames_absent_count(frames()), (place->end - place->start) / TSL_PAGE_BYTES);
    CHECK(total() < 256 * MIB / TSL_PAGE_BYTES);
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(frames(), TSL_FRAMES_HUGE_ORDER, 0, &frame), TSL_OK);
    CHECK(tsl_frame_address(frame) < place->start);
    CHECK_STATUS(tsl_frames_free(frames(), frame, TSL_FRAMES_HUGE_ORDER), TSL_OK);
    CHECK(!tsl_frames_is_free(frames(), tsl_frame_of(place->start)));
    CHECK_SOUND(tsl_verify());
}

/* The first word of a frame; what was there before `value`. */
static tsl_word exchange_word(tsl_word number, tsl_word value)
{
    struct tsl_windows *windows = tsl_system()->windows;
    tsl_pin pin = tsl_port_pin();
    tsl_word *word = tsl_window_open(windows, TSL_WINDOW_DESTINATION, (struct tsl_frame){number});
    tsl_word before = *word;
    *word = value;
    tsl_window_close(windows, TSL_WINDOW_DESTINATION);
    tsl_port_unpin(pin);
    return before;
}

/* It is real: each frame keeps what is written to it. */
static void a_module_is_added_and_used(void)
{
    SKIP_UNNAMEABLE;
    tsl_word before = total(), free = tsl_frames_free_count(frames());
    const struct tsl_frames_run run = {.count = MODULE / TSL_PAGE_BYTES};
    struct tsl_frame first = {0};
    CHECK_STATUS(tsl_frames_add_range(frames(), module_start, MODULE), TSL_OK);
    CHECK_EQ(total(), before + run.count);
    CHECK_EQ(tsl_frames_free_count(frames()), free + run.count);
    REQUIRE(tsl_frames_alloc_run(frames(), &run, &first) == TSL_OK);
    CHECK_EQ(tsl_frame_address(first), module_start);
    for (tsl_word i = 0; i < run.count; i++)
        (void)exchange_word(first.number + i, first.number + i);
    tsl_word wrong = 0;
    for (tsl_word i = 0; i < run.count; i++)
        wrong += exchange_word(first.number + i, 0) != first.number + i;
    CHECK_EQ(wrong, 0);
    CHECK_STATUS(tsl_frames_remove_range(frames(), module_start, MODULE, false), TSL_BUSY);
    CHECK_STATUS(tsl_frames_free_run(frames(), first, run.count), TSL_OK);
    CHECK_SOUND(tsl_verify());
}

static void the_module_is_removed(void)
{
    SKIP_UNNAMEABLE;
    tsl_word before = total();
    struct tsl_frame frame = {0};
    tsl_frames_drain(frames());
    CHECK_STATUS(tsl_frames_remove_range(frames(), module_start, MODULE, false), TSL_OK);
    CHECK_EQ(total(), before - MODULE / TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_frames_alloc(frames(), TSL_FRAMES_HUGE_ORDER, 0, &frame), TSL_OK);
    CHECK(tsl_frame_address(frame) < module_start);
    CHECK_STATUS(tsl_frames_free(frames(), frame, TSL_FRAMES_HUGE_ORDER), TSL_OK);
    CHECK_SOUND(tsl_verify());
}

/* Each CPU has a piece of the module; pieces are neighbours, and so are one range in the list. */
static void come_and_go(void *argument)
{
    tsl_pin pin = tsl_port_pin();
    unsigned cpu = tsl_port_cpu_id();
    tsl_port_unpin(pin);
    const uint64_t bytes = PIECE_MIB * MIB;
    tsl_paddr start = module_start + cpu * bytes;
    (void)argument;
    for (unsigned i = 0; i < ROUNDS; i++)
        if (tsl_frames_add_range(frames(), start, bytes) != TSL_OK ||
            tsl_frames_remove_range(frames(), start, bytes, false) != TSL_OK)
            (void)tsl_atomic_add_u32(&failures, 1);
}

static void all_cpus_add_and_remove_at_once(void)
{
    SKIP_UNNAMEABLE;
    tsl_word before = total(), absent = tsl_frames_absent_count(frames());
    CHECK(platform_run_everywhere(come_and_go, NULL, LIMIT_US));
    CHECK_EQ(failures, 0);
    CHECK_EQ(total(), before);
    CHECK_EQ(tsl_frames_absent_count(frames()), absent);
    CHECK_SOUND(tsl_verify());
}

/* What the kernel puts there for itself, tables and records too, stays: such RAM is not removed. */
static void the_kernel_uses_it_for_itself(void)
{
    SKIP_UNNAMEABLE;
    CHECK_STATUS(tsl_frames_add_range(frames(), module_start, MODULE), TSL_OK);
    char *memory = valloc(MIB, VM_READ | VM_WRITE);
    REQUIRE(memory != NULL);
    memory[0] = memory[MIB - 1] = 1;
    struct tsl_mapping page = {0};
    CHECK_STATUS(tsl_table_query(tsl_system()->table, (tsl_vaddr)memory, &page), TSL_OK);
    CHECK(page.target >= module_start && page.target < module_start + MODULE);
    CHECK_STATUS(tsl_frames_remove_range(frames(), module_start, MODULE, false), TSL_BUSY);
    vfree(memory);
    CHECK_SOUND(tsl_verify());
}

TAP_SUITE(hotplug, TAP_TEST(what_has_no_name_is_left_out), TAP_TEST(places_are_absent_at_first),
          TAP_TEST(a_module_is_added_and_used), TAP_TEST(the_module_is_removed),
          TAP_TEST(all_cpus_add_and_remove_at_once), TAP_TEST(the_kernel_uses_it_for_itself));

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    return test_start() && test_run(&tap_suite_hotplug);
}
