/* SPDX-License-Identifier: MIT
 *
 * prop_table.c: random operations on a table against an array that remembers one page a slot.
 *
 * Owns:    the oracle.
 * Needs:   table_world.h; after each step verify, query, and the independent walker must agree.
 * Callers: the test runner.
 */
#include <string.h>
#include <tesela/config.h>

#include "rng.h"
#include "tap.h"
#include "table_world.h"

/* 16 MiB: four 4 MiB pages or eight 2 MiB pages, and their borders. */
#define SLOTS 4096u

struct slot {
    bool present;
    unsigned attributes;
    tsl_paddr target;
};

static struct slot slot[SLOTS];
static struct world world;
static struct rng rng;
static tsl_vaddr base;
static bool is_kernels; /* the half that it lies in */

static tsl_vaddr address(unsigned index)
{
    return base + (tsl_vaddr)index * 4096;
}

static unsigned some_attributes(void)
{
    static const unsigned rights[] = {TSL_READ, TSL_READ | TSL_WRITE, TSL_READ | TSL_EXEC,
                                      TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX};
    unsigned attributes = rights[rng_below(&rng, 4)] | rng_below(&rng, 4) << 8;
    return rng_below(&rng, 2) ? attributes | (is_kernels ? TSL_GLOBAL : TSL_USER) : attributes;
}

/* Often on a large page's border, often a few pages, sometimes everything. */
static void some_range(unsigned *first, unsigned *count)
{
    static const unsigned steps[] = {1, 1, 3, 512, 1024};
    unsigned step = steps[rng_below(&rng, 5)];
    *first = rng_below(&rng, SLOTS) / step * step;
    *count = (1 + rng_below(&rng, 5)) * step;
    if (*count > SLOTS - *first)
        *count = SLOTS - *first;
}

static bool any_present(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (slot[i].present)
            return true;
    return false;
}

static bool all_present(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (!slot[i].present)
            return false;
    return true;
}

/* Would a border there split code? That of the kernel's half stays whole. */
static bool is_in_code(unsigned index)
{
    struct tsl_mapping page;
    return is_kernels && index < SLOTS &&
           tsl_table_query(&world.table, address(index), &page) == TSL_OK &&
           page.start < address(index) && (page.attributes & TSL_EXEC);
}

/* Of an unmap or a protect. */
static enum tsl_status expected_of(unsigned first, unsigned count, bool sparse)
{
    if (!sparse && !all_present(first, count))
        return TSL_NOT_FOUND;
    return is_in_code(first) || is_in_code(first + count) ? TSL_DENIED : TSL_OK;
}

static void step_map(unsigned first, unsigned count)
{
    unsigned attributes = some_attributes();
    tsl_paddr top = (tsl_paddr)1 << machine_features()->physical_bits;
    tsl_paddr span = (tsl_paddr)SLOTS * 4096;
    /* Congruent to the address, so that large pages fit, or not. */
    tsl_paddr target = rng_below(&rng, 2) ? span : top - 2 * span;
    target += (tsl_paddr)first * 4096 + (rng_below(&rng, 4) == 0 ? 4096 : 0);
    unsigned large = rng_below(&rng, 4) ? TSL_MAP_LARGE : 0;
    enum tsl_status status = tsl_table_map(&world.table, address(first), target,
                                           (size_t)count * 4096, attributes | large);
    CHECK_STATUS(status, any_present(first, count) ? TSL_EXISTS : TSL_OK);
    for (unsigned i = 0; status == TSL_OK && i < count; i++)
        slot[first + i] = (struct slot){true, attributes, target + (tsl_paddr)i * 4096};
}

static void step_unmap(unsigned first, unsigned count)
{
    bool sparse = rng_below(&rng, 2);
    enum tsl_status expected = expected_of(first, count, sparse);
    enum tsl_status status = tsl_table_unmap(&world.table, address(first), (size_t)count * 4096,
                                             sparse ? TSL_UNMAP_SPARSE : 0, NULL);
    CHECK_STATUS(status, expected);
    if (status == TSL_OK)
        memset(&slot[first], 0, count * sizeof(slot[0]));
}

static void step_protect(unsigned first, unsigned count)
{
    unsigned attributes = some_attributes();
    bool sparse = rng_below(&rng, 2);
    size_t bytes = (size_t)count * 4096;
    enum tsl_status expected = expected_of(first, count, sparse);
    enum tsl_status status;
    struct tsl_gather gather;
    tsl_gather_init(&gather, &world.table);
    if (sparse)
        status = tsl_table_protect_sparse(&world.table, address(first), bytes, attributes, &gather);
    else
        status = tsl_table_protect(&world.table, address(first), bytes, attributes, NULL);
    tsl_gather_finish(&gather);
    CHECK_STATUS(status, expected);
    for (unsigned i = first; status == TSL_OK && i < first + count; i++)
        if (slot[i].present)
            slot[i].attributes = attributes;
}

static bool whole_universe_agrees(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!world_agrees(&world, address(i), slot[i].present, slot[i].target, slot[i].attributes))
            return false;
    return true;
}

/* What next visits, in order, is exactly what the oracle has. */
static bool next_agrees(void)
{
    struct tsl_mapping page;
    tsl_vaddr last = address(SLOTS - 1);
    unsigned index = 0;
    for (tsl_vaddr from = base; tsl_table_next(&world.table, from, last, &page);
         from = page.start + page.bytes) {
        while (index < SLOTS && address(index) < page.start)
            if (slot[index++].present)
                return false;
        for (size_t bytes = 0; bytes < page.bytes; bytes += 4096)
            if (index >= SLOTS || !slot[index++].present)
                return false;
        if (page.start + page.bytes - 1 >= last)
            break;
    }
    return !any_present(index, SLOTS - index);
}

static void random_run(const struct tsl_table_format *format, enum tsl_layout_use use)
{
    struct machine_config config = {.ram = {{0, 32 * MIB}}};
    REQUIRE(world_open(&world, format, &config));
    tsl_vaddr large = tsl_table_format_page_bytes(format, 1);
    base = (world_start(use) + large - 1) & ~(large - 1);
    is_kernels = use == TSL_LAYOUT_VALLOC;
    memset(slot, 0, sizeof(slot));
    rng = rng_start((uint32_t)format->levels);
    unsigned rounds = tap_rounds(400);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned first;
        unsigned count;
        some_range(&first, &count);
        unsigned what = rng_below(&rng, 5);
        if (what < 2)
            step_map(first, count);
        else if (what < 4)
            step_unmap(first, count);
        else
            step_protect(first, count);
        struct tsl_defect defect = tsl_table_verify(&world.table);
        CHECK_SOUND(defect);
        if (defect.rule != 0 || !whole_universe_agrees() || !next_agrees()) {
            tap_note("step %u", i);
            CHECK(false);
            break;
        }
    }
    CHECK(!TSL_LARGE_PAGES || world.table.counters.splits > 0);
    CHECK_STATUS(tsl_table_unmap(&world.table, base, (size_t)SLOTS * 4096, TSL_UNMAP_SPARSE, NULL),
                 TSL_OK);
    tsl_table_trim(&world.table);
    CHECK_EQ(world.table.counters.tables, format->fixed_top ? 5 : 1);
    world_close(&world);
}

static void random_runs(const struct tsl_table_format *format)
{
    random_run(format, TSL_LAYOUT_VALLOC);
    random_run(format, TSL_LAYOUT_USER);
}

static void random_operations_match_an_array(void)
{
    for_each_format(random_runs);
}

TAP_SUITE(table_random, TAP_TEST(random_operations_match_an_array));
