/* SPDX-License-Identifier: MIT
 *
 * explore_ranges.c: runs and ranges of frames, taken while other CPUs claim, take and free wrongly.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, machine.h.
 * Callers: the test runner.
 *
 * The machine has two areas, or four. What a CPU takes singly is the lowest frame of a word, so
 * what lies behind is free all the time, wherever it is kept: a request for it may not fail.
 */
#include "explorer.h"

#include <tesela/physical_allocator.h>

#include "host_port.h"
#include "machine.h"
#include "tap.h"

enum { CPUS = 3, FRAMES = 1024, WORD = 64, RUN = 16 };

static struct tsl_frames *frames;
static tsl_word before;
static struct tsl_frame taken[FRAMES];
static unsigned count;
static tsl_word window; /* first frame of the run or range */

static void open_machine_of(tsl_paddr ram_frames)
{
    struct machine_config config = {.cpus = CPUS, .ram = {{0, ram_frames << 12}}};
    if (!machine_create(&config) || machine_frames() == NULL)
        explorer_require(false, "a machine");
    frames = machine_frames();
    before = tsl_frames_free_count(frames);
    count = 0;
}

static void open_machine(void)
{
    open_machine_of(FRAMES);
}

static void drain_all(void)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_frames_drain(frames);
    }
    host_port_set_cpu(0);
}

static void close_machine(void)
{
    while (count > 0)
        EXPLORER_REQUIRE(tsl_frames_free(frames, taken[--count], 0) == TSL_OK);
    EXPLORER_REQUIRE(tsl_frames_verify(frames).rule == 0);
    EXPLORER_REQUIRE(tsl_frames_free_count(frames) == before);
    machine_destroy();
}

/* The word out of which a CPU takes its first frame; its last RUN frames are the window. */
static void window_behind_single_frames(void)
{
    struct tsl_frame frame;
    open_machine();
    EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK);
    EXPLORER_REQUIRE(tsl_frames_free(frames, frame, 0) == TSL_OK);
    drain_all();
    window = (frame.number | (WORD - 1)) + 1 - RUN;
    EXPLORER_REQUIRE(frame.number + RUN < window);
}

/* The same, with nothing else free but one of the word's first frames. */
static void window_alone(void)
{
    window_behind_single_frames();
    for (; count < before; count++)
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &taken[count]) == TSL_OK);
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        tsl_word number = taken[i].number;
        if ((number >= window && number < window + RUN) || number == window - 2)
            EXPLORER_REQUIRE(tsl_frames_free(frames, taken[i], 0) == TSL_OK);
        else
            taken[kept++] = taken[i];
    }
    count = kept;
    drain_all();
}

static void take_singly(void)
{
    for (unsigned i = 0; i < 3; i++) {
        struct tsl_frame frame;
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK);
        EXPLORER_REQUIRE(frame.number < window);
        EXPLORER_REQUIRE(tsl_frames_free(frames, frame, 0) == TSL_OK);
    }
}

/* ---- A range that is free can be reserved. ---- */

static void reserve_body(unsigned cpu)
{
    tsl_paddr start = (tsl_paddr)window << TSL_PAGE_SHIFT;
    if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_frames_reserve(frames, start, RUN * TSL_PAGE_BYTES) == TSL_OK);
        EXPLORER_REQUIRE(tsl_frames_release(frames, start, RUN * TSL_PAGE_BYTES) == TSL_OK);
    } else if (cpu == 1) {
        take_singly();
    }
}

static const struct explorer_case reserve_case = {
    "reserve", CPUS, 1, window_behind_single_frames, close_machine, reserve_body,
};

static void a_free_range_can_be_reserved(void)
{
    CHECK(!explorer_finds(&reserve_case, EXPLORER_NO_FAULT));
}

/* ---- A run that is free is found. ---- */

static void run_body(unsigned cpu)
{
    struct tsl_frames_run run = {.count = RUN, .flags = TSL_FRAMES_HIGH};
    struct tsl_frame frame;
    if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_frames_alloc_run(frames, &run, &frame) == TSL_OK);
        EXPLORER_REQUIRE(frame.number == window);
        EXPLORER_REQUIRE(tsl_frames_free_run(frames, frame, RUN) == TSL_OK);
    } else if (cpu == 1) {
        take_singly();
    }
}

static const struct explorer_case run_case = {
    "run", CPUS, 1, window_alone, close_machine, run_body,
};

static void a_free_run_is_found(void)
{
    CHECK(!explorer_finds(&run_case, EXPLORER_NO_FAULT));
}

/* ---- CPU 0 begins to take a range, CPU 1 is faster at its end, and meanwhile CPU 2 frees a frame
 * at its beginning that is not its own. That mistake stays CPU 2's. ---- */

static enum tsl_status said[CPUS];
static tsl_word range_frames;

static void range_within_an_area(void)
{
    open_machine();
    window = FRAMES / 4;
    range_frames = WORD + 1;
}

static void range_across_areas(void)
{
    open_machine();
    window = FRAMES / 2 - 1;
    range_frames = 2;
}

static void rollback_body(unsigned cpu)
{
    tsl_paddr start = (tsl_paddr)window << TSL_PAGE_SHIFT;
    tsl_paddr last = start + (range_frames - 1) * TSL_PAGE_BYTES;
    if (cpu == 0)
        said[cpu] = tsl_frames_reserve(frames, start, range_frames * TSL_PAGE_BYTES);
    else if (cpu == 1)
        said[cpu] = tsl_frames_reserve(frames, last, TSL_PAGE_BYTES);
    else
        said[cpu] = tsl_frames_free(frames, (struct tsl_frame){window}, 0);
}

static void rollback_check(void)
{
    tsl_word used = said[0] == TSL_OK ? range_frames : 1;
    /* What CPU 2 freed while CPU 0 had it is free, whoever thinks that it is his. */
    used -= said[0] == TSL_OK && said[2] == TSL_OK ? 1 : 0;
    EXPLORER_REQUIRE(said[0] == TSL_OK || said[1] == TSL_OK);
    drain_all();
    EXPLORER_REQUIRE(tsl_frames_free_count(frames) == before - used);
    EXPLORER_REQUIRE(tsl_frames_is_free(frames, (struct tsl_frame){window}) ==
                     (said[0] != TSL_OK || said[2] == TSL_OK));
    machine_destroy();
}

static const struct explorer_case within_case = {
    "rollback within an area", CPUS, 1, range_within_an_area, rollback_check, rollback_body,
};
static const struct explorer_case across_case = {
    "rollback across areas", CPUS, 1, range_across_areas, rollback_check, rollback_body,
};

static void a_wrong_free_is_no_panic_of_who_steps_back(void)
{
    CHECK(!explorer_finds(&within_case, EXPLORER_NO_FAULT));
    CHECK(!explorer_finds(&across_case, EXPLORER_NO_FAULT));
}

/* ---- CPU 0 gives back a huge block that a tree still lists as whole; CPU 1 looks for one and
 * removes it from there. ---- */

static struct tsl_frame huge;

static void huge_block_in_the_trees(void)
{
    open_machine_of((tsl_paddr)2 * FRAMES);
    for (unsigned i = 0; i < 2; i++) {
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, 9, TSL_FRAMES_HIGH, &huge) == TSL_OK);
        if (i == 0)
            EXPLORER_REQUIRE(tsl_frames_free(frames, huge, 9) == TSL_OK);
    }
}

static void free_or_search(unsigned cpu)
{
    struct tsl_frame frame;
    if (cpu == 0) /* as a run, which does not try the short way for this very state first */
        EXPLORER_REQUIRE(tsl_frames_free_run(frames, huge, 512) == TSL_OK);
    else if (cpu == 1 && tsl_frames_alloc(frames, 9, TSL_FRAMES_HIGH, &frame) == TSL_OK)
        EXPLORER_REQUIRE(tsl_frames_free(frames, frame, 9) == TSL_OK);
}

static void split_or_search(unsigned cpu)
{
    struct tsl_frame frame;
    if (cpu == 1) {
        free_or_search(cpu);
    } else if (cpu == 0) {
        EXPLORER_REQUIRE(tsl_frames_split(frames, huge, 9) == TSL_OK);
        for (frame = huge; frame.number < huge.number + 512; frame.number++)
            taken[count++] = frame;
    }
}

static const struct explorer_case free_case = {
    "free of a listed block", CPUS, 1, huge_block_in_the_trees, close_machine, free_or_search,
};
static const struct explorer_case split_case = {
    "split of a listed block", CPUS, 1, huge_block_in_the_trees, close_machine, split_or_search,
};

static void a_huge_block_in_the_trees_is_its_owners(void)
{
    CHECK(!explorer_finds(&free_case, EXPLORER_NO_FAULT));
    CHECK(!explorer_finds(&split_case, EXPLORER_NO_FAULT));
}

TAP_SUITE(explore_ranges, TAP_TEST(a_free_range_can_be_reserved), TAP_TEST(a_free_run_is_found),
          TAP_TEST(a_wrong_free_is_no_panic_of_who_steps_back),
          TAP_TEST(a_huge_block_in_the_trees_is_its_owners));
