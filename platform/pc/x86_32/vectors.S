/* SPDX-License-Identifier: MIT
 *
 * vectors.S: the way from an interrupt gate to platform_interrupt() and back, and platform_try()'s
 * two ends.
 *
 * Owns:    vector_stubs (16 bytes each), the layout of struct interrupt_frame on the stack.
 * Needs:   registers.inc; frame.h has the same layout.
 * Callers: the CPU through the IDT; exceptions.c. Double faults take the task gate instead of their
 *          stub.
 */
#include "../early.h"
#include "machine.h"
#include "registers.inc"

    .text
    .balign 16
    .global vector_stubs
vector_stubs:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,\
            16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,\
            32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,\
            48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63
    .balign 16
    /* The CPU pushes an error code itself for 8, 10 to 14, 17, 21, 29 and 30. */
    .if !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21 || \n == 29 || \n == 30)
    pushl $0
    .endif
    pushl $\n
    jmp interrupt_common
    .endr
    .balign 16

interrupt_common:
    SAVE_REGISTERS
    SHUT_USER_PAGES
    movl %esp, %eax
    movl %esp, %ebx
    andl $-16, %esp
    subl $12, %esp
    pushl %eax
    call platform_interrupt
    movl %ebx, %esp
    .global interrupt_return
interrupt_return:               /* %esp: a struct interrupt_frame */
    RESTORE_REGISTERS
    addl $8, %esp               /* vector, error code */
    iretl

/* int try_enter(void (*function)(void *), void *argument): 0 when it returned, 1 when it met an
 * exception. The stack pointer in the CPU's area says where to go back to; the outer one is kept on
 * the stack. */
    .global try_enter, try_resume
try_enter:
    pushl %ebp
    movl %esp, %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushfl
    pushl %gs:CPU_OFFSET_RECOVERY
    movl %esp, %gs:CPU_OFFSET_RECOVERY
    subl $12, %esp
    pushl 12(%ebp)
    call *8(%ebp)
    addl $16, %esp
    xorl %eax, %eax
1:  popl %gs:CPU_OFFSET_RECOVERY
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret
try_resume:                     /* exceptions.c sends the CPU here */
    movl %gs:CPU_OFFSET_RECOVERY, %esp
    movl $1, %eax
    jmp 1b

    .section .note.GNU-stack, "", @progbits
