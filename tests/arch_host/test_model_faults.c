/* SPDX-License-Identifier: MIT
 *
 * test_model_faults.c: when a model CPU faults, and with which error code; A and D bits of tables.
 *
 * Owns:    nothing.
 * Needs:   a table on a machine (page_table's table_world.h).
 * Callers: the test runner.
 *
 * Source: Intel SDM volume 3, 4.6 (rights), 4.7 (page-fault exceptions), 4.8 (accessed and dirty).
 */
#include <host/model_cpu.h>
#include <string.h>

#include "tap.h"
#include "../page_table/table_world.h"

#define P MODEL_ERROR_PRESENT
#define W MODEL_ERROR_WRITE
#define U MODEL_ERROR_USER
#define R MODEL_ERROR_RESERVED
#define I MODEL_ERROR_FETCH

static struct world world;

/* The bits of a machine that rights depend on; one test for each of their combinations. */
struct switches {
    bool wp, nx, smep, smap, ac, user;
};

static struct switches switches_of(unsigned n)
{
    return (struct switches){n & 1, n & 2, n & 4, n & 8, n & 16, n & 32};
}

/* What the manual says of one access to one page: the error code, or -1: no fault. */
static int expected(const struct tsl_table_format *format, struct switches s, unsigned attributes,
                    bool present, enum model_access access)
{
    bool nx = s.nx && format->has_nx;
    bool fetch = access == MODEL_FETCH;
    unsigned code =
        (access == MODEL_STORE ? W : 0) | (s.user ? U : 0) | (fetch && (nx || s.smep) ? I : 0);
    if (!present)
        return (int)code;
    bool user_page = attributes & TSL_USER;
    bool fault = s.user && !user_page;
    fault = fault || (!s.user && user_page && fetch && s.smep);
    fault = fault || (!s.user && user_page && !fetch && s.smap && !s.ac);
    fault = fault || (access == MODEL_STORE && !(attributes & TSL_WRITE) && (s.user || s.wp));
    fault = fault || (fetch && nx && !(attributes & TSL_EXEC));
    return fault ? (int)(code | P) : -1;
}

static unsigned wrong_accesses(const struct tsl_table_format *format, struct switches s,
                               tsl_vaddr va, unsigned attributes, bool present)
{
    unsigned wrong = 0;
    for (unsigned access = MODEL_LOAD; access <= MODEL_FETCH; access++) {
        char byte = 0;
        int code = expected(format, s, attributes, present, (enum model_access)access);
        enum model_result result = access == MODEL_LOAD    ? model_load(0, va + 5, &byte, 1)
                                   : access == MODEL_STORE ? model_store(0, va + 5, &byte, 1)
                                                           : model_fetch(0, va + 5);
        bool good = code < 0 ? result == MODEL_OK
                             : result == (present ? MODEL_PROTECTION : MODEL_NOT_PRESENT) &&
                                   model_last_fault(0).code == (unsigned)code &&
                                   model_last_fault(0).address == va + 5;
        if (!good)
            tap_note("%s, attributes %x, access %u, user %d: result %u, code %x, not %x",
                     format->name, attributes, access, s.user, result, model_last_fault(0).code,
                     (unsigned)code);
        wrong += !good;
    }
    return wrong;
}

static void codes_of(const struct tsl_table_format *format)
{
    static const unsigned rights[] = {TSL_READ, TSL_READ | TSL_WRITE, TSL_READ | TSL_EXEC,
                                      TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX};
    unsigned wrong = 0;
    for (unsigned n = 0; n < 64; n++) {
        struct switches s = switches_of(n);
        struct machine_config config = {.format = format->name};
        REQUIRE(machine_create(&config));
        struct tsl_cpu_features features = *machine_features();
        features.wp = s.wp;
        features.nx = s.nx && format->has_nx;
        features.smep = s.smep;
        features.smap = s.smap;
        config.features = &features;
        REQUIRE(world_open(&world, format, &config));
        tsl_paddr frame = world_frame(&world, 0);
        model_set_user(0, s.user);
        model_set_ac(0, s.ac);
        for (unsigned i = 0; i < 8; i++) {
            unsigned attributes = rights[i % 4] | (i & 4 ? TSL_USER : 0);
            tsl_vaddr va = world_start(i & 4 ? TSL_LAYOUT_USER : TSL_LAYOUT_VALLOC);
            wrong += wrong_accesses(format, s, va, attributes, false);
            CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, attributes), TSL_OK);
            wrong += wrong_accesses(format, s, va, attributes, true);
            wrong += wrong_accesses(format, s, va, attributes, true); /* what it remembers now */
            CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
        }
        CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(frame), 0), TSL_OK);
        world_close(&world);
    }
    CHECK_EQ(wrong, 0);
}

static void every_access_has_its_error_code(void)
{
    for_each_format(codes_of);
}

/* For each width of physical addresses: the last address is good, the bit above is reserved. */
static void widths_of(const struct tsl_table_format *format)
{
    char byte;
    if (format->entry_bytes == 4)
        return;
    for (unsigned bits = 32; bits <= 52; bits += 2) {
        struct machine_config config = {.physical_bits = bits};
        unsigned level;
        REQUIRE(world_open(&world, format, &config));
        tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
        tsl_paddr last = ((tsl_paddr)1 << bits) - 4096;
        CHECK_STATUS(tsl_table_map(&world.table, va, last + 4096, 4096, TSL_READ),
                     TSL_OUT_OF_RANGE);
        CHECK_STATUS(tsl_table_map(&world.table, va, last, 4096, TSL_READ), TSL_OK);
        CHECK_EQ(model_load(0, va, &byte, 1), MODEL_NO_RAM);
        void *entry = world_entry(&world, va, &level);
        uint64_t good = world_entry_get(&world, entry);
        tsl_arch_flush_page(va);
        if (bits < 52) {
            world_entry_set(&world, entry, good | (uint64_t)1 << bits);
            CHECK_EQ(model_load(0, va, &byte, 1), MODEL_RESERVED);
            CHECK_EQ(model_last_fault(0).code, P | R);
        }
        world_entry_set(&world, entry, good);
        CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
        world_close(&world);
    }
}

static void widths_from_32_to_52(void)
{
    CHECK(machine_format_at(0)->entry_bytes == 8);
    for_each_format(widths_of);
}

/* The raw entries on the way to `va`, top first, through the model's memory. */
static unsigned accessed_tables(const struct tsl_table_format *format, tsl_vaddr va)
{
    unsigned count = 0;
    const char *memory = world.table.root_memory;
    for (unsigned level = format->levels - 1; level > 0; level--) {
        struct tsl_table_entry entry;
        uint64_t raw = 0;
        memcpy(&raw, memory + tsl_table_format_index(format, level, va) * format->entry_bytes,
               format->entry_bytes);
        format->decode(level, raw, machine_features(), &entry);
        count += (raw & 0x20) != 0;
        memory = tsl_port_phys_to_virt(entry.target);
    }
    return count;
}

static void marks_of(const struct tsl_table_format *format)
{
    struct tsl_mapping page;
    char byte;
    unsigned tables = format->levels - 1 - (format->fixed_top ? 1 : 0);
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_paddr frame = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, TSL_READ), TSL_OK);
    CHECK_EQ(accessed_tables(format, va), 0);
    model_speculate(0, va); /* the tables only */
    CHECK_EQ(accessed_tables(format, va), tables);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(!page.accessed);
    struct model_counters before;
    struct model_counters after;
    model_counters(&before);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK); /* begins at the remembered table */
    model_counters(&after);
    CHECK_EQ(after.way_hits, before.way_hits + 1);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && !page.dirty);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    world_close(&world);
}

static void tables_are_marked_too(void)
{
    for_each_format(marks_of);
}

/* A way to a table that is gone, with enough levels an upper one: the walk through it is seen. */
static void stale_way_of(const struct tsl_table_format *format)
{
    struct model_counters counters;
    char byte;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr beside = va + tsl_table_format_page_bytes(format, format->levels < 4 ? 0 : 1);
    tsl_paddr frame = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, TSL_READ), TSL_OK);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    tsl_table_left(&world.table); /* a bug: the CPU runs the table and is not asked */
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    tsl_table_trim(&world.table);
    model_counters(&counters);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_EQ(model_load(0, beside, &byte, 1), MODEL_NOT_PRESENT); /* by the table remembered */
    model_counters(&counters);
    CHECK(counters.freed_tables > 0);
    tsl_table_switch_to(&world.table);
    world_close(&world);
}

static void a_walk_through_a_freed_table_is_seen(void)
{
    for_each_format(stale_way_of);
}

/* Two tables change places under a CPU that remembers the way to one of them. */
static void swapped_of(const struct tsl_table_format *format)
{
    struct model_counters counters;
    char byte;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr beside = va + tsl_table_format_page_bytes(format, 1);
    tsl_paddr frame = world_frame(&world, 0);
    tsl_paddr other = world_frame(&world, 0);
    CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, TSL_READ), TSL_OK);
    CHECK_STATUS(tsl_table_map(&world.table, beside, other, 4096, TSL_READ), TSL_OK);
    model_speculate(0, va);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    tsl_arch_flush_page(va);
    model_speculate(0, va);
    char *directory = world.table.path.memory[1];
    unsigned size = format->entry_bytes;
    char *first = directory + tsl_table_format_index(format, 1, va) * size;
    char entry[8];
    memcpy(entry, first, size);
    memcpy(first, first + size, size);
    memcpy(first + size, entry, size);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 1);
    memcpy(first + size, first, size);
    memcpy(first, entry, size);
    tsl_arch_flush_page(va);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, beside, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
    world_close(&world);
}

static void a_remembered_way_can_be_stale(void)
{
    for_each_format(swapped_of);
}

/* PAE: the four registers are what counts until CR3 is loaded. */
static void registers_hold_the_root(void)
{
    char byte;
    for (size_t i = 0; i < machine_format_count(); i++) {
        if (!machine_format_at(i)->fixed_top)
            continue;
        REQUIRE(world_open(&world, machine_format_at(i), NULL));
        tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
        tsl_paddr frame = world_frame(&world, 0);
        CHECK_STATUS(tsl_table_map(&world.table, va, frame, 4096, TSL_READ), TSL_OK);
        uint64_t *root = world.table.root_memory;
        uint64_t kept = root[va >> 30];
        root[va >> 30] = 0;
        tsl_arch_flush_page(va);
        CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
        tsl_arch_switch_root(tsl_arch_root());
        CHECK_EQ(model_load(0, va, &byte, 1), MODEL_NOT_PRESENT);
        root[va >> 30] = kept;
        CHECK_EQ(model_load(0, va, &byte, 1), MODEL_NOT_PRESENT);
        tsl_arch_switch_root(tsl_arch_root());
        CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
        CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_FREE, NULL), TSL_OK);
        world_close(&world);
    }
}

TAP_SUITE(model_faults, TAP_TEST(every_access_has_its_error_code), TAP_TEST(widths_from_32_to_52),
          TAP_TEST(tables_are_marked_too), TAP_TEST(a_walk_through_a_freed_table_is_seen),
          TAP_TEST(a_remembered_way_can_be_stale), TAP_TEST(registers_hold_the_root));
