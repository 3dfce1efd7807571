/* SPDX-License-Identifier: MIT
 *
 * heap_relief.c: whom the heap asks before a request fails: registered shrinkers, then the
 * out-of-memory callback; and the failure.
 *
 * Owns:    the list of shrinkers, is_asking.
 * Needs:   base (lists, locks, arch.h to wait).
 * Callers: users of the heap (add, remove); heap_alloc.c.
 *
 * A shrinker is called with the lock open, by one CPU at a time: a request that fails while it runs
 * passes it over, so it may itself allocate. Who removes one waits until it has returned. The
 * callback also runs on one CPU at a time: a request that fails meanwhile tries again instead,
 * which ends if it comes from within the callback.
 */
#include <tesela/arch.h>
#include <tesela/flush.h>

#include "heap_allocator_internal.h"

/* A request asks so often while shrinkers still find something. */
#define ROUNDS 8u

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

static bool ask(struct tsl_heap *self, size_t bytes)
{
    if (self->out_of_memory == NULL)
        return false;
    if (tsl_atomic_exchange(&self->is_asking, 1) != 0) {
        tsl_flush_receive();
        tsl_arch_relax();
        return true;
    }
    bool is_better = self->out_of_memory(self->out_of_memory_context, bytes);
    tsl_atomic_store_release(&self->is_asking, 0);
    return is_better;
}

bool tsl_heap_relieve(struct tsl_heap *self, size_t bytes, unsigned round)
{
    struct tsl_heap_shrinker *shrinker = NULL;
    size_t given = 0;

    if (round > ROUNDS)
        return false;
    while (round < ROUNDS && (shrinker = next_shrinker(self, shrinker)) != NULL)
        given += shrinker->shrink(shrinker->context, bytes);
    if (given > 0)
        return true;
    return ask(self, bytes);
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
