/* SPDX-License-Identifier: MIT
 *
 * flush.c: requests to drop translations, posted from CPU to CPU.
 *
 * Owns:    one mailbox a CPU, the counters.
 * Needs:   arch.h (flush, relax), atomic.h, cpu.h, port.h (flush_others), port_inline.h (pin, CPU's
 *          number), call.c.
 * Callers: page_table posts; lock.c and the port's interrupt handler receive.
 *
 * Theory. Posts to one CPU are numbered. A post merges its request into what the mailbox holds and
 * draws the next number, in one step under the mailbox's latch. The receiver empties the box and
 * notes the last number in the same kind of step, then flushes, then publishes that number as done.
 * So `done` >= n means: a flush that covers post n began after post n. A post that comes while the
 * receiver flushes lands in an empty box with a number above the one noted: it is neither lost nor
 * acknowledged early. The latch is held for a few copies by code that waits for nothing, hence may
 * be spun on without answering; everything else that waits here answers its own box.
 */
#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/port_inline.h>
#include "base_internal.h"

#define CACHE_LINE 64

struct mailbox {
    uint32_t latch;  /* 1: somebody looks into the box */
    uint32_t posted; /* number of the last post; latch to write */
    uint32_t taken;  /* number of the last post that the owner took out; latch */
    uint32_t done;   /* number of the last post that is flushed; written by the owner alone */
    struct tsl_flush pending; /* latch */
} TSL_ALIGNED(CACHE_LINE);

static struct mailbox mailboxes[TSL_CPUS];
static struct tsl_flush_counters counters;

void tsl_flush_add(struct tsl_flush *self, tsl_vaddr page)
{
    if (self->all)
        return;
    if (self->count == TSL_FLUSH_PAGES) {
        self->all = true;
        self->count = 0;
        return;
    }
    self->page[self->count++] = page;
}

void tsl_flush_merge(struct tsl_flush *self, const struct tsl_flush *other)
{
    self->global |= other->global;
    if (other->all) {
        self->all = true;
        self->count = 0;
    }
    for (unsigned i = 0; !other->all && i < other->count; i++)
        tsl_flush_add(self, other->page[i]);
}

static void latch(struct mailbox *box)
{
    while (tsl_atomic_exchange_u32(&box->latch, 1) != 0)
        tsl_arch_relax();
}

static void unlatch(struct mailbox *box)
{
    tsl_atomic_store_release_u32(&box->latch, 0);
}

/* Returns whether the owner must be kicked. It need not if an earlier post still lies in the box:
 * who posted that kicks, and the owner takes both out together. */
static bool post(struct mailbox *box, const struct tsl_flush *request)
{
    latch(box);
    bool was_empty = box->taken == box->posted;
    tsl_flush_merge(&box->pending, request);
    tsl_atomic_store_release_u32(&box->posted, box->posted + 1);
    unlatch(box);
    return was_empty;
}

/* Empties the box of this CPU; returns the number that is done once `out` is flushed. */
static uint32_t take(struct mailbox *box, struct tsl_flush *out)
{
    latch(box);
    *out = box->pending;
    box->pending = (struct tsl_flush){0};
    box->taken = box->posted;
    uint32_t number = box->taken;
    unlatch(box);
    return number;
}

/* Before: pinned. An interrupt between take and done could otherwise acknowledge for us. */
static void answer(struct mailbox *own)
{
    if (tsl_atomic_load_acquire_u32(&own->posted) == tsl_atomic_load_u32(&own->done))
        return;
    struct tsl_flush request;
    uint32_t number = take(own, &request);
    if (!tsl_flush_is_empty(&request)) {
        tsl_arch_flush(&request);
        (void)tsl_atomic_add(&counters.received, 1);
    }
    /* Behind take: who asks for a call sets its bit first and posts then. */
    tsl_calls_answer(tsl_cpu_this());
    tsl_atomic_store_release_u32(&own->done, number);
}

void tsl_flush_receive(void)
{
    if (TSL_CPUS > 1) {
        tsl_pin pin = tsl_cpu_pin();
        answer(&mailboxes[tsl_cpu_this()]);
        tsl_cpu_unpin(pin);
    }
}

/* Numbers wrap; the two are never half the circle apart. */
static bool is_done(uint32_t done, uint32_t wanted)
{
    return done - wanted < UINT32_MAX / 2;
}

/* Waits until `cpu` has done what is posted to it by now, or has left: then it owes nothing until
 * it joins again, and joining flushes everything. */
static void wait_for(unsigned cpu, struct mailbox *own)
{
    const struct mailbox *box = &mailboxes[cpu];
    uint32_t wanted = tsl_atomic_load_u32(&box->posted);
    while (!is_done(tsl_atomic_load_acquire_u32(&box->done), wanted) &&
           tsl_cpu_set_has(tsl_cpus_online(), cpu)) {
        answer(own);
        tsl_arch_relax();
    }
}

/* Posts to all first and kicks once, so that they flush at the same time. */
static void post_to(const struct tsl_cpu_set *others, const struct tsl_flush *request)
{
    struct tsl_cpu_set kicked = {{0}};
    for (unsigned cpu = tsl_cpu_set_next(others, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(others, cpu + 1))
        if (post(&mailboxes[cpu], request))
            tsl_cpu_set_add(&kicked, cpu);
    if (!tsl_cpu_set_is_empty(&kicked)) {
        tsl_port_flush_others(&kicked);
        (void)tsl_atomic_add(&counters.kicks, tsl_cpu_set_count(&kicked));
    }
}

void tsl_flush_wake(const struct tsl_cpu_set *others)
{
    post_to(others, &(struct tsl_flush){0});
}

static void count(const struct tsl_flush *request)
{
    (void)tsl_atomic_add(&counters.flushes, 1);
    if (request->all)
        (void)tsl_atomic_add(&counters.alls, 1);
    else
        (void)tsl_atomic_add(&counters.pages, request->count);
}

void tsl_flush_cpus(const struct tsl_cpu_set *cpus, const struct tsl_flush *request)
{
    TSL_ASSERT(request->all || request->count <= TSL_FLUSH_PAGES);
    if (tsl_flush_is_empty(request))
        return;
    count(request);
    /* The caller's changes to the tables come before the look at who uses them: a CPU that is not
     * in the sets yet will read the new entries. Pairs with joining, and with adding to `cpus`. */
    tsl_atomic_fence();
    tsl_pin pin = tsl_cpu_pin();
    unsigned self = tsl_cpu_this();
    TSL_ASSERT(self < TSL_CPUS);
    struct tsl_cpu_set others = {{0}};
    if (TSL_CPUS > 1) {
        tsl_cpu_set_intersect(cpus, tsl_cpus_online(), &others);
        tsl_cpu_set_remove(&others, self);
        post_to(&others, request);
    }
    if (tsl_cpu_set_has(cpus, self))
        tsl_arch_flush(request);
    for (unsigned cpu = tsl_cpu_set_next(&others, 0); TSL_CPUS > 1 && cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(&others, cpu + 1))
        wait_for(cpu, &mailboxes[self]);
    tsl_cpu_unpin(pin);
}

void tsl_flush_counters(struct tsl_flush_counters *out)
{
    out->flushes = tsl_atomic_load(&counters.flushes);
    out->pages = tsl_atomic_load(&counters.pages);
    out->alls = tsl_atomic_load(&counters.alls);
    out->kicks = tsl_atomic_load(&counters.kicks);
    out->received = tsl_atomic_load(&counters.received);
}

uint32_t tsl_flush_posted(unsigned cpu)
{
    TSL_ASSERT(cpu < TSL_CPUS);
    return TSL_CPUS > 1 ? tsl_atomic_load_u32(&mailboxes[cpu].posted) : 0;
}

uint32_t tsl_flush_done(unsigned cpu)
{
    TSL_ASSERT(cpu < TSL_CPUS);
    return TSL_CPUS > 1 ? tsl_atomic_load_u32(&mailboxes[cpu].done) : 0;
}
