/* SPDX-License-Identifier: MIT
 *
 * cpu.c: the CPUs: their stacks, their start, their work.
 *
 * Owns:    platform_cpus[], the stacks, the trampoline page while CPUs start.
 * Needs:   acpi.c (who is there), apic.c (interrupts between CPUs), trampoline.S.
 * Callers: see platform/cpu.h.
 * Source:  Intel SDM volume 3, 8.4 (INIT-SIPI-SIPI).
 */
#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/format.h>
#include <x86/instructions.h>
#include <platform/acpi.h>
#include <platform/machine.h>
#include "early.h"
#include "pc_internal.h"

/* Downwards a stack runs into its guard. The fault stack is for double faults, which a full stack
 * ends in. */
struct cpu_area {
    char fault_guard[TSL_PAGE_BYTES];
    char fault_stack[CPU_FAULT_STACK_BYTES];
    char guard[TSL_PAGE_BYTES];
    char stack[CPU_STACK_BYTES];
};

enum job_state { JOB_NONE, JOB_BEING_POSTED, JOB_POSTED };
enum { START_TIMEOUT_US = 200000, INIT_WAIT_US = 10000, SIPI_WAIT_US = 200 };

_Static_assert(offsetof(struct platform_cpu, id) == sizeof(uintptr_t),
               "port_inline/tesela/port_inline.h reads the number at this offset");
_Static_assert(offsetof(struct platform_cpu, id) == CPU_OFFSET_ID,
               "early.h says where assembly finds the number");
_Static_assert(offsetof(struct platform_cpu, recovery) == CPU_OFFSET_RECOVERY,
               "early.h says where assembly finds the recovery point");
_Static_assert(offsetof(struct platform_cpu, stack) == CPU_OFFSET_STACK &&
                   offsetof(struct platform_cpu, task) == CPU_OFFSET_TASK,
               "machine.h says where assembly finds the stack for user mode");
_Static_assert(sizeof(struct cpu_area) == CPU_AREA_BYTES,
               "early.h says where the first stack ends");

/* What the trampoline reads, at its page's end; trampoline.S has the same offsets. */
struct trampoline_data {
    uint32_t root, cr0, cr4, efer, has_efer, unused;
    uint64_t stack, cpu;
};

extern char trampoline_start[], trampoline_end[];
extern struct cpu_area cpu_areas[PLATFORM_CPUS];
TSL_NORETURN void cpu_entry(struct platform_cpu *self);

struct cpu_area cpu_areas[PLATFORM_CPUS]
    __attribute__((section(".bss.stacks"), aligned(TSL_PAGE_BYTES)));
/* In .data: boot.S points %gs at the first before anything is known to be zero. */
struct platform_cpu platform_cpus[PLATFORM_CPUS] = {[0] = {.self = &platform_cpus[0], .online = 1}};

static unsigned cpus_known =
    1; /* numbered: CPU 0 and those that the firmware listed and we can start */
static bool start_was_tried;
static uint32_t stop_owner;  /* 1 + number of the CPU that stopped the others for good */
static tsl_paddr start_root; /* the tables that CPU 0 ran on when it started the others */
static struct tsl_cpu_features start_features; /* and what it had switched on */

/* As cpus_known; a constant where there can be one CPU only, so that the rest is not compiled. */
static unsigned known(void)
{
    return PLATFORM_CPUS == 1 ? 1 : cpus_known;
}

struct platform_cpu *this_cpu(void)
{
    struct platform_cpu *self;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(self));
    return self;
}

unsigned platform_cpu_id(void)
{
    return (unsigned)this_cpu()->id;
}

uintptr_t cpu_stack_top(unsigned cpu)
{
    return (uintptr_t)cpu_areas[cpu].stack + CPU_STACK_BYTES;
}

uintptr_t cpu_fault_stack_top(unsigned cpu)
{
    return (uintptr_t)cpu_areas[cpu].fault_stack + CPU_FAULT_STACK_BYTES;
}

/* Whether [address, address + bytes) lies in one stack: a guard page in between may not be read. */
bool cpu_stack_contains(uintptr_t address, size_t bytes)
{
    for (unsigned i = 0; i < PLATFORM_CPUS; i++) {
        uintptr_t stack = (uintptr_t)cpu_areas[i].stack,
                  fault = (uintptr_t)cpu_areas[i].fault_stack;

        if ((address >= stack && address - stack <= CPU_STACK_BYTES - bytes) ||
            (address >= fault && address - fault <= CPU_FAULT_STACK_BYTES - bytes))
            return true;
    }
    return false;
}

bool platform_guard_page(unsigned index, tsl_vaddr *out)
{
    struct cpu_area *area;

    if (index >= 2 * PLATFORM_CPUS)
        return false;
    area = &cpu_areas[index / 2];
    *out = (tsl_vaddr)(index % 2 == 0 ? area->fault_guard : area->guard);
    return true;
}

/* Gives numbers to the CPUs that the firmware listed: 0 to this one, then in the order of the list.
 */
void cpus_list(void)
{
    const struct acpi_info *acpi = platform_acpi();
    uint32_t self = apic_present() ? apic_id() : 0;

    platform_cpus[0].apic_id = self;
    for (unsigned i = 0; i < acpi->cpu_count; i++) {
        const struct acpi_cpu *listed = &acpi->cpus[i];
        struct platform_cpu *cpu;

        if (listed->apic_id == self) {
            platform_cpus[0].node = listed->node;
            continue;
        }
        if (cpus_known == PLATFORM_CPUS || !apic_present())
            continue;
        cpu = &platform_cpus[cpus_known];
        *cpu = (struct platform_cpu){
            .self = cpu, .id = cpus_known, .apic_id = listed->apic_id, .node = listed->node};
        cpus_known++;
    }
    if (!apic_present() && acpi->cpu_count > 1)
        tsl_log(TSL_LOG_WARNING, "cpu: no local APIC; CPU 0 works alone");
    if (platform_cpus_listed() > PLATFORM_CPUS) {
        tsl_log(TSL_LOG_WARNING, "cpu: %u CPUs are there, this kernel uses %u",
                platform_cpus_listed(), (unsigned)PLATFORM_CPUS);
    }
}

unsigned platform_cpus_listed(void)
{
    unsigned listed = platform_acpi()->cpu_count;

    return listed == 0 ? 1 : listed;
}

unsigned platform_cpu_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < known(); i++)
        count += tsl_atomic_load_acquire_u32(&platform_cpus[i].online);
    return count;
}

unsigned platform_cpu_node(unsigned cpu)
{
    return cpu < known() ? platform_cpus[cpu].node : 0;
}

/* ---- starting ---- */

static bool has_all(const struct tsl_cpu_features *own, const struct tsl_cpu_features *wanted)
{
    return own->pse >= wanted->pse && own->pae >= wanted->pae && own->pge >= wanted->pge &&
           own->nx >= wanted->nx && own->pages_1g >= wanted->pages_1g &&
           own->la57 >= wanted->la57 && own->pat >= wanted->pat && own->pcid >= wanted->pcid &&
           own->wp >= wanted->wp && own->smep >= wanted->smep && own->smap >= wanted->smap &&
           own->umip >= wanted->umip && own->one_size <= wanted->one_size &&
           own->physical_bits >= wanted->physical_bits;
}

/* First C of a started CPU: on the boot tables and its own stack, interrupts off. %gs is right from
 * descriptors_load() on. */
TSL_NORETURN void cpu_entry(struct platform_cpu *self)
{
    struct tsl_cpu_features features;

    descriptors_load(self);
    tsl_arch_features(&features);
    if (!has_all(&features, &start_features)) {
        tsl_atomic_store_release_u32(&self->is_unfit, 1);
        for (;;)
            x86_halt();
    }
    tsl_arch_enable(&start_features);
    tsl_arch_switch_root(start_root);
    apic_enable();
    tsl_cpu_join();
    tsl_atomic_store_release_u32(&self->online, 1);
    cpu_idle();
}

static void fill_trampoline(char *page, unsigned cpu)
{
    struct trampoline_data *data =
        (struct trampoline_data *)(page + TSL_PAGE_BYTES - sizeof(*data));
    struct tsl_cpu_features features;
    uintptr_t cr4 = x86_read_cr4();

    tsl_arch_features(&features);
    __builtin_memcpy(page, trampoline_start, (size_t)(trampoline_end - trampoline_start));
    data->root = (uint32_t)early_root();
    data->cr0 = (uint32_t)x86_read_cr0();
    data->cr4 = (uint32_t)(cr4 & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_LA57));
    data->has_efer = features.nx || EFER_FOR_PAGING != 0;
    data->efer = EFER_FOR_PAGING | (features.nx ? X86_EFER_NXE : 0u);
    data->stack = cpu_stack_top(cpu);
    data->cpu = (uintptr_t)&platform_cpus[cpu];
}

/* In every loop that waits for another CPU: that one may itself wait for this one to flush, which
 * an interrupt cannot do while interrupts are off. */
static void answer_flushes(void)
{
    tsl_pin pin = tsl_port_pin();

    tsl_flush_receive();
    tsl_port_unpin(pin);
}

static bool has_answered(struct platform_cpu *cpu)
{
    return tsl_atomic_load_acquire_u32(&cpu->online) || tsl_atomic_load_acquire_u32(&cpu->is_unfit);
}

static bool wait_for_answer(struct platform_cpu *cpu, uint64_t timeout_us)
{
    uint64_t start = platform_now_us();

    while (!has_answered(cpu)) {
        if (platform_now_us() - start >= timeout_us)
            return false;
        answer_flushes();
        x86_pause();
    }
    return true;
}

static void start_cpu(unsigned number)
{
    struct platform_cpu *cpu = &platform_cpus[number];

    apic_send(cpu->apic_id, APIC_INIT);
    platform_delay_us(INIT_WAIT_US);
    apic_send(cpu->apic_id, APIC_STARTUP | TRAMPOLINE_ADDRESS >> TSL_PAGE_SHIFT);
    if (wait_for_answer(cpu, SIPI_WAIT_US))
        return;
    apic_send(cpu->apic_id, APIC_STARTUP | TRAMPOLINE_ADDRESS >> TSL_PAGE_SHIFT);
    if (!wait_for_answer(cpu, START_TIMEOUT_US)) {
        /* It may still come to life later and use the trampoline and its stack: both stay its own.
         */
        tsl_log(TSL_LOG_WARNING, "cpu: CPU %u (APIC %u) did not start", number, cpu->apic_id);
    }
}

unsigned platform_start_cpus(void)
{
    char *page = tsl_port_phys_to_virt(TRAMPOLINE_ADDRESS);

    if (start_was_tried)
        return platform_cpu_count();
    start_was_tried = true;
    start_root = tsl_arch_root();
    tsl_arch_features(&start_features);
    for (unsigned i = 1; i < known(); i++) {
        fill_trampoline(page, i);
        start_cpu(i);
        if (tsl_atomic_load_acquire_u32(&platform_cpus[i].is_unfit))
            tsl_log(TSL_LOG_WARNING, "cpu: CPU %u lacks what CPU 0 has, and is left out", i);
        if (!has_answered(&platform_cpus[i]))
            break; /* the trampoline is taken, see start_cpu() */
    }
    return platform_cpu_count();
}

/* ---- work ---- */

static void take_job(struct platform_cpu *self)
{
    if (tsl_atomic_load_acquire_u32(&self->job) != JOB_POSTED) {
        x86_interrupts_on_and_halt();
        return;
    }
    x86_interrupts_on();
    self->job_function(self->job_argument);
    tsl_atomic_store_release_u32(&self->job, JOB_NONE);
}

/* Interrupts are off while it looks: a wake-up that comes after the look ends the sleep. */
TSL_NORETURN void cpu_idle(void)
{
    for (;;) {
        x86_interrupts_off();
        take_job(this_cpu());
    }
}

void cpu_interrupt(unsigned cpu, unsigned vector)
{
    if (!apic_send(platform_cpus[cpu].apic_id, vector))
        tsl_port_panic("the local APIC does not send: an interrupt between CPUs is lost");
}

bool platform_run_on(unsigned cpu, void (*function)(void *argument), void *argument)
{
    struct platform_cpu *target;
    uint32_t expected = JOB_NONE;

    if (cpu >= known() || cpu == platform_cpu_id() || cpu == 0)
        return false;
    target = &platform_cpus[cpu];
    if (!tsl_atomic_load_acquire_u32(&target->online) ||
        !tsl_atomic_compare_exchange_u32(&target->job, &expected, JOB_BEING_POSTED))
        return false;
    target->job_function = function;
    target->job_argument = argument;
    tsl_atomic_store_release_u32(&target->job, JOB_POSTED);
    cpu_interrupt(cpu, VECTOR_WAKE);
    return true;
}

bool platform_wait_for(unsigned cpu, uint64_t timeout_us)
{
    uint64_t start = platform_now_us();

    if (cpu >= known())
        return false;
    while (tsl_atomic_load_acquire_u32(&platform_cpus[cpu].job) != JOB_NONE) {
        if (platform_now_us() - start >= timeout_us)
            return false;
        answer_flushes();
        x86_pause();
    }
    return true;
}

bool platform_run_everywhere(void (*function)(void *argument), void *argument, uint64_t timeout_us)
{
    struct tsl_cpu_set asked = {{0}};
    unsigned self = platform_cpu_id();
    bool all = true;

    for (unsigned i = 0; i < known(); i++) {
        if (i == self || !tsl_atomic_load_acquire_u32(&platform_cpus[i].online))
            continue;
        if (platform_run_on(i, function, argument))
            tsl_cpu_set_add(&asked, i);
        else
            all = false;
    }
    function(argument);
    for (unsigned i = tsl_cpu_set_next(&asked, 0); i < TSL_CPUS;
         i = tsl_cpu_set_next(&asked, i + 1))
        all = platform_wait_for(i, timeout_us) && all;
    return all;
}

bool platform_timer(void (*tick)(void), uint32_t ticks)
{
    tsl_pin pin;

    if (!apic_present())
        return false;
    pin = tsl_port_pin();
    this_cpu()->tick = tick;
    apic_timer(tick == NULL ? 0 : ticks);
    tsl_port_unpin(pin);
    return true;
}

/* ---- stopping ---- */

/* One by one, not "all but me": a CPU that was never started is in the hands of the firmware, whose
 * table has no entry for an NMI, and would reset the machine. */
static void stop_started(unsigned self)
{
    bool any = false;

    for (unsigned i = 0; apic_present() && i < known(); i++) {
        if (i != self && tsl_atomic_load_acquire_u32(&platform_cpus[i].online)) {
            apic_stop(platform_cpus[i].apic_id);
            any = true;
        }
    }
    if (any)
        platform_delay_us(1000); /* they take the NMI at once, whatever they do */
}

void platform_halt_others(void)
{
    uint32_t self = 1 + (uint32_t)this_cpu()->id, owner = 0;

    x86_interrupts_off();
    if (tsl_atomic_compare_exchange_u32(&stop_owner, &owner, self))
        stop_started(self - 1);
    else if (owner != self)
        cpu_halt_for_good();
    console_take_over();
}

TSL_NORETURN void cpu_halt_for_good(void)
{
    for (;;) {
        x86_interrupts_off();
        x86_halt();
    }
}

bool cpu_is_stopped(void)
{
    return tsl_atomic_load_acquire_u32(&stop_owner) != 0;
}
