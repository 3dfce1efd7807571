/* SPDX-License-Identifier: MIT
 *
 * start.c: the first C function, and the order in which this port comes to life.
 *
 * Owns:    that order.
 * Needs:   all other files of the port. Entered from boot.S on the boot tables, with %gs at
 *          platform_cpus[0], interrupts off.
 * Callers: boot.S.
 */
#include <tesela/arch.h>
#include <tesela/cpu.h>
#include <platform/acpi.h>
#include <platform/machine.h>
#include "pc_internal.h"

TSL_NORETURN void platform_start(void);

TSL_NORETURN void platform_start(void)
{
    struct tsl_cpu_features features;

    console_start();
    descriptors_load(&platform_cpus[0]);
    legacy_interrupts_mask();
    boot_read(boot_info_address);
    tsl_arch_features(&features);
    tsl_arch_enable(&features);
    cpu_has_smap = features.smap;
    early_protect_image(&platform_boot()->image,
                        features.nx && platform_boot()->format_name[0] != '2');
    early_guard_stacks();
    time_start();
    acpi_read();
    apic_map(platform_acpi()->local_apic);
    apic_enable();
    boot_set_devices(apic_present() ? platform_acpi()->local_apic : 0);
    cpus_list();
    tsl_cpu_join();
    platform_exit(kernel_main(platform_boot()));
}
