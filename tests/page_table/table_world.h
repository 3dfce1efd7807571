/* SPDX-License-Identifier: MIT
 *
 * table_world.h: one table on a simulated machine, and a second opinion about it.
 *
 * Owns:    the machine and the table under test.
 * Needs:   machine.h, arch/host's walker.
 * Callers: tests of page_table.
 */
#ifndef TABLE_WORLD_H
#define TABLE_WORLD_H

#include <machine.h>
#include <tesela/gather.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>

#define MIB ((tsl_paddr)1 << 20)
#define GIB ((tsl_paddr)1 << 30)

struct world {
    struct tsl_frames *frames;
    struct tsl_table table;
    tsl_word free_before; /* frames before the table was made */
};

/*
 * Machine and table. `config` NULL: 64 MiB, everything the format can do. The table runs on every
 * CPU of the machine. REQUIRE the result.
 */
bool world_open(struct world *self, const struct tsl_table_format *format,
                const struct machine_config *config);

/* Check the table once more, take it off the CPUs, end it; all frames must be back. */
void world_close(struct world *self);

/* No CPU used what it should have forgotten, walked through what was free, met a reserved bit, or
 * found an instruction under two sizes of page. */
void world_nothing_stale(void);

/* The start of a layout range. */
tsl_vaddr world_start(enum tsl_layout_use use);

/*
 * Query and the independent walker must both say: nothing at `va`, or this page with these
 * attributes. True if they do; checks are counted.
 */
bool world_agrees(struct world *self, tsl_vaddr va, bool present, tsl_paddr target,
                  unsigned attributes);

/* Run `body` once for every format compiled in, with its name noted on failure. */
void for_each_format(void (*body)(const struct tsl_table_format *format));

/* A frame from the world's allocator, by address; 0 and a failed check if there is none. */
tsl_paddr world_frame(struct world *self, unsigned order);

/* The raw entry that decides `va`, for tests that damage it; its level in *level. */
void *world_entry(struct world *self, tsl_vaddr va, unsigned *level);
uint64_t world_entry_get(struct world *self, const void *entry);
void world_entry_set(struct world *self, void *entry, uint64_t value);

#endif
