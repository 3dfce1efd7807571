/* SPDX-License-Identifier: MIT
 *
 * test_heap_owners.c: slabs that belong to CPUs, with simulated CPUs in one thread: frees by
 * others, revocation before a failure, CPUs that leave and come back, and random operations on
 * random CPUs against a model.
 *
 * Owns:    nothing.
 * Needs:   the heap's insides, test_source.h, rng.h, tap.h, host_port.h.
 * Callers: host, configurations with more than one CPU.
 */
#include "heap_allocator_internal.h"

#include "host_port.h"
#include "rng.h"
#include "test_source.h"

#define CPUS   (TSL_CPUS < 4 ? TSL_CPUS : 4)
#define BLOCKS 300u

static struct test_source source;
static struct tsl_heap *heap;

static void on(unsigned cpu)
{
    host_port_set_cpu(cpu);
}

/* Each CPU joins, and so has a heap of its own as soon as it allocates. */
static void begin(size_t ceiling_pages)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        on(cpu);
        tsl_cpu_join();
    }
    on(0);
    heap = test_heap(&source, ceiling_pages);
}

static void end(void)
{
    test_heap_end(heap, &source);
    for (unsigned cpu = CPUS; cpu-- > 0;) {
        on(cpu);
        tsl_cpu_leave();
    }
}

static struct heap_run *run_at(const void *block)
{
    return heap_map_at(heap, (uintptr_t)block);
}

static unsigned owner_of(const void *block)
{
    return heap_owner_of(run_at(block))->cpu;
}

static void a_cpu_owns_what_it_takes(void)
{
    begin(0);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        on(cpu);
        void *block = tsl_heap_alloc(heap, 100);
        CHECK_EQ(owner_of(block), cpu);
        CHECK_SOUND(tsl_heap_verify(heap));
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    }
    end();
}

static void offline_cpus_work_through_the_centre(void)
{
    begin(0);
    on(1);
    tsl_cpu_leave();
    void *block = tsl_heap_alloc(heap, 100);
    CHECK_EQ(owner_of(block), HEAP_CENTRE);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    /* Blocks of an owner, freed by one that may own nothing. */
    on(0);
    block = tsl_heap_alloc(heap, 100);
    on(1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    tsl_cpu_join();
    on(0);
    end();
}

/* And in such of middling size owners remember no recent blocks. */
static void small_heaps_have_no_owners(void)
{
    const struct {
        size_t ceiling_pages; /* 16 times what is needed */
        unsigned owner, room;
    } cases[] = {{16, HEAP_CENTRE, 0},
                 {CPUS * heap_cpu_pages(false) * 16, 0, 0},
                 {CPUS * heap_cpu_pages(true) * 16, 0, HEAP_RECENT}};

    for (size_t i = 0; i < TSL_COUNT_OF(cases) && cases[i].ceiling_pages <= ARENA_PAGES; i++) {
        begin(cases[i].ceiling_pages);
        void *block = tsl_heap_alloc(heap, 100), *other = tsl_heap_alloc(heap, 100);
        const struct heap_pool *pool = heap_owner_of(run_at(block));
        CHECK_EQ(pool->cpu, cases[i].owner);
        CHECK_EQ(pool->recent_room, cases[i].room);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
        CHECK_EQ(pool->recent_count, cases[i].room > 0 ? 1 : 0);
        CHECK_STATUS(tsl_heap_free(heap, other), TSL_OK);
        CHECK_SOUND(tsl_heap_verify(heap));
        end();
    }
}

static void remote_frees_reach_the_owner(void)
{
    static void *blocks[600];

    begin(0);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = tsl_heap_alloc(heap, 64);
    size_t out = source.out;
    on(1);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++) {
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_DOUBLE_FREE);
    }
    CHECK_EQ(test_refusals(heap, TSL_DOUBLE_FREE), TSL_COUNT_OF(blocks));
    CHECK_SOUND(tsl_heap_verify(heap));
    on(0);
    /* The owner sees them as free too, before it has merged anything. */
    CHECK_STATUS(tsl_heap_free(heap, blocks[0]), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        blocks[i] = tsl_heap_alloc(heap, 64);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK(source.out <= out);
    for (size_t i = 0; i < TSL_COUNT_OF(blocks); i++)
        CHECK_STATUS(tsl_heap_free(heap, blocks[i]), TSL_OK);
    end();
}

/* What one CPU keeps serves another before that one fails. */
static void what_a_cpu_keeps_serves_others_before_they_fail(void)
{
    static void *chain;
    size_t count = 0, again = 0;

    begin(280);
    for (void **block; (block = tsl_heap_alloc(heap, 512)) != NULL; count++) {
        *block = chain;
        chain = block;
    }
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        chain = next;
    }
    on(1);
    for (void **block;
         (block = tsl_heap_alloc_flags(heap, 512, again % 2 * TSL_HEAP_NO_WAIT)) != NULL; again++) {
        *block = chain;
        chain = block;
    }
    CHECK(again + 40 >= count && again > 1000);
    /* Freed where they were not allocated, and at once allocatable everywhere. */
    on(2 % CPUS);
    while (chain != NULL) {
        void *next = *(void **)chain;
        CHECK_STATUS(tsl_heap_free(heap, chain), TSL_OK);
        chain = next;
    }
    on(3 % CPUS);
    void *large = tsl_heap_alloc(heap, 200 * TSL_PAGE_BYTES);
    CHECK(large != NULL);
    CHECK_STATUS(tsl_heap_free(heap, large), TSL_OK);
    end();
}

static void a_cpu_that_leaves_keeps_nothing(void)
{
    void *kept, *full[200];

    begin(0);
    on(1);
    kept = tsl_heap_alloc(heap, 40);
    for (size_t i = 0; i < TSL_COUNT_OF(full); i++)
        full[i] = tsl_heap_alloc(heap, 1024);
    on(0);
    CHECK_STATUS(tsl_heap_free(heap, full[0]), TSL_OK);
    on(1);
    tsl_cpu_leave();
    CHECK_EQ(owner_of(kept), HEAP_CENTRE);
    for (size_t i = 1; i < TSL_COUNT_OF(full); i++)
        CHECK_EQ(owner_of(full[i]), HEAP_CENTRE);
    on(0);
    CHECK_SOUND(tsl_heap_verify(heap));
    for (size_t i = 1; i < TSL_COUNT_OF(full); i++)
        CHECK_STATUS(tsl_heap_free(heap, full[i]), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    on(1);
    tsl_cpu_join();
    CHECK_STATUS(tsl_heap_free(heap, kept), TSL_OK);
    kept = tsl_heap_alloc(heap, 40);
    CHECK_EQ(owner_of(kept), 1);
    CHECK_STATUS(tsl_heap_free(heap, kept), TSL_OK);
    end();
}

/* A slab that lies on a former owner's stack is passed on: the push came after the owner left. */
static void a_late_push_is_not_lost(void)
{
    void *blocks[2];

    begin(0);
    on(1);
    blocks[0] = tsl_heap_alloc(heap, 64);
    blocks[1] = tsl_heap_alloc(heap, 64);
    struct heap_pool *owner = heap_owner_of(run_at(blocks[0]));
    size_t index;
    CHECK(heap_split(run_at(blocks[0])->reciprocal,
                     (uint32_t)((uintptr_t)blocks[0] - run_at(blocks[0])->start), &index));
    tsl_cpu_leave();
    on(0);
    /* As a CPU that looked for the owner just before that one left. */
    CHECK_STATUS(tsl_heap_free_remote(heap, blocks[0], run_at(blocks[0]), owner, index), TSL_OK);
    CHECK_EQ(heap->cpus[1]->stack, 0);
    CHECK(heap->centre.stack != 0);
    (void)tsl_heap_trim(heap);
    CHECK_SOUND(tsl_heap_verify(heap));
    struct tsl_heap_stats stats;
    tsl_heap_stats(heap, &stats);
    CHECK_EQ(stats.live_blocks, 1);
    CHECK_STATUS(tsl_heap_free(heap, blocks[1]), TSL_OK);
    on(1);
    tsl_cpu_join();
    on(0);
    end();
}

static uint64_t live_blocks(void)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(heap, &stats);
    return stats.live_blocks;
}

/* A free is refused, by its owner and by another CPU. */
static void check_refused(const tsl_word *place)
{
    void *block = (void *)*place;

    on(0);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    CHECK_EQ(tsl_heap_usable(heap, block), 0);
    on(1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    on(0);
    CHECK_EQ(*place, (tsl_word)block);
    CHECK_SOUND(tsl_heap_verify(heap));
}

/* What a pool has at hand looks live in the bits, but is nobody's. */
static void a_block_at_hand_is_free(void)
{
    begin(0);
    void *block = tsl_heap_alloc(heap, 64);
    void *second = tsl_heap_alloc(heap, 64);
    struct heap_pool *pool = heap_owner_of(run_at(block));
    CHECK(pool->next != 0);
    check_refused(&pool->next);
    CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
    if (HEAP_HAS_LAST) {
        CHECK_EQ(pool->spare, (tsl_word)second);
        check_refused(&pool->spare);
        CHECK_EQ(live_blocks(), 1);
        CHECK(tsl_heap_alloc(heap, 64) == second);
        CHECK_EQ(pool->spare, 0);
        CHECK_STATUS(tsl_heap_free(heap, second), TSL_OK);
    }
    /* Both go back to their slab, and with it to the source. */
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    (void)tsl_heap_trim(heap);
    CHECK(pool->next == 0 && pool->spare == 0);
    CHECK(run_at(block) == &tsl_heap_returned);
    CHECK_STATUS(tsl_heap_free(heap, second), TSL_DOUBLE_FREE);
    end();
}

/* An aligned request, and one that may not wait, get what is spare too. */
static void what_is_spare_serves_every_request(void)
{
    begin(0);
    void *first = tsl_heap_alloc(heap, 64);
    void *block = tsl_heap_alloc(heap, 64);
    struct heap_run *run = run_at(block);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    if (HEAP_HAS_LAST) {
        CHECK(tsl_heap_alloc_aligned(heap, 64, 64) == block);
        CHECK_EQ(run->align_shift, 6);
        CHECK_SOUND(tsl_heap_verify(heap));
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    }
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    end();
}

/* The block allocated last is freed by another CPU, or its slab changes hands: no longer the short
 * way, and a second free is seen. */
static void the_last_block_may_leave_its_cpu(void)
{
    begin(0);
    void *first = tsl_heap_alloc(heap, 64);
    void *block = tsl_heap_alloc(heap, 64);
    on(1);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    on(0);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));

    block = tsl_heap_alloc(heap, 64);
    tsl_heap_drain(heap);
    CHECK_EQ(owner_of(block), HEAP_CENTRE);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));

    block = tsl_heap_alloc(heap, 64);
    tsl_cpu_leave();
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    tsl_cpu_join();
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    CHECK_EQ(live_blocks(), 0);
    end();
}

/* Somebody copies out of its slab while the last block is freed: the long way, which forgets it. */
static void the_last_block_is_freed_once(void)
{
    begin(0);
    void *first = tsl_heap_alloc(heap, 64);
    void *block = tsl_heap_alloc(heap, 64);
    struct heap_run *run = run_at(block);
    (void)tsl_atomic_add_u32(&run->state, HEAP_HELD);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    (void)tsl_atomic_sub_u32(&run->state, HEAP_HELD);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));
    CHECK_STATUS(tsl_heap_free(heap, first), TSL_OK);
    end();
}

/* Another slab becomes current between an allocation and its free. */
static void the_last_block_may_leave_the_current_slab(void)
{
    void *last = NULL, *blocks[2 * HEAP_SLAB_BLOCKS];
    size_t count = 0;

    begin(0);
    do {
        blocks[count] = last;
        last = tsl_heap_alloc(heap, 2048);
    } while (count++ < 40);
    struct heap_pool *pool = heap_owner_of(run_at(last));
    while (run_at(last) == pool->current)
        CHECK((blocks[count++] = tsl_heap_alloc_aligned(heap, 2048, 2048)) != NULL);
    CHECK_STATUS(tsl_heap_free(heap, last), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, last), TSL_DOUBLE_FREE);
    CHECK_SOUND(tsl_heap_verify(heap));
    while (count-- > 0)
        CHECK_STATUS(tsl_heap_free(heap, blocks[count]), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    end();
}

enum { TAKEN = 6 };

/* Six live blocks of 64 bytes; the pool that they come from. */
static struct heap_pool *take_some(void *taken[TAKEN])
{
    for (size_t i = 0; i < TAKEN; i++)
        CHECK((taken[i] = tsl_heap_alloc(heap, 64)) != NULL);
    return heap_owner_of(run_at(taken[0]));
}

static void free_some(void **taken, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_DOUBLE_FREE);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
}

/* Whoever frees one of them again is refused; then they go out, the last one first, to requests of
 * either kind. */
static void what_was_freed_last_goes_out_first(void)
{
    void *taken[TAKEN];

    begin(0);
    const struct heap_pool *pool = take_some(taken);
    free_some(taken, TAKEN - 1);
    if (HEAP_RECENT > 0) {
        CHECK_EQ(pool->recent_count, TAKEN - 1);
        on(1);
        CHECK_STATUS(tsl_heap_free(heap, taken[1]), TSL_DOUBLE_FREE);
        on(0);
        CHECK_EQ(live_blocks(), 1);
        for (size_t i = TAKEN - 1; i-- > 0;) {
            CHECK(tsl_heap_alloc_flags(heap, 60, i % 2 * TSL_HEAP_NO_WAIT) == taken[i]);
            CHECK_SOUND(tsl_heap_verify(heap));
        }
        CHECK_EQ(pool->recent_count, 0);
        CHECK_EQ(live_blocks(), TAKEN);
        free_some(taken, TAKEN - 1);
    }
    CHECK_STATUS(tsl_heap_free(heap, taken[TAKEN - 1]), TSL_OK);
    end();
}

/* A pool that takes the slow way, loses a slab or has an empty one forgets what was freed: by its
 * bits it is found again, whoever owns it. */
static void what_was_freed_last_is_forgotten(void)
{
    void *taken[TAKEN], *aligned;

    begin(0);
    const struct heap_pool *pool = take_some(taken);
    struct heap_run *run = run_at(taken[0]);
    free_some(taken, 3);
    aligned = tsl_heap_alloc_aligned(heap, 64, 64);
    CHECK_EQ(pool->recent_count, 0);
    CHECK_SOUND(tsl_heap_verify(heap));
    free_some(&taken[3], 1);
    tsl_heap_drain(heap);
    CHECK_EQ(owner_of(taken[4]), HEAP_CENTRE);
    CHECK_EQ(pool->recent_count, 0);
    CHECK_SOUND(tsl_heap_verify(heap));
    on(1);
    for (size_t i = 0; i < 4; i++)
        CHECK(run_at(taken[i] = tsl_heap_alloc(heap, 64)) == run);
    CHECK_EQ(owner_of(taken[0]), 1);
    free_some(taken, TAKEN);
    CHECK_STATUS(tsl_heap_free(heap, aligned), TSL_OK);
    (void)tsl_heap_trim(heap);
    CHECK(run_at(aligned) == &tsl_heap_returned);
    CHECK_SOUND(tsl_heap_verify(heap));
    on(0);
    end();
}

/* Blocks of `bytes` until another slab is current than that of the first. Result: how many. */
static size_t use_up_a_slab(void **taken, size_t room, size_t bytes)
{
    size_t count = 0;

    do
        CHECK((taken[count] = tsl_heap_alloc(heap, bytes)) != NULL);
    while (run_at(taken[count++]) == run_at(taken[0]) && count < room);
    CHECK_EQ(run_at(taken[0])->place, HEAP_PLACE_FULL);
    return count;
}

/* A spare block of a slab that is not current goes back to that one: when all comes back, and when
 * the CPU leaves. */
static void what_is_spare_may_be_of_any_slab(void)
{
    static void *taken[3 * HEAP_SLAB_BLOCKS];

    for (unsigned way = 0; way < 2; way++) {
        begin(0);
        size_t count = use_up_a_slab(taken, TSL_COUNT_OF(taken), 1000);
        struct heap_run *run = run_at(taken[0]);
        const struct heap_pool *pool = heap_owner_of(run);
        CHECK_STATUS(tsl_heap_free(heap, taken[1]), TSL_OK);
        taken[1] = tsl_heap_alloc(heap, 1000);
        CHECK_STATUS(tsl_heap_free(heap, taken[1]), TSL_OK);
        CHECK_STATUS(tsl_heap_free(heap, taken[1]), TSL_DOUBLE_FREE);
        CHECK_SOUND(tsl_heap_verify(heap));
        if (HEAP_HAS_LAST) {
            CHECK_EQ(pool->spare, (tsl_word)taken[1]);
            CHECK(pool->last_run == run && run_at(taken[1]) == run && pool->current != run);
        }
        if (way == 0)
            tsl_heap_drain(heap);
        else
            tsl_cpu_leave();
        CHECK_EQ(pool->spare, 0);
        CHECK_EQ(owner_of(taken[1]), HEAP_CENTRE);
        CHECK_EQ(heap_run_used(run), run->blocks - 1u);
        CHECK_SOUND(tsl_heap_verify(heap));
        on(1);
        CHECK_STATUS(tsl_heap_free(heap, taken[1]), TSL_DOUBLE_FREE);
        CHECK((taken[1] = tsl_heap_alloc(heap, 1000)) != NULL);
        while (count-- > 0)
            CHECK_STATUS(tsl_heap_free(heap, taken[count]), TSL_OK);
        on(0);
        tsl_cpu_join();
        CHECK_SOUND(tsl_heap_verify(heap));
        end();
    }
}

/* What is spare serves the slow way too, when there is no current slab, and the slab that it is of
 * remembers the alignment. */
static void what_is_spare_needs_no_current_slab(void)
{
    static void *taken[3 * HEAP_SLAB_BLOCKS];

    for (unsigned way = 0; way < 3; way++) {
        begin(0);
        size_t count = use_up_a_slab(taken, TSL_COUNT_OF(taken), 128);
        struct heap_run *run = run_at(taken[0]);
        const struct heap_pool *pool = heap_owner_of(run);
        if (way == 0)
            tsl_heap_drain(heap);
        CHECK(way != 0 || pool->current == NULL);
        for (unsigned i = 0; i < 2; i++) {
            CHECK_STATUS(tsl_heap_free(heap, taken[0]), TSL_OK);
            if (i == 0)
                taken[0] = tsl_heap_alloc(heap, 128);
        }
        CHECK_SOUND(tsl_heap_verify(heap));
        if (HEAP_HAS_LAST)
            CHECK(pool->spare == (tsl_word)taken[0] && pool->last_run == run);
        taken[0] =
            way == 1 ? tsl_heap_alloc_flags(heap, 128, 0) : tsl_heap_alloc_aligned(heap, 128, 70);
        CHECK(taken[0] != NULL);
        CHECK_EQ(tsl_atomic_load_u8(&run_at(taken[0])->align_shift), way == 1 ? 0 : 7);
        CHECK_SOUND(tsl_heap_verify(heap));
        if (way == 2)
            CHECK_STATUS(tsl_heap_free_sized(heap, taken[0], 70), TSL_OK);
        while (--count > 0)
            CHECK_STATUS(tsl_heap_free(heap, taken[count]), TSL_OK);
        if (way != 2)
            CHECK_STATUS(tsl_heap_free(heap, taken[0]), TSL_OK);
        CHECK_SOUND(tsl_heap_verify(heap));
        end();
    }
}

/* Slabs of which another one is current: what comes back to them goes out before they change a
 * list. */
static void used_up_slabs_lend_what_was_freed_last(void)
{
    static void *taken[3 * HEAP_SLAB_BLOCKS];

    begin(0);
    size_t count = use_up_a_slab(taken, TSL_COUNT_OF(taken), 1000);
    struct heap_run *run = run_at(taken[0]);
    size_t blocks = run->blocks;
    for (size_t i = 0; i < 100; i++) {
        CHECK_STATUS(tsl_heap_free(heap, taken[i % blocks]), TSL_OK);
        taken[i % blocks] = tsl_heap_alloc(heap, 1000);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    CHECK_EQ(run->place, HEAP_RECENT > 0 ? HEAP_PLACE_FULL : run->place);
    /* So many that it offers blocks again; then it gets and lends some more, and the others. */
    size_t back = heap_full_slack((unsigned)blocks) + 1;
    for (size_t i = 0; i < back + 2; i++)
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
    CHECK_EQ(run->place, HEAP_PLACE_PARTIAL);
    for (size_t i = 0; i < back + 2; i++) {
        taken[i] = tsl_heap_alloc(heap, 1000);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    while (count-- > 0)
        CHECK_STATUS(tsl_heap_free(heap, taken[count]), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    end();
}

/* After a peak random frees and allocations by turns leave the blocks in ever fewer slabs: partial
 * ones serve fullest first. */
static void churn_after_a_peak_empties_slabs(void)
{
    enum { PEAK = 6000, LEFT = 600, BYTES = 64 };
    static void *taken[PEAK];
    struct rng random = rng_start(3);

    begin(0);
    for (size_t i = 0; i < PEAK; i++)
        CHECK((taken[i] = tsl_heap_alloc(heap, BYTES)) != NULL);
    size_t pages_at_peak = source.out;
    for (uint32_t count = PEAK; count > LEFT;) {
        uint32_t victim = rng_below(&random, count);
        CHECK_STATUS(tsl_heap_free(heap, taken[victim]), TSL_OK);
        taken[victim] = taken[--count];
        /* Two go for each that comes. */
        victim = rng_below(&random, count);
        CHECK_STATUS(tsl_heap_free(heap, taken[victim]), TSL_OK);
        CHECK((taken[victim] = tsl_heap_alloc(heap, BYTES)) != NULL);
    }
    for (unsigned i = 0; i < 40 * PEAK; i++) {
        void **victim = &taken[rng_below(&random, LEFT)];
        CHECK_STATUS(tsl_heap_free(heap, *victim), TSL_OK);
        CHECK((*victim = tsl_heap_alloc(heap, BYTES)) != NULL);
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    (void)tsl_heap_trim(heap);
    tap_note("%zu pages at the peak, %zu now", pages_at_peak, source.out);
    CHECK(source.out < pages_at_peak / 2);
    for (size_t i = 0; i < LEFT; i++)
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
    end();
}

/* Whoever frees all of many blocks is not slowed by remembering some of each slab; the next one who
 * looks for blocks opens that again. */
static void many_frees_are_not_remembered(void)
{
    enum { MANY = 2000 };
    static void *taken[MANY];

    begin(0);
    for (size_t i = 0; i < MANY; i++)
        CHECK((taken[i] = tsl_heap_alloc(heap, 64)) != NULL);
    const struct heap_pool *pool = heap_owner_of(run_at(taken[0]));
    CHECK_EQ(pool->recent_room, HEAP_RECENT);
    for (size_t i = 0; i < MANY; i++)
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
    CHECK(pool->recent_count == 0 && pool->recent_room == 0);
    CHECK_SOUND(tsl_heap_verify(heap));
    for (size_t i = 0; i < MANY; i++)
        CHECK((taken[i] = tsl_heap_alloc(heap, 64)) != NULL);
    CHECK_EQ(pool->recent_room, HEAP_RECENT);
    for (size_t i = 0; i < MANY; i++)
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
    end();
}

/* The owner frees into a slab that others free into: without detour, but for what they freed. */
static void owner_and_others_free_into_one_slab(void)
{
    void *taken[TAKEN];

    begin(0);
    const struct heap_pool *pool = take_some(taken);
    on(1);
    free_some(taken, 2);
    on(0);
    CHECK(tsl_atomic_load_u32(&run_at(taken[0])->state) != 0);
    CHECK_STATUS(tsl_heap_free(heap, taken[0]), TSL_DOUBLE_FREE);
    CHECK_STATUS(tsl_heap_free(heap, (char *)taken[2] + 16), TSL_INVALID);
    free_some(&taken[2], 3);
    CHECK_EQ(pool->recent_count, HEAP_RECENT > 0 ? 3 : 0);
    CHECK_EQ(tsl_heap_usable(heap, (void *)pool->next), 0);
    CHECK_STATUS(tsl_heap_free(heap, (void *)pool->next), TSL_DOUBLE_FREE);
    (void)tsl_atomic_add_u32(&run_at(taken[5])->state, HEAP_HELD);
    on(1);
    free_some(&taken[5], 1);
    (void)tsl_atomic_sub_u32(&run_at(taken[5])->state, HEAP_HELD);
    on(0);
    CHECK_EQ(test_refusals(heap, TSL_DOUBLE_FREE), 6 + 3);
    tsl_heap_drain(heap);
    CHECK_EQ(live_blocks(), 0);
    end();
}

/* The same in a slab that was used up: its owner's frees bring it back on the list. */
static void used_up_slabs_come_back_while_others_free(void)
{
    static void *taken[3 * HEAP_SLAB_BLOCKS];

    begin(0);
    size_t count = use_up_a_slab(taken, TSL_COUNT_OF(taken), 1000);
    struct heap_run *run = run_at(taken[0]);
    size_t back = heap_full_slack(run->blocks) + 1;
    on(1);
    CHECK_STATUS(tsl_heap_free(heap, taken[--count]), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, taken[0]), TSL_OK);
    on(0);
    for (size_t i = 1; i <= back; i++) {
        CHECK_EQ(run->place, HEAP_PLACE_FULL);
        CHECK_STATUS(tsl_heap_free(heap, taken[i]), TSL_OK);
    }
    CHECK_EQ(run->place, HEAP_PLACE_PARTIAL);
    CHECK_SOUND(tsl_heap_verify(heap));
    while (--count > back)
        CHECK_STATUS(tsl_heap_free(heap, taken[count]), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    end();
}

/* A resize copies a block: nobody may free it meanwhile, and others of its slab may be freed. */
static void a_block_that_moves_is_busy(void)
{
    struct heap_moving moving;

    begin(0);
    void *block = tsl_heap_alloc(heap, 64), *other = tsl_heap_alloc(heap, 64);
    struct heap_run *run = run_at(block);
    tsl_pin pin = tsl_lock_acquire(&heap->lock);
    heap_moving_begin(heap, &moving, block);
    tsl_lock_release(&heap->lock, pin);
    (void)tsl_atomic_add_u32(&run->state, HEAP_HELD);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        on(cpu);
        CHECK_STATUS(tsl_heap_free(heap, block), TSL_BUSY);
    }
    CHECK_STATUS(tsl_heap_free(heap, other), TSL_OK);
    on(0);
    (void)tsl_atomic_sub_u32(&run->state, HEAP_HELD);
    pin = tsl_lock_acquire(&heap->lock);
    heap_moving_end(heap, &moving);
    tsl_lock_release(&heap->lock, pin);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    CHECK_SOUND(tsl_heap_verify(heap));
    end();
}

/* A resize holds the slab: its pages stay although all its blocks become free meanwhile. */
static void a_held_slab_stays(void)
{
    begin(0);
    void *block = tsl_heap_alloc(heap, 64);
    struct heap_run *run = run_at(block);
    (void)tsl_atomic_add_u32(&run->state, HEAP_HELD);
    CHECK_STATUS(tsl_heap_free(heap, block), TSL_OK);
    (void)tsl_heap_trim(heap);
    CHECK(run_at(block) == run);
    (void)tsl_atomic_sub_u32(&run->state, HEAP_HELD);
    (void)tsl_heap_trim(heap);
    CHECK(run_at(block) == &tsl_heap_returned);
    end();
}

struct block {
    unsigned char *start;
    size_t bytes;
    unsigned char stamp;
};

static struct block blocks[BLOCKS];
static struct rng chance;

static void step(void)
{
    struct block *block = &blocks[rng_below(&chance, BLOCKS)];

    on(rng_below(&chance, CPUS));
    if (rng_once_in(&chance, 600))
        tsl_heap_drain(heap);
    if (rng_once_in(&chance, 600))
        (void)tsl_heap_trim(heap);
    if (rng_once_in(&chance, 300)) {
        /* Sometimes it stays away for a while: other steps on this CPU are then offline ones. */
        tsl_cpu_leave();
        if (!rng_once_in(&chance, 4))
            tsl_cpu_join();
    }
    if (rng_once_in(&chance, 600))
        tsl_cpu_join();
    if (rng_once_in(&chance, 4))
        CHECK_STATUS(tsl_heap_free(heap, tsl_heap_alloc(heap, block->bytes)), TSL_OK);
    if (rng_once_in(&chance, 8)) {
        size_t align = (size_t)16 << rng_below(&chance, 5);
        void *aligned = tsl_heap_alloc_aligned(heap, align, block->bytes);
        CHECK(tsl_is_aligned((uintptr_t)aligned, align));
        CHECK(aligned == NULL || tsl_heap_free_sized(heap, aligned, block->bytes) == TSL_OK);
    }
    if (block->start == NULL) {
        block->bytes = (size_t)1 << rng_below(&chance, 13);
        block->bytes += rng_below(&chance, (uint32_t)block->bytes);
        block->stamp = (unsigned char)rng_u32(&chance);
        block->start =
            rng_once_in(&chance, 4)
                ? tsl_heap_alloc_flags(heap, block->bytes, rng_below(&chance, 2) * TSL_HEAP_NO_WAIT)
                : tsl_heap_alloc(heap, block->bytes);
        if (block->start != NULL)
            memset(block->start, block->stamp, block->bytes);
        return;
    }
    for (size_t i = 0; i < block->bytes; i++)
        if (block->start[i] != block->stamp)
            CHECK_EQ(block->start[i], block->stamp);
    if (rng_once_in(&chance, 4)) {
        unsigned char *moved = tsl_heap_realloc(heap, block->start, block->bytes / 2);
        CHECK(moved != NULL && (block->bytes < 2 || moved[0] == block->stamp));
        block->start = moved;
        block->bytes /= 2;
        return;
    }
    CHECK_STATUS(tsl_heap_free(heap, block->start), TSL_OK);
    if (rng_once_in(&chance, 8))
        CHECK(tsl_heap_free(heap, block->start) == TSL_DOUBLE_FREE);
    block->start = NULL;
}

/* A slab that was used up and has got back a few blocks serves again before a new one is
 * fetched. */
static void used_up_slabs_are_gleaned(void)
{
    enum { SLABS = 20, BYTES = 1000 };
    static void *taken[(SLABS + 2) * HEAP_SLAB_BLOCKS];

    begin(0);
    taken[0] = tsl_heap_alloc(heap, BYTES);
    size_t in_slab = run_at(taken[0])->blocks, count = 1;
    while (count < SLABS * in_slab + 1) {
        taken[count] = tsl_heap_alloc(heap, BYTES);
        CHECK(taken[count++] != NULL);
    }
    for (size_t i = 0; i < SLABS; i++) {
        CHECK_STATUS(tsl_heap_free(heap, taken[i * in_slab]), TSL_OK);
        taken[i * in_slab] = NULL;
    }
    CHECK_SOUND(tsl_heap_verify(heap));
    const struct heap_pool *pool = heap_owner_of(run_at(taken[1]));
    CHECK_EQ(pool->slab_count, SLABS + 1);
    /* The rest of the current slab, then one of each other. */
    for (size_t i = 0; i < in_slab - 1 + SLABS; i++) {
        taken[count] = tsl_heap_alloc(heap, BYTES);
        CHECK(taken[count++] != NULL);
        CHECK_SOUND(tsl_heap_verify(heap));
    }
    CHECK_EQ(pool->slab_count, SLABS + 1);
    taken[count++] = tsl_heap_alloc(heap, BYTES);
    CHECK_EQ(pool->slab_count, SLABS + 2);
    while (count-- > 0)
        CHECK_STATUS(tsl_heap_free(heap, taken[count]), TSL_OK);
    end();
}

static void random_operations_on_random_cpus(void)
{
    static const size_t ceilings[] = {40, 150, 280, 0};

    chance = rng_start(7);
    for (size_t round = 0; round < TSL_COUNT_OF(ceilings); round++) {
        begin(ceilings[round]);
        for (unsigned i = 0; i < tap_rounds(5000); i++) {
            step();
            CHECK_SOUND(tsl_heap_verify(heap));
        }
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            on(cpu);
            tsl_cpu_join();
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            on((unsigned)i % CPUS);
            CHECK_STATUS(tsl_heap_free(heap, blocks[i].start), TSL_OK);
            blocks[i].start = NULL;
            CHECK_SOUND(tsl_heap_verify(heap));
        }
        on(0);
        (void)tsl_heap_trim(heap);
        CHECK_SOUND(tsl_heap_verify(heap));
        struct tsl_heap_stats stats;
        tsl_heap_stats(heap, &stats);
        CHECK_EQ(stats.live_blocks, 0);
        /* The full span, but for the pages of the heap itself, is one block again. */
        size_t span = (ceilings[round] != 0 ? ceilings[round] : ARENA_PAGES) - source.out - 1;
        void *all = tsl_heap_alloc(heap, span * TSL_PAGE_BYTES);
        CHECK(all != NULL || ceilings[round] == 0);
        CHECK_STATUS(tsl_heap_free(heap, all), TSL_OK);
        end();
    }
}

TAP_SUITE(heap_owners, TAP_TEST(a_cpu_owns_what_it_takes),
          TAP_TEST(offline_cpus_work_through_the_centre), TAP_TEST(small_heaps_have_no_owners),
          TAP_TEST(remote_frees_reach_the_owner),
          TAP_TEST(what_a_cpu_keeps_serves_others_before_they_fail),
          TAP_TEST(a_cpu_that_leaves_keeps_nothing), TAP_TEST(a_late_push_is_not_lost),
          TAP_TEST(a_held_slab_stays), TAP_TEST(a_block_at_hand_is_free),
          TAP_TEST(what_is_spare_serves_every_request), TAP_TEST(the_last_block_may_leave_its_cpu),
          TAP_TEST(the_last_block_is_freed_once),
          TAP_TEST(the_last_block_may_leave_the_current_slab), TAP_TEST(used_up_slabs_are_gleaned),
          TAP_TEST(what_was_freed_last_goes_out_first), TAP_TEST(what_was_freed_last_is_forgotten),
          TAP_TEST(what_is_spare_may_be_of_any_slab), TAP_TEST(what_is_spare_needs_no_current_slab),
          TAP_TEST(used_up_slabs_lend_what_was_freed_last),
          TAP_TEST(churn_after_a_peak_empties_slabs), TAP_TEST(many_frees_are_not_remembered),
          TAP_TEST(owner_and_others_free_into_one_slab),
          TAP_TEST(used_up_slabs_come_back_while_others_free), TAP_TEST(a_block_that_moves_is_busy),
          TAP_TEST(random_operations_on_random_cpus));
