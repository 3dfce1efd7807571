/* SPDX-License-Identifier: MIT
 *
 * boot.S: from the Multiboot loader (32-bit mode) to the first C instruction on x86-64.
 *
 * Owns:    the choice between 4 and 5 levels, the boot tables, the boot GDT. The boot tables show:
 *          the low 4 GiB at their own addresses and at the start of the direct map, the image at
 *          0xFFFFFFFF80000000 (its first 4 MiB in 4 KiB pages, so that guard pages are possible),
 *          and one table for devices at 0xFFFFD80000000000.
 * Needs:   early.S.
 * Callers: the boot loader.
 * Source:  Multiboot 0.6.96; Intel SDM volume 3, 4.5 (5 levels: CR4.LA57 can only be set with
 *          paging off).
 */
#include <tesela/config.h>
#include "../early.h"
#include "machine.h"

#define PHYSICAL(symbol) ((symbol) - IMAGE_OFFSET)
#define PRESENT_WRITE    0x03
#define LARGE            0x83

    .section .boot.text, "ax"
    .code32
    .global boot_entry
boot_entry:
    cli
    cld
    movl $PHYSICAL(cpu_areas + CPU_AREA_BYTES), %esp
    movl $0x2BADB002, %ecx
    cmpl %ecx, %eax
    movl $say_loader, %esi
    jne early_refuse
    movl %ebx, PHYSICAL(boot_info_address)
    call early_has_cpuid
    movl $say_long_mode, %esi
    jz early_refuse
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    movl $say_long_mode, %esi
    jb early_refuse
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx
    movl $say_long_mode, %esi
    jz early_refuse
    xorl %ebp, %ebp             /* CPUID 7 ECX, or nothing */
    xorl %eax, %eax
    cpuid
    cmpl $7, %eax
    jb 1f
    movl $7, %eax
    xorl %ecx, %ecx
    cpuid
    movl %ecx, %ebp
1:  movl PHYSICAL(boot_info_address), %ebx
    call early_option
    cmpl $FORMAT_4LEVEL, %eax
    je use_4level
    cmpl $FORMAT_5LEVEL, %eax
    je use_5level
    cmpl $FORMAT_ANY, %eax
    movl $say_unknown, %esi
    jne early_refuse
#if TSL_TABLE_5LEVEL
    testl $(1 << 16), %ebp
    jnz use_5level
#endif
#if !TSL_TABLE_4LEVEL
    movl $say_5level_cpu, %esi
    jmp early_refuse
#endif

use_4level:
#if !TSL_TABLE_4LEVEL
    movl $say_4level_build, %esi
    jmp early_refuse
#endif
    movl $FORMAT_4LEVEL, PHYSICAL(boot_format)
    movl $PHYSICAL(early_pointers) + PRESENT_WRITE, PHYSICAL(early_top)
    movl $PHYSICAL(early_pointers) + PRESENT_WRITE, PHYSICAL(early_top) + 256 * 8
    movl $PHYSICAL(early_top), PHYSICAL(boot_root)
    movl $0x20, %ebp            /* CR4: PAE */
    jmp fill

use_5level:
#if !TSL_TABLE_5LEVEL
    movl $say_5level_build, %esi
    jmp early_refuse
#endif
    testl $(1 << 16), %ebp
    movl $say_5level_cpu, %esi
    jz early_refuse
    movl $FORMAT_5LEVEL, PHYSICAL(boot_format)
    /* One table serves the identity part (entry 0) and the direct map at 0xFF00000000000000
     * (entry 256). */
    movl $PHYSICAL(early_pointers) + PRESENT_WRITE, PHYSICAL(early_low)
    movl $PHYSICAL(early_low) + PRESENT_WRITE, PHYSICAL(early_fifth)
    movl $PHYSICAL(early_low) + PRESENT_WRITE, PHYSICAL(early_fifth) + 256 * 8
    movl $PHYSICAL(early_top) + PRESENT_WRITE, PHYSICAL(early_fifth) + 511 * 8
    movl $PHYSICAL(early_fifth), PHYSICAL(boot_root)
    movl $0x1020, %ebp          /* CR4: PAE LA57 */

fill:
    /* Upper halves stay zero: all that is mapped here lies below 4 GiB. */
    movl $PHYSICAL(early_image_pointers) + PRESENT_WRITE, PHYSICAL(early_top) + 511 * 8
    movl $PHYSICAL(early_device_pointers) + PRESENT_WRITE, PHYSICAL(early_top) + 432 * 8
    movl $PHYSICAL(early_device_directory) + PRESENT_WRITE, PHYSICAL(early_device_pointers)
    movl $PHYSICAL(early_device_table) + PRESENT_WRITE, PHYSICAL(early_device_directory)
    movl $PHYSICAL(early_image_directory) + PRESENT_WRITE, PHYSICAL(early_image_pointers) + 510 * 8
    movl $PHYSICAL(early_pointers), %edi
    movl $PHYSICAL(early_directories) + PRESENT_WRITE, %eax
    movl $0x1000, %edx
    movl $4, %ecx
    call fill_entries
    movl $PHYSICAL(early_directories), %edi
    movl $LARGE, %eax
    movl $0x200000, %edx
    movl $2048, %ecx
    call fill_entries
    movl $PHYSICAL(early_image_directory), %edi
    movl $LARGE, %eax
    movl $512, %ecx
    call fill_entries
    movl $PHYSICAL(early_image_tables), %edi
    movl $PRESENT_WRITE, %eax
    movl $0x1000, %edx
    movl $1024, %ecx
    call fill_entries
    movl $PHYSICAL(early_image_tables) + PRESENT_WRITE, PHYSICAL(early_image_directory)
    movl $PHYSICAL(early_image_tables) + 0x1000 + PRESENT_WRITE, %eax
    movl %eax, PHYSICAL(early_image_directory) + 8

    movl %cr4, %eax
    orl %ebp, %eax
    movl %eax, %cr4
    movl PHYSICAL(boot_root), %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx      /* EFER */
    rdmsr
    orl $0x100, %eax            /* LME */
    wrmsr
    movl %cr0, %eax
    andl $~0x60000000, %eax     /* caches on */
    orl $0x80010021, %eax       /* PG WP NE PE */
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $SELECTOR_CODE, $boot_long

fill_entries:                   /* %edi entries, %eax first, %edx step, %ecx how many */
    movl %eax, (%edi)
    addl $8, %edi
    addl %edx, %eax
    loop fill_entries
    ret

    .code64
boot_long:
    movabsq $boot_high, %rax
    jmp *%rax

    .section .boot.rodata, "a"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt
say_loader:       .asciz "not started by a Multiboot 1 loader"
say_long_mode:    .asciz "this x86-64 kernel needs a CPU with long mode"
say_unknown:      .asciz "paging= takes 4level or 5level in this x86-64 kernel"
say_5level_cpu:   .asciz "5-level tables wanted, and this CPU has no LA57"
say_4level_build: .asciz "paging=4level: this kernel was built without TSL_TABLE_4LEVEL"
say_5level_build: .asciz "paging=5level: this kernel was built without TSL_TABLE_5LEVEL"

    .text
    .code64
boot_high:
    movw $SELECTOR_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $0xC0000101, %ecx      /* GS base: this CPU's struct platform_cpu */
    movq $platform_cpus, %rdx
    movl %edx, %eax
    shrq $32, %rdx
    wrmsr
    movq $cpu_areas + CPU_AREA_BYTES, %rsp
    xorl %ebp, %ebp             /* end of the backtrace */
    pushq %rbp
    popfq
    pushq %rbp
    pushq %rbp
    call platform_start
1:  cli
    hlt
    jmp 1b

    .section .bss.early, "aw", @nobits
    .balign 4096
    .global early_image_tables, early_device_table
early_fifth:            .skip 4096
early_top:              .skip 4096 /* the root of 4 levels; the last entry of 5 levels */
early_low:              .skip 4096
early_pointers:         .skip 4096
early_directories:      .skip 16384
early_image_pointers:   .skip 4096
early_image_directory:  .skip 4096
early_image_tables:     .skip 8192
early_device_pointers:  .skip 4096
early_device_directory: .skip 4096
early_device_table:     .skip 4096

    .section .note.GNU-stack, "", @progbits
