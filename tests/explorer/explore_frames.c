/* SPDX-License-Identifier: MIT
 *
 * explore_frames.c: the frame allocator between CPUs that take and give at once, in every order.
 *
 * Owns:    nothing.
 * Needs:   explorer.h, machine.h.
 * Callers: the test runner.
 */
#include "explorer.h"

#include <tesela/physical_allocator.h>

#include "host_port.h"
#include "machine.h"
#include "tap.h"

enum { CPUS = 3, FRAMES = 512, MOST_FRAMES = 2 * FRAMES, PER_CPU = 1 };

static struct tsl_frames *frames;
static tsl_word before;
static struct tsl_frame taken[MOST_FRAMES];
static unsigned count;
static unsigned char owner[MOST_FRAMES]; /* of each frame of the machine: CPU + 1 */

static void open_machine_of(unsigned size)
{
    struct machine_config config = {.cpus = CPUS, .ram = {{0, (tsl_paddr)size << 12}}};
    if (!machine_create(&config) || machine_frames() == NULL)
        explorer_require(false, "a machine");
    frames = machine_frames();
    before = tsl_frames_free_count(frames);
    count = 0;
    for (unsigned i = 0; i < size; i++)
        owner[i] = 0;
}

static void open_machine(void)
{
    open_machine_of(FRAMES);
}

static void close_machine(void)
{
    while (count > 0)
        EXPLORER_REQUIRE(tsl_frames_free(frames, taken[--count], 0) == TSL_OK);
    EXPLORER_REQUIRE(tsl_frames_verify(frames).rule == 0);
    EXPLORER_REQUIRE(tsl_frames_free_count(frames) == before);
    machine_destroy();
}

static void use(unsigned cpu, struct tsl_frame frame, unsigned order)
{
    for (unsigned i = 0; i < 1u << order; i++) {
        EXPLORER_REQUIRE(owner[frame.number + i] == 0);
        owner[frame.number + i] = (unsigned char)(cpu + 1);
    }
    explorer_point();
    for (unsigned i = 0; i < 1u << order; i++) {
        EXPLORER_REQUIRE(owner[frame.number + i] == cpu + 1);
        owner[frame.number + i] = 0;
    }
}

/* ---- No frame has two owners. ---- */

static void pairs_body(unsigned cpu)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tsl_frame frame;
        unsigned order = (cpu + i) % 3;
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, order, TSL_FRAMES_HIGH, &frame) == TSL_OK);
        use(cpu, frame, order);
        EXPLORER_REQUIRE(tsl_frames_free(frames, frame, order) == TSL_OK);
    }
}

static const struct explorer_case pairs_case = {"frames",     CPUS,          1,
                                                open_machine, close_machine, pairs_body};

static void a_frame_has_one_owner(void)
{
    CHECK(!explorer_finds(&pairs_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&pairs_case, EXPLORER_TORN_COMPARE));
}

/* ---- As many frames are left as there are CPUs: each gets one, wherever they are kept. ---- */

static void last_setup(void)
{
    open_machine();
    while (tsl_frames_free_count(frames) > CPUS * PER_CPU &&
           tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &taken[count]) == TSL_OK)
        count++;
    EXPLORER_REQUIRE(tsl_frames_free_count(frames) == CPUS * PER_CPU);
}

static void last_body(unsigned cpu)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tsl_frame frame;
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK);
        use(cpu, frame, 0);
        EXPLORER_REQUIRE(tsl_frames_free(frames, frame, 0) == TSL_OK);
    }
}

static const struct explorer_case last_case = {"last frames", CPUS,          1,
                                               last_setup,    close_machine, last_body};

static void the_last_frames_are_found(void)
{
    CHECK(!explorer_finds(&last_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&last_case, EXPLORER_TORN_COMPARE));
}

/* ---- One frame is freed twice, by two CPUs at once: it is noticed, and counts once. ---- */

static enum tsl_status said[CPUS];

/* Whose claim the frame comes from decides where the two meet. */
static void twice_setup_by(unsigned owner_cpu)
{
    open_machine();
    host_port_set_cpu(owner_cpu);
    EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &taken[0]) == TSL_OK);
    host_port_set_cpu(0);
}

static void twice_setup(void)
{
    twice_setup_by(0);
}

static void twice_elsewhere_setup(void)
{
    twice_setup_by(2);
}

static void twice_body(unsigned cpu)
{
    if (cpu < 2)
        said[cpu] = tsl_frames_free(frames, taken[0], 0);
}

static void twice_check(void)
{
    /* The second may be found out only when the claim ends that the first one went to. */
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_frames_drain(frames);
    }
    host_port_set_cpu(0);
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    EXPLORER_REQUIRE(tsl_refusals_total(&stats.refusals) == 1);
    EXPLORER_REQUIRE(said[0] == TSL_OK || said[1] == TSL_OK);
    close_machine();
}

static const struct explorer_case twice_case = {
    "double free", CPUS, 1, twice_setup, twice_check, twice_body,
};
static const struct explorer_case twice_elsewhere_case = {
    "double free elsewhere", CPUS, 1, twice_elsewhere_setup, twice_check, twice_body,
};

static void a_frame_freed_twice_counts_once(void)
{
    CHECK(!explorer_finds(&twice_case, EXPLORER_NO_FAULT));
    CHECK(!explorer_finds(&twice_elsewhere_case, EXPLORER_NO_FAULT));
    CHECK(explorer_finds(&twice_elsewhere_case, EXPLORER_TORN_COMPARE));
}

/* ---- A CPU goes on to its next area while another one frees into the one it leaves. ---- */

/* CPU 0 has used up its first area. */
static void next_area_setup(void)
{
    open_machine_of(MOST_FRAMES);
    unsigned in_first = 0;
    for (unsigned i = 0; i < FRAMES; i++)
        in_first += tsl_frames_is_free(frames, (struct tsl_frame){i});
    while (count < in_first &&
           tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &taken[count]) == TSL_OK)
        count++;
    EXPLORER_REQUIRE(count == in_first && taken[count - 1].number < FRAMES);
}

/* Two blocks of 8: what makes an area worth while for single frames. */
static void next_area_body(unsigned cpu)
{
    if (cpu == 0)
        EXPLORER_REQUIRE(tsl_frames_alloc(frames, 0, TSL_FRAMES_HIGH, &taken[count++]) == TSL_OK);
    for (unsigned block = 8; cpu == 1 && block < 24; block += 8)
        EXPLORER_REQUIRE(tsl_frames_free(frames, (struct tsl_frame){block}, 3) == TSL_OK);
}

/* What CPU 1 freed is in the trees, or with CPU 0. */
static void next_area_check(void)
{
    EXPLORER_REQUIRE(tsl_frames_verify(frames).rule == 0);
    for (unsigned i = 0; i < count; i++)
        if (!tsl_frames_is_free(frames, taken[i]))
            EXPLORER_REQUIRE(tsl_frames_free(frames, taken[i], 0) == TSL_OK);
    count = 0;
    close_machine();
}

static const struct explorer_case next_area_case = {
    "next area", 2, 1, next_area_setup, next_area_check, next_area_body,
};

static void an_area_that_is_left_is_found(void)
{
    CHECK(!explorer_finds(&next_area_case, EXPLORER_NO_FAULT));
}

TAP_SUITE(explore_frames, TAP_TEST(a_frame_has_one_owner), TAP_TEST(the_last_frames_are_found),
          TAP_TEST(a_frame_freed_twice_counts_once), TAP_TEST(an_area_that_is_left_is_found));
