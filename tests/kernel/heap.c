/* SPDX-License-Identifier: MIT
 *
 * heap.c: the heap on several real CPUs, also from interrupts: no block has two owners, what other
 * CPUs free comes back, and nothing is lost.
 *
 * Owns:    the test kernel `heap`; the stamps in every block.
 * Needs:   the facade (to start), heap_allocator, platform/pc, tap.h, rng.h.
 * Callers: tests/kernel/meson.build.
 *
 * A block says in its first two words who has it and how large it is, and is filled with that.
 * Errors are counted while all CPUs work, and checked by CPU 0, since a check prints.
 */
#include "rng.h"
#include "start.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/flush.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>
#include <tesela/heap_report.h>
#include <tesela/memory.h>
#include <tesela/port.h>
#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include <platform/machine.h>
#include <platform/memory.h>

enum {
    LIMIT_US = 60000000,
    /* With pages of its own for each block, a call changes tables several times. */
    HAS_PAGES = TSL_HEAP_HARDENING == TSL_HEAP_TIER_DEBUG,
    ROUNDS = HAS_PAGES ? 150 : 1500,
    HELD = 60,
    RING = 16,
    TICK_BLOCKS = 3,
    /* Of the APIC's clock: QEMU's runs at 1 GHz. Ticks must leave time for something else. */
    TICK_PERIOD = HAS_PAGES ? 40000000 : 400000,
    OWNER_RING = 100,
    OWNER_TICK = 200,
};

struct stamp {
    tsl_word owner;
    tsl_word words; /* of the whole block, each but these two holds the owner */
};

struct worker {
    struct rng rng;
    struct stamp *held[HELD];
    struct stamp *tick_block[TICK_BLOCKS];
    unsigned tick_next;
    uint32_t ticks;
};

static struct worker workers[PLATFORM_CPUS];
static uint32_t wrong_stamps, refused_frees, failures;

/* Where CPUs leave blocks for others to free; 0: empty. */
static tsl_word ring[RING];

static struct tsl_heap *heap(void)
{
    return tsl_system()->heap;
}

static unsigned me(void)
{
    tsl_pin pin = tsl_port_pin();
    unsigned cpu = tsl_port_cpu_id();
    tsl_port_unpin(pin);
    return cpu;
}

static void stamp(struct stamp *block, tsl_word owner, tsl_word words)
{
    tsl_word *word = (tsl_word *)(void *)block;
    block->owner = owner;
    block->words = words;
    for (tsl_word i = 2; i < words; i++)
        word[i] = owner;
}

static void check_stamp(const struct stamp *block, tsl_word owner)
{
    const tsl_word *word = (const tsl_word *)(const void *)block;
    bool is_good = block->owner == owner;
    for (tsl_word i = 2; is_good && i < block->words; i++)
        is_good = word[i] == owner;
    if (!is_good)
        (void)tsl_atomic_add_u32(&wrong_stamps, 1);
}

static struct stamp *take(tsl_word owner, tsl_word words)
{
    struct stamp *block = tsl_heap_alloc(heap(), words * sizeof(tsl_word));
    if (block == NULL)
        (void)tsl_atomic_add_u32(&failures, 1);
    else
        stamp(block, owner, words);
    return block;
}

static void give(tsl_word owner, struct stamp *block)
{
    check_stamp(block, owner);
    block->owner = 0;
    if (tsl_heap_free(heap(), block) != TSL_OK)
        (void)tsl_atomic_add_u32(&refused_frees, 1);
}

static void swap_ring(struct rng *rng, struct stamp *block)
{
    tsl_word old = tsl_atomic_exchange(&ring[rng_below(rng, RING)], (tsl_word)block);
    if (old != 0)
        give(OWNER_RING, (struct stamp *)old);
}

static tsl_word random_words(struct rng *rng)
{
    tsl_word words = (tsl_word)2 << rng_below(rng, 9);
    return words + rng_below(rng, (uint32_t)words);
}

static void resize(struct worker *self, tsl_word owner, struct stamp **place)
{
    tsl_word words = random_words(&self->rng), kept = (*place)->words;
    check_stamp(*place, owner);
    struct stamp *block = tsl_heap_realloc(heap(), *place, words * sizeof(tsl_word));
    if (block == NULL) {
        (void)tsl_atomic_add_u32(&failures, 1);
        return;
    }
    block->words = kept < words ? kept : words;
    check_stamp(block, owner);
    stamp(block, owner, words);
    *place = block;
}

static void one_round(struct worker *self, tsl_word owner)
{
    struct stamp **place = &self->held[rng_below(&self->rng, HELD)];
    if (*place == NULL) {
        *place = take(owner, random_words(&self->rng));
    } else if (rng_once_in(&self->rng, 6)) {
        resize(self, owner, place);
    } else if (rng_once_in(&self->rng, 2)) {
        give(owner, *place);
        *place = NULL;
    } else {
        stamp(*place, OWNER_RING, (*place)->words);
        swap_ring(&self->rng, *place);
        *place = NULL;
    }
    if (rng_once_in(&self->rng, 1000))
        tsl_heap_drain(heap());
    if (rng_once_in(&self->rng, 2000))
        (void)tsl_heap_trim(heap());
}

static void work(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    self->rng = rng_start(cpu + 1);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(self, cpu + 1);
    for (unsigned i = 0; i < HELD; i++) {
        if (self->held[i] != NULL)
            give(cpu + 1, self->held[i]);
        self->held[i] = NULL;
    }
}

static size_t live_blocks(void)
{
    struct tsl_heap_stats stats;
    (void)tsl_heap_end_quarantine(heap());
    tsl_heap_drain(heap());
    tsl_heap_stats(heap(), &stats);
    return stats.live_blocks;
}

static void check_nothing_went_wrong(size_t live_before)
{
    struct tsl_heap_stats stats;
    for (unsigned i = 0; i < RING; i++) {
        tsl_word block = tsl_atomic_exchange(&ring[i], 0);
        if (block != 0)
            give(OWNER_RING, (struct stamp *)block);
    }
    CHECK_EQ(wrong_stamps, 0);
    CHECK_EQ(refused_frees, 0);
    CHECK_EQ(failures, 0);
    CHECK_EQ(live_blocks(), live_before);
    CHECK_SOUND(tsl_heap_verify(heap()));
    tsl_heap_stats(heap(), &stats);
    CHECK_EQ(stats.refusals.by_status[TSL_DOUBLE_FREE], 0);
    (void)tsl_heap_trim(heap());
    CHECK_SOUND(tsl_heap_verify(heap()));
}

static void no_block_has_two_owners(void)
{
    size_t before = live_blocks();
    CHECK(platform_run_everywhere(work, workers, LIMIT_US));
    check_nothing_went_wrong(before);
}

/* Frees the oldest block that an interrupt here took, and takes another. */
static void tick(void)
{
    struct worker *self = &workers[me()];
    tsl_word owner = OWNER_TICK + me();
    struct stamp **place = &self->tick_block[self->tick_next];
    if (*place != NULL)
        give(owner, *place);
    /* Now and then more than a page, so that the interrupt calls the page source. */
    *place = take(owner, self->ticks % 8 == 7 ? 3000 : 2 + self->ticks % 100);
    self->tick_next = (self->tick_next + 1) % TICK_BLOCKS;
    self->ticks++;
}

static void work_under_ticks(void *argument)
{
    unsigned cpu = me();
    struct worker *self = (struct worker *)argument + cpu;
    if (!platform_timer(tick, TICK_PERIOD))
        return;
    work(argument);
    while (*(volatile uint32_t *)&self->ticks == 0)
        tsl_flush_receive();
    (void)platform_timer(NULL, 0);
    for (unsigned i = 0; i < TICK_BLOCKS; i++) {
        if (self->tick_block[i] != NULL)
            give(OWNER_TICK + cpu, self->tick_block[i]);
        self->tick_block[i] = NULL;
    }
}

static void interrupts_may_allocate_too(void)
{
    if (!platform_timer(NULL, 0))
        SKIP("no timer: this machine has no local APIC");
    size_t before = live_blocks();
    CHECK(platform_run_everywhere(work_under_ticks, workers, LIMIT_US));
    for (unsigned i = 0; i < platform_cpu_count(); i++)
        CHECK(workers[i].ticks > 0);
    tap_note("%u interrupts on CPU 0", workers[0].ticks);
    check_nothing_went_wrong(before);
}

static TSL_NOINLINE void *take_and_free(void *other)
{
    void *block = kmalloc(77);
    kfree(other);
    return block;
}

/* An address in that function, or the little of the one behind it. */
static bool is_in_take_and_free(uintptr_t site)
{
    return site - (uintptr_t)take_and_free < 256;
}

static void call_sites_are_the_kernels(void)
{
    struct tsl_heap_site row = {0};

    if (!TSL_HEAP_SITES)
        SKIP("built without HEAP_SITES");
    uint64_t mark = tsl_heap_mark(heap());
    void *block = take_and_free(kmalloc(1));
    CHECK_EQ(tsl_heap_since(heap(), mark, TSL_HEAP_BY_BYTES, &row, 1, NULL), 1);
    CHECK(is_in_take_and_free(row.site));
    CHECK_EQ(row.bytes, 77);
    kfree(block);
}

enum { TIMED = 200 };

static void take_and_give(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < TIMED; i++)
        kfree(kmalloc(8 + i % 100));
}

static uint64_t timed(const uint64_t *times)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < TSL_HEAP_TIMES; i++)
        count += times[i];
    return count;
}

/* The platform's clock moves, and no CPU's calls are lost. */
static void times_are_measured(void)
{
    struct tsl_heap_profile before, after;

    if (!TSL_HEAP_PROFILE)
        SKIP("built without HEAP_PROFILE");
    tsl_heap_profile(heap(), &before);
    CHECK(platform_run_everywhere(take_and_give, NULL, LIMIT_US));
    tsl_heap_profile(heap(), &after);
    CHECK_EQ(timed(after.allocs) - timed(before.allocs), TIMED * platform_cpu_count());
    CHECK_EQ(timed(after.frees) - timed(before.frees), TIMED * platform_cpu_count());
    CHECK(timed(after.allocs) > after.allocs[0]);
}

static TSL_NOINLINE size_t trace_from_here(uintptr_t *out, size_t most)
{
    size_t count = platform_trace(out, most);

    __asm__ volatile("" : : "r"(out) : "memory"); /* a call, and not the last thing done */
    return count;
}

static TSL_NOINLINE uintptr_t trace_through(uintptr_t *out, size_t most, size_t *count)
{
    *count = trace_from_here(out, most);
    return (uintptr_t)__builtin_return_address(0);
}

/* What reports of misuse name: who called whom. */
static void stacks_are_followed(void)
{
    uintptr_t addresses[8] = {0};
    size_t count;
#if defined(__OPTIMIZE_SIZE__)
    SKIP("built without frame pointers");
#endif
    uintptr_t here = trace_through(addresses, 3, &count);

    CHECK_EQ(count, 3);
    CHECK_EQ(addresses[2], here);
    CHECK(addresses[0] - (uintptr_t)trace_from_here < 200);
    CHECK(addresses[1] - (uintptr_t)trace_through < 200);
    CHECK_EQ(addresses[3], 0);
    (void)trace_through(addresses, TSL_COUNT_OF(addresses), &count);
    CHECK(count >= 4 && count <= TSL_COUNT_OF(addresses)); /* the suite, the kernel, the start */
}

/* The fault's report counts as a refusal. */
static void end_after_fault(const struct platform_fault *fault)
{
    struct tsl_heap_stats stats;
    bool is_good = fault->vector == PLATFORM_VECTOR_PAGE_FAULT;

    tsl_heap_stats(heap(), &stats);
    is_good = is_good && stats.refusals.by_status[TSL_DENIED] == 1;
    tsl_print(platform_console(), "1..1\n%sok 1 - heap.fault_is_explained\n",
              is_good ? "" : "not ");
    platform_exit(is_good);
}

enum { KEPT_SITE = 0x4B, LOST_SITE = 0x70, MOST_LEAKS = 64 };

static void *kept[2];

/* Takes two blocks that a static variable leads to, and one whose address is gone. */
static TSL_NOINLINE void take_and_lose(void)
{
    kept[0] = tsl_heap_alloc_tagged(heap(), 100, TSL_HEAP_ZERO, KEPT_SITE);
    ((void **)kept[0])[3] = tsl_heap_alloc_tagged(heap(), 5000, 0, KEPT_SITE);
    kept[1] = tsl_heap_alloc_tagged(heap(), 333, 0, LOST_SITE);
    kept[1] = (void *)~(uintptr_t)kept[1];
}

/* The leaks of one call site. */
static size_t leaks_of(const struct tsl_heap_leak *leaks, size_t count, uintptr_t site)
{
    size_t found = 0;
    for (size_t i = 0; i < count && i < MOST_LEAKS; i++)
        found += leaks[i].site == site;
    return found;
}

static void what_nothing_points_to_is_found(void)
{
    static struct tsl_heap_root roots[PLATFORM_ROOTS];
    static struct tsl_heap_leak leaks[MOST_LEAKS];

    if (!TSL_HEAP_LEAK_SCAN)
        SKIP("built without HEAP_LEAK_SCAN");
    take_and_lose();
    platform_memory_roots(roots);
    size_t count = tsl_heap_leak_scan(heap(), roots, PLATFORM_ROOTS, leaks, MOST_LEAKS);
    tap_note("%zu blocks that nothing points to", count);
    CHECK_EQ(leaks_of(leaks, count, LOST_SITE), 1);
    CHECK_EQ(leaks_of(leaks, count, KEPT_SITE), 0);
    kfree(((void **)kept[0])[3]);
    kfree(kept[0]);
    kfree((void *)~(uintptr_t)kept[1]);
    kept[0] = NULL;
}

/* What the port makes canaries from. */
static void seeds_differ(void)
{
    uintptr_t seeds[16];

    for (size_t i = 0; i < TSL_COUNT_OF(seeds); i++) {
        seeds[i] = platform_seed();
        for (size_t other = 0; other < i; other++)
            CHECK(seeds[i] != seeds[other]);
    }
}

/* Nothing happened. */
TSL_NORETURN static void end_without_fault(void)
{
    tsl_print(platform_console(), "1..1\nnot ok 1 - heap.fault_is_explained\n");
    platform_exit(false);
}

/* Nobody can read an object of size 0. */
static void use_of_zero(void)
{
    char *volatile object = kmalloc(0);

    platform_on_fatal(end_after_fault);
    (void)*(volatile char *)object;
    end_without_fault();
}

/* With pages of its own a freed block has no access. */
static void use_after_free(void)
{
    char *volatile block = kmalloc(100);

    kfree(block);
    platform_on_fatal(end_after_fault);
    *(volatile char *)block = 1;
    end_without_fault();
}

TAP_SUITE(heap_on_cpus, TAP_TEST(no_block_has_two_owners), TAP_TEST(interrupts_may_allocate_too),
          TAP_TEST(times_are_measured), TAP_TEST(stacks_are_followed),
          TAP_TEST(call_sites_are_the_kernels), TAP_TEST(what_nothing_points_to_is_found),
          TAP_TEST(seeds_differ));

bool kernel_main(const struct platform_boot *boot)
{
    char option[2];
    (void)boot;
    if (!test_start())
        return false;
    if (platform_option("fault", option, sizeof option))
        use_after_free();
    if (platform_option("zero", option, sizeof option))
        use_of_zero();
    return test_run(&tap_suite_heap_on_cpus);
}
