/* SPDX-License-Identifier: MIT
 *
 * memory_test.h: tests RAM before anybody uses it, and takes bad frames out of the map.
 *
 * Owns:    nothing; destroys the contents of what it tests.
 * Needs:   kernel_layout (the map), phys_to_virt or an access of the caller's; TSL_MEMORY_TEST.
 * Callers: boot code, on the boot CPU, between the making of the map and everything that takes
 *          memory from it.
 *
 * What finds what (van de Goor, Testing Semiconductor Memories, 1991):
 *   walking bits     data lines that are stuck or touch each other
 *   address lines    address lines that are stuck or touch each other
 *   March C-         stuck cells, cells that cannot change, cells that change with another word's
 *                    bit (inversion, idempotent, state), every fault of address decoding
 *   backgrounds      March C- with six or five more patterns: state coupling inside a word
 */
#ifndef TESELA_MEMORY_TEST_H
#define TESELA_MEMORY_TEST_H

#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/memory_map.h>
#include <tesela/status.h>
#include <tesela/types.h>

enum tsl_memory_test_kind {
    TSL_TEST_WALKING = 1 << 0,
    TSL_TEST_ADDRESS = 1 << 1,
    TSL_TEST_MARCH = 1 << 2,
    TSL_TEST_BACKGROUNDS = 1 << 3, /* more of MARCH: six (five) times as long on top of it */
    TSL_TEST_ALL = 15,
};

/* How a word of RAM is reached. Addresses are multiples of a word's size. */
struct tsl_memory_access {
    tsl_word (*read)(void *context, tsl_paddr at);
    void (*write)(void *context, tsl_paddr at, tsl_word value);
    void *context;
};

struct tsl_memory_test {
    struct tsl_memory_map *map;             /* usable ranges are tested, bad frames are retired */
    tsl_paddr end;                          /* up to here */
    unsigned kinds;                         /* enum tsl_memory_test_kind */
    const struct tsl_memory_access *access; /* NULL: through phys_to_virt, which reaches to end */
};

struct tsl_memory_test_result {
    uint64_t bytes;      /* tested */
    tsl_word errors;     /* words that were not what had been written, each time */
    tsl_word bad_frames; /* retired: TSL_MEMORY_BAD in the map */
    unsigned found_by;   /* enum tsl_memory_test_kind */
};

/*
 * Tests every usable frame below `end` but frame 0. Bad ones are taken out of the map, with a line
 * in the log each (the first 16, then a sum). On real machines caches stand between: only ranges
 * larger than they are show all faults.
 * Errors:  TSL_INVALID (no map, no kind), TSL_UNSUPPORTED (not compiled in), nothing tested.
 * Context: boot CPU, interrupts on or off; takes seconds a GiB.
 * Cost:    a word: WALKING one in 512 twice a bit, MARCH 10 accesses, BACKGROUNDS 60 (50
 *          with words of 32 bits).
 */
TSL_MUST_CHECK enum tsl_status tsl_memory_test(const struct tsl_memory_test *test,
                                               struct tsl_memory_test_result *out);

#endif
