/* SPDX-License-Identifier: MIT
 *
 * vectors.S: the way from an interrupt gate to platform_interrupt() and back, and platform_try()'s
 * two ends.
 *
 * Owns:    vector_stubs (16 bytes each), the layout of struct interrupt_frame on the stack.
 * Needs:   registers.inc; frame.h has the same layout.
 * Callers: the CPU through the IDT; exceptions.c.
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
    pushq $0
    .endif
    pushq $\n
    .if \n == 2 || \n == 8
    jmp interrupt_anywhere
    .else
    jmp interrupt_common
    .endif
    .endr
    .balign 16

interrupt_common:
    testb $3, 24(%rsp)          /* CS: from user mode %gs is the program's */
    jz 1f
    swapgs
1:  SAVE_REGISTERS
    SHUT_USER_PAGES
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $-16, %rsp
    call platform_interrupt
    movq %rbx, %rsp
    .global interrupt_return
interrupt_return:               /* %rsp: a struct interrupt_frame */
    testb $3, FRAME_OFFSET_CS(%rsp)
    jz 3f
    swapgs
3:  RESTORE_REGISTERS
    addq $16, %rsp              /* vector, error code */
    iretq

/* NMI and double fault may come between a change of mode and its SWAPGS. Neither returns. */
interrupt_anywhere:
    SAVE_REGISTERS
    movl $0xC0000101, %ecx      /* the base of %gs: ours is an address of the kernel's half */
    rdmsr
    testl %edx, %edx
    js 1f
    swapgs
1:  movq %rsp, %rdi
    andq $-16, %rsp
    call platform_interrupt
    ud2

/* int try_enter(void (*function)(void *), void *argument): 0 when it returned, 1 when it met an
 * exception. The stack pointer in the CPU's area says where to go back to; the outer one is kept on
 * the stack. */
    .global try_enter, try_resume
try_enter:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    pushq %gs:CPU_OFFSET_RECOVERY
    subq $8, %rsp
    movq %rsp, %gs:CPU_OFFSET_RECOVERY
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    xorl %eax, %eax
1:  addq $8, %rsp
    popq %gs:CPU_OFFSET_RECOVERY
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
try_resume:                     /* exceptions.c sends the CPU here */
    movq %gs:CPU_OFFSET_RECOVERY, %rsp
    movl $1, %eax
    jmp 1b

    .section .note.GNU-stack, "", @progbits
