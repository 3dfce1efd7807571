/* SPDX-License-Identifier: MIT
 *
 * test_model_cpu.c: the model CPU remembers what it may and faults where it must.
 *
 * Owns:    nothing.
 * Needs:   a table on a machine (page_table's table_world.h).
 * Callers: the test runner.
 */
#include <host/model_cpu.h>
#include <host/ram.h>
#include <string.h>
#include <tesela/config.h>

#include "tap.h"
#include "../page_table/table_world.h"

#define RW (TSL_READ | TSL_WRITE)

static struct world world;
static tsl_vaddr va;
static tsl_vaddr user;

static bool setup(const struct tsl_table_format *format, const struct tsl_cpu_features *features)
{
    struct machine_config config = {.features = features};
    if (!world_open(&world, format, &config))
        return false;
    va = world_start(TSL_LAYOUT_VALLOC);
    user = world_start(TSL_LAYOUT_USER);
    return tsl_table_map(&world.table, va, 0x100000, 4096, RW) == TSL_OK &&
           tsl_table_map(&world.table, user, 0x101000, 4096, RW | TSL_USER) == TSL_OK;
}

static void finish(void)
{
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, user, 4096, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    world_close(&world);
}

static struct model_counters now(void)
{
    struct model_counters counters;
    model_counters(&counters);
    return counters;
}

/* A page pulled away without a flush: the CPU goes on using it, and that is counted. */
static void remembers_of(const struct tsl_table_format *format)
{
    unsigned level;
    char byte;
    REQUIRE(setup(format, NULL));
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().hits, 0);
    CHECK_EQ(model_load(0, va + 1, &byte, 1), MODEL_OK);
    CHECK_EQ(now().hits, 1);
    CHECK_EQ(now().stale_hits, 0);
    void *entry = world_entry(&world, va, &level);
    uint64_t kept = world_entry_get(&world, entry);
    world_entry_set(&world, entry, kept & ~UINT64_C(2)); /* no longer writable */
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().stale_hits, 1);
    world_entry_set(&world, entry, 0);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().stale_hits, 2);
    tsl_arch_flush_page(va);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_NOT_PRESENT);
    world_entry_set(&world, entry, kept);
    finish();
}

static void remembers_until_flushed(void)
{
    for_each_format(remembers_of);
}

static void global_of(const struct tsl_table_format *format)
{
    char byte;
    REQUIRE(setup(format, NULL));
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, RW | TSL_GLOBAL, NULL), TSL_OK);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(model_store(0, va, &byte, 1), MODEL_OK);
    tsl_word hits = now().hits;
    tsl_arch_switch_root(tsl_arch_root());
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().hits, hits + 1);
    tsl_arch_flush_all(false);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().hits, hits + 2);
    tsl_arch_flush_all(true);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_EQ(now().hits, hits + 2);
    finish();
}

static void global_pages_outlive_a_root(void)
{
    for_each_format(global_of);
}

static void rights_of(const struct tsl_table_format *format)
{
    char byte = 0;
    REQUIRE(setup(format, NULL));
    /* SMAP, SMEP: the kernel stays out of user pages. */
    CHECK_EQ(model_load(0, user, &byte, 1), MODEL_PROTECTION);
    CHECK_EQ(model_fetch(0, user), MODEL_PROTECTION);
    model_set_user(0, true);
    CHECK_EQ(model_load(0, user, &byte, 1), MODEL_OK);
    CHECK_EQ(model_store(0, user, &byte, 1), MODEL_OK);
    CHECK_EQ(model_fetch(0, user), format->has_nx ? MODEL_PROTECTION : MODEL_OK);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_PROTECTION);
    model_set_user(0, false);
    finish();

    struct tsl_cpu_features plain = {.pae = format->entry_bytes == 8, .physical_bits = 32};
    plain.la57 = format->levels == 5;
    REQUIRE(setup(format, &plain));
    CHECK_EQ(model_load(0, user, &byte, 1), MODEL_OK);
    CHECK_EQ(model_fetch(0, user), MODEL_OK); /* no NX, no SMEP */
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL), TSL_OK);
    CHECK_EQ(model_store(0, va, &byte, 1), MODEL_OK); /* no CR0.WP: the kernel writes anywhere */
    finish();
}

static void rights_are_checked(void)
{
    for_each_format(rights_of);
}

/* Entries with reserved bits fault as such, whatever page_table thinks of them. */
static void reserved_of(const struct tsl_table_format *format)
{
    unsigned level;
    char byte;
    if (format->entry_bytes == 4)
        return; /* no reserved bits in its small pages */
    REQUIRE(setup(format, NULL));
    void *entry = world_entry(&world, va, &level);
    uint64_t kept = world_entry_get(&world, entry);
    world_entry_set(&world, entry, kept | UINT64_C(1) << machine_features()->physical_bits);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_RESERVED);
    CHECK_EQ(now().reserved, 1);
    world_entry_set(&world, entry, kept);
    if (format->sign_extended)
        CHECK_EQ(model_load(0, UINT64_C(0x0100000000000000), &byte, 1), MODEL_NOT_CANONICAL);
    finish();
}

static void reserved_bits_fault(void)
{
    CHECK(machine_format_at(0)->entry_bytes == 8);
    for_each_format(reserved_of);
}

static void marks_of(const struct tsl_table_format *format)
{
    struct tsl_mapping page;
    char byte = 0;
    REQUIRE(setup(format, NULL));
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(!page.accessed && !page.dirty);
    CHECK_EQ(model_load(0, va, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && !page.dirty);
    CHECK_EQ(model_store(0, va, &byte, 1), MODEL_OK); /* the clean translation is not enough */
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK(page.accessed && page.dirty);
    finish();
}

static void marks_accessed_and_dirty(void)
{
    for_each_format(marks_of);
}

static void accesses_cross_pages(void)
{
    const char *text = "across the border";
    char back[18] = "";
    REQUIRE(setup(machine_format_at(0), NULL));
    CHECK_STATUS(tsl_table_map(&world.table, va + 4096, 0x200000, 4096, RW), TSL_OK);
    CHECK_EQ(model_store(0, va + 4090, text, 18), MODEL_OK);
    CHECK_EQ(model_load(0, va + 4090, back, 18), MODEL_OK);
    CHECK_STRING(back, text);
    CHECK_EQ(memcmp(host_ram_at(0x200000), text + 6, 12), 0);
    CHECK_EQ(model_load(0, va + 8190, back, 4), MODEL_NOT_PRESENT);
    CHECK_STATUS(tsl_table_unmap(&world.table, va + 4096, 4096, 0, NULL), TSL_OK);
    finish();
}

/* A large page becomes a table, and the CPU is not told: it has the address twice. */
static void two_sizes_of(const struct tsl_table_format *format)
{
    unsigned level;
    char byte = 0;
    uint64_t small = 0x300067; /* in the table: present, writable, user, accessed, dirty */
    REQUIRE(setup(format, NULL));
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    tsl_vaddr large = (user + 2 * bytes) & ~(bytes - 1);
    CHECK_STATUS(
        tsl_table_map(&world.table, large, bytes, bytes,
                      TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER | TSL_ALLOW_WX | TSL_MAP_LARGE),
        TSL_OK);
    model_set_user(0, true);
    CHECK_EQ(model_load(0, large, &byte, 1), MODEL_OK);
    void *entry = world_entry(&world, large, &level);
    REQUIRE(level == 1);
    uint64_t kept = world_entry_get(&world, entry);
    world_entry_set(&world, host_ram_at(0x200000), small);
    world_entry_set(&world, entry, 0x200067);
    CHECK_EQ(model_load(0, large, &byte, 1), MODEL_OK);
    CHECK_EQ(now().two_sizes, 0); /* not yet: no walk */
    CHECK_EQ(model_store(0, large, &byte, 1), MODEL_OK);
    CHECK_EQ(now().two_sizes, 1);
    CHECK_EQ(now().two_sizes_fetched, 0);
    CHECK_EQ(model_fetch(0, large), MODEL_OK);
    CHECK_EQ(now().two_sizes, 2);
    CHECK_EQ(now().two_sizes_fetched, 1);
    tsl_arch_flush_page(large);
    CHECK_EQ(model_fetch(0, large), MODEL_OK);
    CHECK_EQ(model_fetch(0, large), MODEL_OK);
    CHECK_EQ(now().two_sizes, 2);
    tsl_arch_flush_all(true);
    world_entry_set(&world, entry, kept);
    model_set_user(0, false);
    CHECK_STATUS(tsl_table_unmap(&world.table, large, bytes, 0, NULL), TSL_OK);
    finish();
}

static void an_address_under_two_sizes_is_counted(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(two_sizes_of);
}

/* Far above what a 32-bit process could hold, and where there is nothing. */
static void ram_is_sparse(void)
{
    const struct host_ram_range ranges[] = {{0, 0x10000}, {UINT64_C(60) << 30, UINT64_C(61) << 30}};
    REQUIRE(host_ram_create(ranges, 2, 0x8000));
    CHECK(host_ram_linear(0x7fff) != NULL);
    CHECK_SAME(host_ram_linear(0x8000), NULL);
    CHECK_SAME(host_ram_at(0x10000), NULL);
    char *far = host_ram_at((UINT64_C(61) << 30) - 1);
    REQUIRE(far != NULL);
    CHECK_EQ(*far, 0);
    *far = 'x';
    CHECK_EQ(*(char *)host_ram_at((UINT64_C(61) << 30) - 1), 'x');
    char *boundary = host_ram_at(0x8000);
    REQUIRE(boundary != NULL);
    *boundary = 'y';
    CHECK_EQ(*(char *)host_ram_at(0x8000), 'y');
    host_ram_destroy();
    CHECK_SAME(host_ram_at(0), NULL);
}

TAP_SUITE(model_cpu, TAP_TEST(remembers_until_flushed), TAP_TEST(global_pages_outlive_a_root),
          TAP_TEST(rights_are_checked), TAP_TEST(reserved_bits_fault),
          TAP_TEST(marks_accessed_and_dirty), TAP_TEST(accesses_cross_pages),
          TAP_TEST(an_address_under_two_sizes_is_counted), TAP_TEST(ram_is_sparse));
