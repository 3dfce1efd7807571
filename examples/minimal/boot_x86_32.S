/* SPDX-License-Identifier: MIT
 *
 * boot_x86_32.S: from the Multiboot entry to kernel_main(), on early tables of 4 MiB pages.
 *
 * Owns:    the early page directory, the descriptor table and the boot stack.
 * Needs:   a CPU with PSE, a Multiboot 1 loader.
 * Callers: the boot loader.
 *
 * Early tables: the first 4 MiB at their own address (to get through the switch), the first 16 MiB
 * at the image's address, the first 512 MiB at the direct map.
 */
#include <tesela/layout_x86_32.h>

#define PRESENT_WRITABLE_LARGE 0x83

	.section .multiboot, "a"
	.balign 4
	.long 0x1BADB002, 3, -(0x1BADB002 + 3)

	.section .boot, "awx"
	.globl _start
_start:
	cld
	movl	%ebx, %esi		/* where the loader's information lies */
	movl	$early_directory, %edi
	movl	$PRESENT_WRITABLE_LARGE, (%edi)
	leal	(TSL_X86_32_IMAGE_START >> 22) * 4(%edi), %edx
	movl	$4, %ecx
	call	map
	leal	(TSL_X86_32_DIRECT_MAP_START >> 22) * 4(%edi), %edx
	movl	$128, %ecx
	call	map
	movl	%cr4, %eax
	orl	$0x10, %eax		/* PSE */
	movl	%eax, %cr4
	movl	%edi, %cr3
	movl	%cr0, %eax
	orl	$0x80010000, %eax	/* PG, WP */
	movl	%eax, %cr0
	lgdt	descriptors_pointer	/* the loader's may lie anywhere */
	ljmp	$8, $1f
1:	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	movl	$stack_top, %esp
	xorl	%ebp, %ebp
	pushl	%esi
	movl	$kernel_main, %eax
	call	*%eax
1:	cli
	hlt
	jmp	1b

/* Maps %ecx large pages from physical 0 on, entries from (%edx) on. */
map:	movl	$PRESENT_WRITABLE_LARGE, %eax
1:	movl	%eax, (%edx)
	addl	$0x400000, %eax
	addl	$4, %edx
	loop	1b
	ret

	.section .boot.bss, "aw", @nobits
	.balign 4096
early_directory:
	.skip	4096

	.data
	.balign 8
descriptors:
	.quad	0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
descriptors_pointer:
	.word	23
	.long	descriptors

	.bss
	.balign 16
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
