/* SPDX-License-Identifier: MIT
 *
 * user.S: into user mode and out of it again on x86-32, and copies from and to programs.
 *
 * Owns:    the entry of INT 0x80, user_enter(), user_leave(), user_copy().
 * Needs:   registers.inc, vectors.S (the way back), struct platform_cpu.
 * Callers: user.c; programs.
 */
#include "../early.h"
#include "machine.h"
#include "registers.inc"

    .text

/* bool user_enter(const struct interrupt_frame *frame): runs the program from there until
 * user_leave(). The stack up to here is what the CPU's next interrupt or call continues on. */
    .global user_enter
user_enter:
    movl 4(%esp), %eax
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushfl
    cli
    movl %esp, %gs:CPU_OFFSET_STACK
    movl %gs:CPU_OFFSET_TASK, %ecx
    movl %esp, (%ecx)
    subl $FRAME_BYTES, %esp
    movl %eax, %esi
    movl %esp, %edi
    movl $FRAME_BYTES / 4, %ecx
    rep movsl
    movl $SELECTOR_USER_DATA, %eax
    movl %eax, %fs              /* it has the kernel's; the others are in the frame */
    jmp interrupt_return

/* void user_leave(bool result): the user_enter() of this CPU returns it. */
    .global user_leave
user_leave:
    movl 4(%esp), %eax
    movl %gs:CPU_OFFSET_STACK, %esp
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    .balign 16
    .global user_interrupt, user_syscall
user_interrupt:
user_syscall:                   /* there is no such instruction in most CPUs of this width */
    pushl $0
    pushl $VECTOR_CALL
    SAVE_REGISTERS
    SHUT_USER_PAGES
    movl %esp, %ebx
    andl $-16, %esp
    subl $12, %esp
    pushl %ebx
    call user_call
    movl %ebx, %esp
    jmp interrupt_return

/* size_t user_copy(void *to, const void *from, size_t bytes): how many bytes were not copied. One of
 * the two is the program's; a page fault that comes to nothing ends the copy (user.c). */
    .global user_copy, user_copy_access, user_copy_end
user_copy:
    pushl %esi
    pushl %edi
    movl 12(%esp), %edi
    movl 16(%esp), %esi
    movl 20(%esp), %ecx
    cmpb $0, cpu_has_smap
    je user_copy_access
    stac
user_copy_access:
    rep movsb
user_copy_end:
    SHUT_USER_PAGES
    movl %ecx, %eax
    popl %edi
    popl %esi
    ret

    .section .note.GNU-stack, "", @progbits
