/* SPDX-License-Identifier: MIT
 *
 * test_example.c: the example of the component's README, compiled and run.
 *
 * Owns:    nothing; the body of `example` is the README's, word for word.
 * Needs:   table_world.h.
 * Callers: the test runner.
 */
#include "tap.h"
#include "table_world.h"

static enum tsl_status example(struct tsl_table *table, tsl_vaddr address, struct tsl_frame frame,
                               tsl_vaddr other, size_t other_bytes)
{
    struct tsl_gather gather;
    enum tsl_status status = tsl_table_map(table, address, tsl_frame_address(frame), TSL_PAGE_BYTES,
                                           TSL_READ | TSL_WRITE | TSL_GLOBAL);
    if (status != TSL_OK)
        return status;
    /* ... later: two ranges, one flush, and only then are the frames free again. */
    tsl_gather_init(&gather, table);
    status = tsl_table_unmap(table, address, TSL_PAGE_BYTES, TSL_UNMAP_FREE, &gather);
    if (status == TSL_OK)
        status =
            tsl_table_unmap(table, other, other_bytes, TSL_UNMAP_FREE | TSL_UNMAP_SPARSE, &gather);
    tsl_gather_finish(&gather);
    return status;
}

static void the_readme_example(void)
{
    struct world world;
    REQUIRE(world_open(&world, machine_format_at(0), NULL));
    tsl_vaddr va = world_start(TSL_LAYOUT_VALLOC);
    tsl_vaddr other = va + 0x10000;
    CHECK_STATUS(tsl_table_map(&world.table, other, world_frame(&world, 0), 4096, TSL_READ),
                 TSL_OK);
    struct tsl_frame frame = tsl_frame_of(world_frame(&world, 0));
    CHECK_STATUS(example(&world.table, va, frame, other, 0x4000), TSL_OK);
    CHECK_EQ(world.table.counters.flushes, 1);
    CHECK_STATUS(example(&world.table, va + 1, frame, other, 0x4000), TSL_MISALIGNED);
    world_close(&world); /* every frame is back */
}

TAP_SUITE(table_example, TAP_TEST(the_readme_example));
