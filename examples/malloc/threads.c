/* SPDX-License-Identifier: MIT
 *
 * threads.c: the port's CPUs, which are threads: pin, unpin, cpu_id, flush_others.
 *
 * Owns:    a slot for each CPU number; which thread has which.
 * Needs:   mutex.h, the membarrier system call.
 * Callers: Tesela, through port.h; process.c around fork.
 *
 * A thread becomes a CPU with its first allocation and leaves when it ends. Most slots belong to
 * one thread at a time (its owner); the last quarter is shared by all threads that come later.
 *
 * Theory. To be pinned is to be alone on a CPU, so it takes a lock on the slot; but a locked
 * instruction would cost as much as the allocation. So an owner only writes into its own variable
 * that it is inside, and looks whether somebody wants its slot (`attention`). Whoever wants it, to
 * answer flush requests and calls for a thread that sleeps, announces that first and then has the
 * kernel put a full barrier into all running threads (membarrier): after that, either it sees the
 * owner inside, or the owner sees the announcement and waits for the slot's mutex. Without
 * membarrier, and in shared slots, every pin takes the mutex.
 * Source: D. Dice, H. Huang, M. Yang, "Asymmetric Dekker Synchronization", 2001.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>
#include <tesela/port.h>
#include <tesela/port_inline.h>

#include "malloc_internal.h"
#include "mutex.h"

#define SHARED_SLOTS (TSL_CPUS < 8 ? 1u : TSL_CPUS / 4u)
#define OWNED_SLOTS  (TSL_CPUS - SHARED_SLOTS)
/* Has a user as long as the process lives: it serves threads whose own time is over. */
#define LAST_SLOT (TSL_CPUS - 1)

/* Bits of a slot's attention: reasons for a thread to leave the fast path. */
#define SHARED 1u /* every pin takes the mutex */
#define TAKEN  2u /* somebody else holds the mutex and may act as this CPU */
#define KICKED 4u /* flush_others() wants tsl_flush_receive() to run on this CPU */

#define BARRIER_ALL      (1 << 3) /* MEMBARRIER_CMD_PRIVATE_EXPEDITED */
#define BARRIER_REGISTER (1 << 4) /* MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED */

struct malloc_slot {
    uint32_t attention;
    struct mutex mutex;
    struct malloc_thread *owner; /* mutex to write */
    uint32_t users;              /* threads; table_mutex */
} TSL_ALIGNED(64);

static struct malloc_slot slots[TSL_CPUS];
static const uint32_t no_slot = SHARED; /* the attention of none, and of a thread with the mutex */
static struct mutex table_mutex;
static bool has_barrier;
static pthread_key_t at_thread_end;

/* Before its first allocation a thread has no slot, so its first pin is slow. */
_Thread_local struct malloc_thread malloc_thread = {.attention = &no_slot};

static void sit_on(struct malloc_slot *slot)
{
    malloc_thread.slot = slot;
    malloc_thread.cpu = (unsigned)(slot - slots);
    malloc_thread.attention = &slot->attention;
}

/* ---- acting for another CPU ---- */

/* Takes a slot whose thread is not inside. With false, somebody else has it, who looks at
 * `attention` when done. */
static bool slot_take(struct malloc_slot *slot)
{
    if (!mutex_try(&slot->mutex))
        return false;
    (void)tsl_atomic_or_u32(&slot->attention, TAKEN);
    const struct malloc_thread *owner = slot->owner;
    if (owner == NULL || owner == &malloc_thread)
        return true;
    (void)syscall(SYS_membarrier, BARRIER_ALL, 0, 0);
    if (tsl_atomic_load_acquire_u32(&owner->inside) == 0)
        return true;
    (void)tsl_atomic_and_u32(&slot->attention, ~TAKEN);
    mutex_unlock(&slot->mutex);
    return false;
}

static void slot_give(struct malloc_slot *slot)
{
    (void)tsl_atomic_and_u32(&slot->attention, ~TAKEN);
    mutex_unlock(&slot->mutex);
}

/* Before: the slot is taken by this thread. */
static void receive_as(struct malloc_slot *slot)
{
    struct malloc_thread kept = malloc_thread;

    sit_on(slot);
    malloc_thread.inside = kept.inside + 1;
    (void)tsl_atomic_and_u32(&slot->attention, ~KICKED);
    tsl_flush_receive();
    malloc_thread = kept;
}

/* Answers a kick for a CPU whose thread is elsewhere. Looks again after giving the slot back, for a
 * kick that came meanwhile found it taken; if its thread is inside, that answers when it comes out
 * (serve_own). */
static void serve(struct malloc_slot *slot)
{
    while ((tsl_atomic_load_u32(&slot->attention) & KICKED) != 0 && slot_take(slot)) {
        receive_as(slot);
        slot_give(slot);
    }
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    for (unsigned cpu = tsl_cpu_set_next(cpus, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(cpus, cpu + 1)) {
        (void)tsl_atomic_or_u32(&slots[cpu].attention, KICKED);
        serve(&slots[cpu]);
    }
}

/* ---- threads come and go ---- */

static struct malloc_slot *emptiest(unsigned first, unsigned end)
{
    struct malloc_slot *best = &slots[first];

    for (unsigned i = first + 1; i < end; i++)
        if (slots[i].users < best->users)
            best = &slots[i];
    return best;
}

static struct malloc_slot *slot_choose(void)
{
    if (has_barrier && OWNED_SLOTS > 0) {
        struct malloc_slot *slot = emptiest(0, OWNED_SLOTS);
        if (slot->users == 0)
            return slot;
    }
    return emptiest(OWNED_SLOTS, TSL_CPUS);
}

static void thread_attach(void)
{
    process_start();
    if (malloc_thread.is_over) {
        sit_on(&slots[LAST_SLOT]);
        return;
    }
    mutex_lock(&table_mutex);
    struct malloc_slot *slot = slot_choose();
    sit_on(slot);
    if ((slot->attention & SHARED) == 0) {
        mutex_lock(&slot->mutex);
        slot->owner = &malloc_thread;
        mutex_unlock(&slot->mutex);
    }
    if (slot->users++ == 0)
        tsl_cpu_join();
    mutex_unlock(&table_mutex);
    (void)pthread_setspecific(at_thread_end, &malloc_thread);
}

/* The thread may still allocate behind this: other destructors run, and the C library cleans up. */
static void thread_detach(void *unused)
{
    (void)unused;
    mutex_lock(&table_mutex);
    struct malloc_slot *slot = malloc_thread.slot;
    if (--slot->users == 0)
        tsl_cpu_leave();
    mutex_lock(&slot->mutex);
    if (slot->owner == &malloc_thread)
        slot->owner = NULL;
    mutex_unlock(&slot->mutex);
    sit_on(&slots[LAST_SLOT]);
    malloc_thread.is_over = true;
    mutex_unlock(&table_mutex);
}

/* ---- pin ---- */

MALLOC_KEEPS_REGISTERS void malloc_pin_slowly(void)
{
    if (malloc_thread.inside > 1)
        return;
    tsl_atomic_store_release_u32(&malloc_thread.inside, 0);
    if (malloc_thread.slot == NULL)
        thread_attach();
    mutex_lock(&malloc_thread.slot->mutex);
    malloc_thread.has_mutex = true;
    malloc_thread.attention = &no_slot;
    tsl_atomic_store_u32(&malloc_thread.inside, 1);
}

/* Answers kicks for the own slot. Whoever sent one and found this thread inside relies on that, so
 * the mutex is waited for: the other may be about to give up. Before: not inside. */
static void serve_own(void)
{
    struct malloc_slot *slot = malloc_thread.slot;

    while (slot != NULL && (tsl_atomic_load_u32(&slot->attention) & KICKED) != 0) {
        mutex_lock(&slot->mutex);
        receive_as(slot);
        mutex_unlock(&slot->mutex);
    }
}

MALLOC_KEEPS_REGISTERS void malloc_unpin_slowly(void)
{
    if (malloc_thread.inside > 0)
        return;
    if (malloc_thread.has_mutex) {
        malloc_thread.has_mutex = false;
        malloc_thread.attention = &malloc_thread.slot->attention;
        mutex_unlock(&malloc_thread.slot->mutex);
    }
    serve_own();
}

tsl_pin tsl_port_pin(void)
{
    return tsl_cpu_pin();
}

void tsl_port_unpin(tsl_pin pin)
{
    tsl_cpu_unpin(pin);
}

unsigned tsl_port_cpu_id(void)
{
    return tsl_cpu_this();
}

/* ---- start and fork ---- */

static uint32_t when_idle(unsigned cpu)
{
    return cpu + SHARED_SLOTS < TSL_CPUS ? 0 : SHARED;
}

static void barrier_register(void)
{
    has_barrier = syscall(SYS_membarrier, BARRIER_REGISTER, 0, 0) == 0;
}

void threads_start(void)
{
    barrier_register();
    for (unsigned i = 0; i < TSL_CPUS; i++)
        slots[i].attention = when_idle(i);
    (void)pthread_key_create(&at_thread_end, thread_detach);
    sit_on(&slots[LAST_SLOT]);
    slots[LAST_SLOT].users = 1;
    tsl_cpu_join();
    malloc_thread = (struct malloc_thread){.attention = &no_slot};
}

/* Whoever is inside may wait for a CPU that is stopped already: those kicks are answered here; so
 * are those for this thread, which is inside while it answers. */
void threads_stop(void)
{
    mutex_lock(&table_mutex);
    for (unsigned i = 0; i < TSL_CPUS; i++) {
        while (!slot_take(&slots[i])) {
            for (unsigned j = 0; j < i; j++)
                if ((tsl_atomic_load_u32(&slots[j].attention) & KICKED) != 0)
                    receive_as(&slots[j]);
            if (malloc_thread.slot != NULL)
                serve(malloc_thread.slot);
            (void)sched_yield();
        }
    }
}

void threads_go(void)
{
    for (unsigned i = 0; i < TSL_CPUS; i++) {
        slot_give(&slots[i]);
        serve(&slots[i]);
    }
    serve_own();
    mutex_unlock(&table_mutex);
}

static void leave_as(struct malloc_slot *slot)
{
    struct malloc_thread kept = malloc_thread;

    sit_on(slot);
    tsl_cpu_leave();
    malloc_thread = kept;
}

/* The other threads exist no more, nor does anybody who waits for a lock. Further rounds, since a
 * CPU that leaves may want to talk to others. Kicks went with the attention, so what was posted to
 * the CPUs that stay is answered at the end: nobody kicks for a box that is not empty. */
void threads_alone(void)
{
    bool has_ended[TSL_CPUS];

    barrier_register();
    table_mutex.state = 0;
    for (unsigned i = 0; i < TSL_CPUS; i++) {
        struct malloc_slot *slot = &slots[i];
        uint32_t users = (slot == malloc_thread.slot && !malloc_thread.is_over ? 1u : 0u) +
                         (i == LAST_SLOT ? 1u : 0u);
        has_ended[i] = slot->users > 0 && users == 0;
        slot->mutex.state = 0;
        slot->attention = when_idle(i);
        slot->users = users;
        if (slot != malloc_thread.slot)
            slot->owner = NULL;
    }
    for (unsigned i = 0; i < TSL_CPUS; i++)
        if (has_ended[i])
            leave_as(&slots[i]);
    for (unsigned i = 0; i < TSL_CPUS; i++)
        if (slots[i].users > 0)
            receive_as(&slots[i]);
}
