/* SPDX-License-Identifier: MIT
 *
 * hello.c: the smallest kernel on platform/pc: boots, says what it found, ends as passed.
 *
 * Owns:  nothing.
 * Needs: platform/pc, base.
 * Who may call: the QEMU tests.
 */
#include <tesela/format.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>

bool kernel_main(const struct platform_boot *boot)
{
    char reach[16];

    tsl_print(platform_console(),
              "1..1\n# format %s, reach %s, %u CPUs listed, command line \"%s\"\nok 1 - boots\n",
              boot->format_name, tsl_format_bytes(reach, sizeof(reach), boot->reach_end),
              platform_cpus_listed(), boot->command_line);
    return true;
}
