/* SPDX-License-Identifier: MIT
 *
 * trampoline.S: the first instructions of every CPU but the first, copied to 0x8000.
 *
 * Owns:    the way from real mode to cpu_entry() on the boot tables, with or without PAE.
 * Needs:   struct trampoline_data (cpu.c) at the end of the same page. No address in here may
 *          depend on where it is linked.
 * Callers: a CPU after the STARTUP interrupt.
 */
#include "../early.h"
#include "machine.h"

#define HERE(symbol) ((symbol) - trampoline_start + TRAMPOLINE_ADDRESS)
#define DATA         (TRAMPOLINE_ADDRESS + 0x1000 - 40)
#define DATA_ROOT     (DATA + 0)
#define DATA_CR0      (DATA + 4)
#define DATA_CR4      (DATA + 8)
#define DATA_EFER     (DATA + 12)
#define DATA_HAS_EFER (DATA + 16)
#define DATA_STACK    (DATA + 24)
#define DATA_CPU      (DATA + 32)

    .section .rodata
    .balign 16
    .global trampoline_start, trampoline_end
trampoline_start:
    .code16
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl HERE(trampoline_gdt_pointer)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $SELECTOR_CODE, $HERE(trampoline_32)

    .code32
trampoline_32:
    movw $SELECTOR_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl DATA_CR4, %eax
    testl %eax, %eax            /* a CPU without large pages may have no CR4 */
    jz 1f
    movl %eax, %cr4
1:  movl DATA_ROOT, %eax
    movl %eax, %cr3
    cmpl $0, DATA_HAS_EFER
    je 2f
    movl $0xC0000080, %ecx
    movl DATA_EFER, %eax
    xorl %edx, %edx
    wrmsr
2:  movl DATA_STACK, %esp
    movl DATA_CPU, %ebx
    movl DATA_CR0, %eax
    movl %eax, %cr0
    xorl %ebp, %ebp
    subl $12, %esp
    pushl %ebx
    pushl %ebp
    movl $cpu_entry, %eax
    jmp *%eax

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
trampoline_gdt_pointer:
    .word . - trampoline_gdt - 1
    .long HERE(trampoline_gdt)
trampoline_end:

    .section .note.GNU-stack, "", @progbits
