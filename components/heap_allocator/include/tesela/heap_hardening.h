/* SPDX-License-Identifier: MIT
 *
 * heap_hardening.h: what a heap does about misuse beyond refusing bad frees.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator.h.
 * Callers: whoever makes a heap; page-fault handlers (tsl_heap_explain).
 */
#ifndef TESELA_HEAP_HARDENING_H
#define TESELA_HEAP_HARDENING_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/heap_allocator.h>

/*
 * For a kernel's handler of page faults that nobody can resolve: reports what the heap knows of
 * the address (pages that it gave back, pages behind one of its blocks), as a refusal of status
 * TSL_DENIED. False: the address has nothing to do with this heap; nothing is reported.
 * Context: any; takes no lock, so that a fault under the heap's own lock can be explained too. What
 *          other CPUs change meanwhile may be told as it was before.
 * Cost:    constant.
 */
bool tsl_heap_explain(struct tsl_heap *self, uintptr_t address);

#endif
