/* SPDX-License-Identifier: MIT
 *
 * test_seed_example.c: the usage examples that the project started from, to the letter and in
 * order.
 *
 * Owns:    suite seed_example.
 * Needs:   the facade, started.
 * Callers: the kernel `facade`.
 */
#include "tap.h"

#include <tesela/memory.h>

static void examples_run_in_order(void)
{
    // Physical memory allocation
    uintptr_t phys_addr = allocate_physical_page();
    CHECK(phys_addr != 0);
    free_physical_page(phys_addr);

    // Heap allocation
    void *ptr = kmalloc(1024);
    CHECK(ptr != NULL);
    kfree(ptr);

    // Virtual memory allocation
    void *virt_addr = valloc(4096, VM_READ | VM_WRITE);
    CHECK(virt_addr != NULL);
    vfree(virt_addr);

    // Memory mapping: both have been freed above, so both are refused
    CHECK_STATUS(map_page(virt_addr, phys_addr, VM_READ | VM_WRITE), TSL_DENIED);
    CHECK_STATUS(unmap_page(virt_addr), TSL_NOT_FOUND);
}

static void mapping_works_with_a_page_that_is_ours(void)
{
    uintptr_t phys_addr = allocate_physical_page();
    void *virt_addr = valloc(4096, VM_READ | VM_WRITE);
    vfree(virt_addr);
    CHECK_STATUS(map_page(virt_addr, phys_addr, VM_READ | VM_WRITE), TSL_OK);
    *(volatile int *)virt_addr = 42;
    CHECK_EQ(*(volatile int *)virt_addr, 42);
    CHECK_STATUS(unmap_page(virt_addr), TSL_OK);
    CHECK_STATUS(unmap_page(virt_addr), TSL_NOT_FOUND);
    free_physical_page(phys_addr);
}

TAP_SUITE(seed_example, TAP_TEST(examples_run_in_order),
          TAP_TEST(mapping_works_with_a_page_that_is_ours));
