/* SPDX-License-Identifier: MIT
 *
 * boot_x86_64.S: from the Multiboot entry to kernel_main() in 64-bit mode, on early tables of 2 MiB
 * pages.
 *
 * Owns:    the early tables, the descriptor table and the boot stack.
 * Needs:   a CPU with long mode, a Multiboot 1 loader.
 * Callers: the boot loader.
 *
 * Early tables show the first GiB three times: at its own address (to get through the switch), at
 * the image's address and at the direct map.
 */
#include <tesela/layout_x86_64.h>

#define PRESENT_WRITABLE 3
#define LARGE 0x80

	.section .multiboot, "a"
	.balign 4
	.long 0x1BADB002, 3, -(0x1BADB002 + 3)

	.section .boot, "awx"
	.code32
	.globl _start
_start:
	cld
	movl	%ebx, %esi		/* where the loader's information lies */
	movl	$early_directory, %edi
	movl	$(PRESENT_WRITABLE | LARGE), %eax
	movl	$512, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b
	movl	$(early_directory + PRESENT_WRITABLE), early_low
	movl	$(early_directory + PRESENT_WRITABLE), early_high + 510 * 8
	movl	$(early_low + PRESENT_WRITABLE), early_root
	movl	$(early_low + PRESENT_WRITABLE), early_root + 256 * 8
	movl	$(early_high + PRESENT_WRITABLE), early_root + 511 * 8
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$early_root, %eax
	movl	%eax, %cr3
	movl	$0xC0000080, %ecx	/* EFER: long mode */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80010000, %eax	/* PG, WP */
	movl	%eax, %cr0
	lgdt	descriptors_pointer
	ljmp	$8, $long_mode

	.code64
long_mode:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	$stack_top, %rsp
	lgdt	descriptors_pointer_64
	xorl	%ebp, %ebp
	movl	%esi, %edi
	movq	$kernel_main, %rax
	call	*%rax
1:	cli
	hlt
	jmp	1b

	.balign 8
descriptors:
	.quad	0, 0x00AF9B000000FFFF
descriptors_pointer:
	.word	15
	.long	descriptors
/* The same through the direct map: the kernel's own tables show no other place of it, and any
 * interrupt reads it. */
descriptors_pointer_64:
	.word	15
	.quad	descriptors + TSL_X86_64_DIRECT_MAP_START_4LEVEL

	.section .boot.bss, "aw", @nobits
	.balign 4096
early_root:
	.skip	4096
early_low:
	.skip	4096
early_high:
	.skip	4096
early_directory:
	.skip	4096

	.bss
	.balign 16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
