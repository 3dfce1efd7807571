/* SPDX-License-Identifier: MIT
 *
 * misuse_source.h: pages for the corpus: reserved addresses that have access only while the heap
 * owns them, as in a kernel whose page source unmaps what it gets back.
 *
 * Owns:    its part of the address space.
 * Needs:   mmap, mprotect.
 * Callers: run_misuse.c, misuse_heap.h.
 */
#ifndef MISUSE_SOURCE_H
#define MISUSE_SOURCE_H

#include <sys/mman.h>

#include <tesela/lock.h>
#include <tesela/page_source.h>
#include <tesela/types.h>

#define MISUSE_PAGES 16384u

struct misuse_source {
    struct tsl_lock lock; /* of is_out */
    char *start;
    bool is_out[MISUSE_PAGES];
};

static inline void misuse_source_access(struct misuse_source *self, size_t first, size_t pages,
                                        bool is_accessible)
{
    void *at = self->start + first * TSL_PAGE_BYTES;

    if (mprotect(at, pages * TSL_PAGE_BYTES, is_accessible ? PROT_READ | PROT_WRITE : PROT_NONE) !=
        0)
        __builtin_trap();
}

static inline size_t misuse_source_room(const struct misuse_source *self, size_t first)
{
    size_t room = 0;

    while (first + room < MISUSE_PAGES && !self->is_out[first + room])
        room++;
    return room;
}

static inline void *misuse_source_get(void *context, size_t pages)
{
    struct misuse_source *self = context;
    size_t first = 0, room = 0;
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    while (first < MISUSE_PAGES && (room = misuse_source_room(self, first)) < pages)
        first += room + 1;
    for (size_t i = 0; i < pages && room >= pages; i++)
        self->is_out[first + i] = true;
    tsl_lock_release(&self->lock, pin);
    if (room < pages)
        return NULL;
    misuse_source_access(self, first, pages, true);
    return self->start + first * TSL_PAGE_BYTES;
}

static inline void misuse_source_put(void *context, void *start, size_t pages)
{
    struct misuse_source *self = context;
    size_t first = (size_t)((char *)start - self->start) / TSL_PAGE_BYTES;

    misuse_source_access(self, first, pages, false);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    for (size_t i = 0; i < pages; i++) {
        if (!self->is_out[first + i])
            __builtin_trap();
        self->is_out[first + i] = false;
    }
    tsl_lock_release(&self->lock, pin);
}

static inline bool misuse_source_protect(void *context, void *start, size_t pages)
{
    struct misuse_source *self = context;

    misuse_source_access(self, (size_t)((char *)start - self->start) / TSL_PAGE_BYTES, pages,
                         false);
    return true;
}

/* The addresses are reserved once, before any program runs. */
static inline struct tsl_page_source misuse_source_init(struct misuse_source *self)
{
    size_t bytes = MISUSE_PAGES * TSL_PAGE_BYTES;

    tsl_lock_init(&self->lock, TSL_RANK_FRAMES);
    self->start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (self->start == MAP_FAILED)
        __builtin_trap();
    return (struct tsl_page_source){.get = misuse_source_get,
                                    .put = misuse_source_put,
                                    .protect = misuse_source_protect,
                                    .context = self,
                                    .start = (uintptr_t)self->start,
                                    .bytes = bytes};
}

#endif
