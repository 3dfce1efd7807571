/* SPDX-License-Identifier: MIT
 *
 * start.S: where a program begins, and its calls, on both architectures.
 *
 * Owns:    the entry.
 * Needs:   program.ld; the numbers of platform/user_calls.h.
 * Callers: the kernel; programs, through platform/program.h.
 */
#ifdef __x86_64__
#define WORD .quad
#else
#define WORD .long
#endif
    .section .head, "ax"
    WORD program_text, program_rodata, program_data, program_bss, program_end, program_start

    .text
    .global program_start, call, call_by_interrupt
#ifdef __x86_64__
program_start:
    xorl %ebp, %ebp
    call program_main
    movq %rax, %rdi
    movl $1, %eax               /* USER_CALL_EXIT */
    syscall
    ud2

call:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    syscall
    ret

call_by_interrupt:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    int $0x80
    ret
#else
program_start:
    xorl %ebp, %ebp
    pushl %ecx
    pushl %ebx
    call program_main
    movl %eax, %ebx
    movl $1, %eax               /* USER_CALL_EXIT */
    int $0x80
    ud2

call:
call_by_interrupt:
    pushl %ebx
    movl 8(%esp), %eax
    movl 12(%esp), %ebx
    movl 16(%esp), %ecx
    movl 20(%esp), %edx
    int $0x80
    popl %ebx
    ret
#endif

    .section .note.GNU-stack, "", @progbits
