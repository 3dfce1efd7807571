/* SPDX-License-Identifier: MIT
 *
 * vm_fixture.h: a small machine with frames, a running page table, a heap, and an empty window.
 *
 * Owns:    the one fixture of a test program.
 * Needs:   tests/support/machine.h, arch/host.
 * Callers: tests/vallocator.
 */
#ifndef VM_FIXTURE_H
#define VM_FIXTURE_H

#include "tap.h"

#include <tesela/heap_allocator.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>

struct vm_fixture {
    struct tsl_frames *frames;
    struct tsl_table table; /* the model CPU runs on it */
    struct tsl_heap *heap;  /* in an array of its own: needs no frames */
    tsl_vaddr window;       /* the layout's valloc range */
};

extern struct vm_fixture vm;

void vm_fixture_start(void);
/* The same in a format of this name, on a CPU with these features [NULL: machine.h]. */
void vm_fixture_start_on(const char *format, const struct tsl_cpu_features *features);
void vm_fixture_stop(void);

/* The rights that this machine can tell apart: all three, or without TSL_EXEC. */
unsigned vm_fixture_distinguished(void);

/* Of them, what the CPU may do with the byte at `address`. */
unsigned vm_fixture_rights(tsl_vaddr address);

/* Remembers what is free, and what tables exist; lost() says how many frames less there are now. */
void vm_fixture_mark(void);
tsl_word vm_fixture_lost(void);

/* Takes frames until exactly `left` are free, and gives them back. */
void vm_fixture_leave_frames(tsl_word left);
void vm_fixture_give_frames_back(void);

#endif
