/* SPDX-License-Identifier: MIT
 *
 * fragmentation.c: a figure for how broken up the free memory is.
 *
 * Owns:    nothing; looks at the counts it is given.
 * Needs:   frames_blocks.h. The same for both cores.
 * Callers: the public tsl_frames_fragmentation; the dump.
 */
#include <tesela/frames_blocks.h>

int tsl_frames_fragmentation(const struct tsl_frames_blocks *blocks, unsigned order)
{
    uint64_t total = 0;
    for (unsigned i = 0; i <= TSL_FRAMES_MAX_ORDER; i++) {
        if (i >= order && blocks->free[i] > 0)
            return -1000;
        total += blocks->free[i];
    }
    if (total == 0)
        return 0;
    uint64_t wanted = 1000 + (((uint64_t)blocks->frames * 1000) >> order);
    /* Below 1,001 times the total: both may lose bits until they can be divided as words. */
    for (; wanted > ~(tsl_word)0; wanted >>= 1)
        total >>= 1;
    return 1000 - (int)((tsl_word)wanted / (tsl_word)total);
}
