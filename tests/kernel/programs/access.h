/* SPDX-License-Identifier: MIT
 *
 * access.h: what the program `access` and the kernel `stale` agree on.
 *
 * Owns:    the window's place, the form of the words.
 * Needs:   nothing.
 * Callers: access.c, stale.c.
 */
#ifndef ACCESS_H
#define ACCESS_H

#include <stdint.h>

#define ACCESS_WINDOW ((uintptr_t)0x40000000u - 16u * 4096u) /* across the border of two tables */
#define ACCESS_PAGES  32u
#define ACCESS_TAG    0xA0000000u /* in what it writes, with anything, and the page in the low byte */
#define ACCESS_FIXED  0xF00000FFu
#define ACCESS_ORDER  ((uintptr_t)0x50000000u) /* a page of its own */

struct access_order {
    uint32_t stop;
    uint32_t beats[16]; /* of each program, by CPU: it goes on */
};

#endif
