/* SPDX-License-Identifier: MIT
 *
 * platform/user.h: programs in user mode.
 *
 * Owns:    struct platform_user: one program's registers, and how it ended.
 * Needs:   vallocator with TSL_SPACES (the program's memory); platform/fault.h.
 * Callers: kernels, on any CPU. They link platform_user_sources.
 *
 * A program runs on the CPU that calls platform_user_run(), until it gives up the CPU, exits, or
 * does what it may not. Its page faults go to its space; a fault that comes to nothing kills the
 * program with a line that says what and where, never the kernel. Programs have no floating point.
 */
#ifndef PLATFORM_USER_H
#define PLATFORM_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <platform/fault.h>
#include <platform/user_calls.h>
#include <tesela/space.h>
#include "frame.h"

enum platform_user_state {
    PLATFORM_USER_READY,  /* has not run, or gave up the CPU: may be run */
    PLATFORM_USER_EXITED, /* by itself, with `code` */
    PLATFORM_USER_KILLED  /* by `fault` */
};

struct platform_user {
    const char *name;
    struct tsl_space *space;
    /* Answers calls from USER_CALL_OWN on, with interrupts off, in the program's space; NULL: there
     * are none. */
    uintptr_t (*call)(struct platform_user *self, uintptr_t number, const uintptr_t argument[3]);
    void *context;
    tsl_vaddr entry;
    enum platform_user_state state;
    uintptr_t code;
    struct platform_fault fault;
    enum tsl_status status; /* what the space said to a page fault that killed it */
    bool is_quiet;          /* its end is not logged */
    struct interrupt_frame frame;
};

/*
 * Makes room for a flat image in an empty space: text, constants and data each with its own rights,
 * and a stack that grows down from PLATFORM_USER_STACK_TOP to 256 KiB. *out is ready to run, with
 * two words of `argument` in registers.
 * Errors:  TSL_INVALID (the image's header contradicts itself or `bytes`), and those of
 *          tsl_space_map and tsl_space_protect; what was mapped before stays the space's.
 * Context: as tsl_space_map; the CPU visits the space meanwhile.
 */
TSL_MUST_CHECK enum tsl_status platform_user_load(struct platform_user *out, const char *name,
                                                  struct tsl_space *space, const void *image,
                                                  size_t bytes, const uintptr_t argument[2]);

/* Makes it ready to run from its first instruction, on a stack that ends at `stack_top`. */
void platform_user_begin(struct platform_user *self, tsl_vaddr stack_top,
                         const uintptr_t argument[2]);

#define PLATFORM_USER_STACK_TOP   ((tsl_vaddr)0xB0000000u)
#define PLATFORM_USER_STACK_BYTES ((size_t)256 << 10)

/*
 * Runs the program on this CPU and returns its state.
 * Before:  it is ready; no program runs on this CPU already (calls do not nest).
 */
enum platform_user_state platform_user_run(struct platform_user *self);

/*
 * This CPU's kernel works in `space` from now on (NULL: in the kernel's own tables): the copies
 * below reach it. Returns what it was before. Cost: as tsl_space_switch.
 */
struct tsl_space *platform_space_visit(struct tsl_space *space);

/*
 * Copies between the kernel and the user half of the space that this CPU runs or visits. False: a
 * page of the program's range could not be had, the range is not all in the user half, or the CPU
 * visits no space; what was copied before stays copied. Faults at the program's side are answered
 * as its own would be, those at the kernel's side are the kernel's.
 * Context: no lock of vallocator held.
 */
TSL_MUST_CHECK bool platform_copy_from_user(void *to, tsl_vaddr from, size_t bytes);
TSL_MUST_CHECK bool platform_copy_to_user(tsl_vaddr to, const void *from, size_t bytes);

#endif
