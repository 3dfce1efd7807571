/* SPDX-License-Identifier: MIT
 *
 * call.c: functions run on other CPUs, and hooks run by a CPU that leaves.
 *
 * Owns:    one call slot a CPU, who asks whom, the list of hooks and its lock.
 * Needs:   arch.h (relax), base_internal.h, flush.h, lock.h.
 * Callers: everybody, through call.h; flush.c when a mailbox is answered; cpu.c.
 *
 * Theory. A CPU has at most one call of its own in flight, since it waits for it pinned. So a call
 * lives in the caller's slot, and all that is sent is one bit in the other CPU's set of askers.
 * Whoever clears that bit decides: the asked CPU clears it and runs, or the caller finds that it
 * left, clears it, and nothing will run. `waiting` says who has not finished; a bit leaves it after
 * the run, by the CPU that ran, or with the withdrawal.
 */
#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/bits.h>
#include <tesela/call.h>
#include <tesela/flush.h>
#include <tesela/lock.h>
#include "base_internal.h"

struct call {
    void (*run)(void *context);
    void *context;
    struct tsl_cpu_set waiting; /* CPUs that have not finished */
    struct tsl_cpu_set askers;  /* CPUs whose call this one is to run */
} TSL_ALIGNED(64);

static struct call calls[TSL_CPUS];
static struct tsl_lock hooks_lock = TSL_LOCK_INIT(TSL_RANK_CPUS);
static struct tsl_list hooks = {&hooks, &hooks}; /* hooks_lock */

/* Returns whether it was this call that took the member out. */
static bool take_out(struct tsl_cpu_set *set, unsigned cpu)
{
    tsl_word bit = (tsl_word)1 << (cpu % TSL_WORD_BITS);
    return (tsl_atomic_and(&set->bits[cpu / TSL_WORD_BITS], ~bit) & bit) != 0;
}

void tsl_calls_answer(unsigned cpu)
{
    struct tsl_cpu_set *askers = &calls[cpu].askers;
    for (unsigned asker = tsl_cpu_set_next(askers, 0); asker < TSL_CPUS;
         asker = tsl_cpu_set_next(askers, asker + 1)) {
        if (!take_out(askers, asker))
            continue;
        calls[asker].run(calls[asker].context);
        (void)take_out(&calls[asker].waiting, cpu);
    }
}

/* Acquire: what the CPU did before it went out of the set is seen. */
static bool is_waiting_for(const struct call *call, unsigned cpu)
{
    tsl_word word = tsl_atomic_load_acquire(&call->waiting.bits[cpu / TSL_WORD_BITS]);
    return (word >> (cpu % TSL_WORD_BITS) & 1) != 0;
}

static void wait_for(struct call *call, unsigned self, unsigned cpu)
{
    while (is_waiting_for(call, cpu)) {
        if (!tsl_cpu_set_has(tsl_cpus_online(), cpu) && take_out(&calls[cpu].askers, self)) {
            (void)take_out(&call->waiting, cpu);
            return;
        }
        tsl_flush_receive();
        tsl_arch_relax();
    }
}

static void call_others(const struct tsl_cpu_set *others, unsigned self, void (*run)(void *context),
                        void *context)
{
    struct call *call = &calls[self];
    call->run = run;
    call->context = context;
    for (unsigned cpu = tsl_cpu_set_next(others, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(others, cpu + 1)) {
        tsl_cpu_set_add(&call->waiting, cpu);
        tsl_cpu_set_add(&calls[cpu].askers, self);
    }
    tsl_flush_wake(others);
}

static void call_members(const struct tsl_cpu_set *cpus, unsigned self, void (*run)(void *context),
                         void *context)
{
    struct tsl_cpu_set others;
    /* What the caller wrote comes before the look at who is online: a CPU that is not reads it. */
    tsl_atomic_fence();
    tsl_cpu_set_intersect(cpus, tsl_cpus_online(), &others);
    bool is_member = tsl_cpu_set_has(&others, self);
    tsl_cpu_set_remove(&others, self);
    if (!tsl_cpu_set_is_empty(&others))
        call_others(&others, self, run, context);
    if (is_member)
        run(context);
    for (unsigned cpu = tsl_cpu_set_next(&others, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(&others, cpu + 1))
        wait_for(&calls[self], self, cpu);
}

void tsl_cpu_call(const struct tsl_cpu_set *cpus, void (*run)(void *context), void *context)
{
    tsl_pin pin = tsl_port_pin();
    unsigned self = tsl_port_cpu_id();
    TSL_ASSERT(self < TSL_CPUS);
    if (TSL_CPUS > 1)
        call_members(cpus, self, run, context);
    else if (tsl_cpu_set_has(cpus, self))
        run(context);
    tsl_port_unpin(pin);
}

void tsl_cpu_hook_add(struct tsl_cpu_hook *hook)
{
    if (TSL_CPUS == 1)
        return;
    tsl_pin pin = tsl_lock_acquire(&hooks_lock);
    tsl_list_push_back(&hooks, &hook->link);
    tsl_lock_release(&hooks_lock, pin);
}

void tsl_cpu_hook_remove(struct tsl_cpu_hook *hook)
{
    if (TSL_CPUS == 1)
        return;
    tsl_pin pin = tsl_lock_acquire(&hooks_lock);
    tsl_list_remove(&hook->link);
    tsl_lock_release(&hooks_lock, pin);
}

void tsl_cpu_run_hooks(void)
{
    if (TSL_CPUS == 1)
        return;
    struct tsl_list *link;
    tsl_pin pin = tsl_lock_acquire(&hooks_lock);
    /* Last added first: what was built on top of others gives back before they do. */
    for (link = hooks.prev; link != &hooks; link = link->prev) {
        struct tsl_cpu_hook *hook = TSL_CONTAINER_OF(link, struct tsl_cpu_hook, link);
        hook->leave(hook->context);
    }
    tsl_lock_release(&hooks_lock, pin);
}
