/* SPDX-License-Identifier: MIT
 *
 * stale.c: one CPU maps, protects, copies and unmaps what programs on the others access.
 *
 * Owns:    the kernel `stale`.
 * Needs:   platform/user.h, programs/access.c; tap.h; space_internal.h (frames of pages). On the
 *          command line: seconds=N.
 * Callers: platform/pc.
 *
 * After unmap returns, no access may reach the frames: they are kept, stamped, and must keep the
 * stamp; and no program may ever read one. After protect returns, no write may pass: the pages must
 * stand still. After a copy, what a program writes must not be in the copy.
 */
#include "start.h"

#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/space.h>
#include <tesela/vm.h>
#include <x86/instructions.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/machine.h>
#include <platform/user.h>

#include "programs/access.h"
#include "rng.h"
#include "spaces/space_internal.h"

enum {
    RW = TSL_READ | TSL_WRITE,
    WINDOW_BYTES = ACCESS_PAGES * TSL_PAGE_BYTES,
    BEATS = 40,           /* accesses, about */
    PATIENCE_US = 500000, /* for one change */
    FEWEST_CHANGES = 20,  /* however busy the host is */
    STAMP = 0x57A3B0
};

extern const unsigned char program_access[];
extern const size_t program_access_bytes;

static struct tsl_space *space;
static struct platform_user programs[PLATFORM_CPUS];
static uint32_t kills[PLATFORM_CPUS];
static unsigned char before[WINDOW_BYTES], after[WINDOW_BYTES];
static unsigned frames_watched;
static struct rng rng;

static void map_window(size_t first, size_t pages)
{
    tsl_vaddr at;
    struct tsl_map_request request = {.address = ACCESS_WINDOW + first * TSL_PAGE_BYTES,
                                      .bytes = pages * TSL_PAGE_BYTES,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
}

/* From its first instruction, with a stack and random numbers of its own. */
static void begin(struct platform_user *user, unsigned cpu, uintptr_t seed)
{
    const uintptr_t argument[2] = {ACCESS_ORDER, seed};

    platform_user_begin(user, PLATFORM_USER_STACK_TOP - cpu * TSL_PAGE_BYTES, argument);
}

/* Runs the program until it exits; what kills it is the other CPU's work, and it begins again. */
static void keep_running(void *argument)
{
    struct platform_user *user = argument;
    unsigned cpu = platform_cpu_id();

    for (uintptr_t seed = 1; platform_user_run(user) == PLATFORM_USER_KILLED; seed++) {
        if (!tap_check(user->fault.vector == PLATFORM_VECTOR_PAGE_FAULT &&
                           user->fault.address - ACCESS_WINDOW < WINDOW_BYTES,
                       TSL_FILE, __LINE__, "only the window is refused"))
            return;
        (void)tsl_atomic_add_u32(&kills[cpu], 1);
        begin(user, cpu, seed * 16 + cpu);
    }
}

/* ---- Waiting for the programs, not for time: a busy host may not run them for a while. ---- */

static uint32_t beats_seen[PLATFORM_CPUS], kills_seen[PLATFORM_CPUS];

static uint32_t beats_of(unsigned cpu)
{
    uint32_t beats = 0;
    CHECK(platform_copy_from_user(
        &beats, ACCESS_ORDER + offsetof(struct access_order, beats) + cpu * sizeof(beats),
        sizeof(beats)));
    return beats;
}

static bool went_on(unsigned cpu)
{
    return beats_of(cpu) - beats_seen[cpu] >= BEATS ||
           tsl_atomic_load_acquire_u32(&kills[cpu]) - kills_seen[cpu] >= 2;
}

/* Until each program has made some more accesses, or has been refused. */
static void let_programs_work(void)
{
    uint64_t end = platform_now_us() + PATIENCE_US;
    struct tsl_space *visited = platform_space_visit(space); /* a copy has its own beats */

    for (unsigned cpu = 1; cpu < platform_cpu_count(); cpu++) {
        beats_seen[cpu] = beats_of(cpu);
        kills_seen[cpu] = tsl_atomic_load_acquire_u32(&kills[cpu]);
    }
    for (unsigned cpu = 1; cpu < platform_cpu_count(); cpu++)
        while (!went_on(cpu) && platform_now_us() < end)
            x86_pause();
    (void)platform_space_visit(visited);
}

/* ---- Frames that the window gives up. ---- */

static struct tsl_frame held[ACCESS_PAGES];
static size_t held_count;

/* The frames that these pages have now; with one more reference they come to us when they are
 * free. */
static void hold_frames(tsl_vaddr at, size_t pages)
{
    held_count = 0;
    for (size_t i = 0; i < pages; i++) {
        struct tsl_mapping page;
        if (tsl_table_query(&space->table, at + i * TSL_PAGE_BYTES, &page) != TSL_OK ||
            tsl_frame_of(page.target).number == space->vm->zero.number)
            continue;
        struct tsl_frame frame = tsl_frame_of(page.target);
        tsl_descriptor_get(tsl_vm_descriptor(space->vm, frame));
        held[held_count++] = frame;
    }
}

/* They are stamped; nobody may write there any more, or read the stamp (it would exit with it). */
static void watch_held_frames(void)
{
    for (size_t i = 0; i < held_count; i++) {
        uint32_t *words = tsl_port_phys_to_virt(tsl_frame_address(held[i]));
        for (size_t j = 0; j < TSL_PAGE_BYTES / sizeof(*words); j++)
            words[j] = STAMP;
    }
    let_programs_work();
    for (size_t i = 0; i < held_count; i++) {
        const uint32_t *words = tsl_port_phys_to_virt(tsl_frame_address(held[i]));
        size_t j = 0;
        while (j < TSL_PAGE_BYTES / sizeof(*words) && words[j] == STAMP)
            j++;
        CHECK_EQ(j, TSL_PAGE_BYTES / sizeof(*words));
        tsl_vm_put_frame(space->vm, held[i]);
        frames_watched++;
    }
}

/* What the pages hold now and a little later, in the space that this CPU visits. */
static void watch_pages(size_t first, size_t pages)
{
    tsl_vaddr at = ACCESS_WINDOW + first * TSL_PAGE_BYTES;
    size_t bytes = pages * TSL_PAGE_BYTES;

    CHECK(platform_copy_from_user(before, at, bytes));
    let_programs_work();
    CHECK(platform_copy_from_user(after, at, bytes));
    CHECK_EQ(__builtin_memcmp(before, after, bytes), 0);
}

static void unmap_and_watch(tsl_vaddr at, size_t first, size_t pages)
{
    hold_frames(at, pages);
    CHECK_STATUS(tsl_space_unmap(space, at, pages * TSL_PAGE_BYTES), TSL_OK);
    watch_held_frames();
    map_window(first, pages);
}

/* They come again as zeros while their old frames are watched. */
static void forget_and_watch(tsl_vaddr at, size_t pages)
{
    hold_frames(at, pages);
    CHECK_STATUS(tsl_space_advise(space, at, pages * TSL_PAGE_BYTES, TSL_ADVISE_DONT_NEED), TSL_OK);
    watch_held_frames();
}

static void protect_and_watch(tsl_vaddr at, size_t first, size_t pages)
{
    CHECK_STATUS(tsl_space_protect(space, at, pages * TSL_PAGE_BYTES, TSL_READ), TSL_OK);
    watch_pages(first, pages);
    CHECK_STATUS(tsl_space_protect(space, at, pages * TSL_PAGE_BYTES, RW), TSL_OK);
}

/* The other side of the copy stands still while the programs write on this side. */
static void copy_and_watch(void)
{
    struct tsl_space *copy = NULL;

    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    (void)platform_space_visit(copy);
    watch_pages(0, ACCESS_PAGES);
    (void)platform_space_visit(space);
    CHECK_STATUS(tsl_space_destroy(copy), TSL_OK);
}

static void one_change(void)
{
    size_t first = rng_below(&rng, ACCESS_PAGES);
    size_t pages = 1 + rng_below(&rng, (uint32_t)(ACCESS_PAGES - first));
    tsl_vaddr at = ACCESS_WINDOW + first * TSL_PAGE_BYTES;

    switch (rng_below(&rng, 10)) {
    case 0:
    case 1:
    case 2:
        unmap_and_watch(at, first, pages);
        break;
    case 3:
    case 4:
        protect_and_watch(at, first, pages);
        break;
    case 5:
        forget_and_watch(at, pages);
        break;
    case 6:
    case 7:
    case 8:
        copy_and_watch();
        break;
    default:
        hold_frames(at, pages);
        map_window(first, pages); /* in the place of what is there */
        watch_held_frames();
        break;
    }
}

static void start_programs(void)
{
    tsl_vaddr at;
    struct tsl_map_request order = {
        .address = ACCESS_ORDER, .bytes = TSL_PAGE_BYTES, .rights = RW, .flags = TSL_SPACE_FIXED};
    uintptr_t argument[2] = {ACCESS_ORDER, 1};

    CHECK_STATUS(tsl_space_create(tsl_system()->vm, NULL, &space), TSL_OK);
    CHECK_STATUS(tsl_space_map(space, &order, &at), TSL_OK);
    map_window(0, ACCESS_PAGES);
    CHECK_STATUS(platform_user_load(&programs[0], "access", space, program_access,
                                    program_access_bytes, argument),
                 TSL_OK);
    for (unsigned cpu = 1; cpu < platform_cpu_count(); cpu++) {
        programs[cpu] = programs[0];
        programs[cpu].is_quiet = true;
        begin(&programs[cpu], cpu, cpu);
        CHECK(platform_run_on(cpu, keep_running, &programs[cpu]));
    }
}

static void stop_programs(void)
{
    struct access_order order = {.stop = 1};

    CHECK(platform_copy_to_user(ACCESS_ORDER, &order, sizeof(order)));
    for (unsigned cpu = 1; cpu < platform_cpu_count(); cpu++) {
        CHECK(platform_wait_for(cpu, 20000000));
        CHECK_EQ(programs[cpu].state, PLATFORM_USER_EXITED);
        CHECK_EQ(programs[cpu].code, 0);
    }
}

static uint64_t duration_us(void)
{
    char text[8];
    uint64_t seconds = 0;

    if (!platform_option("seconds", text, sizeof(text)))
        return 2000000;
    for (const char *digit = text; *digit >= '0' && *digit <= '9'; digit++)
        seconds = seconds * 10 + (uint64_t)(*digit - '0');
    return seconds * 1000000;
}

static void nobody_passes_a_change(void)
{
    uint64_t end = platform_now_us() + duration_us();
    struct tsl_space_stats stats;
    unsigned changes = 0, refused = 0;

    REQUIRE(platform_cpu_count() > 1);
    rng = rng_start(1);
    start_programs();
    (void)platform_space_visit(space);
    for (; changes < FEWEST_CHANGES || platform_now_us() < end; changes++)
        one_change();
    stop_programs();
    (void)platform_space_visit(NULL);
    tsl_space_stats(space, &stats);
    for (unsigned cpu = 1; cpu < platform_cpu_count(); cpu++)
        refused += kills[cpu];
    tap_note("%u changes, %u frames watched; %lu faults answered, %u refused", changes,
             frames_watched, (unsigned long)stats.faults, refused);
    CHECK(frames_watched > 0);
    CHECK(refused > 0); /* they did meet pages that were being changed */
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
    CHECK_SOUND(tsl_verify());
}

TAP_SUITE(stale, TAP_TEST(nobody_passes_a_change));

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    return test_start() && test_run(&tap_suite_stale);
}
