/* SPDX-License-Identifier: MIT
 *
 * pc_internal.h: what the files of this port share and nobody else sees.
 *
 * Owns:    struct platform_cpu, the frame that an interrupt leaves on the stack, the calls from one
 *          file to another.
 * Needs:   base.
 * Callers: the .c files of platform/pc. Offsets that assembly uses are in early.h and asserted in
 *          cpu.c.
 */
#ifndef PLATFORM_PC_INTERNAL_H
#define PLATFORM_PC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tesela/compiler.h>
#include <tesela/port.h>
#include <tesela/types.h>
#include <platform/boot.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include "early.h"
#include "frame.h"
#include "machine.h"

/* Vectors of our own; the legacy interrupts are 0x20 .. 0x2F. */
enum {
    VECTOR_LEGACY = 0x20,
    VECTOR_SERIAL = VECTOR_LEGACY + 4,
    VECTOR_FLUSH = 0x30,
    VECTOR_WAKE = 0x31,
    VECTOR_TIMER = 0x32,
    VECTOR_SPURIOUS = 0x3F,
    VECTOR_COUNT = 0x40,
    GATE_COUNT = VECTOR_CALL + 1,
};

struct platform_user;
struct tsl_space;

/* One for each CPU; %gs leads to the CPU's own. */
struct platform_cpu {
    struct platform_cpu *self; /* read by assembly, as are the next five */
    uintptr_t id;
    uintptr_t recovery; /* stack pointer of the innermost platform_try(), 0: none */
    uintptr_t stack;    /* where the stack begins for who comes from user mode */
    uintptr_t user_sp;  /* x86-64: the program's, for the first instructions of a call */
    void *task;         /* the place of `stack` in the CPU's task state */
    struct platform_fault fault;
    uint32_t apic_id;
    uint32_t node;
    uint32_t online;   /* set by the CPU itself when it is ready for work, */
    uint32_t is_unfit; /* or this, when it lacks what CPU 0 has */
    uint32_t job;      /* enum job_state, cpu.c */
    void (*job_function)(void *);
    void *job_argument;
    void (*tick)(void);         /* what the timer interrupt calls; NULL: no timer runs */
    struct platform_user *user; /* the program that runs on this CPU; NULL: none. user.c's, and: */
    struct tsl_space *space;    /* in which the CPU works; NULL: in the kernel's own tables */
    bool is_ready_for_users;
};

/* Pages of the devices range (DEVICES_START). The boot tables have one page table there. */
enum {
    DEVICE_PAGE_APIC = 0,
    DEVICE_PAGE_FIRMWARE = 16, /* where acpi.c looks through, only while it reads */
    FIRMWARE_PAGES = 64,
};
enum early_device { EARLY_NOTHING, EARLY_REGISTERS, EARLY_FIRMWARE };

extern struct platform_cpu platform_cpus[PLATFORM_CPUS];

/* cpu.c */
struct platform_cpu *this_cpu(void);
uintptr_t cpu_stack_top(unsigned cpu);
uintptr_t cpu_fault_stack_top(unsigned cpu);
bool cpu_stack_contains(uintptr_t address, size_t bytes);
void cpus_list(void);
TSL_NORETURN void cpu_idle(void);
TSL_NORETURN void cpu_halt_for_good(void);
void cpu_interrupt(unsigned cpu, unsigned vector);
bool cpu_is_stopped(void);

/* boot.c; the variables are written by the .S files */
extern uint32_t boot_info_address, boot_format, boot_root, boot_reach;
void boot_read(uint32_t information);
void boot_set_devices(tsl_paddr local_apic);

/* early_map.c */
void early_guard_stacks(void);
void early_protect_image(const struct platform_image *image, bool no_execute);
void early_map_device(tsl_vaddr at, tsl_paddr target, enum early_device kind);
tsl_paddr early_root(void);

/* descriptors.c. calls_enable: from now on programs on this CPU can call, and come out there. */
void descriptors_load(struct platform_cpu *cpu);
void calls_enable(const void *interrupt, const void *syscall);

/* console.c */
void console_start(void);
void console_drain(void);
void console_take_over(void);

/* power.c: EARLY_EXIT_* of early.h */
TSL_NORETURN void exit_with(uint32_t code);

/* time.c */
void time_start(void);

/* acpi.c */
void acpi_read(void);

/* apic.c */
enum { APIC_INIT = 0x500 | 0x4000, APIC_STARTUP = 0x600 | 0x4000 };
void apic_map(tsl_paddr address);
void apic_enable(void);
uint32_t apic_id(void);
void apic_end_of_interrupt(void);
bool apic_send(uint32_t target, uint32_t command);
void apic_stop(uint32_t target);
void apic_timer(uint32_t ticks);
bool apic_present(void);

/* legacy.c: the two 8259 interrupt controllers */
void legacy_interrupts_mask(void);
void legacy_interrupt_enable(unsigned line);
void legacy_end_of_interrupt(unsigned line);

/* exceptions.c. `sp` is the stack pointer at the exception, `root` the tables then in use. */
void platform_interrupt(struct interrupt_frame *frame);
TSL_NORETURN void exception_fatal(const struct interrupt_frame *frame, uintptr_t sp);
void backtrace(uintptr_t bp);
const char *exception_name(uintptr_t vector);
/* Set by user.c: takes exceptions from user mode, and page faults of its own copies; false: not its
 * business. */
extern bool (*user_exception)(struct interrupt_frame *frame);
extern uint8_t cpu_has_smap; /* read by assembly */

#endif
