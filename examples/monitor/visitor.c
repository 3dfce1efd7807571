/* SPDX-License-Identifier: MIT
 *
 * visitor.c: the program that the tour runs in user mode.
 *
 * Owns:    a counter in its data, a visit to the end of its stack, a greeting.
 * Needs:   platform/program.h.
 * Callers: tour_programs.c, as a flat image.
 */
#include <platform/program.h>

static uint32_t visits;
static const char greeting[] = "    (a program in user mode says hello)\n";

/* Deep enough to make the stack grow by itself. */
static uintptr_t use_stack(void)
{
    volatile uint8_t deep[64 * 1024];
    deep[0] = 1;
    return deep[0];
}

/* `first`: an address to write to, 0 for none. Gives up the CPU once, then exits with how often it
 * has been here, in its own memory. */
uintptr_t program_main(uintptr_t first, uintptr_t second)
{
    (void)second;
    if (first != 0)
        *(volatile uint32_t *)first = 1;
    visits++;
    if (call(USER_CALL_WRITE, (uintptr_t)greeting, sizeof(greeting) - 1, 0) != sizeof(greeting) - 1)
        return 0;
    (void)call(USER_CALL_YIELD, 0, 0, 0);
    visits += (uint32_t)use_stack();
    return visits;
}
