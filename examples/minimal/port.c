/* SPDX-License-Identifier: MIT
 *
 * port.c: the seven functions that Tesela asks of a kernel, for one CPU and a serial line.
 *
 * Owns:    the serial line.
 * Needs:   x86.
 * Callers: Tesela. Their contract: <tesela/port.h>.
 */
#include "minimal.h"

#include <tesela/port.h>

static void out_byte(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in_byte(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void write_line(const char *text)
{
    for (; *text; text++) {
        for (unsigned tries = 0; tries < 100000 && !(in_byte(0x3FD) & 0x20); tries++)
            ;
        out_byte(0x3F8, (uint8_t)*text);
    }
    out_byte(0x3F8, '\n');
}

void power_off(bool success)
{
    out_byte(0xF4, success ? 0x10 : 0x11); /* QEMU's isa-debug-exit */
    for (;;)
        __asm__ volatile("cli; hlt");
}

tsl_pin tsl_port_pin(void)
{
    tsl_pin flags;
    __asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

void tsl_port_unpin(tsl_pin flags)
{
    if (flags & 0x200) /* interrupts were on */
        __asm__ volatile("sti" : : : "memory");
}

unsigned tsl_port_cpu_id(void)
{
    return 0;
}

void *tsl_port_phys_to_virt(tsl_paddr address)
{
    return address < DIRECT_MAP_BYTES ? (void *)(DIRECT_MAP_START + (uintptr_t)address) : NULL;
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    (void)cpus; /* one CPU: nobody ever has to be told */
}

void tsl_port_log(enum tsl_log_level level, const char *line)
{
    (void)level;
    write_line(line);
}

void tsl_port_panic(const char *message)
{
    write_line(message);
    power_off(false);
}
