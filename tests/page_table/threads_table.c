/* SPDX-License-Identifier: MIT
 *
 * threads_table.c: long changes of a table, which let go of the lock, against changes next to them.
 *
 * Owns:    suite threads_table.
 * Needs:   table_world.h, host_port.h; threads of the C library.
 * Callers: the host test runner, also under the thread sanitizer.
 */
#include <pthread.h>
#include <tesela/atomic.h>
#include <tesela/config.h>

#include "host_port.h"
#include "tap.h"
#include "table_world.h"

enum {
    RW = TSL_READ | TSL_WRITE | TSL_GLOBAL,
    RO = TSL_READ | TSL_GLOBAL,
    LONG_BYTES = 16 << 20 /* twice what is done without letting go of the lock */
};

static struct world world;
static struct tsl_table *const table = &world.table;
static tsl_vaddr start, large; /* a long range of small pages, and behind it one large page */
static tsl_vaddr bytes;        /* of the large page; its first half belongs to the long range */
static uint32_t is_over, has_stopped, refused;

/* The owner of the second half wishes for large pages, again and again. */
static void *wish(void *unused)
{
    host_port_set_cpu(1);
    while (!tsl_atomic_load_acquire_u32(&is_over)) {
        refused += tsl_table_protect(table, large + bytes / 2, bytes / 2, RW | TSL_MAP_PROMOTE,
                                     NULL) != TSL_OK;
        host_port_wait();
    }
    tsl_atomic_store_release_u32(&has_stopped, 1);
    return unused;
}

static void wait_for_the_large_page(void)
{
    struct tsl_mapping page = {0};
    while (tsl_table_query(table, large, &page) == TSL_OK && page.bytes != bytes)
        host_port_wait();
}

/* The first half changes, or goes; the second one stays as it is. */
static unsigned change_first_half(tsl_paddr target, bool by_unmap)
{
    struct tsl_mapping page = {0};
    size_t long_bytes = LONG_BYTES + (size_t)bytes / 2;
    unsigned wrong = 0;
    wait_for_the_large_page();
    if (by_unmap)
        wrong += tsl_table_unmap(table, start, long_bytes, 0, NULL) != TSL_OK;
    else
        wrong += tsl_table_protect(table, start, long_bytes, RO, NULL) != TSL_OK;
    wrong += tsl_table_query(table, large + bytes / 2, &page) != TSL_OK || page.attributes != RW;
    if (by_unmap)
        wrong += tsl_table_map(table, start, target, long_bytes, RW) != TSL_OK;
    else
        wrong += tsl_table_protect(table, start, long_bytes, RW, NULL) != TSL_OK;
    return wrong;
}

static void promotions_of(const struct tsl_table_format *format)
{
    struct machine_config config = {.cpus = 2};
    pthread_t other;
    unsigned wrong = 0;
    REQUIRE(world_open(&world, format, &config));
    table->kernel = true;
    bytes = tsl_table_format_page_bytes(format, 1);
    large = (world_start(TSL_LAYOUT_VALLOC) + LONG_BYTES + bytes) & ~(bytes - 1);
    start = large - LONG_BYTES;
    tsl_paddr target = 64 * MIB;
    CHECK_STATUS(tsl_table_map(table, start, target, LONG_BYTES, RW), TSL_OK);
    CHECK_STATUS(tsl_table_map(table, large, target + LONG_BYTES, bytes, RW), TSL_OK);
    is_over = has_stopped = refused = 0;
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    REQUIRE(pthread_create(&other, NULL, wish, NULL) == 0);
    for (unsigned round = 0; round < tap_rounds(20) && wrong == 0; round++)
        wrong += change_first_half(target, round % 2);
    tsl_atomic_store_release_u32(&is_over, 1);
    while (!tsl_atomic_load_acquire_u32(&has_stopped))
        host_port_wait();
    REQUIRE(pthread_join(other, NULL) == 0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(refused, 0);
    CHECK(table->counters.promotions > 1);
    CHECK_STATUS(tsl_table_unmap(table, start, LONG_BYTES + (size_t)bytes, TSL_UNMAP_SPARSE, NULL),
                 TSL_OK);
    table->kernel = false;
    world_close(&world);
}

static void a_promotion_keeps_off_long_changes(void)
{
    if (TSL_CPUS < 2 || !TSL_LARGE_PAGES)
        SKIP("one CPU, or no large pages, are configured");
    for_each_format(promotions_of);
}

TAP_SUITE(threads_table, TAP_TEST(a_promotion_keeps_off_long_changes));
