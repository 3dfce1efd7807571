/* SPDX-License-Identifier: MIT
 *
 * port.c: the seven functions of <tesela/port.h>.
 *
 * Owns:    nothing: interrupts, direct map, console and CPUs belong to the files around.
 * Needs:   a direct map that is in place, and %gs at this CPU's struct platform_cpu, from the first
 *          C instruction on (boot.S).
 * Callers: Tesela; the contexts are in <tesela/port.h>.
 *
 * All that Tesela asks of a kernel, beside the memory functions in string.c.
 */
#include <tesela/cpu.h>
#include <tesela/format.h>
#include <tesela/port.h>
#include <x86/instructions.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include "early.h"
#include "pc_internal.h"

/* 1. Pinned is: no interrupt. The flags say what unpin has to restore. */
tsl_pin tsl_port_pin(void)
{
    uintptr_t flags = x86_read_flags();

    x86_interrupts_off();
    return flags;
}

/* 2. */
void tsl_port_unpin(tsl_pin pin)
{
    if (pin & X86_FLAG_INTERRUPTS)
        x86_interrupts_on();
    else
        __asm__ volatile("" ::: "memory");
}

/* 3. One load from the CPU's own area. */
unsigned tsl_port_cpu_id(void)
{
    unsigned id;

    __asm__ volatile("movl %%gs:%c1, %0" : "=r"(id) : "i"(CPU_OFFSET_ID));
    return id;
}

/* 4. Physical memory from 0 on, as far as the layout's range goes. The boot tables map only its
 * start, and the kernel's own tables only what is RAM: a caller with an address from elsewhere asks
 * the memory map first. Only the choice between 4 and 5 levels, made before there was any C, moves
 * the direct map. */
void *tsl_port_phys_to_virt(tsl_paddr address)
{
    tsl_vaddr start =
        boot_format == FORMAT_5LEVEL ? DIRECT_MAP_START_5LEVEL : DIRECT_MAP_START_OTHERS;

    return address < DIRECT_MAP_BYTES ? (void *)(start + (uintptr_t)address) : NULL;
}

/* 5. An interrupt to each; its handler (exceptions.c) calls tsl_flush_receive(). */
void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    unsigned cpu;

    for (cpu = tsl_cpu_set_next(cpus, 0); cpu < TSL_CPUS; cpu = tsl_cpu_set_next(cpus, cpu + 1))
        if (cpu < PLATFORM_CPUS && cpu != platform_cpu_id())
            cpu_interrupt(cpu, VECTOR_FLUSH);
}

/* 6. "# " makes the line a comment for whoever reads the console as TAP. */
void tsl_port_log(enum tsl_log_level level, const char *line)
{
    static const char *const names[] = {"", "error: ", "warning: ", "", "debug: "};
    char text[TSL_LOG_LINE_BYTES + 16];
    size_t length =
        tsl_format(text, sizeof(text), "# %s%s\n", names[level <= TSL_LOG_DEBUG ? level : 0], line);

    platform_console_write(text, length < sizeof(text) ? length : sizeof(text) - 1);
}

/* 7. */
TSL_NORETURN void tsl_port_panic(const char *message)
{
    platform_halt_others();
    tsl_print(platform_console(), "\n# panic: %s\n", message);
    backtrace((uintptr_t)__builtin_frame_address(0));
    exit_with(EARLY_EXIT_PANIC);
}
