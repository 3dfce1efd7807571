/* SPDX-License-Identifier: MIT
 *
 * apic.c: the local interrupt controller of each CPU, for interrupts between CPUs.
 *
 * Owns:    its registers, mapped uncached in the first page of the devices range.
 * Needs:   early_map.c at boot; later the kernel's own tables with the same mapping
 *          (platform/boot.h, devices).
 * Callers: platform/pc. Without a local APIC apic_present() is false and nothing else here may be
 *          called.
 * Source:  Intel SDM volume 3, chapter 10 (xAPIC mode).
 */
#include <tesela/format.h>
#include <x86/instructions.h>
#include <platform/acpi.h>
#include "pc_internal.h"

enum {
    REGISTER_ID = 0x20,
    REGISTER_TASK_PRIORITY = 0x80,
    REGISTER_END_OF_INTERRUPT = 0xB0,
    REGISTER_SPURIOUS = 0xF0,
    REGISTER_ERROR = 0x280,
    REGISTER_COMMAND = 0x300,
    REGISTER_TIMER = 0x320,
    REGISTER_LINE_0 = 0x350,
    REGISTER_TIMER_START = 0x380,
    REGISTER_TIMER_DIVIDER = 0x3E0,
    TIMER_PERIODIC = 1 << 17,
    TIMER_DIVIDE_BY_1 = 0xB,
    LINE_LEGACY = 7 << 8,
    LINE_MASKED = 1 << 16,
    REGISTER_COMMAND_TARGET = 0x310,
    SPURIOUS_ENABLE = 1 << 8,
    COMMAND_PENDING = 1 << 12,
    COMMAND_ASSERT = 1 << 14,
    COMMAND_NMI = 4 << 8,
    SEND_TRIES = 1000000,
};

static bool is_mapped;

static volatile uint32_t *reg(unsigned offset)
{
    return (volatile uint32_t *)(DEVICES_START + DEVICE_PAGE_APIC * TSL_PAGE_BYTES + offset);
}

bool apic_present(void)
{
    return is_mapped;
}

/* Before: `address` from the firmware's tables. A CPU that says it has no APIC, or an address that
 * is none, leaves apic_present() false. */
void apic_map(tsl_paddr address)
{
    if (address == 0 || address % TSL_PAGE_BYTES != 0 || address > UINT32_MAX || !x86_has_cpuid() ||
        !(x86_cpuid(1, 0).edx >> 9 & 1))
        return;
    early_map_device(DEVICES_START + DEVICE_PAGE_APIC * TSL_PAGE_BYTES, address, EARLY_REGISTERS);
    is_mapped = true;
}

/* On each CPU. */
void apic_enable(void)
{
    if (is_mapped) {
        *reg(REGISTER_TASK_PRIORITY) = 0;
        *reg(REGISTER_SPURIOUS) = SPURIOUS_ENABLE | VECTOR_SPURIOUS;
        /* The legacy controllers speak to CPU 0 alone. */
        *reg(REGISTER_LINE_0) = platform_cpu_id() == 0 ? LINE_LEGACY : LINE_MASKED;
    }
}

uint32_t apic_id(void)
{
    return *reg(REGISTER_ID) >> 24;
}

void apic_end_of_interrupt(void)
{
    *reg(REGISTER_END_OF_INTERRUPT) = 0;
}

static bool wait_sent(void)
{
    for (unsigned i = 0; i < SEND_TRIES; i++) {
        if (!(*reg(REGISTER_COMMAND) & COMMAND_PENDING))
            return true;
        x86_pause();
    }
    return false;
}

/* Two registers make one command: nothing may come in between. False when the APIC does not take
 * it. */
bool apic_send(uint32_t target, uint32_t command)
{
    tsl_pin pin = tsl_port_pin();
    bool sent = wait_sent();

    if (sent) {
        *reg(REGISTER_COMMAND_TARGET) = target << 24;
        *reg(REGISTER_COMMAND) = command | COMMAND_ASSERT;
    }
    tsl_port_unpin(pin);
    return sent;
}

/* Lets this CPU's timer interrupt it every `ticks` of its bus clock; 0: no more. */
void apic_timer(uint32_t ticks)
{
    *reg(REGISTER_TIMER_DIVIDER) = TIMER_DIVIDE_BY_1;
    *reg(REGISTER_TIMER) = ticks == 0 ? LINE_MASKED : TIMER_PERIODIC | VECTOR_TIMER;
    *reg(REGISTER_TIMER_START) = ticks;
}

/* From panic: does not wait long and does not complain. */
void apic_stop(uint32_t target)
{
    (void)apic_send(target, COMMAND_NMI);
}
