/* SPDX-License-Identifier: MIT
 *
 * early.S: what both architectures do in 32-bit mode before there are any page tables.
 *
 * Owns:    the Multiboot 1 header, the search for `paging=` on the command line, and the way out
 *          when this kernel cannot run on this machine: one line on COM1 and the exit code for
 *          failure (never a triple fault).
 * Needs:   nothing; it runs at its physical address, with paging off, on the stack that boot.S has
 *          set.
 * Callers: boot.S of both architectures only. Registers as each routine says.
 */
#include "early.h"

    .section .multiboot, "a"
    .balign 4
    /* Flags: modules on page boundaries, memory map wanted. */
    .long 0x1BADB002, 3, -(0x1BADB002 + 3)

    .section .boot.text, "ax"
    .code32

/* early_option: which page table format does the command line ask for?
 * In: %ebx Multiboot information. Out: %eax FORMAT_* . Keeps %ebx %ebp. */
    .global early_option
early_option:
    testl $4, (%ebx)            /* is there a command line? */
    jz 9f
    movl 16(%ebx), %esi
    movl $EARLY_OPTION_LIMIT, %edx
1:  movl $option_name, %edi
    call matches
    je 4f
2:  lodsb                       /* go to the start of the next word */
    testb %al, %al
    jz 9f
    decl %edx
    jz 9f
    cmpb $' ', %al
    jne 2b
    jmp 1b

4:  movl %eax, %esi             /* the value */
    movl $option_values, %edi
    movl $FORMAT_2LEVEL, %edx
5:  call matches
    jne 6f
    movb (%eax), %cl            /* the word has to end here */
    testb %cl, %cl
    jz 7f
    cmpb $' ', %cl
    je 7f
6:  addl $OPTION_VALUE_BYTES, %edi
    incl %edx
    cmpl $FORMAT_UNKNOWN, %edx
    jb 5b
7:  movl %edx, %eax
    ret
9:  movl $FORMAT_ANY, %eax
    ret

/* matches: does the text at %esi start with the string at %edi?
 * Out: ZF set when it does, and %eax behind it. Keeps all but %eax %ecx. */
matches:
    pushl %esi
    pushl %edi
1:  movb (%edi), %cl
    testb %cl, %cl
    jz 2f
    incl %edi
    cmpb (%esi), %cl
    jne 3f
    incl %esi
    jmp 1b
2:  movl %esi, %eax             /* ZF is set */
3:  popl %edi
    popl %esi
    ret

/* early_has_cpuid: the 486 may have no CPUID; then the ID flag cannot be changed.
 * Out: ZF clear when CPUID exists. Keeps %ebx. */
    .global early_has_cpuid
early_has_cpuid:
    pushfl
    popl %eax
    movl %eax, %ecx
    xorl $(1 << 21), %eax
    pushl %eax
    popfl
    pushfl
    popl %eax
    pushl %ecx
    popfl
    xorl %ecx, %eax
    testl $(1 << 21), %eax
    ret

/* early_refuse: prints "boot: " and the sentence at %esi on COM1 and ends the run as failed. */
    .global early_refuse
early_refuse:
    movl $uart_setup, %edi
1:  movzwl (%edi), %edx
    testl %edx, %edx
    jz 2f
    movb 2(%edi), %al
    outb %al, %dx
    addl $3, %edi
    jmp 1b
2:  pushl %esi
    movl $refuse_start, %esi
    call early_print
    popl %esi
    call early_print
    movl $refuse_end, %esi
    call early_print
    movl $EARLY_EXIT_FAILED, %eax
    outl %eax, $EARLY_EXIT_PORT
3:  cli
    hlt
    jmp 3b

early_print:
    lodsb
    testb %al, %al
    jz 3f
    movb %al, %bl
    movl $0x10000, %ecx         /* a missing port must not hang us */
    movw $0x3FD, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jnz 2f
    loop 1b
2:  movw $0x3F8, %dx
    movb %bl, %al
    outb %al, %dx
    jmp early_print
3:  ret

    .section .boot.rodata, "a"
option_name:    .asciz "paging="
/* In the order of FORMAT_2LEVEL .. FORMAT_5LEVEL. */
option_values:
    .ascii "2level\0\0"
    .ascii "pae\0\0\0\0\0"
    .ascii "4level\0\0"
    .ascii "5level\0\0"
refuse_start:   .asciz "boot: cannot start: "
refuse_end:     .asciz "\r\n"
/* Port * 256 + value: interrupts off, divisor 1 (115200), 8N1, FIFO on, DTR and RTS. */
uart_setup:
    .irp pair, 0x3F900, 0x3FB80, 0x3F801, 0x3F900, 0x3FB03, 0x3FA07, 0x3FC03
    .word \pair >> 8
    .byte \pair & 0xFF
    .endr
    .word 0

    .section .note.GNU-stack, "", @progbits
