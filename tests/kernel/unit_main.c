/* SPDX-License-Identifier: MIT
 *
 * unit_main.c: the main program of the image that runs the components' own suites inside a kernel.
 *
 * Owns:    the order: real memory map, all CPUs, suites, verdict.
 * Needs:   platform/pc, tap.h, the list of suites that the build makes (kernel_suites.c).
 * Callers: QEMU runs. Command line: only=PATTERN as tap_run() takes it, seed=N, rounds=N.
 */
#include "tap.h"

#include <tesela/memory_map.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <x86/instructions.h>

extern const struct tap_suite *const tap_kernel_suites[];

enum { MAP_CAPACITY = 64 };

/* A decimal number from the command line, `otherwise` when it is absent or none. */
static uint64_t number_option(const char *name, uint64_t otherwise)
{
    char text[24];
    uint64_t number = 0;

    if (!platform_option(name, text, sizeof(text)) || text[0] == '\0')
        return otherwise;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9')
            return otherwise;
        number = number * 10 + (uint64_t)(*c - '0');
    }
    return number;
}

/* The suites bring their own memory; a kernel whose machine cannot be read is no place to run them.
 */
static bool machine_is_sound(void)
{
    static struct tsl_memory_range storage[MAP_CAPACITY];
    struct tsl_memory_map map;
    char bytes[16];

    if (tsl_map_init(&map, storage, MAP_CAPACITY) != TSL_OK ||
        platform_import_map(&map) != TSL_OK || tsl_map_verify(&map).rule != 0)
        return false;
    tap_note("%s usable, %u CPUs, %s tables",
             tsl_format_bytes(bytes, sizeof(bytes), tsl_map_bytes(&map, TSL_MEMORY_USABLE)),
             platform_start_cpus(), platform_boot()->format_name);
    return true;
}

bool kernel_main(const struct platform_boot *boot)
{
    char pattern[64];
    bool has_pattern = platform_option("only", pattern, sizeof(pattern));
    struct tap_result result;

    (void)boot;
    x86_interrupts_on();
    if (!machine_is_sound()) {
        tsl_print(platform_console(), "Bail out! the machine's memory map cannot be imported\n");
        return false;
    }
    tap_seed = number_option("seed", tap_seed);
    tap_scale = (unsigned)number_option("rounds", tap_scale);
    result = tap_run(tap_kernel_suites, has_pattern ? pattern : NULL, platform_console());
    return result.failed == 0 && result.run > 0;
}
