/* SPDX-License-Identifier: MIT
 *
 * test_start.c: the stages of the start: up, down, up again, and failing at every possible place.
 *
 * Owns:    the kernel `start`.
 * Needs:   platform/pc, tap.h.
 * Callers: platform/pc.
 */
#include "tap.h"

#include <tesela/arch.h>
#include <tesela/config.h>
#include <tesela/frames_hotplug.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_profile.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/vm.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/memory.h>

static tsl_paddr boot_root;

static struct tsl_start_options fresh_options(void)
{
    struct tsl_start_options options;
    CHECK_STATUS(platform_memory_options(&options), TSL_OK);
    return options;
}

/* Nothing is up and the machine runs on its boot tables. */
static void check_down(void)
{
    CHECK_EQ(tsl_system()->stage, TSL_STAGE_NONE);
    CHECK_EQ(tsl_arch_root(), boot_root);
    CHECK_SAME(tsl_system()->frames, NULL);
    CHECK_SAME(tsl_system()->heap, NULL);
    CHECK_SAME(tsl_system()->vm, NULL);
}

static void calls_before_the_start_are_refused(void)
{
    check_down();
    CHECK_EQ(allocate_physical_page(), 0);
    free_physical_page(4096);
    CHECK_SAME(kmalloc(16), NULL);
    kfree(&boot_root);
    kfree(NULL);
    CHECK_SAME(valloc(4096, VM_READ), NULL);
    vfree(&boot_root);
    CHECK_STATUS(map_page((void *)0x400000, 0x400000, VM_READ), TSL_INVALID);
    CHECK_STATUS(unmap_page((void *)0x400000), TSL_INVALID);
    CHECK_STATUS(tsl_stop(), TSL_OK);
}

static void bad_options_are_refused(void)
{
    struct tsl_start_options options = fresh_options();
    CHECK_STATUS(tsl_start(NULL), TSL_INVALID);
    options.map = NULL;
    CHECK_STATUS(tsl_start(&options), TSL_INVALID);
    options = fresh_options();
    options.format = NULL;
    CHECK_STATUS(tsl_start(&options), TSL_INVALID);
    options = fresh_options();
    struct tsl_layout layout = *tsl_layout_named(options.format->name);
    layout.count = 3;
    options.layout = &layout;
    CHECK(tsl_start(&options) != TSL_OK);
    options = fresh_options();
    options.image.text_start += 1;
    CHECK(tsl_start(&options) != TSL_OK);
    options = fresh_options();
    options.heap_bytes = SIZE_MAX;
    CHECK_STATUS(tsl_start(&options), TSL_LIMIT);
    check_down();
}

static void start_and_stop_and_start_again(void)
{
    tsl_word free[3];
    for (int i = 0; i < 3; i++) {
        struct tsl_start_options options = fresh_options();
        CHECK_STATUS(tsl_start(&options), TSL_OK);
        CHECK_STATUS(tsl_start(&options), TSL_EXISTS);
        CHECK(tsl_arch_root() != boot_root);
        free[i] = tsl_frames_free_count(tsl_system()->frames);
        void *left_over = valloc(10000, VM_READ | VM_WRITE);
        CHECK(left_over != NULL);
        void *object = kmalloc(100);
        CHECK_STATUS(tsl_stop(), TSL_BUSY);
        CHECK_EQ(tsl_system()->stage, TSL_STAGE_HEAP);
        kfree(object);
        CHECK_SOUND(tsl_verify());
        CHECK_STATUS(tsl_stop(), TSL_OK);
        check_down();
    }
    CHECK_EQ(free[1], free[0]);
    CHECK_EQ(free[2], free[0]);
}

static void stages_come_one_by_one(void)
{
    for (int stage = TSL_STAGE_NONE; stage <= TSL_STAGE_SPACES; stage++) {
        struct tsl_start_options options = fresh_options();
        CHECK_STATUS(tsl_start_until(&options, (enum tsl_stage)stage), TSL_OK);
        CHECK_EQ(tsl_system()->stage, stage);
        uintptr_t page = allocate_physical_page();
        CHECK_EQ(page != 0, stage >= TSL_STAGE_FRAMES);
        void *object = kmalloc(16);
        CHECK_EQ(object != NULL, stage >= TSL_STAGE_HEAP);
        void *memory = valloc(16, VM_READ);
        CHECK_EQ(memory != NULL, stage >= TSL_STAGE_RANGES);
        CHECK_EQ(tsl_system()->vm != NULL, TSL_SPACES && stage >= TSL_STAGE_SPACES);
        CHECK_SOUND(tsl_verify());
        vfree(memory);
        kfree(object);
        free_physical_page(page);
        CHECK_STATUS(tsl_stop(), TSL_OK);
        check_down();
    }
}

/* With the kernel's own work in between; a later stage that fails takes nothing of it away. */
static void the_start_goes_on(void)
{
    struct tsl_start_options options = fresh_options();
    CHECK_STATUS(tsl_start_until(&options, TSL_STAGE_FRAMES), TSL_OK);
    uintptr_t page = allocate_physical_page();
    CHECK(page != 0);
    CHECK_STATUS(tsl_start_until(NULL, TSL_STAGE_FRAMES), TSL_EXISTS);
    for (int stage = TSL_STAGE_TABLES; stage <= TSL_STAGE_SPACES; stage++) {
        CHECK_STATUS(tsl_start_until(NULL, (enum tsl_stage)stage), TSL_OK);
        CHECK_EQ(tsl_system()->stage, stage);
        CHECK_SOUND(tsl_verify());
    }
    CHECK_STATUS(tsl_stop(), TSL_BUSY);
    free_physical_page(page);
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();

    options = fresh_options();
    struct tsl_kernel_device device = {.bytes = 4096, .attributes = TSL_READ | TSL_EXEC};
    options.devices = &device;
    options.device_count = 1;
    CHECK_STATUS(tsl_start_until(&options, TSL_STAGE_FRAMES), TSL_OK);
    page = allocate_physical_page();
    CHECK_STATUS(tsl_start(&options), TSL_DENIED);
    CHECK_EQ(tsl_system()->stage, TSL_STAGE_FRAMES);
    CHECK_EQ(tsl_arch_root(), boot_root);
    CHECK_SOUND(tsl_verify());
    free_physical_page(page);
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();
}

/* What was handed out before a start is kept through one that fails, and more can be. */
static void a_failed_start_leaves_early_memory(void)
{
    struct tsl_start_options options = fresh_options();
    struct tsl_kernel_device device = {.bytes = 4096, .attributes = TSL_READ | TSL_EXEC};
    struct tsl_early early;
    tsl_paddr pages[2];
    tsl_early_init(&early, options.map);
    CHECK_STATUS(tsl_early_alloc(&early, 4096, 4096, options.reach_end, &pages[0]), TSL_OK);
    options.early = &early;
    const struct tsl_start_options good = options;
    options.devices = &device;
    options.device_count = 1;
    CHECK_STATUS(tsl_start(&options), TSL_DENIED);
    check_down();
    CHECK_STATUS(tsl_early_alloc(&early, 4096, 4096, options.reach_end, &pages[1]), TSL_OK);
    CHECK(pages[0] != pages[1]);
    CHECK_STATUS(tsl_start(&good), TSL_OK);
    for (size_t i = 0; i < TSL_COUNT_OF(pages); i++) {
        CHECK(!tsl_frames_is_free(tsl_system()->frames, tsl_frame_of(pages[i])));
        CHECK_STATUS(tsl_stop(), TSL_BUSY);
        CHECK_STATUS(tsl_frames_release(tsl_system()->frames, pages[i], 4096), TSL_OK);
    }
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();
}

/* A table that shows the kernel's half needs it; all that was mapped there stays so. */
static void a_stop_that_is_refused_changes_nothing(void)
{
    struct tsl_start_options options = fresh_options();
    struct tsl_table own;
    CHECK_STATUS(tsl_start(&options), TSL_OK);
    const tsl_paddr root = tsl_arch_root();
    const struct tsl_system *system = tsl_system();
    struct tsl_table_config config = {.format = options.format,
                                      .features = system->features,
                                      .frames = system->frames,
                                      .shown = system->table};
    const struct tsl_layout_range *devices = tsl_layout_find(system->layout, TSL_LAYOUT_DEVICES);
    const struct tsl_layout_range *user = tsl_layout_find(system->layout, TSL_LAYOUT_USER);
    CHECK_STATUS(tsl_table_init(&own, &config), TSL_OK);
    struct tsl_mapping before, after;
    bool has_device = tsl_table_next(system->table, devices->start, devices->last, &before);
    CHECK_EQ(has_device, options.device_count > 0);
    CHECK_STATUS(tsl_stop(), TSL_BUSY);
    CHECK_EQ(system->stage, TSL_STAGE_TABLES);
    CHECK_EQ(tsl_arch_root(), root);
    CHECK_EQ(tsl_table_next(system->table, devices->start, devices->last, &after), has_device);
    CHECK_EQ(after.target, before.target);
    uintptr_t page = allocate_physical_page();
    char *place = (char *)user->start;
    CHECK_STATUS(map_page(place, page, VM_READ | VM_WRITE), TSL_OK);
    *(volatile char *)place = 7;
    CHECK_STATUS(unmap_page(place), TSL_OK);
    free_physical_page(page);
    CHECK_SOUND(tsl_verify());
    CHECK_STATUS(tsl_table_fini(&own), TSL_OK);
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();
}

static uint64_t looks;

static uint64_t clock(void)
{
    return looks++;
}

static uint64_t timed(const uint64_t *times)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++)
        count += times[i];
    return count;
}

/* Each heap of a start has its own. */
static void the_heap_is_as_hard_as_told(void)
{
    struct tsl_heap_hardening how = {.tier = (enum tsl_heap_tier)(TSL_HEAP_HARDENING + 1)};
    struct tsl_start_options options = fresh_options();
    options.heap_hardening = &how;
    CHECK_STATUS(tsl_start(&options), TSL_UNSUPPORTED);
    check_down();
    how = (struct tsl_heap_hardening){
        .tier = TSL_HEAP_HARDENING, .sites = true, .panics = TSL_HEAP_PANIC, .clock = clock};
    for (int has_clock = 1; has_clock >= 0; has_clock--) {
        options = fresh_options();
        options.heap_hardening = has_clock ? &how : NULL;
        looks = 0;
        CHECK_STATUS(tsl_start(&options), TSL_OK);
        uint64_t before = looks;
        kfree(kmalloc(100));
        CHECK_EQ(looks - before, TSL_HEAP_PROFILE && has_clock ? 4 : 0);
        if (TSL_HEAP_PROFILE) {
            struct tsl_heap_profile profile;
            tsl_heap_profile(tsl_system()->heap, &profile);
            CHECK_EQ(2 * (timed(profile.allocs) + timed(profile.frees)), looks);
        }
        CHECK_STATUS(tsl_stop(), TSL_OK);
        check_down();
    }
}

/* The limit of promises where `wanted` was asked for; free: frames when spaces have come up. */
static size_t promised(size_t wanted, size_t *free)
{
    struct tsl_vm_stats stats;
    struct tsl_start_options options = fresh_options();
    options.commit_limit_pages = wanted;
    CHECK_STATUS(tsl_start(&options), TSL_OK);
    tsl_vm_stats(tsl_system()->vm, &stats);
    *free = (size_t)tsl_frames_free_count(tsl_system()->frames);
    CHECK_STATUS(tsl_stop(), TSL_OK);
    return stats.commit_limit_pages;
}

static void promises_follow_the_configuration(void)
{
    const size_t few = 64; /* pages that the last stage itself takes */
    const unsigned percent = TSL_COMMIT_POLICY == TSL_COMMIT_RATIO ? TSL_COMMIT_PERCENT : 100;
    size_t free;
    if (!TSL_SPACES)
        SKIP("there are no spaces");
    CHECK_EQ(promised(77, &free), 77);
    CHECK_EQ(promised(SIZE_MAX, &free), SIZE_MAX);
    size_t limit = promised(0, &free);
    if (TSL_COMMIT_POLICY == TSL_COMMIT_NONE) {
        CHECK_EQ(limit, SIZE_MAX);
    } else {
        CHECK(limit >= free / 100 * percent);
        CHECK(limit <= (free + few) / 100 * percent + percent);
    }
    check_down();
}

/* What is to be reached is so by the tables that are in force: those of the boot loader again. */
static void check_only_the_boot_tables_reach(const struct tsl_start_options *options)
{
    struct tsl_frames *frames = tsl_system()->frames;
    struct tsl_frame frame;
    CHECK_STATUS(tsl_frames_alloc(frames, 0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &frame), TSL_OK);
    CHECK(options->reach_end == 0 || tsl_frame_address(frame) < options->reach_end);
    CHECK_STATUS(tsl_frames_free(frames, frame, 0), TSL_OK);
}

/* A page that is still out keeps its record, so that it can be freed and the stop tried again. */
static void a_page_still_out_can_be_freed_later(void)
{
    struct tsl_start_options options = fresh_options();
    CHECK_STATUS(tsl_start(&options), TSL_OK);
    uintptr_t page = allocate_physical_page();
    CHECK_STATUS(tsl_stop(), TSL_BUSY);
    CHECK_EQ(tsl_system()->stage, TSL_STAGE_FRAMES);
    CHECK_SOUND(tsl_verify());
    check_only_the_boot_tables_reach(&options);
    free_physical_page(page);
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();
}

/* RAM that may come is bookkeeping only, also when the same map is started on once more. */
static void places_are_no_ram(void)
{
    static const struct tsl_memory_range place = {
        (tsl_paddr)3 << 30, ((tsl_paddr)3 << 30) + (64 << 20), TSL_MEMORY_USABLE};
    struct tsl_start_options options = fresh_options();
    if (tsl_map_at(options.map, place.start) != NULL)
        SKIP("the machine has something there");
    tsl_word free[3];
    for (int i = 0; i < 3; i++) {
        options.places = i == 0 ? NULL : &place;
        options.place_count = i == 0 ? 0 : 1;
        CHECK_STATUS(tsl_start(&options), TSL_OK);
        free[i] = tsl_frames_free_count(tsl_system()->frames);
        bool has_place = TSL_FRAME_HOTPLUG && i == 1;
        CHECK_EQ(tsl_frames_absent_count(tsl_system()->frames), has_place ? (64 << 20) >> 12 : 0);
        CHECK_EQ(tsl_frames_is_managed(tsl_system()->frames, tsl_frame_of(place.start)), has_place);
        CHECK_SOUND(tsl_verify());
        CHECK_STATUS(tsl_stop(), TSL_OK);
        check_down();
    }
    CHECK(free[1] <= free[0]);
    CHECK_EQ(free[2], free[0]);
}

/* Reserves RAM from the bottom up until at most `pages` usable pages are left, at the top. */
static void leave_usable(struct tsl_memory_map *map, uint64_t pages)
{
    uint64_t spare = tsl_map_bytes(map, TSL_MEMORY_USABLE) - pages * TSL_PAGE_BYTES;
    while (spare > 0) {
        size_t i = 0;
        while (i < map->count && map->ranges[i].type != TSL_MEMORY_USABLE)
            i++;
        if (i == map->count)
            return;
        const struct tsl_memory_range *range = &map->ranges[i];
        uint64_t bytes = range->end - range->start < spare ? range->end - range->start : spare;
        CHECK_STATUS(tsl_map_reserve(map, range->start, bytes, TSL_MEMORY_RESERVED), TSL_OK);
        spare -= bytes;
    }
}

/* However little memory there is, the start succeeds or says so, and leaves nothing behind. */
static void every_shortage_is_told_and_undone(void)
{
    unsigned failed = 0, worked = 0;
    for (unsigned pages = 0; pages < 400 && worked < 5; pages++) {
        struct tsl_start_options options = fresh_options();
        (void)tsl_map_limit(options.map, options.reach_end); /* memory that the start can use */
        leave_usable(options.map, pages);
        CHECK_EQ(tsl_map_bytes(options.map, TSL_MEMORY_USABLE), (uint64_t)pages * TSL_PAGE_BYTES);
        enum tsl_status status = tsl_start(&options);
        CHECK(status == TSL_OK || status == TSL_NO_MEMORY);
        if (status == TSL_OK) {
            worked++;
            CHECK_SOUND(tsl_verify());
            CHECK_STATUS(tsl_stop(), TSL_OK);
        } else {
            failed++;
        }
        check_down();
    }
    tap_note("failed with %u memories too small, then worked", failed);
    CHECK(failed > 0);
    CHECK_EQ(worked, 5);
}

/* Starts with the options, whatever they say, and stops again if that worked. */
static enum tsl_status try_start(const struct tsl_start_options *options)
{
    enum tsl_status status = tsl_start(options);
    if (status == TSL_OK) {
        CHECK_SOUND(tsl_verify());
        CHECK_STATUS(tsl_stop(), TSL_OK);
    }
    check_down();
    return status;
}

/* Beside the kernel itself no RAM where the boot tables reach, or where CR3 can point. */
static void memory_may_begin_anywhere(void)
{
    const tsl_paddr begins[] = {0x1000000,  0x1ffff000,           0x20000000,        0x3ffff000u,
                                0x40000000, (tsl_paddr)0xc000000, (tsl_paddr)4 << 30};
    for (size_t i = 0; i < TSL_COUNT_OF(begins); i++) {
        struct tsl_start_options options = fresh_options();
        tsl_paddr end = options.image.data_end;
        CHECK_STATUS(tsl_map_reserve(options.map, 0, options.image.text_start, TSL_MEMORY_RESERVED),
                     TSL_OK);
        CHECK_STATUS(tsl_map_reserve(options.map, end, begins[i] - end, TSL_MEMORY_RESERVED),
                     TSL_OK);
        enum tsl_status status = try_start(&options);
        tap_note("from %#llx on: %s", (unsigned long long)begins[i], tsl_status_name(status));
        CHECK(status == TSL_OK || status == TSL_NO_MEMORY);
    }
}

static void absurd_options_end_as_a_status(void)
{
    static const tsl_paddr values[] = {
        0, 1, 4096, 0x100000, 0xfffff000u, (tsl_paddr)1 << 40, UINT64_MAX - 4095, UINT64_MAX};
    for (size_t i = 0; i < TSL_COUNT_OF(values); i++) {
        for (unsigned field = 0; field < 4; field++) {
            struct tsl_start_options options = fresh_options();
            struct tsl_kernel_device device = {.bytes = 4096, .attributes = TSL_READ};
            if (options.device_count > 0)
                device = options.devices[0];
            if (field == 0)
                options.heap_bytes = (size_t)values[i];
            else if (field == 1)
                device.target = values[i];
            else if (field == 2)
                device.at = (tsl_vaddr)values[i];
            else
                device.bytes = (size_t)values[i];
            options.devices = &device;
            options.device_count = 1;
            (void)try_start(&options);
        }
    }
}

/* An image that leaves out what runs would end in a reset when the tables come into force. */
static void an_image_without_us_is_refused(void)
{
    for (unsigned part = 0; part < 6; part++) {
        struct tsl_start_options options = fresh_options();
        tsl_paddr *const image[] = {&options.image.text_start,   &options.image.text_end,
                                    &options.image.rodata_start, &options.image.rodata_end,
                                    &options.image.data_start,   &options.image.data_end};
        *image[part] = *image[part ^ 1];
        CHECK_STATUS(try_start(&options), TSL_INVALID);
    }
}

/* Who forgets to reserve the image would see it handed out, frame by frame. */
static void an_image_in_usable_memory_is_refused(void)
{
    struct tsl_start_options options = fresh_options();
    const tsl_paddr starts[] = {options.image.text_start, options.image.rodata_start,
                                options.image.data_start};
    const tsl_paddr ends[] = {options.image.text_end, options.image.rodata_end,
                              options.image.data_end};
    for (size_t left_out = 0; left_out < TSL_COUNT_OF(starts); left_out++) {
        struct tsl_memory_range ranges[16];
        struct tsl_memory_map map;
        CHECK_STATUS(tsl_map_init(&map, ranges, TSL_COUNT_OF(ranges)), TSL_OK);
        CHECK_STATUS(tsl_map_add(&map, 1 << 20, 30 << 20, TSL_MEMORY_USABLE), TSL_OK);
        for (size_t i = 0; i < TSL_COUNT_OF(starts); i++)
            if (i != left_out)
                CHECK_STATUS(
                    tsl_map_reserve(&map, starts[i], ends[i] - starts[i], TSL_MEMORY_KERNEL),
                    TSL_OK);
        options = fresh_options();
        options.map = &map;
        CHECK_STATUS(try_start(&options), TSL_INVALID);
    }
}

/* Reserved, but not as RAM: the direct map would have no alias of it to protect. */
static void an_image_that_is_no_ram_is_refused(void)
{
    struct tsl_start_options options = fresh_options();
    CHECK_STATUS(
        tsl_map_reserve(options.map, options.image.rodata_start, 4096, TSL_MEMORY_RESERVED),
        TSL_OK);
    CHECK_STATUS(try_start(&options), TSL_INVALID);
}

/* The halves are the format's: what a layout says of them is checked before the frames come up. */
static void a_layout_across_the_halves_is_refused(void)
{
    struct tsl_start_options options = fresh_options();
    struct tsl_layout layout = *tsl_layout_named(options.format->name);
    struct tsl_layout_range ranges[TSL_LAYOUT_USE_COUNT];
    REQUIRE(layout.count == TSL_COUNT_OF(ranges));
    for (size_t i = 0; i < TSL_COUNT_OF(ranges); i++) {
        ranges[i] = layout.ranges[i];
        if (ranges[i].use == TSL_LAYOUT_USER)
            ranges[i].last = options.format->user_last + layout.granule_bytes;
    }
    layout.ranges = ranges;
    options.layout = &layout;
    enum tsl_status status = try_start(&options);
    CHECK(status == TSL_DENIED || status == TSL_NOT_CANONICAL || status == TSL_OVERLAP);
}

/* The format of other tables than those in force: to go over to it would be the end. */
static void another_format_is_refused(void)
{
    unsigned refused = 0;
    for (unsigned i = 0; tsl_arch_formats[i] != NULL; i++) {
        struct tsl_start_options options = fresh_options();
        if (options.format == tsl_arch_formats[i])
            continue;
        options.format = tsl_arch_formats[i];
        CHECK_STATUS(try_start(&options), TSL_INVALID);
        refused++;
    }
    if (refused == 0)
        SKIP("one format is compiled in");
}

/* A map by a madman: the limit of what the CPU can name is ours to know. */
static void phantom_memory_is_left_alone(void)
{
    struct tsl_start_options options = fresh_options();
    CHECK_STATUS(
        tsl_map_add(options.map, (tsl_paddr)1 << 51, (tsl_paddr)1 << 50, TSL_MEMORY_USABLE),
        TSL_OK);
    CHECK_STATUS(tsl_start(&options), TSL_OK);
    struct tsl_frames_stats stats;
    tsl_frames_stats(tsl_system()->frames, &stats);
    CHECK(stats.total < (tsl_word)1 << 23);
    CHECK_SOUND(tsl_verify());
    CHECK_STATUS(tsl_stop(), TSL_OK);
    check_down();
}

TAP_SUITE(start, TAP_TEST(calls_before_the_start_are_refused), TAP_TEST(bad_options_are_refused),
          TAP_TEST(start_and_stop_and_start_again), TAP_TEST(stages_come_one_by_one),
          TAP_TEST(the_start_goes_on), TAP_TEST(a_failed_start_leaves_early_memory),
          TAP_TEST(a_stop_that_is_refused_changes_nothing), TAP_TEST(the_heap_is_as_hard_as_told),
          TAP_TEST(promises_follow_the_configuration),
          TAP_TEST(a_page_still_out_can_be_freed_later), TAP_TEST(places_are_no_ram),
          TAP_TEST(memory_may_begin_anywhere), TAP_TEST(absurd_options_end_as_a_status),
          TAP_TEST(an_image_without_us_is_refused), TAP_TEST(an_image_in_usable_memory_is_refused),
          TAP_TEST(an_image_that_is_no_ram_is_refused),
          TAP_TEST(a_layout_across_the_halves_is_refused), TAP_TEST(another_format_is_refused),
          TAP_TEST(every_shortage_is_told_and_undone), TAP_TEST(phantom_memory_is_left_alone));

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_start, NULL};
    char pattern[32];
    (void)boot;
    boot_root = tsl_arch_root();
    struct tap_result result =
        tap_run(suites, platform_option("only", pattern, sizeof(pattern)) ? pattern : NULL,
                platform_console());
    return result.failed == 0 && result.run > 0;
}
