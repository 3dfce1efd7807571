/* SPDX-License-Identifier: MIT
 *
 * test_claim.c: the claimed word between CPUs that run at the same time: no bit is lost, none
 * handed out twice.
 *
 * Owns:    the suite `claim`. Host only, clean under ThreadSanitizer.
 * Needs:   bits.h; threads.h.
 * Callers: the test runner.
 *
 * Things are numbered word * TSL_WORD_BITS + bit. Every CPU has a claim on at most one word at a
 * time, takes things out of its copy, passes some on to others through a table of slots, and frees
 * what it has: into its copy if it has the claim on that word, else into the shared word.
 */
#include "host_port.h"
#include "rng.h"
#include "tap.h"
#include "threads.h"
#include "yielding_atomic.h"

#include <tesela/bits.h>

#define WORDS 3u
#define SLOTS 16u
#define MINE  24u

static tsl_word shared[WORDS];
static uint32_t taken[WORDS * sizeof(tsl_word) * CHAR_BIT]; /* 1: somebody has it */
static uint32_t slots[SLOTS];                               /* thing + 1 on its way; 0: free */
static uint32_t payload[WORDS * sizeof(tsl_word) * CHAR_BIT];

struct worker {
    struct rng rng;
    unsigned word; /* of the claim */
    tsl_word copy;
    uint32_t mine[MINE];
    unsigned count;
};

/* The flag tells apart who has a thing; the payload is plain memory that only its owner touches, so
 * that ThreadSanitizer sees whether taking happens after freeing. */
static void take_one(struct worker *self)
{
    int bit = tsl_bits_take(&self->copy);
    if (bit < 0) {
        CHECK_EQ(tsl_bits_merge(&self->copy, &shared[self->word]), 0);
        return;
    }
    uint32_t thing = self->word * TSL_WORD_BITS + (unsigned)bit;
    CHECK_EQ(tsl_atomic_exchange_u32(&taken[thing], 1), 0);
    payload[thing]++;
    self->mine[self->count++] = thing;
}

static void free_thing(struct worker *self, uint32_t thing)
{
    tsl_word mask = (tsl_word)1 << (thing % TSL_WORD_BITS);
    payload[thing]++;
    CHECK_EQ(tsl_atomic_exchange_u32(&taken[thing], 0), 1);
    if (thing / TSL_WORD_BITS == self->word && rng_once_in(&self->rng, 2))
        CHECK_EQ(tsl_bits_give_own(&self->copy, mask), 0);
    else
        CHECK_EQ(tsl_bits_give(&shared[thing / TSL_WORD_BITS], mask), 0);
}

static uint32_t pick(struct worker *self)
{
    unsigned at = rng_below(&self->rng, self->count);
    uint32_t thing = self->mine[at];
    self->mine[at] = self->mine[--self->count];
    return thing;
}

static void claim_another(struct worker *self)
{
    CHECK_EQ(tsl_bits_unclaim(&self->copy, &shared[self->word]), 0);
    self->word = rng_below(&self->rng, WORDS);
    self->copy = tsl_bits_claim(&shared[self->word]);
}

/* Leaves a thing for others, and takes what lay there. */
static void swap_with_others(struct worker *self)
{
    uint32_t outgoing = pick(self) + 1;
    uint32_t incoming = tsl_atomic_exchange_u32(&slots[rng_below(&self->rng, SLOTS)], outgoing);
    if (incoming != 0)
        self->mine[self->count++] = incoming - 1;
}

static void work(unsigned cpu)
{
    struct worker self = {.rng = rng_start(cpu)};
    for (unsigned i = 0; i < tap_rounds(20000); i++) {
        uint32_t what = rng_below(&self.rng, 100);
        if (what < 45 && self.count < MINE)
            take_one(&self);
        else if (what < 80 && self.count > 0)
            free_thing(&self, pick(&self));
        else if (what < 95 && self.count > 0)
            swap_with_others(&self);
        else if (what >= 95)
            claim_another(&self);
    }
    while (self.count > 0)
        free_thing(&self, pick(&self));
    CHECK_EQ(tsl_bits_unclaim(&self.copy, &shared[self.word]), 0);
}

/* All things are free again, and nobody ever had one that another had. */
static void no_thing_is_lost_or_handed_out_twice(void)
{
    struct worker last = {.rng = rng_start(99)};
    for (unsigned i = 0; i < WORDS; i++)
        shared[i] = ~(tsl_word)0;
    run_threads(THREADS, work);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i] != 0) {
            free_thing(&last, slots[i] - 1);
            slots[i] = 0;
        }
    }
    CHECK_EQ(tsl_bits_unclaim(&last.copy, &shared[last.word]), 0);
    unsigned uses = 0;
    for (unsigned i = 0; i < WORDS * TSL_WORD_BITS; i++) {
        CHECK_EQ(taken[i], 0);
        CHECK_EQ(payload[i] % 2, 0);
        uses += payload[i];
    }
    for (unsigned i = 0; i < WORDS; i++)
        CHECK_EQ(shared[i], ~(tsl_word)0);
    CHECK(uses > 1000); /* it was not idle */
}

/* A claim can be taken from its owner's word by others only after it was given back: what one CPU
 * frees remotely, the claimant finds again by merging, without anybody else in between. */
static void free_remotely(unsigned cpu)
{
    if (cpu == 0) {
        tsl_word copy = tsl_bits_claim(&shared[0]);
        for (unsigned got = 0; got < tap_rounds(5000);) {
            int bit = tsl_bits_take(&copy);
            if (bit < 0) {
                CHECK_EQ(tsl_bits_merge(&copy, &shared[0]), 0);
                (void)sched_yield();
                continue;
            }
            uint32_t nothing = 0;
            while (!tsl_atomic_compare_exchange_u32(&slots[0], &nothing, (uint32_t)bit + 1)) {
                nothing = 0;
                (void)sched_yield();
            }
            got++;
        }
        CHECK_EQ(tsl_bits_unclaim(&copy, &shared[0]), 0);
        return;
    }
    for (unsigned freed = 0; freed < tap_rounds(5000);) {
        uint32_t thing = tsl_atomic_exchange_u32(&slots[0], 0);
        if (thing == 0) {
            (void)sched_yield();
            continue;
        }
        CHECK_EQ(tsl_bits_give(&shared[0], (tsl_word)1 << (thing - 1)), 0);
        freed++;
    }
}

static void remote_frees_come_back(void)
{
    if (TSL_CPUS < 2)
        SKIP("too few CPUs configured");
    shared[0] = ~(tsl_word)0;
    run_threads(2, free_remotely);
    CHECK_EQ(shared[0], ~(tsl_word)0);
}

TAP_SUITE(claim, TAP_TEST(no_thing_is_lost_or_handed_out_twice), TAP_TEST(remote_frees_come_back));
