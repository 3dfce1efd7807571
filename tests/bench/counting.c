/* SPDX-License-Identifier: MIT
 *
 * counting.c: which CPUs hold which cache line, and what each access therefore costs.
 *
 * Owns:    the table of lines, the counters.
 * Needs:   the counting atomic.h, port.h (which CPU is running).
 * Callers: the counting atomics; bench_frames_scale.c reads the counters.
 *
 * A line is held by those CPUs that have read it since it was last written, or by its last writer
 * alone. Caches are endless: a line moves only because CPUs share it. An access that finds its line
 * held by others only, or a write to a line that others hold too, is one transfer.
 */
#include "counting.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/port.h>

#include "bench_host.h"

#define LINE_BYTES 64u
#define LINES      ((size_t)1 << 21)

_Static_assert(TSL_CPUS <= 64, "a line's holders are one word");

struct counting counting;

static struct {
    uintptr_t line;
    uint64_t holders;
} lines[LINES];

static uint64_t *holders_of(uintptr_t line)
{
    size_t place = (size_t)(line * 0x9e3779b97f4a7c15ull >> 43) % LINES;
    for (size_t tries = 0; tries < LINES; tries++) {
        if (lines[place].line == line || lines[place].line == 0) {
            lines[place].line = line;
            return &lines[place].holders;
        }
        place = (place + 1) % LINES;
    }
    bench_require(0, "more cache lines than the model has");
    return NULL;
}

void *counting_access(const volatile void *place, enum counting_access access)
{
    uint64_t *holders = holders_of((uintptr_t)place / LINE_BYTES);
    uint64_t me = (uint64_t)1 << tsl_port_cpu_id();
    uint64_t others = *holders & ~me;
    counting.accesses++;
    counting.locked += access == COUNTING_LOCKED;
    if (access == COUNTING_READ) {
        counting.transfers += others != 0 && (*holders & me) == 0;
        *holders |= me;
    } else {
        counting.transfers += others != 0;
        *holders = me;
    }
    return (void *)(uintptr_t)place;
}
