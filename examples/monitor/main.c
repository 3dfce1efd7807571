/* SPDX-License-Identifier: MIT
 *
 * main.c: boots the machine onto Tesela: memory map in, everything started, then the tour and the
 * prompt.
 *
 * Owns:    the order of events.
 * Needs:   platform/pc, the facade.
 * Callers: platform/pc, on CPU 0.
 */
#include "monitor.h"

#include <tesela/config.h>
#include <tesela/memory_test.h>
#include <tesela/physical_allocator.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/memory.h>
#include <x86/instructions.h>

const struct tsl_sink *console(void)
{
    return platform_console();
}

static void introduce(const struct platform_boot *boot, unsigned cpus)
{
    char ram[16], heap[16];
    tsl_format_bytes(ram, sizeof(ram), tsl_map_bytes(platform_memory_map(), TSL_MEMORY_USABLE));
    tsl_format_bytes(heap, sizeof(heap), (uint64_t)TSL_HEAP_MIB << 20);
    tsl_print(console(),
              "\nTesela monitor: profile %s, %s tables, %u CPU%s, %s usable, heap up to %s\n",
              TSL_PROFILE, boot->format_name, cpus, cpus == 1 ? "" : "s", ram, heap);
    tsl_print(console(), "\n-- memory map --\n");
    tsl_map_dump(platform_memory_map(), console());
    tsl_print(console(), "\n-- address space --\n");
    tsl_layout_dump(tsl_system()->layout, console());
    tsl_print(console(), "\n-- frames --\n");
    tsl_frames_dump(tsl_system()->frames, console());
}

/* With memtest=quick or memtest=full: what the boot tables reach, before anything lies in it. */
static enum tsl_status test_memory(const struct tsl_start_options *options)
{
    char level[8];
    struct tsl_memory_test_result result;
    if (!platform_option("memtest", level, sizeof(level)))
        return TSL_OK;
    const struct tsl_memory_test test = {
        .map = options->map,
        .end = options->reach_end,
        .kinds = level[0] == 'f' ? TSL_TEST_ALL : TSL_TEST_ALL & ~TSL_TEST_BACKGROUNDS};
    enum tsl_status status = tsl_memory_test(&test, &result);
    if (status == TSL_OK) {
        char text[16];
        tsl_print(console(), "memory test: %s tested, %lu errors, %lu bad frames\n",
                  tsl_format_bytes(text, sizeof(text), result.bytes), (unsigned long)result.errors,
                  (unsigned long)result.bad_frames);
    }
    return status;
}

static enum tsl_status start(void)
{
    struct tsl_start_options options;
    enum tsl_status status = platform_memory_options(&options);
    if (status == TSL_OK)
        status = test_memory(&options);
    if (status == TSL_OK)
        status = tsl_start(&options);
    return status == TSL_OK ? platform_memory_guard_stacks() : status;
}

bool kernel_main(const struct platform_boot *boot)
{
    enum tsl_status status = start();
    if (status != TSL_OK) {
        tsl_print(console(), "Tesela did not start: %s. What the machine reported:\n",
                  tsl_status_name(status));
        tsl_map_dump(platform_memory_map(), console());
        tsl_print(console(), "tour: FAIL 0/0 (start)\n");
        return false;
    }
    x86_interrupts_on();
    introduce(boot, platform_start_cpus());
    bool passed = tour();
    char mode[8];
    if (!platform_option("mode", mode, sizeof(mode)) || mode[0] != 'o')
        prompt();
    return passed; /* the platform tells the runner; without one it powers off */
}
