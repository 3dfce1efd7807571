/* SPDX-License-Identifier: MIT
 *
 * attack.S: one thing that a program may not do, chosen by number.
 *
 * Owns:    the instructions of each attack.
 * Needs:   attacks.h (the order), start.S (the header), program.ld.
 * Callers: attackers.c, as a program. Exit code 0: as it has to be; 1: not refused; others: see there.
 */
#include "attacks.h"

#ifdef __x86_64__
#define ATTACKS_HERE(X) ATTACKS_64(X)
#define WORD .quad
#define WORD_BYTES 8
#define AX %rax
#define BX %rbx
#define CX %rcx
#define DX %rdx
#define SI %rsi
#define DI %rdi
#define SP %rsp
#define BP %rbp
#define PUSHF pushfq
#define POPF popfq
#define IRET iretq
#define LRET lretq
/* Number in AX; what it leaves: the answer in AX. */
#define CALL syscall
#define FIRST DI
#define SECOND SI
#else
#define ATTACKS_HERE(X) ATTACKS_32(X)
#define WORD .long
#define WORD_BYTES 4
#define AX %eax
#define BX %ebx
#define CX %ecx
#define DX %edx
#define SI %esi
#define DI %edi
#define SP %esp
#define BP %ebp
#define PUSHF pushfl
#define POPF popfl
#define IRET iretl
#define LRET lretl
#define CALL int $0x80
#define FIRST BX
#define SECOND CX
#endif

#define FLAG(bit) $(1 << (bit))

    .text
    .global program_main
program_main:
#ifdef __x86_64__
    movq %rsi, %rax
#else
    movl 4(%esp), %edi
    movl 8(%esp), %eax
#endif
    call *attack_table(, DI, WORD_BYTES)
    ret

/* ---- Addresses. ---- */

attack_nothing:
    xor AX, AX
    ret
attack_read:
    movb (AX), %cl
    jmp survived
attack_write:
    movb $1, (AX)
    xor AX, AX                  /* where it is allowed, it is specified so */
    ret
attack_jump:
attack_jump_last:
    jmp *AX
attack_execute:
    movb $0xC3, (AX)            /* ret */
    call *AX
    xor AX, AX
    ret
attack_overflow_stack:
1:  push AX
    jmp 1b
attack_push_on:
    mov AX, SP
    push AX
    jmp survived
attack_read_around_the_end:
    mov $-2, AX
    mov (AX), CX
    jmp survived
attack_return_to:
    push AX
    ret

/* ---- Instructions. ---- */

attack_cli:
    cli
    jmp survived
attack_sti:
    sti
    jmp survived
attack_hlt:
    hlt
    jmp survived
attack_in:
    inb $0x60, %al
    jmp survived
attack_out:
    outb %al, $0xF4             /* would end the machine */
    jmp survived
attack_outs:
    movw $0xF4, %dx
    mov $attack_table, SI
    outsb
    jmp survived
attack_read_cr0:
    mov %cr0, AX
    jmp survived
attack_write_cr0:
    mov AX, %cr0
    jmp survived
attack_write_cr3:
    mov AX, %cr3
    jmp survived
attack_write_cr4:
    mov AX, %cr4
    jmp survived
attack_write_dr7:
    mov AX, %dr7
    jmp survived
attack_lgdt:
    lgdt scratch
    jmp survived
attack_lgdt_crooked:
    lgdt scratch + 3
    jmp survived
attack_lidt:
    lidt scratch
    jmp survived
attack_lldt:
    xorl %eax, %eax
    lldt %ax
    jmp survived
attack_ltr:
    movl $0x20, %eax
    ltr %ax
    jmp survived
attack_lmsw:
    lmsw %ax
    jmp survived
attack_clts:
    clts
    jmp survived
attack_invlpg:
    invlpg (AX)
    jmp survived
attack_wbinvd:
    wbinvd
    jmp survived
attack_rdmsr:
    movl $0xC0000080, %ecx
    rdmsr
    jmp survived
attack_wrmsr:
    movl $0xC0000080, %ecx
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    jmp survived
attack_sgdt:
    sgdt scratch
    jmp survived
attack_far_return_to_kernel:
    push $0x08
    push AX
    LRET
attack_interrupt_return_to_kernel:
    mov SP, CX
    push $0x10
    push CX
    PUSHF
    push $0x08
    push AX
    IRET
attack_load_kernel_stack_segment:
    movl $0x10, %eax
    movw %ax, %ss
    jmp survived
attack_load_cpu_segment:
    movl $0x18, %eax            /* x86-64 has nothing there, which is as bad */
    movw %ax, %gs
    jmp survived
attack_load_task_segment:
    movl $0x20, %eax
    movw %ax, %ds
    jmp survived
attack_raise_privilege_of_io:
    PUSHF
    orl $0x3000, (SP)
    POPF
    cli
    jmp survived
attack_int_page_fault:
    int $14
    jmp survived
attack_int_double_fault:
    int $8
    jmp survived
attack_int_flush:
    int $0x30
    jmp survived
attack_int_without_gate:
    int $0x41
    jmp survived
attack_int_beyond_gates:
    int $0xFF
    jmp survived
attack_sysenter:
    sysenter
    jmp survived
attack_int3:
    int3
    jmp survived
attack_int_overflow:
    int $4
    jmp survived
attack_ud2:
    ud2
attack_rsm:
    rsm
    jmp survived
attack_divide_by_zero:
    xorl %ecx, %ecx
    movl $1, %eax
    xorl %edx, %edx
    divl %ecx
    jmp survived
attack_divide_overflow:
    movl $0x80000000, %eax
    cltd
    movl $-1, %ecx
    idivl %ecx
    jmp survived
attack_single_step:
    PUSHF
    orl FLAG(8), (SP)
    POPF
    nop
    jmp survived
attack_single_step_into_call:
    xor AX, AX
    PUSHF
    orl FLAG(8), (SP)
    POPF
    CALL
    jmp survived
attack_floating_point:
    fninit
    jmp survived

/* ---- Calls. ---- */

attack_keep_interrupts_on:
    PUSHF
    andl $~(1 << 9), (SP)
    POPF                        /* without the privilege the flag is silently kept */
    PUSHF
    pop AX
    testl FLAG(9), %eax
    jz survived
    xor AX, AX
    ret

    .macro CALL_WITH_FLAG bit
    PUSHF
    orl $(1 << \bit), (SP)
    POPF
    xor AX, AX
    CALL
    PUSHF
    pop CX
    testl $(1 << \bit), %ecx    /* it is the program's, and still there */
    jz survived
    push $2
    POPF
    ret                         /* the answer is 0 */
    .endm

attack_call_with_alignment_check:
    CALL_WITH_FLAG 18
/* With AC set in the kernel its own stray accesses would reach our pages. The call tries one. */
attack_call_past_smap:
    call set_alignment_check
    mov AX, FIRST
    movl $16, %eax              /* USER_CALL_OWN */
    CALL
    ret
attack_interrupt_past_smap:
    call set_alignment_check
    mov AX, FIRST
    movl $16, %eax
    int $0x80
    ret
set_alignment_check:
    PUSHF
    orl $(1 << 18), (SP)
    POPF
    ret
attack_call_with_direction:
    CALL_WITH_FLAG 10
attack_call_with_nested_task:
    CALL_WITH_FLAG 14
attack_call_with_kernel_stack:
    mov SP, BP
    mov AX, SP
    xor AX, AX
    CALL
    mov BP, SP
    ret
attack_call_unknown:
    movl $9, %eax
    CALL
    jmp 1f
attack_call_huge_number:
    mov $-1, AX
    CALL
1:  sub $-2, AX                 /* USER_CALL_UNKNOWN */
    ret
attack_call_keeps_registers:
    mov $0x5151, BX
    mov $0x5252, BP
    mov $0x5353, DX
    mov $0x5454, SI
    mov $0x5555, DI
    xor AX, AX
    CALL
    sub $0x5151, BX
    sub $0x5252, BP
    sub $0x5353, DX
    sub $0x5454, SI
    sub $0x5555, DI
    or BX, AX
    or BP, AX
    or DX, AX
    or SI, AX
    or DI, AX
    ret
attack_touch:
    mov AX, FIRST
    xor SECOND, SECOND
    jmp touch
attack_touch_to_write:
    mov AX, FIRST
    mov $1, SECOND
touch:
    movl $4, %eax               /* USER_CALL_TOUCH */
    CALL
    jmp expect_fault
attack_write_call:
    mov AX, FIRST
    mov $16, SECOND
    jmp write
attack_write_call_across_the_end:
    mov AX, FIRST
    sub $8, FIRST
    mov $16, SECOND
    jmp write
attack_write_call_wrapped:
    mov $-8, FIRST
    mov $16, SECOND
    jmp write
attack_write_call_of_everything:
    mov AX, FIRST
    mov $-1, SECOND
write:
    movl $2, %eax               /* USER_CALL_WRITE */
    CALL
expect_fault:
    sub $-1, AX                 /* USER_CALL_FAULT */
    ret

#ifdef __x86_64__
attack_swapgs:
    swapgs
    jmp survived
attack_sysret:
    mov AX, CX
    sysretq
attack_write_cr8:
    mov AX, %cr8
    jmp survived
attack_interrupt_call:
    xorl %eax, %eax
    int $0x80
    ret
#else
attack_into:
    movl $0x7FFFFFFF, %eax
    addl $1, %eax
    into
    jmp survived
attack_bound:
    movl $5, %eax
    bound %eax, scratch         /* 0 to 0 */
    jmp survived
attack_far_call_of_task:
    lcall $0x30, $0
    jmp survived
attack_virtual_8086:
    pushfl
    orl $(1 << 17), (%esp)
    popfl                       /* silently not taken over */
    pushfl
    popl %eax
    andl $(1 << 17), %eax
    ret
attack_calls_without_segments:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    int $0x80
    movl %ds, %ecx
    orl %ecx, %eax
    movl %gs, %ecx
    orl %ecx, %eax
    movl %ss, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    ret
#endif

survived:
    mov $1, AX
    ret

    .section .rodata
    .balign 8
#define X(name, value, outcome, detail) WORD attack_##name;
attack_table:
    ATTACKS_EVERYWHERE(X)
    ATTACKS_HERE(X)

    .bss
    .balign 8
scratch:
    .skip 64

    .section .note.GNU-stack, "", @progbits
