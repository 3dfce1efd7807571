/* SPDX-License-Identifier: MIT
 *
 * legacy.c: the two 8259 interrupt controllers, which serve the one device interrupt this port
 * takes (serial input).
 *
 * Owns:    their vectors (0x20 ..) and masks.
 * Needs:   x86/instructions.h. The local APIC of CPU 0 passes their interrupts on (apic.c).
 * Callers: platform/pc, CPU 0.
 * Source:  Intel 8259A data sheet.
 */
#include <x86/instructions.h>
#include "pc_internal.h"

enum {
    MASTER_COMMAND = 0x20,
    MASTER_DATA = 0x21,
    SLAVE_COMMAND = 0xA0,
    SLAVE_DATA = 0xA1,
    END_OF_INTERRUPT = 0x20,
    READ_IN_SERVICE = 0x0B,
    SPURIOUS_LINE = 7,
};

/* Moves the vectors out of the exceptions' way and masks all lines. */
void legacy_interrupts_mask(void)
{
    x86_out8(MASTER_COMMAND, 0x11);
    x86_out8(SLAVE_COMMAND, 0x11);
    x86_out8(MASTER_DATA, VECTOR_LEGACY);
    x86_out8(SLAVE_DATA, VECTOR_LEGACY + 8);
    x86_out8(MASTER_DATA, 0x04);
    x86_out8(SLAVE_DATA, 0x02);
    x86_out8(MASTER_DATA, 0x01);
    x86_out8(SLAVE_DATA, 0x01);
    x86_out8(MASTER_DATA, 0xFF);
    x86_out8(SLAVE_DATA, 0xFF);
}

/* Before: line < 8. */
void legacy_interrupt_enable(unsigned line)
{
    x86_out8(MASTER_DATA, (uint8_t)(x86_in8(MASTER_DATA) & ~(1u << line)));
}

/* An interrupt that went away before it was taken comes as line 7 of its controller and is not in
 * service. */
void legacy_end_of_interrupt(unsigned line)
{
    if (line == SPURIOUS_LINE || line == SPURIOUS_LINE + 8) {
        uint16_t command = line < 8 ? MASTER_COMMAND : SLAVE_COMMAND;

        x86_out8(command, READ_IN_SERVICE);
        if (!(x86_in8(command) & 0x80))
            return;
    }
    if (line >= 8)
        x86_out8(SLAVE_COMMAND, END_OF_INTERRUPT);
    x86_out8(MASTER_COMMAND, END_OF_INTERRUPT);
}
