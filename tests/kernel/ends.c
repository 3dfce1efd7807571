/* SPDX-License-Identifier: MIT
 *
 * ends.c: one kernel that ends in every way a kernel can, for the self tests of the QEMU runner.
 *
 * Owns:    nothing. The command line says how: end=pass, fail, panic, reset or hang.
 * Needs:   platform/pc.
 * Callers: tests/kernel/meson.build, with the ending that the runner has to tell.
 */
#include <tesela/port.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <x86/instructions.h>

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Without an interrupt table the breakpoint becomes a double fault, and that a triple fault. */
static TSL_NORETURN void reset_the_machine(void)
{
    static const struct {
        uint16_t limit;
        uint16_t base[4];
    } nothing;

    __asm__ volatile("lidt %0\n\tint3" ::"m"(nothing));
    for (;;)
        x86_halt();
}

bool kernel_main(const struct platform_boot *boot)
{
    char end[8] = "";

    (void)boot;
    if (!platform_option("end", end, sizeof(end))) {
        tsl_print(platform_console(), "ends: no end=... on the command line\n");
        return false;
    }
    tsl_print(platform_console(), "1..1\n%sok 1 - ends with %s\n", same(end, "fail") ? "not " : "",
              end);
    if (same(end, "panic"))
        tsl_port_panic("on purpose");
    if (same(end, "reset"))
        reset_the_machine();
    while (same(end, "hang")) {
        x86_interrupts_off();
        x86_halt();
    }
    return same(end, "pass");
}
