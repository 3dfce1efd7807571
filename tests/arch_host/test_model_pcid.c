/* SPDX-License-Identifier: MIT
 *
 * test_model_pcid.c: what a model CPU remembers for each space, and which instruction drops what.
 *
 * Owns:    nothing.
 * Needs:   tables on a machine (page_table's table_world.h).
 * Callers: the test runner.
 *
 * Source: Intel SDM volume 3, 4.10.4.1 "Operations that Invalidate TLBs and Paging-Structure
 * Caches".
 */
#include <host/model_cpu.h>

#include "tap.h"
#include "../page_table/table_world.h"

#define RW   (TSL_READ | TSL_WRITE)
#define KEEP (UINT64_C(1) << 63)

static struct world world;
static struct tsl_table other; /* a second space on the same machine */
static tsl_vaddr user;         /* another page in each space */
static tsl_vaddr shared;       /* the same global page in both */

static bool setup(const struct tsl_table_format *format, bool erratum)
{
    struct machine_config config = {.invlpg_spares_globals = erratum};
    if (!world_open(&world, format, &config))
        return false;
    struct tsl_table_config second = {.format = machine_format(),
                                      .features = *machine_features(),
                                      .frames = world.frames};
    user = world_start(TSL_LAYOUT_USER);
    shared = world_start(TSL_LAYOUT_VALLOC);
    bool good = tsl_table_init(&other, &second) == TSL_OK;
    tsl_paddr frame = world_frame(&world, 2);
    struct tsl_table *table[] = {&world.table, &other};
    for (unsigned i = 0; i < 2; i++) {
        good = good &&
               tsl_table_map(table[i], user, frame + i * 4096u, 4096, RW | TSL_USER) == TSL_OK &&
               tsl_table_map(table[i], shared, frame + 8192, 4096, RW | TSL_GLOBAL) == TSL_OK;
    }
    model_set_ac(0, true);
    return good && model_set_pcide(0, true);
}

static void finish(void)
{
    model_set_pcide(0, false);
    tsl_arch_switch_root(world.table.root);
    CHECK_STATUS(tsl_table_unmap(&world.table, user, 4096, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, shared, 4096, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&other, user, 4096, 0, NULL), TSL_OK);
    struct tsl_mapping page;
    CHECK_STATUS(tsl_table_query(&other, shared, &page), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&other, shared, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    struct tsl_frame first = {tsl_frame_of(page.target).number - 2};
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            CHECK_STATUS(tsl_frames_free(world.frames, (struct tsl_frame){first.number + i}, 0),
                         TSL_OK);
    CHECK_STATUS(tsl_table_fini(&other), TSL_OK);
    world_close(&world);
}

/* Does a load of `va` find its translation without a walk? */
static bool remembers(tsl_vaddr va)
{
    struct model_counters before;
    struct model_counters after;
    char byte;
    model_counters(&before);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    model_counters(&after);
    return after.hits > before.hits;
}

static void enter(const struct tsl_table *table, unsigned pcid, bool keep)
{
    model_load_cr3(0, table->root | pcid | (keep ? KEEP : 0));
    CHECK_EQ(model_root(0), table->root);
}

/* Space 1 is world.table, space 2 is `other`; both have touched their pages; space 1 is running. */
static void both_ran(void)
{
    CHECK(model_invpcid(0, MODEL_INVPCID_EVERYTHING, 0, 0));
    enter(&other, 2, false);
    (void)remembers(user);
    (void)remembers(shared);
    enter(&world.table, 1, false);
    (void)remembers(user);
    (void)remembers(shared);
    CHECK(remembers(user) && remembers(shared));
}

static void for_each_long_format(void (*body)(const struct tsl_table_format *format))
{
    CHECK(machine_format_count() > 0); /* a 32-bit program has no format with PCIDs */
    for (size_t i = 0; i < machine_format_count(); i++)
        if (machine_format_at(i)->va_bits > 32)
            body(machine_format_at(i));
}

static void spaces_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format, false));
    both_ran();
    enter(&other, 2, true); /* each finds its own again */
    CHECK(remembers(user) && remembers(shared));
    enter(&world.table, 1, true);
    CHECK(remembers(user) && remembers(shared));
    enter(&other, 2, false); /* without bit 63 the PCID entered is dropped, the other is not */
    CHECK(!remembers(user) && remembers(shared));
    enter(&world.table, 1, true);
    CHECK(remembers(user));
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);

    enter(&world.table, 1 + 1024, true); /* a number whose places in the caches are the same */
    CHECK(!remembers(user));
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    enter(&world.table, 1, true);
    (void)remembers(user);

    /* A number used again with its old translations: legal for the CPU, and caught. */
    enter(&other, 1, true);
    CHECK(remembers(user));
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 1);
    finish();
}

static void each_space_has_its_own(void)
{
    for_each_long_format(spaces_of);
}

static void instructions_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format, false));
    both_ran();
    tsl_arch_flush_page(user); /* INVLPG: of this PCID only */
    CHECK(!remembers(user) && remembers(shared));
    enter(&other, 2, true);
    CHECK(remembers(user));

    both_ran();
    tsl_arch_flush_page(shared); /* and global ones */
    CHECK(remembers(user) && !remembers(shared));

    both_ran();
    CHECK(model_invpcid(0, MODEL_INVPCID_PAGE, 2, user));
    CHECK(remembers(user));
    enter(&other, 2, true);
    CHECK(!remembers(user) && remembers(shared));

    both_ran();
    CHECK(model_invpcid(0, MODEL_INVPCID_PAGE, 1, shared)); /* spares global ones */
    CHECK(remembers(shared));
    CHECK(model_invpcid(0, MODEL_INVPCID_SPACE, 2, 0));
    CHECK(remembers(user) && remembers(shared));
    enter(&other, 2, true);
    CHECK(!remembers(user) && remembers(shared));

    both_ran();
    CHECK(model_invpcid(0, MODEL_INVPCID_EVERY_SPACE, 0, 0));
    CHECK(!remembers(user) && remembers(shared));
    CHECK(model_invpcid(0, MODEL_INVPCID_EVERYTHING, 0, 0));
    CHECK(!remembers(user) && !remembers(shared));

    both_ran();
    tsl_arch_flush_all(false); /* CR3 again: this PCID */
    CHECK(!remembers(user) && remembers(shared));
    enter(&other, 2, true);
    CHECK(remembers(user));
    both_ran();
    tsl_arch_flush_all(true); /* CR4.PGE toggled: everything */
    CHECK(!remembers(user) && !remembers(shared));
    enter(&other, 2, true);
    CHECK(!remembers(user));
    finish();
}

static void each_instruction_drops_its_own(void)
{
    for_each_long_format(instructions_of);
}

static void erratum_of(const struct tsl_table_format *format)
{
    REQUIRE(setup(format, true));
    both_ran();
    tsl_arch_flush_page(shared);
    CHECK(remembers(shared)); /* that is the erratum */
    CHECK(model_invpcid(0, MODEL_INVPCID_EVERYTHING, 0, 0));
    CHECK(!remembers(shared));
    both_ran();
    tsl_arch_flush_all(true);
    CHECK(!remembers(shared));
    CHECK(model_set_pcide(0, false));
    CHECK(!remembers(shared) && remembers(shared));
    tsl_arch_flush_page(shared); /* only with PCIDs on */
    CHECK(!remembers(shared));
    finish();
}

static void the_erratum_spares_global_pages(void)
{
    for_each_long_format(erratum_of);
}

/* Ways to tables belong to a PCID as well. */
static void ways_of(const struct tsl_table_format *format)
{
    struct model_counters before;
    struct model_counters after;
    REQUIRE(setup(format, false));
    both_ran();
    CHECK(model_invpcid(0, MODEL_INVPCID_EVERYTHING, 0, 0));
    enter(&other, 2, false);
    model_speculate(0, user);
    model_counters(&before);
    enter(&world.table, 1, true);
    (void)remembers(user);
    enter(&world.table, 2 + 1024, true); /* has the same places */
    (void)remembers(user);
    model_counters(&after);
    CHECK_EQ(after.way_hits, before.way_hits);
    enter(&other, 2, true);
    model_speculate(0, user);
    enter(&other, 2, true);
    (void)remembers(user);
    model_counters(&after);
    CHECK_EQ(after.way_hits, before.way_hits + 1);
    CHECK_EQ(after.stale_hits, 0);

    CHECK(model_invpcid(0, MODEL_INVPCID_EVERYTHING, 0, 0));
    model_speculate(0, user);
    enter(&world.table, 1, true);
    tsl_arch_flush_page(user); /* the ways of this PCID, no others */
    enter(&other, 2, true);
    model_counters(&before);
    (void)remembers(user);
    model_counters(&after);
    CHECK_EQ(after.way_hits, before.way_hits + 1);
    finish();
}

static void ways_belong_to_a_space(void)
{
    for_each_long_format(ways_of);
}

static void refusals_of(const struct tsl_table_format *format)
{
    struct tsl_cpu_features features;
    struct machine_config config = {.features = &features};
    REQUIRE(world_open(&world, format, NULL));
    features = *machine_features();
    bool is_long = format->va_bits > 32;
    CHECK_EQ(model_set_pcide(0, true), is_long);
    CHECK_EQ(model_invpcid(0, MODEL_INVPCID_SPACE, 1, 0), is_long);
    CHECK(!model_invpcid(0, MODEL_INVPCID_SPACE, 0x1000, 0));
    CHECK(model_set_pcide(0, false));
    model_load_cr3(0, world.table.root | 0x18);
    CHECK(!model_set_pcide(0, true)); /* cache bits in CR3 would become a PCID */
    tsl_arch_switch_root(world.table.root);
    world_close(&world);
    features.pcid = false;
    REQUIRE(world_open(&world, format, &config));
    CHECK(!model_set_pcide(0, true));
    world_close(&world);
}

static void numbers_need_the_feature(void)
{
    for_each_format(refusals_of);
}

TAP_SUITE(model_pcid, TAP_TEST(each_space_has_its_own), TAP_TEST(each_instruction_drops_its_own),
          TAP_TEST(the_erratum_spares_global_pages), TAP_TEST(ways_belong_to_a_space),
          TAP_TEST(numbers_need_the_feature));
