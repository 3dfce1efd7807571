/* SPDX-License-Identifier: MIT
 *
 * test_layout_example.c: the example of the component's README, compiled and run.
 *
 * Owns:    the suite layout_example.
 * Needs:   map_check.h; built when TSL_IMPORT_MULTIBOOT1 is set.
 * Callers: host and kernel test programs.
 */
#include <tesela/boot_map.h>
#include <tesela/kernel_layout.h>

#include "map_check.h"

static struct tsl_memory_range storage[128];
static struct tsl_memory_map map;

static enum tsl_status learn_memory(const struct tsl_layout *layout, const void *mmap, size_t bytes)
{
    const tsl_paddr image_start = 0x100000;
    const tsl_paddr image_end = 0x200000;
    const struct tsl_layout_needs needs = {.image_start = image_start, .image_end = image_end};
    enum tsl_status status = tsl_map_init(&map, storage, TSL_COUNT_OF(storage));
    if (status == TSL_OK) {
        (void)tsl_map_limit(&map, (tsl_paddr)1 << 36);
        status = tsl_map_import_multiboot1(&map, mmap, bytes);
    }
    if (status == TSL_OK)
        status = tsl_map_reserve(&map, image_start, image_end - image_start, TSL_MEMORY_KERNEL);
    return status == TSL_OK ? tsl_layout_check(layout, &needs, NULL) : status;
}

static void learns_memory(void)
{
    struct bytes data = {.count = 0};
    put_u32(&data, 20);
    put_u64(&data, 1 * M);
    put_u64(&data, (tsl_paddr)1 << 52);
    put_u32(&data, 1);
    for (size_t i = 0; i < TSL_LAYOUT_COUNT; i++) {
        if (tsl_layouts[i] != NULL) {
            CHECK_STATUS(learn_memory(tsl_layouts[i], data.at, data.count), TSL_OK);
            CHECK_MAP(&map, {1 * M, 2 * M, TSL_MEMORY_KERNEL}, {2 * M, 64 * G, TSL_MEMORY_USABLE});
        }
    }
    CHECK_STATUS(learn_memory(NULL, data.at, data.count), TSL_INVALID);
    CHECK_STATUS(learn_memory(NULL, data.at, data.count - 1), TSL_CORRUPT);
}

TAP_SUITE(layout_example, TAP_TEST(learns_memory));
