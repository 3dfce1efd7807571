/* SPDX-License-Identifier: MIT
 *
 * access.c: reads and writes pages that somebody else maps, protects and unmaps meanwhile.
 *
 * Owns:    what it writes: the page's number and a tag, so that a word tells whose it is, and
 *          something that is another each time.
 * Needs:   platform/program.h, access.h; the kernel kills it whenever a page may not be touched,
 *          and starts it again.
 * Callers: stale.c, on several CPUs at once.
 */
#include "access.h"

#include <platform/program.h>

static uint32_t next_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* `first`: a struct access_order; `second`: where the random numbers begin, the CPU in the low four
 * bits. */
uintptr_t program_main(uintptr_t first, uintptr_t second)
{
    volatile struct access_order *order = (volatile struct access_order *)first;
    uint32_t state = (uint32_t)second;

    while (!order->stop) {
        uint32_t page = next_number(&state) % ACCESS_PAGES;
        volatile uint32_t *word =
            (volatile uint32_t *)(ACCESS_WINDOW + page * 4096u) + next_number(&state) % 1024;
        order->beats[second % 16]++;
        if (next_number(&state) % 2 == 0) {
            *word = ACCESS_TAG | (state & ~ACCESS_FIXED) | page;
        } else {
            uint32_t value = *word;
            if (value != 0 && (value & ACCESS_FIXED) != (ACCESS_TAG | page))
                return value;
        }
    }
    return 0;
}
