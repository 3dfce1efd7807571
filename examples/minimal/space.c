/* SPDX-License-Identifier: MIT
 *
 * space.c: what a kernel with processes adds: a space with memory and a stack, and a copy of it.
 *
 * Owns:    nothing that stays.
 * Needs:   Tesela with TSL_SPACES, started.
 * Callers: main.c. Built only where the configuration has spaces, as the desktop profile has.
 */
#include "minimal.h"

#include <tesela/memory.h>
#include <tesela/space.h>

/* A process: 64 KiB of memory that is zero until written, and a stack that grows up to 1 MiB. */
static enum tsl_status make_process(struct tsl_space **out, tsl_vaddr *memory, tsl_vaddr *stack)
{
    struct tsl_map_request data = {.bytes = 64 * 1024, .rights = TSL_READ | TSL_WRITE};
    struct tsl_map_request growing = {.bytes = 16 * 1024,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .flags = TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 1024 * 1024};
    enum tsl_status status = tsl_space_create(tsl_system()->vm, NULL, out);
    if (status != TSL_OK)
        return status;
    status = tsl_space_map(*out, &data, memory);
    if (status == TSL_OK)
        status = tsl_space_map(*out, &growing, stack);
    return status;
}

/*
 * What the page-fault handler asks: `is_write` and `is_fetch` are bits 1 and 4 of the error code,
 * the address is in CR2. On anything but TSL_OK the program has made a mistake, or memory is out.
 */
static enum tsl_status page_fault(struct tsl_space *process, tsl_vaddr address, bool is_write,
                                  bool is_fetch)
{
    unsigned access = is_write ? TSL_WRITE : is_fetch ? TSL_EXEC : TSL_READ;
    return tsl_space_fault(process, address, access, NULL);
}

/* Both processes have written: each has a page of its own by now. */
static bool have_pages_of_their_own(struct tsl_space *parent, struct tsl_space *child,
                                    tsl_vaddr address)
{
    struct tsl_page_info one, other;
    return tsl_space_query(parent, address, &one) == TSL_OK &&
           tsl_space_query(child, address, &other) == TSL_OK && one.contents == TSL_SLOT_FRAME &&
           other.contents == TSL_SLOT_FRAME && one.frame.number != other.frame.number;
}

static bool run_and_fork(struct tsl_space *parent, tsl_vaddr memory)
{
    struct tsl_space *child;
    tsl_space_switch(NULL, parent); /* with interrupts off, as here; then the way to user mode */
    bool success = page_fault(parent, memory, true, false) == TSL_OK &&
                   page_fault(parent, 0x1000, true, false) == TSL_NOT_FOUND &&
                   tsl_space_copy(parent, &child) == TSL_OK; /* fork: no page is copied */
    tsl_space_switch(parent, NULL);
    if (!success)
        return false;
    success = page_fault(child, memory, true, false) == TSL_OK && /* now one is */
              have_pages_of_their_own(parent, child, memory);
    return tsl_space_destroy(child) == TSL_OK && success;
}

bool use_space(void)
{
    struct tsl_space *process;
    tsl_vaddr memory, stack;
    if (make_process(&process, &memory, &stack) != TSL_OK)
        return false;
    bool success = run_and_fork(process, memory);
    return tsl_space_destroy(process) == TSL_OK && success;
}
