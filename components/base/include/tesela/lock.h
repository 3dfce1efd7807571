/* SPDX-License-Identifier: MIT
 *
 * lock.h: ranked spin locks.
 *
 * Owns:    the lock, the one order in which locks may be taken, the check of that order.
 * Needs:   port.h (pin, cpu_id), arch.h (relax), flush.h.
 * Callers: everybody who shares data between CPUs.
 *
 * A holder is pinned: no interrupt, no migration, no waiting. A CPU that spins answers flush
 * requests (flush.h has the rule). With TSL_CPUS == 1 what remains of a lock is the pin.
 */
#ifndef TESELA_LOCK_H
#define TESELA_LOCK_H

#include <tesela/port.h>
#include <tesela/types.h>

/* Outermost first: whoever holds a lock may take only locks of greater rank. Two locks of one rank
 * are never held together. */
enum tsl_lock_rank {
    TSL_RANK_CPUS, /* hooks of CPUs that leave */
    TSL_RANK_PROCESSES,
    TSL_RANK_SPACE,
    TSL_RANK_REGION,
    TSL_RANK_PRIVATE_LAYER,
    TSL_RANK_OBJECT,
    TSL_RANK_PAGE_BUSY,
    TSL_RANK_TABLES,
    TSL_RANK_POLICY,
    TSL_RANK_POOL,
    TSL_RANK_SWAP,
    TSL_RANK_HEAP,
    TSL_RANK_FRAMES,
    TSL_RANK_FLUSH,
    TSL_RANK_COUNT
};

/* A ticket lock: CPUs get it in the order in which they asked. */
struct tsl_lock {
    uint32_t next;    /* the ticket of the next CPU to ask */
    uint32_t serving; /* the ticket that holds the lock; equal to next: nobody does */
    uint32_t holder;  /* CPU number + 1, 0: nobody; written by the holder */
    uint32_t rank;
};

#define TSL_LOCK_INIT(lock_rank)                                                                   \
    {                                                                                              \
        .next = 0, .serving = 0, .holder = 0, .rank = (lock_rank)                                  \
    }

/* An open lock of this rank. TSL_LOCK_INIT does the same at compile time. */
void tsl_lock_init(struct tsl_lock *self, enum tsl_lock_rank rank);

/*
 * Pins and takes the lock, spinning while another CPU holds it.
 * Before:  this CPU holds no lock of the same or a greater rank. With TSL_LOCK_CHECKS a violation
 *          panics with the names of both ranks, before it can deadlock.
 * Context: any but NMI.
 * Cost:    uncontended one locked instruction; none with one CPU.
 */
TSL_MUST_CHECK tsl_pin tsl_lock_acquire(struct tsl_lock *self);

/* As acquire, but returns false at once, unpinned and with *out untouched, if somebody holds it.
 * Cannot deadlock, so it may also go against the order; not within one rank. */
TSL_MUST_CHECK bool tsl_lock_try(struct tsl_lock *self, tsl_pin *out);

/* Lets the next CPU have the lock and undoes the pin. Before: this CPU holds it (assertion). */
void tsl_lock_release(struct tsl_lock *self, tsl_pin pin);

/* This CPU holds the lock: for the assertions of functions whose caller must. Context: pinned. */
bool tsl_lock_is_held(const struct tsl_lock *self);

/* The name of a rank in lower case words; "unknown" for any other value. */
const char *tsl_lock_rank_name(enum tsl_lock_rank rank);

#endif
