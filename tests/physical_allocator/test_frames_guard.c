/* SPDX-License-Identifier: MIT
 *
 * test_frames_guard.c: writes to free frames are found, free frames are cleared, owners are known.
 *
 * Owns:    suite frames_guard; the broken rule 17.
 * Needs:   frames_world.h; compiled with one of the headers in guards/ in front.
 * Callers: the unit suite, once for each of those headers.
 */
#include "areas/frames_guard.h"
#include "frames_world.h"
#include "host_port.h"
#include "tap.h"

#include <tesela/bits.h>

#define FILLS (TSL_FRAME_POISON || TSL_FRAME_ZERO_ON_FREE)

static struct world world;

static struct tsl_frames *make(void)
{
    return world_pc(&world, 32 * MIB) == TSL_OK ? world.frames : NULL;
}

static unsigned char *bytes_of(struct tsl_frame frame)
{
    return tsl_port_phys_to_virt(tsl_frame_address(frame));
}

static bool holds(struct tsl_frame frame, tsl_word count, unsigned char value)
{
    const unsigned char *bytes = bytes_of(frame);
    for (size_t i = 0; i < count * TSL_PAGE_BYTES; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static struct tsl_frames_guard_stats guard_stats(void)
{
    struct tsl_frames_guard_stats stats;
    tsl_frames_guard_stats(world.frames, &stats);
    return stats;
}

static tsl_word told(void)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    return tsl_refusals_of(&stats.refusals, TSL_CORRUPT);
}

static struct tsl_frame take(unsigned order, unsigned flags)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(world.frames, order, flags, &frame), TSL_OK);
    return frame;
}

static void give(struct tsl_frame frame, unsigned order)
{
    CHECK_STATUS(tsl_frames_free(world.frames, frame, order), TSL_OK);
}

/* What boot left in memory was never filled. */
static void frames_of_boot_raise_no_alarm(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    __builtin_memset(bytes_of(world_frame(1 * MIB)), 0x5a, 30 * MIB);
    tsl_frames_abandon(self);
    world.frames = NULL;
    self = make();
    REQUIRE(self != NULL);
    while (tsl_frames_alloc(self, 0, TSL_FRAMES_LOW, &frame) == TSL_OK)
        ;
    CHECK_EQ(guard_stats().overwritten, 0);
    CHECK_EQ(told(), 0);
    CHECK_EQ(world_free(&world), 0);
}

static void what_is_freed_is_filled(void)
{
    REQUIRE(make() != NULL);
    const unsigned orders[] = {0, 3, 7, TSL_FRAMES_HUGE_ORDER, TSL_FRAMES_MAX_ORDER};
    for (size_t i = 0; i < TSL_COUNT_OF(orders); i++) {
        tsl_word count = (tsl_word)1 << orders[i];
        struct tsl_frame frame = take(orders[i], TSL_FRAMES_LOW);
        __builtin_memset(bytes_of(frame), 0x77, count * TSL_PAGE_BYTES);
        give(frame, orders[i]);
        CHECK_EQ(holds(frame, count, 0), TSL_FRAME_ZERO_ON_FREE);
        CHECK_EQ(holds(frame, count, 0x77), !FILLS);
        struct tsl_frame zeros = take(orders[i], TSL_FRAMES_LOW | TSL_FRAMES_ZERO);
        CHECK(holds(zeros, count, 0));
        give(zeros, orders[i]);
    }
    CHECK_EQ(guard_stats().overwritten, 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* Zeros are not written once more: a write to a free frame is still there, if nobody looks for
 * it. */
static void zeros_are_filled_in_once(void)
{
    REQUIRE(make() != NULL);
    struct tsl_frame frame = take(0, TSL_FRAMES_LOW);
    give(frame, 0);
    bytes_of(frame)[5] = 1;
    struct tsl_frame again = take(0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO);
    CHECK_EQ(again.number == frame.number, !TSL_FRAME_POISON);
    CHECK_EQ(holds(again, 1, 0), TSL_FRAME_POISON || !TSL_FRAME_ZERO_ON_FREE);
}

static void a_wrong_free_writes_nothing(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame frame = take(1, TSL_FRAMES_LOW);
    struct tsl_frame second = {frame.number + 1};
    __builtin_memset(bytes_of(frame), 0x33, 2 * TSL_PAGE_BYTES);
    give(second, 0);
    __builtin_memset(bytes_of(frame), 0x33, TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_frames_free(self, frame, 1), TSL_WRONG_SIZE);
    CHECK_STATUS(tsl_frames_free(self, second, 1), TSL_MISALIGNED);
    CHECK_STATUS(tsl_frames_free(self, frame, TSL_FRAMES_MAX_ORDER + 1), TSL_INVALID);
    CHECK(holds(frame, 1, 0x33));
    struct tsl_frames_owner owner;
    CHECK_STATUS(tsl_frames_owner(self, frame, &owner),
                 TSL_FRAME_OWNERS ? TSL_OK : TSL_UNSUPPORTED);
    give(frame, 0);
    CHECK_STATUS(tsl_frames_free(self, frame, 0), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* One byte of one frame of a block: that frame is kept, the others are free again. */
static void an_overwritten_frame_is_kept_aside(unsigned order)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    tsl_word total = world_free(&world);
    tsl_word count = (tsl_word)1 << order;
    struct tsl_frame frame = take(order, TSL_FRAMES_LOW);
    give(frame, order);
    struct tsl_frame bad = {frame.number + count / 2};
    bytes_of(bad)[TSL_PAGE_BYTES - 1] ^= 0x10;
    struct tsl_frame other = take(order, TSL_FRAMES_LOW);
    CHECK(other.number > bad.number || bad.number >= other.number + count);
    CHECK_EQ(guard_stats().overwritten, 1);
    CHECK_EQ(guard_stats().kept_aside, 1);
    CHECK_EQ(told(), 1);
    give(other, order);
    CHECK_EQ(world_free(&world), total - 1);
    CHECK_STATUS(tsl_frames_free(self, bad, 0), TSL_FOREIGN);
    CHECK_EQ(world_free(&world), total - 1);
    CHECK_SOUND(tsl_frames_verify(self));
    CHECK_STATUS(tsl_frames_destroy(self), TSL_OK);
    world.frames = NULL;
}

static void overwritten_frames_are_kept_aside(void)
{
    const unsigned orders[] = {0, 4, 8, TSL_FRAMES_HUGE_ORDER, TSL_FRAMES_MAX_ORDER};
    for (size_t i = 0; TSL_FRAME_POISON && i < TSL_COUNT_OF(orders); i++)
        an_overwritten_frame_is_kept_aside(orders[i]);
    CHECK(TSL_FRAME_POISON || FRAMES_GUARDED);
}

static void runs_and_bulks_are_looked_at(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    const struct tsl_frames_run run = {.count = 1500, .flags = TSL_FRAMES_LOW | TSL_FRAMES_ZERO};
    static struct tsl_frame list[8192];
    struct tsl_frame first, again;
    tsl_word freed, total = world_free(&world);
    CHECK_STATUS(tsl_frames_alloc_run(self, &run, &first), TSL_OK);
    CHECK(holds(first, run.count, 0));
    CHECK_STATUS(tsl_frames_free_run(self, first, run.count), TSL_OK);
    bytes_of((struct tsl_frame){first.number + 700})[9] ^= 1;
    bytes_of((struct tsl_frame){first.number + 701})[9] ^= 1;
    CHECK_STATUS(tsl_frames_alloc_run(self, &run, &again), TSL_OK);
    CHECK_EQ(guard_stats().kept_aside, TSL_FRAME_POISON ? 2 : 0);
    CHECK_STATUS(tsl_frames_free_run(self, again, run.count), TSL_OK);
    CHECK_EQ(tsl_frames_alloc_bulk(self, TSL_FRAMES_LOW, list, 100), 100);
    CHECK_STATUS(tsl_frames_free_bulk(self, list, 100, &freed), TSL_OK);
    CHECK_EQ(freed, 100);
    bytes_of(list[50])[8] ^= 1;
    tsl_word all =
        tsl_frames_alloc_bulk(self, TSL_FRAMES_LOW, list, 8192); /* more than there are */
    CHECK_EQ(all, total - guard_stats().kept_aside);
    CHECK_STATUS(tsl_frames_free_bulk(self, list, all, &freed), TSL_OK);
    CHECK_EQ(freed, all);
    CHECK_EQ(guard_stats().kept_aside, TSL_FRAME_POISON ? 3 : 0);
    CHECK_EQ(told(), guard_stats().kept_aside);
    CHECK_EQ(world_free(&world), total - guard_stats().kept_aside);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* Whoever reserves wants that very frame: it is told, and given. */
static void reserved_frames_are_told_only(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    struct tsl_frame frame = take(0, TSL_FRAMES_LOW);
    give(frame, 0);
    tsl_frames_drain(self);
    bytes_of(frame)[0] ^= 1;
    CHECK_STATUS(tsl_frames_reserve(self, tsl_frame_address(frame), TSL_PAGE_BYTES), TSL_OK);
    CHECK_EQ(guard_stats().overwritten, TSL_FRAME_POISON);
    CHECK_EQ(guard_stats().kept_aside, 0);
    __builtin_memset(bytes_of(frame), 0x44, TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_frames_release(self, tsl_frame_address(frame), TSL_PAGE_BYTES), TSL_OK);
    CHECK_EQ(holds(frame, 1, 0), TSL_FRAME_ZERO_ON_FREE);
    CHECK_EQ(holds(frame, 1, 0x44), !FILLS);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* Nobody could take it, so it is nobody's to free. */
static void reserved_frames_are_not_freed(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    tsl_word before = world_free(&world);
    struct tsl_frame frame = world_frame(20 * MIB);
    CHECK_STATUS(tsl_frames_reserve(self, 20 * MIB, 8 * TSL_PAGE_BYTES), TSL_OK);
    __builtin_memset(bytes_of(frame), 0x44, 8 * TSL_PAGE_BYTES);
    CHECK_STATUS(tsl_frames_free(self, frame, 0), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free(self, frame, 3), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_free_run(self, frame, 7), TSL_FOREIGN);
    CHECK(holds(frame, 8, 0x44));
    CHECK_EQ(world_free(&world), before - 8);
    CHECK_STATUS(tsl_frames_release(self, 20 * MIB, 8 * TSL_PAGE_BYTES), TSL_OK);
    CHECK_EQ(world_free(&world), before);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* After the way back to tables that show less, what lies above is neither read nor written. */
static void what_cannot_be_reached_is_let_alone(void)
{
    struct tsl_frames *self = make();
    struct tsl_frame frame;
    REQUIRE(self != NULL);
    struct tsl_frame first = take(TSL_FRAMES_HUGE_ORDER, TSL_FRAMES_HIGH);
    struct tsl_frame second = take(TSL_FRAMES_HUGE_ORDER, TSL_FRAMES_HIGH);
    give(second, TSL_FRAMES_HUGE_ORDER);
    tsl_frames_limit_reach(self, 4 * MIB);
    CHECK(tsl_frame_address(first) >= 4 * MIB);
    __builtin_memset(bytes_of(first), 0x66, 2 * MIB);
    bytes_of(second)[77] ^= 1;
    give(first, TSL_FRAMES_HUGE_ORDER);
    CHECK(holds(first, 512, 0x66));
    tsl_word numbers = take(TSL_FRAMES_HUGE_ORDER, 0).number;
    numbers += take(TSL_FRAMES_HUGE_ORDER, 0).number;
    CHECK_EQ(numbers, first.number + second.number);
    CHECK_EQ(guard_stats().overwritten, 0);
    while (tsl_frames_alloc(self, 0, TSL_FRAMES_LOW, &frame) == TSL_OK)
        REQUIRE(tsl_frame_address(frame) < 4 * MIB);
    tsl_frames_limit_reach(self, 8 * MIB); /* more is ignored */
    CHECK_STATUS(tsl_frames_alloc(self, 0, TSL_FRAMES_LOW, &frame), TSL_NO_MEMORY);
    CHECK_SOUND(tsl_frames_verify(self));
}

static void check_owner(struct tsl_frame frame, enum tsl_frames_way way, unsigned order, bool first)
{
    struct tsl_frames_owner owner = {0};
    CHECK_STATUS(tsl_frames_owner(world.frames, frame, &owner), TSL_OK);
    CHECK(owner.site != 0);
    CHECK_EQ(owner.way, way);
    CHECK_EQ(owner.order, order);
    CHECK_EQ(owner.is_first, first);
}

static uintptr_t site_of_word(struct tsl_frame first, tsl_word mask)
{
    struct tsl_frames_owner owner = {0};
    struct tsl_frame frame = {first.number + tsl_bits_lowest(mask)};
    CHECK_STATUS(tsl_frames_owner(world.frames, frame, &owner), TSL_OK);
    CHECK_EQ(owner.way, TSL_FRAMES_BY_BULK);
    return owner.site;
}

/* A call that names the allocator's own code as owner would name the same place twice. */
static void who_takes_words_is_known(void)
{
    struct tsl_frame first, second;
    if (!TSL_FRAME_OWNERS)
        SKIP("nobody notes owners");
    REQUIRE(make() != NULL);
    tsl_word mask = tsl_frames_alloc_word(world.frames, 0, 1, &first);
    REQUIRE(mask != 0);
    tsl_word other = tsl_frames_alloc_word(world.frames, 0, 1, &second);
    REQUIRE(other != 0);
    CHECK(site_of_word(first, mask) != site_of_word(second, other));
}

static void owners_are_known(void)
{
    struct tsl_frames *self = make();
    struct tsl_frames_owner owner = {.site = 1};
    struct tsl_frame run, list[2];
    REQUIRE(self != NULL);
    if (!TSL_FRAME_OWNERS) {
        CHECK_STATUS(tsl_frames_owner(self, world_frame(MIB), &owner), TSL_UNSUPPORTED);
        return;
    }
    CHECK_STATUS(tsl_frames_owner(self, world_frame(0), &owner), TSL_FOREIGN);
    CHECK_STATUS(tsl_frames_owner(self, world_frame(MIB), &owner), TSL_NOT_FOUND);
    CHECK_EQ(owner.site, 1);
    struct tsl_frame block = take(3, 0);
    check_owner(block, TSL_FRAMES_BY_BLOCK, 3, true);
    check_owner((struct tsl_frame){block.number + 7}, TSL_FRAMES_BY_BLOCK, 3, false);
    give(block, 3);
    CHECK_STATUS(tsl_frames_owner(self, block, &owner), TSL_NOT_FOUND);
    CHECK_EQ(tsl_frames_alloc_bulk(self, 0, list, 2), 2);
    check_owner(list[1], TSL_FRAMES_BY_BULK, 0, true);
    CHECK_STATUS(tsl_frames_alloc_run(self, &(struct tsl_frames_run){.count = 600}, &run), TSL_OK);
    check_owner((struct tsl_frame){run.number + 599}, TSL_FRAMES_BY_RUN, 0, false);
    CHECK_STATUS(tsl_frames_reserve(self, 20 * MIB, TSL_PAGE_BYTES), TSL_OK);
    check_owner(world_frame(20 * MIB), TSL_FRAMES_BY_RESERVE, 0, true);
    CHECK_STATUS(tsl_frames_release(self, 20 * MIB, TSL_PAGE_BYTES), TSL_OK);
    CHECK_STATUS(tsl_frames_owner(self, world_frame(20 * MIB), &owner), TSL_NOT_FOUND);
    block = take(TSL_FRAMES_HUGE_ORDER, 0);
    CHECK_STATUS(tsl_frames_split(self, block, TSL_FRAMES_HUGE_ORDER), TSL_OK);
    check_owner((struct tsl_frame){block.number + 9}, TSL_FRAMES_BY_BLOCK, 0, true);
    CHECK_SOUND(tsl_frames_verify(self));
}

/* Reads "  0x<site> <frames> <calls>" lines. */
struct table {
    char text[4096];
    size_t used;
};

static void put(void *context, const char *text, size_t length)
{
    struct table *table = context;
    if (table->used + length >= sizeof(table->text))
        return;
    __builtin_memcpy(table->text + table->used, text, length);
    table->used += length;
}

/* More places than one pass of the table holds, set by hand; each has its line, with its counts. */
static void the_table_has_all_places(void)
{
    static struct table table;
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    table = (struct table){.used = 0};
    const struct tsl_sink sink = {put, &table};
    for (tsl_word i = 0; TSL_FRAME_OWNERS && i < 40; i++) {
        const struct frames_taker taker = {(i * 7 % 40 + 1) * 0x100, 1, TSL_FRAMES_BY_BLOCK};
        for (tsl_word k = 0; k <= i * 7 % 40; k++)
            tsl_frames_owners_set(self, 1024 + 2 * (40 * i + k), 2, &taker);
    }
    tsl_frames_owners_dump(self, &sink);
    for (tsl_word i = 0; TSL_FRAME_OWNERS && i < 40; i++) {
        char line[64];
        (void)tsl_format(line, sizeof(line), "\n  %#lx %lu %lu\n", (unsigned long)(i + 1) * 0x100,
                         (unsigned long)(2 * (i + 1)), (unsigned long)(i + 1));
        CHECK(__builtin_strstr(table.text, line) != NULL);
    }
    size_t lines = 0;
    for (size_t i = 0; i < table.used; i++)
        lines += table.text[i] == '\n' ? 1 : 0;
    CHECK_EQ(lines, TSL_FRAME_OWNERS ? 41 : 1);
}

static void rule_17_free_frames_are_nobodys(void)
{
    struct tsl_frames *self = make();
    REQUIRE(self != NULL);
    CHECK_SOUND(tsl_frames_verify(self));
    self->guard->contents[600] = FRAME_KEPT;
    CHECK_BROKEN(tsl_frames_verify(self), 17);
    CHECK_EQ(tsl_frames_verify(self).place, 600);
    self->guard->contents[600] = FRAME_RESERVED;
    CHECK_BROKEN(tsl_frames_verify(self), 17);
    self->guard->contents[600] = FRAME_UNKNOWN;
    CHECK_SOUND(tsl_frames_verify(self));
    if (!TSL_FRAME_OWNERS)
        return;
    self->guard->marks[601] = 1;
    CHECK_BROKEN(tsl_frames_verify(self), 17);
    CHECK_EQ(tsl_frames_verify(self).place, 601);
}

TAP_SUITE(frames_guard, TAP_TEST(frames_of_boot_raise_no_alarm), TAP_TEST(what_is_freed_is_filled),
          TAP_TEST(zeros_are_filled_in_once), TAP_TEST(a_wrong_free_writes_nothing),
          TAP_TEST(overwritten_frames_are_kept_aside), TAP_TEST(runs_and_bulks_are_looked_at),
          TAP_TEST(reserved_frames_are_told_only), TAP_TEST(reserved_frames_are_not_freed),
          TAP_TEST(what_cannot_be_reached_is_let_alone), TAP_TEST(owners_are_known),
          TAP_TEST(who_takes_words_is_known), TAP_TEST(the_table_has_all_places),
          TAP_TEST(rule_17_free_frames_are_nobodys));
