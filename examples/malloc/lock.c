/* SPDX-License-Identifier: MIT
 *
 * lock.c: the locks of lock.h for CPUs that may stop at any moment.
 *
 * Owns:    nothing; stands in for base/lock.c in this library.
 * Needs:   threads.c (pin).
 * Callers: the components, through lock.h.
 *
 * A kernel's CPU that holds a lock runs, so the next in the queue soon has it. A thread may be put
 * aside while it holds one, or while it is the next; then a queue stops everybody behind it. So
 * here whoever comes when the lock is open has it. Who waits answers requests to its CPU, as the
 * kernel's lock does; the order of ranks is checked by the tests of the components.
 */
#define _POSIX_C_SOURCE 200809L

#include <tesela/arch.h>
#include <tesela/flush.h>
#include <tesela/lock.h>
#include <tesela/port_inline.h>

/* As long as the holder runs it needs about that many turns at most. */
#define SPINS 200u

void tsl_lock_init(struct tsl_lock *self, enum tsl_lock_rank rank)
{
    *self = (struct tsl_lock)TSL_LOCK_INIT(rank);
}

static bool is_taken_by_us(struct tsl_lock *self)
{
    return tsl_atomic_load_u32(&self->serving) == 0 &&
           tsl_atomic_exchange_u32(&self->serving, 1) == 0;
}

static void wait_for(struct tsl_lock *self)
{
    unsigned spins = 0;

    while (!is_taken_by_us(self)) {
        tsl_flush_receive();
        if (++spins % SPINS == 0)
            tsl_arch_relax();
        else
            __builtin_ia32_pause();
    }
}

tsl_pin tsl_lock_acquire(struct tsl_lock *self)
{
    tsl_pin pin = tsl_cpu_pin();

    if (!is_taken_by_us(self))
        wait_for(self);
    tsl_atomic_store_u32(&self->holder, tsl_cpu_this() + 1);
    return pin;
}

bool tsl_lock_try(struct tsl_lock *self, tsl_pin *out)
{
    tsl_pin pin = tsl_cpu_pin();

    if (!is_taken_by_us(self)) {
        tsl_cpu_unpin(pin);
        return false;
    }
    tsl_atomic_store_u32(&self->holder, tsl_cpu_this() + 1);
    *out = pin;
    return true;
}

void tsl_lock_release(struct tsl_lock *self, tsl_pin pin)
{
    tsl_atomic_store_u32(&self->holder, 0);
    tsl_atomic_store_release_u32(&self->serving, 0);
    tsl_cpu_unpin(pin);
}

bool tsl_lock_is_held(const struct tsl_lock *self)
{
    return tsl_atomic_load_u32(&self->holder) == tsl_cpu_this() + 1;
}

const char *tsl_lock_rank_name(enum tsl_lock_rank rank)
{
    (void)rank;
    return "lock";
}
