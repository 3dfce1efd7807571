/* SPDX-License-Identifier: MIT
 *
 * touch.c: what the programs of the corpus are written with.
 *
 * Owns:    nothing.
 * Needs:   heap_allocator, host_port.h (CPUs).
 * Callers: the corpus.
 *
 * Compiled apart from the corpus, so that no compiler sees a mistake coming: they warn of most of
 * these at compile time, and sanitizers trap on what they know the size of.
 */
#include "misuse.h"

#include <tesela/config.h>

#include "host_port.h"

#define WORK_BLOCKS 600u

void *take(struct misuse *m, size_t bytes)
{
    return opaque(tsl_heap_alloc(m->heap, bytes));
}

void give(struct misuse *m, void *block)
{
    enum tsl_status status = tsl_heap_free(m->heap, opaque(block));
    (void)status;
}

void work(struct misuse *m, size_t bytes)
{
    static void *blocks[WORK_BLOCKS];
    size_t count = bytes > 4096 ? 20 : WORK_BLOCKS;

    for (size_t i = 0; i < count; i++)
        blocks[i] = take(m, bytes);
    for (size_t i = 0; i < count; i++)
        give(m, blocks[i]);
}

void on_cpu(unsigned cpu)
{
    host_port_set_cpu(cpu < TSL_CPUS ? cpu : 0);
}

void poke(void *block, ptrdiff_t offset, size_t bytes)
{
    volatile unsigned char *at = (volatile unsigned char *)((uintptr_t)block + (uintptr_t)offset);

    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(0xC3 + i);
}

unsigned peek(const void *block, ptrdiff_t offset, size_t bytes)
{
    const volatile unsigned char *at =
        (const volatile unsigned char *)((uintptr_t)block + (uintptr_t)offset);
    unsigned sum = 0;

    for (size_t i = 0; i < bytes; i++)
        sum += at[i];
    return sum;
}

void *opaque(const void *pointer)
{
    const void *volatile hidden = pointer;
    return (void *)(uintptr_t)hidden;
}

size_t opaque_size(size_t value)
{
    volatile size_t hidden = value;
    return hidden;
}
