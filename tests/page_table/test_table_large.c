/* SPDX-License-Identifier: MIT
 *
 * test_table_large.c: large pages, and what the CPU marks in entries while we change them.
 *
 * Owns:    nothing.
 * Needs:   table_world.h, model_cpu.h; the entry functions of page_table_internal.h.
 * Callers: the test runner.
 */
#define _GNU_SOURCE 1
#include <host/model_cpu.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <tesela/atomic.h>
#include <tesela/config.h>

#include "page_table_internal.h"
#include "tap.h"
#include "table_world.h"

#define RW (TSL_READ | TSL_WRITE)

static tsl_vaddr aligned(tsl_vaddr va, tsl_vaddr bytes)
{
    return (va + bytes - 1) & ~(bytes - 1);
}

/* Each leaf level the CPU has: chosen only when asked for, aligned, and long enough. */
static void sizes_of(const struct tsl_table_format *format)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    struct tsl_table *table = &world.table;
    for (unsigned level = 1; level < format->levels; level++) {
        if (!TSL_LARGE_PAGES || !format->leaf_at(level, machine_features()))
            continue;
        tsl_vaddr bytes = tsl_table_format_page_bytes(format, level);
        tsl_vaddr va = aligned(world_start(TSL_LAYOUT_VALLOC), bytes);
        unsigned large = RW | TSL_MAP_LARGE | TSL_GLOBAL;
        tsl_word below = table->counters.pages[level - 1];
        CHECK_STATUS(tsl_table_map(table, va, bytes, bytes, large), TSL_OK);
        CHECK_EQ(table->counters.pages[level], 1);
        CHECK(world_agrees(&world, va + bytes - 1, true, bytes + bytes - 1, RW | TSL_GLOBAL));
        CHECK_SOUND(tsl_table_verify(table));
        CHECK_STATUS(tsl_table_unmap(table, va, bytes, 0, NULL), TSL_OK);
        CHECK_STATUS(tsl_table_map(table, va, bytes + 4096, bytes, large), TSL_OK);
        CHECK_EQ(table->counters.pages[level], 0); /* the target is not aligned */
        CHECK_STATUS(tsl_table_unmap(table, va, bytes, 0, NULL), TSL_OK);
        CHECK_STATUS(tsl_table_map(table, va, bytes, bytes - 4096, large), TSL_OK);
        CHECK_EQ(table->counters.pages[level], 0); /* one page short */
        CHECK_STATUS(tsl_table_unmap(table, va, bytes - 4096, 0, NULL), TSL_OK);
        CHECK_EQ(table->counters.pages[level - 1], below);
    }
    CHECK_SOUND(tsl_table_verify(table));
    world_close(&world);
}

static void large_pages_where_they_fit(void)
{
    for_each_format(sizes_of);
}

/* All attributes through every split: cache types most of all, whose high bit moves. */
static void split_keeps(const struct tsl_table_format *format, enum tsl_layout_use use,
                        unsigned rights)
{
    struct world world;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    tsl_vaddr va = aligned(world_start(use), bytes);
    for (unsigned cache = 0; TSL_LARGE_PAGES && cache < 4; cache++) {
        unsigned attributes = rights | cache << 8;
        CHECK_STATUS(tsl_table_map(&world.table, va, bytes, bytes, attributes | TSL_MAP_LARGE),
                     TSL_OK);
        CHECK_EQ(world.table.counters.pages[1], 1);
        CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
        CHECK_EQ(world.table.counters.pages[1], 0);
        CHECK(world_agrees(&world, va, false, 0, 0));
        for (tsl_vaddr at = 4096; at < bytes; at += 4096)
            CHECK(world_agrees(&world, va + at, true, bytes + at, attributes));
        CHECK_SOUND(tsl_table_verify(&world.table));
        CHECK_STATUS(tsl_table_unmap(&world.table, va + 4096, bytes - 4096, 0, NULL), TSL_OK);
    }
    tsl_table_trim(&world.table);
    CHECK_EQ(world.table.counters.tables, format->fixed_top ? 5 : 1);
    world_close(&world);
}

static void split_keeps_of(const struct tsl_table_format *format)
{
    split_keeps(format, TSL_LAYOUT_VALLOC, TSL_READ | TSL_GLOBAL);
    split_keeps(format, TSL_LAYOUT_VALLOC, RW);
    split_keeps(format, TSL_LAYOUT_USER, TSL_READ | TSL_EXEC | TSL_USER);
    split_keeps(format, TSL_LAYOUT_USER, RW | TSL_EXEC | TSL_ALLOW_WX);
}

static void a_split_keeps_attributes(void)
{
    for_each_format(split_keeps_of);
}

static void history_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_mapping page;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    char byte = 1;
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, 3 * 4096, RW), TSL_OK);
    CHECK_EQ(model_load(0, va + 4096, &byte, 1), MODEL_OK);
    CHECK_EQ(model_store(0, va + 8192, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_protect(&world.table, va, 3 * 4096, TSL_READ, NULL), TSL_OK);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_STATUS(tsl_table_query(&world.table, va + i * 4096, &page), TSL_OK);
        CHECK_EQ(page.accessed, i >= 1);
        CHECK_EQ(page.dirty, i == 2);
        CHECK_EQ(page.attributes, TSL_READ);
    }
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 3 * 4096, 0, NULL), TSL_OK);

    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    va = aligned(va, bytes);
    CHECK_STATUS(tsl_table_map(&world.table, va, bytes, bytes, RW | TSL_MAP_LARGE), TSL_OK);
    CHECK_EQ(model_store(0, va, &byte, 1), MODEL_OK);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    CHECK_STATUS(tsl_table_query(&world.table, va + bytes - 4096, &page), TSL_OK);
    CHECK_EQ(page.bytes, 4096);
    CHECK_EQ(page.dirty, TSL_LARGE_PAGES); /* the whole was written to, so each piece may be */
    CHECK_STATUS(tsl_table_unmap(&world.table, va + 4096, bytes - 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void accessed_and_dirty_are_kept(void)
{
    for_each_format(history_of);
}

/* The CPU writes to the page between our reading of the entry and our exchange. */
static void mark_dirty(uint64_t *entry)
{
    *entry |= 0x60;
}

static void race_of(const struct tsl_table_format *format)
{
    struct world world;
    struct tsl_mapping page;
    if (format->entry_bytes == 4)
        return; /* the hook sits in exchanges of 8 bytes */
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr bytes = tsl_table_format_page_bytes(format, 1);
    tsl_vaddr va = aligned(world_start(TSL_LAYOUT_VALLOC), bytes);
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, 4096, RW), TSL_OK);
    model_before_exchange = mark_dirty;
    CHECK_STATUS(tsl_table_protect(&world.table, va, 4096, TSL_READ, NULL), TSL_OK);
    model_before_exchange = NULL;
    CHECK_STATUS(tsl_table_query(&world.table, va, &page), TSL_OK);
    CHECK_EQ(page.dirty, true);
    CHECK_EQ(page.attributes, TSL_READ);
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void a_mark_during_the_change_survives(void)
{
    CHECK(machine_format_at(0)->entry_bytes == 8);
    for_each_format(race_of);
}

/* ---- Entries of 8 bytes as other CPUs see them being made. ---- */

#define ROUNDS 300000u

static uint64_t shared_entry[1];
static uint32_t writer_done;
static uint32_t torn;

static void *watch(void *unused)
{
    const uint32_t *half = (const uint32_t *)(const void *)shared_entry;
    while (tsl_atomic_load_acquire_u32(&writer_done) == 0) {
        uint32_t low = tsl_atomic_load_acquire_u32(&half[0]);
        uint32_t high = tsl_atomic_load_acquire_u32(&half[1]);
        uint32_t again = tsl_atomic_load_acquire_u32(&half[0]);
        /* Present, and the same entry before and after: then its other half belongs to it. */
        if ((low & 1u) && low == again && high != low >> 1)
            (void)tsl_atomic_add_u32(&torn, 1);
    }
    return unused;
}

static void nobody_sees_half_an_entry(void)
{
    const struct tsl_table_format *format = machine_format_at(0);
    pthread_t watcher;
    uint32_t wrong = 0;
    REQUIRE(format->entry_bytes == 8);
    writer_done = 0;
    torn = 0;
    REQUIRE(pthread_create(&watcher, NULL, watch, NULL) == 0);
    for (uint32_t i = 1; i < ROUNDS; i++) {
        uint64_t value = (uint64_t)i << 32 | i << 1 | 1u;
        tsl_entry_publish(format, shared_entry, 0, value);
        wrong += tsl_entry_take(format, shared_entry, 0) != value;
    }
    tsl_atomic_store_release_u32(&writer_done, 1);
    REQUIRE(pthread_join(watcher, NULL) == 0);
    CHECK_EQ(torn, 0);
    CHECK_EQ(wrong, 0);
}

/* ---- And in which order its halves are stored: the store to the low half is stopped. ---- */

/* A thread sanitizer's atomic operations hold a lock, which a handler that jumps out leaves
 * behind. */
#if defined(__SANITIZE_THREAD__)
#define CAN_STOP_ATOMICS false
#else
#define CAN_STOP_ATOMICS true
#endif

static sigjmp_buf stopped;

static void stop(int signal_number)
{
    siglongjmp(stopped, signal_number);
}

static void the_present_bit_comes_last(void)
{
    if (!CAN_STOP_ATOMICS)
        SKIP("built with a thread sanitizer");
    struct sigaction catcher = {.sa_handler = stop};
    struct sigaction kept;
    static uint32_t high;
    uint32_t *low = mmap(NULL, TSL_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(low != MAP_FAILED);
    REQUIRE(sigaction(SIGSEGV, &catcher, &kept) == 0);
    high = 0;
    if (sigsetjmp(stopped, 1) == 0) {
        tsl_entry_publish_halves(low, &high, UINT64_C(0x8000000112345003));
        CHECK(false); /* that store cannot have worked */
    }
    (void)sigaction(SIGSEGV, &kept, NULL);
    CHECK_EQ(tsl_atomic_load_u32(&high), 0x80000001);
    (void)munmap(low, TSL_PAGE_BYTES);
}

/* The other way round when it goes: what is seen after the low half is an absent entry. */
static void the_present_bit_goes_first(void)
{
    if (!CAN_STOP_ATOMICS)
        SKIP("built with a thread sanitizer");
    struct sigaction catcher = {.sa_handler = stop};
    struct sigaction kept;
    static uint32_t low;
    uint32_t *high = mmap(NULL, TSL_PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(high != MAP_FAILED);
    REQUIRE(sigaction(SIGSEGV, &catcher, &kept) == 0);
    low = 0x12345063;
    if (sigsetjmp(stopped, 1) == 0) {
        (void)tsl_entry_take_halves(&low, high);
        CHECK(false); /* it cannot have cleared the high half */
    }
    (void)sigaction(SIGSEGV, &kept, NULL);
    CHECK_EQ(tsl_atomic_load_u32(&low), 0);
    (void)munmap(high, TSL_PAGE_BYTES);

    static uint32_t pair[2];
    tsl_entry_publish_halves(&pair[0], &pair[1], UINT64_C(0x8000000112345003));
    CHECK_EQ(tsl_entry_load_halves(pair), UINT64_C(0x8000000112345003));
    CHECK_EQ(tsl_entry_take_halves(&pair[0], &pair[1]), UINT64_C(0x8000000112345003));
    CHECK_EQ(tsl_entry_load_halves(pair), 0);
}

/* Whoever takes a page away while another protects the range gets no page of our making back. */
static uint64_t *gone;
static uint64_t was;

static void take_next(uint64_t *entry)
{
    if (gone != NULL)
        return;
    gone = entry + 1;
    was = *gone;
    *gone = 0;
}

static void gone_of(const struct tsl_table_format *format)
{
    struct world world;
    if (format->entry_bytes != 8)
        return;
    REQUIRE(world_open(&world, format, NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    CHECK_STATUS(tsl_table_map(&world.table, va, 0x100000, 3 * 4096, RW), TSL_OK);
    gone = NULL;
    model_before_exchange = take_next;
    CHECK_STATUS(tsl_table_protect(&world.table, va, 3 * 4096, TSL_READ, NULL), TSL_OK);
    model_before_exchange = NULL;
    CHECK(world_agrees(&world, va, true, 0x100000, TSL_READ));
    CHECK(world_agrees(&world, va + 4096, false, 0, 0));
    CHECK(world_agrees(&world, va + 8192, true, 0x102000, TSL_READ));
    *gone = was;
    CHECK_STATUS(tsl_table_unmap(&world.table, va, 3 * 4096, 0, NULL), TSL_OK);
    world_close(&world);
}

static void protect_brings_nothing_back(void)
{
    for_each_format(gone_of);
}

TAP_SUITE(table_large, TAP_TEST(large_pages_where_they_fit), TAP_TEST(a_split_keeps_attributes),
          TAP_TEST(accessed_and_dirty_are_kept), TAP_TEST(a_mark_during_the_change_survives),
          TAP_TEST(nobody_sees_half_an_entry), TAP_TEST(the_present_bit_comes_last),
          TAP_TEST(the_present_bit_goes_first), TAP_TEST(protect_brings_nothing_back));
