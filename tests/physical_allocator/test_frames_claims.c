/* SPDX-License-Identifier: MIT
 *
 * test_frames_claims.c: what CPUs keep for themselves, and how it comes back.
 *
 * Owns:    the suite `frames_claims`. Host only; all CPUs in one thread.
 * Needs:   frames_world.h, the test port, the component's internal header to look at slots.
 * Callers: the unit suite. CPUs that run at the same time are in threads_frames.c.
 */
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "tap.h"

#include <tesela/cpu.h>

#define FRAMES_16M (16 * MIB / TSL_PAGE_BYTES)

static struct world world;
static struct tsl_frame taken[FRAMES_16M];

/* 16 MiB and two CPUs, of which this thread is CPU 0. */
static bool make(void)
{
    bool is_made = world_pc(&world, 16 * MIB) == TSL_OK;
    world_join(TSL_CPUS > 1 ? 2 : 1);
    return is_made;
}

static void end(void)
{
    CHECK_SOUND(tsl_frames_verify(world.frames));
    world_part(TSL_CPUS > 1 ? 2 : 1);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static struct tsl_frame take_as(unsigned cpu)
{
    struct tsl_frame frame = {0};
    host_port_set_cpu(cpu);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame), TSL_OK);
    return frame;
}

static enum tsl_status free_as(unsigned cpu, struct tsl_frame frame)
{
    host_port_set_cpu(cpu);
    return tsl_frames_free(world.frames, frame, 0);
}

/* Areas that this CPU owns, and free frames it has claimed. */
static unsigned owned_by(unsigned cpu, unsigned *claimed)
{
    unsigned owned = 0;
    *claimed = 0;
    for (unsigned zone = 0; zone < zone_count(world.frames); zone++) {
        const struct frames_slot *slot = &frames_cpu_at(world.frames, cpu)->slot[zone];
        owned += slot->area != FRAMES_NONE;
        *claimed += tsl_bits_count(slot->copy);
    }
    return owned;
}

static void what_is_kept_comes_back_on_leaving(void)
{
    unsigned claimed;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(make());
    tsl_word total = world_free(&world);
    struct tsl_frame frame = take_as(1);
    CHECK_EQ(owned_by(1, &claimed), 1);
    CHECK(claimed > 0);
    CHECK_EQ(world_free(&world), total - 1);
    tsl_cpu_leave();
    CHECK_EQ(owned_by(1, &claimed), 0);
    CHECK_EQ(claimed, 0);
    CHECK_EQ(world_free(&world), total - 1);
    /* Off line it works on shared words. */
    CHECK_STATUS(free_as(1, frame), TSL_OK);
    frame = take_as(1);
    CHECK_EQ(owned_by(1, &claimed), 0);
    CHECK_STATUS(free_as(1, frame), TSL_OK);
    CHECK_EQ(world_free(&world), total);
    end();
}

static void draining_gives_all_back(void)
{
    unsigned claimed;
    REQUIRE(make());
    struct tsl_frame frame = take_as(0);
    CHECK_EQ(owned_by(0, &claimed), 1);
    tsl_frames_drain(world.frames);
    CHECK_EQ(owned_by(0, &claimed), 0);
    CHECK_EQ(claimed, 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(free_as(0, frame), TSL_OK);
    end();
}

static void the_last_frame_is_found_in_another_cpus_claim(void)
{
    unsigned claimed;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(make());
    tsl_word total = world_free(&world);
    struct tsl_frame kept = take_as(1);
    CHECK(owned_by(1, &claimed) == 1 && claimed > 0);
    tsl_word count = 1;
    host_port_set_cpu(0);
    while (tsl_frames_alloc(world.frames, 0, 0, &taken[0]) == TSL_OK)
        count++;
    CHECK_EQ(count, total);
    CHECK_EQ(world_free(&world), 0);
    CHECK_STATUS(free_as(1, kept), TSL_OK);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &taken[0]), TSL_OK);
    CHECK_EQ(taken[0].number, kept.number);
    end();
}

static tsl_word take_all(unsigned order)
{
    struct tsl_frame frame;
    tsl_word count = 0;
    while (tsl_frames_alloc(world.frames, order, 0, &frame) == TSL_OK)
        count++;
    return count;
}

/* An area that is wholly free but for an owner stands in nobody's way. */
/* What other CPUs keep of higher zones is no help for a request that only low frames can serve. */
static void only_owners_that_can_help_are_asked(void)
{
    unsigned claimed;
    tsl_word count = 0;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(world_pc(&world, 32 * MIB) == TSL_OK);
    world_join(2);
    struct tsl_frame frame = take_as(1);
    CHECK(tsl_frame_address(frame) >= 16 * MIB);
    host_port_set_cpu(0);
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_DMA, &taken[count]) == TSL_OK)
        count++;
    CHECK(count > 0);
    CHECK_EQ(world.frames->revocations, 0);
    CHECK_EQ(world.frames->tight, 0);
    CHECK_EQ(owned_by(1, &claimed), 1);
    CHECK(claimed > 0);
    while (count > 0)
        CHECK_STATUS(free_as(0, taken[--count]), TSL_OK);
    CHECK_STATUS(free_as(1, frame), TSL_OK);
    end();
}

static void blocks_are_found_in_owned_areas(void)
{
    static const unsigned orders[] = {1, 5, 8, 9, 10};
    for (unsigned i = 0; i < TSL_COUNT_OF(orders); i++) {
        REQUIRE(make());
        tsl_word wanted = take_all(orders[i]);
        end();
        for (unsigned cpu = 0; cpu < 2 && cpu < TSL_CPUS; cpu++) {
            REQUIRE(make());
            CHECK_STATUS(free_as(cpu, take_as(cpu)), TSL_OK);
            host_port_set_cpu(0);
            CHECK_EQ(take_all(orders[i]), wanted);
            end();
        }
    }
}

static void drain_other(void)
{
    host_port_set_cpu(1);
    tsl_frames_drain(world.frames);
    host_port_set_cpu(0);
}

/* An area that CPU 1 owns with nothing left in its claim, while all of it is free in shared words:
 * the last whole one. Then what CPU 0 gets when CPU 1 leaves it at the given moment. */
static enum tsl_status take_while_its_owner_leaves(unsigned order, unsigned moment)
{
    const tsl_word word = TSL_WORD_BITS;
    struct tsl_frame frame;
    if (world_pc(&world, 64 * MIB) != TSL_OK)
        return TSL_INVALID;
    world_join(2);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, 32 * MIB), TSL_OK);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 34 * MIB, 30 * MIB), TSL_OK);
    for (unsigned i = 0; i < word; i++)
        taken[i] = take_as(1);
    host_port_set_cpu(0); /* and the trees forget the area */
    CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_NO_MEMORY);
    for (unsigned i = 0; i < word; i++)
        CHECK_STATUS(free_as(0, taken[i]), TSL_OK);
    CHECK_EQ(world_free(&world), TSL_FRAMES_PER_AREA);
    host_port_at_unpin(0, moment, drain_other);
    return tsl_frames_alloc(world.frames, order, 0, &frame);
}

static void what_a_leaving_owner_opens_is_found(void)
{
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    for (unsigned moment = 0; moment < 3; moment++) {
        CHECK_STATUS(take_while_its_owner_leaves(TSL_FRAMES_HUGE_ORDER, moment), TSL_OK);
        (void)host_port_was_unpinned();
        world_part(2);
    }
}

static void ranges_are_found_in_owned_areas(void)
{
    unsigned other = TSL_CPUS > 1 ? 1 : 0;
    REQUIRE(make());
    CHECK_STATUS(free_as(other, take_as(other)), TSL_OK);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_frames_reserve(world.frames, 0, 16 * MIB), TSL_OK);
    CHECK_EQ(world_free(&world), 0);
    CHECK_STATUS(tsl_frames_release(world.frames, 0, 16 * MIB), TSL_OK);
    CHECK_STATUS(free_as(other, take_as(other)), TSL_OK);
    host_port_set_cpu(0);
    struct tsl_frames_run run = {.count = world_free(&world) - 200, .align_frames = 1};
    run.count = run.count / 2 + run.count / 4; /* more than all areas but one hold */
    CHECK_STATUS(tsl_frames_alloc_run(world.frames, &run, &taken[0]), TSL_OK);
    end();
}

static void check_double_frees(void)
{
    struct tsl_frame a = take_as(1);
    struct tsl_frame b = take_as(1);
    tsl_word free = world_free(&world);
    /* Into the owner's copy first, then by another. */
    CHECK_STATUS(free_as(1, a), TSL_OK);
    CHECK(tsl_frames_is_free(world.frames, a));
    CHECK_STATUS(free_as(0, a), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_frames_free_run(world.frames, a, 1), TSL_DOUBLE_FREE);
    CHECK_STATUS(free_as(1, a), TSL_DOUBLE_FREE);
    /* Into the shared word first, then by the owner. */
    CHECK_STATUS(free_as(0, b), TSL_OK);
    CHECK(tsl_frames_is_free(world.frames, b));
    CHECK_STATUS(free_as(1, b), TSL_DOUBLE_FREE);
    CHECK_STATUS(free_as(0, b), TSL_DOUBLE_FREE);
    CHECK_EQ(world_free(&world), free + 2);
}

static void double_frees_are_seen_across_cpus(void)
{
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(make());
    check_double_frees(); /* in the first word, of which frame 0 is not RAM */
    for (unsigned i = 0; i < TSL_WORD_BITS; i++)
        (void)take_as(1);
    check_double_frees(); /* in one that is RAM throughout */
    end();
}

/* The first of two CPUs with one tag has left an area, but its slot still names the word that the
 * second one has claimed by now. */
static void a_second_free_is_seen_where_two_cpus_have_one_tag(void)
{
    if (TSL_CPUS <= AREA_TAGS)
        SKIP("each CPU has a tag of its own");
    REQUIRE(make());
    struct tsl_frame frame = take_as(0);
    CHECK_STATUS(free_as(0, frame), TSL_OK);
    /* Its claim becomes that of the other one, which the simulated machine does not have. */
    unsigned zone = world.frames->node[0].top_zone;
    struct frames_slot *stale = &frames_cpu_at(world.frames, 0)->slot[zone];
    struct frames_slot *owner = &frames_cpu_at(world.frames, AREA_TAGS)->slot[zone];
    *owner = *stale;
    owner->delta = 0;
    stale->area = FRAMES_NONE;
    stale->copy = stale->bits = 0;
    stale->todo = 0;
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK(tsl_frames_is_free(world.frames, frame));
    CHECK_STATUS(free_as(7, frame), TSL_DOUBLE_FREE);
    host_port_set_cpu(0);
    struct frames_slot left = *owner;
    *owner = (struct frames_slot){.area = FRAMES_NONE};
    left.delta = stale->delta;
    *stale = left;
    end();
}

static void reserves_hold_whoever_asks(void)
{
    REQUIRE(world_pc(&world, 16 * MIB) == TSL_OK);
    world_end(&world);
    world.config.reserve_exit = 100;
    REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
    world_join(TSL_CPUS > 1 ? 2 : 1);
    struct tsl_frame frame;
    /* Many in a row, so that who may claim goes past the reserve out of its claim. */
    for (unsigned turn = 0; tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK; turn++)
        host_port_set_cpu(TSL_CPUS > 1 ? turn / 40 % 2 : 0);
    CHECK_EQ(world_free(&world), 100);
    end();
}

static unsigned second_order;
static enum tsl_status second_status;

static void take_second(void)
{
    struct tsl_frame frame;
    second_status = tsl_frames_alloc(world.frames, second_order, 0, &frame);
}

static enum tsl_status take_first(unsigned order, bool is_run)
{
    struct tsl_frame frame;
    tsl_word count = (tsl_word)1 << order;
    struct tsl_frames_run run = {.count = count, .align_frames = count};
    return is_run ? tsl_frames_alloc_run(world.frames, &run, &frame)
                  : tsl_frames_alloc(world.frames, order, 0, &frame);
}

/* 1,536 frames, or one, are left above what is kept. An interrupt wants as much as the request that
 * it interrupts, at each moment at which one can come: one of the two gets it. */
static void check_reserve(unsigned order, bool is_run, bool is_of_zone)
{
    const tsl_word above = order == 0 ? 1 : 1536, kept = 2048;
    struct tsl_frame frame;
    bool is_met = true;
    for (unsigned moment = 0; is_met; moment++) {
        REQUIRE(moment < 100 && world_pc(&world, is_of_zone ? 24 * MIB : 16 * MIB) == TSL_OK);
        world_end(&world);
        if (is_of_zone)
            world.config.lowmem_reserve[TSL_ZONE_DMA] = kept;
        else
            world.config.reserve_exit = kept;
        REQUIRE(tsl_frames_create(&world.config, &world.frames) == TSL_OK);
        while (world_free(&world) > kept + above)
            REQUIRE(tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK);
        second_order = order;
        second_status = TSL_NO_MEMORY;
        host_port_at_unpin(0, moment, take_second);
        enum tsl_status status = take_first(order, is_run);
        is_met = host_port_was_unpinned();
        CHECK((status == TSL_OK) != (second_status == TSL_OK));
        CHECK_EQ(world_free(&world), kept + above - ((tsl_word)1 << order));
        CHECK_SOUND(tsl_frames_verify(world.frames));
    }
}

static void two_at_once_leave_the_reserves(void)
{
    for (unsigned i = 0; i < 8; i++)
        check_reserve(i % 2 == 0 ? 0 : TSL_FRAMES_MAX_ORDER, (i & 2) != 0, (i & 4) != 0);
}

static void bulk_calls_take_and_give(void)
{
    REQUIRE(make());
    tsl_word total = world_free(&world);
    tsl_word freed = 77;
    CHECK_EQ(tsl_frames_alloc_bulk(world.frames, 0, taken, 1000), 1000);
    CHECK_EQ(world_free(&world), total - 1000);
    for (unsigned i = 0; i < 1000; i++)
        CHECK(!tsl_frames_is_free(world.frames, taken[i]));
    CHECK_SOUND(tsl_frames_verify(world.frames));
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, 1000, &freed), TSL_OK);
    CHECK_EQ(freed, 1000);
    CHECK_EQ(world_free(&world), total);
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, 0, &freed), TSL_OK);
    CHECK_EQ(freed, 0);
    /* All there are, and then less than asked for. */
    CHECK_EQ(tsl_frames_alloc_bulk(world.frames, 0, taken, FRAMES_16M), total);
    CHECK_EQ(world_free(&world), 0);
    struct tsl_frames_stats stats;
    tsl_frames_stats(world.frames, &stats);
    CHECK_EQ(stats.failures[0], 1);
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, total, &freed), TSL_OK);
    CHECK_EQ(world_free(&world), total);
    /* Flags that need the search, and flags that do not exist. */
    CHECK_EQ(tsl_frames_alloc_bulk(world.frames, TSL_FRAMES_DMA, taken, 100), 100);
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, 100, &freed), TSL_OK);
    CHECK_EQ(tsl_frames_alloc_bulk(world.frames, 1u << 12, taken, 100), 0);
    end();
}

static void bulk_says_which_frame_is_refused(void)
{
    tsl_word freed;
    REQUIRE(make());
    REQUIRE(tsl_frames_alloc_bulk(world.frames, 0, taken, 200) == 200);
    tsl_word free = world_free(&world);
    struct tsl_frame kept = taken[100];
    taken[100] = taken[99]; /* twice, as neighbours in a word that is RAM throughout */
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, 200, &freed), TSL_DOUBLE_FREE);
    CHECK_EQ(freed, 100);
    CHECK_EQ(world_free(&world), free + 100);
    CHECK(!tsl_frames_is_free(world.frames, taken[101]));
    CHECK_SOUND(tsl_frames_verify(world.frames));
    taken[100] = (struct tsl_frame){0};
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, &taken[100], 100, &freed), TSL_FOREIGN);
    CHECK_EQ(freed, 0);
    taken[100] = kept;
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, &taken[100], 100, &freed), TSL_OK);
    CHECK_EQ(freed, 100);
    CHECK_EQ(world_free(&world), free + 200);
    end();
}

static struct tsl_frame take_huge_as(unsigned cpu)
{
    struct tsl_frame frame = {0};
    host_port_set_cpu(cpu);
    CHECK_STATUS(tsl_frames_alloc(world.frames, TSL_FRAMES_HUGE_ORDER, 0, &frame), TSL_OK);
    return frame;
}

static void free_huge_as(unsigned cpu, struct tsl_frame frame)
{
    host_port_set_cpu(cpu);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, TSL_FRAMES_HUGE_ORDER), TSL_OK);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* What a CPU remembers of the huge block that it gave back last is no claim: others have it. */
static void a_remembered_huge_block_is_everybodys(void)
{
    unsigned other = TSL_CPUS > 1 ? 1 : 0;
    REQUIRE(make());
    tsl_word total = world_free(&world);
    struct tsl_frame frame = take_huge_as(0);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(world_free(&world), total - TSL_FRAMES_PER_AREA);
        free_huge_as(0, frame);
        CHECK_EQ(world_free(&world), total);
        struct tsl_frame again = take_huge_as(0);
        CHECK_EQ(again.number, frame.number);
    }
    free_huge_as(0, frame);
    struct tsl_frame all[16];
    unsigned count = 0;
    host_port_set_cpu(other);
    while (count < TSL_COUNT_OF(all) &&
           tsl_frames_alloc(world.frames, TSL_FRAMES_HUGE_ORDER, 0, &all[count]) == TSL_OK)
        count++;
    CHECK_EQ(world_free(&world), total - count * TSL_FRAMES_PER_AREA);
    free_huge_as(other, all[--count]);
    frame = take_huge_as(0);
    CHECK_EQ(frame.number, all[count].number);
    CHECK_EQ(world_free(&world), total - (count + 1) * TSL_FRAMES_PER_AREA);
    free_huge_as(0, frame);
    for (unsigned i = 0; i < count; i++)
        free_huge_as(i % 2 == 0 ? 0 : other, all[i]);
    CHECK_EQ(world_free(&world), total);
    end();
}

/* The frames of a mask, one by one. */
static void all_are_free(struct tsl_frame first, tsl_word mask, bool expected)
{
    for (; mask != 0; mask &= mask - 1) {
        struct tsl_frame frame = {first.number + tsl_bits_lowest(mask)};
        CHECK_EQ(tsl_frames_is_free(world.frames, frame), expected);
    }
}

static void words_are_taken_and_given_in_one_step(void)
{
    struct tsl_frame first = {7};
    REQUIRE(make());
    tsl_word total = world_free(&world), used = 0;
    for (tsl_word count = 1; count <= 70; count += 3) {
        tsl_word mask = tsl_frames_alloc_word(world.frames, 0, count, &first);
        CHECK(mask != 0);
        CHECK(tsl_bits_count(mask) <= count);
        CHECK_EQ(first.number % TSL_WORD_BITS, 0);
        CHECK_EQ(world_free(&world), total - tsl_bits_count(mask));
        all_are_free(first, mask, false);
        CHECK_STATUS(tsl_frames_free_word(world.frames, first, mask), TSL_OK);
        all_are_free(first, mask, true);
        CHECK_EQ(world_free(&world), total);
    }
    CHECK_EQ(tsl_frames_alloc_word(world.frames, 0, 0, &first), 0);
    CHECK_EQ(tsl_frames_alloc_word(world.frames, 1u << 12, 1, &first), 0);
    /* A word that somebody else has claimed, and one that nobody has. */
    tsl_word mask = tsl_frames_alloc_word(world.frames, 0, 2, &first);
    tsl_frames_drain(world.frames);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first, mask), TSL_OK);
    /* All there are, a word at a time; flags that need the search come one by one. */
    while ((mask = tsl_frames_alloc_word(world.frames, TSL_FRAMES_DMA, 64, &first)) != 0)
        for (; mask != 0; mask &= mask - 1)
            taken[used++].number = first.number + tsl_bits_lowest(mask);
    CHECK_EQ(used, total);
    CHECK_EQ(world_free(&world), 0);
    CHECK_STATUS(tsl_frames_free_bulk(world.frames, taken, used, &used), TSL_OK);
    CHECK_EQ(world_free(&world), total);
    end();
}

static void wrong_words_are_refused(void)
{
    struct tsl_frame first;
    REQUIRE(make());
    tsl_word mask = tsl_frames_alloc_word(world.frames, 0, 4, &first);
    REQUIRE(tsl_bits_count(mask) == 4);
    tsl_word total = world_free(&world), lowest = mask & (0 - mask);
    struct tsl_frame odd = {first.number + 1};
    CHECK_STATUS(tsl_frames_free_word(world.frames, odd, mask), TSL_MISALIGNED);
    CHECK_EQ(world_free(&world), total);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first, 0), TSL_OK);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first, lowest), TSL_OK);
    /* One of them is free already: it is refused, the others are freed. */
    CHECK_STATUS(tsl_frames_free_word(world.frames, first, mask), TSL_DOUBLE_FREE);
    CHECK_EQ(world_free(&world), total + 4);
    struct tsl_frame foreign = {(tsl_word)1 << 20};
    CHECK_STATUS(tsl_frames_free_word(world.frames, foreign, 3), TSL_FOREIGN);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    end();
}

/* Words that are not the claimed one, and words that end in the middle. */
static void words_of_other_places_are_given(void)
{
    struct tsl_frame used_up, first;
    REQUIRE(make());
    tsl_word mask;
    do /* until the area is RAM throughout, where most takes the short way */
        mask = tsl_frames_alloc_word(world.frames, 0, TSL_WORD_BITS, &used_up);
    while (mask != 0 && used_up.number < TSL_FRAMES_PER_AREA);
    tsl_word total = world_free(&world) + TSL_WORD_BITS;
    CHECK_EQ(mask, ~(tsl_word)0);
    CHECK(tsl_frames_alloc_word(world.frames, 0, TSL_WORD_BITS, &first) != 0);
    CHECK(first.number != used_up.number);
    CHECK_STATUS(tsl_frames_free_word(world.frames, used_up, mask), TSL_OK);
    all_are_free(used_up, mask, true);
    CHECK_EQ(world_free(&world), total - TSL_WORD_BITS);
    /* The last frame before the metadata, and what is behind it. */
    struct tsl_frame last = {(tsl_word)(world.frames->metadata_start / TSL_PAGE_BYTES) - 1};
    REQUIRE(last.number % TSL_WORD_BITS < TSL_WORD_BITS - 1);
    CHECK_STATUS(tsl_frames_reserve(world.frames, tsl_frame_address(last), 1), TSL_OK);
    tsl_word bit = (tsl_word)1 << last.number % TSL_WORD_BITS;
    first.number = last.number & ~(tsl_word)(TSL_WORD_BITS - 1);
    CHECK_STATUS(tsl_frames_free_word(world.frames, first, bit | bit << 1), TSL_FOREIGN);
    CHECK(tsl_frames_is_free(world.frames, last));
    CHECK_EQ(world_free(&world), total - TSL_WORD_BITS);
    /* A part of a huge block. */
    struct tsl_frame huge = take_huge_as(0);
    CHECK_STATUS(tsl_frames_free_word(world.frames, huge, 3), TSL_WRONG_SIZE);
    free_huge_as(0, huge);
    end();
}

/* A CPU shows an area before it owns it, and before its slot has ever named a word. */
static void a_block_is_sought_while_a_cpu_enters_its_first_area(void)
{
    struct tsl_frame frame;
    if (TSL_CPUS == 1)
        SKIP("one CPU is configured");
    REQUIRE(make());
    unsigned zone = world.frames->node[0].top_zone;
    struct frames_slot *slot = &frames_cpu_at(world.frames, 1)->slot[zone];
    host_port_set_cpu(0);
    while (tsl_frames_alloc(world.frames, 0, 0, &frame) == TSL_OK)
        continue;
    slot->area = world.frames->zone[zone].first_area;
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++) {
        CHECK_STATUS(tsl_frames_alloc(world.frames, order, 0, &frame), TSL_NO_MEMORY);
        slot->area = world.frames->zone[zone].first_area; /* if CPU 1 was asked to give it back */
    }
    slot->area = FRAMES_NONE;
    end();
}

TAP_SUITE(frames_claims, TAP_TEST(what_is_kept_comes_back_on_leaving),
          TAP_TEST(draining_gives_all_back),
          TAP_TEST(the_last_frame_is_found_in_another_cpus_claim),
          TAP_TEST(only_owners_that_can_help_are_asked), TAP_TEST(blocks_are_found_in_owned_areas),
          TAP_TEST(what_a_leaving_owner_opens_is_found), TAP_TEST(ranges_are_found_in_owned_areas),
          TAP_TEST(double_frees_are_seen_across_cpus),
          TAP_TEST(a_second_free_is_seen_where_two_cpus_have_one_tag),
          TAP_TEST(reserves_hold_whoever_asks), TAP_TEST(two_at_once_leave_the_reserves),
          TAP_TEST(bulk_calls_take_and_give), TAP_TEST(bulk_says_which_frame_is_refused),
          TAP_TEST(a_remembered_huge_block_is_everybodys),
          TAP_TEST(words_are_taken_and_given_in_one_step), TAP_TEST(wrong_words_are_refused),
          TAP_TEST(words_of_other_places_are_given),
          TAP_TEST(a_block_is_sought_while_a_cpu_enters_its_first_area));
