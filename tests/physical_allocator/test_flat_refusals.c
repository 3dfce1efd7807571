/* SPDX-License-Identifier: MIT
 *
 * test_flat_refusals.c: what the flat core has not is refused, and changes nothing.
 *
 * Owns:    the suite flat_refusals.
 * Needs:   frames_world.h; the flat core.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/frame_descriptor.h>
#include <tesela/frames_banks.h>
#include <tesela/frames_blocks.h>
#include <tesela/frames_guard.h>
#include <tesela/frames_hotplug.h>
#include <tesela/frames_pressure.h>

static struct world world;
static size_t written;

static void count_bytes(void *context, const char *text, size_t length)
{
    (void)context;
    (void)text;
    written += length;
}

static void ram_does_not_change(struct tsl_frames *self)
{
    struct tsl_memory_range out[TSL_FRAMES_MAX_ABSENT];
    const struct tsl_memory_range place = {1 * GIB, 2 * GIB, TSL_MEMORY_USABLE};
    struct tsl_frames_bank_stats bank = {.total = 7};
    CHECK_STATUS(tsl_frames_set_banks(self, 0, 2 * MIB, NULL), TSL_UNSUPPORTED);
    CHECK_EQ(tsl_frames_bank_count(self), 0);
    CHECK_STATUS(tsl_frames_bank_stats(self, 0, &bank), TSL_INVALID);
    CHECK_EQ(bank.total, 7);
    CHECK_EQ(tsl_frames_banks_rest(self, 0), 0);
    CHECK_STATUS(tsl_frames_add_range(self, 8 * MIB, 2 * MIB), TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_remove_range(self, 8 * MIB, 2 * MIB, false), TSL_UNSUPPORTED);
    CHECK_EQ(tsl_frames_absent_count(self), 0);
    CHECK_EQ(tsl_frames_plan_absent(&world.map, &place, 1, 4 * GIB, GIB, out), 0);
}

static void what_is_not_there_is_refused(void)
{
    struct tsl_frames_blocks blocks = {.frames = 7};
    struct tsl_frames_cpu_stats cpu = {.held = 7};
    struct tsl_frames_guard_stats guard = {.kept_aside = 7};
    struct tsl_frames_owner owner = {.site = 7};
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    tsl_word total = world_free(&world);
    CHECK_STATUS(tsl_frames_set_cpu_node(world.frames, 0, 0), TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_set_policy(world.frames, TSL_FRAMES_LOCAL), TSL_UNSUPPORTED);
    CHECK_STATUS(tsl_frames_set_watermarks(world.frames, NULL), TSL_UNSUPPORTED);
    CHECK_EQ(tsl_frames_level(world.frames), TSL_LEVEL_PLENTY);
    ram_does_not_change(world.frames);
    CHECK_STATUS(tsl_frames_count_blocks(world.frames, TSL_FRAMES_ALL, TSL_FRAMES_ALL, &blocks),
                 TSL_UNSUPPORTED);
    CHECK_EQ(blocks.frames, 7);
    CHECK_EQ(tsl_frames_fragmentation(&(struct tsl_frames_blocks){.free = {1}}, 0), -1000);
    CHECK_STATUS(tsl_frames_cpu_stats(world.frames, TSL_CPUS, &cpu), TSL_INVALID);
    CHECK_STATUS(tsl_frames_cpu_stats(world.frames, 0, &cpu), TSL_OK);
    CHECK_EQ(cpu.held, 0);
    tsl_frames_guard_stats(world.frames, &guard);
    CHECK_EQ(guard.kept_aside, 0);
    CHECK_STATUS(tsl_frames_owner(world.frames, world_frame(MIB), &owner), TSL_UNSUPPORTED);
    CHECK_EQ(owner.site, 7);
    tsl_frames_owners_dump(world.frames, &(struct tsl_sink){count_bytes, NULL});
    CHECK(written > 0);
    CHECK(tsl_descriptor_of(world.frames, world_frame(MIB)) == NULL);
    CHECK_EQ(world_free(&world), total);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

TAP_SUITE(flat_refusals, TAP_TEST(what_is_not_there_is_refused));
