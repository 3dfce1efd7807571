/* SPDX-License-Identifier: MIT
 *
 * prop_memory_map.c: random maps against a naive model: one type a page.
 *
 * Owns:    the suite prop_memory_map and the model.
 * Needs:   map_check.h, rng.h. A universe of 96 pages, entries at any byte.
 * Callers: host and kernel test programs.
 */
#include "map_check.h"
#include "rng.h"

#define PAGES 96u

/* 0: nobody spoke of the page; otherwise its type + 1. */
struct model {
    uint8_t pages[PAGES];
};

static void model_add(struct model *self, tsl_paddr start, uint64_t bytes,
                      enum tsl_memory_type type)
{
    for (unsigned page = 0; page < PAGES; page++) {
        tsl_paddr low = (tsl_paddr)page << TSL_PAGE_SHIFT;
        tsl_paddr high = low + TSL_PAGE_BYTES;
        bool whole = start <= low && start + bytes >= high;
        bool touched = start < high && start + bytes > low;
        bool counts = type == TSL_MEMORY_USABLE ? whole : touched;
        if (counts && self->pages[page] < type + 1u)
            self->pages[page] = (uint8_t)(type + 1u);
    }
}

static unsigned map_page(const struct tsl_memory_map *map, unsigned page)
{
    const struct tsl_memory_range *range = tsl_map_at(map, (tsl_paddr)page << TSL_PAGE_SHIFT);
    return range == NULL ? 0 : range->type + 1u;
}

struct random_entry {
    tsl_paddr start;
    uint64_t bytes;
    enum tsl_memory_type type;
};

/* Half of the entries are usable; a third have page-aligned ends, as most firmware's do. */
static struct random_entry random_entry(struct rng *rng)
{
    struct random_entry entry;
    entry.start = rng_below(rng, PAGES * TSL_PAGE_BYTES - 1);
    entry.bytes =
        1 + rng_below(rng, rng_once_in(rng, 4) ? 40 * TSL_PAGE_BYTES : 6 * TSL_PAGE_BYTES);
    if (rng_once_in(rng, 3)) {
        entry.start &= ~(tsl_paddr)(TSL_PAGE_BYTES - 1);
        entry.bytes = (entry.bytes + TSL_PAGE_BYTES - 1) & ~(uint64_t)(TSL_PAGE_BYTES - 1);
    }
    if (entry.start + entry.bytes > PAGES * TSL_PAGE_BYTES)
        entry.bytes = PAGES * TSL_PAGE_BYTES - entry.start;
    entry.type = rng_once_in(rng, 2) ? TSL_MEMORY_USABLE
                                     : (enum tsl_memory_type)rng_below(rng, TSL_MEMORY_TYPE_COUNT);
    return entry;
}

static void equals_the_model(void)
{
    struct rng rng = rng_start(1);
    for (unsigned round = 0; round < tap_rounds(200); round++) {
        struct test_map test;
        struct model model = {{0}};
        struct tsl_memory_map *map = fresh_map(&test, TEST_CAPACITY);
        unsigned wrong = 0;
        unsigned unsound = 0;
        for (unsigned i = 0; i < 30; i++) {
            struct random_entry e = random_entry(&rng);
            CHECK_STATUS(tsl_map_add(map, e.start, e.bytes, e.type), TSL_OK);
            model_add(&model, e.start, e.bytes, e.type);
            unsound += tsl_map_verify(map).rule != 0;
            for (unsigned page = 0; page < PAGES; page++)
                wrong += map_page(map, page) != model.pages[page];
        }
        CHECK_EQ(wrong, 0u);
        CHECK_EQ(unsound, 0u);
        CHECK_EQ(map->counters.given_up + map->counters.joined_when_full, 0u);
    }
}

/* With too little room usable memory may be lost; a reservation is kept, as itself or stronger. */
static void full_maps_stay_safe(void)
{
    struct rng rng = rng_start(2);
    unsigned full = 0;
    for (unsigned round = 0; round < tap_rounds(200); round++) {
        struct test_map test;
        struct model model = {{0}};
        struct tsl_memory_map *map = fresh_map(&test, 8 + rng_below(&rng, 6));
        unsigned unsafe = 0;
        unsigned unsound = 0;
        for (unsigned i = 0; i < 60; i++) {
            struct random_entry e = random_entry(&rng);
            CHECK_STATUS(tsl_map_add(map, e.start, e.bytes, e.type), TSL_OK);
            model_add(&model, e.start, e.bytes, e.type);
            unsound += tsl_map_verify(map).rule != 0;
            for (unsigned page = 0; page < PAGES; page++) {
                bool usable = map_page(map, page) == TSL_MEMORY_USABLE + 1u;
                bool lost = model.pages[page] > TSL_MEMORY_USABLE + 1u &&
                            map_page(map, page) < model.pages[page];
                unsafe += lost || (usable && model.pages[page] != TSL_MEMORY_USABLE + 1u);
            }
        }
        CHECK_EQ(unsafe, 0u);
        CHECK_EQ(unsound, 0u);
        full += map->counters.given_up + map->counters.joined_when_full > 0;
    }
    CHECK(full > tap_rounds(50));
}

/* As importers do, usable entries first: then every byte that is missing has been counted. */
static void what_is_given_up_is_counted(void)
{
    struct rng rng = rng_start(3);
    for (unsigned round = 0; round < tap_rounds(200); round++) {
        struct test_map test;
        struct model model = {{0}};
        struct tsl_memory_map *map = fresh_map(&test, 8);
        struct random_entry entries[40];
        uint64_t usable = 0;
        for (unsigned i = 0; i < 40; i++) {
            entries[i] = random_entry(&rng);
            model_add(&model, entries[i].start, entries[i].bytes, entries[i].type);
        }
        for (unsigned pass = 0; pass < 2; pass++) {
            for (unsigned i = 0; i < 40; i++) {
                if ((entries[i].type == TSL_MEMORY_USABLE) == (pass == 0)) {
                    CHECK_STATUS(
                        tsl_map_add(map, entries[i].start, entries[i].bytes, entries[i].type),
                        TSL_OK);
                }
            }
        }
        for (unsigned page = 0; page < PAGES; page++)
            usable += model.pages[page] == TSL_MEMORY_USABLE + 1u ? TSL_PAGE_BYTES : 0;
        CHECK(tsl_map_bytes(map, TSL_MEMORY_USABLE) + map->counters.given_up_bytes >= usable);
    }
}

/* Limits at any page: what remains equals the model below, what is lost is counted. */
static void limits_equal_the_model(void)
{
    struct rng rng = rng_start(4);
    for (unsigned round = 0; round < tap_rounds(100); round++) {
        struct test_map test;
        struct model model = {{0}};
        struct tsl_memory_map *map = fresh_map(&test, TEST_CAPACITY);
        unsigned limit = rng_below(&rng, PAGES);
        uint64_t lost = 0;
        unsigned wrong = 0;
        for (unsigned i = 0; i < 20; i++) {
            struct random_entry e = random_entry(&rng);
            CHECK_STATUS(tsl_map_add(map, e.start, e.bytes, e.type), TSL_OK);
            model_add(&model, e.start, e.bytes, e.type);
        }
        for (unsigned page = limit; page < PAGES; page++) {
            lost += model.pages[page] == TSL_MEMORY_USABLE + 1u ? TSL_PAGE_BYTES : 0;
            model.pages[page] = 0;
        }
        CHECK_EQ(tsl_map_limit(map, (tsl_paddr)limit << TSL_PAGE_SHIFT), lost);
        for (unsigned page = 0; page < PAGES; page++)
            wrong += map_page(map, page) != model.pages[page];
        CHECK_EQ(wrong, 0u);
        CHECK_EQ(tsl_map_verify(map).rule, 0u);
    }
}

TAP_SUITE(prop_memory_map, TAP_TEST(equals_the_model), TAP_TEST(full_maps_stay_safe),
          TAP_TEST(what_is_given_up_is_counted), TAP_TEST(limits_equal_the_model));
