/* SPDX-License-Identifier: MIT
 *
 * flush.h: dropping stale translations on many CPUs, without deadlock.
 *
 * Owns:    the request, one mailbox a CPU, the counters.
 * Needs:   cpu.h, port.h (pin, cpu_id, flush_others), arch.h (flush).
 * Callers: page_table posts; the port's interrupt handler and spinning locks receive.
 *
 * The deadlock rule: whoever waits with interrupts off, be it for a lock or for acknowledgements,
 * answers its own mailbox while it waits. So a flush may be requested under any lock of Tesela.
 */
#ifndef TESELA_FLUSH_H
#define TESELA_FLUSH_H

#include <tesela/cpu.h>

#define TSL_FLUSH_PAGES 16u

/* What to drop. All zero: nothing. */
struct tsl_flush {
    unsigned count; /* entries of page[] that are valid */
    bool all;       /* every translation; count and page[] are then ignored */
    bool global; /* with `all`: global ones too. Set it whenever a page may be a global one, since
                  * requests that meet in a mailbox may become `all` */
    tsl_vaddr page[TSL_FLUSH_PAGES];
};

/* Adds one page to a request; a request that is full becomes `all`. */
void tsl_flush_add(struct tsl_flush *self, tsl_vaddr page);

/* Adds to `self` whatever `other` asks for. */
void tsl_flush_merge(struct tsl_flush *self, const struct tsl_flush *other);

static inline bool tsl_flush_is_empty(const struct tsl_flush *self)
{
    return !self->all && self->count == 0;
}

/*
 * Returns when no CPU of the set that is online, this one included if it is a member, can still use
 * a translation that `request` names and that was taken out of the tables before the call.
 * cpus:    may be the live set of CPUs that a table runs on: it is read behind a full barrier, so a
 *          CPU that adds itself to the set before it loads the root is never missed.
 * Context: interrupts on or off, with or without locks of Tesela; not from NMI and not from within
 *          tsl_flush_receive. Waits for other CPUs, pinned, and answers them meanwhile.
 * Cost:    with no other CPU in the set, the flush itself; otherwise a post and a wait for each,
 *          and one call of tsl_port_flush_others.
 */
void tsl_flush_cpus(const struct tsl_cpu_set *cpus, const struct tsl_flush *request);

/*
 * Runs what is pending for this CPU and acknowledges it. Nothing pending: two loads.
 * Context: the port's interrupt handler for the kick; every loop that spins with interrupts off.
 *          Not from NMI. Does nothing with one CPU.
 */
void tsl_flush_receive(void);

struct tsl_flush_counters {
    tsl_word flushes;  /* calls of tsl_flush_cpus that had something to drop */
    tsl_word pages;    /* pages named by them */
    tsl_word alls;     /* of them, how many asked for everything */
    tsl_word kicks;    /* other CPUs that had to be asked, over all flushes and tsl_cpu_call()s */
    tsl_word received; /* requests that CPUs ran for others; fewer than kicks when posts merged */
};

/* Copies the counters, each at its own moment. Context: any. */
void tsl_flush_counters(struct tsl_flush_counters *out);

/* How many requests have been posted to a CPU, and how many of them it has run; both wrap. Equal:
 * it owes nothing. For dumps and tests. Before: cpu < TSL_CPUS. */
uint32_t tsl_flush_posted(unsigned cpu);
uint32_t tsl_flush_done(unsigned cpu);

#endif
