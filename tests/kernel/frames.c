/* SPDX-License-Identifier: MIT
 *
 * frames.c: the frame allocator on several real CPUs, also from interrupts: no frame has two owners
 * and none is lost.
 *
 * Owns:    the test kernel `frames`; the stamps written into every frame that is allocated.
 * Needs:   the facade (to start), physical_allocator, platform/pc, tap.h, rng.h.
 * Callers: tests/kernel/meson.build.
 *
 * Memory is scarce, so that the CPUs meet in the same words. All of it is mapped, so each frame can
 * hold a stamp: who has it. Work runs on all CPUs at once; errors are counted there and checked by
 * CPU 0, since a check prints.
 */
#include "rng.h"
#include "start.h"

#include <tesela/atomic.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/port.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>

enum {
    LIMIT_US = 60000000,
    ROUNDS = 6000,
    HELD = 48,
    RING = 16,
    SCARCE_FRAMES = 120,
    TICK_FRAMES = 3,
    TICK_PERIOD = 400000, /* of the APIC's clock: QEMU's runs at 1 GHz */
    OWNER_RING = 100,
    OWNER_TICK = 200,
};

struct block {
    tsl_word number;
    unsigned order;
};

struct worker {
    struct rng rng;
    struct block held[HELD];
    unsigned count;
    tsl_word chain; /* frames taken until there were none, each leads to the next; 0: the end */
    tsl_word taken;
    struct tsl_frame tick_frame[TICK_FRAMES];
    unsigned tick_next;
    uint32_t ticks;
};

static struct worker workers[PLATFORM_CPUS];
static uint32_t wrong_stamps, refused_frees, told_none, wrongly_told;

/* Where CPUs leave blocks for others to free; a word is number * 16 + order, 0: empty. */
static tsl_word ring[RING];

static struct tsl_frames *frames(void)
{
    return tsl_system()->frames;
}

static unsigned me(void)
{
    tsl_pin pin = tsl_port_pin();
    unsigned cpu = tsl_port_cpu_id();
    tsl_port_unpin(pin);
    return cpu;
}

/* The first word of a frame; the last one is used for the stamp's other half. */
static tsl_word *word_of(tsl_word number)
{
    return tsl_port_phys_to_virt((tsl_paddr)number << TSL_PAGE_SHIFT);
}

static void stamp(struct block block, tsl_word from, tsl_word to)
{
    const unsigned last = TSL_PAGE_BYTES / sizeof(tsl_word) - 1;
    for (tsl_word i = block.number; i < block.number + ((tsl_word)1 << block.order); i++) {
        tsl_word *word = word_of(i);
        if (from != 0 && (tsl_atomic_load(&word[0]) != from || tsl_atomic_load(&word[last]) != i))
            (void)tsl_atomic_add_u32(&wrong_stamps, 1);
        tsl_atomic_store(&word[0], to);
        tsl_atomic_store(&word[last], to == 0 ? 0 : i);
    }
}

static bool take(tsl_word owner, unsigned order, struct block *out)
{
    struct tsl_frame frame;
    if (tsl_frames_alloc(frames(), order, TSL_FRAMES_HIGH, &frame) != TSL_OK)
        return false;
    *out = (struct block){frame.number, order};
    stamp(*out, 0, owner);
    return true;
}

static void give(tsl_word owner, struct block block)
{
    stamp(block, owner, 0);
    if (tsl_frames_free(frames(), (struct tsl_frame){block.number}, block.order) != TSL_OK)
        (void)tsl_atomic_add_u32(&refused_frees, 1);
}

/* Frees what another CPU left at some place of the ring, and leaves `packed` there. */
static void swap_ring(struct rng *rng, tsl_word packed)
{
    packed = tsl_atomic_exchange(&ring[rng_below(rng, RING)], packed);
    if (packed != 0)
        give(OWNER_RING, (struct block){packed / 16, (unsigned)(packed % 16)});
}

static void free_or_pass(struct worker *self, tsl_word owner)
{
    unsigned which = rng_below(&self->rng, self->count);
    struct block block = self->held[which];
    self->held[which] = self->held[--self->count];
    if (rng_once_in(&self->rng, 2)) {
        give(owner, block);
        return;
    }
    stamp(block, owner, OWNER_RING);
    swap_ring(&self->rng, block.number * 16 + block.order);
}

static void one_round(struct worker *self, tsl_word owner)
{
    static const uint8_t orders[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 6, 7, 9, 10};
    if (self->count == HELD || (self->count > 0 && rng_once_in(&self->rng, 2))) {
        free_or_pass(self, owner);
        return;
    }
    unsigned order = orders[rng_below(&self->rng, TSL_COUNT_OF(orders))];
    if (take(owner, order, &self->held[self->count]))
        self->count++;
    else
        swap_ring(&self->rng, 0);
}

static void drop_all(struct worker *self, tsl_word owner)
{
    while (self->count > 0)
        give(owner, self->held[--self->count]);
}

static void work(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    self->rng = rng_start(cpu + 1);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(self, cpu + 1);
    drop_all(self, cpu + 1);
}

static void empty_ring(void)
{
    struct rng rng = rng_start(0);
    for (unsigned i = 0; i < 64 * RING; i++)
        swap_ring(&rng, 0);
    for (unsigned i = 0; i < RING; i++)
        CHECK_EQ(ring[i], 0);
}

static void check_nothing_went_wrong(tsl_word free_before)
{
    struct tsl_frames_stats stats;
    CHECK_EQ(wrong_stamps, 0);
    CHECK_EQ(refused_frees, 0);
    CHECK_EQ(tsl_frames_free_count(frames()), free_before);
    tsl_frames_stats(frames(), &stats);
    CHECK_EQ(stats.refusals.by_status[TSL_DOUBLE_FREE], 0);
}

static void no_frame_has_two_owners(void)
{
    tsl_word before = tsl_frames_free_count(frames());
    CHECK(platform_run_everywhere(work, workers, LIMIT_US));
    empty_ring();
    check_nothing_went_wrong(before);
}

/* ---- with no more than a few words of free frames, which all want ---- */

/* Takes single frames until there are none. Nobody frees any meanwhile, so whoever is told so is
 * right only if nobody who asks later gets one. */
static void take_all(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    struct block block;
    self->chain = 0;
    self->taken = 0;
    for (;;) {
        bool was_told_none = tsl_atomic_load_acquire_u32(&told_none) != 0;
        if (!take(cpu + 1, 0, &block))
            break;
        if (was_told_none)
            (void)tsl_atomic_add_u32(&wrongly_told, 1);
        word_of(block.number)[1] = self->chain;
        self->chain = block.number;
        self->taken++;
    }
    (void)tsl_atomic_exchange_u32(&told_none, 1);
}

static void give_last(struct worker *self, tsl_word owner)
{
    struct block block = {self->chain, 0};
    self->chain = word_of(block.number)[1];
    give(owner, block);
}

static void give_all(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    while (self->chain != 0)
        give_last(self, cpu + 1);
}

/* CPU 0 has `keeper`'s frames meanwhile; it works with the others as well. */
static void few_frames_for_all(void)
{
    static struct worker keeper;
    tsl_word before = tsl_frames_free_count(frames());
    told_none = 0;
    take_all(workers);
    CHECK_EQ(workers[0].taken, before);
    keeper = workers[0];
    for (unsigned i = 0; i < SCARCE_FRAMES && keeper.chain != 0; i++)
        give_last(&keeper, 1);
    for (unsigned round = 0; round < 4; round++) {
        CHECK(platform_run_everywhere(work, workers, LIMIT_US));
        empty_ring();
        CHECK_EQ(tsl_frames_free_count(frames()), SCARCE_FRAMES);
    }
    workers[0].chain = keeper.chain;
    give_all(workers);
    check_nothing_went_wrong(before);
}

/* ---- interrupts ---- */

/* Frees the oldest frame that an interrupt here took, and takes another. */
static void tick(void)
{
    struct worker *self = &workers[me()];
    tsl_word owner = OWNER_TICK + me();
    struct tsl_frame *place = &self->tick_frame[self->tick_next];
    struct block block = {place->number, 0};
    if (place->number != 0)
        give(owner, block);
    place->number = take(owner, 0, &block) ? block.number : 0;
    self->tick_next = (self->tick_next + 1) % TICK_FRAMES;
    self->ticks++;
}

static void work_under_ticks(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    if (!platform_timer(tick, TICK_PERIOD))
        return;
    work(argument);
    (void)platform_timer(NULL, 0);
    for (unsigned i = 0; i < TICK_FRAMES; i++)
        if (self->tick_frame[i].number != 0)
            give(OWNER_TICK + cpu, (struct block){self->tick_frame[i].number, 0});
}

static void interrupts_may_allocate_too(void)
{
    if (!platform_timer(NULL, 0))
        SKIP("no timer: this machine has no local APIC");
    tsl_word before = tsl_frames_free_count(frames());
    CHECK(platform_run_everywhere(work_under_ticks, workers, LIMIT_US));
    empty_ring();
    for (unsigned i = 0; i < platform_cpu_count(); i++)
        CHECK(workers[i].ticks > 0);
    tap_note("%u interrupts on CPU 0", workers[0].ticks);
    check_nothing_went_wrong(before);
}

/* ---- the last frame ---- */

/* Whoever is told that there is no memory must be right, even when all ask at once. */
static void the_last_frame_is_found(void)
{
    tsl_word before = tsl_frames_free_count(frames());
    for (unsigned round = 0; round < 8; round++) {
        tsl_word taken = 0;
        told_none = 0;
        CHECK(platform_run_everywhere(take_all, workers, LIMIT_US));
        for (unsigned i = 0; i < platform_cpu_count(); i++)
            taken += workers[i].taken;
        CHECK_EQ(taken, before);
        CHECK_EQ(wrongly_told, 0);
        CHECK_EQ(tsl_frames_free_count(frames()), 0);
        CHECK(platform_run_everywhere(give_all, workers, LIMIT_US));
    }
    check_nothing_went_wrong(before);
}

/* One pair: the CPU may keep frames for itself now. */
static void touch(void *argument)
{
    unsigned *failed = argument;
    struct block block;
    tsl_word owner = me() + 1;
    if (take(owner, 0, &block))
        give(owner, block);
    else
        (void)tsl_atomic_add_u32(failed, 1);
}

static unsigned count_huge(struct tsl_frame *list, unsigned room)
{
    unsigned count = 0;
    while (count < room &&
           tsl_frames_alloc(frames(), TSL_FRAMES_HUGE_ORDER, 0, &list[count]) == TSL_OK)
        count++;
    for (unsigned i = 0; i < count; i++)
        CHECK_STATUS(tsl_frames_free(frames(), list[i], TSL_FRAMES_HUGE_ORDER), TSL_OK);
    return count;
}

/* What idle CPUs keep for themselves is neither out of reach nor a hole in a large block. */
static void what_idle_cpus_keep_can_be_taken(void)
{
    static struct tsl_frame huge[64];
    static unsigned failed;
    tsl_word before = tsl_frames_free_count(frames());
    unsigned whole = count_huge(huge, TSL_COUNT_OF(huge));
    CHECK(whole > 0);
    CHECK(platform_run_everywhere(touch, &failed, LIMIT_US));
    CHECK_EQ(count_huge(huge, TSL_COUNT_OF(huge)), whole);
    CHECK(platform_run_everywhere(touch, &failed, LIMIT_US));
    CHECK_EQ(failed, 0);
    told_none = 0;
    take_all(workers);
    CHECK_EQ(workers[0].taken, before);
    give_all(workers);
    check_nothing_went_wrong(before);
}

/* ---- a CPU that comes and goes ---- */

/* CPU 1 leaves and joins again and again, and allocates in both states. */
static void work_in_and_out(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    if (cpu != 1) {
        work(argument);
        return;
    }
    self->rng = rng_start(77);
    for (unsigned i = 0; i < ROUNDS / 8; i++) {
        if (i % 16 == 5)
            tsl_cpu_leave();
        if (i % 16 == 12)
            tsl_cpu_join();
        one_round(self, cpu + 1);
    }
    tsl_cpu_join();
    drop_all(self, cpu + 1);
}

static void a_cpu_may_leave_and_join(void)
{
    if (platform_cpu_count() < 2)
        SKIP("one CPU");
    tsl_word before = tsl_frames_free_count(frames());
    CHECK(platform_run_everywhere(work_in_and_out, workers, LIMIT_US));
    empty_ring();
    CHECK_EQ(tsl_cpu_set_count(tsl_cpus_online()), platform_cpu_count());
    check_nothing_went_wrong(before);
}

static void leave_with_a_claim(void *argument)
{
    touch(argument);
    tsl_cpu_leave();
}

static void join_again(void *argument)
{
    (void)argument;
    tsl_cpu_join();
}

/* Once a CPU is off-line nobody can ask it for what it kept: it must have kept nothing. */
static void a_cpu_that_left_keeps_nothing(void)
{
    static unsigned failed;
    if (platform_cpu_count() < 2)
        SKIP("one CPU");
    tsl_word before = tsl_frames_free_count(frames());
    for (unsigned i = 1; i < platform_cpu_count(); i++) {
        CHECK(platform_run_on(i, leave_with_a_claim, &failed));
        CHECK(platform_wait_for(i, LIMIT_US));
    }
    CHECK_EQ(tsl_cpu_set_count(tsl_cpus_online()), 1);
    told_none = 0;
    take_all(workers);
    CHECK_EQ(workers[0].taken, before);
    give_all(workers);
    for (unsigned i = 1; i < platform_cpu_count(); i++) {
        CHECK(platform_run_on(i, join_again, NULL));
        CHECK(platform_wait_for(i, LIMIT_US));
    }
    CHECK_EQ(failed, 0);
    check_nothing_went_wrong(before);
}

static void the_allocator_is_sound(void)
{
    CHECK_SOUND(tsl_frames_verify(frames()));
}

TAP_SUITE(frames_smp, TAP_TEST(no_frame_has_two_owners), TAP_TEST(few_frames_for_all),
          TAP_TEST(interrupts_may_allocate_too), TAP_TEST(the_last_frame_is_found),
          TAP_TEST(what_idle_cpus_keep_can_be_taken), TAP_TEST(a_cpu_may_leave_and_join),
          TAP_TEST(a_cpu_that_left_keeps_nothing), TAP_TEST(the_allocator_is_sound));

bool kernel_main(const struct platform_boot *boot)
{
    (void)boot;
    return test_start() && test_run(&tap_suite_frames_smp);
}
