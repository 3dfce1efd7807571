/* SPDX-License-Identifier: MIT
 *
 * heap_relief.c: whom the heap asks before a request fails: registered shrinkers, then the
 * out-of-memory callback; and the failure.
 *
 * Owns:    the list of shrinkers, is_asking.
 * Needs:   base (lists, locks, arch.h to wait).
 * Callers: users of the heap (add, remove); heap_alloc.c, heap_cache.c, heap_guard.c,
 *          heap_granule_blocks.c.
 *
 * A shrinker is called with the lock open, by one CPU at a time: a request that fails while it runs
 * passes it over, so it may itself allocate. Who removes one waits until it has returned. The
 * callback also runs on one CPU at a time: a request that fails meanwhile on another CPU waits for
 * it to return, and tries again; one on the same CPU, which may come from within the callback, only
 * tries again some times.
 */
#include <tesela/arch.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>

#include "heap_allocator_internal.h"

/* A request asks so often while shrinkers still find something. */
#define ROUNDS 8u
/* So many pauses of the processor a request waits for the callback of another CPU, each time: some
 * ten milliseconds, since that may fetch memory from far away. */
#define WAITS (1u << 20)

void tsl_heap_shrinker_add(struct tsl_heap *self, struct tsl_heap_shrinker *shrinker)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    shrinker->is_running = false;
    tsl_list_push_back(&self->shrinkers, &shrinker->link);
    tsl_lock_release(&self->lock, pin);
}

void tsl_heap_shrinker_remove(struct tsl_heap *self, struct tsl_heap_shrinker *shrinker)
{
    for (;;) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        bool is_running = shrinker->is_running;
        if (!is_running)
            tsl_list_remove(&shrinker->link);
        tsl_lock_release(&self->lock, pin);
        if (!is_running)
            return;
        tsl_flush_receive();
        tsl_arch_relax();
    }
}

/* The shrinker behind `after` (NULL: the first) that nobody runs, marked as running; `after` is
 * released. */
static struct tsl_heap_shrinker *next_shrinker(struct tsl_heap *self,
                                               struct tsl_heap_shrinker *after)
{
    struct tsl_heap_shrinker *found = NULL;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_list *link = after != NULL ? after->link.next : self->shrinkers.next;

    for (; link != &self->shrinkers && found == NULL; link = link->next) {
        struct tsl_heap_shrinker *shrinker = TSL_CONTAINER_OF(link, struct tsl_heap_shrinker, link);
        if (!shrinker->is_running)
            found = shrinker;
    }
    if (found != NULL)
        found->is_running = true;
    if (after != NULL)
        after->is_running = false;
    tsl_lock_release(&self->lock, pin);
    return found;
}

/* Waits for another CPU's callback; false: for too long. Perhaps it waits for this very request, or
 * this is part of it and the kernel has moved it here. */
static bool has_ended(struct tsl_heap *self, tsl_word asker)
{
    for (unsigned i = 0; i < WAITS; i++) {
        if (tsl_atomic_load_acquire(&self->is_asking) != asker)
            return true;
        tsl_flush_receive();
        tsl_arch_relax();
    }
    return false;
}

static bool ask(struct tsl_heap *self, size_t bytes, unsigned *round)
{
    tsl_pin pin = tsl_cpu_pin();
    tsl_word me = tsl_cpu_this() + (tsl_word)1, asker = 0;
    tsl_cpu_unpin(pin);

    if (self->out_of_memory == NULL)
        return false;
    if (!tsl_atomic_compare_exchange(&self->is_asking, &asker, me)) {
        /* Of this CPU's own the request may be part: it cannot wait for that. */
        if (asker == me || !has_ended(self, asker))
            ++*round;
        return true;
    }
    ++*round;
    bool is_better = self->out_of_memory(self->out_of_memory_context, bytes);
    tsl_atomic_store_release(&self->is_asking, 0);
    return is_better;
}

bool tsl_heap_relieve(struct tsl_heap *self, size_t bytes, unsigned *round)
{
    struct tsl_heap_shrinker *shrinker = NULL;
    size_t given = 0;

    if (*round > ROUNDS)
        return false;
    while (*round < ROUNDS && (shrinker = next_shrinker(self, shrinker)) != NULL)
        given += shrinker->shrink(shrinker->context, bytes);
    if (given == 0)
        return ask(self, bytes, round);
    ++*round;
    return true;
}

void *tsl_heap_fail(struct tsl_heap *self, size_t bytes)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t ceiling = heap_ceiling_pages(self) << TSL_PAGE_SHIFT;
    size_t taken = self->taken_pages << TSL_PAGE_SHIFT;
    enum tsl_status status = TSL_NO_MEMORY;

    self->failures++;
    tsl_lock_release(&self->lock, pin);
    if (bytes > ceiling)
        status = TSL_OUT_OF_RANGE;
    status = tsl_refuse(&self->refusals, status,
                        "heap %p: allocation of %zu bytes; %zu of %zu bytes taken", (void *)self,
                        bytes, taken, ceiling);
    (void)status;
    return NULL;
}
