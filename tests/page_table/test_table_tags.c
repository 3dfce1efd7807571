/* SPDX-License-Identifier: MIT
 *
 * test_table_tags.c: CPUs that remember several tables under tags, and what they may still use.
 *
 * Owns:    suite table_tags.
 * Needs:   table_world.h; arch/host's model CPUs.
 * Callers: the host test runner.
 */
#include <host/model_cpu.h>
#include <string.h>
#include <tesela/config.h>

#include "host_port.h"
#include "rng.h"
#include "tap.h"
#include "table_world.h"

enum { RW = TSL_READ | TSL_WRITE, PAGE = 4096, CPUS = TSL_CPUS < 2 ? 1 : 2 };

#define SPACES 9u /* more than there are tags */

static struct world world;      /* its table is one that no CPU runs */
static struct tsl_table kernel; /* shown by the spaces */
static struct tsl_table space[SPACES];
static struct tsl_table *running[CPUS];
static tsl_vaddr user, shared,
    low; /* pages of spaces, of the kernel's half, of its table below it */

static void run_on(unsigned cpu, struct tsl_table *table)
{
    host_port_set_cpu(cpu);
    struct tsl_table *last = running[cpu];
    tsl_table_switch_to(table);
    if (last != NULL && last != table)
        tsl_table_left(last);
    running[cpu] = table;
    host_port_set_cpu(0);
}

static bool make(struct tsl_table *table, struct tsl_table *shown)
{
    struct tsl_table_config config = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = world.frames,
                                      .kernel = shown == NULL,
                                      .shown = shown};
    return tsl_table_init(table, &config) == TSL_OK;
}

/* One page in each space, not always at the same place in the caches of a CPU. */
static bool start(const struct machine_config *config)
{
    struct machine_config machine = {.cpus = CPUS};
    if (config != NULL)
        machine = *config;
    machine.cpus = CPUS;
    if (!machine_create(&machine) || machine_frames() == NULL)
        return false;
    world.frames = machine_frames();
    world.free_before = tsl_frames_free_count(world.frames);
    user = tsl_layout_find(machine_layout(), TSL_LAYOUT_USER)->start;
    low = tsl_layout_find(machine_layout(), TSL_LAYOUT_IDENTITY)->start;
    shared = tsl_layout_find(machine_layout(), TSL_LAYOUT_VALLOC)->start;
    memset(running, 0, sizeof(running));
    bool good = make(&kernel, NULL);
    for (unsigned i = 0; i < SPACES; i++)
        good = good && make(&space[i], &kernel) &&
               tsl_table_map(&space[i], user, world_frame(&world, 0), PAGE, RW) == TSL_OK;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        run_on(cpu, &kernel);
    return good;
}

static void stop(void)
{
    const unsigned flags = TSL_UNMAP_SPARSE | TSL_UNMAP_FREE;
    for (unsigned i = 0; i < SPACES; i++)
        CHECK_STATUS(tsl_table_unmap(&space[i], user, 64 * PAGE, flags, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&kernel, shared, 64 * PAGE, flags, NULL), TSL_OK);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_port_set_cpu(cpu);
        tsl_arch_switch_root(0);
        tsl_table_left(running[cpu]);
    }
    host_port_set_cpu(0);
    for (unsigned i = 0; i < SPACES; i++) {
        CHECK_SOUND(tsl_table_verify(&space[i]));
        CHECK_STATUS(tsl_table_fini(&space[i]), TSL_OK);
    }
    CHECK_SOUND(tsl_table_verify(&kernel));
    CHECK_STATUS(tsl_table_fini(&kernel), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(world.frames), world.free_before);
    machine_destroy();
}

static void for_each_long_format(void (*body)(void))
{
    CHECK(machine_format_count() > 0); /* a 32-bit program has no format with tags */
    for (size_t i = 0; i < machine_format_count(); i++) {
        struct machine_config config = {.format = machine_format_at(i)->name};
        if (machine_format_at(i)->va_bits <= 32)
            continue;
        tap_note("format %s", config.format);
        REQUIRE(start(&config));
        body();
        world_nothing_stale();
        stop();
    }
}

static enum model_result load(unsigned cpu, tsl_vaddr va)
{
    char byte;
    return model_load(cpu, va, &byte, 1);
}

/* Does a load of `va` on CPU 0 find its translation without a walk? */
static bool remembers(tsl_vaddr va)
{
    struct model_counters before, after;
    model_counters(&before);
    CHECK_EQ(load(0, va), MODEL_OK);
    model_counters(&after);
    return after.hits > before.hits;
}

static void kept(void)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 6; i++) {
            run_on(0, &space[i]);
            CHECK_EQ(remembers(user), round == 1);
        }
    }
    run_on(0, &space[6]); /* one too many: it takes the tag of the first */
    CHECK(!remembers(user));
    run_on(0, &space[5]);
    CHECK(remembers(user));
    run_on(0, &space[0]);
    CHECK(!remembers(user));
}

static void a_space_that_comes_back_finds_its_translations(void)
{
    for_each_long_format(kept);
}

static void changed_while_away(void)
{
    for (unsigned changer = 0; changer < CPUS; changer++) {
        tsl_vaddr page = user + (changer + 1u) * PAGE;
        CHECK_STATUS(tsl_table_map(&space[0], page, world_frame(&world, 0), PAGE, RW), TSL_OK);
        run_on(0, &space[0]);
        CHECK_EQ(model_store(0, page, "x", 1), MODEL_OK);
        run_on(0, &space[1]);
        host_port_set_cpu(changer);
        CHECK_STATUS(tsl_table_protect(&space[0], page, PAGE, TSL_READ, NULL), TSL_OK);
        run_on(0, &space[0]);
        CHECK_EQ(model_store(0, page, "y", 1), MODEL_PROTECTION);
        CHECK_EQ(load(0, page), MODEL_OK);
        run_on(0, &space[1]);
        host_port_set_cpu(changer);
        CHECK_STATUS(tsl_table_unmap(&space[0], page, PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
        run_on(0, &space[0]);
        CHECK_EQ(load(0, page), MODEL_NOT_PRESENT);
        CHECK_EQ(load(0, user), MODEL_OK);
    }
}

static void what_changed_while_the_space_was_away_is_flushed(void)
{
    for_each_long_format(changed_while_away);
}

static void recycled(void)
{
    for (unsigned i = 0; i < 3 * SPACES; i++) {
        unsigned number = i * 4u % SPACES;
        run_on(0, &space[number]);
        CHECK_EQ(load(0, user), MODEL_OK);
    }
    /* The next table in the same storage, with the same root: it has never run. (4 is no newcomer,
     * so that 3 keeps its tag.) */
    run_on(0, &space[4]);
    run_on(0, &space[3]);
    CHECK_EQ(load(0, user), MODEL_OK);
    run_on(0, &space[4]);
    tsl_paddr root = space[3].root;
    tsl_word flushes = space[3].flushes_begun;
    CHECK_STATUS(tsl_table_unmap(&space[3], user, PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_fini(&space[3]), TSL_OK);
    CHECK(make(&space[3], &kernel));
    CHECK_EQ(space[3].root, root);
    space[3].flushes_begun = flushes;
    run_on(0, &space[3]);
    CHECK_EQ(load(0, user), MODEL_NOT_PRESENT);
}

static void a_tag_used_again_shows_nothing_of_the_last_space(void)
{
    for_each_long_format(recycled);
}

/* A flush that this CPU has run while it ran the space need not be repeated, one under way must. */
static void seen_flushes(void)
{
    tsl_vaddr page = user + PAGE;
    CHECK_STATUS(tsl_table_map(&space[0], page, world_frame(&world, 0), PAGE, RW), TSL_OK);
    run_on(0, &space[0]);
    (void)remembers(user);
    host_port_set_cpu(CPUS - 1);
    CHECK_STATUS(tsl_table_protect(&space[0], page, PAGE, TSL_READ, NULL), TSL_OK);
    run_on(0, &space[1]);
    run_on(0, &space[0]);
    CHECK(remembers(user));
    space[0].flushes_begun++;
    run_on(0, &space[1]);
    space[0].flushes_ended++;
    run_on(0, &space[0]);
    CHECK(!remembers(user));
    kernel.flushes_begun++;
    run_on(0, &space[1]);
    kernel.flushes_ended++;
    run_on(0, &space[0]);
    CHECK(!remembers(user));
}

static void flushes_that_were_run_are_not_run_again(void)
{
    for_each_long_format(seen_flushes);
}

/* Pages of the kernel go under whatever tag they were seen, also those not mapped as global. */
static void kernel_pages(void)
{
    CHECK_STATUS(tsl_table_map(&kernel, shared, world_frame(&world, 0), PAGE, RW), TSL_OK);
    for (unsigned i = 0; i < 3; i++) {
        run_on(0, &space[i]);
        CHECK_EQ(load(0, shared), MODEL_OK);
    }
    CHECK_STATUS(tsl_table_protect(&kernel, shared, PAGE, TSL_READ, NULL), TSL_OK);
    for (unsigned i = 0; i < 3; i++) {
        run_on(0, &space[i]);
        CHECK_EQ(model_store(0, shared, "x", 1), MODEL_PROTECTION);
        CHECK_EQ(load(0, shared), MODEL_OK);
    }
    CHECK_STATUS(tsl_table_unmap(&kernel, shared, PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
    for (unsigned i = 0; i < 3; i++) {
        run_on(0, &space[i]);
        CHECK_EQ(load(0, shared), MODEL_NOT_PRESENT);
        model_speculate(0, shared); /* the table is kept: CPUs remember the way to it */
    }
    tsl_table_trim(&kernel);
    for (unsigned i = 0; i < 3; i++) {
        run_on(0, &space[i]);
        CHECK_EQ(load(0, shared), MODEL_NOT_PRESENT);
    }
    /* Its table has pages that are not global, too. */
    low += 16 * PAGE;
    CHECK_STATUS(tsl_table_map(&kernel, low, world_frame(&world, 0), PAGE, RW), TSL_OK);
    run_on(0, &kernel);
    CHECK_EQ(model_store(0, low, "x", 1), MODEL_OK);
    run_on(0, &space[0]);
    CHECK_STATUS(tsl_table_protect(&kernel, low, PAGE, TSL_READ, NULL), TSL_OK);
    run_on(0, &kernel);
    CHECK_EQ(model_store(0, low, "x", 1), MODEL_PROTECTION);
    CHECK_STATUS(tsl_table_unmap(&kernel, low, PAGE, TSL_UNMAP_FREE, NULL), TSL_OK);
}

static void the_kernels_pages_go_under_every_tag(void)
{
    for_each_long_format(kernel_pages);
}

/* Everybody changes everything, and goes from space to space. */
static void at_random(void)
{
    struct rng rng = rng_start(7);
    bool mapped[SPACES + 1][8] = {{false}};
    unsigned wrong = 0;
    for (unsigned i = tap_rounds(20000); i > 0 && wrong == 0; i--) {
        unsigned cpu = rng_below(&rng, CPUS), page = 1 + rng_below(&rng, 7);
        unsigned number = rng_below(&rng, SPACES + 1);
        struct tsl_table *table = number == SPACES ? &kernel : &space[number];
        tsl_vaddr at = (number == SPACES ? shared : user) + page * PAGE;
        unsigned what = rng_below(&rng, 8);
        bool is_seen = number == SPACES || running[cpu] == table;
        if (what < 3) {
            run_on(cpu, table);
        } else if (what < 6 && is_seen) {
            wrong += load(cpu, at) != (mapped[number][page] ? MODEL_OK : MODEL_NOT_PRESENT);
        } else if (what == 6 && number == SPACES && !mapped[number][page]) {
            tsl_table_trim(&kernel);
        } else if (what > 5) {
            host_port_set_cpu(cpu);
            wrong += (mapped[number][page]
                          ? tsl_table_unmap(table, at, PAGE, TSL_UNMAP_FREE, NULL)
                          : tsl_table_map(table, at, world_frame(&world, 0), PAGE, RW)) != TSL_OK;
            mapped[number][page] = !mapped[number][page];
        }
    }
    CHECK_EQ(wrong, 0);
}

static void random_switches_find_nothing_stale(void)
{
    for_each_long_format(at_random);
}

/* With the erratum a kernel page that goes stays in the CPU; so arch does not offer tags there. */
static void the_invlpg_erratum_forbids_tags(void)
{
    CHECK(machine_format_count() > 0); /* a 32-bit program has none with tags */
    for (unsigned pcid = 0; pcid < 2 && machine_format_at(0)->va_bits > 32; pcid++) {
        REQUIRE(start(NULL));
        struct tsl_cpu_features features = *machine_features();
        struct machine_config config = {.features = &features, .invlpg_spares_globals = true};
        stop();
        features.pcid = pcid;
        REQUIRE(start(&config));
        tsl_paddr frame = world_frame(&world, 0);
        CHECK_STATUS(tsl_table_map(&kernel, shared, frame, PAGE, RW | TSL_GLOBAL), TSL_OK);
        run_on(0, &space[0]);
        CHECK_EQ(load(0, shared), MODEL_OK);
        CHECK_STATUS(tsl_table_unmap(&kernel, shared, PAGE, 0, NULL), TSL_OK);
        CHECK_EQ(load(0, shared), pcid ? MODEL_OK : MODEL_NOT_PRESENT);
        struct model_counters counters;
        model_counters(&counters);
        CHECK_EQ(counters.stale_hits, pcid);
        CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(frame), 0), TSL_OK);
        stop();
    }
}

TAP_SUITE(table_tags, TAP_TEST(a_space_that_comes_back_finds_its_translations),
          TAP_TEST(what_changed_while_the_space_was_away_is_flushed),
          TAP_TEST(a_tag_used_again_shows_nothing_of_the_last_space),
          TAP_TEST(flushes_that_were_run_are_not_run_again),
          TAP_TEST(the_kernels_pages_go_under_every_tag),
          TAP_TEST(random_switches_find_nothing_stale), TAP_TEST(the_invlpg_erratum_forbids_tags));
