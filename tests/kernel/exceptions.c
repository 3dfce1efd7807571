/* SPDX-License-Identifier: MIT
 *
 * exceptions.c: every kind of expected fault comes back with its error code, and a full stack ends
 * in a readable report instead of a reset.
 *
 * Owns:  the test kernel `exceptions`.
 * Needs: platform/pc on its boot tables, tap.h.
 * Who may call: tests/kernel/meson.build.
 */
#include "tap.h"

#include <tesela/arch.h>
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
    if (!features.nx || platform_boot()->format_name[0] == '2') {
        SKIP("no execute protection with this CPU and format");
    }
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

TAP_SUITE(exceptions, TAP_TEST(reads_what_is_mapped), TAP_TEST(unmapped_pages_fault),
          TAP_TEST(text_and_constants_are_read_only), TAP_TEST(data_is_not_executable),
          TAP_TEST(guard_pages_are_not_there), TAP_TEST(other_exceptions_come_back),
          TAP_TEST(tries_nest), TAP_TEST(flags_come_back), TAP_TEST(image_ranges_are_whole_pages));

/* ---- the last one does not come back ---- */

static bool all_passed;
static unsigned volatile depth;

/* What the double fault has to look like when it reaches us. */
static void after_the_double_fault(const struct platform_fault *fault)
{
    bool good = fault->vector == PLATFORM_VECTOR_DOUBLE_FAULT && depth > 50 && depth < 2000;

    tsl_print(platform_console(), "1..1\n%sok 1 - a full stack is reported (%u frames deep)\n",
              good ? "" : "not ", depth);
    platform_exit(good);
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

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_exceptions, NULL};
    char option[8];

    (void)boot;
    if (platform_option("overflow", option, sizeof(option))) {
        platform_on_fatal(after_the_double_fault);
        return fill_the_stack(1) == 0;
    }
    all_passed = tap_run(suites, NULL, platform_console()).failed == 0;
    return all_passed;
}
