/* SPDX-License-Identifier: MIT
 *
 * ram.h: the simulated RAM of a model machine, as sparse as the machine's map.
 *
 * Owns:    the memory behind physical addresses; one machine at a time.
 * Needs:   mmap, malloc.
 * Callers: the model CPUs, tests/support/machine.c (phys_to_virt), tests.
 *
 * Below `linear_end` RAM is one stretch of the process' addresses, like a direct map; above it,
 * chunks appear as they are touched and no pointer arithmetic leads from one to the next.
 */
#ifndef TESELA_HOST_RAM_H
#define TESELA_HOST_RAM_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/types.h>

#define HOST_RAM_RANGES 16u

struct host_ram_range {
    tsl_paddr start;
    tsl_paddr end; /* exclusive */
};

/*
 * Replace the simulated RAM; it reads as zero. Ranges ascend, whole pages, at most HOST_RAM_RANGES.
 * Errors:  false if the process cannot reserve the addresses.
 */
bool host_ram_create(const struct host_ram_range *ranges, size_t count, tsl_paddr linear_end);

void host_ram_destroy(void);

/* The byte at `address`, valid to the end of its page; NULL where there is no RAM. */
void *host_ram_at(tsl_paddr address);

/* The same, but NULL at and above linear_end too: what phys_to_virt gives. */
void *host_ram_linear(tsl_paddr address);

#endif
