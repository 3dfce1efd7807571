/* SPDX-License-Identifier: MIT
 *
 * exceptions.c: every kind of expected fault comes back with its error code; a full stack ends in a
 * readable report instead of a reset; whoever reports stops the other CPUs.
 *
 * Owns:    the test kernel `exceptions`. On the command line: tables=own starts Tesela first, so
 *          that all of it runs on the kernel's own tables; overflow=1 and stop=1 run what ends the
 *          kernel.
 * Needs:   platform/pc, the facade, tap.h.
 * Callers: tests/kernel/meson.build.
 */
#include "start.h"

#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/port.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include <platform/machine.h>
#include <x86/instructions.h>

/* In no range of any layout: between the devices and the windows. */
static tsl_vaddr unmapped_address(void)
{
    const struct platform_boot *boot = platform_boot();

    return boot->device_count > 0 ? boot->devices[0].start + 0x10000 : boot->image.offset - 0x1000;
}

static uint8_t data_byte = 0xC3; /* ret */
static const uint8_t constant_byte = 0xC3;

static void reads_what_is_mapped(void)
{
    CHECK(platform_try_read((tsl_vaddr)&data_byte, NULL));
    CHECK(platform_try_write((tsl_vaddr)&data_byte, 0xC3, NULL));
    CHECK(platform_try_read((tsl_vaddr)&constant_byte, NULL));
}

static void unmapped_pages_fault(void)
{
    struct platform_fault fault = {0};
    tsl_vaddr address = unmapped_address();

    CHECK(!platform_try_read(address, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_PAGE_FAULT);
    CHECK_EQ(fault.error, 0);
    CHECK_EQ(fault.address, address);
    CHECK(!platform_try_write(address + 5, 1, &fault));
    CHECK_EQ(fault.error, PLATFORM_FAULT_WRITE);
    CHECK_EQ(fault.address, address + 5);
}

static void text_and_constants_are_read_only(void)
{
    struct platform_fault fault = {0};

    CHECK(!platform_try_write((tsl_vaddr)&constant_byte, 0, &fault));
    CHECK_EQ(fault.error, PLATFORM_FAULT_PRESENT | PLATFORM_FAULT_WRITE);
    CHECK(!platform_try_write(platform_boot()->image.text.start + 0x1000, 0, &fault));
    CHECK_EQ(fault.error, PLATFORM_FAULT_PRESENT | PLATFORM_FAULT_WRITE);
    CHECK_EQ(constant_byte, 0xC3);
}

static void data_is_not_executable(void)
{
    struct platform_fault fault = {0};
    struct tsl_cpu_features features;

    tsl_arch_features(&features);
    if (!features.nx || platform_boot()->format_name[0] == '2')
        SKIP("no execute protection with this CPU and format");
    CHECK(!platform_try_execute((tsl_vaddr)&data_byte, &fault));
    CHECK_EQ(fault.error, PLATFORM_FAULT_PRESENT | PLATFORM_FAULT_EXECUTE);
    CHECK_EQ(fault.address, (tsl_vaddr)&data_byte);
    CHECK_EQ(fault.ip, (tsl_vaddr)&data_byte);
}

static void guard_pages_are_not_there(void)
{
    struct platform_fault fault = {0};
    tsl_vaddr guard;
    unsigned count;

    for (count = 0; platform_guard_page(count, &guard); count++) {
        CHECK(!platform_try_write(guard + 4095, 1, &fault));
        CHECK_EQ(fault.error, PLATFORM_FAULT_WRITE);
        CHECK(platform_try_read(guard + 4096, NULL));
    }
    CHECK_EQ(count, 2 * PLATFORM_CPUS);
}

static void divide(void *argument)
{
    __asm__ volatile("divl %1" ::"a"(1), "r"(*(volatile uint32_t *)argument), "d"(0));
}

static void undefined(void *argument)
{
    (void)argument;
    __asm__ volatile("ud2");
}

static void break_here(void *argument)
{
    *(volatile uint32_t *)argument = 7;
    __asm__ volatile("int3");
    *(volatile uint32_t *)argument = 8;
}

static void bad_selector(void *argument)
{
    (void)argument;
    __asm__ volatile("mov %w0, %%fs" ::"r"(0x1230));
}

static void other_exceptions_come_back(void)
{
    struct platform_fault fault = {0};
    uint32_t number = 0;

    CHECK(!platform_try(divide, &number, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_DIVIDE);
    CHECK(!platform_try(undefined, NULL, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_INVALID_OPCODE);
    CHECK(!platform_try(bad_selector, NULL, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_PROTECTION);
    CHECK_EQ(fault.error, 0x1230);
    CHECK(!platform_try(break_here, &number, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_BREAKPOINT);
    CHECK_EQ(number, 7);
}

static void outer(void *argument)
{
    struct platform_fault fault = {0};

    *(bool *)argument = !platform_try(undefined, NULL, &fault);
    (void)platform_try_read(0x1000, NULL);
    undefined(NULL);
}

static void tries_nest(void)
{
    struct platform_fault fault = {0};
    bool inner_faulted = false;

    CHECK(!platform_try(outer, &inner_faulted, &fault));
    CHECK(inner_faulted);
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_INVALID_OPCODE);
}

static void interrupts_off(void *argument)
{
    (void)argument;
    x86_interrupts_off();
    undefined(NULL);
}

static void flags_come_back(void)
{
    x86_interrupts_on();
    CHECK(!platform_try(interrupts_off, NULL, NULL));
    CHECK(x86_read_flags() & X86_FLAG_INTERRUPTS);
    x86_interrupts_off();
}

static void image_ranges_are_whole_pages(void)
{
    const struct platform_image *image = &platform_boot()->image;
    const struct platform_range *ranges[] = {&image->text, &image->rodata, &image->data,
                                             &image->bss};

    for (unsigned i = 0; i < TSL_COUNT_OF(ranges); i++) {
        CHECK_EQ(ranges[i]->start % TSL_PAGE_BYTES, 0);
        CHECK_EQ(ranges[i]->end % TSL_PAGE_BYTES, 0);
        CHECK(ranges[i]->start < ranges[i]->end);
        CHECK(i == 0 || ranges[i]->start == ranges[i - 1]->end);
    }
    CHECK_EQ(image->text.start, image->offset + 0x100000);
    CHECK((tsl_vaddr)&constant_byte >= image->rodata.start &&
          (tsl_vaddr)&constant_byte < image->rodata.end);
}

static bool on_own_tables;

static void text_is_read_only_by_every_way(void)
{
    struct platform_fault fault = {0};
    const struct platform_image *image = &platform_boot()->image;
    uint8_t *alias = tsl_port_phys_to_virt(image->text.start - image->offset);

    if (!on_own_tables)
        SKIP("the boot tables show all memory writable in the direct map");
    CHECK(platform_try_read((tsl_vaddr)alias, NULL));
    CHECK(!platform_try_write((tsl_vaddr)alias, 0, &fault));
    CHECK_EQ(fault.error, PLATFORM_FAULT_PRESENT | PLATFORM_FAULT_WRITE);
}

TAP_SUITE(exceptions, TAP_TEST(reads_what_is_mapped), TAP_TEST(unmapped_pages_fault),
          TAP_TEST(text_and_constants_are_read_only), TAP_TEST(data_is_not_executable),
          TAP_TEST(guard_pages_are_not_there), TAP_TEST(other_exceptions_come_back),
          TAP_TEST(tries_nest), TAP_TEST(flags_come_back), TAP_TEST(image_ranges_are_whole_pages),
          TAP_TEST(text_is_read_only_by_every_way));

/* ---- what does not come back ---- */

/* The report of an exception has been printed; the run ends here, well or not. */
static TSL_NORETURN void finish(bool good, const char *what, unsigned number)
{
    tsl_print(platform_console(), "1..1\n%sok 1 - %s (%u)\n", good ? "" : "not ", what, number);
    platform_exit(good);
}

static unsigned volatile depth;
static unsigned overflow_cpu;

static void after_the_double_fault(const struct platform_fault *fault)
{
    finish(fault->vector == PLATFORM_VECTOR_DOUBLE_FAULT && depth > 50 && depth < 2000 &&
               platform_cpu_id() == overflow_cpu,
           "a full stack is reported", depth);
}

/* Fills the stack: each call waits for the next. The compiler must not see that it never ends. */
static unsigned fill_the_stack(unsigned value);
static unsigned (*volatile fill_more)(unsigned value) = fill_the_stack;

static unsigned fill_the_stack(unsigned value)
{
    volatile unsigned kept[16];

    kept[value % 16] = value;
    depth = depth + 1;
    return kept[value % 16] + fill_more(value + 1) + kept[(value + 1) % 16];
}

static void overflow(void *argument)
{
    (void)argument;
    (void)fill_the_stack(1);
}

/* On the last CPU that there is. */
static void overflow_somewhere(void)
{
    overflow_cpu = platform_start_cpus() - 1;
    platform_on_fatal(after_the_double_fault);
    if (overflow_cpu == 0)
        overflow(NULL);
    (void)platform_run_on(overflow_cpu, overflow, NULL);
    platform_delay_us(20000000);
}

static uint32_t steps[PLATFORM_CPUS];

static uint32_t steps_of_all(void)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < PLATFORM_CPUS; i++)
        sum += tsl_atomic_load_u32(&steps[i]);
    return sum;
}

/* The worst that can be stopped: deaf to interrupts. */
static void step_for_ever(void *argument)
{
    (void)argument;
    x86_interrupts_off();
    for (;;)
        (void)tsl_atomic_add_u32(&steps[platform_cpu_id()], 1);
}

static void after_the_stop(const struct platform_fault *fault)
{
    uint32_t before;

    platform_delay_us(50000); /* an emulated CPU may be late to see its NMI */
    before = steps_of_all();
    platform_delay_us(50000);
    finish(fault->vector == PLATFORM_VECTOR_INVALID_OPCODE && before > 0 &&
               steps_of_all() == before,
           "an exception stops the other CPUs", platform_cpu_count());
}

static void stop_the_others(void)
{
    unsigned count = platform_start_cpus();

    for (unsigned i = 1; i < count; i++) {
        (void)platform_run_on(i, step_for_ever, NULL);
        while (tsl_atomic_load_u32(&steps[i]) == 0)
            x86_pause();
    }
    (void)tsl_atomic_add_u32(&steps[0], 1);
    platform_on_fatal(after_the_stop);
    undefined(NULL);
}

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_exceptions, NULL};
    char option[8];

    (void)boot;
    if (platform_option("tables", option, sizeof(option))) {
        if (!test_start())
            return false;
        on_own_tables = true;
    }
    if (platform_option("overflow", option, sizeof(option))) {
        overflow_somewhere();
        return false;
    }
    if (platform_option("stop", option, sizeof(option))) {
        stop_the_others();
        return false;
    }
    return tap_run(suites, NULL, platform_console()).failed == 0;
}
