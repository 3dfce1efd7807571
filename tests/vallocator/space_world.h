/* SPDX-License-Identifier: MIT
 *
 * space_world.h: a simulated machine whose CPUs run address spaces in user mode.
 *
 * Owns:    the one world of a test program: frames, heap, vm.
 * Needs:   tests/support/machine.h, arch/host.
 * Callers: tests/vallocator.
 */
#ifndef SPACE_WORLD_H
#define SPACE_WORLD_H

#include "tap.h"

#include "rng.h"

#include "spaces/space_internal.h"

enum { WORLD_CPUS = TSL_CPUS < 4 ? TSL_CPUS : 4, WORLD_RAM = 8 << 20 };

struct space_world {
    struct tsl_frames *frames;
    struct tsl_heap *heap;
    struct tsl_vm *vm;
    struct tsl_space *running[WORLD_CPUS]; /* what each CPU runs */
    tsl_vaddr base;                        /* an address well inside the user half */
};

extern struct space_world world;

/* commit_limit: pages, 0 for none. */
void world_start(size_t commit_limit);
/* Nothing is left, nobody used a translation that was no longer true. */
void world_stop(void);

/* The CPU runs the space, or nothing (NULL). */
void world_run(unsigned cpu, struct tsl_space *space);

/*
 * One byte as a program on the CPU would read or write it: faults are handed to the space. TSL_OK,
 * or what the fault came to.
 */
enum tsl_status world_load(unsigned cpu, struct tsl_space *space, tsl_vaddr address,
                           unsigned char *out);
enum tsl_status world_store(unsigned cpu, struct tsl_space *space, tsl_vaddr address,
                            unsigned char value);
enum tsl_status world_fetch(unsigned cpu, struct tsl_space *space, tsl_vaddr address);

/* Ends a space that CPUs may still run. */
void world_destroy(struct tsl_space *space);

/* Maps private memory at a fixed address. */
void world_map(struct tsl_space *space, tsl_vaddr at, size_t pages, unsigned rights);

/* Frames, heap bytes and commitments in use: for "as before" and "all gone". */
struct world_usage {
    tsl_word frames;
    size_t counted;
    size_t committed;
};
struct world_usage world_usage(void);

/* Every frame's map count is the number of entries that lead there in these spaces, which are all
 * that there are. */
void world_check_maps(struct tsl_space *const *spaces, size_t count);

/* A number that changes with the regions, private slots, commitments and counts of a space; and one
 * that changes with the entries of its tables. */
uint64_t world_image(struct tsl_space *space);
uint64_t world_entries(struct tsl_space *space);

/* Takes all of the heap; gives one block of it back, any (rng) or the last (NULL). False: none
 * left.
 */
void world_eat_heap(void);
bool world_give_heap_back(struct rng *rng);

/* Takes frames until exactly `left` are free, and gives them back. */
void world_leave_frames(tsl_word left);
void world_give_frames_back(void);

#endif
