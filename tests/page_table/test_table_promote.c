/* SPDX-License-Identifier: MIT
 *
 * test_table_promote.c: full tables become large pages, and these come apart again.
 *
 * Owns:    suite table_promote.
 * Needs:   table_world.h, model_cpu.h.
 * Callers: the host test runner.
 */
#include <host/model_cpu.h>
#include <tesela/config.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

enum { RW = TSL_READ | TSL_WRITE, CPUS = TSL_CPUS < 2 ? 1 : 2 };

static struct world world;
static struct tsl_table *const table = &world.table;
static tsl_vaddr bytes; /* of the large page */
static tsl_vaddr at;    /* where it is to be */
static tsl_paddr block; /* its frames */

static bool start(const struct tsl_table_format *format, enum tsl_layout_use use, bool splinters)
{
    struct machine_config config = {.cpus = CPUS, .splinters = splinters};
    if (!world_open(&world, format, &config))
        return false;
    bytes = tsl_table_format_page_bytes(format, 1);
    at = (world_start(use) + 2 * bytes) & ~(bytes - 1);
    block = world_frame(&world, format->shift[1] - TSL_PAGE_SHIFT);
    return block != 0;
}

static void stop(void)
{
    world_nothing_stale();
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, TSL_UNMAP_SPARSE, NULL), TSL_OK);
    CHECK_STATUS(tsl_frames_free(world.frames, tsl_frame_of(block),
                                 table->format->shift[1] - TSL_PAGE_SHIFT),
                 TSL_OK);
    world_close(&world);
}

static void promote(tsl_word expected)
{
    tsl_word before = table->counters.promotions;
    CHECK_STATUS(tsl_table_promote(table, at, bytes), TSL_OK);
    CHECK_EQ(table->counters.promotions - before, TSL_LARGE_PAGES ? expected : 0);
    CHECK_SOUND(tsl_table_verify(table));
}

static bool is_writable_on_all_cpus(void)
{
    unsigned stored = 0;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        for (tsl_vaddr page = 0; page < bytes; page += 4096)
            stored += model_store(cpu, at + page, "x", 1) == MODEL_OK;
    CHECK(stored == 0 || stored == CPUS * (bytes >> TSL_PAGE_SHIFT));
    return stored > 0;
}

/* With everything in the CPUs' hands at each step. */
static void round_trip(const struct tsl_table_format *format, enum tsl_layout_use use,
                       bool splinters)
{
    REQUIRE(start(format, use, splinters));
    unsigned global = use == TSL_LAYOUT_USER ? 0 : TSL_GLOBAL;
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, RW | global), TSL_OK);
    tsl_word tables = table->counters.tables;
    tsl_word free_frames = tsl_frames_free_count(world.frames);
    for (unsigned round = 0; round < 2; round++) {
        CHECK(is_writable_on_all_cpus());
        promote(1);
        CHECK_EQ(table->counters.tables, tables - TSL_LARGE_PAGES);
        CHECK_EQ(table->counters.pages[1], TSL_LARGE_PAGES);
        CHECK_EQ(tsl_frames_free_count(world.frames), free_frames + TSL_LARGE_PAGES);
        for (tsl_vaddr page = 0; page < bytes; page += 4096)
            CHECK(world_agrees(&world, at + page, true, block + page, RW | global));
        CHECK(is_writable_on_all_cpus());
        CHECK_STATUS(tsl_table_protect(table, at, bytes, TSL_READ | global, NULL), TSL_OK);
        CHECK(!is_writable_on_all_cpus());
        CHECK_STATUS(tsl_table_protect(table, at, bytes, RW | global, NULL), TSL_OK);
        CHECK(is_writable_on_all_cpus());
        CHECK_STATUS(tsl_table_protect(table, at + 4096, 4096, TSL_READ | global, NULL), TSL_OK);
        CHECK_EQ(table->counters.pages[1], 0);
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            CHECK_EQ(model_store(cpu, at, "y", 1), MODEL_OK);
            CHECK_EQ(model_store(cpu, at + 4096, "y", 1), MODEL_PROTECTION);
            CHECK_EQ(model_store(cpu, at + bytes - 4096, "y", 1), MODEL_OK);
        }
        promote(0); /* the rights differ */
        CHECK_STATUS(tsl_table_protect(table, at + 4096, 4096, RW | global, NULL), TSL_OK);
    }
    promote(1);
    CHECK(is_writable_on_all_cpus());
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        for (tsl_vaddr page = 0; page < bytes; page += 4096)
            CHECK_EQ(model_store(cpu, at + page, "z", 1), MODEL_NOT_PRESENT);
    stop();
}

static void round_trip_of(const struct tsl_table_format *format)
{
    round_trip(format, TSL_LAYOUT_VALLOC, false);
    round_trip(format, TSL_LAYOUT_USER, false);
}

static void pages_become_one_and_come_apart(void)
{
    for_each_format(round_trip_of);
}

/* CPUs that remember a large page by pieces: all of them must go. */
static void splinters_of(const struct tsl_table_format *format)
{
    round_trip(format, TSL_LAYOUT_VALLOC, true);
    round_trip(format, TSL_LAYOUT_USER, true);
}

static void no_splinter_of_a_large_page_stays(void)
{
    for_each_format(splinters_of);
}

static void history(bool accessed, bool dirty)
{
    struct tsl_mapping page;
    char byte;
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, RW), TSL_OK);
    if (accessed)
        CHECK_EQ(model_load(0, at + 7 * 4096, &byte, 1), MODEL_OK);
    if (dirty)
        CHECK_EQ(model_store(0, at + bytes - 4096, "x", 1), MODEL_OK);
    promote(1);
    CHECK_STATUS(tsl_table_query(table, at, &page), TSL_OK);
    if (TSL_LARGE_PAGES) {
        CHECK_EQ(page.accessed, accessed || dirty);
        CHECK_EQ(page.dirty, dirty);
    }
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
}

static void history_of(const struct tsl_table_format *format)
{
    static const enum tsl_layout_use uses[] = {TSL_LAYOUT_VALLOC, TSL_LAYOUT_USER};
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(start(format, uses[i], false));
        history(false, false);
        history(true, false);
        history(false, true);
        stop();
    }
}

static void one_dirty_page_makes_all_dirty(void)
{
    for_each_format(history_of);
}

/* One page that is not like the others. */
static void odd(unsigned page, tsl_paddr target, unsigned attributes, unsigned odd_attributes)
{
    tsl_vaddr odd_at = at + (tsl_vaddr)page * 4096;
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, attributes), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(table, odd_at, 4096, 0, NULL), TSL_OK);
    promote(0);
    CHECK_STATUS(tsl_table_map(table, odd_at, target, 4096, odd_attributes), TSL_OK);
    promote(0);
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
}

/* A table that is noted as kept fills up again. */
static void kept_of(const struct tsl_table_format *format)
{
    REQUIRE(start(format, TSL_LAYOUT_VALLOC, false));
    CHECK_STATUS(tsl_table_map(table, at + 8 * 4096, block + 8 * 4096, 4096, RW), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(table, at + 8 * 4096, 4096, 0, NULL), TSL_OK);
    CHECK_EQ(table->kept_count, 1);
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, RW), TSL_OK);
    CHECK(is_writable_on_all_cpus());
    promote(1);
    CHECK_EQ(table->kept_count, !TSL_LARGE_PAGES);
    tsl_table_trim(table);
    CHECK(is_writable_on_all_cpus());
    stop();
}

static void a_kept_table_is_kept_no_longer(void)
{
    for_each_format(kept_of);
}

static void odd_of(const struct tsl_table_format *format)
{
    REQUIRE(start(format, TSL_LAYOUT_USER, false));
    unsigned last = (unsigned)(bytes >> TSL_PAGE_SHIFT) - 1u;
    const unsigned pages[] = {0, 1, last / 2, last};
    for (unsigned i = 0; i < TSL_COUNT_OF(pages); i++) {
        tsl_paddr target = block + (tsl_paddr)pages[i] * 4096;
        odd(pages[i], target ^ 4096, RW, RW);
        odd(pages[i], target, RW, TSL_READ);
        odd(pages[i], target, RW, RW | TSL_USER);
        odd(pages[i], target, RW, RW | TSL_CACHE_WRITE_COMBINING);
        odd(pages[i], target, RW, RW | TSL_EXEC | TSL_ALLOW_WX);
    }
    /* The target is not aligned; the range is a page short; nothing at all. */
    CHECK_STATUS(tsl_table_map(table, at, block + 4096, bytes, RW), TSL_OK);
    promote(0);
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, TSL_READ | TSL_EXEC), TSL_OK);
    CHECK_STATUS(tsl_table_promote(table, at + 4096, 2 * bytes - 4096), TSL_OK);
    CHECK_STATUS(tsl_table_promote(table, at - bytes, 2 * bytes - 4096), TSL_OK);
    CHECK_EQ(table->counters.promotions, 0);
    promote(1); /* code of programs may */
    promote(0); /* it is one already */
    CHECK_STATUS(tsl_table_promote(table, at, 0), TSL_INVALID);
    CHECK_STATUS(tsl_table_promote(table, at + 1, bytes), TSL_MISALIGNED);
    stop();
    REQUIRE(start(format, TSL_LAYOUT_VALLOC, false));
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, TSL_READ | TSL_EXEC), TSL_OK);
    bool is_code = format->has_nx;
    promote(is_code || TSL_LARGE_PAGES ? 0 : 1); /* code of the kernel may not */
    CHECK_STATUS(tsl_table_fix(table, at + bytes, 4096), TSL_OK);
    stop();
}

static void what_differs_stays_apart(void)
{
    for_each_format(odd_of);
}

/* The other CPU between two steps of a split: loads, which in the kernel's half always find the
 * page, and one store, either while the tables show the large page or when they show small ones. */
static unsigned loads_missed;
static bool is_kernels;
static bool waits_for_small;
static bool has_stored;

static void use_meanwhile(uint64_t *entry)
{
    unsigned level;
    char byte;
    (void)entry;
    if (is_kernels)
        loads_missed += model_load(1, at, &byte, 1) != MODEL_OK;
    (void)world_entry(&world, at, &level);
    if (!has_stored && (level == 0) == waits_for_small)
        has_stored = model_store(1, at + 5 * 4096, "x", 1) == MODEL_OK;
}

/* The page comes apart at `from` while the other CPU knows it as clean. */
static void come_apart(tsl_vaddr from, bool by_unmap)
{
    struct tsl_mapping piece;
    char byte;
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, RW | TSL_MAP_LARGE), TSL_OK);
    CHECK_EQ(table->counters.pages[1], 1);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        CHECK_EQ(model_load(cpu, at + bytes - 1, &byte, 1), MODEL_OK);
    loads_missed = 0;
    has_stored = false;
    model_before_exchange = use_meanwhile;
    if (by_unmap)
        CHECK_STATUS(tsl_table_unmap(table, from, 4096, 0, NULL), TSL_OK);
    else
        CHECK_STATUS(tsl_table_protect(table, from, 4096, TSL_READ, NULL), TSL_OK);
    model_before_exchange = NULL;
    /* A 32-bit CPU takes an entry away in halves, where the hook is not. */
    bool is_hooked = sizeof(tsl_word) == 8 || is_kernels || waits_for_small;
    CHECK(has_stored || by_unmap || !is_hooked);
    CHECK_EQ(loads_missed, 0);
    CHECK_STATUS(tsl_table_query(table, at + 5 * 4096, &piece), TSL_OK);
    CHECK_EQ(piece.bytes, 4096);
    CHECK_EQ(piece.dirty, has_stored);
    CHECK_SOUND(tsl_table_verify(table));
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, TSL_UNMAP_SPARSE, NULL), TSL_OK);
}

static void seen_of(const struct tsl_table_format *format)
{
    static const enum tsl_layout_use uses[] = {TSL_LAYOUT_VALLOC, TSL_LAYOUT_USER};
    struct model_counters counters;
    if (format->entry_bytes == 4 || !TSL_LARGE_PAGES || CPUS < 2)
        return; /* the hook sits in exchanges of 8 bytes */
    for (unsigned i = 0; i < 2 * TSL_COUNT_OF(uses); i++) {
        REQUIRE(start(format, uses[i / 2], false));
        is_kernels = uses[i / 2] == TSL_LAYOUT_VALLOC;
        waits_for_small = i % 2;
        come_apart(at + 4096, false);
        come_apart(at, true);
        come_apart(at + bytes - 4096, true);
        model_counters(&counters);
        if (!is_kernels)
            CHECK_EQ(counters.two_sizes, 0);
        stop();
    }
}

static void a_split_is_never_seen_beside_the_whole(void)
{
    CHECK(machine_format_at(0)->entry_bytes == 8);
    for_each_format(seen_of);
}

/* Code of the kernel cannot be absent, nor be there twice: it stays whole. */
static void code_of(const struct tsl_table_format *format)
{
    const unsigned code = TSL_READ | TSL_EXEC;
    struct tsl_gather gather;
    REQUIRE(start(format, TSL_LAYOUT_VALLOC, false));
    tsl_word free_frames = tsl_frames_free_count(world.frames);
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, code | TSL_MAP_LARGE), TSL_OK);
    tsl_word with_page = tsl_frames_free_count(world.frames);
    CHECK_STATUS(tsl_table_unmap(table, at, 4096, 0, NULL), TSL_DENIED);
    CHECK_STATUS(tsl_table_unmap(table, at + bytes - 4096, 2 * 4096, TSL_UNMAP_SPARSE, NULL),
                 TSL_DENIED);
    CHECK_STATUS(tsl_table_protect(table, at + 4096, 4096, TSL_READ, NULL), TSL_DENIED);
    tsl_gather_init(&gather, table);
    CHECK_STATUS(tsl_table_protect_sparse(table, at, bytes - 4096, TSL_READ, &gather), TSL_DENIED);
    tsl_gather_finish(&gather);
    CHECK_EQ(tsl_refusals_total(&table->refusals), 4);
    CHECK_EQ(tsl_frames_free_count(world.frames), with_page);
    CHECK_EQ(table->open_gathers, 0);
    CHECK(world_agrees(&world, at, true, block, code));
    CHECK_EQ(model_fetch(0, at + bytes - 1), MODEL_OK);
    /* As a whole it may change and go, and what is no code comes apart. */
    CHECK_STATUS(tsl_table_protect(table, at, bytes, TSL_READ, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_protect(table, at, 4096, code, NULL), TSL_OK);
    CHECK_EQ(table->counters.splits, 1);
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    tsl_table_trim(table);
    CHECK_EQ(tsl_frames_free_count(world.frames), free_frames);
    stop();
}

/* What the kernel's own table has in the user half is the kernel's too. */
static void low_code_of(const struct tsl_table_format *format)
{
    const unsigned code = TSL_READ | TSL_EXEC;
    REQUIRE(start(format, TSL_LAYOUT_USER, false));
    table->kernel = true;
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, code), TSL_OK);
    promote(0);
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, code | TSL_MAP_LARGE), TSL_OK);
    CHECK_STATUS(tsl_table_unmap(table, at, 4096, 0, NULL), TSL_DENIED);
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at, block, bytes, RW), TSL_OK);
    promote(1);
    CHECK(is_writable_on_all_cpus());
    table->kernel = false;
    stop();
}

static void code_of_the_kernel_stays_whole(void)
{
    if (!TSL_LARGE_PAGES)
        SKIP("no large pages are configured");
    for_each_format(code_of);
    for_each_format(low_code_of);
}

/* Two steps up, where the CPU has pages of 1 GiB; not where it has none. */
static void gigabyte_of(const struct tsl_table_format *format)
{
    if (!TSL_LARGE_PAGES || format->va_bits <= 32)
        return;
    for (unsigned has = 0; has < 2; has++) {
        REQUIRE(start(format, TSL_LAYOUT_USER, false));
        table->features.pages_1g = has;
        tsl_vaddr huge = tsl_table_format_page_bytes(format, 2);
        tsl_vaddr from = (at + huge) & ~(huge - 1);
        for (tsl_vaddr done = 0; done < huge; done += bytes)
            CHECK_STATUS(tsl_table_map(table, from + done, huge + done, bytes, RW), TSL_OK);
        CHECK_STATUS(tsl_table_promote(table, from, huge), TSL_OK);
        CHECK_EQ(table->counters.promotions, 512 + has);
        CHECK_EQ(table->counters.pages[1 + has], has ? 1 : 512);
        CHECK(world_agrees(&world, from + huge - 1, true, 2 * huge - 1, RW));
        CHECK_STATUS(tsl_table_protect(table, from + 4096, 4096, TSL_READ, NULL), TSL_OK);
        CHECK_EQ(table->counters.pages[0], 512);
        CHECK_EQ(table->counters.pages[1], 511);
        CHECK_STATUS(tsl_table_protect(table, from + 4096, 4096, RW, NULL), TSL_OK);
        CHECK_STATUS(tsl_table_promote(table, from, huge), TSL_OK);
        CHECK_EQ(table->counters.pages[1 + has], has ? 1 : 512);
        CHECK_SOUND(tsl_table_verify(table));
        CHECK_STATUS(tsl_table_unmap(table, from, huge, 0, NULL), TSL_OK);
        stop();
    }
}

static void two_steps_up_to_a_gigabyte(void)
{
    CHECK(machine_format_count() > 0); /* a 32-bit program has none with such pages */
    for_each_format(gigabyte_of);
}

/* The kernel's table does it by itself, for those who wish for large pages. */
static void wished_of(const struct tsl_table_format *format)
{
    const unsigned plain = RW | TSL_GLOBAL, wish = plain | TSL_MAP_LARGE | TSL_MAP_PROMOTE,
                   again = plain | TSL_MAP_PROMOTE, large = plain | TSL_MAP_LARGE;
    REQUIRE(start(format, TSL_LAYOUT_DIRECT_MAP, false));
    table->kernel = true;
    tsl_vaddr half = bytes / 2;
    CHECK_STATUS(tsl_table_map(table, at + half, block + half, half, wish), TSL_OK);
    CHECK_EQ(table->counters.pages[1], 0);
    CHECK_STATUS(tsl_table_map(table, at, block, half, wish), TSL_OK);
    CHECK_EQ(table->counters.pages[1], TSL_LARGE_PAGES);
    CHECK(is_writable_on_all_cpus());
    CHECK_STATUS(tsl_table_protect(table, at + 8192, 4096, TSL_READ | TSL_GLOBAL, NULL), TSL_OK);
    CHECK_EQ(table->counters.pages[1], 0);
    CHECK_STATUS(tsl_table_protect(table, at + 8192, 4096, plain, NULL), TSL_OK);
    CHECK_EQ(table->counters.pages[1], 0);
    CHECK(is_writable_on_all_cpus());
    CHECK_STATUS(tsl_table_protect(table, at + 8192, 4096, wish, NULL), TSL_INVALID);
    CHECK_STATUS(tsl_table_protect(table, at + 8192, 4096, again, NULL), TSL_OK);
    CHECK_EQ(table->counters.pages[1], TSL_LARGE_PAGES);
    CHECK(is_writable_on_all_cpus());
    CHECK_SOUND(tsl_table_verify(table));
    CHECK_STATUS(tsl_table_unmap(table, at, bytes, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at + half, block + half, half, plain), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at + 4096, block + 4096, half - 4096, large), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, at, block, 4096, large), TSL_OK);
    CHECK_EQ(table->counters.pages[1], 0);
    table->kernel = false;
    stop();
}

static void the_kernels_table_promotes_where_it_was_wished(void)
{
    for_each_format(wished_of);
}

TAP_SUITE(table_promote, TAP_TEST(pages_become_one_and_come_apart),
          TAP_TEST(no_splinter_of_a_large_page_stays), TAP_TEST(one_dirty_page_makes_all_dirty),
          TAP_TEST(a_split_is_never_seen_beside_the_whole),
          TAP_TEST(code_of_the_kernel_stays_whole), TAP_TEST(a_kept_table_is_kept_no_longer),
          TAP_TEST(what_differs_stays_apart), TAP_TEST(two_steps_up_to_a_gigabyte),
          TAP_TEST(the_kernels_table_promotes_where_it_was_wished));
