/* SPDX-License-Identifier: MIT
 *
 * lock.c: ranked spin locks, and the check of their order.
 *
 * Owns:    with TSL_LOCK_CHECKS, which ranks each CPU holds.
 * Needs:   arch.h (relax), atomic.h, bits.h, cpu.h, flush.h, port_inline.h (pin, CPU's number).
 * Callers: everybody, through lock.h.
 */
#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/bits.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>
#include <tesela/lock.h>
#include <tesela/port_inline.h>

static const char *const names[] = {
    [TSL_RANK_CPUS] = "cpus",
    [TSL_RANK_PROCESSES] = "processes",
    [TSL_RANK_SPACE] = "space",
    [TSL_RANK_REGION] = "region",
    [TSL_RANK_PRIVATE_LAYER] = "private layer",
    [TSL_RANK_OBJECT] = "object",
    [TSL_RANK_PAGE_BUSY] = "page busy",
    [TSL_RANK_TABLES] = "tables",
    [TSL_RANK_POLICY] = "policy",
    [TSL_RANK_POOL] = "pool",
    [TSL_RANK_SWAP] = "swap",
    [TSL_RANK_HEAP] = "heap",
    [TSL_RANK_FRAMES] = "frames",
    [TSL_RANK_FLUSH] = "flush",
};

_Static_assert(TSL_COUNT_OF(names) == TSL_RANK_COUNT, "each rank has a name");
_Static_assert(TSL_RANK_COUNT <= sizeof(tsl_word) * CHAR_BIT, "the ranks held fit in one word");

/* Bit n: this CPU holds a lock of rank n. Each word is touched by its CPU alone, pinned. */
static tsl_word ranks_held[TSL_CPUS];

const char *tsl_lock_rank_name(enum tsl_lock_rank rank)
{
    return (unsigned)rank < TSL_RANK_COUNT ? names[rank] : "unknown";
}

void tsl_lock_init(struct tsl_lock *self, enum tsl_lock_rank rank)
{
    TSL_ASSERT((unsigned)rank < TSL_RANK_COUNT);
    *self = (struct tsl_lock)TSL_LOCK_INIT(rank);
}

/* Panics if this CPU holds a rank out of `forbidden`, of which it tells the innermost. */
static void check_ranks(const struct tsl_lock *self, unsigned cpu, tsl_word forbidden)
{
    tsl_word held = ranks_held[cpu] & forbidden;
    if (held != 0) {
        tsl_fail("lock order: %s taken while %s is held", tsl_lock_rank_name(self->rank),
                 tsl_lock_rank_name(tsl_bits_highest(held)));
    }
}

/* Out of line, so that taking a free lock saves no registers. */
TSL_COLD TSL_NOINLINE static void fail_taken_twice(const struct tsl_lock *self, unsigned cpu)
{
    tsl_fail("lock taken twice by CPU %u: %s", cpu, tsl_lock_rank_name(self->rank));
}

TSL_ALWAYS_INLINE static inline void check_before(const struct tsl_lock *self, unsigned cpu,
                                                  tsl_word forbidden)
{
    if (TSL_UNLIKELY(tsl_atomic_load_u32(&self->holder) == cpu + 1))
        fail_taken_twice(self, cpu);
    if (TSL_LOCK_CHECKS) {
        TSL_ASSERT(cpu < TSL_CPUS);
        check_ranks(self, cpu, forbidden);
    }
}

TSL_ALWAYS_INLINE static inline void note_held(struct tsl_lock *self, unsigned cpu)
{
    tsl_atomic_store_u32(&self->holder, cpu + 1);
    if (TSL_LOCK_CHECKS)
        ranks_held[cpu] |= (tsl_word)1 << self->rank;
}

/* The rest of tsl_lock_acquire when somebody else holds the lock. */
TSL_NOINLINE static tsl_pin wait_for_turn(struct tsl_lock *self, uint32_t ticket, unsigned cpu,
                                          tsl_pin pin)
{
    do {
        /* The holder may be waiting for this very CPU to flush. */
        tsl_flush_receive();
        tsl_arch_relax();
    } while (tsl_atomic_load_acquire_u32(&self->serving) != ticket);
    note_held(self, cpu);
    return pin;
}

tsl_pin tsl_lock_acquire(struct tsl_lock *self)
{
    tsl_pin pin = tsl_cpu_pin();
    unsigned cpu = tsl_cpu_this();
    check_before(self, cpu, ~(tsl_word)0 << self->rank);
    if (TSL_CPUS > 1) {
        uint32_t ticket = tsl_atomic_add_u32(&self->next, 1);
        if (TSL_UNLIKELY(tsl_atomic_load_acquire_u32(&self->serving) != ticket))
            return wait_for_turn(self, ticket, cpu, pin);
    }
    note_held(self, cpu);
    return pin;
}

/* Takes a ticket only if it would be served at once. */
static bool take_free_ticket(struct tsl_lock *self)
{
    uint32_t serving = tsl_atomic_load_acquire_u32(&self->serving);
    uint32_t expected = serving;
    return tsl_atomic_compare_exchange_u32(&self->next, &expected, serving + 1);
}

bool tsl_lock_try(struct tsl_lock *self, tsl_pin *out)
{
    tsl_pin pin = tsl_cpu_pin();
    unsigned cpu = tsl_cpu_this();
    check_before(self, cpu, (tsl_word)1 << self->rank);
    if (TSL_CPUS > 1 && !take_free_ticket(self)) {
        tsl_cpu_unpin(pin);
        return false;
    }
    note_held(self, cpu);
    *out = pin;
    return true;
}

TSL_COLD TSL_NOINLINE static void fail_not_held(const struct tsl_lock *self, unsigned cpu)
{
    tsl_fail("lock released by CPU %u, which does not hold it: %s", cpu,
             tsl_lock_rank_name(self->rank));
}

void tsl_lock_release(struct tsl_lock *self, tsl_pin pin)
{
    unsigned cpu = tsl_cpu_this();
    if (TSL_UNLIKELY(tsl_atomic_load_u32(&self->holder) != cpu + 1))
        fail_not_held(self, cpu);
    tsl_atomic_store_u32(&self->holder, 0);
    if (TSL_LOCK_CHECKS)
        ranks_held[cpu] &= ~((tsl_word)1 << self->rank);
    if (TSL_CPUS > 1) {
        /* Only the holder writes `serving`, so this needs no locked instruction. */
        tsl_atomic_store_release_u32(&self->serving, tsl_atomic_load_u32(&self->serving) + 1);
    }
    tsl_cpu_unpin(pin);
}

bool tsl_lock_is_held(const struct tsl_lock *self)
{
    return tsl_atomic_load_u32(&self->holder) == tsl_cpu_this() + 1;
}
