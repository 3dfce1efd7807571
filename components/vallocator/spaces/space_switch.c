/* SPDX-License-Identifier: MIT
 *
 * space_switch.c: a CPU goes from one space to another.
 *
 * Owns:    the order: join the next, load its root, leave the last.
 * Needs:   page_table.
 * Callers: the kernel's scheduler (space.h).
 */
#include "space_internal.h"

void tsl_space_switch(struct tsl_space *from, struct tsl_space *to)
{
    if (from == to)
        return;
    const struct tsl_vm *vm = (to ? to : from)->vm;
    TSL_ASSERT(vm->config.kernel_table != NULL);
    tsl_table_switch_to(to ? &to->table : vm->config.kernel_table);
    /* Loading the root has dropped all that was remembered of `from`, or put it out of use. */
    if (from)
        tsl_table_left(&from->table);
}
