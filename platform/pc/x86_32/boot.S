/* SPDX-License-Identifier: MIT
 *
 * boot.S: from the Multiboot loader to the first C instruction on x86-32.
 *
 * Owns:    the choice between PAE and 2-level tables, the boot tables, the boot GDT. The boot
 *          tables show: the low 4 MiB at their own addresses, the image at 0xC0000000 (its first 4
 *          MiB in 4 KiB pages, so that guard pages are possible), physical 0..512 MiB (32 MiB on a
 *          CPU without large pages) at 0xC1000000, and one table for devices at 0xF9C00000.
 * Needs:   early.S.
 * Callers: the boot loader.
 * Source:  Multiboot 0.6.96; Intel SDM volume 3, 4.3 and 4.4.
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
    xorl %ebp, %ebp             /* CPUID 1 EDX, or nothing */
    call early_has_cpuid
    jz 1f
    movl $1, %eax
    cpuid
    movl %edx, %ebp
    movl PHYSICAL(boot_info_address), %ebx
1:
#if !defined(__i486__) && !defined(__i586__)
    testl $(1 << 15), %ebp      /* the compiler was told that there is CMOV */
    movl $say_i686, %esi
    jz early_refuse
#endif
    call early_option
    cmpl $FORMAT_2LEVEL, %eax
    je use_2level
    cmpl $FORMAT_PAE, %eax
    je use_pae
    cmpl $FORMAT_ANY, %eax
    movl $say_unknown, %esi
    jne early_refuse
#if TSL_TABLE_PAE
    testl $(1 << 6), %ebp
    jnz use_pae
#endif
#if !TSL_TABLE_2LEVEL
    movl $say_pae_cpu, %esi
    jmp early_refuse
#endif

use_2level:
#if !TSL_TABLE_2LEVEL
    movl $say_2level_build, %esi
    jmp early_refuse
#endif
    movl $FORMAT_2LEVEL, PHYSICAL(boot_format)
    /* The image's first 4 MiB. */
    movl $PHYSICAL(early_image_tables), %edi
    movl $PRESENT_WRITE, %eax
    movl $1024, %ecx
1:  stosl
    addl $0x1000, %eax
    loop 1b
    movl $PHYSICAL(early_image_tables) + PRESENT_WRITE, PHYSICAL(early_directory) + 768 * 4
    movl $PHYSICAL(early_device_table) + PRESENT_WRITE, PHYSICAL(early_directory) + 999 * 4
    testl $(1 << 3), %ebp
    jz small_pages
    movl $EARLY_REACH_X86_32, PHYSICAL(boot_reach)
    movl %cr4, %eax
    orl $0x10, %eax             /* PSE */
    movl %eax, %cr4
    movl $LARGE, PHYSICAL(early_directory)
    movl $LARGE, %eax
    movl $0x400000, %edx
    movl $EARLY_REACH_X86_32 >> 22, %ecx
    jmp 2f
small_pages:
    movl $EARLY_SMALL_TABLES << 22, PHYSICAL(boot_reach)
    movl $PHYSICAL(early_small_tables), %edi
    movl $PRESENT_WRITE, %eax
    movl $EARLY_SMALL_TABLES * 1024, %ecx
1:  stosl
    addl $0x1000, %eax
    loop 1b
    movl $PHYSICAL(early_small_tables) + PRESENT_WRITE, PHYSICAL(early_directory)
    movl $PHYSICAL(early_small_tables) + PRESENT_WRITE, %eax
    movl $0x1000, %edx
    movl $EARLY_SMALL_TABLES, %ecx
2:  /* %eax: entry for physical 0, %edx: step, %ecx: how many. */
    leal (%eax, %edx), %ebx
    movl %ebx, PHYSICAL(early_directory) + 769 * 4
    addl %edx, %ebx
    movl %ebx, PHYSICAL(early_directory) + 770 * 4
    addl %edx, %ebx
    movl %ebx, PHYSICAL(early_directory) + 771 * 4
    movl $PHYSICAL(early_directory) + 772 * 4, %edi
3:  stosl
    addl %edx, %eax
    loop 3b
    movl $PHYSICAL(early_directory), %eax
    jmp paging_on

use_pae:
#if !TSL_TABLE_PAE
    movl $say_pae_build, %esi
    jmp early_refuse
#endif
    testl $(1 << 6), %ebp
    movl $say_pae_cpu, %esi
    jz early_refuse
    movl $FORMAT_PAE, PHYSICAL(boot_format)
    movl $EARLY_REACH_X86_32, PHYSICAL(boot_reach)
    /* Upper halves stay zero: all that is mapped here lies below 4 GiB. */
    movl $PHYSICAL(early_image_tables), %edi
    movl $PRESENT_WRITE, %eax
    movl $1024, %ecx
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x1000, %eax
    loop 1b
    movl $PHYSICAL(early_low_directory) + 1, PHYSICAL(early_pointers)
    movl $PHYSICAL(early_directory) + 1, PHYSICAL(early_pointers) + 3 * 8
    movl $LARGE, PHYSICAL(early_low_directory)
    movl $LARGE + 0x200000, PHYSICAL(early_low_directory) + 8
    movl $PHYSICAL(early_image_tables) + PRESENT_WRITE, PHYSICAL(early_directory)
    movl $PHYSICAL(early_image_tables) + 0x1000 + PRESENT_WRITE, %eax
    movl %eax, PHYSICAL(early_directory) + 8
    movl $PHYSICAL(early_device_table) + PRESENT_WRITE, PHYSICAL(early_directory) + 462 * 8
    movl $PHYSICAL(early_directory) + 2 * 8, %edi
    movl $LARGE + 0x400000, %eax
    movl $6, %ecx
    call fill_large
    movl $LARGE, %eax
    movl $EARLY_REACH_X86_32 >> 21, %ecx
    call fill_large
    movl %cr4, %eax
    orl $0x20, %eax             /* PAE */
    movl %eax, %cr4
    movl $PHYSICAL(early_pointers), %eax

paging_on:
    movl %eax, PHYSICAL(boot_root)
    movl %eax, %cr3
    movl %cr0, %eax
    andl $~0x60000000, %eax     /* caches on */
    orl $0x80010021, %eax       /* PG WP NE PE */
    movl %eax, %cr0
    movl $boot_high, %eax
    jmp *%eax

fill_large:                     /* %edi entries, %eax first, %ecx how many */
    movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    loop fill_large
    ret

    .section .boot.rodata, "a"
say_loader:       .asciz "not started by a Multiboot 1 loader"
#if !defined(__i486__) && !defined(__i586__)
say_i686:
    .ascii "compiled for i686, and this CPU is older"
    .asciz " (build for it: -Dkernel_c_args=-march=i486)"
#endif
say_unknown:      .asciz "paging= takes 2level or pae in this x86-32 kernel"
say_pae_cpu:      .asciz "PAE tables wanted, and this CPU has no PAE"
say_pae_build:    .asciz "paging=pae: this kernel was built without TSL_TABLE_PAE"
say_2level_build: .asciz "paging=2level: this kernel was built without TSL_TABLE_2LEVEL"

    .text
boot_high:
    addl $IMAGE_OFFSET, %esp
    movl $platform_cpus, %eax   /* a base is stored in three pieces */
    movw %ax, boot_gdt + SELECTOR_CPU + 2
    shrl $16, %eax
    movb %al, boot_gdt + SELECTOR_CPU + 4
    movb %ah, boot_gdt + SELECTOR_CPU + 7
    lgdt boot_gdt_pointer
    ljmp $SELECTOR_CODE, $1f
1:  movw $SELECTOR_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %ss
    movw $SELECTOR_CPU, %ax
    movw %ax, %gs
    xorl %ebp, %ebp             /* end of the backtrace */
    pushl %ebp
    popfl
    pushl %ebp
    call platform_start
2:  cli
    hlt
    jmp 2b

    .data
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0x00CF93000000FFFF    /* SELECTOR_CPU: the base is filled in above */
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt

    .section .bss.early, "aw", @nobits
    .balign 4096
    .global early_directory, early_image_tables, early_device_table
early_directory:     .skip 4096 /* 2-level: the root; PAE: 0xC0000000.. */
early_image_tables:  .skip 8192 /* PAE uses both pages, 2-level the first */
early_device_table:  .skip 4096
early_low_directory: .skip 4096
early_small_tables:  .skip EARLY_SMALL_TABLES * 4096
early_pointers:      .skip 32

    .section .note.GNU-stack, "", @progbits
