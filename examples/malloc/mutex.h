/* SPDX-License-Identifier: MIT
 *
 * mutex.h: a lock for threads that sleeps in the kernel when it is taken.
 *
 * Owns:    struct mutex: one word, all zero is open.
 * Needs:   the futex system call.
 * Callers: the other files of this folder.
 *
 * A lock of our own, since the C library's may allocate, and since the child of a fork has to be
 * able to say that a lock is open. Source: U. Drepper, "Futexes Are Tricky", 2011, mutex 2.
 */
#ifndef MALLOC_MUTEX_H
#define MALLOC_MUTEX_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/atomic.h>

struct mutex {
    uint32_t state; /* 0 open, 1 taken, 2 taken and perhaps somebody sleeps */
};

void mutex_wait(struct mutex *self);
void mutex_wake(struct mutex *self);

static inline bool mutex_try(struct mutex *self)
{
    uint32_t expected = 0;
    return tsl_atomic_compare_exchange_u32(&self->state, &expected, 1);
}

static inline void mutex_lock(struct mutex *self)
{
    if (!mutex_try(self))
        mutex_wait(self);
}

static inline void mutex_unlock(struct mutex *self)
{
    if (tsl_atomic_exchange_u32(&self->state, 0) == 2)
        mutex_wake(self);
}

#endif
