/* SPDX-License-Identifier: MIT
 *
 * descriptors.c: segments, tasks and interrupt gates on x86-32.
 *
 * Owns:    one GDT for each CPU with a segment for its struct platform_cpu (%gs), one IDT for all.
 *          A double fault is a task switch: the CPU changes to another stack and to the boot
 *          tables, and so a full kernel stack ends in a readable dump.
 * Needs:   vectors.S; the boot tables, which stay valid.
 * Callers: start.c and cpu.c, on the CPU itself.
 * Source:  Intel SDM volume 3, 6.14, 7.2 and 7.3.
 */
#include <x86/instructions.h>
#include "../early.h"
#include "../pc_internal.h"

enum { GATE_INTERRUPT = 0x8E, GATE_TASK = 0x85, GATE_FOR_USERS = 0x60, TSS_AVAILABLE = 0x89 };

struct task_state {
    uint32_t link;
    uint32_t stacks[6]; /* privilege levels 0 to 2: pointer, segment */
    uint32_t cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};

struct gate {
    uint16_t offset_low, selector;
    uint8_t zero, type;
    uint16_t offset_high;
};

struct pointer {
    uint16_t unused;
    uint16_t limit;
    uint32_t base;
};

_Static_assert(sizeof(struct task_state) == 104, "the CPU lays this down");
_Static_assert(sizeof(struct gate) == 8, "the CPU lays this down");

extern const char vector_stubs[VECTOR_COUNT][16];

static uint64_t gdts[PLATFORM_CPUS][GDT_ENTRIES];
static struct task_state tasks[PLATFORM_CPUS];
static struct task_state double_tasks[PLATFORM_CPUS];
static struct gate gates[GATE_COUNT];

static struct gate gate_to(const void *entry, unsigned type)
{
    return (struct gate){.offset_low = (uint16_t)(uintptr_t)entry,
                         .selector = SELECTOR_CODE,
                         .type = (uint8_t)type,
                         .offset_high = (uint16_t)((uintptr_t)entry >> 16)};
}

void calls_enable(const void *interrupt, const void *syscall)
{
    (void)syscall;
    gates[VECTOR_CALL] = gate_to(interrupt, GATE_INTERRUPT | GATE_FOR_USERS);
}

/* INT3 and INTO are a program's to use: they are told as what they are. */
static void build_gates(void)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        gates[i] = gate_to(vector_stubs[i], GATE_INTERRUPT);
    gates[PLATFORM_VECTOR_BREAKPOINT].type |= GATE_FOR_USERS;
    gates[PLATFORM_VECTOR_OVERFLOW].type |= GATE_FOR_USERS;
    gates[PLATFORM_VECTOR_DOUBLE_FAULT] =
        (struct gate){.selector = SELECTOR_DOUBLE, .type = GATE_TASK};
}

/* A task's registers were saved by the CPU; a frame is made of them, and from there on it is like
 * any other exception. */
static TSL_NORETURN void double_fault_task(void)
{
    const struct task_state *task = &tasks[this_cpu()->id];
    struct interrupt_frame frame = {.di = task->edi,
                                    .si = task->esi,
                                    .bp = task->ebp,
                                    .bx = task->ebx,
                                    .dx = task->edx,
                                    .cx = task->ecx,
                                    .ax = task->eax,
                                    .vector = PLATFORM_VECTOR_DOUBLE_FAULT,
                                    .error = 0,
                                    .ip = task->eip,
                                    .cs = task->cs,
                                    .flags = task->eflags};

    exception_fatal(&frame, task->esp);
}

static void build_double_task(struct platform_cpu *cpu)
{
    double_tasks[cpu->id] = (struct task_state){
        .cr3 = (uint32_t)early_root(),
        .eip = (uint32_t)(uintptr_t)double_fault_task,
        .eflags = 2,
        /* Below the error code, where a call would have put the return address. */
        .esp = cpu_fault_stack_top((unsigned)cpu->id) - 16,
        .cs = SELECTOR_CODE,
        .ss = SELECTOR_DATA,
        .ds = SELECTOR_DATA,
        .es = SELECTOR_DATA,
        .fs = SELECTOR_DATA,
        .gs = SELECTOR_CPU,
        .io_map = sizeof(struct task_state)};
}

static uint64_t segment(uint32_t base, uint32_t limit, uint64_t access)
{
    return (limit & 0xFFFF) | (uint64_t)(base & 0xFFFFFF) << 16 | access << 40 |
           (uint64_t)(base >> 24) << 56;
}

static void build_gdt(struct platform_cpu *cpu)
{
    uint64_t *gdt = gdts[cpu->id];

    tasks[cpu->id].io_map = sizeof(struct task_state);
    tasks[cpu->id].stacks[1] = SELECTOR_DATA;
    cpu->task = &tasks[cpu->id].stacks[0];
    gdt[SELECTOR_USER_DATA / 8] = 0x00CFF3000000FFFF;
    gdt[SELECTOR_USER_CODE / 8] = 0x00CFFB000000FFFF;
    gdt[SELECTOR_CODE / 8] = 0x00CF9B000000FFFF;
    gdt[SELECTOR_DATA / 8] = 0x00CF93000000FFFF;
    gdt[SELECTOR_CPU / 8] = 0x00CF93000000FFFF | segment((uint32_t)cpu, 0, 0);
    gdt[SELECTOR_TSS / 8] =
        segment((uint32_t)&tasks[cpu->id], sizeof(struct task_state) - 1, TSS_AVAILABLE);
    gdt[SELECTOR_DOUBLE / 8] =
        segment((uint32_t)&double_tasks[cpu->id], sizeof(struct task_state) - 1, TSS_AVAILABLE);
}

void descriptors_load(struct platform_cpu *cpu)
{
    struct pointer gdt = {.limit = sizeof(gdts[0]) - 1, .base = (uint32_t)gdts[cpu->id]};
    struct pointer idt = {.limit = sizeof(gates) - 1, .base = (uint32_t)gates};

    if (cpu->id == 0)
        build_gates();
    build_double_task(cpu);
    build_gdt(cpu);
    /* The selectors keep their numbers, so that only %gs and the task register have anything to
     * load. */
    __asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %w2\n\tmov %w3, %%gs" ::"m"(gdt.limit),
                     "m"(idt.limit), "r"(SELECTOR_TSS), "r"(SELECTOR_CPU), "m"(gdt), "m"(idt));
}
