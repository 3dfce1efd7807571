/* SPDX-License-Identifier: MIT
 *
 * hello.c: the smallest kernel on platform/pc: boots, says what it found, ends as passed.
 *
 * Owns:    nothing.
 * Needs:   platform/pc, base.
 * Callers: the QEMU tests.
 */
#include <tesela/format.h>
#include <platform/acpi.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>

static void show_nodes(void)
{
    const struct acpi_info *acpi = platform_acpi();

    for (unsigned i = 0; i < acpi->range_count; i++) {
        tsl_print(platform_console(), "# node %u: %#llx..%#llx\n", acpi->ranges[i].node,
                  (unsigned long long)acpi->ranges[i].start,
                  (unsigned long long)acpi->ranges[i].end - 1);
    }
    for (unsigned i = 0; i < acpi->cpu_count; i++) {
        tsl_print(platform_console(), "# CPU with APIC %u: node %u\n", acpi->cpus[i].apic_id,
                  acpi->cpus[i].node);
    }
}

bool kernel_main(const struct platform_boot *boot)
{
    char reach[16];

    tsl_print(platform_console(),
              "1..1\n# format %s, reach %s, %u CPUs listed, command line \"%s\"\nok 1 - boots\n",
              boot->format_name, tsl_format_bytes(reach, sizeof(reach), boot->reach_end),
              platform_cpus_listed(), boot->command_line);
    show_nodes();
    return true;
}
