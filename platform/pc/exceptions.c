/* SPDX-License-Identifier: MIT
 *
 * exceptions.c: what happens at an interrupt or an exception.
 *
 * Owns:    the dispatch, the readable dump, the recovery of platform_try().
 * Needs:   vectors.S; cpu.c (stacks, stopping the others); console.
 * Callers: vectors.S; see platform/fault.h for the rest.
 */
#include <tesela/arch.h>
#include <tesela/flush.h>
#include <tesela/format.h>
#include <x86/instructions.h>
#include <platform/console.h>
#include "early.h"
#include "pc_internal.h"

enum { LAST_EXCEPTION = 31, BACKTRACE_DEPTH = 16 };

int try_enter(void (*function)(void *argument), void *argument);
extern const char try_resume[];

bool (*user_exception)(struct interrupt_frame *frame);
uint8_t cpu_has_smap;

static void (*fatal_hook)(const struct platform_fault *fault);
static void (*explainer)(tsl_vaddr address);

const char *exception_name(uintptr_t vector)
{
    static const char *const names[] = {"divide error",
                                        "debug",
                                        "NMI",
                                        "breakpoint",
                                        "overflow",
                                        "bound range",
                                        "invalid opcode",
                                        "no coprocessor",
                                        "double fault",
                                        "coprocessor overrun",
                                        "invalid TSS",
                                        "segment not present",
                                        "stack fault",
                                        "general protection",
                                        "page fault",
                                        "vector 15",
                                        "x87 error",
                                        "alignment check",
                                        "machine check",
                                        "SIMD error",
                                        "virtualization",
                                        "control protection"};

    return vector < TSL_COUNT_OF(names) ? names[vector] : "exception";
}

/* The reserved bit first: with it, QEMU says "not present" where hardware says "present". */
static const char *page_fault_reason(uintptr_t error)
{
    if (error & PLATFORM_FAULT_RESERVED)
        return "a reserved bit is set in a table entry";
    if (!(error & PLATFORM_FAULT_PRESENT))
        return "nothing is mapped there";
    if (error & PLATFORM_FAULT_EXECUTE)
        return "the page is not executable";
    return error & PLATFORM_FAULT_WRITE ? "the page is not writable"
                                        : "the page is not for this mode";
}

static void print_cause(const struct interrupt_frame *frame)
{
    const struct tsl_sink *out = platform_console();
    uintptr_t error = frame->error;

    if (frame->vector != PLATFORM_VECTOR_PAGE_FAULT) {
        tsl_print(out, "# error code %#lx\n", (unsigned long)error);
        return;
    }
    tsl_print(out, "# %s %s of %#lx: %s (error code %#lx)\n",
              error & PLATFORM_FAULT_USER ? "user" : "kernel",
              error & PLATFORM_FAULT_EXECUTE ? "execution"
              : error & PLATFORM_FAULT_WRITE ? "write"
                                             : "read",
              (unsigned long)x86_read_cr2(), page_fault_reason(error), (unsigned long)error);
}

static void print_registers(const struct interrupt_frame *frame, uintptr_t sp)
{
    const struct tsl_sink *out = platform_console();

    tsl_print(out, "# ip %p flags %p cs %#lx\n", (void *)frame->ip, (void *)frame->flags,
              (unsigned long)frame->cs);
    tsl_print(out, "# sp %p bp %p\n", (void *)sp, (void *)frame->bp);
    tsl_print(out, "# ax %p bx %p cx %p dx %p\n", (void *)frame->ax, (void *)frame->bx,
              (void *)frame->cx, (void *)frame->dx);
    tsl_print(out, "# si %p di %p\n", (void *)frame->si, (void *)frame->di);
    frame_print_rest(frame, out);
    tsl_print(out, "# cr0 %p cr2 %p cr3 %p\n", (void *)x86_read_cr0(), (void *)x86_read_cr2(),
              (void *)x86_read_cr3());
}

/* Follows frame pointers as long as they stay on a stack and go upwards. */
static size_t return_addresses(uintptr_t bp, uintptr_t *out, size_t most)
{
    size_t count = 0;

    while (count < most) {
        const uintptr_t *frame = (const uintptr_t *)bp;

        if (bp % sizeof(uintptr_t) != 0 || !cpu_stack_contains(bp, 2 * sizeof(uintptr_t)) ||
            frame[1] == 0)
            break;
        out[count++] = frame[1];
        if (frame[0] <= bp)
            break;
        bp = frame[0];
    }
    return count;
}

size_t platform_trace(uintptr_t *out, size_t most)
{
    return return_addresses((uintptr_t)__builtin_frame_address(0), out, most);
}

/* Addresses are for addr2line. */
void backtrace(uintptr_t bp)
{
    uintptr_t addresses[BACKTRACE_DEPTH];
    size_t count = return_addresses(bp, addresses, BACKTRACE_DEPTH);

    tsl_print(platform_console(), "# called from:");
    for (size_t i = 0; i < count; i++)
        tsl_print(platform_console(), " %#lx", (unsigned long)addresses[i]);
    tsl_print(platform_console(), "\n");
}

static struct platform_fault describe(const struct interrupt_frame *frame)
{
    return (struct platform_fault){
        .vector = (unsigned)frame->vector,
        .error = frame->error,
        .address = frame->vector == PLATFORM_VECTOR_PAGE_FAULT ? x86_read_cr2() : 0,
        .ip = frame->ip};
}

TSL_NORETURN void exception_fatal(const struct interrupt_frame *frame, uintptr_t sp)
{
    struct platform_fault fault = describe(frame);
    tsl_vaddr guard;

    platform_halt_others();
    tsl_print(platform_console(), "\n# exception on CPU %u: %s (%u)\n", platform_cpu_id(),
              exception_name(frame->vector), fault.vector);
    print_cause(frame);
    bool may_be_full = frame->vector == PLATFORM_VECTOR_PAGE_FAULT ||
                       frame->vector == PLATFORM_VECTOR_DOUBLE_FAULT;
    for (unsigned i = 0; may_be_full && platform_guard_page(i, &guard); i++) {
        if (x86_read_cr2() - guard < TSL_PAGE_BYTES) {
            tsl_print(platform_console(), "# the stack is full: %#lx is in its guard page\n",
                      (unsigned long)x86_read_cr2());
        }
    }
    if (frame->vector == PLATFORM_VECTOR_PAGE_FAULT && explainer != NULL)
        explainer(fault.address);
    print_registers(frame, sp);
    backtrace(frame->bp);
    if (fatal_hook != NULL)
        fatal_hook(&fault);
    exit_with(EARLY_EXIT_PANIC);
}

/* Sends the CPU back into platform_try(), if it is inside one. */
static bool recover(struct interrupt_frame *frame)
{
    struct platform_cpu *cpu = this_cpu();

    if (cpu->recovery == 0 || frame->vector == PLATFORM_VECTOR_DOUBLE_FAULT)
        return false;
    cpu->fault = describe(frame);
    frame->ip = (uintptr_t)try_resume;
    return true;
}

static void interrupt(uintptr_t vector)
{
    if (vector >= VECTOR_LEGACY && vector < VECTOR_LEGACY + 16) {
        legacy_end_of_interrupt((unsigned)vector - VECTOR_LEGACY);
    } else if (vector == VECTOR_FLUSH) {
        tsl_flush_receive();
        apic_end_of_interrupt();
    } else if (vector == VECTOR_WAKE) {
        apic_end_of_interrupt(); /* cpu_idle() looks for work when it is awake */
    } else if (vector == VECTOR_TIMER) {
        void (*tick)(void) = this_cpu()->tick;
        if (tick != NULL)
            tick();
        apic_end_of_interrupt();
    }
}

void platform_interrupt(struct interrupt_frame *frame)
{
    if (frame->vector > LAST_EXCEPTION) {
        interrupt(frame->vector);
        return;
    }
    if (frame->vector == PLATFORM_VECTOR_NMI && cpu_is_stopped())
        cpu_halt_for_good();
    if (frame->vector != PLATFORM_VECTOR_NMI && user_exception != NULL && user_exception(frame))
        return;
    if (frame->vector == PLATFORM_VECTOR_NMI || !recover(frame))
        exception_fatal(frame, frame_stack_pointer(frame));
}

bool platform_try(void (*function)(void *argument), void *argument, struct platform_fault *out)
{
    if (try_enter(function, argument) == 0)
        return true;
    if (out != NULL)
        *out = this_cpu()->fault;
    return false;
}

struct access {
    tsl_vaddr address;
    uint8_t value;
};

static void read_it(void *argument)
{
    const struct access *access = argument;

    (void)*(volatile const uint8_t *)access->address;
}

static void write_it(void *argument)
{
    const struct access *access = argument;

    *(volatile uint8_t *)access->address = access->value;
}

static void execute_it(void *argument)
{
    const struct access *access = argument;

    ((void (*)(void))access->address)();
}

bool platform_try_read(tsl_vaddr address, struct platform_fault *out)
{
    return platform_try(read_it, &(struct access){.address = address}, out);
}

bool platform_try_write(tsl_vaddr address, uint8_t value, struct platform_fault *out)
{
    return platform_try(write_it, &(struct access){.address = address, .value = value}, out);
}

bool platform_try_execute(tsl_vaddr address, struct platform_fault *out)
{
    return platform_try(execute_it, &(struct access){.address = address}, out);
}

void platform_explain_faults(void (*hook)(tsl_vaddr address))
{
    explainer = hook;
}

void platform_on_fatal(void (*hook)(const struct platform_fault *fault))
{
    fatal_hook = hook;
}
