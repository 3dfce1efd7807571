/* SPDX-License-Identifier: MIT
 *
 * frames_flat_refusals.c: what this core has not: nodes, watermarks, banks, RAM that comes and
 * goes, counts of blocks, guards, descriptors.
 *
 * Owns:    nothing.
 * Needs:   base (refusals).
 * Callers: who asks for it all the same, and is told so. Of the tsl_descriptor_* only the one that
 *          finds a descriptor is here: there is none that the others could be asked about.
 */
#include "frames_flat.h"

#include <tesela/frame_descriptor.h>
#include <tesela/frames_banks.h>
#include <tesela/frames_blocks.h>
#include <tesela/frames_guard.h>
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

unsigned tsl_frames_bank_count(const struct tsl_frames *self)
{
    (void)self;
    return 0;
}

enum tsl_status tsl_frames_bank_stats(const struct tsl_frames *self, unsigned bank,
                                      struct tsl_frames_bank_stats *out)
{
    (void)self;
    (void)out;
    return tsl_refuse(NULL, TSL_INVALID, "frames: bank %u does not exist", bank);
}

unsigned tsl_frames_banks_rest(struct tsl_frames *self, tsl_word keep)
{
    (void)self;
    (void)keep;
    return 0;
}

enum tsl_status tsl_frames_count_blocks(const struct tsl_frames *self, unsigned node, unsigned zone,
                                        struct tsl_frames_blocks *out)
{
    (void)self;
    (void)node;
    (void)zone;
    (void)out;
    return tsl_refuse(NULL, TSL_UNSUPPORTED, "frames: not in this core");
}

enum tsl_status tsl_frames_cpu_stats(const struct tsl_frames *self, unsigned cpu,
                                     struct tsl_frames_cpu_stats *out)
{
    (void)self;
    if (cpu >= TSL_CPUS)
        return tsl_refuse(NULL, TSL_INVALID, "frames: there is no CPU %u", cpu);
    *out = (struct tsl_frames_cpu_stats){.node = 0, .held = 0};
    return TSL_OK;
}

void tsl_frames_guard_stats(const struct tsl_frames *self, struct tsl_frames_guard_stats *out)
{
    (void)self;
    *out = (struct tsl_frames_guard_stats){0};
}

enum tsl_status tsl_frames_owner(const struct tsl_frames *self, struct tsl_frame frame,
                                 struct tsl_frames_owner *out)
{
    (void)self;
    (void)frame;
    (void)out;
    return tsl_refuse(NULL, TSL_UNSUPPORTED, "frames: not in this core");
}

void tsl_frames_owners_dump(const struct tsl_frames *self, const struct tsl_sink *sink)
{
    (void)self;
    tsl_print(sink, "owners of frames: not configured\n");
}

struct tsl_frame_descriptor *tsl_descriptor_of(const struct tsl_frames *self,
                                               struct tsl_frame frame)
{
    (void)self;
    (void)frame;
    return NULL;
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
