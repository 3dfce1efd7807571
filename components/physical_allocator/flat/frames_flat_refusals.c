/* SPDX-License-Identifier: MIT
 *
 * frames_flat_refusals.c: what this core has not: nodes, watermarks, banks, RAM that comes and
 * goes.
 *
 * Owns:    nothing.
 * Needs:   base (refusals).
 * Callers: who asks for it all the same, and is told so.
 */
#include "frames_flat.h"

#include <tesela/frames_banks.h>
#include <tesela/frames_hotplug.h>
#include <tesela/frames_pressure.h>

static enum tsl_status unsupported(struct tsl_frames *self)
{
    return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "frames: not in this core");
}

enum tsl_status tsl_frames_set_cpu_node(struct tsl_frames *self, unsigned cpu, unsigned node)
{
    (void)cpu;
    (void)node;
    return unsupported(self);
}

enum tsl_status tsl_frames_set_policy(struct tsl_frames *self, unsigned flags)
{
    (void)flags;
    return unsupported(self);
}

enum tsl_status tsl_frames_set_watermarks(struct tsl_frames *self,
                                          const struct tsl_frames_watermarks *marks)
{
    (void)marks;
    return unsupported(self);
}

enum tsl_frames_level tsl_frames_level(const struct tsl_frames *self)
{
    (void)self;
    return TSL_LEVEL_PLENTY;
}

enum tsl_status tsl_frames_set_banks(struct tsl_frames *self, tsl_paddr first, tsl_paddr bytes,
                                     const struct tsl_frames_bank_switch *hardware)
{
    (void)first;
    (void)bytes;
    (void)hardware;
    return unsupported(self);
}

size_t tsl_frames_plan_absent(struct tsl_memory_map *map, const struct tsl_memory_range *places,
                              size_t count, tsl_paddr end, uint64_t most_bytes,
                              struct tsl_memory_range *out)
{
    (void)map;
    (void)places;
    (void)count;
    (void)end;
    (void)most_bytes;
    (void)out;
    return 0;
}

tsl_word tsl_frames_absent_count(const struct tsl_frames *self)
{
    (void)self;
    return 0;
}

enum tsl_status tsl_frames_add_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes)
{
    (void)start;
    (void)bytes;
    return unsupported(self);
}

enum tsl_status tsl_frames_remove_range(struct tsl_frames *self, tsl_paddr start, uint64_t bytes,
                                        bool is_reserved)
{
    (void)start;
    (void)bytes;
    (void)is_reserved;
    return unsupported(self);
}
