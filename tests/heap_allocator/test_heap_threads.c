/* SPDX-License-Identifier: MIT
 *
 * test_heap_threads.c: the heap under several threads, each a CPU: own blocks, blocks that another
 * thread frees, trims, resizes and misuse at the same time; CPUs that leave and come back.
 *
 * Owns:    threads.
 * Needs:   test_source.h, rng.h, tap.h, host_port.h, POSIX threads.
 * Callers: host.
 *
 * Run with the thread sanitizer too.
 */
#include <pthread.h>

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/heap_array.h>

#include "host_port.h"
#include "rng.h"
#include "test_source.h"

#define THREADS (TSL_CPUS < 4 ? TSL_CPUS : 4)
#define BOXES   16u
#define OWN     24u

static struct test_source source;
static struct tsl_heap *heap;
/* Blocks on their way from whoever puts one in to whoever takes it out; 0: empty. */
static tsl_word boxes[BOXES];
/* Nobody works before each thread has said which CPU it is: at first all are CPU 0. */
static uint32_t started;

/* An array that comes and goes meanwhile: the arena's last pages, which the source has not. */
#define ARRAY_PAGES 40u
static char *const array = heap_test_arena + (ARENA_PAGES - ARRAY_PAGES) * TSL_PAGE_BYTES;
static bool has_array, is_array_there;

/* CPUs are online, and so own slabs; else all go through the lock. */
static bool are_owners;

struct worker {
    pthread_t thread;
    unsigned cpu;
    struct rng chance;
    unsigned char *own[OWN];
    size_t wrong; /* blocks whose contents changed, calls with an unexpected result */
};

/* A block's first bytes say how it is stamped: its size, then that value all through. */
/* A hardened heap does several times as much for each block. */
static unsigned rounds(unsigned most)
{
    unsigned share = !test_heap_is_hardened ? 1 : TSL_HEAP_SITES ? 24 : 6;

    return tap_rounds(most / share);
}

static void stamp(unsigned char *block, size_t bytes)
{
    memset(block, (int)(bytes & 0xFF), bytes);
    memcpy(block, &bytes, sizeof bytes);
}

static bool is_stamped(const unsigned char *block)
{
    size_t bytes;

    memcpy(&bytes, block, sizeof bytes);
    for (size_t i = sizeof bytes; i < bytes; i++)
        if (block[i] != (bytes & 0xFF))
            return false;
    return true;
}

static void end_block(struct worker *self, unsigned char *block)
{
    if (block != NULL) {
        unsigned flags = rng_once_in(&self->chance, 4) ? TSL_HEAP_NO_WAIT : 0;
        self->wrong += !is_stamped(block);
        self->wrong += tsl_heap_free_flags(heap, block, flags) != TSL_OK;
    }
}

static unsigned char *new_block(struct worker *self)
{
    size_t bytes =
        sizeof(size_t) + rng_below(&self->chance, 1u << (4 + rng_below(&self->chance, 10)));
    unsigned char *block = tsl_heap_alloc(heap, bytes);

    if (block != NULL)
        stamp(block, bytes);
    return block;
}

static unsigned char *resized(struct worker *self, unsigned char *block)
{
    size_t bytes = sizeof(size_t) + rng_below(&self->chance, 20000);
    size_t old;
    unsigned char *moved;

    memcpy(&old, block, sizeof old);
    moved = tsl_heap_realloc(heap, block, bytes);
    if (moved == NULL)
        return block;
    /* What was kept is as it was. */
    for (size_t i = sizeof old; i < old && i < bytes; i++)
        self->wrong += moved[i] != (old & 0xFF);
    stamp(moved, bytes);
    return moved;
}

/* Removed, the array is somebody else's. */
static void array_comes_or_goes(struct worker *self)
{
    const size_t bytes = ARRAY_PAGES * TSL_PAGE_BYTES;

    if (!is_array_there) {
        self->wrong += tsl_heap_add_array(heap, array, bytes) != TSL_OK;
        is_array_there = true;
        return;
    }
    enum tsl_status status = tsl_heap_remove_array(heap, array);
    self->wrong += status != TSL_OK && status != TSL_BUSY;
    is_array_there = status != TSL_OK;
    if (!is_array_there)
        memset(array, 0x11, bytes);
}

static void step(struct worker *self)
{
    unsigned slot = rng_below(&self->chance, OWN), box = rng_below(&self->chance, BOXES);

    switch (rng_below(&self->chance, 8)) {
    case 0:
        self->own[slot] = self->own[slot] != NULL ? resized(self, self->own[slot]) : NULL;
        break;
    case 1:
    case 2:
    case 3:
        /* Ours goes into the box, what was in it is freed here: a remote free. */
        end_block(self, (void *)tsl_atomic_exchange(&boxes[box], (tsl_word)self->own[slot]));
        self->own[slot] = NULL;
        break;
    case 4:
        if (TSL_HEAP_ARRAYS && has_array && self->cpu == 0 && rng_once_in(&self->chance, 8))
            array_comes_or_goes(self);
        if (rng_once_in(&self->chance, 64)) {
            (void)tsl_heap_trim(heap);
            self->wrong += tsl_heap_verify(heap).rule != 0;
            self->wrong += tsl_heap_free(heap, self) != TSL_FOREIGN;
        }
        /* Away and back: what it owned goes to the centre, while others free into it. */
        if (are_owners && rng_once_in(&self->chance, 256)) {
            tsl_cpu_leave();
            tsl_cpu_join();
        }
        break;
    default:
        end_block(self, self->own[slot]);
        self->own[slot] = new_block(self);
    }
}

static void *work(void *argument)
{
    struct worker *self = argument;

    host_port_set_cpu(self->cpu);
    if (are_owners)
        tsl_cpu_join();
    (void)tsl_atomic_add_u32(&started, 1);
    while (tsl_atomic_load_acquire_u32(&started) < THREADS)
        host_port_wait();
    for (unsigned i = 0; i < rounds(6000) && !tap_is_late(); i++)
        step(self);
    for (unsigned i = 0; i < OWN; i++)
        end_block(self, self->own[i]);
    if (are_owners)
        tsl_cpu_leave();
    return NULL;
}

/* Its window leaves the array's pages out. */
static struct tsl_heap *narrow_heap(void)
{
    struct tsl_heap_config config = {
        .source = test_source_init(&source, 0, ARENA_PAGES - ARRAY_PAGES, 0, 0)};
    struct tsl_heap *made = NULL;

    CHECK_STATUS(tsl_heap_create(&config, &made), TSL_OK);
    test_heap_soften(made);
    return made;
}

static void run_threads(size_t ceiling_pages)
{
    static struct worker workers[THREADS];
    size_t wrong = 0;

    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    heap = has_array ? narrow_heap() : test_heap(&source, ceiling_pages);
    REQUIRE(heap != NULL);
    tsl_atomic_store_u32(&started, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.cpu = i, .chance = rng_start(i)};
        REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
        wrong += workers[i].wrong;
    }
    CHECK_EQ(wrong, 0);
    for (unsigned i = 0; i < BOXES; i++)
        CHECK_STATUS(tsl_heap_free(heap, (void *)tsl_atomic_exchange(&boxes[i], 0)), TSL_OK);
    test_heap_end(heap, &source);
}

static void threads_share_a_heap(void)
{
    run_threads(0);
}

static void threads_share_a_heap_at_its_ceiling(void)
{
    run_threads(60);
    CHECK(source.peak <= 60);
}

static void threads_own_slabs(void)
{
    are_owners = true;
    run_threads(0);
    are_owners = false;
}

static void an_array_comes_and_goes(void)
{
    if (!TSL_HEAP_ARRAYS)
        SKIP("no HEAP_ARRAYS");
    are_owners = has_array = true;
    is_array_there = false;
    run_threads(0);
    are_owners = has_array = false;
}

/* Each CPU runs into the ceiling again and again, and asks the others for what they keep. */
static void threads_own_slabs_at_the_ceiling(void)
{
    are_owners = true;
    run_threads(140);
    are_owners = false;
    CHECK(source.peak <= 140);
}

/* One way only: CPU 0 allocates, the others free. */
#define ITEMS 20000u

static tsl_word belt[64];

static void *consume(void *argument)
{
    struct worker *self = argument;

    host_port_set_cpu(self->cpu);
    tsl_cpu_join();
    for (unsigned i = self->cpu - 1; i < rounds(ITEMS); i += THREADS - 1) {
        tsl_word *slot = &belt[i % TSL_COUNT_OF(belt)];
        tsl_word block;
        while ((block = tsl_atomic_exchange(slot, 0)) == 0)
            host_port_wait();
        end_block(self, (void *)block);
    }
    tsl_cpu_leave();
    return NULL;
}

static void produce(struct worker *self)
{
    for (unsigned i = 0; i < rounds(ITEMS); i++) {
        tsl_word *slot = &belt[i % TSL_COUNT_OF(belt)];
        unsigned char *block = new_block(self);
        self->wrong += block == NULL;
        while (tsl_atomic_load_acquire(slot) != 0)
            host_port_wait();
        tsl_atomic_store_release(slot, (tsl_word)block);
    }
}

static void one_cpu_produces_and_others_consume(void)
{
    static struct worker workers[THREADS];
    size_t wrong = 0;

    /* With one CPU it does both. */
    if (TSL_CPUS == 1) {
        CHECK_EQ(THREADS, 1);
        return;
    }
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    heap = test_heap(&source, 0);
    tsl_cpu_join();
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.cpu = i, .chance = rng_start(i)};
        REQUIRE(i == 0 || pthread_create(&workers[i].thread, NULL, consume, &workers[i]) == 0);
    }
    produce(&workers[0]);
    tsl_cpu_leave();
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(i == 0 || pthread_join(workers[i].thread, NULL) == 0);
        wrong += workers[i].wrong;
    }
    CHECK_EQ(wrong, 0);
    /* The belt has room for few blocks, so the heap had to reuse what others freed, unless they
     * wait in quarantine. */
    CHECK(source.peak < ARENA_PAGES || test_heap_is_hardened);
    test_heap_end(heap, &source);
}

/* ---- two CPUs without memory, one callback ---- */

#define CEILING_PAGES 70u
#define KEPT_PAGES    50u
#define WANTED_BYTES  (24 * TSL_PAGE_BYTES)

static void *kept;
static uint32_t is_inside, is_requesting;

/* Frees what both want, long after the other CPU has found out that there is nothing. */
static bool give_late(void *context, size_t bytes)
{
    (void)context;
    (void)bytes;
    if (kept == NULL)
        return false;
    tsl_atomic_store_release_u32(&is_inside, 1);
    while (tsl_atomic_load_acquire_u32(&is_requesting) == 0)
        host_port_wait();
    for (unsigned i = 0; i < 3000; i++)
        host_port_wait();
    bool is_freed = tsl_heap_free(heap, kept) == TSL_OK;
    kept = NULL;
    return is_freed;
}

static void *request_meanwhile(void *argument)
{
    void **out = argument;

    host_port_set_cpu(1);
    while (tsl_atomic_load_acquire_u32(&is_inside) == 0)
        host_port_wait();
    tsl_atomic_store_release_u32(&is_requesting, 1);
    *out = tsl_heap_alloc(heap, WANTED_BYTES);
    return NULL;
}

static void a_request_waits_for_memory_that_comes(void)
{
    struct tsl_heap_config config = {.source = test_source_init(&source, 0, ARENA_PAGES, 0, 0),
                                     .ceiling_bytes = CEILING_PAGES * TSL_PAGE_BYTES,
                                     .out_of_memory = give_late};
    pthread_t other;
    void *theirs = NULL;

    if (TSL_CPUS == 1)
        SKIP("one CPU");
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    test_heap_soften(heap);
    kept = tsl_heap_alloc(heap, KEPT_PAGES * TSL_PAGE_BYTES);
    REQUIRE(kept != NULL && pthread_create(&other, NULL, request_meanwhile, &theirs) == 0);
    void *ours = tsl_heap_alloc(heap, WANTED_BYTES);
    CHECK_EQ(pthread_join(other, NULL), 0);
    CHECK(ours != NULL && theirs != NULL && kept == NULL);
    CHECK_STATUS(tsl_heap_free(heap, ours), TSL_OK);
    CHECK_STATUS(tsl_heap_free(heap, theirs), TSL_OK);
    test_heap_end(heap, &source);
}

TAP_SUITE(heap_threads, TAP_TEST(threads_share_a_heap),
          TAP_TEST(threads_share_a_heap_at_its_ceiling), TAP_TEST(threads_own_slabs),
          TAP_TEST(threads_own_slabs_at_the_ceiling), TAP_TEST(an_array_comes_and_goes),
          TAP_TEST(one_cpu_produces_and_others_consume),
          TAP_TEST(a_request_waits_for_memory_that_comes));
