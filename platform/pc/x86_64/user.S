/* SPDX-License-Identifier: MIT
 *
 * user.S: into user mode and out of it again on x86-64, and copies from and to programs.
 *
 * Owns:    the entry of SYSCALL and INT 0x80, user_enter(), user_leave(), user_copy().
 * Needs:   registers.inc, vectors.S (the way back), struct platform_cpu.
 * Callers: user.c; programs.
 * Source:  Intel SDM volume 2 (SYSCALL, SYSRET, SWAPGS), volume 3, 5.8.8.
 */
#include "../early.h"
#include "machine.h"
#include "registers.inc"

    .text

/* bool user_enter(const struct interrupt_frame *frame): runs the program from there until
 * user_leave(). The stack up to here is what the CPU's next interrupt or call continues on. */
    .global user_enter
user_enter:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    cli
    movq %rsp, %gs:CPU_OFFSET_STACK
    movq %gs:CPU_OFFSET_TASK, %rax
    movq %rsp, (%rax)
    subq $FRAME_BYTES, %rsp
    movq %rdi, %rsi
    movq %rsp, %rdi
    movl $FRAME_BYTES / 8, %ecx
    rep movsq
    jmp interrupt_return

/* void user_leave(bool result): the user_enter() of this CPU returns it. */
    .global user_leave
user_leave:
    movq %gs:CPU_OFFSET_STACK, %rsp
    movl %edi, %eax
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

/* The program's RIP is in %rcx, its flags in %r11; SFMASK has taken interrupts, the trap flag and
 * AC. Until %rsp is ours only an NMI can come, and that has a stack of its own. */
    .balign 16
    .global user_syscall
user_syscall:
    swapgs
    movq %rsp, %gs:CPU_OFFSET_USER_SP
    movq %gs:CPU_OFFSET_STACK, %rsp
    pushq $SELECTOR_USER_DATA
    pushq %gs:CPU_OFFSET_USER_SP
    pushq %r11
    pushq $SELECTOR_USER_CODE
    pushq %rcx
    pushq $0
    pushq $VECTOR_CALL
    SAVE_REGISTERS
    movq %rsp, %rdi
    call user_call
    /* user_call() lets only addresses of the user half come back: SYSRET to one that is not
     * canonical would fault in kernel mode on the program's stack. */
    RESTORE_REGISTERS
    movq 16(%rsp), %rcx         /* behind vector and error code: the frame's IP */
    movq 32(%rsp), %r11         /* flags */
    movq 40(%rsp), %rsp
    swapgs
    sysretq

/* INT 0x80: the same by an interrupt gate. */
    .balign 16
    .global user_interrupt
user_interrupt:
    pushq $0
    pushq $VECTOR_CALL
    swapgs
    SAVE_REGISTERS
    SHUT_USER_PAGES
    movq %rsp, %rdi
    call user_call
    jmp interrupt_return

/* size_t user_copy(void *to, const void *from, size_t bytes): how many bytes were not copied. One of
 * the two is the program's; a page fault that comes to nothing ends the copy (user.c). */
    .global user_copy, user_copy_access, user_copy_end
user_copy:
    movq %rdx, %rcx
    cmpb $0, cpu_has_smap
    je user_copy_access
    stac
user_copy_access:
    rep movsb
user_copy_end:
    SHUT_USER_PAGES
    movq %rcx, %rax
    ret

    .section .note.GNU-stack, "", @progbits
