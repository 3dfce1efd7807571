/* SPDX-License-Identifier: MIT
 *
 * x86_internal.h: what the files of arch/x86 share.
 *
 * Owns:    one fact that tsl_arch_enable() leaves for the flushes.
 * Needs:   x86/instructions.h.
 * Callers: arch/x86 only.
 */
#ifndef X86_INTERNAL_H
#define X86_INTERNAL_H

#include <x86/instructions.h>

/* Global pages are on. The oldest CPUs have no CR4 to ask. Written by every CPU with the same value
 * before it uses a table. */
extern bool tsl_x86_has_global_pages;

#endif
