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
    tsl_print(platform_console(),
              "1..1\n# format %s, command line \"%s\", %u CPUs listed\nok 1 - boots\n",
              boot->format_name, boot->command_line, platform_cpus_listed());
    return true;
}
