/* SPDX-License-Identifier: MIT
 *
 * descriptors.c: segments, task state and interrupt gates on x86-64.
 *
 * Owns:    one GDT and TSS for each CPU, one IDT for all. Double faults switch to the CPU's fault
 *          stack (IST 1): that is how a full kernel stack ends in a readable dump.
 * Needs:   vectors.S.
 * Callers: start.c and cpu.c, on the CPU itself.
 * Source:  Intel SDM volume 3, 6.14 and 7.7.
 */
#include <x86/instructions.h>
#include "../early.h"
#include "../pc_internal.h"

enum {
    GATE_INTERRUPT = 0x8E,
    GATE_FOR_USERS = 0x60,
    TSS_AVAILABLE = 0x89,
    IST_NONE = 0,
    IST_FAULT = 1
};

struct task_state {
    uint32_t reserved0;
    uint32_t stacks[6]; /* privilege levels 0 to 2, low and high halves */
    uint32_t reserved1[2];
    uint32_t ist[14]; /* IST 1 to 7, low and high halves */
    uint32_t reserved2[2];
    uint16_t reserved3;
    uint16_t io_map;
};

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

struct pointer {
    uint16_t unused[3]; /* so that base is aligned; the CPU reads from limit on */
    uint16_t limit;
    uint64_t base;
};

_Static_assert(sizeof(struct task_state) == 104, "the CPU lays this down");
_Static_assert(sizeof(struct gate) == 16, "the CPU lays this down");

extern const char vector_stubs[VECTOR_COUNT][16];

static uint64_t gdts[PLATFORM_CPUS][GDT_ENTRIES];
static struct task_state tasks[PLATFORM_CPUS];
static struct gate gates[GATE_COUNT];

static struct gate gate_to(const void *entry, unsigned type, unsigned ist)
{
    uint64_t address = (uintptr_t)entry;

    return (struct gate){.offset_low = (uint16_t)address,
                         .selector = SELECTOR_CODE,
                         .ist = (uint8_t)ist,
                         .type = (uint8_t)type,
                         .offset_middle = (uint16_t)(address >> 16),
                         .offset_high = (uint32_t)(address >> 32)};
}

/* SYSCALL loads CS and SS from STAR's first half, SYSRET from 16 and 8 above its second half. */
void calls_enable(const void *interrupt, const void *syscall)
{
    uint64_t selectors = (uint64_t)(SELECTOR_USER_DATA - 8) << 48 | (uint64_t)SELECTOR_CODE << 32;

    gates[VECTOR_CALL] = gate_to(interrupt, GATE_INTERRUPT | GATE_FOR_USERS, IST_NONE);
    x86_write_msr(X86_MSR_STAR, selectors);
    x86_write_msr(X86_MSR_LSTAR, (uintptr_t)syscall);
    x86_write_msr(X86_MSR_SFMASK, X86_FLAG_TRAP | X86_FLAG_INTERRUPTS | X86_FLAG_DIRECTION |
                                      X86_FLAG_NESTED | X86_FLAG_ALIGNMENT);
    x86_write_msr(X86_MSR_EFER, x86_read_msr(X86_MSR_EFER) | X86_EFER_SCE);
}

/* INT3 and INTO are a program's to use: they are told as what they are. An NMI may come while a
 * call still has the program's stack pointer, so it has a stack of its own; neither it nor a double
 * fault ever returns. */
static void build_gates(void)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        gates[i] = gate_to(vector_stubs[i], GATE_INTERRUPT, IST_NONE);
    gates[PLATFORM_VECTOR_BREAKPOINT].type |= GATE_FOR_USERS;
    gates[PLATFORM_VECTOR_OVERFLOW].type |= GATE_FOR_USERS;
    gates[PLATFORM_VECTOR_NMI].ist = IST_FAULT;
    gates[PLATFORM_VECTOR_DOUBLE_FAULT].ist = IST_FAULT;
}

static void build_gdt(unsigned cpu)
{
    uint64_t *gdt = gdts[cpu], task = (uintptr_t)&tasks[cpu],
             fault_stack = cpu_fault_stack_top(cpu);

    tasks[cpu].ist[0] = (uint32_t)fault_stack;
    tasks[cpu].ist[1] = (uint32_t)(fault_stack >> 32);
    tasks[cpu].io_map = sizeof(struct task_state);
    platform_cpus[cpu].task = &tasks[cpu].stacks[0];
    gdt[SELECTOR_USER_DATA / 8] = 0x00CFF3000000FFFF;
    gdt[SELECTOR_USER_CODE / 8] = 0x00AFFB000000FFFF;
    gdt[SELECTOR_CODE / 8] = 0x00AF9B000000FFFF;
    gdt[SELECTOR_DATA / 8] = 0x00CF93000000FFFF;
    gdt[SELECTOR_TSS / 8] = (sizeof(struct task_state) - 1) | (task & 0xFFFFFF) << 16 |
                            (uint64_t)TSS_AVAILABLE << 40 | (task >> 24 & 0xFF) << 56;
    gdt[SELECTOR_TSS / 8 + 1] = task >> 32;
}

void descriptors_load(struct platform_cpu *cpu)
{
    unsigned number = (unsigned)cpu->id;
    struct pointer gdt = {.limit = sizeof(gdts[0]) - 1, .base = (uintptr_t)gdts[number]};
    struct pointer idt = {.limit = sizeof(gates) - 1, .base = (uintptr_t)gates};

    if (number == 0)
        build_gates();
    build_gdt(number);
    /* The selectors keep their numbers, so that only the hidden parts of segment registers are as
     * before. */
    __asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %w2" ::"m"(gdt.limit), "m"(idt.limit),
                     "r"(SELECTOR_TSS), "m"(gdt), "m"(idt));
    x86_write_msr(X86_MSR_GS_BASE, (uintptr_t)cpu);
}
